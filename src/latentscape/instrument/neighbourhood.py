r"""The neighbour-preserving map: dots that are close in latent space are close in the plane, and any spot has a code.

Letters: n dots with codes :math:`z_i` ``[d]`` and places :math:`p_i` in the plane, q a query in one of the two spaces.

Places are those of t-SNE (van der Maaten and Hinton 2008; Barnes-Hut, started from the principal plane, so that it is a
function of the codes), centred, of mean square radius 1, and turned to lie as the principal plane does (Procrustes).
Of more than :data:`MOST_DOTS` dots so many are laid out, and the others placed among them.

Between the dots both ways are Shepard's interpolation with Franke and Little's weights (Franke 1982):

.. math:: f(q) = \frac{\sum_i w_i y_i}{\sum_i w_i}, \qquad w_i = \Big( \frac{(R - r_i)_+}{R\, r_i} \Big)^2,

:math:`r_i` the distance of q to dot i and R that to the 17th nearest (infinite where there are no more than 16). It is
exact at the dots, continuous everywhere (a dot that leaves the 16 nearest has weight 0), and never leaves the convex
hull of what it interpolates: a spot far from all dots has a code amid the corpus, not one that no sound ever had.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

MOST_DOTS = 1000
NEAREST = 16
PERPLEXITY = 30.0
STEPS = 500
LEAST_DOTS = 8
_ROWS = 1 << 22


@dataclass(frozen=True)
class Neighbourhood:
    """A neighbour-preserving map.

    Attributes:
        codes: of the dots, ``[n, d]``.
        places: of the dots in the plane, ``[n, 2]``.
    """

    codes: Float[Tensor, "n d"]
    places: Float[Tensor, "n 2"]

    def place(self, z: Float[Tensor, "m d"]) -> Float[Tensor, "m 2"]:
        """Return where codes lie in the plane."""
        return shepard(z, self.codes, self.places)

    def lift(self, places: Float[Tensor, "m 2"]) -> Float[Tensor, "m d"]:
        """Return the codes of spots of the plane."""
        return shepard(places, self.places, self.codes)


def shepard(
    queries: Float[Tensor, "m a"], dots: Float[Tensor, "n a"], values: Float[Tensor, "n v"], *, own: bool = False
) -> Float[Tensor, "m v"]:
    """Return values at the queries, interpolated between the dots; see the module.

    ``own``: query i is dot i, which is left out of its own interpolation (to measure what a held-out dot would get).
    """
    dots, values = dots.to(queries.device).double(), values.to(queries.device)
    count = min(NEAREST, len(dots) - own)
    size = max(1, _ROWS // max(len(dots), queries.shape[1]))
    middle = dots.mean(0)  # about it, products of float64 leave 1e-8 of the spread as the error of a distance
    dots, rows = dots - middle, []
    for low in range(0, len(queries), size):
        block = queries[low : low + size].double() - middle
        r = torch.cdist(block, dots, compute_mode="use_mm_for_euclid_dist")
        if own:
            r[torch.arange(len(block)), torch.arange(low, low + len(block))] = torch.inf
        more = len(dots) - own > count
        near, place = r.topk(count + more, 1, largest=False)
        edge = near[:, -1:] if more else torch.full_like(near[:, :1], torch.inf)
        near, place = near[:, :count], place[:, :count]
        # at a dot its weight is 1e18 times that of any other, which is all that float32 can tell
        tiny = 1e-9 * torch.where(torch.isfinite(edge), edge, near[:, -1:]).clamp_min(1e-30)
        weight = (1 / near.clamp_min(tiny) - 1 / edge.clamp_min(tiny)).clamp_min(0).square()
        total = weight.sum(1, keepdim=True)
        weight = torch.where(total > 0, weight / total, 1 / count)
        rows.append((weight[..., None] * values[place].double()).sum(1))
    return torch.cat(rows).to(queries.dtype) if rows else values.new_zeros(0, values.shape[1]).to(queries.dtype)


def neighbourhood(
    codes: Float[Tensor, "n d"], principal: Float[Tensor, "n _"], *, seed: int = 0
) -> Neighbourhood | None:
    """Lay codes out in the plane; ``None`` for fewer than 8 dots or a single dimension, which need no such map.

    Args:
        codes: of the dots.
        principal: their coordinates on the principal axes, the first two of which say how the map is turned.
        seed: of t-SNE.
    """
    n = len(codes)
    if n < LEAST_DOTS or codes.shape[1] < 2 or principal.shape[1] < 2:
        return None
    from sklearn.manifold import TSNE

    chosen = torch.linspace(0, n - 1, min(n, MOST_DOTS)).round().long()
    z = codes[chosen].double().cpu().numpy()
    if not (z.std(0) > 0).any():
        return None
    perplexity = min(PERPLEXITY, (len(z) - 1) / 3)
    start = principal[chosen, :2].double().cpu().numpy()
    start = 1e-4 * start / max(float(start[:, 0].std()), 1e-12)
    tsne: Any = TSNE
    settings = {"perplexity": perplexity, "init": start, "max_iter": STEPS, "random_state": seed, "n_jobs": 1}
    layout = tsne(2, **settings).fit_transform(z)
    layout = layout.astype(np.float64) - layout.mean(0, dtype=np.float64)
    u, _, v = np.linalg.svd(layout.T @ start)
    layout = layout @ u @ v / np.sqrt((layout**2).sum(1).mean())
    laid = Neighbourhood(codes[chosen], torch.from_numpy(layout).float())
    return laid if n == len(chosen) else Neighbourhood(codes, laid.place(codes))


def map_quality(found: Neighbourhood, flat: Float[Tensor, "n 2"], *, neighbours: int = 12) -> dict[str, float]:
    """Return what a map is worth, beside the principal plane ``flat`` of the same dots.

    * trustworthiness (0 to 1) of either: whether those close in the plane are close in latent space (Venna and Kaski
      2001), for 12 neighbours
    * lift_error: mean squared error of a dot's code from the others (each held out once), over the codes' variance;
      of the principal plane, that of lifting to it, which has seen the dot
    * place_error: mean squared error of a held-out dot's place, over the places' variance (1)
    """
    from sklearn import manifold

    trusted: Any = manifold.trustworthiness

    chosen = torch.linspace(0, len(flat) - 1, min(len(flat), 2 * MOST_DOTS)).round().long()
    codes, places = found.codes[chosen].double(), found.places[chosen].double()
    k = max(1, min(neighbours, (len(codes) - 1) // 2 - 1))
    centred = codes - codes.mean(0)
    variance = float(centred.square().sum())
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    return {
        "trustworthiness": float(trusted(codes.numpy(), places.numpy(), n_neighbors=k)),
        "trustworthiness_principal": float(trusted(codes.numpy(), flat[chosen].double().numpy(), n_neighbors=k)),
        "lift_error": float((shepard(places, places, codes, own=True) - codes).square().sum()) / variance,
        "lift_error_principal": float((centred - centred @ basis.T @ basis).square().sum()) / variance,
        "place_error": float((shepard(codes, codes, places, own=True) - places).square().sum(1).mean()),
    }
