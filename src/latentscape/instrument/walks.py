"""Walks that stay where the corpus is: default paths from the statistics of its latent map, and paths through sounds.

Lengths are in standard deviations of the corpus's own codes (``reach``), about their mean. Axes are, unless told, the
principal ones; numbers name latent coordinates, words the run's named axes.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.config import parse
from latentscape.core.errors import UsageError, nearest
from latentscape.core.random import numpy_stream
from latentscape.dist.sphere import SpherePrior
from latentscape.geometry.pace import retimed
from latentscape.geometry.paths import Axis, Moved, PathRecord, Recorded, path_from_json
from latentscape.geometry.paths import Sequence as PathSequence
from latentscape.geometry.record import MOST_POINTS
from latentscape.geometry.travel import closing
from latentscape.instrument.labels import Labels
from latentscape.instrument.map import LatentMap
from latentscape.instrument.perceived import perceived
from latentscape.instrument.space import Space

ABOUT = ("traversal", "grid", "diagonal", "circle", "spiral", "lissajous", "random_walk", "drift")
"""Kinds that go about the middle of the corpus."""
THROUGH = {"line": 2, "sphere": 2, "geodesic": 2, "spline": 5, "triangle": 3}
"""Kinds that go through given points, and how many are drawn where none is given."""
KINDS = (*ABOUT, *THROUGH)
CLOSING = ("circle", "lissajous", "random_walk", *THROUGH)
"""Kinds that end where they begin, or can."""
CARRIED = 0.99
"""Of the corpus's variance, by the axes along which a diagonal goes."""
SPEEDS = ("time", "latent", "feature", "perceived")


def walk(
    space: Space,
    kind: str,
    *,
    axes: Sequence[int | str] | None = None,
    through: Float[Tensor, "k d"] | None = None,
    reach: float = 2.0,
    closed: bool = False,
    **options: Any,
) -> PathRecord:
    """Return a path of some kind through the corpus.

    * traversal: along one axis, ``reach`` deviations to either side
    * grid, circle, spiral, lissajous: in the plane of two axes (lissajous: of any number of them)
    * diagonal: all principal axes that hold 99 % of the corpus's variance (or ``axes``) together, from low to high,
      ``reach`` deviations (of Mahalanobis) to either side, as far as the others go
    * random_walk, drift: over all principal axes (or ``axes``), each at its own deviation times ``reach / 2``
    * line, sphere, geodesic: from point to point (sphere: about :func:`middle`); spline: smoothly through them;
      triangle: geodesics through three and back. The points are mean codes of clips drawn by ``seed`` (default 0), or
      those given.

    Args:
        space: with its latent map.
        kind: one of the above.
        axes: numbers of latent coordinates or names of axes, as many as the kind needs.
        through: points, for kinds that go through some.
        reach: standard deviations.
        closed: whether it ends where it begins; what goes through points then goes back to the first.
        **options: any field of the path's record, laid over the defaults (``turns=3``, ``seed=1``, ``rows=4`` ...); for
            geodesics those of :func:`latentscape.instrument.geodesics.geodesic`.

    Raises:
        UsageError: the kind or an axis is not known, the number of axes or points does not fit it, or it can't close.
        ConfigError: an option is not known (the nearest is named) or does not fit.
    """
    kind = kind.replace("-", "_")
    if kind not in KINDS:
        raise UsageError(f"walk '{kind}' is not known{nearest(kind, KINDS)}")
    if closed and kind not in CLOSING:
        raise UsageError(f"a {kind} does not end where it begins; {', '.join(CLOSING)} do")
    if closed and kind in ("spline", "random_walk"):
        options["closed" if kind == "spline" else "loop"] = True
    path = _path(space, kind, axes, through, reach, closed, options)
    if closed:
        closing(path)
    return path


def _path(
    space: Space,
    kind: str,
    axes: Sequence[int | str] | None,
    through: Float[Tensor, "k d"] | None,
    reach: float,
    closed: bool,
    options: dict[str, Any],
) -> PathRecord:
    if kind in THROUGH:
        if axes is not None:
            raise UsageError(f"a {kind} goes through points, but got axes {list(axes)}")
        points = _drawn(space.chart, THROUGH[kind], options.pop("seed", 0)) if through is None else through
        back = closed and kind in ("line", "sphere", "geodesic")
        return _through(space, kind, torch.cat([points, points[:1]]) if back else points, options)
    if through is not None:
        raise UsageError(f"a {kind} goes through no given points; {', '.join(THROUGH)} do")
    return _about(space, kind, axes, reach, options)


def _about(
    space: Space, kind: str, axes: Sequence[int | str] | None, reach: float, options: dict[str, Any]
) -> PathRecord:
    chart = space.chart
    needed = {"traversal": 1, "grid": 2, "circle": 2, "spiral": 2}.get(kind)
    if kind == "lissajous":
        count = 2 if axes is None else len(axes)
        needed = len(options.setdefault("frequencies", tuple(range(count + 1, 1, -1))))
    if axes is not None and (needed or len(axes)) != len(axes):
        raise UsageError(f"a {kind} got axes {list(axes)}, expected {needed}")
    if axes is not None and len(set(axes)) < len(axes):
        raise UsageError(f"a {kind} got axes {list(axes)}, expected different ones")
    chosen, sizes = _axes(space, axes, _carrying(chart) if kind == "diagonal" else needed)
    if needed and len(chosen) < needed:
        raise UsageError(f"a {kind} needs {needed} axes, but the latent space has {chart.dim}")
    if kind == "diagonal":
        sizes = _within(chart, chosen, sizes)
    far = [reach * size for size in sizes]
    near = [-size for size in far]
    values: dict[str, Any] = {"kind": kind, "centre": chart.mean.tolist()}
    match kind:
        case "traversal":
            values |= {"axis": chosen[0], "low": near[0], "high": far[0]}
        case "grid" | "diagonal":
            values |= {"axes": chosen, "low": near, "high": far}
        case "circle" | "lissajous":
            values |= {"axes": chosen, "radius": far}
        case "spiral":
            values |= {"axes": chosen, "outer": far}
        case "random_walk" | "drift":
            values |= {"axes": chosen, "scale": [size / 2 for size in far]}
    return path_from_json({**values, **options})


def _carrying(chart: LatentMap) -> int:
    """Return how many principal axes hold 99 % of the variance: along others hardly anything moves."""
    share = chart.spread.square().cumsum(0) / chart.spread.square().sum().clamp_min(1e-30)
    return min(len(share), 1 + int((share < CARRIED).sum()))


def _within(chart: LatentMap, axes: Sequence[Axis], sizes: Sequence[float]) -> list[float]:
    """Return offsets along several axes together, in the given ratio, scaled to a Mahalanobis distance of 1.

    All coordinates at their deviation at once lie the further outside the corpus the more there are.
    """
    directions = [torch.eye(chart.dim)[axis] if isinstance(axis, int) else torch.tensor(axis) for axis in axes]
    offset = torch.tensor(sizes) @ torch.stack(directions)
    there = chart.spread > 1e-4 * chart.spread.max()  # a direction in which nothing lies has no scale
    far = float((chart.axes[there] @ offset / chart.spread[there]).norm())
    return [size / far for size in sizes] if far > 0 else list(sizes)


def _axes(space: Space, axes: Sequence[int | str] | None, count: int | None) -> tuple[list[Axis], list[float]]:
    """Return axes and the corpus's deviation along each."""
    chart = space.chart
    if axes is None:
        return [tuple(axis) for axis in chart.axes[:count].tolist()], chart.spread[:count].tolist()
    pairs = [_axis(space, axis) for axis in axes]
    return [axis for axis, _ in pairs], [size for _, size in pairs]


def _axis(space: Space, axis: int | str) -> tuple[Axis, float]:
    chart = space.chart
    if isinstance(axis, str):
        named = {one.name: one for one in space.axes}
        if axis not in named:
            raise UsageError(f"axis '{axis}' is not known{nearest(axis, named)}")
        return tuple(named[axis].direction), named[axis].deviation
    if not 0 <= axis < chart.dim:
        raise UsageError(f"axis {axis} does not exist, expected 0 to {chart.dim - 1}")
    return axis, float(chart.deviation[axis])


def _drawn(chart: LatentMap, count: int, seed: int) -> Float[Tensor, "k d"]:
    """Return mean codes of clips; where there are too few, points drawn about the middle."""
    stream = numpy_stream(seed, "ends")
    if len(chart.clips) >= count:
        return chart.clips[torch.from_numpy(stream.permutation(len(chart.clips))[:count])]
    return chart.lift(torch.from_numpy(stream.standard_normal((count, len(chart.spread)))).float() * chart.spread)


def _through(space: Space, kind: str, points: Float[Tensor, "k d"], options: dict[str, Any]) -> PathRecord:
    few = 3 if kind == "triangle" else 2
    if len(points) < few or (kind == "triangle" and len(points) > 3):
        raise UsageError(f"a {kind} got {len(points)} points, expected {few}{'' if kind == 'triangle' else ' or more'}")
    if kind == "spline":
        return path_from_json({"kind": kind, "points": points.tolist(), **options})
    ends = [*points, points[0]] if kind == "triangle" else [*points]
    legs = [leg(space, kind, a, b, options) for a, b in pairwise(ends)]
    if len(legs) == 1:
        return legs[0]
    return parse(PathSequence, {"paths": tuple(legs)}, f"a {kind} through {len(points):,} points")


def middle(space: Space) -> Float[Tensor, " d"]:
    """Return what great circles go about: the mean code of the corpus, or the origin where codes lie on a sphere."""
    prior = getattr(space.model, "prior", None)
    return torch.zeros_like(space.centre) if isinstance(prior, SpherePrior) else space.centre


def leg(
    space: Space, kind: str, a: Float[Tensor, " d"], b: Float[Tensor, " d"], options: Mapping[str, Any] = {}
) -> PathRecord:
    """Return the line, sphere (about :func:`middle`) or (any other kind) geodesic from one point to another."""
    if kind in ("line", "sphere"):
        about = {"centre": middle(space).tolist()} if kind == "sphere" else {}
        return path_from_json({"kind": kind, "a": a.tolist(), "b": b.tolist(), **about, **options})
    from latentscape.instrument.geodesics import geodesic

    return geodesic(space, a, b, **options)


def recorded(space: Space, wave: Float[Tensor, "c n"], labels: Labels | None = None, name: str = "") -> Recorded:
    """Return the course of a sound through the latent space; rendered in its own time, it is heard again.

    Raises:
        UsageError: the sound is too long to be a path.
        ConfigError: its codes lie farther out than a path may.
    """
    codes = space.encode(wave, labels)
    if len(codes) > MOST_POINTS:
        raise UsageError(f"a sound of {len(codes):,} windows is too long for a path, expected at most {MOST_POINTS:,}")
    rate = space.representation.sample_rate if space.representation else wave.shape[1]
    values = {"points": codes.tolist(), "seconds": wave.shape[1] / rate, "name": name}
    return parse(Recorded, values, f"the course of {name or 'a sound'}")


def carried(path: Recorded, onto: Recorded) -> Moved:
    """Return the course of one sound carried to another: moved by the offset between their mean codes.

    Raises:
        ConfigError: that offset is greater than a path may hold.
    """
    offset = onto.matrix.mean(0) - path.matrix.mean(0)
    return parse(Moved, {"path": path, "by": offset.tolist()}, "a carried course")


def paced(space: Space, path: PathRecord, speed: str, labels: Labels | None = None) -> PathRecord:
    """Return a path at constant speed in some distance, as a record that needs no model any more.

    Args:
        space: whose decoder says what is heard.
        path: any record.
        speed: ``time`` leaves it as it is; ``latent``; ``feature`` and ``perceived`` as geodesics
            measure them (:func:`latentscape.instrument.geodesics.embedding_of`).
        labels: told to the model throughout.

    Raises:
        UsageError: the speed is not known, or there is nothing to perceive.
    """
    match speed:
        case "time":
            return path
        case "latent":
            return retimed(path)
        case "feature":
            from latentscape.instrument.geodesics import embedding_of

            return retimed(path, embedding_of(space, "features", labels))
        case "perceived":
            return retimed(path, perceived(space, labels))
    raise UsageError(f"speed '{speed}' is not known{nearest(speed, SPEEDS)}")
