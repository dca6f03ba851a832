"""What is in a source, before any training: what will be used, what will not, and why."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import log10
from typing import Any, Literal

import numpy as np

from latentscape.data.cache import Progress
from latentscape.data.corpus import ImageCorpus, LeftOut, SourceOptions
from latentscape.data.sources import hidden_by, look
from latentscape.data.survey import Survey

SHORT = 0.5
"""s; shorter clips may have to be padded to one window."""
LISTED = 20
"""How many files that are left out the report names."""


@dataclass(frozen=True)
class Examination:
    """What was found; levels in dBFS, times in s.

    Attributes:
        source: as it was asked for.
        kind: what it holds.
        files: how many were found (images: images).
        clips: how many clips will be used.
        seconds: length of what will be used.
        shortest, median, longest: of clips.
        sample_rate: at which it will be used, Hz; 0 for images.
        rates, channels, formats: how many readable files have each.
        peak_db, rms_db: loudest peak; median level of clips.
        clipped: names of used files that reach full scale for three samples or more.
        short: how many clips are shorter than :data:`SHORT`.
        mixed: how many files of several channels become the mean of these.
        labels: for each label how many values it has.
        left_out: what will not be used, and why.
        notes: what else a person should know.
        shape: of an image; empty for sound.
    """

    source: str
    kind: Literal["sound", "images"]
    files: int
    clips: int
    seconds: float = 0.0
    shortest: float = 0.0
    median: float = 0.0
    longest: float = 0.0
    sample_rate: int = 0
    rates: Mapping[int, int] = field(default_factory=dict)
    channels: Mapping[int, int] = field(default_factory=dict)
    formats: Mapping[str, int] = field(default_factory=dict)
    peak_db: float = 0.0
    rms_db: float = 0.0
    clipped: tuple[str, ...] = ()
    short: int = 0
    mixed: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the report, a line each."""
        if self.kind == "images":
            size = " x ".join(map(str, self.shape))
            return [f"{self.source}: {self.files} images, {size}", *self._labels(), *self.notes]
        lines = [
            f"{self.source}: {_count(self.files, 'file')}, of which {_count(self.clips, 'clip')} will be used, "
            f"{self.seconds / 60:.1f} min at {self.sample_rate} Hz",
            f"rates: {_tally(self.rates, 'Hz')}; channels: {_tally(self.channels)}; formats: {_tally(self.formats)}",
            f"lengths: {self.shortest:.2f} s to {self.longest:.2f} s, half of them above {self.median:.2f} s",
            f"levels: loudest peak {self.peak_db:.1f} dBFS, median level {self.rms_db:.1f} dBFS",
            *self._labels(),
        ]
        if self.short:
            lines.append(
                f"short: {_count(self.short, 'clip')} below {SHORT} s; padded with silence where a window is longer"
            )
        if self.clipped:
            lines.append(
                f"clipped: {_count(len(self.clipped), 'file')} (used all the same), such as '{self.clipped[0]}'"
            )
        others = sum(self.rates.values()) - self.rates.get(self.sample_rate, 0)
        if others:
            lines.append(f"resampled: {_count(others, 'file')} to {self.sample_rate} Hz")
        if self.mixed:
            lines.append(f"mixed: {_count(self.mixed, 'file')} to one channel, the mean (or use --channels each)")
        lines += [f"note: {note}" for note in self.notes]
        if self.left_out:
            kinds = Counter(one.kind for one in self.left_out)
            lines.append(f"left out: {_tally(kinds)}")
            lines += [f"  '{one.name}' {one.reason}" for one in self.left_out[:LISTED]]
            if len(self.left_out) > LISTED:
                lines.append(f"  and {len(self.left_out) - LISTED} more")
        return lines

    def _labels(self) -> list[str]:
        found = ", ".join(f"{name} ({count})" for name, count in self.labels.items())
        return [f"labels: {found}"] if found else ["labels: none"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _tally(counts: Mapping[Any, int], unit: str = "") -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return ", ".join(f"{number} x {value}{' ' if unit else ''}{unit}" for value, number in ordered)


def examine(source: str, options: SourceOptions = SourceOptions(), *, progress: Progress | None = None) -> Examination:
    """Read a source once and report; what was decoded stays in the cache for training.

    Raises:
        UsageError, DataError, StorageError: as :func:`latentscape.data.sources.open_source`.
    """
    found = examination(look(source, options, progress=progress))
    return replace(found, notes=(*found.notes, *hidden_by(source)))


def examination(found: Survey | ImageCorpus) -> Examination:
    """Return the report on what was seen."""
    if isinstance(found, ImageCorpus):
        labels = {name: len(column.values) for name, column in found.columns.items()}
        count, *shape = found.images.shape
        return Examination(found.name, "images", count, count, labels=labels, notes=found.notes, shape=tuple(shape))
    corpus = found.corpus
    lengths = corpus.clips.frames / corpus.sample_rate
    readable = [fact for fact in found.facts if not fact.fault]
    used = [
        (file, entry) for file, entry, one in zip(found.files, found.entries, found.used, strict=True) if one and entry
    ]
    stretches = [stretch for _, entry in used for stretch in entry.stretches]
    return Examination(
        source=corpus.name,
        kind="sound",
        files=len(found.files),
        clips=len(corpus.clips),
        seconds=corpus.seconds,
        shortest=float(lengths.min()),
        median=float(np.median(lengths)),
        longest=float(lengths.max()),
        sample_rate=corpus.sample_rate,
        rates=dict(Counter(fact.rate for fact in readable)),
        channels=dict(Counter(fact.channels for fact in readable)),
        formats=dict(Counter(fact.format for fact in readable)),
        peak_db=_db(max(stretch.peak for stretch in stretches)),
        rms_db=_db(float(np.median([stretch.rms for stretch in stretches]))),
        clipped=tuple(file for file, entry in used if any(stretch.clipped for stretch in entry.stretches)),
        short=int((lengths < SHORT).sum()),
        mixed=sum(fact.channels > 1 for fact in readable) if (corpus.clips.channels < 0).all() else 0,
        labels={name: len(column.values) for name, column in corpus.clips.columns.items()},
        left_out=corpus.left_out,
        notes=corpus.notes,
    )


def _db(level: float) -> float:
    return round(20 * log10(max(level, 1e-6)), 2)
