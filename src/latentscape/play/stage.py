"""What all players of a run share and nobody changes: the instrument, its maps, axes and dots, ready to be told of.

Letters: n points, d latent width.

A map shows latent space in the square [-1, 1]^2: the corpus fills it, both axes have one scale.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError, nearest
from latentscape.instrument.axes import NamedAxis
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import context_of
from latentscape.instrument.map import LatentMap
from latentscape.instrument.voice import Voice
from latentscape.play import limits
from latentscape.play.load import BUSY

MOST_DOTS = 4000
"""Dots of the map; of a larger corpus, so many spread over it."""
PITCH_LABELS = ("midi", "pitch")
GOAL_DB = -23.0
"""dBFS, A-weighted, that the louder sounds of a corpus begin at: one deviation above its mean."""
GAINS_DB = (-12.0, 24.0)
UNKNOWN_DB = -6.0


@dataclass(frozen=True)
class Chart:
    """A map in the unit square.

    Attributes:
        place: codes ``[n, d]`` to spots ``[n, 2]``.
        lift: spots to codes.
    """

    place: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n 2"]]
    lift: Callable[[Float[Tensor, "n 2"]], Float[Tensor, "n d"]]


@dataclass(frozen=True)
class Axis:
    """A direction that a slider moves along.

    Attributes:
        name: of the axis.
        step: what one deviation of the corpus is, ``[d]``.
        facts: as the page is told.
    """

    name: str
    step: Float[Tensor, " d"]
    facts: Mapping[str, Any]


class Stage:
    """A run on stage.

    Args:
        instrument: of sound, with a representation that can be played live.

    Attributes:
        hop: samples that a point stands for.
        level: of quality that a listener begins with; see :class:`latentscape.play.load.Load`.
        notice: what a listener should know of how it plays here; ``""``: nothing.

    Raises:
        UsageError: it can't be played, or not by this machine.
    """

    def __init__(self, instrument: Instrument) -> None:
        voice = instrument.voice()
        assert instrument.representation is not None
        self.instrument, self.sound, self.hop = instrument, instrument.representation, voice.hop
        self.level, self.notice = _able(voice, instrument.name)
        self.dim = instrument.dim
        self.vocabulary = {name: tuple(values) for name, values in instrument.vocabulary.items()}
        count = len(instrument.chart.clips)
        self.dots = list(range(count)) if count <= MOST_DOTS else torch.linspace(0, count - 1, MOST_DOTS).int().tolist()
        self.codes = instrument.chart.clips[self.dots].float()

    # ------------------------------------------------------------------------------------------------------- places

    @cached_property
    def maps(self) -> dict[str, Chart]:
        """The maps by name."""
        chart = self.instrument.chart
        maps = {"principal": _squared(lambda z: _two(chart.project(z)), lambda y: _lifted(chart, y), self.codes)}
        if chart.neighbours is not None:
            maps["neighbours"] = _squared(chart.neighbours.place, chart.neighbours.lift, self.codes)
        return maps

    def chart(self, name: str) -> Chart:
        """Return a map.

        Raises:
            UsageError: there is none of that name.
        """
        if name not in self.maps:
            raise UsageError(f"map '{name[:40]}' is not known{nearest(name[:40], self.maps)}")
        return self.maps[name]

    def places(self, codes: Float[Tensor, "n d"]) -> dict[str, list[list[float]]]:
        """Return where codes lie on every map."""
        return {name: rounded(chart.place(codes)) for name, chart in self.maps.items()}

    def code(self, values: list[float]) -> Float[Tensor, " d"]:
        """Return a code as a point.

        Raises:
            UsageError: it has another width, or a value beyond all measure.
        """
        return self.points([values])[0]

    def points(self, rows: list[list[float]], most: int = limits.POINTS) -> Float[Tensor, "n d"]:
        """Return codes as points.

        Raises:
            UsageError: as :meth:`code`, or there are too many.
        """
        if len(rows) > most:
            raise UsageError(f"got {len(rows)} points, expected at most {most}")
        for row in rows:
            if len(row) != self.dim:
                raise UsageError(f"got a code of {len(row)} values, expected {self.dim}")
            if not all(abs(value) <= limits.CODE for value in row):
                raise UsageError(f"got a code with a value beyond {limits.CODE:g}")
        return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), self.dim)

    # --------------------------------------------------------------------------------------------------------- axes

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """The named axes."""
        return {axis.name: _named(axis) for axis in self.instrument.axes}

    def axis(self, name: str) -> Axis:
        """Return an axis.

        Raises:
            UsageError: there is none of that name.
        """
        if name not in self.axes:
            raise UsageError(f"axis '{name[:40]}' is not known{nearest(name[:40], self.axes)}")
        return self.axes[name]

    # ------------------------------------------------------------------------------------------------------- labels

    @cached_property
    def pitch_label(self) -> str | None:
        """The label that a keyboard sets."""
        known = [name for name in PITCH_LABELS if name in self.vocabulary and _numeric(self.vocabulary[name])]
        return known[0] if known else None

    def pitch(self, midi: int) -> dict[str, str]:
        """Return the labels of a key: the nearest pitch that is known."""
        label = self.pitch_label
        if label is None:
            return {}
        return {label: min(self.vocabulary[label], key=lambda text: abs(float(text) - midi))}

    def labels(self, values: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return labels as they can be told.

        Raises:
            UsageError: a label or a value is not known.
        """
        told = {name: value for name, value in values.items() if value is not None}
        context_of(told, self.vocabulary, 1, torch.device("cpu"))
        for name in values:
            if name not in self.vocabulary:
                raise UsageError(f"label '{name[:40]}' is not known{nearest(name[:40], self.vocabulary)}")
        return dict(values)

    @cached_property
    def gain_db(self) -> float:
        """The level to begin with, whole dB: quiet runs are heard at once, and loud ones don't startle."""
        loudness = self.instrument.naming.descriptors.get("loudness")
        if loudness is None:
            return UNKNOWN_DB
        low, high = GAINS_DB
        return float(round(min(high, max(low, GOAL_DB - loudness.mean - loudness.deviation))))

    # -------------------------------------------------------------------------------------------------------- facts

    def facts(self) -> dict[str, Any]:
        """Return what the page is told of the run."""
        live = self.sound.live()
        assert live is not None
        chart, rate = self.instrument.chart, self.sound.sample_rate
        return {
            "name": self.instrument.name,
            "sample_rate": rate,
            "channels": self.sound.channels,
            "step_seconds": self.hop / rate,
            "notice": self.notice,
            "gain_db": self.gain_db,
            "dim": self.dim,
            "latency_seconds": live.latency / rate,
            "labels": {name: list(values) for name, values in self.vocabulary.items()},
            "pitch_label": self.pitch_label,
            "axes": [axis.facts for axis in self.axes.values()],
            "centre": rounded(chart.mean),
            "maps": {name: {"places": places} for name, places in self.places(self.codes).items()},
            "dots": self._dots(),
        }

    def _dots(self) -> list[dict[str, Any]]:
        chart, codes = self.instrument.chart, rounded(self.codes)
        descriptors = chart.descriptors
        dots = []
        for number, row in enumerate(self.dots):
            labels = {name: values[row] for name, values in chart.labels.items() if values}
            dots.append(
                {
                    "name": chart.names[row] if chart.names else f"{row + 1}",
                    "part": "test" if chart.test and chart.test[row] else "train",
                    "code": codes[number],
                    "labels": labels,
                    "descriptors": {name: _number(values[row]) for name, values in descriptors.items() if values},
                }
            )
        return dots


def _able(voice: Voice, name: str) -> tuple[int, str]:
    """Return the level to begin with, and what is to be said of it, where sound is drawn sample by sample.

    Raises:
        UsageError: it is heard faster than this machine draws it.
    """
    pace = voice.pace()
    if pace is None or pace * BUSY >= 1:
        return 0, ""
    light = max(pace, voice.pace(every=2) or 0.0)
    if light * BUSY >= 1:
        return 1, ""
    if light < 1:
        raise UsageError(
            f"{name or 'this run'} can't be played live here: this machine draws {light:.2g} s of its sound "
            "a second; `latentscape walk`, `morph` and `sample` make its sounds, at any speed"
        )
    return (
        1,
        f"This machine draws the sound {light:.1f} times as fast as it is heard: it may stutter, and answers late.",
    )


def rounded(values: Tensor) -> list:
    """Return a tensor as lists of numbers of seven digits: as much as float32 holds, in a third of the text."""
    if values.ndim > 1:
        return [rounded(row) for row in values]
    return [float(f"{value:.7g}") for value in values.tolist()]


def _squared(place: Callable[[Tensor], Tensor], lift: Callable[[Tensor], Tensor], codes: Float[Tensor, "n d"]) -> Chart:
    """Scale a map so that the corpus fills the square."""
    spots = place(codes)
    middle = (spots.amax(0) + spots.amin(0)) / 2
    scale = float((spots - middle).abs().max().clamp_min(1e-6))
    return Chart(lambda z: (place(z) - middle) / scale, lambda y: lift(y * scale + middle).float())


def _two(places: Tensor) -> Tensor:
    """Return two coordinates also where latent space has one."""
    return torch.nn.functional.pad(places, (0, 2 - places.shape[1]))


def _lifted(chart: LatentMap, places: Tensor) -> Tensor:
    return chart.lift(places[:, : len(chart.spread)])


def _named(axis: NamedAxis) -> Axis:
    moves = [
        {"descriptor": name, "correlation": _number(e.correlation), "span": _number(e.span), "unit": e.unit}
        for name, e in axis.moves.items()
    ]
    strongest = sorted(moves, key=lambda move: -abs(move["correlation"] or 0.0))[:3]
    words = [f"{'more' if (move['correlation'] or 0) > 0 else 'less'} {move['descriptor']}" for move in strongest]
    facts = {
        "name": axis.name,
        "low": axis.low,
        "high": axis.high,
        "deviation": axis.deviation,
        "moves": moves,
        "about": ", ".join(words) if words else "moves no descriptor much",
    }
    return Axis(axis.name, axis.deviation * torch.tensor(axis.direction, dtype=torch.float32), facts)


def _number(value: float) -> float | None:
    """Return a number that JSON can hold; ``None`` for one that is not finite."""
    value = float(value)
    return float(f"{value:.6g}") if abs(value) < float("inf") else None


def _numeric(values: tuple[str, ...]) -> bool:
    try:
        return bool([float(value) for value in values])
    except ValueError:
        return False
