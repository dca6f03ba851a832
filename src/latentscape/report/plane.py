"""The latent map of a page: an SVG of dots, coloured by words or numbers, with its legend.

Further colours, places and the ground behind the dots are data beside it, for the page's script.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from latentscape.core.errors import DataError
from latentscape.report.items import Map, Relief
from latentscape.report.style import CATEGORIES, CONTINUOUS, category, continuous

WIDTH, HEIGHT, MARGIN = 720.0, 460.0, 22.0
MOST_DOTS = 3000
"""A larger map shows this many of its dots, spread over it."""
LEVELS = 7
"""About so many contours."""
REACH = 30
"""Pixels about a dot in which the ground is shown."""
DEPTH = 0.1
"""Opacity of one level of the ground; as in page.css."""
SHAPES = (
    "M0-5.2A5.2 5.2 0 1 1 0 5.2A5.2 5.2 0 1 1 0-5.2Z",
    "M-4.6-4.6H4.6V4.6H-4.6Z",
    "M0-6L5.6 4.4H-5.6Z",
    "M0-6.4L6 0L0 6.4L-6 0Z",
    "M0 6L5.6-4.4H-5.6Z",
    "M-2-5.6H2V-2H5.6V2H2V5.6H-2V2H-5.6V-2H-2Z",
    "M0-6L5.7-1.9L3.5 4.9H-3.5L-5.7-1.9Z",
    "M-5.6-2.4L-2.4-5.6H2.4L5.6-2.4V2.4L2.4 5.6H-2.4L-5.6 2.4Z",
)


@dataclass(frozen=True)
class Plane:
    """Where the dots of a map are drawn.

    Attributes:
        places: pixel coordinates of every dot, [n, 2].
        spread: the dots that are shown, in an order whose every beginning is spread over the map.
        centre: the point that is drawn in the middle.
        scale: pixels a unit.
    """

    places: np.ndarray
    spread: list[int]
    centre: np.ndarray = field(default_factory=lambda: np.zeros(2))
    scale: float = 1.0

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return where points of the map are drawn, [n, 2]."""
        return (points - self.centre) * self.scale * np.array([1, -1]) + np.array([WIDTH, HEIGHT]) / 2

    @classmethod
    def of(cls, item: Map) -> "Plane":
        """Check a map and place its dots; both axes have the same scale.

        Raises:
            DataError: names, labels, test or sounds are not as many as the dots, or a place is not finite.
        """
        n = len(item.points)
        for name, part in (
            ("names", item.names),
            ("labels", item.labels),
            ("test", item.test),
            ("sounds", item.sounds),
        ):
            optional = name in ("test", "sounds")
            if len(part) != n and not (optional and len(part) == 0):
                raise DataError(f"page: map '{item.title}' has {n} points, but {len(part)} {name}")
        if not np.isfinite(item.points).all():
            raise DataError(f"page: map '{item.title}' has a point that is NaN or infinite")
        if n == 0:
            return cls(np.zeros((0, 2)), [])
        low, high = item.points.min(axis=0), item.points.max(axis=0)
        room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
        scale = float(np.min(room / np.maximum(high - low, 1e-12)))
        plane = cls(np.zeros((n, 2)), [], (low + high) / 2, min(scale, 1e9))
        places = plane.pixels(item.points)
        return replace(plane, places=places, spread=farthest_first(places, min(n, MOST_DOTS)))


def farthest_first(places: np.ndarray, most: int) -> list[int]:
    """Order places so that each is the farthest from all before it (Gonzalez 1985); the first is the most central."""
    first = int(np.argmin(np.sum((places - places.mean(axis=0)) ** 2, axis=1)))
    order, distance = [first], np.sum((places - places[first]) ** 2, axis=1)
    distance[first] = -1
    while len(order) < most:
        following = int(np.argmax(distance))
        order.append(following)
        distance = np.minimum(distance, np.sum((places - places[following]) ** 2, axis=1))
        distance[following] = -1  # chosen; no distance is smaller, so it stays
    return order


def draw_map(item: Map, plane: Plane, key: str, escape: Callable[[object], str]) -> str:
    """Return the SVG and its legend; ``escape`` makes names safe."""
    colours, shapes, legend = _coloured(item.labels, item.label, escape)
    dots = []
    for index in sorted(plane.spread):
        x, y = plane.places[index]
        hollow = bool(item.test) and item.test[index]
        words = f"{item.label or 'label'} {_said(item.labels[index])}" + (", held out" if hollow else "")
        dots.append(
            f'<g transform="translate({x:.1f} {y:.1f})">'
            f'<path class="dot{" hollow" if hollow else ""}" data-i="{index}" d="{SHAPES[shapes[index]]}" '
            f'style="--c:{colours[index]}" data-words="{escape(words)}" '
            f'data-name="{escape(item.names[index])}"/></g>'
        )
    notes = ""
    if any(item.test):
        notes += f'<li><svg viewBox="-8 -8 16 16" aria-hidden="true"><path class="dot hollow" style="--c:currentColor" d="{SHAPES[0]}"/></svg>hollow: held out</li>'  # noqa: E501
    if len(plane.spread) < len(item.points):
        notes += f"<li>{len(plane.spread)} of {len(item.points)} dots shown</li>"
    grounds = _near(plane, key) if item.reliefs else ""
    grounds += "".join(
        f'<g class="terrain" data-name="{escape(relief.name)}" mask="url(#{key}-near)" hidden>'
        f"{_terrain(relief, plane)}</g>"
        for relief in item.reliefs
    )
    return (
        f'<svg class="plane" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" tabindex="0" role="application" '
        f'aria-label="{escape(item.title)}: {len(plane.spread)} dots" aria-describedby="{key}-legend">'
        f"{grounds}{''.join(dots)}</svg>"
        f'<ul class="legend" id="{key}-legend">{legend}</ul>' + (f'<ul class="legend">{notes}</ul>' if notes else "")
    )


def views(item: Map, plane: Plane, escape: Callable[[object], str]) -> str:
    """Return what the reader can choose, as JSON that is safe between tags: colours, places, legends of the ground."""
    if not (item.colourings or item.layouts or item.reliefs):
        return ""
    shown = sorted(plane.spread)
    colours = []
    for name, labels in {item.label: item.labels, **item.colourings}.items():
        if len(labels) != len(item.points):
            raise DataError(f"page: map '{item.title}' has {len(item.points)} points, but {len(labels)} of '{name}'")
        css, shapes, legend = _coloured(labels, name, escape)
        dots = [[css[i], shapes[i], _said(labels[i])] for i in shown]
        colours.append({"name": name or "one colour", "legend": legend, "dots": dots})
    layouts = []
    for name, points in {item.layout or "map": item.points, **item.layouts}.items():
        places = Plane.of(replace(item, points=points)).places[shown]
        layouts.append({"name": name, "places": [[round(float(value), 1) for value in place] for place in places]})
    grounds = [{"name": relief.name, "legend": _depths(relief, escape)} for relief in item.reliefs]
    found = {"colours": colours, "layouts": layouts, "reliefs": grounds, "shapes": SHAPES}
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _levels(relief: Relief) -> np.ndarray:
    known = relief.values[np.isfinite(relief.values)]
    if not len(known):
        return np.zeros(0)
    low, high = np.quantile(known, [0.02, 0.98])
    ticks = MaxNLocator(LEVELS).tick_values(low, high)
    return ticks[(ticks > low) & (ticks < high)]


def _near(plane: Plane, key: str) -> str:
    """Return a mask that fades out away from the dots: what lies there is a guess."""
    discs = "".join(
        f"M{x - REACH:.0f} {y:.0f}a{REACH} {REACH} 0 1 0 {2 * REACH} 0a{REACH} {REACH} 0 1 0 {-2 * REACH} 0"
        for x, y in plane.places[plane.spread]
    )
    return (
        f'<defs><filter id="{key}-soft" x="-10%" y="-10%" width="120%" height="120%">'
        f'<feGaussianBlur stdDeviation="12"/></filter>'
        f'<mask id="{key}-near" maskUnits="userSpaceOnUse" x="0" y="0" width="{WIDTH:.0f}" '
        f'height="{HEIGHT:.0f}"><path d="{discs}" fill="#fff" filter="url(#{key}-soft)"/></mask></defs>'
    )


def _terrain(relief: Relief, plane: Plane) -> str:
    """Return a translucent shape a level: of all that lies above it, so that high ground is the deepest."""
    rows, columns = relief.values.shape
    x = np.linspace(relief.low[0], relief.high[0], columns)
    y = np.linspace(relief.low[1], relief.high[1], rows)
    generator: Any = contour_generator(x, y, np.ma.masked_invalid(relief.values), fill_type="OuterOffset")
    shapes = []
    for level in _levels(relief):
        polygons, offsets = generator.filled(level, np.inf)
        d = []
        for points, ends in zip(polygons, offsets, strict=True):
            placed = plane.pixels(np.asarray(points))
            for low, high in pairwise(ends):
                d.append("M" + "L".join(f"{a:.0f} {b:.0f}" for a, b in placed[low:high]) + "Z")
        if d:
            shapes.append(f'<path d="{"".join(d)}"/>')
    return "".join(shapes)


def _depths(relief: Relief, escape: Callable[[object], str]) -> str:
    levels = _levels(relief)
    if not len(levels):
        return ""
    steps = "".join(f'<i style="opacity:{1 - (1 - DEPTH) ** (k + 1):.2f}"></i>' for k in range(len(levels)))
    ends = f"{levels[0]:g}", f"{levels[-1]:g}"
    return f'<li class="name">ground: {escape(relief.name)}</li><li>{ends[0]}<span class="depths">{steps}</span>{ends[1]}</li>'  # noqa: E501


def _said(value: str | int | float) -> str:
    return value if isinstance(value, str) else "unknown" if value != value else f"{value:g}"


def _coloured(
    labels: Sequence[str | int | float], name: str, escape: Callable[[object], str]
) -> tuple[list[str], list[int], str]:
    """Return the dots' colours and shapes, and the legend."""
    numbers = all(isinstance(label, int | float) for label in labels) and len(labels) > 0
    colours, shapes, legend = _numbers(labels, escape) if numbers else _words(labels, escape)
    return colours, shapes, (f'<li class="name">{escape(name)}</li>' if name else "") + legend


def _words(labels: Sequence[str | int | float], escape: Callable[[object], str]) -> tuple[list[str], list[int], str]:
    words = [str(label) for label in labels]
    order = {word: index for index, word in enumerate(sorted(set(words)))}
    colours = [category(order[word]) for word in words]
    shapes = [_shape(order[word]) for word in words]
    legend = "".join(
        f'<li><svg viewBox="-8 -8 16 16" aria-hidden="true"><path class="dot" style="--c:{category(index)}" '
        f'd="{SHAPES[_shape(index)]}"/></svg>{escape(word)}</li>'
        for word, index in order.items()
    )
    return colours, shapes, legend


def _shape(index: int) -> int:
    return (index + index // len(CATEGORIES)) % len(SHAPES)


def _numbers(labels: Sequence[str | int | float], escape: Callable[[object], str]) -> tuple[list[str], list[int], str]:
    values = np.array(labels, dtype=float)
    known = values[np.isfinite(values)]
    stops = ",".join(
        "#" + "".join(f"{round(255 * c):02x}" for c in colormaps[CONTINUOUS](s)[:3]) for s in np.linspace(0, 1, 9)
    )
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    digits = max(0, 2 - int(np.floor(np.log10(high - low)))) if high > low else 2
    ends = (f"{low:.{digits}f}", f"{high:.{digits}f}")
    bar = f'<span class="ramp" style="background:linear-gradient(90deg,{stops})"></span>'
    return continuous(values), [0] * len(values), f"<li>{escape(ends[0])}{bar}{escape(ends[1])}</li>"
