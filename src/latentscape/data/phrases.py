"""`phrases`: any corpus of notes, played as one long recording of melodies, broken chords, chords and rests.

Letters: c channels, n samples. A recording is a stream of *events* (onset, note, gain, length held) drawn phrase by
phrase; phrase p depends on (seed, p) alone. The sound is made in blocks: an event is added to the block it begins in
and what rings on is carried to the next. So memory holds the notes and one block, however long the recording, and the
samples don't depend on the size of the blocks.

Every note is released with half a cosine where its time is over, and the sum goes through

    |x| <= 1/2: x        |x| > 1/2: sign(x) (1/2 + 0.4 tanh((|x| - 1/2) / 0.4))

which has no memory, leaves ordinary levels as they are and stays below 0.9.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream
from latentscape.data.tones import Note, tones

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
}
TEXTURES: dict[Literal["melody", "broken", "chords"], float] = {"melody": 0.5, "broken": 0.25, "chords": 0.25}
"""Kinds of phrase and how often each comes."""
MOST_NOTES = 512
"""A larger corpus is represented by this many of its notes, drawn by the seed."""
RELEASE = 0.08  # s
LEGATO = 0.35  # s that a note rings into the next, where it is long enough
LEVEL = 0.22  # root mean square that the loudest half second of a lone note at full velocity is brought to


@dataclass(frozen=True)
class Event:
    """One note played.

    Attributes:
        onset: sample of the recording.
        note: index of the note.
        gain: factor on its wave.
        held: samples that sound, release included.
    """

    onset: int
    note: int
    gain: float
    held: int


class Phrases:
    """A long recording, made as it is read.

    Attributes:
        sample_rate: Hz.
        channels: c.
        length: n, samples.
    """

    def __init__(
        self, notes: Iterable[Note] | None = None, *, minutes: float, seed: int = 0, voice: str = "family"
    ) -> None:
        """Prepare the recording.

        Args:
            notes: the corpus, all at one sample rate, each with a number ``midi`` among its labels; None for the tones.
            minutes: length of the recording.
            seed: of everything drawn.
            voice: the label whose values are the instruments; a phrase is played by one of them. Notes without this
                label are one instrument.

        Raises:
            DataError: no notes, no ``midi``, two sample rates or two numbers of channels, or a length below one sample.
        """
        self._notes = _sample(tones() if notes is None else notes, seed)
        first = self._notes[0]
        for note in self._notes:
            if (note.sample_rate, note.wave.shape[0]) != (first.sample_rate, first.wave.shape[0]):
                raise DataError(
                    f"phrases: '{note.name}' has {note.wave.shape[0]} channels at {note.sample_rate} Hz, but "
                    f"'{first.name}' {first.wave.shape[0]} at {first.sample_rate} Hz; all must be the same"
                )
            if not isinstance(note.labels.get("midi"), int | float):
                raise DataError(f"phrases: '{note.name}' has no number 'midi' among its labels {sorted(note.labels)}")
        self.sample_rate = first.sample_rate
        self.channels = first.wave.shape[0]
        self.length = round(minutes * 60 * self.sample_rate)
        if self.length < 1:
            raise DataError(f"phrases: {minutes} minutes is less than one sample")
        self._seed = seed
        self._midi = np.array([float(note.labels["midi"]) for note in self._notes])
        voices = [str(note.labels.get(voice, "")) for note in self._notes]
        self._voices = {name: np.flatnonzero(np.array(voices) == name) for name in sorted(set(voices))}
        self._loudness = [_loudness(note) for note in self._notes]

    def blocks(self, seconds: float = 10.0) -> Iterator[Float32[np.ndarray, "c m"]]:
        """Yield the recording in blocks of ``seconds``, the last one shorter; every call begins anew."""
        size = max(1, round(seconds * self.sample_rate))
        events = self._events()
        event = next(events)
        start = 0
        sum_ = np.zeros((self.channels, 0))
        while start < self.length:
            stop = min(start + size, self.length)
            sum_ = _extend(sum_, stop - start)
            while event.onset < stop:
                wave = self._play(event)
                place = event.onset - start
                sum_ = _extend(sum_, place + wave.shape[1])
                sum_[:, place : place + wave.shape[1]] += wave
                event = next(events)
            yield _limit(sum_[:, : stop - start]).astype(np.float32)
            sum_ = sum_[:, stop - start :]
            start = stop

    def _play(self, event: Event) -> Float64[np.ndarray, "c m"]:
        wave = event.gain * self._notes[event.note].wave[:, : event.held].astype(np.float64)
        release = min(round(RELEASE * self.sample_rate), wave.shape[1])
        wave[:, wave.shape[1] - release :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, release + 1) / release)
        return wave

    def _events(self) -> Iterator[Event]:
        """Yield every event in the order of onsets, without end."""
        start = 0.0
        for number in count():
            phrase, seconds = self._phrase(number)
            for onset, notes, velocity, held in phrase:
                begin = round((start + onset) * self.sample_rate)
                room = self.length - begin  # what would ring past the end is released at the end
                for note in notes:
                    samples = min(round(held * self.sample_rate), self._notes[note].wave.shape[1])
                    samples = min(samples, room) if room > 0 else samples
                    yield Event(begin, note, velocity * LEVEL / self._loudness[note] / len(notes) ** 0.6, samples)
            start += seconds

    def _phrase(self, number: int) -> tuple[list[tuple[float, list[int], float, float]], float]:
        """Draw phrase ``number``: (onset s, notes, velocity, held s) and its length with the rest that ends it."""
        stream = numpy_stream(self._seed, "phrases", number)
        names = list(self._voices)
        voice = self._voices[names[int(stream.integers(len(names)))]]
        scale = SCALES[list(SCALES)[int(stream.integers(len(SCALES)))]]
        texture = list(TEXTURES)[int(stream.choice(len(TEXTURES), p=list(TEXTURES.values())))]
        tonic = int(stream.integers(12))
        beat = 60 / stream.uniform(60, 132)
        lowest, highest = self._midi[voice].min(), self._midi[voice].max()
        pitches = [p for p in range(int(lowest), int(highest) + 1) if (p - tonic) % 12 in scale] or [int(lowest)]
        degree = int(stream.integers(len(pitches)))
        loud = stream.uniform(0.45, 1.0)
        played: list[tuple[float, list[int], float, float]] = []
        onset = 0.0
        for step in range(int(stream.integers(6, 17))):
            lengths = (2.0, 3.0, 4.0) if texture == "chords" else (0.5, 0.5, 1.0, 1.0, 1.5, 2.0)
            length = beat * lengths[int(stream.integers(len(lengths)))]
            degree = _reflect(degree + int(stream.integers(-3, 4)), len(pitches))
            match texture:
                case "melody":
                    chord = [degree]
                case "broken":
                    length = 0.5 * beat
                    chord = [_reflect(degree + 2 * (step % 4), len(pitches))]
                case _:
                    chord = sorted({_reflect(degree + third, len(pitches)) for third in (0, 2, 4)})
            notes = [self._nearest(voice, pitches[place], stream) for place in chord]
            velocity = loud * stream.uniform(0.7, 1.0)
            played.append((onset, notes, velocity, length + LEGATO))
            onset += length
        rest = beat * stream.uniform(0.5, 4.0)
        return played, onset + rest

    def _nearest(self, voice: np.ndarray, midi: int, stream: np.random.Generator) -> int:
        distance = np.abs(self._midi[voice] - midi)
        nearest = voice[distance == distance.min()]
        return int(nearest[int(stream.integers(len(nearest)))])


def _sample(notes: Iterable[Note], seed: int) -> list[Note]:
    """Keep at most :data:`MOST_NOTES`, each equally likely (reservoir sampling), reading the corpus once."""
    stream = numpy_stream(seed, "phrases", "notes")
    kept: list[Note] = []
    for number, note in enumerate(notes):
        if len(kept) < MOST_NOTES:
            kept.append(note)
        elif (place := int(stream.integers(number + 1))) < MOST_NOTES:
            kept[place] = note
    if not kept:
        raise DataError("phrases: there are no notes to play")
    return kept


def _loudness(note: Note) -> float:
    """Greatest root mean square over half a second; 1 for silence, which no gain can help."""
    power = np.mean(note.wave.astype(np.float64) ** 2, axis=0)
    window = min(len(power), note.sample_rate // 2)
    total = np.concatenate([[0.0], np.cumsum(power)])
    loudest = float(np.max(total[window:] - total[:-window])) / window if window else 0.0
    return float(np.sqrt(loudest)) if loudest > 1e-12 else 1.0


def _reflect(place: int, size: int) -> int:
    """Fold a place back into 0 .. size - 1 at both ends."""
    period = max(1, 2 * (size - 1))
    place %= period
    return min(place, period - place) if size > 1 else 0


def _extend(wave: np.ndarray, length: int) -> np.ndarray:
    return np.pad(wave, ((0, 0), (0, max(0, length - wave.shape[1]))))


def _limit(wave: np.ndarray) -> np.ndarray:
    size = np.abs(wave)
    return np.where(size <= 0.5, wave, np.sign(wave) * (0.5 + 0.4 * np.tanh((size - 0.5) / 0.4)))
