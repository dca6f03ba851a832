"""Leakage of a split: how much of what is tested was heard, in another clip, while training.

A share is that of the test clips (or of their tracks, albums, artists) whose track, album or artist also stands on the
training side. A tagger that knows an album by its mastering looks better on it than it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latentscape.data.corpus import Column, SoundCorpus
from latentscape.data.split import RECORDINGS, Split

IDENTITIES = (*RECORDINGS, "album", "artist", "speaker")
"""Labels that say what a clip was taken from."""


@dataclass(frozen=True)
class Leak:
    """What two sides share.

    Attributes:
        clips: share of the test clips whose value also stands in training.
        values: share of the test's values that do.
        tested: how many values the test has.
    """

    clips: float
    values: float
    tested: int


def leak(train: Sequence[str], test: Sequence[str]) -> Leak:
    """Return what the values (one a clip) of two sides share; nothing is shared by an empty test."""
    heard, tested = set(train), set(test)
    clips = sum(value in heard for value in test) / max(1, len(test))
    return Leak(clips, len(tested & heard) / max(1, len(tested)), len(tested))


def leakage(corpus: SoundCorpus, split: Split) -> dict[str, Leak]:
    """Return the leakage of every label of a corpus that says what a clip was taken from."""
    columns = {name: corpus.clips.columns[name] for name in IDENTITIES if name in corpus.clips.columns}
    rows = {part: sorted(set(split.parts[part].rows.tolist())) for part in ("train", "test")}
    return {name: leak(*(_known(column, rows[part]) for part in ("train", "test"))) for name, column in columns.items()}


def _known(column: Column, rows: Sequence[int]) -> list[str]:
    texts = (column.text(row) for row in rows)
    return [text for text in texts if text is not None]


def identity(columns: Mapping[str, Column], row: int, otherwise: str) -> str:
    """Return what a clip was taken from, by the first of these labels that it has."""
    texts = (columns[name].text(row) for name in RECORDINGS if name in columns)
    return next((text for text in texts if text is not None), otherwise)
