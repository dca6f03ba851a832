r"""Timelines: words or labels with a begin and an end, from CSV files and Praat TextGrids.

Letters: m steps of a hop, n samples.

* CSV: a header with the columns ``start``, ``end`` (s) and ``label``, a row an interval.
* TextGrid, long or short text form, UTF-8 or UTF-16: one tier of intervals. In either form the values come in the same
  order, as Praat itself reads them: everything that is no quoted text, no number and no ``<flag>`` is a comment.

An interval holds from its begin up to its end; where two overlap the later one in the file counts. Empty labels are
gaps. A file lies beside its sound and has its stem: ``kick/01.flac``, ``kick/01.TextGrid`` (or ``.csv``).
"""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentscape.core.errors import DataError
from latentscape.data.text import decoded, table_of

SUFFIXES = (".TextGrid", ".textgrid", ".csv")
COLUMNS = ("start", "end", "label")
LARGEST = 64 * 2**20
"""Bytes; a larger file is no timeline."""
WORDS = "words"
_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)<([^<>\s]*)>|(?<!\S)([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\S)|(?<!\S)![^\n]*'
)
"""Quoted text, a flag, a number that stands free, or a remark to the end of its line."""


@dataclass(frozen=True)
class Interval:
    """A label and when it holds.

    Attributes:
        start, end: s.
        label: no empty text.
    """

    start: float
    end: float
    label: str


Timeline = tuple[Interval, ...]


def beside(sound: Path) -> Path | None:
    """Return the timeline that lies beside a sound, if any."""
    return next((path for suffix in SUFFIXES if (path := sound.with_suffix(suffix)).is_file()), None)


def read_timeline(path: Path, tier: str | None = None) -> Timeline:
    """Read a timeline.

    Args:
        path: of a CSV file or a TextGrid; what is in it decides.
        tier: of a TextGrid; ``None`` takes ``words`` where there is one, else the first tier of intervals.

    Raises:
        DataError: it can't be read, or is neither; one line says where.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is larger than {LARGEST >> 20} MiB, expected a timeline")
        text = decoded(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 or UTF-16, expected a CSV file or a TextGrid") from error
    if re.match(r'\s*(File type\s*=\s*)?"ooTextFile', text):
        return _textgrid(path, text, tier)
    return _table(path, text)


def _interval(path: Path, where: str, start: float, end: float, label: str) -> Interval:
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        raise DataError(f"{path}, {where}: an interval from {start:g} to {end:g} s, expected 0 <= start <= end")
    return Interval(start, end, label)


def _table(path: Path, text: str) -> Timeline:
    try:
        reader = table_of(text, COLUMNS)
        names = {(column or "").strip().lower(): column for column in reader.fieldnames or ()}
        lacking = [column for column in COLUMNS if column not in names]
        if lacking:
            had = ", ".join(map(repr, list(names)[:6])) or "none"
            raise DataError(f"{path}: columns {had}; expected {', '.join(COLUMNS)}")
        found = []
        for number, row in enumerate(reader, 2):
            cells = [(row[names[column]] or "").strip() for column in COLUMNS]
            if not any(cells):  # a spreadsheet leaves such rows at the end
                continue
            try:
                start, end = float(cells[0]), float(cells[1])
            except ValueError:
                raise DataError(
                    f"{path}, row {number}: got {cells[0][:40]!r} and {cells[1][:40]!r}, expected start and end in s"
                ) from None
            if cells[2]:
                found.append(_interval(path, f"row {number}", start, end, cells[2]))
    except csv.Error as error:
        raise DataError(f"{path} is not CSV: {error}") from error
    return tuple(found)


class _Tokens:
    """The values of a TextGrid, one after the other."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._found = (token for token in _TOKEN.finditer(text) if not token[0].startswith("!"))

    def _next(self, wanted: str) -> re.Match[str]:
        found = next(self._found, None)
        if found is None:
            raise DataError(f"{self.path} ends where {wanted} was expected")
        return found

    def text(self, wanted: str) -> str:
        """Return the next quoted text."""
        found = self._next(wanted)
        if found[1] is None:
            raise DataError(f"{self.path}: got {found[0][:40]}, expected {wanted}")
        return found[1].replace('""', '"')

    def number(self, wanted: str) -> float:
        """Return the next number."""
        found = self._next(wanted)
        if found[3] is None:
            raise DataError(f"{self.path}: got {found[0][:40]}, expected {wanted}")
        return float(found[3])

    def count(self, wanted: str) -> int:
        """Return the next number, which counts something."""
        value = self.number(wanted)
        if not 0 <= value <= LARGEST or value != int(value):
            raise DataError(f"{self.path}: got {value:g}, expected {wanted}")
        return int(value)

    def flag(self, wanted: str) -> str:
        """Return the next flag."""
        found = self._next(wanted)
        if found[2] is None:
            raise DataError(f"{self.path}: got {found[0][:40]}, expected {wanted}")
        return found[2]


def _textgrid(path: Path, text: str, wanted: str | None) -> Timeline:
    tokens = _Tokens(path, text)
    if not tokens.text("the file type").startswith("ooTextFile") or tokens.text("the object class") != "TextGrid":
        raise DataError(f"{path} holds another object of Praat, expected a TextGrid")
    tokens.number("the begin"), tokens.number("the end")
    if tokens.flag("<exists>") != "exists":
        raise DataError(f"{path} has no tiers")
    names: list[str] = []
    tiers: dict[str, Timeline] = {}
    for _ in range(tokens.count("the number of tiers")):
        kind, name = tokens.text("the class of a tier"), tokens.text("the name of a tier")
        tokens.number("the begin of a tier"), tokens.number("the end of a tier")
        entries = range(tokens.count("the number of entries"))
        if kind == "IntervalTier":
            names.append(name)
            tiers.setdefault(name, tuple(one for one in (_entry(path, tokens) for _ in entries) if one.label))
        elif kind == "TextTier":
            for _ in entries:
                tokens.number("a time"), tokens.text("a mark")
        else:
            raise DataError(f"{path}: a tier of class {kind[:40]!r}, expected IntervalTier or TextTier")
    if not names:
        raise DataError(f"{path} has no tier of intervals")
    if wanted is not None and wanted not in tiers:
        raise DataError(f"{path} has no tier {wanted!r} of intervals, only {', '.join(map(repr, names))}")
    return tiers[wanted if wanted is not None else WORDS if WORDS in tiers else names[0]]


def _entry(path: Path, tokens: _Tokens) -> Interval:
    start, end = tokens.number("the begin of an interval"), tokens.number("the end of an interval")
    return _interval(path, "an interval", start, end, tokens.text("the text of an interval").strip())


def codes_of(timeline: Timeline, times: np.ndarray, values: Sequence[str]) -> np.ndarray:
    """Return what holds at some times: the place of its label among ``values``; -1 for another label, -2 for none.

    Args:
        timeline: in the order in which it counts.
        times: s, ``[m]``.
        values: labels that are told apart.
    """
    place = {value: code for code, value in enumerate(values)}
    codes = np.full(len(times), -2)
    for one in timeline:
        codes[(times >= one.start) & (times < one.end)] = place.get(one.label, -1)
    return codes
