r"""The closed-form paths. Each is its own configuration record.

Letters: c centre, e_1 and e_2 directions, r radius, t in [0, 1].

* line: :math:`a + t (b - a)`
* sphere: the great circle from a to b about c, its radius going linearly from that of a to that of b
* traversal, diagonal: :math:`c + (l + t (h - l))\,e`, e one axis, or the sum of several
* grid: rows of :math:`c + x e_1 + y e_2`, visited boustrophedon (as the ox ploughs) at constant speed in (x, y)
* circle, spiral: :math:`c + r(t) (\cos\phi\,e_1 + \sin\phi\,e_2)`, :math:`\phi = 2\pi (\text{turns}\,t + \text{phase})`
* Lissajous: :math:`c + \sum_k r_k \sin(2\pi (f_k t + \phi_k))\,e_k`, closed where all frequencies f are whole

Offsets, radii and scales are in latent units.
"""

import math
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentscape.core.random import numpy_stream
from latentscape.geometry.points import gone
from latentscape.geometry.record import (
    Axis,
    PathRecord,
    Value,
    Vector,
    along_axes,
    count_axes,
    direction,
    one_each,
    same_width,
)

MOST_ROWS = 10_000


class Line(PathRecord):
    """The straight line from ``a`` to ``b``."""

    kind: Literal["line"] = "line"
    a: Vector
    b: Vector

    def check(self) -> None:
        """Both ends have one width."""
        same_width(a=self.a, b=self.b)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.a)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``; both ends are met exactly."""
        return torch.lerp(t.new_tensor(self.a), t.new_tensor(self.b), t[:, None])


class Sphere(PathRecord):
    """The great circle from ``a`` to ``b`` about ``centre`` (default the origin); see :func:`slerp`."""

    kind: Literal["sphere"] = "sphere"
    a: Vector
    b: Vector
    centre: Vector | None = None

    def check(self) -> None:
        """Both ends and the centre have one width."""
        same_width(a=self.a, b=self.b, centre=self.centre or self.a)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.a)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        centre = t.new_tensor(self.centre or (0.0,) * self.dim)
        a, b = t.new_tensor(self.a) - centre, t.new_tensor(self.b) - centre
        return centre + slerp(a.expand(len(t), -1), b.expand(len(t), -1), t)


def slerp(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Interpolate each row of ``a`` to that of ``b`` along a great circle, the norm going linearly.

    A zero vector has no direction and borrows the other's. Opposite vectors have many great circles: the one towards
    the coordinate axis least aligned with ``a`` is taken (in one dimension there is none, and the line is taken).
    """
    norm_a, norm_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    tiny = torch.finfo(a.dtype).tiny
    u, w = a / norm_a.clamp_min(tiny), b / norm_b.clamp_min(tiny)
    u = torch.where(norm_a == 0, w, u)
    w = torch.where(norm_b == 0, u, w)
    cosine = (u * w).sum(1, keepdim=True)
    across = w - cosine * u
    across = across - (across * u).sum(1, keepdim=True) * u  # once more: of almost opposite vectors rounding is left
    sine = across.norm(dim=1, keepdim=True)
    opposite = (sine < 8 * torch.finfo(a.dtype).eps) & (cosine < 0)
    least = torch.nn.functional.one_hot(u.abs().argmin(1), a.shape[1]).to(a)
    least = least - (least * u).sum(1, keepdim=True) * u
    across = torch.where(opposite, least, across)
    across = across / across.norm(dim=1, keepdim=True).clamp_min(tiny)
    angle = torch.where(opposite, torch.full_like(sine, math.pi), torch.atan2(sine, cosine))
    share = t[:, None]
    circle = torch.cos(angle * share) * u + torch.sin(angle * share) * across
    straight = torch.lerp(a, b, share)
    return torch.where(opposite & (a.shape[1] == 1), straight, torch.lerp(norm_a, norm_b, share) * circle)


class Traversal(PathRecord):
    """One axis from offset ``low`` to offset ``high`` around ``centre``."""

    kind: Literal["traversal"] = "traversal"
    centre: Vector
    axis: Axis
    low: Value
    high: Value

    def check(self) -> None:
        """The axis lies in the space."""
        direction(self.axis, self.dim)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        offset = self.low + (self.high - self.low) * t
        return t.new_tensor(self.centre) + offset[:, None] * t.new_tensor(direction(self.axis, self.dim))


class Diagonal(PathRecord):
    """Several axes (default all) together from offset ``low`` to offset ``high`` around ``centre``."""

    kind: Literal["diagonal"] = "diagonal"
    centre: Vector
    axes: tuple[Axis, ...] | None = Field(default=None, min_length=1)
    low: Vector | Value
    high: Vector | Value

    def check(self) -> None:
        """The axes lie in the space, and there is an offset for each."""
        width = count_axes(self.axes, self.dim)
        one_each(self.low, width, "low")
        one_each(self.high, width, "high")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        width = count_axes(self.axes, self.dim)
        low, high = (t.new_tensor(one_each(value, width, "offset")) for value in (self.low, self.high))
        return t.new_tensor(self.centre) + along_axes(torch.lerp(low, high, t[:, None]), self.axes, self.dim)


class Grid(PathRecord):
    """``rows`` parallel rows over two axes, visited to and fro without jumps, at constant speed in offsets.

    ``low`` and ``high`` are the offsets along the first axis (along a row) and the second (from row to row).
    """

    kind: Literal["grid"] = "grid"
    centre: Vector
    axes: tuple[Axis, Axis] = (0, 1)
    low: tuple[Value, Value]
    high: tuple[Value, Value]
    rows: int = Field(default=5, ge=2, le=MOST_ROWS)

    def check(self) -> None:
        """The axes lie in the space, and the grid has an extent."""
        count_axes(self.axes, self.dim)
        if self.low[0] == self.high[0] or self.low[1] == self.high[1]:
            raise ValueError(f"a grid with an extent along both axes, but low is {self.low} and high {self.high}")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    @cached_property
    def corners(self) -> tuple[tuple[float, float, float], ...]:
        """The corners in order: time, first offset, second offset."""
        (left, bottom), (right, top) = self.low, self.high
        points = []
        for row in range(self.rows):
            height = bottom + (top - bottom) * row / (self.rows - 1)
            points += [(x, height) for x in ((left, right) if row % 2 == 0 else (right, left))]
        way = [0.0]
        for before, after in pairwise(points):
            way.append(way[-1] + math.dist(before, after))
        return tuple((s / way[-1], *point) for s, point in zip(way, points, strict=True))

    @property
    def breaks(self) -> tuple[float, ...]:
        """The times of the corners."""
        return tuple(corner[0] for corner in self.corners[1:-1])

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        corners = torch.tensor(self.corners, dtype=torch.float64, device=t.device)
        times, offsets = corners[:, 0].contiguous(), corners[:, 1:]
        piece, share = gone(times, t)
        plane = torch.lerp(offsets[piece], offsets[piece + 1], share[:, None]).to(t)
        return t.new_tensor(self.centre) + along_axes(plane, self.axes, self.dim)


class _Planar(PathRecord):
    """What circle and spiral share: a plane through ``centre``, of two axes or (``seed``) a random one."""

    centre: Vector
    axes: tuple[Axis, Axis] = (0, 1)
    seed: int | None = None
    turns: Value = 1.0
    phase: Value = 0.0

    def check(self) -> None:
        """The plane lies in the space."""
        if self.dim < 2:
            raise ValueError(f"at least 2 latent coordinates, but centre has {self.dim}")
        if self.seed is None:
            count_axes(self.axes, self.dim)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    @cached_property
    def plane(self) -> tuple[tuple[float, ...], ...]:
        """The two directions; orthonormal where they come from the seed."""
        if self.seed is None:
            return tuple(direction(axis, self.dim) for axis in self.axes)
        draws = torch.from_numpy(numpy_stream(self.seed, "plane").standard_normal((self.dim, 2)))
        return tuple(map(tuple, torch.linalg.qr(draws)[0].T.tolist()))

    def _around(self, t: Tensor, radius: Tensor) -> Tensor:
        angle = 2 * math.pi * (self.turns * t + self.phase)
        offsets = radius * torch.stack((torch.cos(angle), torch.sin(angle)), 1)
        return t.new_tensor(self.centre) + offsets @ t.new_tensor(self.plane)


class Circle(_Planar):
    """A circle about ``centre``, or with two radii an ellipse; ``phase`` (in turns) is where it begins."""

    kind: Literal["circle"] = "circle"
    radius: Value | tuple[Value, Value]

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        return self._around(t, t.new_tensor(one_each(self.radius, 2, "radius")))


class Spiral(_Planar):
    """A spiral about ``centre``, its radius (or pair of radii) growing linearly from ``inner`` to ``outer``."""

    kind: Literal["spiral"] = "spiral"
    inner: Value | tuple[Value, Value] = 0.0
    outer: Value | tuple[Value, Value]
    turns: Value = 3.0

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        inner, outer = (t.new_tensor(one_each(radius, 2, "radius")) for radius in (self.inner, self.outer))
        return self._around(t, torch.lerp(inner, outer, t[:, None]))


class Lissajous(PathRecord):
    """Sines along several axes, each with a ``radius``, a frequency (periods in all) and a phase in turns."""

    kind: Literal["lissajous"] = "lissajous"
    centre: Vector
    axes: tuple[Axis, ...] = Field(default=(0, 1), min_length=1)
    radius: Vector | Value
    frequencies: Vector = (3.0, 2.0)
    phases: Vector | Value = 0.0

    def check(self) -> None:
        """The axes lie in the space, with a radius, a frequency and a phase for each."""
        width = count_axes(self.axes, self.dim)
        one_each(self.radius, width, "radius")
        one_each(self.phases, width, "phases")
        if len(self.frequencies) != width:
            raise ValueError(f"a frequency for each of {width} axes, but there are {len(self.frequencies)}")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        width = len(self.axes)
        radius, phases = (t.new_tensor(one_each(value, width, "values")) for value in (self.radius, self.phases))
        offsets = radius * torch.sin(2 * math.pi * (t[:, None] * t.new_tensor(self.frequencies) + phases))
        return t.new_tensor(self.centre) + along_axes(offsets, self.axes, self.dim)
