"""Paths that the page asks for: walks through the corpus, or through points that it names, at some constant speed.

A page that is asked for a circle gets plain JSON back, and plays it by sending that; the server keeps nothing.
"""

from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import UsageError, nearest
from latentscape.geometry.paths import PathRecord, path_from_json
from latentscape.geometry.record import FARTHEST
from latentscape.instrument.walks import KINDS as WALKS
from latentscape.instrument.walks import SPEEDS, THROUGH, paced
from latentscape.play.limits import POINTS
from latentscape.play.stage import Stage

KINDS = (*WALKS, "polyline")
PREVIEW = 400
"""Points of a path's picture."""
SEGMENTS = 128
GEODESIC_POINTS = 8
"""Each leg takes seconds; others wait for it, and so does Ctrl-C."""
COUNTS = 10_000
"""The greatest number among options: steps, rows, turns."""
_NODES = 64
_OWN = ("instrument", "kind", "through")

Number = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]


class Wanted(Record):
    """A path that is asked for.

    Attributes:
        kind: of :data:`KINDS`.
        points: that it goes through, where its kind does.
        options: of its kind; see :func:`latentscape.instrument.walks.walk`.
        speed: at which it is travelled; see :func:`latentscape.instrument.walks.paced`.
        map: on which it was asked for; nothing depends on it.
    """

    kind: str
    points: Annotated[list[list[Number]], Field(max_length=POINTS)] = []
    options: dict[str, Any] = {}
    speed: str = "time"
    map: str = "principal"


def make(wanted: Wanted, stage: Stage) -> PathRecord:
    """Return the path.

    Raises:
        UsageError: the kind, an option or the speed is not known, or something does not fit.
    """
    if wanted.kind not in KINDS:
        raise UsageError(f"path '{wanted.kind[:40]}' is not known{nearest(wanted.kind[:40], KINDS)}")
    if wanted.speed not in SPEEDS:
        raise UsageError(f"speed '{wanted.speed[:40]}' is not known{nearest(wanted.speed[:40], SPEEDS)}")
    options = _checked(wanted.options)
    points = stage.points(wanted.points, GEODESIC_POINTS if wanted.kind == "geodesic" else POINTS)
    if wanted.kind == "polyline":
        path = path_from_json({"kind": "polyline", "points": points.tolist(), **options})
    else:
        if len(points) and wanted.kind in THROUGH:
            options["through"] = points
        elif len(points):
            options.setdefault("centre", points.mean(0).tolist())
        try:
            path = stage.instrument.walk(wanted.kind, **options)
        except TypeError as error:  # of a geodesic, which takes options of its own
            raise UsageError(f"a {wanted.kind} does not take these options: {', '.join(wanted.options)}") from error
    return paced(stage.instrument, path, wanted.speed)


def preview(path: PathRecord, stage: Stage) -> dict[str, list[list[float]]]:
    """Return where a path goes on every map."""
    return stage.places(sampled(path, PREVIEW))


def sampled(path: PathRecord, count: int) -> Float[Tensor, "count d"]:
    """Return points of a path at even times."""
    return path.evaluate(torch.linspace(0, 1, count, dtype=torch.float64)).float()


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return options that make neither a long wait nor a large path."""
    for name in _OWN:
        if name in options:
            raise UsageError(f"option '{name}' can't be given")
    for name, value in options.items():
        if isinstance(value, (int, float)) and name != "seed" and not abs(value) <= COUNTS:
            raise UsageError(f"option {name[:40]}: got {value:.6g}, expected at most {COUNTS}")
        if isinstance(value, dict) or (isinstance(value, list) and len(value) > POINTS):
            raise UsageError(f"option {name[:40]}: expected a number, a name or a short list")
    segments = options.get("segments", 1)
    if not isinstance(segments, int) or not 1 <= segments <= SEGMENTS:
        raise UsageError(f"option segments: expected 1 to {SEGMENTS}")
    return dict(options)
