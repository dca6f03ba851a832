r"""Priors p(z): the union of their records, and those that factorise: standard normal, Laplace, uniform on a box.

A uniform prior bounds the latents: a Gaussian posterior has an infinite rate against it, so an evidence bound needs the
``uniform`` posterior (a box inside the prior's box, rate :math:`-\sum_i \log w_i` with w its relative width); a
Wasserstein autoencoder only needs samples and takes any encoder. Mixtures, the flow and the hypersphere have files of
their own.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Context, Prior
from latentscape.dist.diagonal import Diagonal, DiagonalLaplace, DiagonalNormal, DiagonalUniform
from latentscape.dist.flow import FlowPrior, FlowPriorConfig
from latentscape.dist.mixture import MixturePrior, MixturePriorConfig, VampPrior, VampPriorConfig
from latentscape.dist.sphere import SpherePrior, SpherePriorConfig
from latentscape.dist.units import Affine


class NormalPriorConfig(Record):
    """N(0, 1) in every dimension."""

    kind: Literal["normal"] = "normal"


class LaplacePriorConfig(Record):
    """Laplace(0, scale) in every dimension: sparser codes. The default has variance 1, as the normal."""

    kind: Literal["laplace"] = "laplace"
    scale: float = Field(0.5**0.5, gt=0)


class UniformPriorConfig(Record):
    """Uniform on ``[low, high]`` in every dimension."""

    kind: Literal["uniform"] = "uniform"
    low: float = -1.0
    high: float = 1.0


AnyPriorConfig = (
    NormalPriorConfig
    | LaplacePriorConfig
    | UniformPriorConfig
    | MixturePriorConfig
    | VampPriorConfig
    | FlowPriorConfig
    | SpherePriorConfig
)
PriorConfig = Annotated[AnyPriorConfig, Field(discriminator="kind")]


class FactorialPrior(Prior):
    """p(z) = prod_i f((z_i - loc) / scale) / scale, for one diagonal family f."""

    loc: Tensor
    scale: Tensor
    log_scale: Tensor

    def __init__(self, family: type[Diagonal], dim: int, loc: float, scale: float) -> None:
        super().__init__()
        self.family = family
        self.unit = loc == 0 and scale == 1
        self.register_buffer("loc", torch.full((dim,), loc), persistent=False)
        self.register_buffer("scale", torch.full((dim,), scale), persistent=False)
        self.register_buffer("log_scale", self.scale.log(), persistent=False)
        self._cache: Diagonal | None = None

    def forward(self, given: Distribution | None = None, context: Context = {}) -> Diagonal:
        """Return p(z), batch shape ``()``; the same object until the prior moves to another device or type."""
        if self._cache is None or self._cache.loc is not self.loc:
            self._cache = self.family(self.loc, self.scale, log_scale=self.log_scale, unit=self.unit)
        return self._cache


def build_prior(config: AnyPriorConfig, dim: int, units: Affine | None = None) -> Prior:
    """Return the prior that a record describes, over ``[dim]``.

    Args:
        config: the record.
        dim: width of z.
        units: of x, which a VampPrior's pseudo-inputs have.

    Raises:
        ConfigError: the box is empty, ``dim`` is too small for this prior, or a VampPrior has no units.
    """
    match config:
        case NormalPriorConfig():
            return FactorialPrior(DiagonalNormal, dim, 0.0, 1.0)
        case LaplacePriorConfig():
            return FactorialPrior(DiagonalLaplace, dim, 0.0, config.scale)
        case UniformPriorConfig():
            if config.high <= config.low:
                raise ConfigError(f"prior.high: got {config.high:g}, expected more than prior.low = {config.low:g}")
            return FactorialPrior(DiagonalUniform, dim, (config.low + config.high) / 2, (config.high - config.low) / 2)
        case MixturePriorConfig():
            return MixturePrior(config, dim)
        case VampPriorConfig():
            if units is None:
                raise ConfigError("prior 'vamp' needs a model that reads x, since its components are made-up items")
            return VampPrior(config, units)
        case FlowPriorConfig():
            return FlowPrior(config, dim)
        case SpherePriorConfig():
            return SpherePrior(dim)
