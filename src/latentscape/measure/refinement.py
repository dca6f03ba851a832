r"""What is heard of one pass of a refinement: its level and spectrum, and how far it has moved from the pass before.

Letters: x wave ``[c, n]``. Level is :math:`20 \log_{10}` of the root mean square, dBFS. Centroid (Hz) and flatness (dB)
are medians over frames that are not silent (brightness and noisiness of :mod:`latentscape.measure.spectral`); movement
is the log-spectral distance of :class:`latentscape.measure.reconstruction.LogSpectralDistance`, frames of 64 ms.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.reconstruction import LogSpectralDistance
from latentscape.measure.spectral import describe_clip

HEARD = {"level": "dBFS", "centroid": "Hz", "flatness": "dB"}
"""What is heard, and its unit."""
_LEAST = 1e-6
_FRAME_SECONDS = 0.064


@dataclass(frozen=True)
class Heard:
    """Level (dBFS), centroid (Hz) and flatness (dB) of a sound; the latter are NaN for silence."""

    level: float
    centroid: float
    flatness: float


@dataclass(frozen=True)
class Usual:
    """Quantiles 5 and 95 % of what is heard in a corpus's windows, by name."""

    low: Mapping[str, float]
    high: Mapping[str, float]

    def holds(self, heard: Heard) -> dict[str, bool]:
        """Say of each descriptor whether it lies in the corpus's range."""
        return {name: self.low[name] <= getattr(heard, name) <= self.high[name] for name in HEARD}

    def excess(self, heard: Heard) -> float:
        """Return how far outside it lies, summed over descriptors in widths of their ranges; infinite for silence."""
        total = 0.0
        for name in HEARD:
            low, value, high = self.low[name], getattr(heard, name), self.high[name]
            if math.isnan(value):
                return math.inf
            total += max(low - value, value - high, 0.0) / max(high - low, _LEAST)
        return total


def hear(wave: Float[Tensor, "c n"], sample_rate: int) -> Heard:
    """Return what is heard of a sound."""
    level = 20 * math.log10(max(float(wave.double().square().mean().sqrt()), _LEAST))
    found = describe_clip(wave.detach().cpu().numpy(), sample_rate)
    return Heard(level, found["brightness"], found["noisiness"])


def usual(windows: Iterable[Float[Tensor, "c n"]], sample_rate: int) -> Usual:
    """Return what is usual among the windows of a corpus; silent ones (under -60 dBFS) say nothing.

    Raises:
        DataError: none of them sounds.
    """
    found = [heard for wave in windows if (heard := hear(wave, sample_rate)).level > -60]
    if not found:
        raise DataError("none of the corpus's windows sounds, so nothing is usual there")
    values = {name: np.array([getattr(heard, name) for heard in found]) for name in HEARD}
    low, high = ({name: float(np.nanquantile(value, q)) for name, value in values.items()} for q in (0.05, 0.95))
    return Usual(low, high)


def spectral_step(before: Float[Tensor, "c n"], after: Float[Tensor, "c n"], sample_rate: int) -> float:
    """Return the log-spectral distance of two sounds of the same length, dB."""
    window = 1 << round(math.log2(_FRAME_SECONDS * sample_rate))
    return LogSpectralDistance(window, window // 4).metric(before, after)
