r"""Loudness by ITU-R BS.1770-4: how loud a sound is where it sounds; pauses do not make it quieter.

Letters: c channels, n samples; :math:`z_j` the mean square of block j after the two filters (K-weighting), summed over
the channels; :math:`\Gamma` a gate.

.. math:: l_j = -0.691 + 10 \log_{10} z_j, \qquad
          L = -0.691 + 10 \log_{10} \mathrm{mean}\{z_j : l_j > -70,\; l_j > \Gamma\}, \qquad
          \Gamma = -0.691 + 10 \log_{10} \mathrm{mean}\{z_j : l_j > -70\} - 10

in LUFS (LKFS). Blocks last 400 ms, a new one begins every 100 ms, and what is left at the end is no block. A sound
shorter than a block is one, and so is one whose blocks are all below -70. Every channel weighs 1, as left, right and
centre do: which of them lie behind the listener a file seldom says.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy import fft

from latentscape.signal.audio import PEAK_LIMIT

K_FILTERS = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
"""Numerator and denominator of the shelf and the high-pass at 48 kHz."""
BLOCK_SECONDS, STEP_SECONDS = 0.4, 0.1
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
"""LUFS; LU under the mean of what passes the first."""
OFFSET = -0.691
"""dB: a sine of 997 Hz at full scale in one channel has the level of its mean square, -3.01."""
_RING_SECONDS = 0.1


def loudness(wave: Float[np.ndarray, "c n"], sample_rate: int) -> float:
    """Return the loudness L of a sound at full scale 1, LUFS; silence has -200."""
    n = wave.shape[1]
    power = np.zeros(n)
    for channel in wave:
        power += weighted(channel, sample_rate) ** 2
    so_far = np.concatenate(([0.0], np.cumsum(power)))
    size = min(n, round(BLOCK_SECONDS * sample_rate))
    count = 1 + math.floor((n - size) / (STEP_SECONDS * sample_rate) + 1e-9)
    first = np.minimum(np.round(np.arange(count) * STEP_SECONDS * sample_rate).astype(int), n - size)
    blocks = (so_far[first + size] - so_far[first]) / size
    heard = blocks[blocks > 10 ** ((ABSOLUTE_GATE - OFFSET) / 10)]
    if not len(heard):
        return _level(power.mean())
    return _level(heard[heard > 10 ** (RELATIVE_GATE / 10) * heard.mean()].mean())


def weighted(mono: Float[np.ndarray, " n"], sample_rate: int) -> Float[np.ndarray, " n"]:
    """Return a sound through both filters, whose response at 48 kHz is taken at every rate (above 24 kHz its end's)."""
    size = fft.next_fast_len(len(mono) + round(_RING_SECONDS * sample_rate), real=True)
    frequency = np.minimum(fft.rfftfreq(size, 1 / sample_rate), 24000.0)
    delay = np.exp(-2j * np.pi * frequency / 48000.0)  # of one sample: the letter of b and a
    response = np.ones_like(delay)
    for b, a in K_FILTERS:
        response *= np.polyval(b[::-1], delay) / np.polyval(a[::-1], delay)
    return fft.irfft(fft.rfft(np.asarray(mono, np.float64), size) * response, size)[: len(mono)]


def levelled(wave: np.ndarray, like: np.ndarray, sample_rate: int) -> tuple[np.ndarray, float]:
    """Return a sound at the loudness of another, and the dB by which its peak would have passed -1 dBFS."""
    wave = wave * 10 ** ((loudness(like, sample_rate) - loudness(wave, sample_rate)) / 20)
    peak = float(np.abs(wave).max())
    if peak <= PEAK_LIMIT:
        return wave, 0.0
    return wave * (PEAK_LIMIT / peak), 20 * math.log10(peak / PEAK_LIMIT)


def _level(power: float) -> float:
    return OFFSET + 10 * math.log10(power + 1e-20)
