"""Walks that stay where the corpus is: default paths from the statistics of its latent map.

Lengths are in standard deviations of the corpus's own codes (``reach``), about their mean. Axes are, unless told, the
principal ones; numbers name latent coordinates.
"""

from collections.abc import Sequence
from typing import Any

import torch

from latentscape.core.errors import UsageError, nearest
from latentscape.core.random import numpy_stream
from latentscape.geometry.paths import Axis, ClosedPath, path_from_json
from latentscape.instrument.map import LatentMap

KINDS = ("line", "sphere", "traversal", "grid", "diagonal", "circle", "spiral", "random_walk")


def walk(
    chart: LatentMap, kind: str, *, axes: Sequence[int] | None = None, reach: float = 2.0, **options: Any
) -> ClosedPath:
    """Return a path of some kind through the middle of the corpus.

    * line, sphere: between the mean codes of two clips, drawn by ``seed`` (default 0)
    * traversal: along one axis, ``reach`` deviations to either side
    * grid, circle, spiral: in the plane of two axes
    * diagonal: all coordinates (or ``axes``) together, from low to high
    * random_walk: over all principal axes (or ``axes``), each at its own deviation times ``reach / 2``

    Args:
        chart: the latent map.
        kind: one of the above.
        axes: numbers of latent coordinates, as many as the kind needs.
        reach: standard deviations.
        **options: any field of the path's record, laid over the defaults (``turns=3``, ``seed=1``, ``rows=4`` ...).

    Raises:
        UsageError: the kind is not known, or the number of axes does not fit it.
        ConfigError: an option is not known (the nearest is named) or does not fit.
    """
    if kind not in KINDS:
        raise UsageError(f"walk '{kind}' is not known{nearest(kind, KINDS)}")
    needed = {"traversal": 1, "grid": 2, "circle": 2, "spiral": 2}.get(kind)
    if axes is not None and (needed or len(axes)) != len(axes):
        raise UsageError(f"a {kind} got axes {list(axes)}, expected {needed}")
    if kind in ("line", "sphere"):
        if axes is not None:
            raise UsageError(f"a {kind} goes between two points, but got axes {list(axes)}")
        values = _ends(chart, reach, options.pop("seed", 0))
        return path_from_json({"kind": kind} | values | options)
    chosen, sizes = _axes(chart, axes, needed, coordinates=kind == "diagonal")
    if needed and len(chosen) < needed:
        raise UsageError(f"a {kind} needs {needed} axes, but the latent space has {chart.dim}")
    far = [reach * size for size in sizes]
    near = [-size for size in far]
    values: dict[str, Any] = {"kind": kind, "centre": chart.mean.tolist()}
    match kind:
        case "traversal":
            values |= {"axis": chosen[0], "low": near[0], "high": far[0]}
        case "grid" | "diagonal":
            values |= {"axes": chosen, "low": near, "high": far}
        case "circle":
            values |= {"axes": chosen, "radius": far}
        case "spiral":
            values |= {"axes": chosen, "outer": far}
        case "random_walk":
            values |= {"axes": chosen, "scale": [size / 2 for size in far]}
    return path_from_json(values | options)


def _axes(
    chart: LatentMap, axes: Sequence[int] | None, count: int | None, coordinates: bool
) -> tuple[list[Axis], list[float]]:
    """Return axes and the corpus's deviation along each."""
    if axes is None and not coordinates:
        return [tuple(axis) for axis in chart.axes[:count].tolist()], chart.spread[:count].tolist()
    numbers = list(range(chart.dim)) if axes is None else list(axes)
    for number in numbers:
        if not 0 <= number < chart.dim:
            raise UsageError(f"axis {number} does not exist, expected 0 to {chart.dim - 1}")
    return [*numbers], [float(chart.deviation[number]) for number in numbers]


def _ends(chart: LatentMap, reach: float, seed: int) -> dict[str, Any]:
    if len(chart.clips) > 1:
        a, b = chart.clips[torch.from_numpy(numpy_stream(seed, "ends").permutation(len(chart.clips))[:2])]
    else:
        step = reach * chart.spread[0] * chart.axes[0]
        a, b = chart.mean - step, chart.mean + step
    return {"a": a.tolist(), "b": b.tolist()}
