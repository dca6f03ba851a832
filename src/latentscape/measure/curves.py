r"""A sound as curves of descriptors, 50 frames a second at one common rate, so that any two sounds compare.

Every sound is brought to 22,050 Hz and described in frames of 2,048 samples (93 ms) that lie wholly inside it. Loudness
(dBFS, A-weighted), centroid and bandwidth (octaves above 1 Hz), flatness (dB) and pitch (semitones, MIDI numbers).
Frames more than 50 dB below the loudest of their sound or below -80 dBFS are not *sounding* and have none; unvoiced
ones have no pitch. All but pitch make up the timbre.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.descriptors import describe
from latentscape.signal import audio
from latentscape.signal.bands import mel_filters

RATE = 22050
WINDOW = 2048
HOP = 441
STEP = HOP / RATE
"""Seconds from frame to frame."""
BANDS = 64
FLOOR = -80.0
"""dBFS, least level of a band; a full-scale sine within one has 0 to 1.8: three bins where the band is as wide."""
QUIET = (-50.0, -80.0)
"""dB below the loudest frame of a sound, and dBFS: quieter frames are not sounding."""
PITCHES = (30.0, 4200.0)
SHORTEST = 0.15
"""s; less sound has no curve."""
BLOCK = 5
"""Frames of a step of 0.1 s."""

TIMBRE = {"loudness": "dBFS", "centroid": "octaves", "bandwidth": "octaves", "flatness": "dB"}
DESCRIPTORS = {**TIMBRE, "pitch": "semitones"}
"""What curves are of, and the unit they are measured in."""
PLAIN = {"centroid": "Hz", "bandwidth": "Hz", "pitch": "Hz"}
"""Units that people read, where they are others; see :func:`plain`."""


@dataclass(frozen=True)
class Curves:
    """A sound as descriptors over time.

    Attributes:
        values: name -> ``[t]`` in the unit of ``DESCRIPTORS``; NaN where it is not defined.
        levels: L, ``[t, bands]``, dBFS.
        times: of the frames' middles, ``[t]``, s.
        sounding: ``[t]``.
        seconds: of the sound.
    """

    values: Mapping[str, np.ndarray]
    levels: np.ndarray
    times: np.ndarray
    sounding: np.ndarray
    seconds: float


def curves_of(wave: Float[Tensor, "c n"], sample_rate: int) -> Curves:
    """Return the curves of a sound (channels averaged); see the module.

    Raises:
        DataError: it is shorter than :data:`SHORTEST`, or a sample is not finite.
    """
    mono = wave.detach().cpu().float().mean(0, keepdim=True).numpy()
    if not np.isfinite(mono).all():
        raise DataError(f"a journey got a wave of shape {list(wave.shape)} that holds NaN or infinity")
    if sample_rate != RATE and mono.size:
        mono = audio.resample(mono, sample_rate, RATE)
    samples = mono.shape[1]
    first, last = -(-WINDOW // 2 // HOP), (samples - WINDOW // 2) // HOP
    if last - first < 2:
        raise DataError(f"a journey got {samples / RATE:.3f} s of sound, expected at least {SHORTEST} s")
    heard = torch.from_numpy(mono)
    found = describe(heard, RATE, window=WINDOW, hop=HOP, pitch="voiced", pitch_range=PITCHES)
    inside = slice(first, last + 1)
    level = found["level"].values[inside]
    sounding = level > max(level.max() + QUIET[0], QUIET[1])
    raw = {name: found[name].values[inside] for name in DESCRIPTORS}
    values = {
        "loudness": raw["loudness"],
        "centroid": np.log2(np.maximum(raw["centroid"], 1.0)),
        "bandwidth": np.log2(np.maximum(raw["bandwidth"], 1.0)),
        "flatness": 10 * np.log10(np.maximum(raw["flatness"], 1e-10)),
        "pitch": 69 + 12 * np.log2(raw["pitch"] / 440),
    }
    values = {name: np.where(sounding, curve, np.nan) for name, curve in values.items()}
    times = np.arange(first, last + 1) * STEP
    return Curves(values, mel_levels(heard[0], first, last), times, sounding, samples / RATE)


def plain(name: str, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a descriptor's values in the unit that people read (Hz for octaves and semitones), and that unit."""
    match DESCRIPTORS[name]:
        case "octaves":
            return 2.0**values, PLAIN[name]
        case "semitones":
            return 440 * 2.0 ** ((values - 69) / 12), PLAIN[name]
        case unit:
            return values, unit


def mel_levels(wave: Float[Tensor, " n"], first: int, last: int) -> np.ndarray:
    """Return mel levels ``[t, bands]`` in dBFS of the frames around samples ``first * HOP ... last * HOP``."""
    frames = wave[first * HOP - WINDOW // 2 : last * HOP + WINDOW // 2].unfold(0, WINDOW, HOP)
    power = torch.fft.rfft(frames * torch.hann_window(WINDOW)).abs().square() / (WINDOW / 4) ** 2
    return 10 * np.log10(np.maximum(power.numpy() @ _filters().T, 10 ** (FLOOR / 10)))


@cache
def _filters() -> np.ndarray:
    return mel_filters(RATE, WINDOW, BANDS, unit="peak").numpy()


def steps(values: np.ndarray) -> np.ndarray:
    """Return the means over steps of 0.1 s, NaN where half of a step or more is not defined."""
    count = len(values) // BLOCK
    blocks = values[: count * BLOCK].reshape(count, BLOCK)
    defined = np.isfinite(blocks)
    sums, counts = np.where(defined, blocks, 0.0).sum(1), defined.sum(1)
    return np.where(counts > BLOCK / 2, sums / np.maximum(counts, 1), np.nan)
