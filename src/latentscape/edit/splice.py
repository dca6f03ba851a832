r"""Setting a filled stretch into the sound: blending inside the gap, no clicks, nothing outside it changed.

Letters: x sound, f filling ``[g]``, h samples of blending, :math:`d_n = x_{n-1} - 2 x_n + x_{n+1}` second difference,
L the 99.9th percentile of :math:`|d|` over the untouched sound.

Within h samples of a border, f is cross-faded with what linear prediction carries on from that border, so that value
and slope go on; the known side is not touched. A join is a click where the second difference sticks out. Near each
border (10 ms) the filling therefore is the nearest one that keeps to L:

.. math:: \min_y \tfrac12 \lVert y - f \rVert^2 \quad \text{with } |d_n(y)| \le L

a quadratic programme, solved by ADMM (Boyd et al. 2011) with a pentadiagonal matrix. It has a solution, since a border
fixes two values and every further one is free.
"""

import numpy as np

from latentscape.edit.hole import Hole, cross_fade
from latentscape.edit.linear_prediction import ORDER_SECONDS, extrapolate

BLEND_SECONDS = 0.004
JOIN_SECONDS = 0.01
PERCENTILE = 99.9
_CONTEXT_SECONDS = 0.1
_STEPS = 1000
_MARGIN = 0.98
_RHO = 10.0


def second_differences(x: np.ndarray) -> np.ndarray:
    """Return d of ``x [..., n]``, ``[..., n - 2]``."""
    return np.diff(x, 2, axis=-1)


def usual_bend(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return L of every channel of ``x [c, n]``, ``[c]``, from second differences of known samples alone.

    It is infinite where no three known samples follow each other.
    """
    whole = known[:-2] & known[1:-1] & known[2:]
    if not whole.any():
        return np.full(x.shape[0], np.inf)
    return np.percentile(np.abs(second_differences(x))[:, whole], PERCENTILE, axis=1)


def blend(hole: Hole, filling: np.ndarray) -> np.ndarray:
    """Return ``filling [c, g]`` with its borders blended into what linear prediction carries on from the sides."""
    result = filling.copy()
    length = min(max(1, round(BLEND_SECONDS * hole.rate)), hole.count // 2)
    order = round(ORDER_SECONDS * hole.rate)
    most = round(_CONTEXT_SECONDS * hole.rate)
    if not length:
        return result
    for channel in range(hole.channels):
        left, right = hole.left[channel, -most:], hole.right[channel, :most][::-1]
        if len(left):
            ahead = extrapolate(left, length, min(order, len(left) // 3))
            result[channel, :length] = cross_fade(ahead, result[channel, :length])
        if len(right):
            back = extrapolate(right, length, min(order, len(right) // 3))[::-1]
            result[channel, -length:] = cross_fade(result[channel, -length:], back)
    return result


def unbend(hole: Hole, filling: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the nearest filling ``[c, g]`` that bends no more than ``limits [c]`` near its borders."""
    near = max(2, round(JOIN_SECONDS * hole.rate))
    result = filling.copy()
    for channel, limit in enumerate(limits):
        left, right = hole.left[channel, -2:], hole.right[channel, :2]
        whole = np.concatenate((left, filling[channel], right))
        places = np.arange(1, len(whole) - 1) - len(left)
        joined = np.zeros(len(places), bool)
        if len(left):
            joined |= places < near
        if len(right):
            joined |= places >= hole.count - near
        bounds = np.where(joined, limit, np.inf)
        if (np.abs(second_differences(whole)) <= bounds).all():
            continue
        for low, high in _regions(hole.count, 2 * near):
            start = low + len(left)
            end = high + len(left)
            first, last = max(0, start - 2), min(len(whole), end + 2)
            part = whole[first:last]
            part[start - first : end - first] = _bounded(
                part, slice(start - first, end - first), bounds[first : last - 2]
            )
        result[channel] = whole[len(left) : len(left) + hole.count]
    return result


def _regions(count: int, length: int) -> list[tuple[int, int]]:
    """Return what lies within ``length`` samples of an end of ``count`` samples, in one piece or two."""
    return [(0, count)] if 2 * length >= count else [(0, length), (count - length, count)]


def _bounded(part: np.ndarray, free: slice, bounds: np.ndarray) -> np.ndarray:
    """Return the free samples nearest to those of ``part [n]`` that keep the second differences to ``bounds [n-2]``."""
    bend = second_differences(part)
    if (np.abs(bend) <= bounds).all():
        return part[free]
    from scipy.sparse import diags_array, eye_array  # seldom needed, and slow to import
    from scipy.sparse.linalg import splu

    bounds = _MARGIN * bounds
    n = len(part)
    difference = diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(n - 2, n)).tocsc()[:, free]
    offset = bend - difference @ part[free]
    solve = splu((eye_array(difference.shape[1]) + _RHO * difference.T @ difference).tocsc()).solve
    target = part[free]
    z, u, y = np.clip(bend, -bounds, bounds), np.zeros(n - 2), target
    for _ in range(_STEPS):
        y = solve(target + _RHO * (difference.T @ (z - u - offset)))
        d = difference @ y + offset
        if (np.abs(d) * _MARGIN <= bounds).all():
            break
        z = np.clip(d + u, -bounds, bounds)
        u += d - z
    return y


def splice(hole: Hole, filling: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the filling ``[c, g]`` blended into both sides and without clicks.

    Args:
        hole: where it goes.
        filling: ``[c, g]``.
        limits: L of every channel, ``[c]``, as :func:`usual_bend` gives it.
    """
    return unbend(hole, blend(hole, filling), limits)
