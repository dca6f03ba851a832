r"""Kernels and the unbiased maximum mean discrepancy.

Letters: z ``[n, d]`` and y ``[m, d]`` samples of two laws, :math:`D = \|a - b\|^2` squared distance, s^2 the variance a
dimension of the law aimed at (1 for a standard normal).

.. math:: \mathrm{MMD}^2 = \frac{1}{n(n-1)} \sum_{i \ne j} k(z_i, z_j) + \frac{1}{m(m-1)} \sum_{i \ne j} k(y_i, y_j)
          - \frac{2}{nm} \sum_{i, j} k(z_i, y_j)

(Gretton et al. 2012, eq. 3). It is unbiased, hence negative half of the time where both laws agree; it is never
clamped.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from latentscape.core.precision import without_autocast
from latentscape.core.config import Record
from latentscape.core.errors import ConfigError


class RbfConfig(Record):
    """exp(-D / (2 bandwidth^2)); ``median`` takes the median distance between different points of the pooled sample."""

    kind: Literal["rbf"] = "rbf"
    bandwidth: Annotated[float, Field(gt=0)] | Literal["median"] = "median"


class ImqConfig(Record):
    """Sum over scales of C / (C + D), C = scale * 2 d s^2 (Tolstikhin et al. 2018; the scales of the authors' code)."""

    kind: Literal["imq"] = "imq"
    scales: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    variance: float = Field(1.0, gt=0)


KernelConfig = Annotated[RbfConfig | ImqConfig, Field(discriminator="kind")]


class Kernel(ABC):
    """A radial kernel: a function of squared distances between points of ``dim`` dimensions."""

    @abstractmethod
    def __call__(self, squared: Float[Tensor, "n m"], dim: int) -> Float[Tensor, "n m"]:
        """Return the kernel's values."""

    def settled(self, points: Float[Tensor, "n d"]) -> "Kernel":
        """Return the kernel with what it takes from the points that it compares; most take nothing."""
        return self


class Rbf(Kernel):
    """See :class:`RbfConfig`; give ``bandwidth`` in the units of z."""

    def __init__(self, config: RbfConfig) -> None:
        self.bandwidth = config.bandwidth

    def __call__(self, squared: Float[Tensor, "n m"], dim: int) -> Float[Tensor, "n m"]:
        """Return exp(-D / (2 bandwidth^2)); the median is taken of the off-diagonal of a square, without gradient."""
        width = median_of(squared) if self.bandwidth == "median" else self.bandwidth**2
        return torch.exp(-squared / (2 * width))

    def settled(self, points: Float[Tensor, "n d"]) -> "Kernel":
        """Return the kernel with the median distance between the points as its bandwidth."""
        if self.bandwidth != "median":
            return self
        with torch.no_grad():
            width = float(median_of(squared_distances(points))) ** 0.5
        return Rbf(RbfConfig(bandwidth=width))


def median_of(squared: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Return the median of the squared distances between different points, without gradient, above zero."""
    n = squared.shape[0]
    above = torch.triu_indices(n, n, 1, device=squared.device)
    return squared.detach()[above[0], above[1]].median().clamp_min(torch.finfo(squared.dtype).tiny)


class Imq(Kernel):
    """See :class:`ImqConfig`."""

    def __init__(self, config: ImqConfig) -> None:
        self.scales = config.scales
        self.variance = config.variance

    def __call__(self, squared: Float[Tensor, "n m"], dim: int) -> Float[Tensor, "n m"]:
        """Return the sum over scales of C / (C + D)."""
        values: Tensor = _Imq.apply(squared, [scale * 2 * dim * self.variance for scale in self.scales])
        return values


class _Imq(torch.autograd.Function):
    """The sum and its slope in one pass over each scale; autograd's own would keep a matrix a scale."""

    @staticmethod
    def forward(context: Any, squared: Tensor, constants: list[float]) -> Tensor:  # pyrefly: ignore
        total, slope, part = torch.zeros_like(squared), torch.zeros_like(squared), torch.empty_like(squared)
        for c in constants:
            torch.add(squared, c, out=part).reciprocal_()
            total.add_(part, alpha=c)
            slope.addcmul_(part, part, value=-c)
        context.save_for_backward(slope)
        return total

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore
        (slope,) = context.saved_tensors
        return gradient * slope, None


def build_kernel(config: RbfConfig | ImqConfig) -> Kernel:
    """Return the kernel that a record describes."""
    return Rbf(config) if isinstance(config, RbfConfig) else Imq(config)


def squared_distances(points: Float[Tensor, "n d"], others: Float[Tensor, "m d"] | None = None) -> Float[Tensor, "n m"]:
    """Return squared distances between all pairs, or to all others, in full precision even under autocast.

    The points are centred first: |a|^2 + |b|^2 - 2ab loses its digits far from the origin. Rounding below zero is
    undone.
    """
    with without_autocast(points.device):
        points = points if points.dtype == torch.float64 else points.float()
        centre = points.detach().mean(0)
        points = points - centre
        others = points if others is None else others.to(points.dtype) - centre
        return (points.square().sum(1)[:, None] + others.square().sum(1) - 2 * points @ others.T).clamp_min(0)


def mmd2(z: Float[Tensor, "n d"], y: Float[Tensor, "m d"], kernel: Kernel) -> Float[Tensor, ""]:
    """Return the unbiased squared maximum mean discrepancy (dimensionless; negative values are right).

    Points that need no gradient, such as draws of a fixed prior, cost none.

    Raises:
        ConfigError: fewer than two points on a side.
    """
    n, m = z.shape[0], y.shape[0]
    if min(n, m) < 2:
        raise ConfigError(f"the unbiased MMD got {n} and {m} points, expected at least 2 on each side (a larger batch)")
    kernel, d = kernel.settled(torch.cat([z, y])), z.shape[1]
    zz, yy, zy = (kernel(squared_distances(a, b), d) for a, b in ((z, None), (y, None), (z, y)))
    return (zz.sum() - zz.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1)) - 2 * zy.mean()
