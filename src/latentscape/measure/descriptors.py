"""Descriptors of a sound as curves with units: brightness, noisiness, level, pitch. Computed by librosa.

Frames are centred on samples 0, hop, 2 hop ... (zeros beyond both ends), so every curve has ``1 + n // hop`` values.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError

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


UNITS = {"centroid": "Hz", "bandwidth": "Hz", "rolloff": "Hz", "flatness": "", "level": "dBFS", "pitch": "Hz"}
"""Every descriptor and its unit."""


def describe(
    wave: Float[Tensor, "c n"],
    sample_rate: int,
    *,
    window: int = 2048,
    hop: int = 512,
    pitch: Literal["none", "yin", "pyin"] = "yin",
    pitch_range: tuple[float, float] = (55.0, 2000.0),
) -> dict[str, Curve]:
    """Return the descriptors of a wave (channels averaged).

    * centroid, bandwidth (Hz): mean and deviation of frequency under the magnitude spectrum
    * rolloff (Hz): frequency below which 85 % of the magnitude lies
    * flatness (0 to 1): geometric over arithmetic mean of the power spectrum; 1 is white noise
    * level (dBFS): root mean square of a frame, a full-scale sine being -3.01
    * pitch (Hz): YIN (fast, always gives a value), or probabilistic YIN (slow, NaN where unvoiced)

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
        "rolloff": librosa.feature.spectral_rolloff(**shared)[0],
        "flatness": librosa.feature.spectral_flatness(S=spectrum)[0],
        "level": 20 * np.log10(np.maximum(rms, 10 ** (LEAST_LEVEL / 20))),
    }
    if pitch != "none":
        values["pitch"] = _pitch(mono, sample_rate, window, hop, pitch, pitch_range)
    return {name: Curve(value, UNITS[name], sample_rate / hop) for name, value in values.items()}


def _pitch(
    mono: np.ndarray, sample_rate: int, window: int, hop: int, estimator: str, pitch_range: tuple[float, float]
) -> np.ndarray:
    import librosa

    low = max(pitch_range[0], 2.2 * sample_rate / window)  # YIN compares a frame with itself two periods later
    high = min(pitch_range[1], sample_rate / 2.2)
    if low >= high:
        at = f"a window of {window} samples at {sample_rate} Hz"
        raise UsageError(f"pitch_range {pitch_range} Hz does not fit {at}, which can tell {low:.0f} to {high:.0f} Hz")
    shared: dict[str, Any] = {"fmin": low, "fmax": high, "sr": sample_rate, "frame_length": window, "hop_length": hop}
    if estimator == "yin":
        return librosa.yin(mono, **shared)
    # librosa's own fastest glide, 35.92 octaves a second, must not leap over the whole range from frame to frame
    glide = min(35.92, 0.9 * np.log2(high / low) * sample_rate / hop)
    return librosa.pyin(mono, max_transition_rate=glide, **shared)[0]
