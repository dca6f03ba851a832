r"""Pitch over time: YIN, and how far a frame agrees with itself one period later.

Letters: n samples, t frames, m steps of a hop, :math:`f_0` the pitch in Hz, :math:`\rho` the correlation of a frame
less its mean with itself one period later, over what both have of the frame.

YIN (:mod:`latentscape.signal.yin`) always gives a value; where :math:`\rho < 0.8` there is none.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import UsageError
from latentscape.signal.frames import centred
from latentscape.signal.yin import FASTEST, probabilistic_yin, yin

VOICED = 0.8
"""Least correlation of a voiced frame with itself one period later."""
MIDDLE_HZ = 200.0
_ROUNDING = 1e-20
"""Of a frame's energy: what is left of a constant less its mean."""


class PitchConfig(Record):
    """The contour of the fundamental.

    Attributes:
        hop: samples a step.
        window: samples a frame; ``None``: the power of two at or above 2.2 periods of ``low_hz``.
        low_hz, high_hz: least and greatest pitch.
    """

    kind: Literal["pitch"] = "pitch"
    hop: int = Field(default=256, ge=1)
    window: int | None = Field(default=None, ge=16)
    low_hz: float = Field(default=60.0, gt=0)
    high_hz: float = Field(default=600.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "PitchConfig":
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz below high_hz, got {self.low_hz:g} and {self.high_hz:g}")
        return self


def contour(config: PitchConfig, wave: Float[Tensor, "c n"], sample_rate: int) -> Float[Tensor, "2 m"]:
    r"""Return the contour of a wave, ``ceil(n / hop)`` steps: :math:`\log_2 (f_0 / 200)` or 0, and 1 where voiced.

    Raises:
        UsageError: no pitch fits the window and the rate.
    """
    window = config.window or 1 << int(np.ceil(np.log2(2.2 * sample_rate / config.low_hz)))
    mono = wave.detach().cpu().double().mean(0).numpy()
    steps = -(-mono.size // config.hop)
    padded = np.pad(mono, (0, max(0, window - mono.size)))
    found = track(padded, sample_rate, window, config.hop, "voiced", (config.low_hz, config.high_hz))[:steps]
    voiced = np.isfinite(found)
    octaves = np.log2(np.where(voiced, found, MIDDLE_HZ) / MIDDLE_HZ)
    return torch.from_numpy(np.stack([octaves, voiced.astype(float)])).float()


def track(
    mono: np.ndarray,
    sample_rate: int,
    window: int,
    hop: int,
    estimator: Literal["yin", "voiced", "pyin"],
    pitch_range: tuple[float, float],
) -> np.ndarray:
    """Return the pitch of frames centred on every ``hop``-th sample ``[t]``, Hz.

    Args:
        mono: ``[n]``, at least a window.
        sample_rate: Hz.
        window: samples a frame.
        hop: samples between frames.
        estimator: ``yin``; ``voiced``, with NaN where unvoiced; or probabilistic YIN (10 times slower).
        pitch_range: least and greatest pitch, Hz.

    Raises:
        UsageError: no pitch range fits the window and the rate.
    """
    low = max(pitch_range[0], 2.2 * sample_rate / window)  # YIN compares a frame with itself two periods later
    high = min(pitch_range[1], sample_rate / 2.2)
    if low >= high:
        at = f"a window of {window} samples at {sample_rate} Hz"
        raise UsageError(f"pitch_range {pitch_range} Hz does not fit {at}, which can tell {low:.0f} to {high:.0f} Hz")
    if estimator == "pyin":
        # the fastest glide must not leap over the whole range from frame to frame
        glide = min(FASTEST, 0.9 * np.log2(high / low) * sample_rate / hop)
        return probabilistic_yin(mono, sample_rate, window, hop, low, high, glide)
    pitch = yin(mono, sample_rate, window, hop, low, high)
    if estimator == "yin":
        return pitch
    return np.where(_periodicity(centred(mono, window, hop), sample_rate / pitch) < VOICED, np.nan, pitch)


def _periodicity(frames: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Return the correlation of each frame with itself one period later ``[t]``, over what both have of the frame.

    Less its mean: an offset agrees with itself at every lag, and what lies on it would have any pitch.
    """
    whole = (frames**2).sum(1)
    frames = frames - frames.mean(1, keepdims=True)
    lag = np.rint(period).astype(int)
    place = np.arange(frames.shape[1])
    later = np.take_along_axis(frames, np.minimum(place + lag[:, None], frames.shape[1] - 1), 1)
    both = place + lag[:, None] < frames.shape[1]
    energy = np.sqrt((frames**2 * both).sum(1) * (later**2 * both).sum(1))
    return (frames * later * both).sum(1) / np.where(energy > _ROUNDING * whole, energy, np.inf)
