"""What fillers by a spectral model share: frames about a gap, levels asked of the model, phase between two borders.

A sound at another rate is resampled for the model; what lies above the model's band is taken from the provisional
filling. Phase: :mod:`latentscape.edit.bordered`.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.edit.bordered import borders, recover, whole_frames
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.hole import Filler, Hole
from latentscape.instrument.labels import Labels
from latentscape.signal import audio
from latentscape.signal.stft import Magnitudes

if TYPE_CHECKING:
    from latentscape.instrument.instrument import Instrument

CONTEXT_SECONDS = 0.5
NEAR_FRAMES = 8
"""Frames next to a border that say what it sounds like."""


@dataclass(frozen=True)
class Around:
    """The frames about a gap.

    Attributes:
        wave: the sound with something provisional in its gap, ``[c, n]``.
        level: of its bins, dB, ``[r, t, m]``, a row a channel.
        whole: which frames see nothing of the gap, ``[t]``.
        left: the last whole frame before the gap; ``None`` where the sound begins with it.
        right: the first whole frame after it; ``None`` where the sound ends with it.
    """

    wave: Float[Tensor, "c n"]
    level: Float[Tensor, "r t m"]
    whole: Bool[Tensor, " t"]
    left: int | None
    right: int | None

    def near(self, side: int) -> tuple[Tensor, Tensor] | None:
        """Return frames next to a border (-1: left, 1: right) and their weights, which sum to 1."""
        place = self.left if side < 0 else self.right
        if place is None:
            return None
        frames = torch.arange(place, place + side * NEAR_FRAMES, side)
        frames = frames[(frames >= 0) & (frames < len(self.whole))]
        weight = torch.linspace(1, 0, NEAR_FRAMES + 1)[: len(frames)]
        return frames, weight / weight.sum()

    def share(self, start: float, end: float) -> Float[Tensor, " t"]:
        """Return how far every frame is on the way from one place to another, 0 to 1."""
        frames = torch.arange(len(self.whole), dtype=torch.float32)
        return ((frames - start) / max(1.0, end - start)).clamp(0, 1)


class Spectral(Filler):
    """A filler that asks a model for the levels of the bins in the gap.

    Args:
        instrument: the run.
        provisional: what fills the gap before the model does: first phases, and the band that the model lacks.
        labels: told to the model.
        temperature: of drawn answers.
    """

    draws = True

    def __init__(
        self,
        instrument: "Instrument",
        sound: Magnitudes,
        provisional: Filler = CopyContext(),
        labels: Labels | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.instrument = instrument
        self.sound = sound
        self.provisional = provisional
        self.labels = labels
        self.temperature = temperature

    @abstractmethod
    def levels(self, around: Around, seed: int | None) -> Float[Tensor, "r t m"]:
        """Return levels (dB) of the bins of every frame; those of whole frames are not looked at."""

    def can(self, hole: Hole) -> bool:
        """Return whether a window and a frame are known on one side at least, in channels that the run takes."""
        longest = max(hole.left.shape[1], hole.right.shape[1]) / hole.rate
        needed = (self.sound.grid.window + 2 * self.sound.hop) / self.sound.sample_rate
        return longest > needed and self.sound.channels in (1, hole.channels)

    def fill(self, hole: Hole, seed: int | None = None) -> np.ndarray:
        """Return the model's filling."""
        first = self.provisional.fill(hole)
        near = hole.within(CONTEXT_SECONDS)
        whole = np.concatenate((near.left, first, near.right), 1)
        start = near.left.shape[1]
        rate = self.sound.sample_rate
        if self.sound.channels not in (1, hole.channels):
            raise UsageError(
                f"the run {self.instrument.name} has {self.sound.channels} channels, the sound has {hole.channels}"
            )
        wave = audio.resample(whole.astype(np.float32), hole.rate, rate)
        low = min(wave.shape[1] - 1, math.floor(start * rate / hole.rate))
        high = min(wave.shape[1], max(low + 1, math.ceil((start + hole.count) * rate / hole.rate)))
        groups = [slice(c, c + self.sound.channels) for c in range(0, hole.channels, self.sound.channels)]
        made = np.concatenate([self._filled(torch.from_numpy(wave[g]), low, high, seed) for g in groups])
        back = _resampled(made, rate, hole.rate, whole.shape[1])
        if rate < hole.rate:  # keep what the model can't have
            back = back + whole - _resampled(wave, rate, hole.rate, whole.shape[1])
        return back[:, start : start + hole.count].astype(np.float64)

    def _filled(self, wave: Float[Tensor, "c n"], low: int, high: int, seed: int | None) -> np.ndarray:
        """Return the sound ``[c, n]`` with samples low to high made anew."""
        grid = self.sound.grid
        known = torch.ones(wave.shape[1], dtype=torch.bool)
        known[low:high] = False
        whole = whole_frames(known, grid)
        around = Around(wave, self.level(grid.analyse(wave).abs()), whole, *borders(known, grid))
        if around.left is None and around.right is None:
            raise DataError(
                f"nothing longer than the run's window ({grid.window / self.sound.sample_rate * 1000:.0f} ms) is known "
                "beside the gap; use --method linear"
            )
        magnitude = self._magnitude(self.levels(around, seed))
        # the phase needs no more than what shares a window with the gap
        margin = 2 * -(-grid.window // grid.hop)
        first = max(0, low // grid.hop - margin)
        last = min(len(whole), -(-high // grid.hop) + margin)
        part = slice(first * grid.hop, min(last * grid.hop, wave.shape[1]))
        made = wave.clone()
        for row, levels in enumerate(magnitude):
            made[row, part] = recover(levels[first:last], wave[row, part], known[part], grid, self.sound.least)
        return made.numpy()

    def level(self, magnitude: Tensor) -> Tensor:
        """Return magnitudes in dB, from the floor up."""
        return 20 * magnitude.clamp_min(self.sound.least).log10()

    def _magnitude(self, level: Tensor) -> Tensor:
        return torch.where(level > self.sound.floor_db + 1e-3, 10 ** (level / 20), 0.0)


def _resampled(wave: np.ndarray, source_rate: int, target_rate: int, n: int) -> np.ndarray:
    """Return ``wave [c, m]`` at another rate, ``[c, n]``: rounding may make it a few samples longer or shorter."""
    found = audio.resample(wave, source_rate, target_rate)
    return np.pad(found, ((0, 0), (0, max(0, n - found.shape[1]))), mode="edge")[:, :n]
