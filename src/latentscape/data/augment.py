"""Augmentation, drawn and then applied: a draw is a record made from a random stream, applying it is a pure function.

Letters: s shift in semitones, c channels, n samples. Pitch is shifted by resampling, so a note that goes up by s gets
shorter by 2^(-s/12), as on tape.
"""

from dataclasses import dataclass

import numpy as np
import soxr
from jaxtyping import Float32
from pydantic import Field

from latentscape.core.config import Record
from latentscape.core.random import Key, numpy_stream, seed_of

Range = tuple[float, float]


class AugmentConfig(Record):
    """What is varied, each uniformly in its range; the defaults vary nothing.

    Attributes:
        pitch: semitones.
        pitch_steps: semitones to choose from, in place of a range; list 0 to keep some sounds as they are.
        gain_db: dB.
        noise_db: level of added white noise, dBFS (root mean square); ``None`` adds none.
        polarity: turn half of the sounds over.
        offset: begin anywhere in a clip, not on a fixed grid.
        roll: begin anywhere, and let what comes before follow the end: where its place in the clip says nothing.
        share: of the sounds that are varied; the others are heard as they are, so that the model also learns the top of
            the spectrum, which resampling cuts.
    """

    pitch: Range = (0.0, 0.0)
    pitch_steps: tuple[float, ...] = ()
    gain_db: Range = (0.0, 0.0)
    noise_db: Range | None = None
    polarity: bool = False
    offset: bool = Field(default=True)
    roll: bool = False
    share: float = Field(default=1.0, ge=0, le=1)

    @property
    def still(self) -> bool:
        """Whether every draw leaves the sound as it is (its start apart)."""
        unchanged = self.pitch == (0.0, 0.0) and not any(self.pitch_steps) and self.gain_db == (0.0, 0.0)
        return unchanged and self.noise_db is None and not self.polarity and not self.roll


@dataclass(frozen=True)
class Augmentation:
    """One draw.

    Attributes:
        pitch: semitones.
        gain_db: dB.
        noise_db: dBFS, or ``None``.
        flip: whether the polarity is turned.
        offset: place in [-0.5, 0.5), in units of the stretch that is cut.
        seed: of the noise.
        roll: which part of the stretch is moved to its end.
    """

    pitch: float = 0.0
    gain_db: float = 0.0
    noise_db: float | None = None
    flip: bool = False
    offset: float = 0.0
    seed: int = 0
    roll: float = 0.0

    @property
    def speed(self) -> float:
        """Samples of the source for each sample that comes out."""
        return 2.0 ** (self.pitch / 12)


def draw(config: AugmentConfig, *keys: Key) -> Augmentation:
    """Draw from the stream that the keys name; the same keys give the same draw."""
    stream = numpy_stream("augment", *keys)
    pitch, gain, noise, offset = stream.uniform(size=4)
    choice, flip = int(stream.integers(2**31)), bool(stream.integers(2))
    start = float(offset) - 0.5 if config.offset else 0.0
    varied, roll = stream.uniform(size=2)
    if varied >= config.share:
        return Augmentation(offset=start)
    steps = config.pitch_steps
    return Augmentation(
        pitch=steps[choice % len(steps)] if steps else _between(config.pitch, pitch),
        gain_db=_between(config.gain_db, gain),
        noise_db=None if config.noise_db is None else _between(config.noise_db, noise),
        flip=config.polarity and flip,
        offset=start,
        seed=seed_of("noise", *keys),
        roll=float(roll) if config.roll else 0.0,
    )


def _between(ends: Range, place: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * float(place)


def apply(drawn: Augmentation, wave: Float32[np.ndarray, "c n"], sample_rate: int) -> Float32[np.ndarray, "c m"]:
    """Apply a draw to a wave (rate in Hz); what comes out is about ``n / speed`` samples long, at least 1."""
    out = wave if not drawn.roll else np.roll(wave, -int(drawn.roll * wave.shape[1]), axis=1)
    if drawn.pitch and wave.shape[1] > 1:
        out = soxr.resample(np.ascontiguousarray(wave.T), sample_rate * drawn.speed, sample_rate, quality="HQ").T
        out = out if out.shape[1] else wave[:, :1]
    factor = 10 ** (drawn.gain_db / 20) * (-1 if drawn.flip else 1)
    if factor != 1:
        out = out * np.float32(factor)
    if drawn.noise_db is not None:
        noise = np.random.default_rng(drawn.seed).standard_normal(out.shape, dtype=np.float32)
        out = out + np.float32(10 ** (drawn.noise_db / 20)) * noise
    return np.array(out, dtype=np.float32, order="C")
