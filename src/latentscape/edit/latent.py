r"""The model's way across a gap: a path through the latent space, made sound between two known borders.

Letters: L level of an STFT bin (dB), z latent point, M(z) the level that the model decodes it to, k frame, l and r the
borders, w(k) from 0 to 1 between them, :math:`\bar L_l` and :math:`\bar z_l` weighted means over the frames next to a
border, R residual.

.. math:: L[k] = M(z(k)) + (1 - w)\, R_l + w\, R_r, \qquad R_i = \bar L_i - M(\bar z_i), \\
    z(k) = \gamma(w(k)) + \tau\, \mathrm{bridge}(w(k))

The path :math:`\gamma` (line, sphere, geodesic) says how the sound gets from one side to the other; what the model does
not reproduce of either side is carried across as it is, so that its own error is never heard as a jump. Further answers
add a bridge: an Ornstein-Uhlenbeck process with the spread and the time scale of the codes about their course in
the context, held at nothing at the borders. (With A the covariance of the process at the frames and c its correlation
with the two borders, a draw x is made :math:`x - c^T C^{-1} x_{l,r}`, which is the process under the condition that it
vanishes there.) Before the first or after the last known sample there is one border: the path stays there, and the
process is free at its other end.

Phase: :mod:`latentscape.edit.bordered`. A sound at another rate is resampled for the model; what lies above the
model's band is taken from the provisional filling.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import torch_stream
from latentscape.edit.bordered import borders, recover, whole_frames
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.hole import Filler, Hole
from latentscape.instrument.labels import Labels
from latentscape.instrument.walks import leg
from latentscape.signal import audio
from latentscape.signal.stft import Magnitudes

if TYPE_CHECKING:
    from latentscape.instrument.instrument import Instrument

CONTEXT_SECONDS = 0.5
NEAR_FRAMES = 8
"""Frames next to a border that say what it sounds like."""
PATHS = ("line", "sphere", "geodesic")


class Latent(Filler):
    """A path through a latent space of frames.

    Args:
        instrument: a run of single spectral frames.
        path: line, sphere or geodesic.
        provisional: what fills the gap before the model does: first phases, and the band that the model lacks.
        labels: told to the model.
        temperature: scale of the bridge of drawn answers.

    Raises:
        UsageError: the run is not one of spectral frames, or the path is not known.
    """

    name = "latent"
    draws = True

    def __init__(
        self,
        instrument: "Instrument",
        path: str = "line",
        provisional: Filler = CopyContext(),
        labels: Labels | None = None,
        temperature: float = 1.0,
    ) -> None:
        sound = instrument.representation
        if not isinstance(sound, Magnitudes) or instrument.window.length != 1:
            kind = "images" if sound is None else f"{type(sound).__name__}, windows of {instrument.window.length}"
            raise UsageError(
                f"{instrument.name} can't fill gaps by method latent: expected a run of single spectral frames "
                f"(log_stft or log_mel, window.length 1), got {kind}"
            )
        if path not in PATHS:
            raise UsageError(f"path '{path}' is not known, expected one of: {', '.join(PATHS)}")
        self.instrument = instrument
        self.sound = sound
        self.path = path
        self.provisional = provisional
        self.labels = labels
        self.temperature = temperature

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
        level = self._level(grid.analyse(wave).abs())
        left, right = borders(known, grid)
        whole = whole_frames(known, grid)
        if left is None and right is None:
            raise DataError(
                f"nothing longer than the run's window ({grid.window / self.sound.sample_rate * 1000:.0f} ms) is known "
                "beside the gap; use --method linear"
            )
        codes = self.instrument.encode(wave, self.labels)
        ends = [self._border(codes, level, place, side, whole) for place, side in ((left, -1), (right, 1))]
        ends = [end for end in ends if end is not None]
        frames = torch.arange(len(whole), dtype=torch.float32)
        (z0, r0, t0), (z1, r1, t1) = ends[0], ends[-1]
        share = ((frames - t0) / max(1.0, t1 - t0)).clamp(0, 1)
        path = leg(self.instrument, self.path, z0, z1) if len(ends) == 2 and self.path != "line" else None
        points = torch.lerp(z0, z1, share[:, None]) if path is None else path.evaluate(share.double()).float()
        if seed is not None:
            points = points + self.temperature * self._bridge(codes, whole, left, right, seed)
        level = self.decoded(points) + torch.lerp(r0[:, None], r1[:, None], share[:, None])
        magnitude = self._magnitude(level)
        # the phase needs no more than what shares a window with the gap
        margin = 2 * -(-grid.window // grid.hop)
        first = max(0, low // grid.hop - margin)
        last = min(len(whole), -(-high // grid.hop) + margin)
        part = slice(first * grid.hop, min(last * grid.hop, wave.shape[1]))
        made = wave.clone()
        for row, levels in enumerate(magnitude):
            made[row, part] = recover(levels[first:last], wave[row, part], known[part], grid, self.sound.least)
        return made.numpy()

    def decoded(self, points: Float[Tensor, "t d"]) -> Float[Tensor, "r t m"]:
        """Return the level (dB) of the bins that the model decodes points to, a row a channel."""
        return self._level(self.sound.magnitude(self.instrument.decode(points, self.labels)[None]))

    def _level(self, magnitude: Tensor) -> Tensor:
        return 20 * magnitude.clamp_min(self.sound.least).log10()

    def _magnitude(self, level: Tensor) -> Tensor:
        return torch.where(level > self.sound.floor_db + 1e-3, 10 ** (level / 20), 0.0)

    def _border(
        self, codes: Tensor, level: Tensor, place: int | None, side: int, whole: Tensor
    ) -> tuple[Tensor, Tensor, float] | None:
        """Return the mean point, the residual ``[r, m]`` and the mean frame of what is next to a border."""
        if place is None:
            return None
        frames = torch.arange(place, place + side * NEAR_FRAMES, side)
        frames = frames[(frames >= 0) & (frames < len(whole))]
        weight = torch.linspace(1, 0, NEAR_FRAMES + 1)[: len(frames)]
        weight = weight / weight.sum()
        z = (codes[frames] * weight[:, None]).sum(0)
        mean = (level[:, frames] * weight[:, None]).sum(1)
        return z, mean - self.decoded(z[None])[:, 0], float((frames * weight).sum())

    def _bridge(self, codes: Tensor, whole: Tensor, left: int | None, right: int | None, seed: int) -> Tensor:
        """Return an Ornstein-Uhlenbeck bridge over the frames, ``[t, d]``, nothing at the borders."""
        sides = [codes[:left] if left else codes[:0], codes[right:] if right else codes[:0]]
        deviations = [side - side.mean(0) for side in sides if len(side) > 2]
        if not deviations:
            return torch.zeros_like(codes)
        about = torch.cat(deviations)
        spread = about.std(0)
        following = sum((side[1:] * side[:-1]).sum() for side in deviations) / about.square().sum().clamp_min(1e-12)
        rho = float(torch.as_tensor(following).clamp(0.0, 0.99))
        frames = torch.arange(len(whole), dtype=torch.float64)
        ends = torch.tensor([float(place) for place in (left, right) if place is not None], dtype=torch.float64)
        noise = torch.randn(len(whole), codes.shape[1], generator=torch_stream("inpaint", seed), dtype=torch.float64)
        walk = [noise[0]]
        for row in noise[1:]:
            walk.append(rho * walk[-1] + math.sqrt(1 - rho**2) * row)
        x = torch.stack(walk)
        correlation = rho ** (frames[:, None] - ends).abs()
        at_ends = rho ** (ends[:, None] - ends).abs()
        free = x - correlation @ torch.linalg.solve(at_ends, x[ends.long()])
        return (free * spread).float()


def _resampled(wave: np.ndarray, source_rate: int, target_rate: int, n: int) -> np.ndarray:
    """Return ``wave [c, m]`` at another rate, ``[c, n]``: rounding may make it a few samples longer or shorter."""
    found = audio.resample(wave, source_rate, target_rate)
    return np.pad(found, ((0, 0), (0, max(0, n - found.shape[1]))), mode="edge")[:, :n]


def latent_filler(instrument: "Instrument", labels: Labels | None = None) -> Latent | None:
    """Return the filler of a run of single spectral frames; ``None`` for runs of another kind."""
    fits = isinstance(instrument.representation, Magnitudes) and instrument.window.length == 1
    return Latent(instrument, labels=labels) if fits else None
