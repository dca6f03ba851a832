"""Descriptors of a sound as curves with units: brightness, noisiness, level, pitch.

Frames are centred on samples 0, hop, 2 hop ... (zeros beyond both ends), so every curve has ``1 + n // hop`` values.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import fft
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.spectral import a_weighting
from latentscape.signal.frames import centred
from latentscape.signal.pitch import track

LEAST_LEVEL = -100.0
"""dBFS; quieter frames are given this level."""
LEAST_POWER = 1e-10
"""Of a bin, in flatness and contrast."""
RANGE = 80.0
"""dB; in contrast, peaks (and valleys) lower than this under the highest of the whole sound are raised to it."""
SHARE = 0.02
"""Of the bins of a band: its peaks, and its valleys."""
_BLOCK = 512


@dataclass(frozen=True)
class Curve:
    """A descriptor over time.

    Attributes:
        values: ``[t]``; NaN where the descriptor is not defined (the pitch of an unvoiced frame).
        unit: of the values.
        rate: values a second, Hz.
    """

    values: np.ndarray
    unit: str
    rate: float

    @property
    def median(self) -> float:
        """The median of the defined values; NaN where there are none."""
        defined = self.values[np.isfinite(self.values)]
        return float(np.median(defined)) if len(defined) else float("nan")


UNITS = {
    "centroid": "Hz",
    "bandwidth": "Hz",
    "contrast": "dB",
    "flatness": "",
    "rolloff": "Hz",
    "level": "dBFS",
    "loudness": "dBFS",
    "pitch": "Hz",
}
"""Every descriptor and its unit."""


def describe(
    wave: Float[Tensor, "c n"],
    sample_rate: int,
    *,
    window: int = 2048,
    hop: int = 512,
    pitch: Literal["none", "yin", "voiced", "pyin"] = "yin",
    pitch_range: tuple[float, float] = (55.0, 2000.0),
) -> dict[str, Curve]:
    """Return the descriptors of a wave (channels averaged).

    * centroid, bandwidth (Hz): mean and deviation of frequency under the magnitude spectrum
    * rolloff (Hz): frequency below which 85 % of the magnitude lies
    * contrast (dB): level of the peaks over that of the valleys of the power spectrum (means of its highest and lowest
      2 %), a mean over octave bands from 200 Hz (Jiang et al. 2002)
    * flatness (0 to 1): geometric over arithmetic mean of the power spectrum; 1 is white noise
    * level (dBFS): root mean square of a frame, a full-scale sine being -3.01
    * loudness (dBFS): the same with A-weighting (IEC 61672), by which a sine of 1 kHz keeps its level
    * pitch (Hz): YIN (fast, always gives a value), the same with NaN where unvoiced (a frame correlates with itself one
      period later by less than 0.8), or probabilistic YIN (10 times slower, NaN where unvoiced)

    Args:
        wave: full scale is 1.
        sample_rate: Hz.
        window: samples a frame.
        hop: samples between frames.
        pitch: the estimator, or ``"none"`` to leave pitch out.
        pitch_range: least and greatest pitch, Hz.

    Raises:
        DataError: the wave is empty or holds NaN or infinity.
        UsageError: no pitch range fits the window and the rate.
    """
    mono = wave.detach().cpu().double().mean(0).numpy()
    if not mono.size or not np.isfinite(mono).all():
        raise DataError(f"describe got a wave of shape {list(wave.shape)}, expected samples, all finite")
    frames = centred(mono, window, hop)
    spectrum = _magnitudes(frames)
    frequency = np.fft.rfftfreq(window, 1 / sample_rate)
    whole = spectrum.sum(1)
    share = spectrum / np.where(whole > 0, whole, 1.0)[:, None]
    centroid = share @ frequency
    power = np.maximum(spectrum**2, LEAST_POWER)
    rms = np.sqrt(np.einsum("tw,tw->t", frames, frames) / window)
    values = {
        "centroid": centroid,
        "bandwidth": np.sqrt((share * (frequency - centroid[:, None]) ** 2).sum(1)),
        "contrast": _contrast(spectrum**2, frequency),
        "flatness": np.exp(np.log(power).mean(1)) / power.mean(1),
        "rolloff": frequency[(np.cumsum(spectrum, 1) >= 0.85 * whole[:, None]).argmax(1)],
        "level": _decibels(rms),
        "loudness": _decibels(rms * _weighting(spectrum**2, frequency)),
    }
    if pitch != "none":
        values["pitch"] = track(mono, sample_rate, window, hop, pitch, pitch_range)
    return {name: Curve(value, UNITS[name], sample_rate / hop) for name, value in values.items()}


def _decibels(rms: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(rms, 10 ** (LEAST_LEVEL / 20)))


def _magnitudes(frames: np.ndarray) -> np.ndarray:
    """Return the magnitudes of frames, Hann windows ``[t, m]``."""
    hann = np.hanning(frames.shape[1] + 1)[:-1]
    blocks = (frames[start : start + _BLOCK] for start in range(0, len(frames), _BLOCK))
    return np.concatenate([np.abs(fft.rfft(block * hann)) for block in blocks])


def _weighting(power: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return the factor by which A-weighting changes the amplitude of each frame ``[t]``; 1 for silence."""
    total = power.sum(1)
    return np.sqrt(np.where(total > 0, power @ a_weighting(frequency), 1.0) / np.where(total > 0, total, 1.0))


def _contrast(power: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return the mean over octave bands of peaks over valleys ``[t]``, dB."""
    half = frequency[-1]
    lowest = min(200.0, half / 4)
    octaves = min(6, int(np.ceil(np.log2(half / lowest))))  # the last one may reach beyond half the rate
    edges = [0.0, *lowest * 2.0 ** np.arange(octaves + 1)]
    levels = []
    for low, high in pairwise(edges):
        first, last = np.searchsorted(frequency, low), np.searchsorted(frequency, high, "right")
        # a band takes the bin below it, and leaves its last one to the next; the highest band has all above
        first -= first > 0
        final = high == edges[-1]
        last = len(frequency) if final else last
        order = np.sort(power[:, first : last - (not final)], 1)
        count = max(1, round(SHARE * (last - first)))
        levels.append([order[:, -count:].mean(1), order[:, :count].mean(1)])
    peaks, valleys = (10 * np.log10(np.maximum(level, LEAST_POWER)) for level in np.swapaxes(levels, 0, 1))
    # nothing lies further below the highest of its kind in all the sound than 80 dB
    return (np.maximum(peaks, peaks.max() - RANGE) - np.maximum(valleys, valleys.max() - RANGE)).mean(0)
