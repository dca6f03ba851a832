"""How hard the engine works, and what it gives up so that it never stutters.

Level 0 decodes every point; level 1 every second one, and interpolates between; level 2 does that and keeps a larger
lead. It goes up at once and comes back slowly, each time more slowly after a return that did not last. An underrun
counts only where there is work to save: an engine with little to do was kept waiting by something else, against which
the page asks for more to be ready.
"""

BUSY = 0.7
"""Of real time, beyond which a level is too dear."""
EASY = 0.35
"""Below which the level before it would do: it costs at most twice as much."""
SPARE = 0.5
"""Of real time, beyond which nothing is made a second time."""
LEAD = 0.12
"""s of sound that level 2 keeps ready at least."""
SETTLE_SECONDS = 0.3
PATIENCE_SECONDS = 5.0
MOST_PATIENCE_SECONDS = 80.0
MOST = 2


class Load:
    """Decides the level from what rendering takes; all times are of the sound, not of a clock.

    Attributes:
        level: 0, 1 or 2.
        load: seconds of work a second of sound, smoothed over about a fifth of a second.
    """

    def __init__(self) -> None:
        self.level = 0
        self.load = 0.0
        self._since, self._calm, self._patience = 0.0, 0.0, PATIENCE_SECONDS
        self._repeated, self._work = 0.0, 0.0

    @property
    def every(self) -> int:
        """Every so many points one is decoded."""
        return 1 if self.level == 0 else 2

    @property
    def spare(self) -> bool:
        """Whether there is time to make sound a second time."""
        return self.load < SPARE

    def repeats(self, sound: float) -> None:
        """Tell that the next so many seconds of sound were made before: their work comes on top."""
        self._repeated += sound

    def worked(self, work: float, sound: float) -> None:
        """Tell that so many seconds of work made so many seconds of sound."""
        self._work += work
        if self._repeated > sound / 2:
            self._repeated -= sound
            return
        work, self._work = self._work, 0.0
        weight = min(1.0, sound / 0.2)
        self.load += weight * (work / sound - self.load)
        self._since += sound
        self._calm = self._calm + sound if self.load < EASY else 0.0
        if self.load > BUSY and self._since > SETTLE_SECONDS:
            self._worse()
        elif self.level and self._calm > self._patience:
            self.level -= 1
            self._since = self._calm = 0.0

    def starved(self) -> None:
        """Tell that the listener ran out of sound."""
        if self.load > EASY and self._since > SETTLE_SECONDS:
            self._worse()

    def _worse(self) -> None:
        if self.level < MOST:
            self.level += 1
        self._patience = min(2 * self._patience, MOST_PATIENCE_SECONDS)
        self._since = self._calm = 0.0
