"""Spectrograms to look at: levels in dB over time and frequency, for pictures only (models have `signal`).

S[k, j] = 20 log10 |sum_n w_n x[n + t_j] exp(-2 pi i k n / N)| - 20 log10 (sum_n w_n / 2), so that a sine of full scale
is 0 dB; w a Hann window of N samples, t_j the given number of instants spread evenly over the sound.
"""

import numpy as np
from jaxtyping import Float, Float32

FLOOR = -90.0
"""dB below full scale, below which nothing is shown."""


def spectrogram(
    wave: Float[np.ndarray, "c n"], sample_rate: int, columns: int, size: int = 0
) -> Float32[np.ndarray, "k j"]:
    """Return levels in dB, ``size // 2 + 1`` bins from 0 Hz to half the sample rate by ``columns`` instants.

    Args:
        wave: full scale is 1; channels are averaged.
        sample_rate: Hz.
        columns: number of instants.
        size: N, samples; 0 for the power of two nearest 46 ms.
    """
    size = max(64, size or 2 ** round(np.log2(0.046 * sample_rate)))
    mono = np.pad(wave.mean(axis=0, dtype=np.float64), size // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    starts = np.linspace(0, max(0, wave.shape[1] - 1), columns).round().astype(int)
    levels = np.empty((size // 2 + 1, columns), dtype=np.float32)
    for first in range(0, columns, 128):  # a few columns at a time: an hour of sound needs no more memory than a second
        part = starts[first : first + 128]
        frames = np.stack([mono[start : start + size] for start in part])
        magnitude = np.abs(np.fft.rfft(frames * window)) / (window.sum() / 2)
        levels[:, first : first + 128] = 20 * np.log10(np.maximum(magnitude, 10 ** (FLOOR / 20))).T
    return levels


def envelope(wave: Float[np.ndarray, "c n"], columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and greatest sample of each of ``columns`` equal stretches, over all channels."""
    columns = min(columns, wave.shape[1])
    starts = np.linspace(0, wave.shape[1], columns, endpoint=False).astype(int)
    low = np.minimum.reduceat(wave.min(axis=0), starts)
    high = np.maximum.reduceat(wave.max(axis=0), starts)
    return low, high
