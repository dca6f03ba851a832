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
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.random import torch_stream
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.hole import Filler
from latentscape.edit.spectral import Around, Spectral
from latentscape.instrument.labels import Labels
from latentscape.instrument.walks import leg
from latentscape.signal.stft import Magnitudes

if TYPE_CHECKING:
    from latentscape.instrument.instrument import Instrument

PATHS = ("line", "sphere", "geodesic")


class Latent(Spectral):
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
        super().__init__(instrument, sound, provisional, labels, temperature)
        self.path = path

    def levels(self, around: Around, seed: int | None) -> Float[Tensor, "r t m"]:
        """Return what the model decodes along the path, with what it loses of either border carried across."""
        codes = self.instrument.encode(around.wave, self.labels)
        ends = [end for end in (self._border(codes, around, side) for side in (-1, 1)) if end is not None]
        (z0, r0, t0), (z1, r1, t1) = ends[0], ends[-1]
        share = around.share(t0, t1)
        path = leg(self.instrument, self.path, z0, z1) if len(ends) == 2 and self.path != "line" else None
        points = torch.lerp(z0, z1, share[:, None]) if path is None else path.evaluate(share.double()).float()
        if seed is not None:
            points = points + self.temperature * self._bridge(codes, around, seed)
        return self.decoded(points) + torch.lerp(r0[:, None], r1[:, None], share[:, None])

    def decoded(self, points: Float[Tensor, "t d"]) -> Float[Tensor, "r t m"]:
        """Return the level (dB) of the bins that the model decodes points to, a row a channel."""
        return self.level(self.sound.magnitude(self.instrument.decode(points, self.labels)[None]))

    def _border(self, codes: Tensor, around: Around, side: int) -> tuple[Tensor, Tensor, float] | None:
        """Return the mean point, the residual ``[r, m]`` and the mean frame of what is next to a border."""
        near = around.near(side)
        if near is None:
            return None
        frames, weight = near
        z = (codes[frames] * weight[:, None]).sum(0)
        mean = (around.level[:, frames] * weight[:, None]).sum(1)
        return z, mean - self.decoded(z[None])[:, 0], float((frames * weight).sum())

    def _bridge(self, codes: Tensor, around: Around, seed: int) -> Tensor:
        """Return an Ornstein-Uhlenbeck bridge over the frames, ``[t, d]``, nothing at the borders."""
        left, right = around.left, around.right
        sides = [codes[:left] if left else codes[:0], codes[right:] if right else codes[:0]]
        deviations = [side - side.mean(0) for side in sides if len(side) > 2]
        if not deviations:
            return torch.zeros_like(codes)
        about = torch.cat(deviations)
        spread = about.std(0)
        following = sum((side[1:] * side[:-1]).sum() for side in deviations) / about.square().sum().clamp_min(1e-12)
        rho = float(torch.as_tensor(following).clamp(0.0, 0.99))
        frames = torch.arange(len(around.whole), dtype=torch.float64)
        ends = torch.tensor([float(place) for place in (left, right) if place is not None], dtype=torch.float64)
        noise = torch.randn(
            len(around.whole), codes.shape[1], generator=torch_stream("inpaint", seed), dtype=torch.float64
        )
        walk = [noise[0]]
        for row in noise[1:]:
            walk.append(rho * walk[-1] + math.sqrt(1 - rho**2) * row)
        x = torch.stack(walk)
        correlation = rho ** (frames[:, None] - ends).abs()
        at_ends = rho ** (ends[:, None] - ends).abs()
        free = x - correlation @ torch.linalg.solve(at_ends, x[ends.long()])
        return (free * spread).float()


def latent_filler(instrument: "Instrument", labels: Labels | None = None) -> Latent | None:
    """Return the filler of a run of single spectral frames; ``None`` for runs of another kind."""
    fits = isinstance(instrument.representation, Magnitudes) and instrument.window.length == 1
    return Latent(instrument, labels=labels) if fits else None
