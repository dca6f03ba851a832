"""Bytes inside a page: sounds as FLAC, spectrogram strips as small PNGs, and the budget they share."""

from base64 import b64encode
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise

import numpy as np
import soundfile
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from latentscape.core.errors import DataError
from latentscape.report.items import Sound
from latentscape.report.spectrum import envelope, spectrogram
from latentscape.report.style import SPECTRUM

STRIP = (840, 44, 124)
"""Columns, rows of the waveform and rows of the spectrogram of a strip."""
LOWEST = 50.0
"""Hz at the foot of a strip; its frequency axis is logarithmic, so that melodies can be seen."""


@dataclass
class Budget:
    """Bytes that may still be spent, and what found no room.

    Attributes:
        left: bytes.
        sounds: how many sounds were taken in.
        left_out: what was not.
    """

    left: int
    sounds: int = 0
    left_out: list[str] = field(default_factory=list)

    def take(self, size: int) -> bool:
        """Spend ``size`` bytes if they are there."""
        if size > self.left:
            return False
        self.left -= size
        return True


def data_uri(kind: str, data: bytes) -> str:
    """Return ``data`` as an address that holds it."""
    return f"data:{kind};base64,{b64encode(data).decode('ascii')}"


def flac(sound: Sound, peak: float = 0.0) -> bytes:
    """Return the sound as FLAC of 16 bits; where its peak passes full scale it is scaled down, never clipped.

    Args:
        sound: to store.
        peak: the greatest of several that are heard against each other, and scaled alike; 0 for the sound's own.

    Raises:
        DataError: the sound is empty, not finite, or has more channels or a higher rate than FLAC holds.
    """
    wave = sound.wave
    if wave.ndim != 2 or 0 in wave.shape:
        raise DataError(f"page: sound '{sound.title}' has shape {wave.shape}, expected [channels, samples], none 0")
    if not np.isfinite(wave).all():
        raise DataError(f"page: sound '{sound.title}' holds NaN or infinity")
    peak = peak or float(np.abs(wave).max())
    out = BytesIO()
    try:
        soundfile.write(out, (wave / peak if peak > 1 else wave).T, sound.sample_rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        arrived = f"{wave.shape[0]} channels at {sound.sample_rate} Hz"
        raise DataError(
            f"page: sound '{sound.title}' ({arrived}) can't be stored as FLAC: {error.error_string}"
        ) from error
    return out.getvalue()


def strip(wave: Float[np.ndarray, "c n"], sample_rate: int, peak: float = 0.0) -> bytes:
    """Return a PNG of the sound without margins, so that a playhead over it is where the sound is: waveform, spectrum.

    Args:
        wave: the sound.
        sample_rate: Hz.
        peak: amplitude that fills the picture; 0 for the sound's own.
    """
    peak = max(1e-3, peak or float(np.abs(wave).max()))
    return _png(np.concatenate([_waveform(wave, sample_rate, peak), _levels(wave, sample_rate, peak)]))


def _waveform(wave: np.ndarray, sample_rate: int, peak: float) -> UInt8[np.ndarray, "rows columns"]:
    columns, rows, _ = STRIP
    low, high = envelope(wave, columns)
    wide = min(
        len(low), 1 + round(0.012 * sample_rate * len(low) / wave.shape[1])
    )  # 12 ms: an outline, not its periods
    low, high = minimum_filter1d(low, wide), maximum_filter1d(high, wide)
    take = np.linspace(0, len(low) - 1, columns).round().astype(int)
    level = 1 - 2 * (np.arange(rows)[:, None] + 0.5) / rows
    half = 1.0 / rows  # a silent stretch is still a line
    inside = (level <= high[take] / peak + half) & (level >= low[take] / peak - half)
    return np.where(inside, 196, 0).astype(np.uint8)


def _levels(wave: np.ndarray, sample_rate: int, peak: float) -> UInt8[np.ndarray, "rows columns"]:
    columns, _, rows = STRIP
    size = 2 ** round(np.log2(0.09 * sample_rate))
    levels = spectrogram(wave, sample_rate, columns, size)
    top = 20 * np.log10(peak) - 6  # partials lie a little below the peak of their sum
    nyquist = sample_rate / 2
    frequency = np.geomspace(nyquist, min(LOWEST, nyquist / 2), rows)
    place = frequency / nyquist * (len(levels) - 1)
    lower = np.minimum(place.astype(int), len(levels) - 2)
    part = (place - lower)[:, None]
    shown = levels[lower] * (1 - part) + levels[lower + 1] * part
    return np.clip((shown - (top - 70)) / 70 * 255, 0, 255).astype(np.uint8)


def _png(index: UInt8[np.ndarray, "rows columns"]) -> bytes:
    image = Image.fromarray(index)
    image.putpalette((colormaps[SPECTRUM](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    out = BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()


def ridges(wave: Float[np.ndarray, "c n"], sample_rate: int, lines: int = 15, columns: int = 90) -> list[str]:
    """Return SVG path data of a landscape made from a sound: one ridge a band of frequency, in a box of 600 by 200."""
    levels = spectrogram(wave, sample_rate, columns)
    edges = np.geomspace(2, len(levels) - 1, lines + 1).astype(int)
    bands = np.stack([levels[a : max(b, a + 1)].max(axis=0) for a, b in pairwise(edges)])
    height = np.clip((bands - levels.max() + 70) / 70, 0, 1) ** 2
    smooth = np.hanning(7) / np.hanning(7).sum()
    x = np.linspace(0, 600, columns)
    paths = []
    for index in reversed(range(lines)):
        y = 62 + 134 * (lines - 1 - index) / (lines - 1) - 56 * np.convolve(height[index], smooth, "same")
        paths.append("M" + "L".join(f"{a:.0f} {b:.1f}" for a, b in zip(x, y, strict=True)))
    return paths
