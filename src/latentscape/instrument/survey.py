"""What an evaluation of synthesis found: sounds that were measured, rows that sum them up, and the tables of both."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from latentscape.measure import curves
from latentscape.measure.estimate import Estimate, mean_of
from latentscape.measure.journey import CorpusStatistics
from latentscape.measure.measure import Number
from latentscape.signal.representation import Quality

SECONDS = 2.0
"""Of a path between two sounds."""
WALK_SECONDS = 8.0
QUALITY: Quality = "fast"


@dataclass(frozen=True)
class Journey:
    """One sound, measured.

    Attributes:
        kind: the row that it belongs to.
        name: of the sound, or of the path's ends.
        seconds: s.
        numbers: see :mod:`latentscape.measure.journey`.
        curves: descriptor -> its course in steps of 0.1 s, in plain units (Hz, dB); NaN where it has none.
        path: as plain data, where the path has such a form.
    """

    kind: str
    name: str
    seconds: float
    numbers: Mapping[str, Number]
    curves: Mapping[str, tuple[float, ...]]
    path: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; what is not defined is null."""
        return {
            "kind": self.kind,
            "name": self.name,
            "seconds": self.seconds,
            "numbers": {name: {"value": n.value, "unit": n.unit} for name, n in self.numbers.items()},
            "curves": {
                name: [None if np.isnan(value) else round(value, 4) for value in values]
                for name, values in self.curves.items()
            },
            "path": None if self.path is None else dict(self.path),
        }


@dataclass(frozen=True)
class Row:
    """A kind of sound: the mean of each number over its paths, or why there are none."""

    kind: str
    paths: int = 0
    numbers: Mapping[str, Estimate] = field(default_factory=dict)
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        numbers = {name: number.to_json() for name, number in self.numbers.items()}
        return {"kind": self.kind, "paths": self.paths, "skipped": self.skipped, "numbers": numbers}


TABLES = {
    "what is heard": {
        "range_90": "range 5-95",
        "range_iqr": "range IQR",
        "variation": "variation",
        "spectral_variation": "spectral",
        "pitch_jumps_rate": "jumps",
        "seam": "seam",
        "voiced": "voiced",
    },
    "the way": {
        "monotonicity": "monotone",
        "directness": "direct",
        "length": "length",
        "length_data": "in data",
        "variation_length": "variation",
        "spectral_variation_length": "spectral",
        "distance_data": "from data",
        "distance_codes": "from codes",
    },
}
"""The tables of the shell: number -> head of its column."""


@dataclass(frozen=True)
class Survey:
    """The evaluation of a run's synthesis.

    Attributes:
        about: which run, and of what.
        rows: kinds of sound.
        journeys: every sound that was measured.
        statistics: of the corpus.
        correlations: descriptor -> Spearman's correlation with each of the first principal axes.
        seconds: what was worked on -> how long it took.
    """

    about: str
    rows: tuple[Row, ...]
    journeys: tuple[Journey, ...]
    statistics: CorpusStatistics
    correlations: Mapping[str, tuple[float, ...]]
    seconds: Mapping[str, float]

    def lines(self) -> list[str]:
        """Return tables, a line each."""
        lines = [self.about]
        for title, columns in TABLES.items():
            units = [next((r.numbers[c].unit for r in self.rows if c in r.numbers), "") for c in columns]
            units = [_short(unit) for unit in units]
            lines += ["", _aligned(title, columns.values()), _aligned("", units)]
            for row in self.rows:
                if row.paths:
                    values = [f"{row.numbers[c].value:.3g}" if c in row.numbers else "-" for c in columns]
                    lines.append(_aligned(f"{row.kind} ({row.paths})", values))
        if self.correlations:
            lines += ["", "principal axes that move a descriptor most (Spearman's correlation):"]
            for name, values in self.correlations.items():
                order = sorted(range(len(values)), key=lambda axis: -abs(values[axis]))[:3]
                lines.append(f"  {name:10} " + ", ".join(f"axis {axis}: {values[axis]:+.2f}" for axis in order))
        skipped = [f"  {row.kind}: {row.skipped}" for row in self.rows if row.skipped]
        return lines + (["", "left out:", *skipped] if skipped else [])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "about": self.about,
            "settings": {
                "seconds": SECONDS,
                "walk_seconds": WALK_SECONDS,
                "quality": QUALITY,
                "rate": curves.RATE,
                "window": curves.WINDOW,
                "hop": curves.HOP,
            },
            "corpus": self.statistics.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "correlations": {name: list(values) for name, values in self.correlations.items()},
            "journeys": [one.to_json() for one in self.journeys],
            "seconds": dict(self.seconds),
        }


def _short(unit: str) -> str:
    return re.sub("deviations|spreads?|neighbours", lambda found: found[0][:3], unit)


def _aligned(first: str, rest: Iterable[str]) -> str:
    return f"{first:26}" + "".join(f"{value:>11}" for value in rest)


def rows_of(journeys: Sequence[Journey]) -> list[Row]:
    """Return the means over the journeys of each kind, in the order in which kinds first come."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in journeys):
        mine = [one.numbers for one in journeys if one.kind == kind]
        numbers = {}
        for name in dict.fromkeys(name for one in mine for name in one):
            there = [one[name] for one in mine if name in one]
            numbers[name] = mean_of(torch.tensor([number.value for number in there]), there[0].unit)
        rows.append(Row(kind, len(mine), numbers))
    return rows
