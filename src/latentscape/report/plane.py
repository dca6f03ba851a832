"""The latent map of a page: an SVG of dots, coloured by words or numbers, with its legend."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps

from latentscape.core.errors import DataError
from latentscape.report.items import Map
from latentscape.report.style import CATEGORIES, CONTINUOUS, category, continuous

WIDTH, HEIGHT, MARGIN = 720.0, 460.0, 22.0
MOST_DOTS = 3000
"""A larger map shows this many of its dots, spread over it."""
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
    """

    places: np.ndarray
    spread: list[int]

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
        centred = (item.points - (low + high) / 2) * min(scale, 1e9)
        places = centred * np.array([1, -1]) + np.array([WIDTH, HEIGHT]) / 2
        return cls(places, farthest_first(places, min(n, MOST_DOTS)))


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
    numbers = all(isinstance(label, int | float) for label in item.labels) and len(item.labels) > 0
    colours, shapes, legend = _numbers(item, escape) if numbers else _words(item, escape)
    dots = []
    for index in sorted(plane.spread):
        x, y = plane.places[index]
        hollow = bool(item.test) and item.test[index]
        value = item.labels[index]
        said = f"{value:g}" if isinstance(value, int | float) else value
        words = f"{item.label or 'label'} {said}" + (", test" if hollow else "")
        dots.append(
            f'<g transform="translate({x:.1f} {y:.1f})">'
            f'<path class="dot{" hollow" if hollow else ""}" data-i="{index}" d="{SHAPES[shapes[index]]}" '
            f'style="--c:{colours[index]}" data-words="{escape(words)}" '
            f'data-name="{escape(item.names[index])}"/></g>'
        )
    if any(item.test):
        legend += f'<li><svg viewBox="-8 -8 16 16" aria-hidden="true"><path class="dot hollow" style="--c:currentColor" d="{SHAPES[0]}"/></svg>hollow: test</li>'  # noqa: E501
    fewer = (
        f"<li>{len(plane.spread)} of {len(item.points)} dots shown</li>" if len(plane.spread) < len(item.points) else ""
    )
    name = f'<li class="name">{escape(item.label)}</li>' if item.label else ""
    return (
        f'<svg class="plane" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" tabindex="0" role="application" '
        f'aria-label="{escape(item.title)}: {len(plane.spread)} dots" aria-describedby="{key}-legend">'
        f"{''.join(dots)}</svg>"
        f'<ul class="legend" id="{key}-legend">{name}{legend}{fewer}</ul>'
    )


def _words(item: Map, escape: Callable[[object], str]) -> tuple[list[str], list[int], str]:
    words = [str(label) for label in item.labels]
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


def _numbers(item: Map, escape: Callable[[object], str]) -> tuple[list[str], list[int], str]:
    values = np.array(item.labels, dtype=float)
    known = values[np.isfinite(values)]
    stops = ",".join(
        "#" + "".join(f"{round(255 * c):02x}" for c in colormaps[CONTINUOUS](s)[:3]) for s in np.linspace(0, 1, 9)
    )
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    digits = max(0, 2 - int(np.floor(np.log10(high - low)))) if high > low else 2
    ends = (f"{low:.{digits}f}", f"{high:.{digits}f}")
    bar = f'<span class="ramp" style="background:linear-gradient(90deg,{stops})"></span>'
    return continuous(values), [0] * len(values), f"<li>{escape(ends[0])}{bar}{escape(ends[1])}</li>"
