r"""Descriptors of spectra: what can be said of a frame without its phase, on any grid of frequencies.

Letters: n frames, k frequencies :math:`f_j` in Hz, each standing for a stretch of :math:`w_j` Hz, :math:`p_j` power
density and :math:`a_j` its root, so that :math:`\sum_j p_j w_j` is the mean square of the sound.

* loudness (dBFS): :math:`10 \log_{10} \sum_j A(f_j)\, p_j w_j` with A-weighting A (IEC 61672), as a sine of 1 kHz
* brightness, bandwidth (Hz): mean and deviation of frequency under :math:`a_j w_j`
* noisiness (dB, at most 0): geometric over arithmetic mean of the density, nothing more than 80 dB under its highest
* roughness (0 to 1): beating of the 12 strongest partials (peaks), :math:`\sum_{i<j} \min(a_i, a_j)\, d(f_i, f_j) /
  \sum_i a_i` with the dissonance of two partials, :math:`d = 5.531\,(e^{-3.5 s \Delta} - e^{-5.75 s \Delta})`,
  :math:`s = 0.24 / (0.0207 \min(f_i, f_j) + 18.96)` (Plomp and Levelt 1965 as Sethares 1993 fitted them; 5.531 makes
  the roughest pair 1)
* pitch (semitones, MIDI: 69 is 440 Hz): the highest peak of the autocorrelation of the frame, which is the Fourier
  transform of its power, over that of its window (Boersma 1993), of magnitudes raised to 4/3 instead of 2 (Tolonen and
  Karjalainen 2000), so that no single partial decides; NaN where the peak is lower than 0.5: unvoiced

What differs from :mod:`latentscape.measure.descriptors`: that describes sound; here a decoder's frame will do,
thousands of them in a second. Silent frames have NaN everywhere, but in their loudness.
"""

import numpy as np
from jaxtyping import Float

SPECTRAL = {
    "loudness": "dBFS",
    "brightness": "Hz",
    "noisiness": "dB",
    "bandwidth": "Hz",
    "roughness": "",
    "pitch": "semitones",
}
"""The descriptors, in order, and their units."""

QUIET = 50.0
"""dB under the loudest of some frames, below which a frame counts as silence."""
VOICED = 0.5
PITCH_RANGE = (50.0, 2200.0)
_NOTHING = 1e-20
_PARTIALS = 12
_DEPTH = 1e-8
_OCTAVE_COST = 0.02
_ROWS = 256
"""Frames whose pitch is sought at a time: each takes 80 KB."""


def a_weighting(frequency: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Return the gain in power of A-weighting (IEC 61672-1, annex E) at frequencies in Hz; 1 at 1 kHz."""
    f = frequency**2
    low, high = 20.598997**2, 12194.217**2
    gain = high * f**2 / ((f + low) * (f + high) * np.sqrt((f + 107.65265**2) * (f + 737.86223**2)))
    return 10**0.2 * gain**2  # 2.00 dB, so that 1 kHz keeps its level


def spectral_descriptors(
    root: Float[np.ndarray, "n k"], frequency: Float[np.ndarray, " k"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the descriptors of frames, :data:`SPECTRAL` by name.

    Args:
        root: of the power density, as :meth:`latentscape.signal.representation.Representation.spectrum` gives it.
        frequency: Hz, rising.
    """
    edges = np.concatenate((frequency[:1], (frequency[1:] + frequency[:-1]) / 2, frequency[-1:]))
    width = np.diff(edges)
    a = root.astype(np.float64)
    density = a**2
    mass = a @ width
    sounding = density @ width > _NOTHING
    mass = np.where(sounding, mass, 1.0)
    brightness = a @ (width * frequency) / mass
    variance = a @ (width * frequency**2) / mass - brightness**2
    floored = np.maximum(density, np.maximum(_DEPTH * density.max(1, keepdims=True), 1e-300))
    share = width / width.sum()
    values = {
        "loudness": 10 * np.log10(np.maximum(density @ (width * a_weighting(frequency)), _NOTHING)),
        "brightness": brightness,
        "noisiness": 10 * (np.log10(floored) @ share - np.log10(floored @ share)),
        "bandwidth": np.sqrt(np.maximum(variance, 0.0)),
        "roughness": _roughness(a, frequency),
        "pitch": np.concatenate([_pitch(a[low : low + _ROWS], frequency) for low in range(0, max(1, len(a)), _ROWS)]),
    }
    return {name: value if name == "loudness" else np.where(sounding, value, np.nan) for name, value in values.items()}


def frames_of(
    wave: Float[np.ndarray, "c n"], sample_rate: int, most: int = 32
) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, " k"]]:
    """Return roots of power densities of frames spread evenly over a sound (channels averaged), and frequencies in Hz.

    Frames are Hann windows of about 46 ms that lie inside the sound (a shorter sound is filled up with zeros).
    """
    size = 2 ** round(np.log2(0.046 * sample_rate))
    mono = wave.mean(0, dtype=np.float64)
    mono = np.pad(mono, (0, max(0, size - len(mono))))
    window = np.hanning(size + 1)[:-1]
    starts = np.unique(np.linspace(0, len(mono) - size, min(most, 1 + (len(mono) - size) // (size // 4))).astype(int))
    spectra = np.abs(np.fft.rfft(mono[starts[:, None] + np.arange(size)] * window))
    return spectra * np.sqrt(2 / (sample_rate * (window**2).sum())), np.fft.rfftfreq(size, 1 / sample_rate)


def describe_clip(wave: Float[np.ndarray, "c n"], sample_rate: int) -> dict[str, float]:
    """Return the medians of the descriptors over a sound's frames within 25 dB of its loudest; loudness in dBFS.

    The pitch is NaN where fewer than half of them are voiced.
    """
    values = spectral_descriptors(*frames_of(wave, sample_rate))
    heard = values["loudness"] > values["loudness"].max() - QUIET / 2
    return {name: _median(value[heard], half=name == "pitch") for name, value in values.items()}


def _median(values: np.ndarray, *, half: bool) -> float:
    known = values[np.isfinite(values)]
    enough = len(known) >= max(1, len(values) / 2 if half else 1)
    return float(np.median(known)) if enough else float("nan")


def _roughness(a: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    inner = a[:, 1:-1]
    peak = (inner > a[:, :-2]) & (inner >= a[:, 2:])
    count = min(_PARTIALS, inner.shape[1])
    strength = np.where(peak, inner, 0.0)
    place = np.argpartition(-strength, count - 1, 1)[:, :count] if count else np.zeros((len(a), 0), int)
    level, f = np.take_along_axis(strength, place, 1), frequency[1:-1][place]
    first, second = np.triu_indices(count, 1)
    apart = np.abs(f[:, first] - f[:, second])
    s = 0.24 / (0.0207 * np.minimum(f[:, first], f[:, second]) + 18.96)
    beating = 5.531 * (np.exp(-3.5 * s * apart) - np.exp(-5.75 * s * apart))
    total = level.sum(1)
    return (np.minimum(level[:, first], level[:, second]) * beating).sum(1) / np.where(total > 0, total, 1.0)


def _pitch(a: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    top = float(frequency[-1])
    bins = int(np.clip(np.round(top / max(10.0, float(np.diff(frequency).min()))), 64, 1024))
    even = np.linspace(0.0, top, bins + 1)
    if len(even) != len(frequency) or not np.allclose(even, frequency, rtol=0, atol=1e-3 * top / bins):
        place = np.interp(even, frequency, np.arange(len(frequency)))
        left = np.minimum(place.astype(int), len(frequency) - 2)
        a = a[:, left] + (a[:, left + 1] - a[:, left]) * (place - left)
        a = np.where(even < frequency[0], 0.0, a)
    lags = np.fft.irfft(a ** (4 / 3), 8 * bins)  # four times the sample rate of the frame
    rate = 8 * top
    length = 2 * bins
    lag = np.arange(8 * bins) / 4.0  # in samples of the frame
    x = np.minimum(lag / length, 1.0)
    window = (1 - x) * (2 / 3 + np.cos(2 * np.pi * x) / 3) + np.sin(2 * np.pi * x) / (2 * np.pi)  # Boersma, eq. 8
    low, high = int(rate / PITCH_RANGE[1]), min(int(rate / PITCH_RANGE[0]), int(0.5 * 8 * bins) - 2)
    if high - low < 3:
        return np.full(len(a), np.nan)
    whole = np.where(lags[:, :1] > 0, lags[:, :1], 1.0)
    r = lags[:, low - 1 : high + 2] / whole / np.maximum(window[low - 1 : high + 2], 0.1)
    inside = r[:, 1:-1]
    peak = (inside > r[:, :-2]) & (inside >= r[:, 2:])
    octaves = np.log2(np.arange(low, high + 1) / low)
    score = np.where(peak, inside - _OCTAVE_COST * octaves, -np.inf)
    best = score.argmax(1)
    row = np.arange(len(a))
    before, at, after = r[row, best], r[row, best + 1], r[row, best + 2]
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
    hertz = rate / (low + best + np.clip(shift, -0.5, 0.5))
    return np.where(np.isfinite(score[row, best]) & (at >= VOICED), 69 + 12 * np.log2(hertz / 440.0), np.nan)
