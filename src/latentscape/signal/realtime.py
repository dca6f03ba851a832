"""Causal synthesis of STFT frames: overlap-add, and real-time phase-gradient heap integration before it.

Letters: r rows (sounds times channels), W window, a hop, k frames so far. After k frames the overlap-add has settled
``k a - W/2`` samples (see :mod:`latentscape.signal.frames`; the first W/2 of the first window lie before the sound).
The phase of a frame needs the frame after it (Prusa and Sondergaard 2016), so that its sound is one more hop behind.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Num
from torch import Tensor

from latentscape.signal import phase
from latentscape.signal.frames import Frames
from latentscape.signal.representation import LiveSynthesiser, fold


@dataclass(frozen=True)
class Overlap:
    """What an overlap-add remembers.

    Attributes:
        count: frames added so far, k.
        wave: the sum beyond the settled samples, ``[r, .]``.
        norm: the sum of squared windows there, ``[1, .]``.
    """

    count: int
    wave: Tensor
    norm: Tensor


@dataclass(frozen=True)
class Pending:
    """What the real-time integration remembers.

    Attributes:
        magnitude: the last frame that has its phase, and the one that waits for the next, ``[r, <= 2, m]``.
        phase: of the former, ``[r, m]`` rad, float64 (the heap always runs on the CPU).
        overlap: of the overlap-add.
    """

    magnitude: Tensor
    phase: np.ndarray
    overlap: Overlap


class LiveExact(LiveSynthesiser):
    """Overlap-add of complex frames as they arrive."""

    def __init__(
        self, grid: Frames, channels: int, spectrum: Callable[[Num[Tensor, "b f t"]], Complex[Tensor, "r t m"]]
    ) -> None:
        self.grid = grid
        self.channels = channels
        self.spectrum = spectrum
        self.latency = grid.window // 2

    def initial(self, batch: int = 1) -> Overlap:
        """Return the state before the first frame."""
        return Overlap(0, torch.zeros(batch * self.channels, 0), torch.zeros(1, 0))

    def push(self, frames: Num[Tensor, "b f t"], state: Overlap) -> tuple[Float[Tensor, "b c n"], Overlap]:
        """Add frames."""
        rows, state = self.add(self.spectrum(frames), state)
        return fold(rows[:, None], self.channels), state

    def flush(self, state: Overlap) -> Float[Tensor, "b c n"]:
        """Return the last W/2 samples."""
        return fold(self.rest(state)[:, None], self.channels)

    def add(self, spectrum: Complex[Tensor, "r t m"], state: Overlap) -> tuple[Float[Tensor, "r n"], Overlap]:
        """Add frames; return the samples that no later frame can touch."""
        grid, count = self.grid, spectrum.shape[1]
        if count == 0:
            return spectrum.real.new_zeros(spectrum.shape[0], 0), state
        window = grid.hann(spectrum)
        wave = grid.overlap_add(torch.fft.irfft(spectrum, n=grid.window) * window)
        norm = grid.overlap_add((window * window).expand(1, count, -1))
        if state.count:
            wave[:, : state.wave.shape[1]] += state.wave
            norm[:, : state.norm.shape[1]] += state.norm
        settled = count * grid.hop
        before = min(settled, max(0, grid.window // 2 - state.count * grid.hop))  # these lie before the sound
        sound = wave[:, before:settled] / norm[:, before:settled]
        return sound, Overlap(state.count + count, wave[:, settled:], norm[:, settled:])

    def rest(self, state: Overlap) -> Float[Tensor, "r n"]:
        """Return the samples up to ``k a``."""
        total, end = state.count * self.grid.hop, self.grid.window // 2
        before = max(0, end - total)
        return state.wave[:, before:end] / state.norm[:, before:end]


class LivePhase(LiveSynthesiser):
    """Real-time phase-gradient heap integration with one frame of look-ahead, then overlap-add."""

    def __init__(
        self,
        grid: Frames,
        channels: int,
        magnitude: Callable[[Num[Tensor, "b f t"]], Float[Tensor, "r t m"]],
        least: float,
    ) -> None:
        self.grid = grid
        self.channels = channels
        self.magnitude = magnitude
        self.least = least
        self.overlap = LiveExact(grid, channels, magnitude)
        self.latency = grid.window // 2 + grid.hop

    def initial(self, batch: int = 1) -> Pending:
        """Return the state before the first frame."""
        rows, bins = batch * self.channels, self.grid.bins
        return Pending(torch.zeros(rows, 0, bins), np.zeros((rows, bins)), self.overlap.initial(batch))

    def push(self, frames: Num[Tensor, "b f t"], state: Pending) -> tuple[Float[Tensor, "b c n"], Pending]:
        """Take frames; every one but the last gets its phase."""
        magnitude = self.magnitude(frames)
        magnitude = torch.cat((state.magnitude.to(magnitude.device), magnitude), dim=1)
        return self._advance(magnitude, state, last=False)

    def flush(self, state: Pending) -> Float[Tensor, "b c n"]:
        """Give the last frame its phase and return the rest of the sound."""
        if state.magnitude.shape[1] == 0:
            return fold(state.magnitude[:, :, 0][:, None], self.channels)
        wave, state = self._advance(state.magnitude, state, last=True)
        return torch.cat((wave, self.overlap.flush(state.overlap)), dim=-1)

    def _advance(self, magnitude: Tensor, state: Pending, *, last: bool) -> tuple[Tensor, Pending]:
        from latentscape.signal import pghi  # numba takes a while to import

        grid, count = self.grid, state.overlap.count
        angles, newest = pghi.recover_causal(
            phase.log_magnitude(magnitude, self.least),
            state.phase,
            count,
            grid.window,
            grid.hop,
            phase.TOLERANCE,
            last=last,
            threads=torch.get_num_threads(),
        )
        first = min(count, 1)
        due = magnitude[:, first : first + angles.shape[1]]
        rows, overlap = self.overlap.add(phase.with_phase(due, angles), state.overlap)
        kept = magnitude[:, max(0, first + angles.shape[1] - 1) :]
        return fold(rows[:, None], self.channels), Pending(kept, newest, overlap)
