"""Descriptors of a sound as curves with units: brightness, noisiness, level, pitch. Computed by librosa.

Frames are centred on samples 0, hop, 2 hop ... (zeros beyond both ends), so every curve has ``1 + n // hop`` values.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.signal.pitch import track

LEAST_LEVEL = -100.0
"""dBFS; quieter frames are given this level."""


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
      period later by less than 0.8), or probabilistic YIN (over 20 times slower, NaN where unvoiced)

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
    import librosa

    mono = wave.detach().cpu().double().mean(0).numpy()
    if not mono.size or not np.isfinite(mono).all():
        raise DataError(f"describe got a wave of shape {list(wave.shape)}, expected samples, all finite")
    spectrum = np.abs(librosa.stft(np.pad(mono, (0, max(0, window - mono.size))), n_fft=window, hop_length=hop))
    spectrum = spectrum[:, : 1 + mono.size // hop]
    shared: dict[str, Any] = {"S": spectrum, "sr": sample_rate}
    rms = librosa.feature.rms(y=mono, frame_length=window, hop_length=hop)[0]
    values = {
        "centroid": librosa.feature.spectral_centroid(**shared)[0],
        "bandwidth": librosa.feature.spectral_bandwidth(**shared)[0],
        "contrast": _contrast(spectrum, sample_rate),
        "flatness": librosa.feature.spectral_flatness(S=spectrum)[0],
        "rolloff": librosa.feature.spectral_rolloff(**shared)[0],
        "level": _decibels(rms),
        "loudness": _decibels(rms * _weighting(spectrum, sample_rate)),
    }
    if pitch != "none":
        values["pitch"] = track(mono, sample_rate, window, hop, pitch, pitch_range)
    return {name: Curve(value, UNITS[name], sample_rate / hop) for name, value in values.items()}


def _decibels(rms: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(rms, 10 ** (LEAST_LEVEL / 20)))


def _weighting(spectrum: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the factor by which A-weighting changes the amplitude of each frame ``[t]``; 1 for silence."""
    import librosa

    frequency = librosa.fft_frequencies(sr=sample_rate, n_fft=2 * (len(spectrum) - 1))
    # an offset has no loudness, and zero no logarithm
    gain = librosa.db_to_power(librosa.A_weighting(np.maximum(frequency, 1.0), min_db=None))
    power = spectrum**2
    total = power.sum(0)
    return np.sqrt(np.where(total > 0, gain @ power, 1.0) / np.where(total > 0, total, 1.0))


def _contrast(spectrum: np.ndarray, sample_rate: int) -> np.ndarray:
    import librosa

    lowest = min(200.0, sample_rate / 8)
    octaves = int(np.ceil(np.log2(sample_rate / 2 / lowest)))  # the last one may reach beyond half the rate
    # of the power, so that dB are dB: librosa takes the logarithm of what it is given
    bands = librosa.feature.spectral_contrast(S=spectrum**2, sr=sample_rate, fmin=lowest, n_bands=min(6, octaves))
    return bands.mean(0)
