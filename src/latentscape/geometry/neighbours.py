r"""The neighbour graph of codes: ways that stay where the data are.

Letters: c codes, k neighbours each, p pairs, d latent width.

Every code is joined to its k nearest, by latent distance; an edge is as long as the manifold's step along it, in
``pieces`` parts, so that an edge that leaves the data is seen to be long. The shortest way over the graph
(Dijkstra 1959, in ``scipy.sparse.csgraph``) is a first guess of a geodesic in any d: it can go around what a straight
line goes through (Chen et al. 2019 begin from one, too).
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry.manifold import Manifold

_DISTANCES = 1 << 22
_EDGES = 4096


class Neighbours:
    """A graph of codes.

    Args:
        manifold: measures the edges.
        codes: ``[c, d]``, at least two.
        count: k.
        pieces: steps an edge is measured by.

    Raises:
        UsageError: too few codes, or of another width.
    """

    def __init__(self, manifold: Manifold, codes: Float[Tensor, "c d"], count: int = 8, pieces: int = 4) -> None:
        if len(codes) < 2 or codes.shape[1] != manifold.dim:
            raise UsageError(f"a neighbour graph got codes {list(codes.shape)}, expected [2 or more, {manifold.dim}]")
        self.manifold, self.codes = manifold, codes
        self.count, self.pieces = min(count, len(codes) - 1), pieces
        near = self._nearest(codes, self.count + 1)
        rows = torch.arange(len(codes), device=codes.device)[:, None].expand_as(near)
        apart = near != rows
        self._edges = rows[apart], near[apart], self._lengths(codes[rows[apart]], codes[near[apart]])

    def ways(
        self,
        a: Float[Tensor, "p d"],
        b: Float[Tensor, "p d"],
        segments: int,
        limit: Float[Tensor, " p"] | None = None,
    ) -> Float[Tensor, "p n d"]:
        """Return the shortest ways over the graph, cut into segments of equal length along the manifold.

        Both ends are joined to their nearest codes (and need not be codes). Where there is no way, or none shorter than
        ``limit``, the straight line is returned.
        """
        from scipy.sparse import coo_array  # as in geodesic
        from scipy.sparse.csgraph import dijkstra

        ends = torch.cat((a, b)).to(self.codes)
        near = self._nearest(ends, self.count)
        rows = torch.arange(len(ends), device=ends.device)[:, None].expand_as(near).flatten()
        weights = self._lengths(ends[rows], self.codes[near.flatten()])
        size = len(self.codes) + len(ends)
        first, second, lengths = (
            torch.cat(pair).cpu().numpy()
            for pair in zip(self._edges, (rows + len(self.codes), near.flatten(), weights), strict=True)
        )
        # every edge once: a sparse array would add up what is given twice
        order = np.lexsort((lengths, np.maximum(first, second), np.minimum(first, second)))
        low, high = np.minimum(first, second)[order], np.maximum(first, second)[order]
        new = np.append(True, (np.diff(low) != 0) | (np.diff(high) != 0))
        graph = coo_array((lengths[order][new], (low[new], high[new])), (size, size)).tocsr()
        places = torch.cat((self.codes, ends))
        pairs = len(a)
        result = []
        for i in range(pairs):
            bound = np.inf if limit is None else float(limit[i])
            start, goal = len(self.codes) + i, len(self.codes) + pairs + i
            before = dijkstra(graph, directed=False, indices=start, return_predecessors=True, limit=bound)[1]
            way = [goal]
            while way[-1] >= 0 and way[-1] != start:
                way.append(int(before[way[-1]]))
            result.append(self._cut(places[way[::-1] if way[-1] == start else [start, goal]], segments))
        return torch.stack(result).to(a)

    def _cut(self, corners: Tensor, segments: int) -> Tensor:
        """Return points at equal lengths along a polyline, every side of which is travelled evenly in its pieces."""
        share = torch.linspace(0, 1, self.pieces + 1).to(corners)[:-1, None]
        fine = torch.cat((torch.lerp(corners[:-1, None], corners[1:, None], share).flatten(0, 1), corners[-1:]))
        lengths = self.manifold.step(fine[:-1], fine[1:]).norm(dim=1)
        way = torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
        target = torch.linspace(0, 1, segments + 1).to(way) * way[-1]
        piece = torch.searchsorted(way, target).clamp(1, len(lengths)) - 1
        along = ((target - way[piece]) / lengths[piece].clamp_min(torch.finfo(way.dtype).tiny)).clamp(0, 1)
        cut = torch.lerp(fine[piece], fine[piece + 1], along[:, None])
        cut[0], cut[-1] = corners[0], corners[-1]
        return cut

    def _nearest(self, queries: Tensor, count: int) -> Int[Tensor, "q k"]:
        rows = max(1, _DISTANCES // len(self.codes))
        near = [torch.cdist(part, self.codes).topk(count, largest=False)[1] for part in queries.split(rows)]
        return torch.cat(near)

    @torch.no_grad()
    def _lengths(self, a: Tensor, b: Tensor) -> Float[Tensor, " e"]:
        """Return the lengths of straight edges, the sum over their pieces."""
        share = torch.linspace(0, 1, self.pieces + 1).to(a)[None, :, None]
        lengths = []
        for low in range(0, len(a), _EDGES // self.pieces):
            rows = slice(low, low + _EDGES // self.pieces)
            points = torch.lerp(a[rows, None], b[rows, None], share)
            lengths.append(self.manifold.chords(points).norm(dim=2).sum(1))
        return torch.cat(lengths)
