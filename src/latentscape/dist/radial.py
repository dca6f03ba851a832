r"""The radial Laplace density: a whole item is near or far, not each of its values by itself.

Letters: x data, m mean, D values an item, r distance in standardised units, s scale.

.. math:: p(x) = \frac{\Gamma(D/2)}{2\, \pi^{D/2}\, \Gamma(D)\, s^D} \, e^{-r / s}, \qquad
          r = \Bigl\| \frac{x - m}{\text{scale}} \Bigr\|_2

(divided by the product of the units' scales), a Kotz-type elliptical law (Fang, Kotz and Ng 1990, section 3.2). The
radius is Gamma distributed, so a sample is a uniform direction times a Gamma(D, s) radius. Its negative log-likelihood
grows with the distance of a frame and not with its square: for log-spectra in dB the distance over :math:`\sqrt D` *is*
the log-spectral distance of the frame, so this likelihood trains what that measure asks, and a few bad frames cannot
outweigh the many. The maximum-likelihood scale is the mean radius over D.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from latentscape.core.config import Record
from latentscape.core.distributed import mean_over_processes
from latentscape.dist.likelihood import Likelihood
from latentscape.dist.units import Affine


class RadialConfig(Record):
    """Radial Laplace.

    Attributes:
        scale: ``scalar`` is one learnt number, ``optimal`` the maximum-likelihood one (of the batch in training, of a
            running average afterwards), ``fixed`` the configured one.
        value: the fixed scale, or where a learnt one starts; in standardised units.
        least: bound of the scale; in standardised units.
        lower: a floor of the data in the units of x, such as -80 (dB); the mean stays above it.
    """

    kind: Literal["radial"] = "radial"
    scale: Literal["fixed", "scalar", "optimal"] = "optimal"
    value: float = Field(1.0, gt=0)
    least: float = Field(1e-4, ge=0)
    lower: float | None = None


class RadialLaplace(Distribution):
    """See the module.

    Args:
        loc: m, ``[*batch, *event]``.
        scale: s, broadcastable to ``batch``.
        units: scale of every value, broadcastable to ``event``.
        event_dim: number of axes in the event.
    """

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, units: Tensor, event_dim: int = 1) -> None:
        self.loc, self.scale, self.units = loc, scale, units
        split = loc.ndim - event_dim
        super().__init__(loc.shape[:split], loc.shape[split:], validate_args=False)
        self._axes = tuple(range(-event_dim, 0))

    @property
    def size(self) -> int:
        """D."""
        return math.prod(self.event_shape)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """All reals."""
        return constraints.independent(constraints.real, len(self._axes))

    @property
    def mean(self) -> Tensor:
        """The centre m."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Variance of each value, ``s^2 (D + 1)`` in standardised units."""
        spread = self.scale.reshape(*self.scale.shape, *[1] * len(self._axes)) * self.units
        return (spread.square() * (self.size + 1)).expand(self.loc.shape)

    def radius(self, x: Tensor) -> Tensor:
        """Return r, ``[*batch]``."""
        return torch.linalg.vector_norm((x - self.loc) / self.units, dim=self._axes)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density in nats, ``[*batch]``."""
        d = self.size
        surface = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2) + math.lgamma(d)
        volume = self.units.log().expand(self.event_shape).sum()
        return -self.radius(value) / self.scale - d * self.scale.log() - surface - volume

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draw with gradients to m and s."""
        shape = self._extended_shape(torch.Size(sample_shape))
        direction = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        direction = direction / torch.linalg.vector_norm(direction, dim=self._axes, keepdim=True)
        batch = shape[: len(shape) - len(self._axes)]
        concentration = torch.full(batch, float(self.size), dtype=self.loc.dtype, device=self.loc.device)
        radius = torch._standard_gamma(concentration) * self.scale
        return self.loc + self.units * direction * radius.reshape(*batch, *[1] * len(self._axes))


class Radial(Likelihood):
    """A decoder's mean with a radial Laplace density around it (see the module)."""

    running: Tensor
    batches: Tensor

    def __init__(self, config: RadialConfig, event_shape: tuple[int, ...], units: Affine) -> None:
        super().__init__(event_shape, units)
        self.config = config
        self._start = math.log(math.expm1(max(config.value - config.least, 1e-6)))
        if config.scale == "scalar":
            self.raw_scale = nn.Parameter(torch.zeros(()))
        elif config.scale == "optimal":
            self.register_buffer("running", torch.tensor(config.value))
            self.register_buffer("batches", torch.tensor(0.0))

    def forward(self, raw: Tensor) -> RadialLaplace:
        """Turn raw outputs ``[b, outputs]`` into p(x) in the units of x."""
        m = raw.reshape(-1, *self.event_shape)
        if self.config.lower is not None:
            low = (self.config.lower - self.units.mean) / self.units.scale
            m = low + F.softplus(m - low)
        return RadialLaplace(self.units.restore(m), self._scale(), self.units.scale, len(self.event_shape))

    def _scale(self) -> Tensor:
        match self.config.scale:
            case "fixed":
                return self.units.scale.new_full((), self.config.value)
            case "scalar":
                return F.softplus(self.raw_scale + self._start) + self.config.least
            case "optimal":
                return self.running + self.config.least

    def observe(self, p: Distribution, x: Tensor, hidden: Tensor | None = None) -> Distribution:
        """Set an optimal scale to its maximum-likelihood value on this batch (see ``Continuous.observe``)."""
        if self.config.scale != "optimal" or not self.training:
            return p
        assert isinstance(p, RadialLaplace)
        with torch.no_grad():
            scale = mean_over_processes(p.radius(x).mean() / p.size)
            self.batches += 1
            self.running.lerp_(scale, torch.clamp(1 / self.batches, min=0.01))
        return RadialLaplace(p.loc, scale + self.config.least, p.units, len(self.event_shape))

    def _reason(self, x: Tensor) -> str | None:
        if not x.is_floating_point():
            return "a radial likelihood needs real numbers, since distances of codes mean nothing; use 'categorical'"
        if self.config.lower is not None and x.min() < self.config.lower - 1e-3:
            return f"the radial likelihood was told that nothing lies below lower = {self.config.lower:g}"
        return None
