r"""What a listener hears: where the point is, the voice, the gains; and what orders do to them.

Letters: c channels, d latent width, n samples a block.

Everything that the sound goes on from is here and nothing else is, so that a copy, taken at the begin of a block, gives
the same sound again, or another one where other orders came in (see :mod:`.engine`). The voice's phase goes on over
every order. From silence a new voice begins, primed, so that its sound comes with the first sample. Far from the corpus
a model may be louder than full scale: a limiter (:mod:`.limiter`) holds it at -1 dBFS.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentscape.geometry.path import Path
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.voice import Voice
from latentscape.play.envelope import Ramp
from latentscape.play.limiter import Limiter
from latentscape.play.load import Load
from latentscape.play.motion import GLIDE, Loop, Motion

FADE_SECONDS = 0.005
RELEASE_SECONDS = 0.08
LEVEL_SECONDS = 0.02
LOUDEST = 1e3
"""The greatest sample that goes on to the limiter, whatever a far point decodes to (full scale is 1)."""


@dataclass(frozen=True)
class Report:
    """Where the sound is.

    Attributes:
        sample: the first whose sound depends on the point.
        code: the point, ``[d]``.
        base: the point without the offsets along axes, ``[d]``.
        share: where on its path it is, 0 to 1.
        seq: of the last order obeyed.
    """

    sample: int
    code: Tensor
    base: Tensor
    share: float | None
    seq: int | None


class Sounding:
    """A listener's sound.

    Args:
        instrument: what is played.
        labels: told to the model at the start.

    Attributes:
        first: number of the next sample since it began.
        playing: whether it sounds, or would if a key were held.
        seq: of the last order obeyed.
    """

    def __init__(self, instrument: Instrument, labels: Mapping[str, str] = {}) -> None:
        voice = instrument.voice(labels)
        assert instrument.representation is not None  # a voice has seen to that
        self.instrument = instrument
        self.rate, self.channels = instrument.representation.sample_rate, instrument.representation.channels
        self.hop = voice.hop
        self.motion = Motion(instrument.centre.float().clone(), self.hop / self.rate)
        self.first = 0
        self.playing = False
        self.seq: int | None = None
        self.labels: dict[str, str] = dict(labels)
        self.keys = False
        self._offsets: dict[str, Tensor] = {}
        self._notes: dict[int, float] = {}
        self._fade, self._gate, self._level = Ramp(0.0), Ramp(1.0), Ramp(1.0)
        self._limiter = Limiter(self.rate)
        self._voice: Voice | None = None
        self._told = False
        self._buffer: list[np.ndarray] = []
        self._held = 0
        self._skipped = 0

    def copy(self) -> "Sounding":
        """Return one that goes on from here by itself. Sound that is made already is shared: nothing writes to it."""
        twin = copy.copy(self)
        for name in ("_offsets", "_notes", "_fade", "_gate", "_level", "_limiter", "_buffer"):
            setattr(twin, name, copy.copy(getattr(self, name)))
        twin.motion = self.motion.copy()
        twin._voice = None if self._voice is None else self._voice.copy()
        return twin

    # ---------------------------------------------------------------------------------------------------- orders

    def go(self, code: Tensor, glide: float = GLIDE) -> None:
        """Go to a point ``[d]``."""
        self.motion.go(code, glide)

    def travel(self, path: Path, seconds: float, loop: Loop, glide: float = GLIDE) -> None:
        """Travel a path."""
        self.motion.travel(path, seconds, loop, glide)

    def shift(self, name: str, offset: Tensor, glide: float = GLIDE) -> None:
        """Add an offset ``[d]`` to whatever plays, in place of the one of that name."""
        self._offsets[name] = offset
        self.motion.shift(torch.stack(list(self._offsets.values())).sum(0), glide)

    def tell(self, labels: Mapping[str, str | None]) -> None:
        """Change what the model is told; ``None`` is unknown.

        Raises:
            UsageError: a label or a value is not known.
        """
        told = {name: value for name, value in {**self.labels, **labels}.items() if value is not None}
        self.instrument.context(told, 1)
        self.labels, self._told = told, True

    def play(self) -> None:
        """Begin to sound."""
        self.playing = True
        self._fade.to(1.0, FADE_SECONDS * self.rate)

    def stop(self) -> None:
        """Fade out, then rest."""
        self._fade.to(0.0, FADE_SECONDS * self.rate)

    def set_level(self, gain: float) -> None:
        """Change the loudness."""
        self._level.to(gain, LEVEL_SECONDS * self.rate)

    def set_keys(self, keys: bool) -> None:
        """Sound only while a note is held, or always."""
        self.keys = keys
        self._open()

    def note(self, midi: int, velocity: float | None, pitch: Callable[[int], Mapping[str, str]]) -> None:
        """Press a key (``velocity`` 0 to 1) or let it go (``None``); the last held sounds, told as ``pitch`` says."""
        before = self._last_note()
        self._notes.pop(midi, None)
        if velocity is not None:
            self._notes[midi] = velocity
        held = self._last_note()
        if held is not None and held != before:
            self.tell(pitch(held))
        self._open()

    def _last_note(self) -> int | None:
        return next(reversed(self._notes), None)

    def _open(self) -> None:
        """Let the gate follow the keys."""
        held = self._last_note()
        goal = 1.0 if not self.keys else 0.0 if held is None else self._notes[held]
        self._gate.to(goal, (FADE_SECONDS if goal > 0 else RELEASE_SECONDS) * self.rate)

    # ------------------------------------------------------------------------------------------------- rendering

    def block(self, n: int, load: Load) -> tuple[np.ndarray, Report | None, list[str]]:
        """Return the next n samples ``[n, c]``, where they are, and what went wrong.

        Args:
            n: samples.
            load: says how finely to decode, and is told of the work.
        """
        errors: list[str] = []
        newest: Report | None = None
        if self._fade.silent or self._gate.silent:
            newest = self._rest(n)
            wave = np.zeros((n, self.channels), np.float32)
        else:
            while self._held < n:
                newest, error = self._advance(load)
                errors += error
            wave = self._take(n)
        for ramp in (self._fade, self._gate, self._level):
            gain = ramp.take(n)
            wave = wave * (gain if isinstance(gain, float) else gain[:, None])
        wave = self._limiter.limit(wave)
        self.first += n
        if self._fade.silent:
            self.playing = False
            self._drop()
        return np.ascontiguousarray(wave, np.float32), newest, errors

    def _advance(self, load: Load) -> tuple[Report, list[str]]:
        """Push the next points into the voice."""
        every = load.every
        sample = self.first + self._held
        begun = time.perf_counter()
        labels = self.labels if self._told else None
        if self._voice is None:
            self.motion.settle()
            self._voice, labels = self.instrument.voice(self.labels), None
        self._told = False
        points = torch.stack([self.motion.next() for _ in range(every)])
        wave = self._voice.push(points, labels, every=every)
        errors = []
        if not bool(torch.isfinite(wave).all()):
            wave, self._voice = torch.zeros_like(wave), None
            errors.append("the sound of that point is not finite; it is left out")
        self._hold(wave)
        load.worked(time.perf_counter() - begun, every * self.motion.step_seconds)
        return self._report(sample, points[-1]), errors

    def _rest(self, n: int) -> Report | None:
        """Let time pass without a sound."""
        self._drop()
        self._skipped += n
        newest = None
        while self._skipped >= self.hop:
            self._skipped -= self.hop
            newest = self._report(self.first, self.motion.next())
        return newest

    def _report(self, sample: int, code: Tensor) -> Report:
        return Report(sample, code, code - self.motion.offset, self.motion.share, self.seq)

    def _drop(self) -> None:
        self._voice, self._buffer, self._held = None, [], 0

    def _hold(self, wave: Tensor) -> None:
        if wave.shape[-1]:
            self._buffer.append(wave.clamp(-LOUDEST, LOUDEST).T.numpy())
            self._held += wave.shape[-1]

    def _take(self, n: int) -> np.ndarray:
        joined = self._buffer[0] if len(self._buffer) == 1 else np.concatenate(self._buffer)
        self._held -= n
        self._buffer = [joined[n:]] if self._held else []
        return joined[:n]


Order = Callable[[Sounding], None]
