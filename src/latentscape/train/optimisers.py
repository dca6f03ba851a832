r"""What turns gradients into steps: Adam, AdamW, or Muon for the matrices within a net.

Letters: W a weight ``[o, i]``, G its gradient, M the mean of past gradients, :math:`U \Sigma V^T` a singular value
decomposition, :math:`\eta` the learning rate, :math:`\mu` = 0.95.

.. math::
    M \leftarrow \mu M + (1 - \mu) G, \qquad U \Sigma V^T = (1 - \mu) G + \mu M, \qquad
    W \leftarrow W - 0.2\, \eta \sqrt{\max(o, i)}\; U V^T

Muon (Jordan et al. 2024; the factor is of Liu et al. 2025) moves a matrix in all its directions alike, where
Adam moves it mostly along the few that gradients favour. Five steps of Newton and Schulz stand for the decomposition.
With the factor a number moves as far as it does under Adam, so both share a learning rate: AdamW takes what is no
matrix, embeddings, and the matrices that a net names in ``edges``, which read samples or write the parameters of their
law, where rows are values and not directions.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Muon, Optimizer

if TYPE_CHECKING:
    from latentscape.train.config import TrainConfig

FUSED = ("cpu", "cuda")


class GuardedMuon(Muon):
    """Muon that heeds ``found_inf``, as fused Adam does: where it is above 0, a step changes nothing."""

    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take a step; on no device does this wait for its outcome."""
        if self.found_inf is None:
            super().step(closure)
            return
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        for p in moved:
            self.state[p].setdefault("momentum_buffer", torch.zeros_like(p.grad))
        held = [(p, p.clone(), self.state[p]["momentum_buffer"].clone()) for p in moved]
        super().step(closure)
        for p, weight, mean in held:
            p.copy_(torch.where(self.found_inf > 0, weight, p))
            now = self.state[p]["momentum_buffer"]
            now.copy_(torch.where(self.found_inf > 0, mean, now))


def inner_matrices(module: nn.Module) -> list[nn.Parameter]:
    """Return the trained matrices but embeddings and those that a part of the module names in ``edges``."""
    spared = {id(part.get_parameter(name)) for part in module.modules() for name in getattr(part, "edges", ())}
    spared |= {id(part.weight) for part in module.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag))}
    return [p for p in module.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in spared]


def optimisers_of(module: nn.Module, config: "TrainConfig", device: torch.device) -> list[Optimizer]:
    """Return what moves the parameters of a module, each by one of them; decay spares biases and gains."""
    matrices = inner_matrices(module) if config.optimiser == "muon" else []
    inner = {id(p) for p in matrices}
    others = [p for p in module.parameters() if p.requires_grad and id(p) not in inner]
    decayed = [p for p in others if p.ndim >= 2 or not config.weight_decay]
    spared = [p for p in others if p.ndim < 2 and config.weight_decay]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared}]
    found: list[Optimizer] = []
    if matrices:
        decay = config.weight_decay
        found.append(GuardedMuon(matrices, config.learning_rate, decay, adjust_lr_fn="match_rms_adamw"))
    if others:
        kind = Adam if config.optimiser == "adam" else AdamW
        present = [group for group in groups if group["params"]]
        fused = device.type in FUSED
        found.append(kind(present, weight_decay=0.0, lr=config.learning_rate, fused=fused))
    return found
