r"""The closed-form paths. Each is its own configuration record: frozen, strict, and plain JSON.

Letters: c centre, e_1 and e_2 directions, r radius, t in [0, 1].

* line: :math:`a + t (b - a)`
* sphere: the great circle from a to b about c, its radius going linearly from that of a to that of b
* traversal, diagonal: :math:`c + (l + t (h - l))\,e`, e one axis, or the sum of several
* grid: rows of :math:`c + x e_1 + y e_2`, visited boustrophedon (as the ox ploughs) at constant speed in (x, y)
* circle, spiral: :math:`c + r(t) (\cos\phi\,e_1 + \sin\phi\,e_2)`, :math:`\phi = 2\pi (\text{turns}\,t + \text{phase})`
* random walk: :math:`c + \sum_k w_k(t)\,p_k / \sqrt{\sum_k w_k(t)^2}`, seeded normal points p under uniform cubic
  B-spline weights w. The root keeps the variance of every coordinate at its scale squared at every t (a plain spline
  through the points loses a third of it between them), so that the walk keeps the radius that a normal prior has.

An axis is the number of a latent coordinate, or any direction as a vector (used at unit length). Offsets, radii and
scales are in latent units.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from latentscape.core.config import Record, parse
from latentscape.core.random import numpy_stream
from latentscape.geometry.path import Path


def _plain(value: Any) -> Any:
    """Let tensors and arrays stand where a record holds plain numbers."""
    return value.tolist() if hasattr(value, "tolist") else value


Vector = Annotated[tuple[float, ...], BeforeValidator(_plain), Field(min_length=1)]
Axis = int | Vector


class ClosedPath(Record, Path):
    """A path that is a record: ``Line(a=[0, 0], b=[1, 2])``; tensors and arrays are taken for vectors."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :func:`path_from_json` turns back into an equal path."""
        return self.model_dump(mode="json")

    @model_validator(mode="after")
    def _check(self) -> "ClosedPath":
        self.check()
        return self

    def check(self) -> None:
        """Raise ValueError where the fields do not fit together."""


class Line(ClosedPath):
    """The straight line from ``a`` to ``b``."""

    kind: Literal["line"] = "line"
    a: Vector
    b: Vector

    def check(self) -> None:
        """Both ends have one width."""
        _same_width(a=self.a, b=self.b)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.a)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``; both ends are met exactly."""
        return torch.lerp(t.new_tensor(self.a), t.new_tensor(self.b), t[:, None])


class Sphere(ClosedPath):
    """The great circle from ``a`` to ``b`` about ``centre`` (default the origin); see :func:`slerp`."""

    kind: Literal["sphere"] = "sphere"
    a: Vector
    b: Vector
    centre: Vector | None = None

    def check(self) -> None:
        """Both ends and the centre have one width."""
        _same_width(a=self.a, b=self.b, centre=self.centre or self.a)

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


class Traversal(ClosedPath):
    """One axis from offset ``low`` to offset ``high`` around ``centre``."""

    kind: Literal["traversal"] = "traversal"
    centre: Vector
    axis: Axis
    low: float
    high: float

    def check(self) -> None:
        """The axis lies in the space."""
        _direction(self.axis, self.dim)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        offset = self.low + (self.high - self.low) * t
        return t.new_tensor(self.centre) + offset[:, None] * t.new_tensor(_direction(self.axis, self.dim))


class Diagonal(ClosedPath):
    """Several axes (default all) together from offset ``low`` to offset ``high`` around ``centre``."""

    kind: Literal["diagonal"] = "diagonal"
    centre: Vector
    axes: tuple[Axis, ...] | None = Field(default=None, min_length=1)
    low: Vector | float
    high: Vector | float

    def check(self) -> None:
        """The axes lie in the space, and there is an offset for each."""
        width = _width(self.axes, self.dim)
        _spread(self.low, width, "low")
        _spread(self.high, width, "high")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        width = _width(self.axes, self.dim)
        low, high = (t.new_tensor(_spread(value, width, "offset")) for value in (self.low, self.high))
        return t.new_tensor(self.centre) + _along(torch.lerp(low, high, t[:, None]), self.axes, self.dim)


class Grid(ClosedPath):
    """``rows`` parallel rows over two axes, visited to and fro without jumps, at constant speed in offsets.

    ``low`` and ``high`` are the offsets along the first axis (along a row) and the second (from row to row).
    """

    kind: Literal["grid"] = "grid"
    centre: Vector
    axes: tuple[Axis, Axis] = (0, 1)
    low: tuple[float, float]
    high: tuple[float, float]
    rows: int = Field(default=5, ge=2)

    def check(self) -> None:
        """The axes lie in the space, and the grid has an extent."""
        _width(self.axes, self.dim)
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
        corners = t.new_tensor(self.corners)
        times, offsets = corners[:, 0], corners[:, 1:]
        piece = ((t[:, None] >= times).sum(1) - 1).clamp(0, len(times) - 2)
        share = (t - times[piece]) / (times[piece + 1] - times[piece])
        plane = torch.lerp(offsets[piece], offsets[piece + 1], share[:, None])
        return t.new_tensor(self.centre) + _along(plane, self.axes, self.dim)


class _Planar(ClosedPath):
    """What circle and spiral share: a plane through ``centre``, of two axes or (``seed``) a random one."""

    centre: Vector
    axes: tuple[Axis, Axis] = (0, 1)
    seed: int | None = None
    turns: float = 1.0
    phase: float = 0.0

    def check(self) -> None:
        """The plane lies in the space."""
        if self.dim < 2:
            raise ValueError(f"at least 2 latent coordinates, but centre has {self.dim}")
        if self.seed is None:
            _width(self.axes, self.dim)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    @cached_property
    def plane(self) -> tuple[tuple[float, ...], ...]:
        """The two directions; orthonormal where they come from the seed."""
        if self.seed is None:
            return tuple(_direction(axis, self.dim) for axis in self.axes)
        draws = torch.from_numpy(numpy_stream(self.seed, "plane").standard_normal((self.dim, 2)))
        return tuple(map(tuple, torch.linalg.qr(draws)[0].T.tolist()))

    def _around(self, t: Tensor, radius: Tensor) -> Tensor:
        angle = 2 * math.pi * (self.turns * t + self.phase)
        offsets = radius * torch.stack((torch.cos(angle), torch.sin(angle)), 1)
        return t.new_tensor(self.centre) + offsets @ t.new_tensor(self.plane)


class Circle(_Planar):
    """A circle about ``centre``, or with two radii an ellipse; ``phase`` (in turns) is where it begins."""

    kind: Literal["circle"] = "circle"
    radius: float | tuple[float, float]

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        return self._around(t, t.new_tensor(_spread(self.radius, 2, "radius")))


class Spiral(_Planar):
    """A spiral about ``centre``, its radius (or pair of radii) growing linearly from ``inner`` to ``outer``."""

    kind: Literal["spiral"] = "spiral"
    inner: float | tuple[float, float] = 0.0
    outer: float | tuple[float, float]
    turns: float = 3.0

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        inner, outer = (t.new_tensor(_spread(radius, 2, "radius")) for radius in (self.inner, self.outer))
        return self._around(t, torch.lerp(inner, outer, t[:, None]))


class RandomWalk(ClosedPath):
    """A smooth random walk, a function of its seed: twice continuously differentiable and Gaussian at every time.

    ``steps`` is how many independent places it passes; a longer walk of the same seed begins with the shorter one
    (travelled in more time). With ``loop`` it ends where it began. ``scale`` is the standard deviation along each axis.
    """

    kind: Literal["random_walk"] = "random_walk"
    centre: Vector
    scale: Vector | float = 1.0
    axes: tuple[Axis, ...] | None = Field(default=None, min_length=1)
    steps: int = Field(default=8, ge=1)
    seed: int = 0
    loop: bool = False

    def check(self) -> None:
        """The axes lie in the space, and there is a scale for each."""
        _spread(self.scale, _width(self.axes, self.dim), "scale")
        if self.loop and self.steps < 4:
            raise ValueError(f"at least 4 steps in a loop, but steps is {self.steps}")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    @cached_property
    def points(self) -> Float[Tensor, "k a"]:
        """The seeded control points in standard units of each axis, float64."""
        rows = self.steps if self.loop else self.steps + 3
        width = _width(self.axes, self.dim)
        return torch.from_numpy(numpy_stream(self.seed, "random walk").standard_normal((rows, width)))

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        scale = t.new_tensor(_spread(self.scale, _width(self.axes, self.dim), "scale"))
        place = t * self.steps
        first = place.detach().floor().clamp(0, self.steps - 1)
        x = place - first
        weights = torch.stack(((1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3), 1) / 6
        weights = weights / weights.square().sum(1, keepdim=True).sqrt()
        rows = (first.long()[:, None] + torch.arange(4, device=t.device)) % len(self.points)
        offsets = (weights[:, None] @ self.points.to(t)[rows])[:, 0] * scale
        return t.new_tensor(self.centre) + _along(offsets, self.axes, self.dim)


AnyPath = Annotated[
    Line | Sphere | Traversal | Diagonal | Grid | Circle | Spiral | RandomWalk, Field(discriminator="kind")
]
"""The union of the closed-form paths; a new member is one class above and one name here."""


def path_from_json(values: Mapping[str, Any]) -> ClosedPath:
    """Build a closed-form path from plain data.

    Raises:
        ConfigError: an unknown kind or key (the nearest known one is named), or a value that does not fit.
    """
    return parse(AnyPath, values, "path")


def _same_width(**vectors: tuple[float, ...]) -> None:
    widths = {name: len(vector) for name, vector in vectors.items()}
    if len(set(widths.values())) > 1:
        raise ValueError("one width, but " + ", ".join(f"{name} has {width}" for name, width in widths.items()))


def _direction(axis: Axis, dim: int) -> tuple[float, ...]:
    if isinstance(axis, int):
        if not 0 <= axis < dim:
            raise ValueError(f"an axis from 0 to {dim - 1}, but axis is {axis}")
        return tuple(float(index == axis) for index in range(dim))
    norm = math.hypot(*axis)
    if len(axis) != dim or norm == 0:
        raise ValueError(f"a direction of width {dim} and length above 0, but it has width {len(axis)}, length {norm}")
    return tuple(value / norm for value in axis)


def _width(axes: tuple[Axis, ...] | None, dim: int) -> int:
    """Return how many axes there are (``None`` is all coordinates), each of which must lie in the space."""
    return dim if axes is None else len([_direction(axis, dim) for axis in axes])


def _along(offsets: Tensor, axes: tuple[Axis, ...] | None, dim: int) -> Tensor:
    """Turn offsets ``[n, a]`` along axes into displacements ``[n, d]``."""
    return offsets if axes is None else offsets @ offsets.new_tensor([_direction(axis, dim) for axis in axes])


def _spread(value: float | tuple[float, ...], width: int, name: str) -> tuple[float, ...]:
    if not isinstance(value, tuple):
        return (float(value),) * width
    if len(value) != width:
        raise ValueError(f"{name} with one number or {width}, but it has {len(value)}")
    return value
