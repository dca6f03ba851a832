r"""Paths made of paths: moved, retimed, one after the other. They nest, and stay records.

Letters: t time on the inner path, u time on the outer one, both from 0 to 1, o offset, d latent width.

* moved: :math:`z(t) + (1 - t)\,o_0 + t\,o_1`, the course of one note carried to another, or from one to another
* retimed: :math:`z(t(u))`, t a monotone table of pairs (u, t), such as :func:`latentscape.geometry.pace.retimed` makes;
  between them a cubic that keeps the order (Fritsch and Butland 1984, eq. 5, as in PCHIP), begun anew at every corner
  of the inner path, where the pace may leap
* sequence: one after the other, a straight bridge over every gap; see :func:`latentscape.geometry.travel.join`
"""

from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from latentscape.geometry.closed import Circle, Diagonal, Grid, Line, Lissajous, Sphere, Spiral, Traversal
from latentscape.geometry.path import Path
from latentscape.geometry.points import Polyline, Recorded, Spline, locate
from latentscape.geometry.record import MOST_POINTS, PathRecord, Vector
from latentscape.geometry.travel import join
from latentscape.geometry.wandering import Drift, RandomWalk

Share = Annotated[float, Field(ge=0, le=1)]


class _Outer(PathRecord):
    """What a path around one other path shares."""

    path: "AnyPath"

    @property
    def dim(self) -> int:
        """The latent width d."""
        return self.path.dim

    @property
    def size(self) -> int:
        """How many points it holds."""
        return self.path.size

    @property
    def depth(self) -> int:
        """How deep paths are nested in it."""
        return self.path.depth + 1


class Moved(_Outer):
    """A path with the offset ``by`` added to all of it; with ``until``, the offset goes from ``by`` to that."""

    kind: Literal["moved"] = "moved"
    by: Vector
    until: Vector | None = None

    def check(self) -> None:
        """The offsets have the width of the path."""
        for name, offset in (("by", self.by), ("until", self.until or self.by)):
            if len(offset) != self.dim:
                raise ValueError(f"{name} of width {self.dim}, that of the path, but it has {len(offset)}")

    @property
    def breaks(self) -> tuple[float, ...]:
        """The corners of the path."""
        return self.path.breaks

    @property
    def panels(self) -> tuple[float, ...]:
        """The panels of the path."""
        return self.path.panels

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        return self.path.evaluate(t) + torch.lerp(*self._offsets(t), t[:, None])

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return dz/dt at times ``t``."""
        first, last = self._offsets(t)
        return self.path.velocity(t) + (last - first)

    def _offsets(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return t.new_tensor(self.by), t.new_tensor(self.until or self.by)


class Retimed(_Outer):
    """A path in another course of time: at the time u of each pair in ``times`` it is where ``path`` is at t.

    u ascends from 0 to 1; t never goes back.
    """

    kind: Literal["retimed"] = "retimed"
    times: tuple[tuple[Share, Share], ...] = Field(min_length=2, max_length=MOST_POINTS)

    def check(self) -> None:
        """The table is in order."""
        if self.times[0][0] != 0 or self.times[-1][0] != 1:
            raise ValueError(f"times from 0 to 1, but they go from {self.times[0][0]} to {self.times[-1][0]}")
        for (u, t), (later, onward) in pairwise(self.times):
            if later <= u or onward < t:
                raise ValueError(f"times in order, but after {[u, t]} comes {[later, onward]}")

    @property
    def size(self) -> int:
        """How many points it holds, those of the table counted in."""
        return self.path.size + len(self.times)

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """U and t of the pairs, and the slopes dt/du with which each piece begins and ends, float64."""
        u, t = torch.tensor(self.times, dtype=torch.float64).T.contiguous()
        corner = torch.isin(t, torch.tensor(self.path.breaks, dtype=torch.float64))[1:-1]
        return u, t, *monotone_slopes(u, t, corner)

    @property
    def breaks(self) -> tuple[float, ...]:
        """The corners of the path, in the outer time."""
        return self._outward(self.path.breaks)

    @property
    def panels(self) -> tuple[float, ...]:
        """The times of the table, and the panels of the path."""
        return tuple(sorted({*self._outward(self.path.panels), *(u for u, _ in self.times[1:-1])}))

    def time(self, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return t(u)."""
        return self._cubic(u)[0].to(u)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at (outer) times ``t``."""
        return self.path.evaluate(self._cubic(t)[0]).to(t)

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the velocity at (outer) times ``t``."""
        time, pace = self._cubic(t)
        return (self.path.velocity(time) * pace[:, None]).to(t)

    def _cubic(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return t(u) and dt/du, float64: the cubic Hermite polynomial of each piece."""
        knots, values, begin, end = (value.to(u.device) for value in self._table)
        low, since, lasting = locate(knots, u)
        x, rise = since / lasting, values[low + 1] - values[low]
        first, last = begin[low] * lasting, end[low] * lasting
        square, cube = 3 * rise - 2 * first - last, first + last - 2 * rise
        time = values[low] + x * (first + x * (square + x * cube))
        return time.clamp(0, 1), (first + x * (2 * square + 3 * x * cube)) / lasting

    def _outward(self, times: tuple[float, ...]) -> tuple[float, ...]:
        """Return when the path comes by each of its own ``times``, those that it passes."""
        u, t, *_ = self._table
        inner = torch.tensor([time for time in times if t[0] < time < t[-1]], dtype=torch.float64)
        at = torch.searchsorted(t, inner)
        low, high = u[at - 1], u[at]
        for _ in range(60):  # bisection of the piece; a time of the table itself is its end
            middle = (low + high) / 2
            before = self._cubic(middle)[0] < inner
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        found = torch.where(t[at] == inner, u[at], high)
        return tuple(time for time in found.unique().tolist() if 0 < time < 1)


def monotone_slopes(
    u: Float[Tensor, " k"], t: Float[Tensor, " k"], corner: Bool[Tensor, " c"]
) -> tuple[Float[Tensor, " j"], Float[Tensor, " j"]]:
    """Return the slopes with which each of the j = k - 1 pieces begins and ends, so that t(u) never goes back.

    Args:
        u: ascending.
        t: never descending.
        corner: for each of the c = k - 2 inner places whether the two pieces that meet there are strangers.
    """
    lasting, slope = u.diff(), t.diff() / u.diff()
    left, right, before, after = lasting[:-1], lasting[1:], slope[:-1], slope[1:]
    mean = 3 * (left + right) / ((2 * right + left) / before + (right + 2 * left) / after)
    # at an end: the parabola through this piece and the next one inwards, kept between 0 and thrice the slope
    onward = ((2 * left + right) * before - left * after) / (left + right)
    inward = ((2 * right + left) * after - right * before) / (left + right)
    onward, inward = (end.clamp_min(0).minimum(3 * own) for end, own in ((onward, before), (inward, after)))
    edge = torch.ones(1, dtype=torch.bool)
    starts, stops = torch.cat((edge, corner)), torch.cat((corner, edge))
    alone, first, last = starts & stops, slope[:1], slope[-1:]
    begin = torch.where(starts, torch.cat((onward, last)), torch.cat((first, mean)))
    end = torch.where(stops, torch.cat((first, inward)), torch.cat((mean, last)))
    return torch.where(alone, slope, begin), torch.where(alone, slope, end)


class Sequence(PathRecord):
    """Paths one after the other, a straight bridge over every gap; with ``loop`` another one back to the beginning.

    ``durations``, one for each path in any unit, are as those of :func:`latentscape.geometry.travel.join`.
    """

    kind: Literal["sequence"] = "sequence"
    paths: tuple["AnyPath", ...] = Field(min_length=1, max_length=1000)
    durations: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] | None = None
    loop: bool = False

    def check(self) -> None:
        """The paths have one width, and a duration each."""
        if len({path.dim for path in self.paths}) > 1:
            raise ValueError(f"paths of one width, but they have {[path.dim for path in self.paths]}")
        if self.durations is not None and len(self.durations) != len(self.paths):
            raise ValueError(f"a duration for each of {len(self.paths)} paths, but there are {len(self.durations)}")

    @cached_property
    def joined(self) -> Path:
        """The paths with their bridges."""
        return join(self.paths, self.durations, loop=self.loop)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return self.paths[0].dim

    @property
    def size(self) -> int:
        """How many points it holds."""
        return sum(path.size for path in self.paths)

    @property
    def depth(self) -> int:
        """How deep paths are nested in it."""
        return max(path.depth for path in self.paths) + 1

    @property
    def breaks(self) -> tuple[float, ...]:
        """The joins, and the corners of each path."""
        return self.joined.breaks

    @property
    def panels(self) -> tuple[float, ...]:
        """The joins, and the panels of each path."""
        return self.joined.panels

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        return self.joined.evaluate(t)

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return dz/dt at times ``t``; at a join, that of the later path."""
        return self.joined.velocity(t)


AnyPath = Annotated[
    Line
    | Sphere
    | Traversal
    | Diagonal
    | Grid
    | Circle
    | Spiral
    | Lissajous
    | RandomWalk
    | Drift
    | Polyline
    | Recorded
    | Spline
    | Moved
    | Retimed
    | Sequence,
    Field(discriminator="kind"),
]
"""The union of the paths that can be saved; a new member is one class and one name here."""
for _nesting in (_Outer, Moved, Retimed, Sequence):
    _nesting.model_rebuild()
