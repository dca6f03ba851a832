r"""What a listener has heard by now, as far as it can be told from afar.

Letters: P_i samples heard as told at t_i seconds, r sample rate, m a margin in seconds.

.. math:: \text{heard}(t) = P_n + r \min(t - t_n, T)

is what it hears at least. Messages take their time, some more than others; the quickest tell what it may have heard,

.. math:: \text{latest}(t) = \max_i P_i + r (t - t_i)

over the last second in which it did not stand still. What lies m beyond that can still be replaced. The listener tells
when a replacement came too late; then m grows by half, and shrinks slowly again.
"""

from collections import deque

TRUST_SECONDS = 0.25
"""T, s that a listener is taken to go on hearing after it told of it."""
MEMORY_SECONDS = 1.0
FIRST_MARGIN, LEAST_MARGIN, MOST_MARGIN = 0.012, 0.008, 0.1
"""m, s."""
EASING = 0.998
"""Of m, each time that the listener tells and nothing was late."""


class Ear:
    """Follows a listener.

    Args:
        rate: samples a second.
        now: s.

    Attributes:
        margin: m, s.
        underruns: how often nothing was ready.
    """

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self.margin = FIRST_MARGIN
        self.underruns = self._late = 0
        self._told: deque[tuple[int, float]] = deque([(0, now)], maxlen=256)

    def tell(self, samples: int, underruns: int, late: int, now: float) -> bool:
        """Take what the listener tells; return whether it ran out of sound since it told last."""
        if samples <= self._told[-1][0]:
            self._told.clear()  # it stood still: what it told before says nothing of when it goes on
        self._told.append((samples, now))
        while self._told[0][1] < now - MEMORY_SECONDS:
            self._told.popleft()
        self.margin *= 1.5 if late > self._late else EASING
        self.margin = min(MOST_MARGIN, max(LEAST_MARGIN, self.margin))
        self._late = max(late, self._late)
        starved = underruns > self.underruns
        self.underruns = max(underruns, self.underruns)
        return starved

    def silence(self, now: float) -> float:
        """Return for how many seconds the listener has told nothing."""
        return now - self._told[-1][1]

    def heard(self, now: float) -> float:
        """Return the samples that it has heard at least."""
        samples, then = self._told[-1]
        return samples + min(now - then, TRUST_SECONDS) * self.rate

    def free(self, now: float) -> int:
        """Return the number of the first sample that can still be replaced."""
        latest = max(samples + (now - then) * self.rate for samples, then in self._told)
        return round(latest + self.margin * self.rate)
