"""What a model of waves hears beside its past: a series of numbers, a step at a time, of every stretch of sound.

Letters: n samples, c channels, m steps.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where a stretch of sound comes from.

    Attributes:
        path: of the file.
        start: of the stretch in it, s.
        speed: seconds of the file for each second of the stretch.
    """

    path: str
    start: float = 0.0
    speed: float = 1.0


class Hearing(ABC):
    """Makes the series of a stretch of sound.

    Attributes:
        hop: samples a step.
        channels: of the series.
    """

    hop: int
    channels: int

    @abstractmethod
    def listen(self, wave: Float[Tensor, "1 n"], place: Place | None = None) -> Float[Tensor, "c m"]:
        """Return the series of a wave, ``ceil(n / hop)`` steps; NaN where a part of it is not known."""
