r"""The pace of a path, frozen: constant speed in any distance, or the course of another path, as a table of times.

Letters: t time on the path, u time afterwards, z(t) the path, y(z) what distance is measured in, s share of the way.

The way is :math:`ds^2 = \lvert dy \rvert^2 + (\varepsilon\,Y / Z)^2 \lvert dz \rvert^2`, Y and Z the whole lengths in y
and in latent space, :math:`\varepsilon = 0.01`: where y stands still for a while, the path goes on at up to 100 times
its mean latent pace and does not leap. The table holds (u, t) with s(t) = u at even u, at even t (which are close in u
where y hardly moves) and at every corner of the path. So y is asked once, and the path that comes out is plain JSON,
which needs no model.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry.compound import Retimed
from latentscape.geometry.path import Path
from latentscape.geometry.record import MOST_DEPTH, MOST_POINTS, PathRecord

Along = Callable[[Tensor], Tensor]
"""Points ``[n, d]`` -> what distance between them is measured in, ``[n, m]``."""
SAMPLES = 4096
KNOTS = 1024
_LEAST = 0.01
_SAME = 1e-9


def retimed(path: Path, along: Along | None = None, *, knots: int = KNOTS) -> Retimed:
    """Return a path at constant speed of ``along(path)``; ``None`` is the speed in latent space.

    Args:
        path: a record; one that is retimed already forgets its old times.
        along: where distance is measured; called on points float32 ``[n, d]``, without gradients.
        knots: of the table, corners of the path apart.

    Raises:
        UsageError: it is no record, with the table too large for one, or its distance is not finite.
    """
    path = _inner(path)
    times, share = _way(path, along)
    corner = np.isin(times, path.breaks)
    even = np.linspace(0, 1, knots // 2 + 1)
    pairs = [
        (share[corner], times[corner]),
        (even, np.interp(even, share, times)),
        (np.interp(even, times, share), even),
    ]
    return _frozen(path, pairs)


def timed_like(path: Path, other: Path, along: Along | None = None, *, knots: int = KNOTS) -> Retimed:
    """Return a path in the time course of another: at every time it has gone the share of its way that the other has.

    Args:
        path: a record; one that is retimed already forgets its old times.
        other: the path whose course is taken, such as the :class:`Recorded` one of a note.
        along: where both ways are measured; see :func:`retimed`.
        knots: of the table, corners apart.

    Raises:
        UsageError: as of :func:`retimed`.
    """
    path = _inner(path)
    times, share = _way(path, along)
    clock, gone = _way(other, along)
    corner = np.isin(times, path.breaks)
    when = np.union1d(np.linspace(0, 1, knots + 1), np.asarray(other.breaks))
    met = (np.interp(share[corner], gone, clock), times[corner])
    return _frozen(path, [met, (when, np.interp(np.interp(when, clock, gone), share, times))])


def _inner(path: Path) -> PathRecord:
    if not isinstance(path, PathRecord):
        raise UsageError(
            f"a {type(path).__name__} can't be saved, so its pace can't be; expected a path that is a record"
        )
    if isinstance(path, Retimed) and path.times[0][1] == 0 and path.times[-1][1] == 1:
        return path.path  # the same curve
    return path


def _way(path: Path, along: Along | None) -> tuple[np.ndarray, np.ndarray]:
    """Return times, the path's panels among them, and the share of the way that has been gone by each, from 0 to 1."""
    times = np.union1d(np.linspace(0, 1, SAMPLES + 1), np.asarray(path.panels))
    z = path.evaluate(torch.from_numpy(times))
    steps = z.diff(dim=0).norm(dim=1).numpy()
    if along is not None and steps.sum() > 0:
        with torch.no_grad():
            y = along(z.float()).double().cpu()
        moved = y.flatten(1).diff(dim=0).norm(dim=1).numpy()
        if not np.isfinite(moved).all():
            raise UsageError("the distance along the path is not finite")
        steps = np.hypot(moved, _LEAST * moved.sum() / steps.sum() * steps) if moved.sum() > 0 else steps
    way = np.concatenate(([0.0], np.cumsum(steps)))
    return times, way / way[-1] if way[-1] > 0 else times


def _frozen(path: PathRecord, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Retimed:
    """Return the path with a table of the pairs (u, t) in order; of those that all but coincide, the first stays."""
    u, t = (np.concatenate(column) for column in zip(*pairs, strict=True))
    kept: list[tuple[float, float]] = []
    for index in np.lexsort((np.arange(len(u)), np.round(u / _SAME))):
        if not kept or u[index] - kept[-1][0] > _SAME:
            kept.append((float(u[index]), float(max(t[index], kept[-1][1] if kept else 0.0))))
    kept[0], kept[-1] = (0.0, 0.0), (1.0, 1.0)
    size, depth = path.size + len(kept), path.depth + 1
    if size > MOST_POINTS or depth > MOST_DEPTH:
        raise UsageError(
            f"a {type(path).__name__.lower()} of {path.size:,} points would with its table of times hold {size:,} "
            f"and be {depth} deep, expected at most {MOST_POINTS:,} and {MOST_DEPTH}"
        )
    return Retimed(path=path, times=tuple(kept))
