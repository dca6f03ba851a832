r"""Linear prediction across a gap: iterated least squares for short ones, extrapolation from both sides for long ones.

Letters: x sound, p order, a_k prediction coefficients (:math:`a_0 = 1`), e residual, U the missing places, K the known.

.. math:: e[n] = \sum_{k=0}^p a_k x[n - k], \qquad
          \min_{x_U} \sum_n e[n]^2 \;\Rightarrow\; B_{UU} x_U = -B_{UK} x_K, \quad
          B_{ij} = b_{|i-j|}, \; b_l = \sum_k a_k a_{k+l}

Janssen, Veldhuis and Vries 1986 (IEEE Trans. ASSP 34, eq. 9 to 18) alternate: a is estimated from the sound with the
last x_U in place, x_U is solved for with a. B is Toeplitz and positive definite, so one gap is a Levinson recursion.
The least residual of a long gap is a sound that dies away in its middle, since the excitation of what is missing is
taken for nothing; it begins to where p is several times g, so an answer 1 dB off the extrapolated one's level is left.
There both sides are extrapolated by their own recursion, :math:`\hat x[n] = -\sum_k a_k \hat x[n-k]` forward and the
same backward, and cross-faded (Kauppinen and Roth 2002). Coefficients are Burg's throughout: their recursion is stable
whatever the order.
"""

import numpy as np

from latentscape.edit.hole import Filler, Hole, cross_fade

CONTEXT_SECONDS = 0.4
ORDER_SECONDS = 0.045
"""Span of the recursion, s: two periods of the lowest pitches (55 Hz)."""
LONG_SECONDS = 0.06
"""From this length on, both sides are extrapolated."""
ITERATIONS = 3
_STABLE = 1e-16
"""Of the energy, added in Burg's denominator: with less, rounding makes a noiseless sound's recursion grow."""
_QUIETER = 10 ** (-1 / 20)


def burg(x: np.ndarray, order: int) -> np.ndarray:
    """Return ``a [p + 1]`` of a sound ``x [n]`` by Burg's method; fewer where nothing is left to predict."""
    a = np.ones(1)
    forward, backward = x[1:].copy(), x[:-1].copy()
    least = _STABLE * float(x @ x)
    for _ in range(min(order, len(x) - 1)):
        energy = float(forward @ forward + backward @ backward) + least
        if not energy:
            break
        k = -2.0 * (forward @ backward) / energy
        a = np.append(a, 0.0)
        a = a + k * a[::-1]
        forward, backward = (forward + k * backward)[1:], (backward + k * forward)[:-1]
    return a


def extrapolate(x: np.ndarray, count: int, order: int) -> np.ndarray:
    """Return the next ``count`` samples of ``x [n]``."""
    a = burg(x, order)
    if len(a) == 1:
        return np.zeros(count)
    from scipy.signal import lfilter, lfiltic  # takes more than a second, and finding damage does without

    state = lfiltic(np.ones(1), a, x[: -len(a) : -1])
    return lfilter(np.ones(1), a, np.zeros(count), zi=state)[0]


def from_both_sides(left: np.ndarray, right: np.ndarray, count: int, order: int) -> np.ndarray:
    """Return ``[count]`` samples extrapolated from ``left [l]`` and ``right [r]`` (either may be empty)."""
    sides = [
        extrapolate(side, count, min(order, len(side) // 3))[::step]
        for side, step in ((left, 1), (right[::-1], -1))
        if len(side)
    ]
    return sides[0] if len(sides) == 1 else cross_fade(*sides)


def janssen(
    left: np.ndarray, right: np.ndarray, start: np.ndarray, order: int, iterations: int = ITERATIONS
) -> np.ndarray:
    """Return ``[g]`` samples between two known sides by Janssen's iteration, begun with ``start [g]``."""
    from scipy.linalg import solve_toeplitz

    count, filled = len(start), start
    order = min(order, len(left), len(right))  # B is Toeplitz only where every residual that sees the gap is there
    for _ in range(iterations):
        whole = np.concatenate((left, filled, right))
        a = burg(whole, min(order, len(whole) // 3))
        p = len(a) - 1
        if not p:
            return filled
        b = np.correlate(a, a, "full")[p:]
        edges = np.concatenate((left[-p:], np.zeros(count), right[:p]))
        # B_UK x_K: the known edges through the autocorrelation of a, read off inside the gap
        pull = np.convolve(edges, np.concatenate((b[:0:-1], b)))[p:-p][min(p, len(left)) :][:count]
        column = np.zeros(count)
        column[: min(count, p + 1)] = b[:count]
        column[0] *= 1 + 1e-10
        filled = np.asarray(solve_toeplitz(column, -pull))
    return filled


class LinearPrediction(Filler):
    """Linear prediction, every channel by itself.

    Args:
        order_seconds: span of the recursion, s.
        context_seconds: what is looked at on either side, s.
        long_seconds: gaps from this length on, and those at an end of the sound, are extrapolated.
    """

    name = "linear"

    def __init__(
        self,
        order_seconds: float = ORDER_SECONDS,
        context_seconds: float = CONTEXT_SECONDS,
        long_seconds: float = LONG_SECONDS,
    ) -> None:
        self.order_seconds = order_seconds
        self.context_seconds = context_seconds
        self.long_seconds = long_seconds

    def fill(self, hole: Hole, seed: int | None = None) -> np.ndarray:
        """Return the prediction; it has one answer, whatever the seed."""
        hole = hole.within(self.context_seconds)
        order = max(2, round(self.order_seconds * hole.rate))
        filled = np.empty((hole.channels, hole.count))
        for channel, (left, right) in enumerate(zip(hole.left, hole.right, strict=True)):
            found = from_both_sides(left, right, hole.count, order)
            if hole.seconds < self.long_seconds and len(left) and len(right):
                solved = janssen(left, right, found, order)
                if _QUIETER * np.linalg.norm(found) < np.linalg.norm(solved) < np.linalg.norm(found) / _QUIETER:
                    found = solved
            filled[channel] = found
        return filled
