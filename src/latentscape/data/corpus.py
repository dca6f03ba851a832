"""The Corpus: labelled clips or images, and a record of what was left out and why.

Letters: n samples, c channels, h height, w width.

A corpus is held by columns, not by records: eighteen thousand clips with eighteen labels each cost a few megabytes. A
:class:`Clip` is made when it is asked for. The sound stays in memory-mapped files (:mod:`latentscape.data.cache`), so a
corpus of ten hours takes no more memory than one of ten minutes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, overload

import numpy as np
from jaxtyping import Float32, Int, Shaped
from pydantic import Field, PositiveInt

from latentscape.core.config import Record
from latentscape.data.cache import Store
from latentscape.data.tags import TagOptions
from latentscape.signal.audio import HIGHEST_RATE

Channels = Literal["mean", "each"]
LISTED = 20
"""Files that are left out are named, so many at most."""


class SourceOptions(Record):
    """How a source is read.

    Attributes:
        sample_rate: Hz; ``None`` takes the commonest rate of the files.
        channels: ``mean`` averages them, ``each`` makes every channel a clip of its own.
        pattern: labels from file names, such as ``{instrument}_{note}_{dynamics}``; with a ``/`` it describes the path.
        tags: what becomes of a label of several values, of a source with a table; ``None`` leaves it as it is.
        size: pixels, of pictures in a folder: their middle square is brought to it; ``None`` wants one size of all.
    """

    sample_rate: int | None = Field(default=None, ge=1, le=HIGHEST_RATE)
    channels: Channels = "mean"
    pattern: str | None = None
    tags: TagOptions | None = None
    size: PositiveInt | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of sound.

    Attributes:
        name: its path relative to the corpus, without suffix; ``#2`` is its second channel, ``@441000`` a later start.
        path: the file it came from.
        start: first sample, at the corpus rate.
        frames: length in samples at the corpus rate.
        rate: Hz, of the corpus.
        channel: of the file; ``None`` for the average of all.
        labels: numbers where every value of that label is one, else words; absent labels are left out.
        row: its place among the corpus's clips, by which the sound is found.
    """

    name: str
    path: Path
    start: int
    frames: int
    rate: int
    channel: int | None
    labels: Mapping[str, str | float]
    row: int

    @property
    def seconds(self) -> float:
        """Length in s."""
        return self.frames / self.rate

    def part(self, start: int, frames: int) -> "Clip":
        """Return the stretch of ``frames`` samples that begins ``start`` samples into this one."""
        name = f"{self.name.removesuffix(f'@{self.start}')}@{self.start + start}"  # a file's own name may hold an @
        return replace(self, name=name, start=self.start + start, frames=frames)


def begin_of(name: str) -> tuple[str, int]:
    """Return the clip and the first sample of it that the name of a stretch, such as ``album@441000``, stands for."""
    clip, _, start = name.rpartition("@")
    return (clip, int(start)) if clip and start.isascii() and start.isdecimal() else (name, 0)


@dataclass(frozen=True)
class LeftOut:
    """A file (or channel) that is not used.

    Attributes:
        name: relative path.
        reason: one line that follows the name.
        kind: ``unreadable`` by its header, ``damaged`` in its samples, ``silent``, or ``duplicate``.
    """

    name: str
    reason: str
    kind: Literal["unreadable", "damaged", "silent", "duplicate"]


class Texts(Sequence[str]):
    """Texts in one block of memory.

    Thousands of small strings that outlive the reading of a corpus would keep all of the memory that it took in pieces.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self._data = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        """Return one text, or several."""
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        return self._data[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogateescape")


@dataclass(frozen=True, eq=False)
class Column:
    """One label of all clips.

    Attributes:
        values: the distinct texts, sorted (as numbers where all are).
        codes: place in ``values`` of each clip; -1 where the clip has none.
        numeric: whether every value is a finite number.
    """

    values: Texts
    codes: Int[np.ndarray, " n"]
    numeric: bool

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> "Column":
        """Encode one text a clip; ``None`` and empty text are absent."""
        distinct = {text for text in texts if text}
        numeric = all(_is_number(text) for text in distinct)
        values = sorted(distinct, key=lambda text: (float(text) if numeric else 0.0, text))
        place = {text: code for code, text in enumerate(values)}
        codes = np.fromiter((place[text] if text else -1 for text in texts), dtype=np.int32, count=len(texts))
        return cls(Texts(values), codes, numeric)

    def text(self, row: int) -> str | None:
        """Return what stood in the table for a clip."""
        code = int(self.codes[row])
        return None if code < 0 else self.values[code]


def _is_number(text: str) -> bool:
    try:
        return "_" not in text and bool(np.isfinite(float(text)))  # Python would read 1_2 as twelve
    except ValueError:
        return False


@dataclass(frozen=True, eq=False)
class Clips(Sequence[Clip]):
    """All clips of a corpus, by columns.

    Attributes:
        names, paths: one each.
        frames: samples each.
        channels: of the file; -1 for the average.
        columns: the labels.
        rate: Hz.
    """

    names: Texts
    paths: Texts
    frames: Int[np.ndarray, " n"]
    channels: Int[np.ndarray, " n"]
    columns: Mapping[str, Column]
    rate: int

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Clip, ...]: ...
    def __getitem__(self, index: int | slice) -> Clip | tuple[Clip, ...]:
        """Return one clip, or several."""
        if isinstance(index, slice):
            return tuple(self[row] for row in range(*index.indices(len(self))))
        row = range(len(self))[index]
        labels: dict[str, str | float] = {}
        for name, column in self.columns.items():
            text = column.text(row)
            if text is not None:
                labels[name] = float(text) if column.numeric else text
        channel = int(self.channels[row])
        return Clip(
            name=self.names[row],
            path=Path(self.paths[row]),
            start=0,
            frames=int(self.frames[row]),
            rate=self.rate,
            channel=None if channel < 0 else channel,
            labels=labels,
            row=row,
        )

    def __iter__(self) -> Iterator[Clip]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True, eq=False)
class SoundCorpus:
    """Labelled clips of one sample rate.

    Attributes:
        name: the source as it was asked for.
        root: the folder that names are relative to.
        sample_rate: Hz.
        clips: what is used.
        left_out: what is not, and why.
        notes: one line each on what a person should know (faults in label tables, repaired files).
        group: labels that together name what may not be shared between training and test; ``()`` leaves the choice
            to :mod:`latentscape.data.split`.
        digest: of content, labels and settings; the same on every machine.
        store: the sound.
    """

    name: str
    root: Path
    sample_rate: int
    clips: Clips
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    group: tuple[str, ...]
    digest: str
    store: Store

    @property
    def seconds(self) -> float:
        """Length of all clips together, s."""
        return float(self.clips.frames.sum()) / self.sample_rate

    def leaves_out(self) -> list[str]:
        """Return a line for each of the files that have no part in what is made or measured, the first 20 by name."""
        lines = [f"left out: '{one.name}' {one.reason}" for one in self.left_out[:LISTED]]
        more = len(self.left_out) - len(lines)
        return [*lines, *([f"left out: {more} more; `latentscape doctor` names them"] if more else [])]

    def wave(self, clip: Clip, start: int = 0, frames: int | None = None) -> Float32[np.ndarray, "1 n"]:
        """Return the sound of a clip, or of the ``frames`` samples from ``start``; a read-only view of the cache."""
        frames = clip.frames - start if frames is None else frames
        return self.store.read(clip.row, clip.start + start, frames)[None]


@dataclass(frozen=True, eq=False)
class ImageCorpus:
    """Labelled images of one size.

    Attributes:
        name: the source as it was asked for.
        images: 0 to ``peak``.
        peak: the value of full brightness (255; 16 for scikit-learn's digits).
        columns: the labels; ``split`` holds the data set's own parts.
        notes: as in :class:`SoundCorpus`.
        digest: of content and labels.
        binary: how the images came to be bits, where the source itself holds bits; ``""`` where it holds grey.
        grey: 0 to 255, the images that the bits were drawn from, where they are known.
    """

    name: str
    images: Shaped[np.ndarray, "b c h w"]
    peak: int
    columns: Mapping[str, Column]
    notes: tuple[str, ...]
    digest: str
    binary: str = ""
    grey: Shaped[np.ndarray, "b c h w"] | None = None
