"""Gains that change without a click."""

import numpy as np


class Ramp:
    """A gain that goes to its goal in a straight line.

    Attributes:
        value: where it is.
        goal: where it goes.
    """

    def __init__(self, value: float) -> None:
        self.value = self.goal = value
        self._step = 0.0

    @property
    def silent(self) -> bool:
        """Whether it is 0 and stays so."""
        return self.value == 0 == self.goal

    def to(self, goal: float, samples: float) -> None:
        """Go to ``goal`` within ``samples``."""
        self.goal = goal
        self._step = (goal - self.value) / max(1.0, samples)

    def take(self, n: int) -> float | np.ndarray:
        """Return the gain of the next n samples: one number where it rests, else ``[n]`` float32."""
        if self.value == self.goal:
            return self.goal
        line = self.value + self._step * np.arange(1, n + 1)
        line = np.minimum(line, self.goal) if self._step > 0 else np.maximum(line, self.goal)
        self.value = float(line[-1])
        return line.astype(np.float32)
