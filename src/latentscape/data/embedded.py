"""The embedded corpora: computed, never downloaded, and kept in the cache like any other.

``tones`` and ``sines`` are notes; ``phrases`` is one long recording that plays the tones, ``phrases:SOURCE`` one that
plays the notes of another source, which needs a label ``midi``. ``phrases:30`` and ``phrases:30:SOURCE`` are half an
hour long.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from latentscape.core.errors import DataError, UsageError
from latentscape.data.cache import Progress
from latentscape.data.corpus import ImageCorpus, SoundCorpus, SourceOptions
from latentscape.data.phrases import Phrases
from latentscape.data.sines import sines
from latentscape.data.survey import Sounding, Survey, survey_made
from latentscape.data.tones import Note, tones

VERSION = "1"
"""Changes when the same name and seed give other sounds."""
MINUTES = 10
"""Length of ``phrases``, unless it is told."""
LONGEST = 1440
"""Minutes that may be asked for."""


@dataclass(frozen=True)
class Made:
    """A note as the survey takes it."""

    note: Note

    @property
    def name(self) -> str:
        """Unique in its corpus."""
        return self.note.name

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.note.sample_rate

    @property
    def frames(self) -> int:
        """Samples."""
        return self.note.wave.shape[1]

    @property
    def labels(self) -> Mapping[str, str | float]:
        """Words and numbers by name."""
        return self.note.labels

    def blocks(self) -> Iterable[np.ndarray]:
        """Return the wave, whole."""
        return (self.note.wave,)


@dataclass(frozen=True)
class Recording:
    """A long recording as the survey takes it."""

    name: str
    phrases: Phrases

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.phrases.sample_rate

    @property
    def frames(self) -> int:
        """Samples."""
        return self.phrases.length

    @property
    def labels(self) -> Mapping[str, str | float]:
        """None."""
        return {}

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield it block by block."""
        return self.phrases.blocks()


EMBEDDED: dict[str, tuple[str, tuple[str, ...]]] = {
    "tones": ("synthetic notes of four sound families with known factors", ("family", "midi")),
    "sines": ("the toy check: 1,200 sines of 12 pitches", ()),
    "phrases": ("ten minutes that play the tones (phrases:SOURCE plays another, phrases:30:SOURCE half an hour)", ()),
}
"""About each, and what its group is (see :class:`latentscape.data.corpus.SoundCorpus`)."""


def open_embedded(
    source: str, options: SourceOptions, progress: Progress | None, inner: Callable[[str], Survey | ImageCorpus]
) -> Survey:
    """Open an embedded corpus; ``inner`` opens the source that ``phrases:SOURCE`` plays.

    Raises:
        DataError: that source has no sound.
        UsageError: a recording of no length, or of more than a day.
    """
    name, _, played = source.partition(":")
    minutes, played = _length(source, played) if name == "phrases" else (MINUTES, played)
    key = f"{source} version {VERSION} seed 0"
    corpus: SoundCorpus | None = None
    if played:
        opened = inner(played)
        if not isinstance(opened, Survey):
            raise DataError(f"{source}: {played} holds images, and phrases play notes")
        corpus = opened.corpus
        key += f" of {corpus.digest}"
    makers: dict[str, Callable[[], Iterable[Sounding]]] = {
        "tones": lambda: map(Made, tones()),
        "sines": lambda: map(Made, sines()),
        "phrases": lambda: [Recording("phrases", Phrases(None if corpus is None else _notes(corpus), minutes=minutes))],
    }
    return survey_made(source, key, makers[name], options, progress, EMBEDDED[name][1])


def _length(source: str, played: str) -> tuple[float, str]:
    """Split "30:notes" or "30" into minutes and what is played; without minutes they are :data:`MINUTES`."""
    told, _, rest = played.partition(":")
    try:
        minutes = float(told)
    except ValueError:
        return MINUTES, played
    if not 0 < minutes <= LONGEST:
        raise UsageError(f"{source}: got {told} minutes, expected more than 0 and at most {LONGEST}")
    return minutes, rest


def _notes(corpus: SoundCorpus) -> Iterator[Note]:
    for clip in corpus.clips:
        yield Note(clip.name, np.array(corpus.wave(clip)), clip.rate, dict(clip.labels))
