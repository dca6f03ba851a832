r"""Priors p(z): standard normal, Laplace, uniform on a box.

All three factorise. A uniform prior bounds the latents: a Gaussian posterior has an infinite rate against it, so an
evidence bound needs the ``uniform`` posterior (a box inside the prior's box, rate :math:`-\sum_i \log w_i` with w its
relative width); a Wasserstein autoencoder only needs samples and takes any encoder.
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


PriorConfig = Annotated[NormalPriorConfig | LaplacePriorConfig | UniformPriorConfig, Field(discriminator="kind")]


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


def build_prior(config: NormalPriorConfig | LaplacePriorConfig | UniformPriorConfig, dim: int) -> Prior:
    """Return the prior that a record describes, over ``[dim]``.

    Raises:
        ConfigError: the box is empty.
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
