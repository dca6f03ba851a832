"""The wave as it is: features are the samples themselves, ``f = c`` and ``t = n``."""

from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.signal.representation import LiveSynthesiser, Quality, Representation, SoundConfig, fit_length


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
