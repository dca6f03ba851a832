"""The wave as it is: features are the samples themselves, ``f = c`` and ``t = n``."""

from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.signal.representation import (
    LEAST_DENSITY,
    LiveSynthesiser,
    Quality,
    Representation,
    SoundConfig,
    fit_length,
)

_FEWEST = 64


class WaveformConfig(SoundConfig):
    """The wave itself."""

    kind: Literal["waveform"] = "waveform"


class Waveform(Representation):
    """Features ``[b, c, n]`` are the samples, full scale 1."""

    streamable = True
    round_trip = float("inf")

    def __init__(self, config: WaveformConfig) -> None:
        super().__init__(config)
        self.frame_size = config.channels
        self.hop = 1

    def frames(self, n: int) -> int:
        """Return ``n``."""
        return n

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return a copy of the wave."""
        self.check_wave(wave)
        return wave.clone()

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Return the features, cut or padded to ``length``."""
        self.check_features(features)
        return fit_length(features.clone(), length)

    def live(self) -> LiveSynthesiser:
        """Return the synthesiser that gives every frame at once."""
        return Immediate(self)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]] | None:
        """Return the root of the power density of all samples together; ``None`` for too few of them to have one."""
        self.check_features(features)
        n = features.shape[2]
        if n < _FEWEST:
            return None
        hann = torch.hann_window(n, device=features.device)
        power = torch.view_as_real(torch.fft.rfft(features * hann)).square().sum(-1).mean(1)
        scale = 16 / (3 * n * self.sample_rate)  # as of latentscape.signal.frames
        frequencies = torch.arange(n // 2 + 1, device=features.device) * (self.sample_rate / n)
        return (power[..., None] * scale + LEAST_DENSITY).sqrt(), frequencies


class Immediate(LiveSynthesiser):
    """Live synthesis of a representation whose frames don't overlap: nothing is held back.

    The state is an empty wave ``[b, c, 0]``.
    """

    latency = 0

    def __init__(self, representation: Representation) -> None:
        self.representation = representation

    def initial(self, batch: int = 1) -> Tensor:
        """Return an empty wave."""
        return torch.zeros(batch, self.representation.channels, 0)

    def push(self, frames: Num[Tensor, "b f t"], state: Tensor) -> tuple[Float[Tensor, "b c n"], Tensor]:
        """Return the frames as sound."""
        return self.representation.synthesise(frames), state

    def flush(self, state: Tensor) -> Float[Tensor, "b c n"]:
        """Return no samples."""
        return state
