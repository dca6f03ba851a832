"""What all paths that are records share: frozen, strict, plain JSON, and bounded, since files come from strangers.

Letters: n points, d latent width, a axes.

An axis is the number of a latent coordinate, or any direction as a vector (used at unit length).
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field, model_serializer, model_validator
from torch import Tensor

from latentscape.core.config import Record
from latentscape.geometry.path import Path

MOST_POINTS = 100_000
"""Points that a path may hold, those of its parts counted in."""
MOST_VALUES = 10_000_000
"""Values that a path may draw from its seed: steps times axes."""
MOST_DEPTH = 16
"""Paths in paths in paths."""
FARTHEST = 1e6
"""The greatest number in a path: float32 squares it and sums up a thousand of them with room to spare."""


def _plain(value: Any) -> Any:
    """Let tensors and arrays stand where a record holds plain numbers."""
    return value.tolist() if hasattr(value, "tolist") else value


Value = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]
Vector = Annotated[tuple[Value, ...], BeforeValidator(_plain), Field(min_length=1)]
Points = Annotated[tuple[Vector, ...], BeforeValidator(_plain), Field(min_length=1, max_length=MOST_POINTS)]
Axis = int | Vector


class PathRecord(Record, Path):
    """A path that is a record: ``Line(a=[0, 0], b=[1, 2])``; tensors and arrays are taken for vectors."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :func:`latentscape.geometry.paths.path_from_json` turns back into an equal path."""
        return self.model_dump(mode="json")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "PathRecord":
        """Return the path with some fields changed, checked as when it was made; nothing that was cached goes along."""
        return type(self)(**dict(zip(type(self).model_fields, self._fields(), strict=True)) | dict(update or {}))

    @property
    def size(self) -> int:
        """How many points it holds; 0 for a closed form."""
        return 0

    @property
    def depth(self) -> int:
        """How deep paths are nested in it; 1 for one that holds none."""
        return 1

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, PathRecord) and type(self) is type(other)
        return same and self._fields() == other._fields()  # what is cached does not count

    def __hash__(self) -> int:
        return hash(self._fields())

    def _fields(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in type(self).model_fields)

    @model_serializer(mode="wrap")
    def _kind_first(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        values = plain(self)
        return {"kind": values.pop("kind"), **values}

    @model_validator(mode="after")
    def _check(self) -> "PathRecord":
        self.check()
        if self.size > MOST_POINTS:
            raise ValueError(f"at most {MOST_POINTS:,} points in all, but there are {self.size:,}")
        if self.depth > MOST_DEPTH:
            raise ValueError(f"paths nested at most {MOST_DEPTH} deep, but they are {self.depth}")
        return self

    def check(self) -> None:
        """Raise ValueError where the fields do not fit together."""


def same_width(**vectors: tuple[float, ...]) -> None:
    """Refuse vectors of different widths, each under its name."""
    widths = {name: len(vector) for name, vector in vectors.items()}
    if len(set(widths.values())) > 1:
        raise ValueError("one width, but " + ", ".join(f"{name} has {width}" for name, width in widths.items()))


def matrix(points: tuple[tuple[float, ...], ...]) -> Float[Tensor, "n d"]:
    """Return points as float64, all of which must have one width."""
    for number, point in enumerate(points):
        if len(point) != len(points[0]):
            raise ValueError(f"points of one width, but point 0 has {len(points[0])} and point {number} {len(point)}")
    return torch.tensor(points, dtype=torch.float64)


def direction(axis: Axis, dim: int) -> tuple[float, ...]:
    """Return an axis as a unit vector of the space."""
    if isinstance(axis, int):
        if not 0 <= axis < dim:
            raise ValueError(f"an axis from 0 to {dim - 1}, but axis is {axis}")
        return tuple(float(index == axis) for index in range(dim))
    norm = math.hypot(*axis)
    if len(axis) != dim or norm == 0:
        raise ValueError(f"a direction of width {dim} and length above 0, but it has width {len(axis)}, length {norm}")
    return tuple(value / norm for value in axis)


def count_axes(axes: tuple[Axis, ...] | None, dim: int) -> int:
    """Return how many axes there are (``None`` is all coordinates), each of which must lie in the space."""
    return dim if axes is None else len([direction(axis, dim) for axis in axes])


def along_axes(offsets: Tensor, axes: tuple[Axis, ...] | None, dim: int) -> Tensor:
    """Turn offsets ``[n, a]`` along axes into displacements ``[n, d]``."""
    return offsets if axes is None else offsets @ offsets.new_tensor([direction(axis, dim) for axis in axes])


def one_each(value: float | tuple[float, ...], width: int, name: str) -> tuple[float, ...]:
    """Return one value for each axis: as given, or one number for all of them."""
    if not isinstance(value, tuple):
        return (float(value),) * width
    if len(value) != width:
        raise ValueError(f"{name} with one number or {width}, but it has {len(value)}")
    return value
