r"""Diagonal families: products of independent location-scale densities over an event.

Letters: m location, s scale, u = (x - m) / s standardised value, D number of values in an event.

.. math:: \log p(x) = \sum_i \log f(u_i) - \log s_i

with f the standard normal, the standard Laplace (:math:`e^{-|u|}/2`) or the uniform density on [-1, 1]. The scale is
kept as small as it was given (one number, one a feature, one an item), so that a shared scale costs nothing a value;
this and the absent argument checks are why these stand beside ``torch.distributions.Independent``.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

_ROUNDING = 1e-5
"""A box is closed up to float32 rounding: its samples lie inside it, wherever it stands."""


class Diagonal(Distribution):
    """A product of location-scale densities.

    Args:
        loc: ``[*batch, *event]``.
        scale: broadcastable to ``loc``.
        event_dim: number of axes in the event.
        log_scale: log of ``scale``, where it is known already.
        unit: that location 0 and scale 1 are known, so that a divergence against this takes half of the work.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample: bool = True

    def __init__(
        self, loc: Tensor, scale: Tensor, event_dim: int = 1, *, log_scale: Tensor | None = None, unit: bool = False
    ) -> None:
        self.loc = loc
        self.unit = unit
        self.scale = scale
        self._log_scale = log_scale
        split = loc.ndim - event_dim
        self._axes = tuple(range(-event_dim, 0))
        super().__init__(loc.shape[:split], loc.shape[split:], validate_args=False)

    @property
    def log_scale(self) -> Tensor:
        """Log of the scale, in the scale's own shape."""
        if self._log_scale is None:
            self._log_scale = self.scale.log()
        return self._log_scale

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """All reals; a box says so itself."""
        return constraints.independent(constraints.real, len(self._axes))

    @property
    def mean(self) -> Tensor:
        """The location."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """The location, a mode of every family here."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Variance of every value, ``[*batch, *event]``."""
        return (self.scale.square() * self._unit_variance).broadcast_to(self.loc.shape)

    _unit_variance: ClassVar[float]
    _unit_entropy: ClassVar[float]

    def _noise(self, shape: torch.Size) -> Tensor:
        """Draw u."""
        raise NotImplementedError

    def _unit_log_density(self, u: Tensor) -> Tensor:
        """Return the sum over the event of log f(u)."""
        raise NotImplementedError

    def sum_event(self, value: Tensor) -> Tensor:
        """Sum over the event a value that broadcasts to ``loc``, touching the batch only where the value has one."""
        batch = value.shape[: max(0, value.ndim - len(self._axes))]
        if self._axes and value.shape == batch + self.event_shape:
            return value.sum(self._axes)
        return value.broadcast_to(batch + self.event_shape).sum(self._axes) if self._axes else value

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``[*sample_shape, *batch, *event]`` with gradients to location and scale."""
        return torch.addcmul(self.loc, self._noise(torch.Size(sample_shape) + self.loc.shape), self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log density, ``[..., *batch]``, nats an item."""
        # A product with 1/s, since the gradient of a quotient costs three more passes over the batch.
        u = (value - self.loc) * self.scale.reciprocal()
        return self._unit_log_density(u) - self.sum_event(self.log_scale)

    def entropy(self) -> Tensor:
        """Return the differential entropy, ``[*batch]``, nats."""
        count = self.event_shape.numel()
        return (self.sum_event(self.log_scale) + count * self._unit_entropy).expand(self.batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Diagonal":
        """Return the same distribution over a larger batch."""
        dims = len(self._axes)
        lead = self.scale.ndim - dims
        scale = self.scale.expand(*batch_shape, *self.scale.shape[lead:]) if lead > 0 else self.scale
        return type(self)(self.loc.expand(*batch_shape, *self.event_shape), scale, dims)

    def parts(self) -> "Diagonal":
        """Return every value by itself: batch ``[*batch, *event]``, event ``()``."""
        return type(self)(self.loc, self.scale, 0)

    def rescaled(self, scale: Tensor) -> "Diagonal":
        """Return the same family and location with another scale."""
        return type(self)(self.loc, scale, len(self._axes))


class DiagonalNormal(Diagonal):
    """N(m, s^2), the scale being the standard deviation."""

    _unit_variance = 1.0
    _unit_entropy = 0.5 + 0.5 * math.log(2 * math.pi)

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    def _unit_log_density(self, u: Tensor) -> Tensor:
        constant = 0.5 * math.log(2 * math.pi) * self.event_shape.numel()
        return -0.5 * self.sum_event(u.square()) - constant


class DiagonalLaplace(Diagonal):
    """Laplace(m, s): the mean absolute deviation is s, the variance 2 s^2."""

    _unit_variance = 2.0
    _unit_entropy = 1.0 + math.log(2.0)

    def _noise(self, shape: torch.Size) -> Tensor:
        u = (
            torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device) - 0.5
        )  # u = -1/2 is drawn: log1p(-1) is -inf
        return -u.sign() * torch.log1p((-2 * u.abs()).clamp_min(torch.finfo(u.dtype).eps - 1))

    def _unit_log_density(self, u: Tensor) -> Tensor:
        return -self.sum_event(u.abs()) - math.log(2.0) * self.event_shape.numel()


class DiagonalUniform(Diagonal):
    """The uniform density on the box [m - s, m + s]."""

    _unit_variance = 1 / 3
    _unit_entropy = math.log(2.0)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """The box."""
        return constraints.independent(
            constraints.interval(self.loc - self.scale, self.loc + self.scale), len(self._axes)
        )

    def _noise(self, shape: torch.Size) -> Tensor:
        return torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device) * 2 - 1

    def _unit_log_density(self, u: Tensor) -> Tensor:
        reach = _ROUNDING * (1 + (self.loc / self.scale).abs())
        outside = self.sum_event((u.abs() > 1 + reach).to(u.dtype)) > 0
        inside = -math.log(2.0) * self.event_shape.numel()
        return torch.where(outside, -torch.inf, inside)
