r"""Embeddings that know where they know nothing, so that curves stay on the data.

Letters: n points z, d latent width, f embedding into m numbers, sigma deviation, beta precision, c codes, K centres
mu_k with share pi_k of the codes, rho root mean squared distance of a code to its centre.

A decoder that is sure everywhere does not keep geodesics out of empty regions. With
:math:`x = f(z) + \sigma(z)\,\epsilon` the expected metric is :math:`J_f^\top J_f + J_\sigma^\top J_\sigma`
(Arvanitidis et al. 2018, eq. 6), that of the embedding :math:`(f, \sigma)`. Here sigma is one number for all m
coordinates, so that one coordinate :math:`\sqrt m\,\sigma(z)` is added. As there (section 4) its precision is a
network of radial functions about the codes,

.. math::
    \sigma(z)^{-2} = \sigma_{\text{far}}^{-2} + \sigma_{\text{near}}^{-2}\,\frac{2 u}{1 + u}, \qquad
    u(z) = \frac{q(z)}{\operatorname{median}_c q}, \qquad
    q(z) = \sum_k \pi_k\, e^{-\lVert z - \mu_k \rVert^2 / 2 \kappa^2 \rho^2},

with mu from k-means. At a typical code sigma is near, far from all it is far.

An ensemble's expected metric is the mean of its members', that of all their embeddings side by side over the root of
their number (Syrota et al. 2024): members differ where there was nothing to learn from.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.random import numpy_stream

Embedding = Callable[[Tensor], Tensor]
_LLOYD = 25


@torch.no_grad()
def uncertain(
    embedding: Embedding,
    codes: Float[Tensor, "c d"],
    *,
    near: float | None = None,
    far: float | None = None,
    centres: int = 64,
    kappa: float = 1.0,
    seed: int = 0,
) -> Embedding:
    """Return the embedding with its deviation as one coordinate more.

    Args:
        embedding: f.
        codes: where the data are.
        near: deviation of a coordinate at a typical code; default: a tenth of ``far``.
        far: deviation far from all codes; default: of the coordinates of the embedded codes themselves, root mean
            square, which is what one knows who knows nothing.
        centres: K at most; at most a quarter as many as there are different codes are taken.
        kappa: width of the radial functions, in rho.
        seed: of the first centres.

    Raises:
        UsageError: there are fewer than two codes, or the deviations are not 0 < near < far.
    """
    if len(codes) < 2:
        raise UsageError(f"an uncertain embedding got {len(codes)} codes, expected at least 2")
    places = torch.cat([embedding(rows) for rows in codes.split(256)])
    width = places.shape[1]
    far = float(places.var(0, correction=0).mean().sqrt()) if far is None else far
    near = far / 10 if near is None else near
    if not 0 < near < far:
        raise UsageError(
            f"an uncertain embedding got deviations near {near:g} and far {far:g}, expected 0 < near < far"
        )
    middles, shares, spread = _centres(codes, max(1, min(centres, len(codes.unique(dim=0)) // 4)), seed)
    scale = 2 * (kappa * spread) ** 2

    def density(z: Tensor) -> Tensor:
        squared = (z[:, None] - middles.to(z)).square().sum(2)
        return torch.exp(-squared / scale) @ shares.to(z)

    typical = float(density(codes).median())

    def together(z: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        u = density(z) / typical
        sigma = (far**-2 + near**-2 * 2 * u / (1 + u)) ** -0.5
        return torch.cat((embedding(z), width**0.5 * sigma[:, None]), 1)

    return together


def ensemble(embeddings: Sequence[Embedding]) -> Embedding:
    """Return the members side by side, over the root of their number.

    Raises:
        UsageError: there is no member.
    """
    members = tuple(embeddings)
    if not members:
        raise UsageError("an ensemble got no member, expected at least one")

    def together(z: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        return torch.cat([member(z) for member in members], 1) / len(members) ** 0.5

    return together


def _centres(codes: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, float]:
    """Return centres by Lloyd's algorithm, the share of the codes each has, and rho; empty ones are left out."""
    first = torch.from_numpy(numpy_stream(seed, "centres").permutation(len(codes))[:count])
    middles = codes[first.to(codes.device)]
    members = _members(codes, middles)
    for _ in range(_LLOYD):
        middles = members.T @ codes / members.sum(0)[:, None]
        members = _members(codes, middles)
    middles = members.T @ codes / members.sum(0)[:, None]
    spread = torch.cdist(codes, middles).amin(1).square().mean().sqrt()
    return middles, members.mean(0), float(spread)


def _members(codes: Tensor, middles: Tensor) -> Tensor:
    """Return which code is nearest to which middle, ones and zeros; no column for one that has none."""
    members = torch.nn.functional.one_hot(torch.cdist(codes, middles).argmin(1), len(middles)).to(codes)
    return members[:, members.sum(0) > 0]
