r"""YIN: pitch from how little a frame differs from itself one period later; and its probabilistic form.

Letters: x a frame of W samples (0 beyond them), :math:`\tau` a lag in samples, r the frame's autocorrelation.

.. math::
    d(\tau) = \sum_{j=0}^{W-1} (x_j - x_{j+\tau})^2 = 2\,(r(0) - r(\tau)) - \sum_{j<\tau} x_j^2, \qquad
    d'(\tau) = d(\tau) \Big/ \frac{1}{\tau} \sum_{k=1}^{\tau} d(k)

(de Cheveigne and Kawahara 2002, eq. 6 and 8). The period is the first trough of :math:`d'` below 0.1, else its least
value, moved to the vertex of the parabola through it and its neighbours.

The probabilistic form (Mauch and Dixon 2014) takes the threshold s of a trough for random, s ~ Beta(2, 18) in 100
steps: of the K troughs below it the k-th has a share :math:`\propto e^{-2k}`, and where there are none the least trough
has 0.01. That gives each frame a probability of pitches, in tenths of a semitone, and what is left is that of no pitch;
the most probable course through all frames (Viterbi) may glide, by a triangle of steps, and begins or ceases to have a
pitch with 0.01. All values are those of ``librosa.yin`` and ``librosa.pyin`` 0.11.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy import fft

from latentscape.signal.frames import centred

FASTEST = 35.92
"""Octaves a second; a pitch that glides faster is not followed."""
_THRESHOLD = 0.1
_BLOCK = 256
_FIRST_FIRST = 2.0
_NO_TROUGH = 0.01
_SWITCH = 0.01
_STEPS_AN_OCTAVE = 120
_TINY = np.finfo(np.float64).tiny


def yin(
    mono: Float[np.ndarray, " n"], sample_rate: int, window: int, hop: int, low_hz: float, high_hz: float
) -> Float[np.ndarray, " t"]:
    """Return the pitch of frames centred on samples 0, hop, 2 hop ..., Hz; ``low_hz >= sample_rate / (window - 2)``."""
    pitch = []
    for difference, troughs, shift, first in _blocks(mono, sample_rate, window, hop, low_hz, high_hz):
        deep = troughs & (difference < _THRESHOLD)
        lag = np.where(deep.any(1), deep.argmax(1), difference.argmin(1))
        pitch.append(sample_rate / (first + lag + shift[np.arange(len(lag)), lag]))
    return np.concatenate(pitch)


def probabilistic_yin(
    mono: Float[np.ndarray, " n"],
    sample_rate: int,
    window: int,
    hop: int,
    low_hz: float,
    high_hz: float,
    glide: float = FASTEST,
) -> Float[np.ndarray, " t"]:
    """Return the same by the probabilistic form, NaN where unvoiced; ``glide`` octaves a second are the fastest."""
    steps = int(_STEPS_AN_OCTAVE * np.log2(high_hz / low_hz)) + 1
    share = []
    for difference, troughs, shift, first in _blocks(mono, sample_rate, window, hop, low_hz, high_hz):
        row, lag, chance = _candidates(difference, troughs)
        pitch = sample_rate / (first + lag + shift[row, lag])
        step = np.rint(_STEPS_AN_OCTAVE * np.log2(pitch / low_hz)).astype(int).clip(0)
        kept = (step < steps) & (chance > 0)
        block = np.zeros((len(difference), steps))
        block[row[kept], step[kept]] = chance[kept]
        share.append(block)
    semitones = round(12 * glide * hop / sample_rate)  # the width of the triangle
    course = _course(np.concatenate(share), semitones * _STEPS_AN_OCTAVE // 24)
    return np.where(course < steps, low_hz * 2 ** (course / _STEPS_AN_OCTAVE), np.nan)


def _blocks(
    mono: np.ndarray, sample_rate: int, window: int, hop: int, low_hz: float, high_hz: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Yield d', where its troughs are and how far off their vertices lie ``[t, lags]``, and the first lag."""
    first, last = int(sample_rate / high_hz), min(int(np.ceil(sample_rate / low_hz)), window - 1)
    size = fft.next_fast_len(window + last, real=True)
    frames = centred(mono, window, hop)
    for start in range(0, len(frames), _BLOCK):
        block = frames[start : start + _BLOCK]
        spectrum = fft.rfft(block, size)
        alike = fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[:, : last + 1]
        difference = 2 * (alike[:, :1] - alike[:, 1:]) - np.cumsum(block[:, :last] ** 2, 1)
        mean = np.cumsum(difference, 1)[:, first - 1 :] / np.arange(first, last + 1)
        difference = difference[:, first - 1 :] / (mean + _TINY)
        rise = np.diff(difference)
        troughs = np.zeros(difference.shape, bool)
        troughs[:, 1:-1] = (rise[:, :-1] < 0) & (rise[:, 1:] >= 0)
        troughs[:, 0], troughs[:, -1] = rise[:, 0] > 0, rise[:, -1] < 0
        bend, slope = np.diff(rise), (rise[:, 1:] + rise[:, :-1]) / 2
        shift = np.zeros_like(difference)
        np.divide(-slope, bend, out=shift[:, 1:-1], where=bend > 0)
        yield difference, troughs, shift, first


def _candidates(difference: np.ndarray, troughs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row and lag of every trough of a block ``[m]``, and its probability."""
    row, lag = np.nonzero(troughs)
    threshold = np.linspace(0, 1, 101)
    beta = -np.diff((1 - threshold) ** 18 * (1 + 18 * threshold))  # of the distribution function of Beta(2, 18)
    height = difference[row, lag]
    below = height[:, None] < threshold[1:]
    so_far = np.concatenate([np.zeros((1, 100), int), below.cumsum(0)])
    edges = np.searchsorted(row, np.arange(len(difference) + 1))
    begin, end = edges[:-1], edges[1:]
    place, count = so_far[:-1] - so_far[begin][row], (so_far[end] - so_far[begin])[row]
    ratio = np.exp(-_FIRST_FIRST)
    share = np.where(below, (1 - ratio) * ratio**place / (1 - ratio ** np.maximum(count, 1)), 0.0)
    least = lag == np.where(troughs, difference, np.inf).argmin(1)[row]
    return row, lag, share @ beta + _NO_TROUGH * least * (~below @ beta)


def _course(share: Float[np.ndarray, "t s"], reach: int) -> np.ndarray:
    """Return the most probable state of every frame ``[t]``: a step of pitch, or ``steps`` and more for none."""
    frames, steps = share.shape
    voiced = share.sum(1, keepdims=True).clip(0, 1)
    seen = np.log(np.stack([share, np.broadcast_to((1 - voiced) / steps, share.shape)], 1) + _TINY)
    offset = np.arange(-reach, reach + 1)
    origin = np.arange(steps)[:, None] + offset
    inside = (origin >= 0) & (origin < steps)
    triangle = 1 - np.abs(offset) / (reach + 1)
    # of a step from ``origin``, normalised over what can be reached from there
    whole = np.array([triangle[inside[place]].sum() for place in range(steps)])
    move = np.where(inside, np.log(triangle / whole[origin.clip(0, steps - 1)]), -np.inf)
    stay, switch, leap = np.log(1 - _SWITCH), np.log(_SWITCH), np.log(_TINY)
    own = np.arange(2)[:, None] * steps
    value = seen[0]
    came = np.empty((frames, 2, steps), np.int32)
    for frame in range(1, frames):
        padded = np.pad(value, ((0, 0), (reach, reach)))
        ways = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, 1) + move
        place = ways.argmax(2)
        score = np.take_along_axis(ways, place[..., None], 2)[..., 0]
        place += own + np.arange(steps) - reach
        other = score[::-1] + switch > score + stay
        best = np.where(other, score[::-1] + switch, score + stay)
        far = value.max() + leap  # from beyond the reach, where there is no other way
        came[frame] = np.where(far > best, value.argmax(), np.where(other, place[::-1], place))
        value = np.maximum(best, far) + seen[frame]
    course = np.empty(frames, int)
    course[-1] = value.argmax()
    for frame in range(frames - 1, 0, -1):
        course[frame - 1] = came[frame].flat[course[frame]]
    return course
