r"""Nearest neighbours by blocks: candidates from one matrix product, their distances from differences.

Letters: q queries, m points, f values a point. :math:`\|a - b\|^2 = \|a\|^2 + \|b\|^2 - 2 a^\top b` in single precision
finds a few candidates a query; their distances are then computed anew in double precision, where it would lose its
digits: at a distance near zero, as of a memorised item. Where rounding of the product may have hidden a nearer point,
as in clusters far from one another, the query is sought again with a product in double precision.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SPARE = 3
"""Candidates beyond those asked for, so that rounding in the product does not decide."""
_CELLS = 2**22
"""Distances of a block: 16 MB."""
_ROUNDING = 2.0**-20
"""Error of a distance from the product in single precision, in squared lengths: 16 units in the last place."""


def nearest(
    queries: Float[Tensor, "q f"], points: Float[Tensor, "m f"], count: int = 1, *, own: bool = False
) -> Float[Tensor, "q k"]:
    """Return the Euclidean distances (double) of each query to its nearest points, ascending.

    Args:
        queries: of any precision.
        points: at least ``count`` of them (and one more with ``own``).
        count: k.
        own: row i of the queries is row i of the points, which is not a neighbour of itself.
    """
    centre = points.mean(0, dtype=torch.float64).to(points.dtype)
    centred, sought = (points - centre).float(), (queries - centre).float()
    norms = centred.square().sum(1)
    candidates = min(len(points), count + _SPARE + own)
    rows = max(1, _CELLS // len(points))
    found = []
    for start in range(0, len(queries), rows):
        block = torch.arange(start, min(start + rows, len(queries)), device=points.device)
        near = torch.addmm(norms, sought[block], centred.T, alpha=-2).topk(candidates, 1, largest=False)
        distances = _exact(queries, points, block, near.indices, own=own)[:, :count]
        length = sought[block].square().sum(1)
        beyond = near.values[:, -1] + length - _ROUNDING * (length + norms.max())
        unsure = (distances[:, -1] > beyond) & (candidates < len(points))
        if unsure.any():
            block = block[unsure]
            double = centred.double()
            near = torch.addmm(double.square().sum(1), sought[block].double(), double.T, alpha=-2)
            index = near.topk(candidates, 1, largest=False).indices
            distances[unsure] = _exact(queries, points, block, index, own=own)[:, :count]
        found.append(distances.sqrt())
    return torch.cat(found)


def _exact(
    queries: Tensor, points: Tensor, block: Tensor, index: Int[Tensor, "b k"], *, own: bool
) -> Float[Tensor, "b k"]:
    """Return the squared distances (double) of some queries to their candidates, ascending."""
    squared = (queries[block, None].double() - points[index].double()).square().sum(2)
    if own:
        squared = squared.masked_fill(index == block[:, None], torch.inf)
    return squared.sort(1).values
