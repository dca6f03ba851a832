r"""Nearest neighbours by blocks: candidates from one matrix product, their distances from differences.

Letters: q queries, m points, f values a point. :math:`\|a - b\|^2 = \|a\|^2 + \|b\|^2 - 2 a^\top b` in single precision
finds a few candidates a query; their distances are then computed anew in double precision, where it would lose its
digits: at a distance near zero, as of a memorised item.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_SPARE = 3
"""Candidates beyond those asked for, so that rounding in the product does not decide."""
_CELLS = 2**22
"""Distances of a block: 16 MB."""


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
    centred = (points - centre).float()
    norms = centred.square().sum(1)
    candidates = min(len(points), count + _SPARE + own)
    rows = max(1, _CELLS // len(points))
    found = []
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        near = torch.addmm(norms, (block - centre).float(), centred.T, alpha=-2)
        index = near.topk(candidates, 1, largest=False).indices
        exact = (block[:, None].double() - points[index].double()).square().sum(2)
        if own:
            itself = index == torch.arange(start, start + len(block), device=index.device)[:, None]
            exact = exact.masked_fill(itself, torch.inf)
        found.append(exact.sort(1).values[:, :count].sqrt())
    return torch.cat(found)
