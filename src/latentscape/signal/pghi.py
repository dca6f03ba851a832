r"""Phase-gradient heap integration (PGHI), over a whole sound or causally.

Letters: s log-magnitude (nepers) ``[t, m]``, n frame, m bin, a hop, W window and number of DFT bins, phi phase. The
phase is relative to the window's centre. For a window close to a Gaussian, magnitude and phase determine each other
(Prusa, Balazs, Sondergaard 2017, eq. 18 and 19; gamma = 0.25645 W^2 is their constant for Hann):

.. math:: \Delta_t \phi[n, m] = \frac{a W}{2 \gamma} (s[n, m + 1] - s[n, m - 1]) + \frac{2 \pi a m}{W}, \qquad
          \Delta_m \phi[n, m] = -\frac{\gamma}{2 a W} (s[n + 1, m] - s[n - 1, m])

The phase is integrated by trapezoids from loud bins to quieter neighbours, in the order that a heap gives. Bins below
the tolerance get a random phase, a hash of frame and bin: the same in every row, run and partition into blocks.

The causal form (Prusa and Sondergaard 2016, RTPGHI) takes one frame after another, from the frame before and within the
frame; the central difference over time makes it wait for one frame. A *fresh* frame, the first one or one after a frame
below its tolerance, has nothing to go on from. Were it integrated along frequency alone, a smooth spectrum would begin
as a pulse, and go on as one every W samples. So its bins get a random phase, too, but for main lobes: a local maximum
draws one for itself and its neighbours, which are integrated from it, as the bins of a partial belong together.
"""

import math

import numpy as np

from latentscape.core.compiled import compiled, each_row

GAMMA = 0.25645
"""gamma / W^2 of the Hann window (Prusa et al. 2017, table I)."""
TAU = 2 * math.pi
LOBE = 2
"""Bins from the middle of the Hann window's main lobe to its end."""


@compiled
def _push(keys, items, size, key, item):  # noqa: ANN001, ANN202
    """Put an item into a max-heap of ``size`` items; the parent of slot i is slot (i - 1) / 2."""
    slot = size
    while slot > 0:
        parent = (slot - 1) >> 1
        if keys[parent] >= key:
            break
        keys[slot] = keys[parent]
        items[slot] = items[parent]
        slot = parent
    keys[slot] = key
    items[slot] = item


@compiled
def _pop(keys, items, size):  # noqa: ANN001, ANN202
    """Take the item of greatest key out of a max-heap of ``size`` items."""
    top = items[0]
    last = size - 1
    key = keys[last]
    item = items[last]
    slot = 0
    child = 1
    while child < last:
        if child + 1 < last and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= key:
            break
        keys[slot] = keys[child]
        items[slot] = items[child]
        slot = child
        child = 2 * slot + 1
    keys[slot] = key
    items[slot] = item
    return top


@compiled
def _chance(frame, bin_):  # noqa: ANN001, ANN202
    """Return a phase in [0, 2 pi) that depends on frame and bin alone (the splitmix64 hash)."""
    x = np.uint64(frame) * np.uint64(1 << 20) + np.uint64(bin_)
    x = x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return TAU * (x >> np.uint64(11)) / 9007199254740992.0


@compiled
def _over_time(s, n, m, hop, gain):  # noqa: ANN001, ANN202
    """Return the phase's step a frame; log-magnitude is even about the first and last bin: its slope vanishes there."""
    bins = s.shape[1]
    slope = s[n, m + 1] - s[n, m - 1] if 0 < m < bins - 1 else 0.0
    return gain * slope + np.pi * hop * m / (bins - 1)


@compiled
def _over_frequency(s, n, m, gain):  # noqa: ANN001, ANN202
    """Return the phase's step a bin; the difference is one-sided at the ends of the sound."""
    after = min(n + 1, s.shape[0] - 1)
    before = max(n - 1, 0)
    return 0.0 if after == before else -gain * (s[after, m] - s[before, m]) * (2.0 / (after - before))


@compiled
def _is_peak(s, n, m):  # noqa: ANN001, ANN202
    """Return whether a bin is a local maximum of its frame (of a plateau, the last)."""
    return 0 < m < s.shape[1] - 1 and s[n, m - 1] <= s[n, m] and s[n, m + 1] < s[n, m]


@compiled
def _in_lobe(s, n, m):  # noqa: ANN001, ANN202
    """Return whether a bin lies in the main lobe of a local maximum."""
    for near in range(max(0, m - LOBE), min(s.shape[1], m + LOBE + 1)):  # noqa: SIM110 - numba has no generators
        if _is_peak(s, n, near):
            return True
    return False


@compiled
def find_seeds(s, threshold, done, seeds, phase):  # noqa: ANN001, ANN201
    """Give bins below the threshold a random phase; write the local maxima of the others; return how many there are.

    Every island's loudest bin is a local maximum. (On a plateau the last bin counts.)
    """
    frames, bins = s.shape
    count = 0
    for n in range(frames):
        for m in range(bins):
            here = s[n, m]
            done[n, m] = here < threshold
            if done[n, m]:
                phase[n, m] = _chance(n, m)
            elif (
                (m == 0 or s[n, m - 1] <= here)
                and (n == 0 or s[n - 1, m] <= here)
                and (m == bins - 1 or s[n, m + 1] < here)
                and (n == frames - 1 or s[n + 1, m] < here)
            ):
                seeds[count] = n * bins + m
                count += 1
    return count


@compiled
def integrate_all(s, hop, time_gain, frequency_gain, done, seeds, phase):  # noqa: ANN001, ANN201
    """Integrate one row ``s [t, m]`` into ``phase [t, m]`` float64, every way from the seeds in turn (PGHI)."""
    frames, bins = s.shape
    keys = np.empty(frames * bins, np.float32)
    items = np.empty(frames * bins, np.int32)
    for seed in seeds:
        n = seed // bins
        m = seed - n * bins
        if done[n, m]:
            continue
        done[n, m] = True
        phase[n, m] = 0.0
        keys[0] = s[n, m]
        items[0] = seed
        size = 1
        while size > 0:
            item = _pop(keys, items, size)
            size -= 1
            n = item // bins
            m = item - n * bins
            here = phase[n, m]
            right = n < frames - 1 and not done[n + 1, m]
            left = n > 0 and not done[n - 1, m]
            if right or left:
                step = _over_time(s, n, m, hop, time_gain)
                if right:
                    phase[n + 1, m] = here + 0.5 * (step + _over_time(s, n + 1, m, hop, time_gain))
                    done[n + 1, m] = True
                    _push(keys, items, size, s[n + 1, m], item + bins)
                    size += 1
                if left:
                    phase[n - 1, m] = here - 0.5 * (step + _over_time(s, n - 1, m, hop, time_gain))
                    done[n - 1, m] = True
                    _push(keys, items, size, s[n - 1, m], item - bins)
                    size += 1
            up = m < bins - 1 and not done[n, m + 1]
            down = m > 0 and not done[n, m - 1]
            if up or down:
                step = _over_frequency(s, n, m, frequency_gain)
                if up:
                    phase[n, m + 1] = here + 0.5 * (step + _over_frequency(s, n, m + 1, frequency_gain))
                    done[n, m + 1] = True
                    _push(keys, items, size, s[n, m + 1], item + 1)
                    size += 1
                if down:
                    phase[n, m - 1] = here - 0.5 * (step + _over_frequency(s, n, m - 1, frequency_gain))
                    done[n, m - 1] = True
                    _push(keys, items, size, s[n, m - 1], item - 1)
                    size += 1


@compiled
def integrate_causal(s, first, number, hop, time_gain, frequency_gain, tolerance, before, phase):  # noqa: ANN001, ANN201
    """Integrate frames ``first ...`` of one row ``s [k, m]`` into ``phase [., m]``, each from the one before (RTPGHI).

    ``first`` is 0 only at the sound's begin, else 1; the last frame of ``s`` is only looked at, unless ``phase`` has a
    row for it. ``number`` is the sound's number of frame ``first``; ``before [m]`` the phase of frame ``first - 1``.
    """
    bins = s.shape[1]
    keys = np.empty(2 * bins, np.float32)
    items = np.empty(2 * bins, np.int32)
    done = np.empty(bins, np.bool_)
    for row in range(phase.shape[0]):
        n = first + row
        loudest = s[n].max()
        earlier = loudest if n == 0 else s[n - 1].max()
        fresh = n == 0 or earlier < loudest - tolerance
        threshold = max(loudest, earlier) - tolerance
        size = 0
        for m in range(bins):
            phase[row, m] = _chance(number + row, m)
            done[m] = s[n, m] < threshold or (fresh and not _in_lobe(s, n, m))
            if done[m]:
                continue
            if not fresh:
                _push(keys, items, size, s[n - 1, m], m)
                size += 1
            elif _is_peak(s, n, m):
                done[m] = True
                _push(keys, items, size, s[n, m], m + bins)
                size += 1
        while size > 0:
            item = _pop(keys, items, size)
            size -= 1
            if item < bins:  # of the frame before: step over time
                m = item
                if done[m]:
                    continue
                step = _over_time(s, n - 1, m, hop, time_gain) + _over_time(s, n, m, hop, time_gain)
                phase[row, m] = before[m] + 0.5 * step
                done[m] = True
                _push(keys, items, size, s[n, m], m + bins)
                size += 1
                continue
            m = item - bins
            step = _over_frequency(s, n, m, frequency_gain)
            if m < bins - 1 and not done[m + 1]:
                phase[row, m + 1] = phase[row, m] + 0.5 * (step + _over_frequency(s, n, m + 1, frequency_gain))
                done[m + 1] = True
                _push(keys, items, size, s[n, m + 1], m + 1 + bins)
                size += 1
            if m > 0 and not done[m - 1]:
                phase[row, m - 1] = phase[row, m] - 0.5 * (step + _over_frequency(s, n, m - 1, frequency_gain))
                done[m - 1] = True
                _push(keys, items, size, s[n, m - 1], m - 1 + bins)
                size += 1
        for m in range(bins):
            before[m] = phase[row, m] % TAU  # wrapped, so that hours of sound lose no precision


def gains(window: int, hop: int) -> tuple[float, float]:
    """Return the factors of log-magnitude differences in the steps over time and over frequency."""
    gamma = GAMMA * window**2
    return hop * window / (2 * gamma), gamma / (2 * hop * window)


def recover(s: np.ndarray, window: int, hop: int, tolerance: float, threads: int = 1) -> np.ndarray:
    """Return the phase (rad, float64, relative to the window's centre) of log-magnitudes, by PGHI.

    Args:
        s: ``[r, t, m]`` float32, nepers.
        window: W.
        hop: a.
        tolerance: bins this much (nepers) below the row's loudest get a random phase.
        threads: rows at a time.
    """
    phase = np.empty(s.shape, np.float64)
    over_time, over_frequency = gains(window, hop)

    def work(row: int) -> None:
        done = np.empty(s.shape[1:], np.bool_)
        seeds = np.empty(s[row].size, np.int64)
        count = find_seeds(s[row], s[row].max() - tolerance, done, seeds, phase[row])
        seeds = seeds[:count]
        seeds = seeds[
            np.argsort(-s[row].reshape(-1)[seeds], kind="stable")
        ]  # here, since numba's sort compiles for long
        integrate_all(s[row], hop, over_time, over_frequency, done, seeds, phase[row])

    each_row(work, s.shape[0], threads)
    return phase


def recover_causal(
    s: np.ndarray,
    before: np.ndarray,
    number: int,
    window: int,
    hop: int,
    tolerance: float,
    *,
    last: bool,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the phase of the frames that are due, by RTPGHI, and of the last of them alone, wrapped.

    Args:
        s: ``[r, k, m]`` float32, nepers. Its first frame is one that has its phase already, unless ``number`` is 0.
        before: phase of that frame, ``[r, m]`` float64.
        number: how many frames have their phase.
        window: W.
        hop: a.
        tolerance: bins this much (nepers) below the loudest of two frames get a random phase.
        last: nothing follows; else the last frame is looked at and not yet due.
        threads: rows at a time.
    """
    first = min(number, 1)
    phase = np.empty((s.shape[0], max(0, s.shape[1] - first - (not last)), s.shape[2]), np.float64)
    after = before.copy()
    over_time, over_frequency = gains(window, hop)

    def work(row: int) -> None:
        integrate_causal(s[row], first, number, hop, over_time, over_frequency, tolerance, after[row], phase[row])

    if phase.shape[1]:
        each_row(work, s.shape[0], threads)
    return phase, after
