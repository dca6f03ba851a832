r"""Geodesics between pairs of points, many at once, by Gauss-Newton on the energy of a discrete curve.

Letters: p pairs, s segments, points z_0 ... z_s (both ends held), r_i residual of step i (its squared norm is the
squared length: :mod:`latentscape.geometry.manifold`), lambda damping.

.. math:: E = s \sum_{i=0}^{s-1} \lVert r_i \rVert^2 \;\ge\; \Big(\sum_i \lVert r_i \rVert\Big)^2 = L^2,

with equality at constant speed, so the least energy is a shortest curve at constant speed (do Carmo 1992, ch. 9; the
discrete energy of an embedding: Shao et al. 2018, eq. 3). Its Gauss-Newton matrix is block tridiagonal; a Levenberg
term, :math:`\lambda` times its mean diagonal, is added curve by curve: less after a step that did what the model
promised (Nielsen 1999), eight times more after one that did not lower the energy, which is not taken.

Three things make it fast.

* The Jacobians are what costs (d directional derivatives a point), a gradient costs three evaluations. So a matrix
  serves several steps, whose gradients are exact (Shamanskii 1967).
* Curves are solved on coarse grids first, and carried to the next one by cubic splines.
* On the finest grid Jacobians are first taken at nine points along a curve, and are linear in time between. Only
  curves that have not converged with those are given Jacobians everywhere.

The approximate matrix changes the way, never the end: where the exact gradient vanishes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry.manifold import Manifold
from latentscape.geometry.neighbours import Neighbours
from latentscape.geometry.tridiagonal import Factored

_MOST_KNOWN = 8
"""Intervals between points with Jacobians of their own along a curve, at first."""
_STEPS = 3
"""Steps that a set of Jacobians serves."""
_COARSE = (2, 2)
"""Rounds and steps on a coarse grid."""
_DAMPING, _FREE, _LEAST, _MOST = 1e-3, 1e-4, 1e-6, 1e6
"""Damping at first; where a promise can be believed; bounds."""
_VALUES = 1 << 24
"""Numbers of the embedded curves at a time."""


@dataclass(frozen=True)
class Geodesics:
    """Solved curves, and what they were before.

    Attributes:
        points: along each curve, both ends among them.
        energy: E of each; its root is the distance, to within the unevenness of its speed.
        energy_line: E of the straight line, travelled at constant latent speed.
        length: L of each.
        length_line: L of the straight line.
        converged: where a step with next to no damping promises less than ``tolerance`` of E.
        rounds: sets of Jacobians that the finest grid took.
        began: what each curve was first, ``line`` or ``graph``.
    """

    points: Float[Tensor, "p n d"]
    energy: Float[Tensor, " p"]
    energy_line: Float[Tensor, " p"]
    length: Float[Tensor, " p"]
    length_line: Float[Tensor, " p"]
    converged: Bool[Tensor, " p"]
    rounds: int
    began: tuple[str, ...]


@torch.no_grad()
def geodesics(
    manifold: Manifold,
    a: Float[Tensor, "p d"],
    b: Float[Tensor, "p d"],
    *,
    segments: int = 32,
    graph: Neighbours | None = None,
    tolerance: float = 1e-3,
    rounds: int = 8,
) -> Geodesics:
    """Return the geodesics from each ``a`` to its ``b``; none is longer, or of more energy, than where it began.

    Args:
        manifold: where.
        a: where they begin.
        b: where they end.
        segments: s; multiples of 8 are fastest.
        graph: of codes known to lie on the data; a curve then begins as the shortest way over it, where that has less
            energy than the straight line.
        tolerance: share of its energy that a step must promise to save, for a curve to go on.
        rounds: sets of Jacobians at most on the finest grid, each for 3 steps.

    Raises:
        UsageError: the shapes don't fit, or there is no segment.
    """
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] != manifold.dim or segments < 1:
        raise UsageError(
            f"geodesics got {list(a.shape)} to {list(b.shape)} in {segments} segments, "
            f"expected [p, {manifold.dim}] twice and at least 1"
        )
    line = straight(a, b, segments)
    energy_line, length_line = measure(manifold, line)
    start, began = line, torch.zeros(len(a), dtype=torch.bool, device=a.device)
    if graph is not None:
        ways = graph.ways(a, b, segments, length_line)
        began = measure(manifold, ways)[0] < energy_line
        start = torch.where(began[:, None, None], ways, line)
    solved = _Descent(start, torch.full_like(energy_line, _DAMPING), torch.ones_like(began), 0)
    for level, grid in enumerate(_grids(segments)):
        points = start[:, :: segments // grid]
        if level:
            carried = refine(solved.points, grid)
            better = measure(manifold, carried)[0] < measure(manifold, points)[0]
            points = torch.where(better[:, None, None], carried, points)
        effort = (rounds, _STEPS) if grid == segments else _COARSE
        solved = _descend(manifold, points, solved.damping, *effort, tolerance)
    points = solved.points
    energy, length = measure(manifold, points)
    energy_start, length_start = measure(manifold, start)
    keep = (energy <= energy_start) & (length <= length_start)
    points = torch.where(keep[:, None, None], points, start)
    energy, length = torch.where(keep, energy, energy_start), torch.where(keep, length, length_start)
    names = tuple("graph" if first else "line" for first in began.tolist())
    return Geodesics(points, energy, energy_line, length, length_line, solved.converged, solved.rounds, names)


def straight(a: Float[Tensor, "p d"], b: Float[Tensor, "p d"], segments: int) -> Float[Tensor, "p n d"]:
    """Return the points of straight lines."""
    return torch.lerp(a[:, None], b[:, None], torch.linspace(0, 1, segments + 1, dtype=a.dtype).to(a)[None, :, None])


def measure(manifold: Manifold, points: Float[Tensor, "p n d"]) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Return energy and length of each curve."""
    squared = torch.cat([manifold.chords(rows).square().sum(2) for rows in _pieces(manifold, points)])
    return squared.shape[1] * squared.sum(1), squared.sqrt().sum(1)


def refine(points: Float[Tensor, "p n d"], segments: int) -> Float[Tensor, "p m d"]:
    """Return the cubic splines through the points, cut into so many segments; every old point stays one."""
    return _spline(points.shape[1] - 1, segments).to(points) @ points


@cache
def _spline(coarse: int, fine: int) -> Float[Tensor, "m n"]:
    from scipy.interpolate import CubicSpline  # slow to import, and most paths are in closed form

    unit = np.eye(coarse + 1)
    times = np.linspace(0, 1, fine + 1)
    return torch.from_numpy(CubicSpline(np.linspace(0, 1, coarse + 1), unit)(times))


def _grids(segments: int) -> Iterator[int]:
    """Yield the grids, coarse to fine; none for a single segment, which has nothing to solve."""
    if segments == 1:
        return
    coarse = _known(segments)
    if coarse % 2 == 0 and coarse >= _MOST_KNOWN:
        yield coarse // 2
    if coarse < segments:
        yield coarse
    yield segments


def _known(segments: int) -> int:
    """Return into how many intervals Jacobians first divide a grid of so many segments."""
    while segments > _MOST_KNOWN and segments % 2 == 0:
        segments //= 2
    return segments


def _pieces(manifold: Manifold, points: Tensor) -> tuple[Tensor, ...]:
    """Return the curves, as many at a time as keep the memory of one evaluation bounded."""
    one = points[:1, 0]
    values = points.shape[1] * manifold.step(one, one).shape[1]
    return points.split(max(1, _VALUES // values))


@dataclass(frozen=True)
class _Descent:
    points: Tensor
    damping: Tensor
    converged: Tensor
    rounds: int


def _descend(
    manifold: Manifold, points: Tensor, damping: Tensor, rounds: int, steps: int, tolerance: float
) -> _Descent:
    """Lower the energy of curves on one grid; each round takes the Jacobians of those that have not converged."""
    points, damping, segments = points.clone(), damping.clone(), points.shape[1] - 1
    energy, gradient = _gradient(manifold, points)
    converged = energy == 0
    noise = 8 * torch.finfo(energy.dtype).eps
    for turn in range(rounds):
        going = (~converged).nonzero()[:, 0]
        if not len(going):
            return _Descent(points, damping, converged, turn)
        stride = 1 if turn else segments // _known(segments)
        diagonal, above = (2 * segments * block for block in manifold.matrix(points[going], stride))
        size = diagonal.diagonal(dim1=-2, dim2=-1).mean((1, 2))
        one = torch.eye(manifold.dim).to(size)
        for _ in range(steps):
            held = (damping[going] * size)[:, None, None] * one
            move = -Factored(diagonal + held[:, None], above).solve(gradient[going])
            promised = -(gradient[going] * move).sum((1, 2)) / 2
            converged[going] |= (promised <= tolerance * energy[going]) & (damping[going] <= _FREE)
            trial = points[going]
            trial[:, 1:-1] += move
            energy_there, gradient_there = _gradient(manifold, trial)
            saved = energy[going] * (1 + noise) - energy_there
            taken = saved > 0
            fit = saved / promised.clamp_min(torch.finfo(saved.dtype).tiny)
            change = torch.where(taken, (1 - (2 * fit.clamp(-10, 10) - 1) ** 3).clamp(0.2, 4), 8)
            damping[going] = (damping[going] * change).clamp(_LEAST, _MOST)
            kept = going[taken]
            points[kept], energy[kept], gradient[kept] = trial[taken], energy_there[taken], gradient_there[taken]
    return _Descent(points, damping, converged, rounds)


def _gradient(manifold: Manifold, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return E and its gradient by the inner points."""
    energies, gradients = [], []
    for rows in _pieces(manifold, points):
        with torch.enable_grad():
            inner = rows[:, 1:-1].detach().requires_grad_()
            chords = manifold.chords(torch.cat((rows[:, :1], inner, rows[:, -1:]), 1))
            energy = chords.shape[1] * chords.square().sum((1, 2))
            gradients.append(torch.autograd.grad(energy.sum(), inner)[0])
        energies.append(energy.detach())
    return torch.cat(energies), torch.cat(gradients)
