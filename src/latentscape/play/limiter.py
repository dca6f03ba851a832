r"""A limiter that leaves alone what stays below its ceiling, and delays nothing.

Letters: c channels, n samples of a block, L the ceiling, x the sound, g its gain in dB, s, r dB a sample.

What a sample needs is :math:`g_i \le q_i = \min(0, 20 \log_{10} (L / \max_c |x_{ic}|))`. A block is known whole before
it goes out, so the gain looks ahead to its end: it falls by s a sample towards what is needed, so early that it is
there in time,

.. math:: a_i = \min_{k \ge i} \, q_k + s (k - i)

and rises again by r,

.. math:: g_i = \min \big(0, \; g_{-1} + r (i + 1), \; \min_{k \le i} a_k + r (i - k)\big)

with :math:`g_{-1}` the last of the block before. Where a peak follows the begin of a block so closely that s would not
do, s is as steep as it must be for g to go on from :math:`g_{-1}` without a jump. Where nothing passes L and the gain
rests at 0 dB, the block is returned as it is, to the bit.
"""

import numpy as np

CEILING = 10 ** (-1 / 20)
"""-1 dBFS."""
ATTACK_SECONDS = 0.002
"""s in which the gain falls by :data:`ATTACK_DB`, where the block leaves as much time."""
ATTACK_DB = 12.0
RELEASE_DB = 12.0
"""dB a second by which the gain rises again: slow enough that it does not follow the swings of a low tone."""


class Limiter:
    """Holds a stream of blocks below the ceiling.

    Args:
        rate: samples a second.

    Attributes:
        gain: of the last sample, dB; 0 at rest.
    """

    def __init__(self, rate: int) -> None:
        self.gain = 0.0
        self._fall = ATTACK_DB / (ATTACK_SECONDS * rate)
        self._rise = RELEASE_DB / rate

    def limit(self, wave: np.ndarray) -> np.ndarray:
        """Return a block ``[n, c]`` (n above 0) with no sample beyond the ceiling."""
        level = np.abs(wave).max(1).astype(np.float64)
        if self.gain == 0.0 and level.max() <= CEILING:
            return wave
        n = len(wave)
        count = np.arange(1, n + 1)
        needed = np.minimum(0.0, 20 * np.log10(CEILING / np.maximum(level, CEILING)))
        fall = max(self._fall, float(((self.gain - needed) / count).max()))
        early = np.minimum.accumulate((needed + fall * count)[::-1])[::-1] - fall * count
        late = np.minimum.accumulate(np.append(self.gain, early) - self._rise * np.arange(n + 1))[1:]
        gain = np.minimum(0.0, late + self._rise * count)
        self.gain = float(gain[-1])
        limited = wave * (10 ** (gain / 20)).astype(wave.dtype)[:, None]
        return np.clip(limited, -CEILING, CEILING)  # what rounding leaves above it
