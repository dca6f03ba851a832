"""A hole: what is known on both sides of a gap, and what every way to fill one has to give.

Letters: c channels, l and r samples known before and after, g samples missing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from latentscape.core.errors import DataError


@dataclass(frozen=True)
class Hole:
    """A gap with its surroundings.

    Attributes:
        left: what is known before, ``[c, l]`` float64; ``l`` is 0 at the begin of a sound.
        right: what is known after, ``[c, r]``; ``r`` is 0 at its end.
        count: g.
        rate: Hz.

    Raises:
        DataError: nothing is known on either side, nothing is missing, or the sides differ in channels.
    """

    left: np.ndarray
    right: np.ndarray
    count: int
    rate: int

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[0] != self.right.shape[0]:
            raise DataError(f"got sides {self.left.shape} and {self.right.shape} of a gap, expected [c, l] and [c, r]")
        if not self.left.shape[1] + self.right.shape[1]:
            raise DataError("the whole sound is missing: there is nothing to fill it in from")
        if self.count < 1:
            raise DataError(f"got a gap of {self.count} samples, expected at least 1")

    @property
    def channels(self) -> int:
        """Number of channels, c."""
        return self.left.shape[0]

    @property
    def seconds(self) -> float:
        """Length of the gap, s."""
        return self.count / self.rate

    def reversed(self) -> "Hole":
        """Return the hole with time running backward."""
        return Hole(self.right[:, ::-1], self.left[:, ::-1], self.count, self.rate)

    def within(self, seconds: float) -> "Hole":
        """Return the hole with at most ``seconds`` known on either side."""
        most = max(1, round(seconds * self.rate))
        return Hole(self.left[:, -most:], self.right[:, :most], self.count, self.rate)


class Filler(ABC):
    """A way to fill a hole.

    Attributes:
        name: as the shell knows it.
        draws: whether it has more than one answer.
    """

    name: str
    draws: bool = False

    def can(self, hole: Hole) -> bool:
        """Return whether enough is known around the hole."""
        return True

    @abstractmethod
    def fill(self, hole: Hole, seed: int | None = None) -> np.ndarray:
        """Return what may have been there, ``[c, g]`` float64.

        Args:
            hole: the gap and what is around it.
            seed: of a drawn answer; ``None`` is the likeliest one.
        """


def cross_fade(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r"""Fade from ``first [..., n]`` to ``second`` over all their length.

    With weights v + w = 1 (w a half cosine) and correlation :math:`\rho` of the two, the sum is divided by
    :math:`\sqrt{v^2 + w^2 + 2 \rho v w}`, so that its level has no dip where the two have nothing in common
    (:math:`\rho` below 0 is taken for 0).
    """
    w = np.sin(0.5 * np.pi * (np.arange(first.shape[-1]) + 0.5) / max(1, first.shape[-1])) ** 2
    energy = np.sqrt((first**2).sum(-1, keepdims=True) * (second**2).sum(-1, keepdims=True))
    common = (first * second).sum(-1, keepdims=True)
    rho = np.clip(np.divide(common, energy, out=np.ones_like(common), where=energy > 0), 0, 1)
    return (first * (1 - w) + second * w) / np.sqrt(w**2 + (1 - w) ** 2 + 2 * rho * w * (1 - w))
