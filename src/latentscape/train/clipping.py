r"""How far a gradient may go: a bound that is given, or one that follows what is usual.

Letters: :math:`n_s` global norm of the gradient of step s, :math:`u_s` logarithm of what is usual, w steps at most that
it remembers, b how many times what is usual is still let through.

.. math:: n'_s = \min(n_s,\ b\, e^{u_s}), \qquad u_{s+1} = u_s + \frac{\log n'_s - u_s}{\min(s + 1, w)}

Adam divides by the root of what squares of gradients were, over a thousand steps: one that is a thousand times the
usual moves every weight at once by some thirty learning rates before the moments have forgotten it, and models whose
rate or flow can run away do not come back from there (`docs/training.md`). One of ten times the usual moves them by
what a step does. Until 20 steps have been seen nothing is bounded.
"""

from typing import Literal

import torch
from torch import Tensor

BOUND = 10.0
MEMORY = 100
FIRST = 20

Clip = float | Literal["usual"] | None


class Usual:
    """What gradients are usually like; its state is one tensor, which checkpoints hold.

    Args:
        device: of the gradients; nothing waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self.state = torch.zeros(2, device=device)

    def bound(self, norm: Tensor) -> Tensor:
        """Return the greatest norm that this step may have, and remember its own where that is finite."""
        mean, seen = self.state
        bound = torch.where(seen >= FIRST, BOUND * mean.exp(), torch.inf)
        kept = torch.minimum(norm.detach().float(), bound).clamp_min(1e-30).log()
        after = torch.stack([mean + (kept - mean) / (seen + 1).clamp(max=MEMORY), seen + 1])
        self.state = torch.where(torch.isfinite(norm), after, self.state)
        return bound.to(norm.dtype)
