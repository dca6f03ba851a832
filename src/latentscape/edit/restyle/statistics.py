r"""What is kept of features when time is thrown away: Gram matrices, Gaussians and how to carry one to another, rhythm.

Letters: F ``[t, k]`` features, frames are rows; G Gram matrix; m mean, C covariance ``[k, k]`` (divided by t), indices
c content and s style; A the map of optimal transport; R ``[lags, k]`` autocorrelation. Every function takes further
axes in front: groups of features whose statistics stand side by side.

.. math::
    G &= \tfrac1t F^\top F \qquad\text{(Gatys, Ecker, Bethge 2015; } = C + m m^\top) \\
    W^2 &= \|m_c - m_s\|^2 + \mathrm{tr}\,C_c + \mathrm{tr}\,C_s
           - 2\,\mathrm{tr}\,(C_c^{1/2} C_s C_c^{1/2})^{1/2} \qquad\text{(Dowson, Landau 1982)} \\
    A &= C_c^{-1/2} (C_c^{1/2} C_s C_c^{1/2})^{1/2} C_c^{-1/2}, \qquad T(f) = m_s + A (f - m_c)

T carries one Gaussian to the other at the least cost (Peyre, Cuturi 2019, remark 2.31), and what lies at share u of the
way, :math:`(1 - u) f + u\,T(f)`, has the Gaussian at that share of the geodesic between the two (McCann 1997). As
:math:`\partial W^2 / \partial C_c = 1 - A`, gradients need no derivative of a root.

On the line the map of optimal transport is the one that keeps order (remark 2.30): the value that has a rank among
its own goes to the value that has this rank among the others.

Rhythm is the autocorrelation along time of each feature less its mean, over its value at lag 0 (Antognini, Hoffman,
Weiss 2019): the periods that both sounds share, wherever they lie.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

RIDGE = 1e-3
"""Added to covariances before they are inverted, as a share of their mean diagonal."""


class Gaussian(NamedTuple):
    """Mean ``[..., k]`` and covariance ``[..., k, k]``."""

    mean: Tensor
    covariance: Tensor


def gram(features: Float[Tensor, "*g t k"]) -> Float[Tensor, "*g k k"]:
    """Return G."""
    return features.mT @ features / features.shape[-2]


def gaussian_of(features: Float[Tensor, "*g t k"]) -> Gaussian:
    """Return mean and covariance."""
    mean = features.mean(-2, keepdim=True)
    return Gaussian(mean[..., 0, :], gram(features - mean))


class Transport(NamedTuple):
    """T, an affine map of features: its matrix A, the mean that it comes from and the one that it goes to."""

    matrix: Tensor
    source: Tensor
    target: Tensor

    def __call__(self, features: Float[Tensor, "*g t k"], share: float = 1.0) -> Float[Tensor, "*g t k"]:
        """Carry features a share of the way."""
        centred = features.to(self.matrix) - self.source[..., None, :]
        carried = centred @ self.matrix + self.target[..., None, :]
        return ((1 - share) * features + share * carried).to(features.dtype)


def transport(source: Gaussian, target: Gaussian, ridge: float = RIDGE) -> Transport:
    """Return the map of optimal transport between two Gaussians; the ridge keeps it from magnifying what is nothing."""
    c, s = (_ridged(one.covariance.double(), ridge) for one in (source, target))
    root, back = powers(c)
    return Transport(back @ powers(root @ s @ root)[0] @ back, source.mean.double(), target.mean.double())


def between(source: Gaussian, target: Gaussian, share: float) -> Gaussian:
    """Return the Gaussian at a share of the way: 0 is the source, 1 the target."""
    if share == 1.0:
        return target
    step = share * transport(source, target).matrix
    step = (step + (1 - share) * torch.eye(step.shape[-1]).to(step)).to(source.covariance)
    return Gaussian(torch.lerp(source.mean, target.mean, share), step @ source.covariance @ step)


def ranked(frames: Float[Tensor, "t m"], wanted: Float[Tensor, "u m"]) -> Float[Tensor, "t m"]:
    """Carry each column to the other's distribution, its order kept: optimal transport, whatever the distributions."""
    place = (frames.argsort(0).argsort(0) + 0.5) * (len(wanted) / len(frames)) - 0.5
    place = place.clamp(0, len(wanted) - 1)
    levels, low = wanted.sort(0).values, place.floor().long()
    high = (low + 1).clamp_max(len(wanted) - 1)
    return torch.lerp(levels.gather(0, low), levels.gather(0, high), place - low)


def wasserstein(found: Gaussian, wanted: Gaussian) -> Float[Tensor, "*g"]:
    """Return W^2 of two Gaussians, with gradients for the first one."""
    distance: Any = _Bures.apply(found.covariance, wanted.covariance)
    return (found.mean - wanted.mean).square().sum(-1) + distance


class _Bures(torch.autograd.Function):
    """The covariances' part of W^2."""

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, wanted: Tensor) -> Tensor:
        root, _ = powers(wanted)
        middle, back = powers(root @ covariance @ root)
        ctx.save_for_backward(root @ back @ root)  # A, written with the other root
        return (_trace(covariance) + _trace(wanted) - 2 * _trace(middle)).clamp_min(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (matrix,) = ctx.saved_tensors
        return gradients[0][..., None, None] * (torch.eye(matrix.shape[-1]).to(matrix) - matrix), None


def powers(matrix: Float[Tensor, "*g k k"], least: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Return the root of a symmetric matrix, and the root's inverse, where what is nearly nothing stays nothing."""
    values, vectors = torch.linalg.eigh(matrix)
    root = values.clamp_min(0).sqrt()
    kept = root > least**0.5 * root[..., -1:]
    back = torch.where(kept, root.clamp_min(1e-30).reciprocal(), 0.0)
    return (vectors * root[..., None, :]) @ vectors.mT, (vectors * back[..., None, :]) @ vectors.mT


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


def _ridged(covariance: Tensor, ridge: float) -> Tensor:
    k = covariance.shape[-1]
    size = (_trace(covariance) / k).clamp_min(1e-12)[..., None, None]
    return covariance + ridge * size * torch.eye(k).to(covariance)


def autocorrelation(features: Float[Tensor, "*g t k"], lags: int) -> Float[Tensor, "*g lags k"]:
    """Return R at lags 1 to ``lags`` frames (or as many as there are), each as the mean of what it has of products."""
    t = features.shape[-2]
    lags = min(lags, t - 1)
    centred = features - features.mean(-2, keepdim=True)
    power = torch.view_as_real(torch.fft.rfft(centred, n=2 * t, dim=-2)).square().sum(-1)
    found = torch.fft.irfft(power, n=2 * t, dim=-2)
    counts = t - torch.arange(1, lags + 1, device=features.device, dtype=features.dtype)
    return found[..., 1 : lags + 1, :] / counts[:, None] / (found[..., :1, :] / t + 1e-8)


@dataclass(frozen=True)
class Statistic:
    """What is matched.

    Attributes:
        of: features ``[g, t, k]`` -> the statistic.
        apart: features and the statistic to reach -> their distance, relative to the statistic.
        between: two statistics and a share of the way from the first to the second -> what lies there.
    """

    of: Callable[[Tensor], Any]
    apart: Callable[[Tensor, Any], Tensor]
    between: Callable[[Any, Any, float], Any]


def _gram_apart(features: Tensor, wanted: Tensor) -> Tensor:
    return (gram(features) - wanted).square().sum() / wanted.square().sum().clamp_min(1e-12)


def _gaussian_apart(features: Tensor, wanted: Gaussian) -> Tensor:
    return wasserstein(gaussian_of(features), wanted).sum() / _trace(wanted.covariance).sum().clamp_min(1e-12)


STATISTICS: Mapping[str, Statistic] = {
    "gram": Statistic(gram, _gram_apart, torch.lerp),
    "gaussian": Statistic(gaussian_of, _gaussian_apart, between),
}
