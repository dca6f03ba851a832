r"""The point mass: a deterministic encoder's q(z | x).

Its density is +inf at the point and 0 elsewhere, so its rate :math:`\mathrm{KL}(\delta \,\|\, p)` is +inf against every
density: an autoencoder has no evidence bound, and says so by its arithmetic.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Delta(Distribution):
    """All mass at ``point``, ``[*batch, *event]``."""

    arg_constraints: dict[str, Any] = {}
    has_rsample: bool = True

    def __init__(self, point: Tensor, event_dim: int = 1) -> None:
        self.point = point
        split = point.ndim - event_dim
        super().__init__(point.shape[:split], point.shape[split:], validate_args=False)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """All reals."""
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The point."""
        return self.point

    @property
    def mode(self) -> Tensor:
        """The point."""
        return self.point

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.point)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return the point, repeated."""
        return self.point.expand(torch.Size(sample_shape) + self.point.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return +inf at the point and -inf elsewhere, ``[..., *batch]``."""
        axes = tuple(range(-len(self.event_shape), 0))
        at = (value == self.point).all(axes) if axes else value == self.point
        return torch.where(at, torch.inf, -torch.inf).to(self.point.dtype)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Delta":
        """Return the same point over a larger batch."""
        return Delta(self.point.expand(*batch_shape, *self.event_shape), len(self.event_shape))
