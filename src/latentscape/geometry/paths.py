"""All paths that are records, under one roof, and the files they are kept in.

A path file is JSON, made to be edited by hand: ``{"format": 1, "dim": d, "path": {"kind": ...}}``.
"""

import json
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, StorageError, UsageError
from latentscape.core.storage import load_object, save_text
from latentscape.geometry.closed import Circle, Diagonal, Grid, Line, Lissajous, Sphere, Spiral, Traversal, slerp
from latentscape.geometry.compound import AnyPath, Moved, Retimed, Sequence
from latentscape.geometry.path import Path
from latentscape.geometry.points import Polyline, Recorded, Spline
from latentscape.geometry.record import MOST_DEPTH, Axis, PathRecord, Vector
from latentscape.geometry.wandering import Drift, RandomWalk

__all__ = [
    "AnyPath",
    "Axis",
    "Circle",
    "Diagonal",
    "Drift",
    "Grid",
    "Line",
    "Lissajous",
    "Moved",
    "PathRecord",
    "Polyline",
    "RandomWalk",
    "Recorded",
    "Retimed",
    "Sequence",
    "Sphere",
    "Spiral",
    "Spline",
    "Traversal",
    "Vector",
    "load_path",
    "path_from_json",
    "save_path",
    "slerp",
]

FORMAT = 1
MOST_BYTES = 256_000_000


def path_from_json(values: Mapping[str, Any], where: str = "path") -> PathRecord:
    """Build a path from plain data.

    Args:
        values: as of :meth:`PathRecord.to_json`.
        where: what the values are, to begin messages with.

    Raises:
        ConfigError: an unknown kind or key (the nearest known one is named), or a value that does not fit.
    """
    level: list[Any] = [values]
    for _ in range(MOST_DEPTH):
        level = [inner for outer in level if isinstance(outer, Mapping) for inner in _inside(outer)]
    if level:
        raise ConfigError(f"{where}: paths nested more than {MOST_DEPTH} deep")
    return parse(AnyPath, values, where)


def _inside(values: Mapping[str, Any]) -> list[Any]:
    several = values.get("paths")
    return [values[key] for key in ("path",) if key in values] + (several if isinstance(several, list) else [])


def save_path(file: File | str, path: Path, of: Mapping[str, str] = {}) -> None:
    """Write a path to a file.

    Args:
        file: to be written.
        path: any that is a record.
        of: whose space it lies in: name (``run``) and digest (``weights``) of what it was made with.

    Raises:
        UsageError: it is no record; :func:`latentscape.geometry.pace.retimed` makes a record of what travels.
        StorageError: the file can't be written.
    """
    if not isinstance(path, PathRecord):
        raise UsageError(f"a {type(path).__name__} can't be saved, expected a path that is a record, such as a Spline")
    save_text(File(file), _text({"format": FORMAT, "dim": path.dim, **of, "path": path.to_json()}) + "\n")


def _text(value: Any, indent: str = "") -> str:
    """Return JSON with a line for each key and for each point."""
    inner = indent + " "
    if isinstance(value, dict):
        rows = [f"{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        rows = [_text(item, inner) for item in value]
    else:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{inner}" + f",\n{inner}".join(rows) + f"\n{indent}{last}"


def load_path(file: File | str, dim: int | None = None, weights: str | None = None) -> PathRecord:
    """Read a path from a file.

    Args:
        file: as :func:`save_path` writes it.
        dim: the latent width that it must have; ``None`` takes any.
        weights: the digest of those that it must be of, where it says so; ``None`` takes any.

    Raises:
        UsageError: it was made with other weights, so its space is another.
        StorageError: the file is missing, no JSON, too large or of another format.
        ConfigError: what it says is not a path, or one of another width.
    """
    file = File(file)
    if file.is_file() and file.stat().st_size > MOST_BYTES:
        raise StorageError(f"{file} has {file.stat().st_size:,} bytes, expected at most {MOST_BYTES:,} of a path")
    about = load_object(file, ("format", "dim", "path"))
    if about["format"] != FORMAT:
        raise StorageError(f"{file} has format {about['format']!r}, expected {FORMAT}")
    if unknown := sorted(set(about) - {"format", "dim", "run", "weights", "path"}):
        raise StorageError(f"{file} holds '{unknown[0]}', expected format, dim, run, weights and path alone")
    if weights is not None and about.get("weights", weights) != weights:
        raise UsageError(
            f"{file} holds a path of {about.get('run')!r:.80} with other weights than the run's: go it with that run, "
            "or take its 'weights' away to go it all the same"
        )
    if not isinstance(about["path"], dict):
        raise StorageError(f"{file} is damaged: expected an object as path, got {about['path']!r:.40}")
    path = path_from_json(about["path"], str(file))
    if about["dim"] != path.dim:
        raise ConfigError(f"{file} says dim {about['dim']!r}, but its path has {path.dim} dimensions")
    if dim is not None and path.dim != dim:
        raise ConfigError(f"{file} holds a path in {path.dim} dimensions, expected {dim}")
    return path
