"""The Likelihood: what turns a decoder's raw output into a distribution in the units of x."""

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

from latentscape.core.errors import LikelihoodError
from latentscape.dist.units import Affine


class Likelihood(nn.Module, ABC):
    """A row of the decoder's table.

    A decoder emits ``outputs`` numbers an item: ``channels`` for every value of x, then ``items`` for the item.

    Attributes:
        event_shape: shape of one x.
        units: what maps x to the standardised values that networks see. Continuous likelihoods use the units they are
            given; the discrete ones have their own, since their values mean nothing but themselves.
    """

    channels: int = 1
    items: int = 0

    def __init__(self, event_shape: tuple[int, ...], units: Affine) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.units = units

    @property
    def outputs(self) -> int:
        """Numbers a decoder emits for an item."""
        return self.channels * math.prod(self.event_shape) + self.items

    @abstractmethod
    def forward(self, raw: Tensor) -> Distribution:
        """Turn raw outputs ``[b, outputs]`` into p(x), batch ``[b]``, in the units of x."""

    def observe(self, p: Distribution, x: Tensor, hidden: Tensor | None = None) -> Distribution:
        """Return p with what is estimated from data set to its estimate on x ``[b, *event]`` (training only).

        Where ``hidden`` is given, only the values count for which it is true.
        """
        return p

    @abstractmethod
    def _reason(self, x: Tensor) -> str | None:
        """Say what this likelihood needs, where x is not that."""

    def check(self, x: Tensor) -> None:
        """Refuse data that this likelihood can't describe.

        Raises:
            LikelihoodError: what arrived and what is needed.
        """
        if tuple(x.shape[1:]) != self.event_shape:
            raise LikelihoodError(
                f"data have shape {tuple(x.shape[1:])} an item, the likelihood expects {self.event_shape}"
            )
        if x.is_floating_point() and not bool(x.isfinite().all()):
            raise LikelihoodError("data hold NaN or infinity; no likelihood can describe them")
        reason = self._reason(x)
        if reason is not None:
            low, high = x.min().item(), x.max().item()
            raise LikelihoodError(f"data lie between {low:.6g} and {high:.6g} ({x.dtype}), but {reason}")
