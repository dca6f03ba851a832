r"""Mu-law codes (ITU-T G.711's formula): small samples get finer steps than large ones.

.. math:: F(x) = \operatorname{sgn}(x) \frac{\ln(1 + \mu |x|)}{\ln(1 + \mu)}, \qquad
          \text{code} = \operatorname{round}\left(\tfrac12 (F(x) + 1) \mu\right) \in \{0, \dots, \mu\}

With mu = 255 there are 256 codes. The error of a sample is at most :math:`(1 + \mu)^{1 / \mu} - 1` of ``|x| + 1 / mu``:
2.2 % (33 dB) for a loud one; the signal-to-noise ratio of a loud sound is about 38 dB.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int, Num
from pydantic import Field
from torch import Tensor

from latentscape.signal.representation import LiveSynthesiser, Quality, Representation, SoundConfig, fit_length
from latentscape.signal.waveform import Immediate


class MuLawConfig(SoundConfig):
    """Mu-law codes.

    Attributes:
        mu: codes run from 0 to ``mu``.
    """

    kind: Literal["mulaw"] = "mulaw"
    mu: int = Field(default=255, ge=1, le=65535)


class MuLaw(Representation):
    """Features are int64 codes ``[b, c, n]`` in 0..mu; samples beyond full scale are clipped."""

    streamable = True
    round_trip = 30.0
    dtype = torch.int64

    def __init__(self, config: MuLawConfig) -> None:
        super().__init__(config)
        self.mu = config.mu
        self.frame_size = config.channels
        self.hop = 1

    def frames(self, n: int) -> int:
        """Return ``n``."""
        return n

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Int[Tensor, "b f t"]:
        """Compress and round to codes."""
        self.check_wave(wave)
        compressed = wave.sign() * torch.log1p(self.mu * wave.abs().clamp(max=1)) / math.log1p(self.mu)
        return torch.round((compressed + 1) / 2 * self.mu).to(torch.int64)

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Expand the codes."""
        self.check_features(features)
        compressed = 2 * features.to(torch.float32) / self.mu - 1
        wave = compressed.sign() * torch.expm1(compressed.abs() * math.log1p(self.mu)) / self.mu
        return fit_length(wave, length)

    def live(self) -> LiveSynthesiser:
        """Return the synthesiser that gives every frame at once."""
        return Immediate(self)
