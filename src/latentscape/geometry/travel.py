r"""What can be done with any path: travel at constant speed, resample, and join without jumps.

Letters: t time on the given path, s(t) its arc length, L = s(1), u = s / L the share of the way travelled.

Travel solves :math:`s(t) = u L` for t, so that :math:`w(u) = z(t(u))` has
:math:`\dot w = L\,\dot z / \lVert\dot z\rVert`, of constant norm L. Where the speed is zero over a while, travel skips
that while.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry.closed import Line
from latentscape.geometry.path import Path, arc_length, partial_lengths
from latentscape.geometry.points import gone

_STEPS = 60
_SOLVED = 1e-13
_INSTANT = 1e-12
"""Of the whole time: a path that would have less is left out of what is joined."""
_CLOSED = 1e-4
"""Of its distance from the origin, and of 1: so far may a closed path end from its begin."""


class Travel(Path):
    """A path travelled at constant speed.

    Args:
        path: any path of more than zero length.
        tolerance: relative error of the quadrature of arc length.
    """

    def __init__(self, path: Path, tolerance: float = 1e-8) -> None:
        self.path = path
        self._times, self._lengths = arc_length(path, tolerance)
        self._total = float(self._lengths[-1])
        if not self._total > 0:
            raise UsageError(f"{type(path).__name__} has length {self._total}, expected more than 0 to travel along it")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return self.path.dim

    @property
    def breaks(self) -> tuple[float, ...]:
        """The corners of the path, as shares of the way."""
        corners = torch.tensor(self.path.breaks, dtype=torch.float64)
        shares = self._lengths[torch.searchsorted(self._times, corners)] / self._total
        return tuple(sorted({share for share in shares.tolist() if 0 < share < 1}))

    def times(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t(u) in float64 on the CPU: Newton's method on s(t) = u L, kept inside a shrinking bracket."""
        target = u.detach().to("cpu", torch.float64).clamp(0, 1) * self._total
        panel = torch.searchsorted(self._lengths, target).clamp(1, len(self._lengths) - 1) - 1
        origin, low, high = self._times[panel], self._times[panel], self._times[panel + 1]
        begin, finish = self._lengths[panel], self._lengths[panel + 1]
        share = ((target - begin) / (finish - begin).clamp_min(1e-300)).clamp(0, 1)
        t = origin + share * (high - low)
        for _ in range(_STEPS):
            error = begin + partial_lengths(self.path, origin, t) - target
            if error.abs().max() <= _SOLVED * self._total:
                break
            low, high = torch.where(error < 0, t, low), torch.where(error > 0, t, high)
            step = t - error / self.path.velocity(t).norm(dim=1).clamp_min(1e-300)
            t = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
        return t

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points after the shares ``t`` of the way."""
        return self.path.evaluate(self.times(t)).to(t)

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the velocity: the direction of the path times its length (zero where the path itself rests)."""
        velocity = self.path.velocity(self.times(t))
        return (self._total * torch.nn.functional.normalize(velocity, dim=1, eps=1e-300)).to(t)


def closing(path: Path) -> None:
    """Refuse a path that does not end where it begins.

    Raises:
        UsageError: it does not.
    """
    apart = float((path.end - path.start).norm())
    if apart > _CLOSED * (1 + float(path.start.norm())):
        raise UsageError(
            f"{type(path).__name__.lower()} ends {apart:.2g} from where it begins, expected a path that closes, "
            "such as a circle of whole turns"
        )


class Rounds(Path):
    """A path that ends where it begins, gone round so many times.

    Args:
        path: closed.
        count: of rounds, more than 0; the last one may be a part of one.

    Raises:
        UsageError: the path is not closed.
    """

    def __init__(self, path: Path, count: float) -> None:
        closing(path)
        self.path, self.count = path, count

    @property
    def dim(self) -> int:
        """The latent width d."""
        return self.path.dim

    @property
    def breaks(self) -> tuple[float, ...]:
        """The corners of every round, and where the next one begins."""
        rounds = range(math.ceil(self.count))
        times = ((number + corner) / self.count for number in rounds for corner in (0.0, *self.path.breaks))
        return tuple(time for time in times if 0 < time < 1)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        return self.path.evaluate((t * self.count).remainder(1))


class Joined(Path):
    """Paths one after the other; see :func:`join`, which closes the gaps between them.

    Args:
        paths: of one width, each beginning where the one before it ends.
        durations: time given to each, in any unit, more than 0.
    """

    def __init__(self, paths: Sequence[Path], durations: Sequence[float]) -> None:
        self.paths = tuple(paths)
        edges = torch.tensor((0.0, *durations), dtype=torch.float64).cumsum(0)
        self._edges = edges / edges[-1]

    @property
    def dim(self) -> int:
        """The latent width d."""
        return self.paths[0].dim

    @property
    def breaks(self) -> tuple[float, ...]:
        """The joins, and the corners of each path."""
        return self._outward([path.breaks for path in self.paths])

    @property
    def panels(self) -> tuple[float, ...]:
        """The joins, and the panels of each path."""
        return self._outward([path.panels for path in self.paths])

    def _outward(self, times: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
        edges = self._edges.tolist()
        ends = zip(times, edges, edges[1:], strict=False)
        return tuple(low + share * (high - low) for inner, low, high in ends for share in (*inner, 1.0))[:-1]

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        return self._piecewise(t, velocity=False)

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return dz/dt at times ``t``; at a join, that of the later path."""
        return self._piecewise(t, velocity=True)

    def _piecewise(self, t: Tensor, velocity: bool) -> Tensor:
        piece, share = gone(self._edges, t)
        result = t.new_zeros(len(t), self.dim)
        for index, (path, width) in enumerate(zip(self.paths, self._edges.diff().tolist(), strict=True)):
            chosen = piece == index
            local = share[chosen].clamp(0, 1).to(t)
            result[chosen] = path.velocity(local) / width if velocity else path.evaluate(local)
        return result


def travel(path: Path, tolerance: float = 1e-8) -> Path:
    """Return the same curve travelled at constant speed; a path that is steady or stays is returned as it is.

    :func:`latentscape.geometry.pace.retimed` does so in other distances, and gives a record.
    """
    return path if isinstance(path, Travel) or not path.length(tolerance) > 0 else Travel(path, tolerance)


def resample(path: Path, n: int) -> Float[Tensor, "n d"]:
    """Return ``n`` points (at least 2) at equal distances along the path, both ends among them, float32 on the CPU."""
    return travel(path).evaluate(torch.linspace(0, 1, n))


def join(paths: Sequence[Path], durations: Sequence[float] | None = None, *, loop: bool = False) -> Path:
    """Return the paths one after the other, without jumps: a straight line bridges every gap.

    Args:
        paths: at least one, all of one width.
        durations: time given to each path, any unit; a bridge then takes the mean of its two neighbours' time for
            their joint length. Default: each path and bridge takes time in proportion to its length, so that the mean
            speed is one throughout.
        loop: whether another bridge leads from the end back to the beginning.

    Raises:
        UsageError: no path, different widths, or durations that don't fit.
    """
    if not paths:
        raise UsageError("join got no path, expected at least one")
    if len({path.dim for path in paths}) > 1:
        raise UsageError(f"join got paths of widths {[path.dim for path in paths]}, expected one width")
    lengths = [path.length() for path in paths]
    if durations is None:
        durations = lengths if any(lengths) else [1.0] * len(paths)
    elif len(durations) != len(paths) or not all(duration > 0 for duration in durations):
        raise UsageError(f"join got durations {list(durations)} for {len(paths)} paths, expected one each, all above 0")
    pieces: list[tuple[Path, float]] = []
    pace = sum(durations) / (sum(lengths) or 1.0)
    for path, duration in zip(paths, durations, strict=True):
        if pieces:
            pieces.append(_bridge(pieces[-1][0], path, pace))
        pieces.append((path, duration))
    if loop:
        pieces.append(_bridge(paths[-1], paths[0], pace))
    least = _INSTANT * sum(duration for _, duration in pieces)
    kept = [(path, duration) for path, duration in pieces if duration > least]
    return Joined([path for path, _ in kept], [duration for _, duration in kept])


def _bridge(before: Path, after: Path, pace: float) -> tuple[Path, float]:
    ends = torch.zeros(1, dtype=torch.float64)
    a, b = (tuple(path.evaluate(at)[0].tolist()) for path, at in ((before, ends + 1), (after, ends)))
    line = Line.model_construct(a=a, b=b)  # unchecked: paths within the bounds of records may end beyond them
    length = line.length()
    scale = max(float(torch.tensor((line.a, line.b)).abs().max()), 1.0)
    return line, pace * length if length > 1e-6 * scale else 0.0
