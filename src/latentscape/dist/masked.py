r"""Distributions of what is hidden: a likelihood of which only some values count.

Letters: x values, m 1 where a value was seen and 0 where it is hidden.

.. math:: \log p(x_{\text{hidden}} \mid x_{\text{seen}}) = \sum_i (1 - m_i) \log p(x_i)

A bound on a conditional likelihood needs it: counted over all values it would mostly measure how well the decoder
copies what it was given.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from latentscape.dist.diagonal import Diagonal
from latentscape.dist.logistic import DiscretisedLogistics


def parts(p: Distribution) -> Distribution | None:
    """Return p as independent values, batch ``[*batch, *event]``, event ``()``; ``None`` where they are not."""
    match p:
        case Diagonal() | DiscretisedLogistics():
            return p.parts()
        case Independent() if not p.base_dist.event_shape:
            return p.base_dist
    return None


class Masked(Distribution):
    """What a distribution of independent values says of the hidden ones; the seen ones are what they were.

    Args:
        base: of all values, batch ``[b]``; :func:`parts` must know its values.
        mask: ``[b, *event]``, 1 where a value was seen.
        known: ``[b, *event]``, read where it was seen.

    Raises:
        TypeError: the values of ``base`` are not independent.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, base: Distribution, mask: Tensor, known: Tensor) -> None:
        values = parts(base)
        if values is None:
            raise TypeError(f"{type(base).__name__} has no independent values to leave out")
        self.base, self.values, self.seen, self.known = base, values, mask.bool(), known
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """That of the base."""
        return self.base.support

    @property
    def mean(self) -> Tensor:
        """The base's mean where hidden, what is known elsewhere."""
        return self._filled(self.base.mean)

    @property
    def mode(self) -> Tensor:
        """Likewise of the mode."""
        return self._filled(self.base.mode)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draw ``[*sample_shape, *batch, *event]``; seen values do not vary."""
        return self._filled(self.base.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of the hidden values, ``[..., *batch]``, nats an item."""
        return self._counted(self.values.log_prob(value))

    def entropy(self) -> Tensor:
        """Return the entropy of the hidden values, ``[*batch]``, nats."""
        return self._counted(self.values.entropy().expand(self.seen.shape))

    def _counted(self, value: Tensor) -> Tensor:
        return value.masked_fill(self.seen, 0.0).flatten(value.ndim - len(self.event_shape)).sum(-1)

    def _filled(self, value: Tensor) -> Tensor:
        return torch.where(self.seen, self.known.to(value.dtype), value)
