r"""Distributions of what is hidden: a likelihood of which only some values count.

Letters: x values, m 1 where a value was seen and 0 where it is hidden.

.. math:: \log p(x_{\text{hidden}} \mid x_{\text{seen}}) = \sum_i (1 - m_i) \log p(x_i)

A bound on a conditional likelihood needs it: counted over all values it would mostly measure how well the decoder
copies what it was given.
"""

from typing import Any

import torch
from jaxtyping import Bool, Int
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
        # an accelerator would have to be waited for: how many are hidden is known when the mask's values are
        if isinstance(self.base, DiscretisedLogistics) and value.is_cpu and value.shape == self.seen.shape:
            places, counts = _hidden(self.seen.flatten(1))
            chosen = self.base.at(places).parts().log_prob(value.flatten(1).gather(1, places))
            return chosen.masked_fill(~counts, 0.0).sum(1)
        return self._counted(self.values.log_prob(value))

    def entropy(self) -> Tensor:
        """Return the entropy of the hidden values, ``[*batch]``, nats."""
        return self._counted(self.values.entropy().expand(self.seen.shape))

    def _counted(self, value: Tensor) -> Tensor:
        return value.masked_fill(self.seen, 0.0).flatten(value.ndim - len(self.event_shape)).sum(-1)

    def _filled(self, value: Tensor) -> Tensor:
        return torch.where(self.seen, self.known.to(value.dtype), value)


def _hidden(seen: Bool[Tensor, "b n"]) -> tuple[Int[Tensor, "b m"], Bool[Tensor, "b m"]]:
    """Return the places of the hidden values, as many as the item with most has, and which of them are such.

    A mixture of logistics costs much a value, and mostly a small part of an item is hidden.
    """
    columns = torch.nonzero(~seen, as_tuple=True)[1]
    count = (~seen).sum(1)
    order = torch.arange(int(count.max()) if len(count) else 0, device=seen.device)
    counts = order < count[:, None]
    places = torch.zeros(counts.shape, dtype=torch.int64, device=seen.device)
    places[counts] = columns  # both go row by row
    return places, counts
