"""Short-time Fourier transform: complex and exact, or log-magnitude with the phase recovered.

The transform, its letters and its inverse: :mod:`latentscape.signal.frames`.
"""

import math
from abc import abstractmethod
from typing import Literal

import torch
from jaxtyping import Complex, Float, Num
from pydantic import Field, model_validator
from torch import Tensor

from latentscape.signal import phase
from latentscape.signal.frames import Frames
from latentscape.signal.realtime import LiveExact, LivePhase
from latentscape.signal.representation import (
    LEAST_DENSITY,
    LiveSynthesiser,
    Quality,
    Representation,
    SoundConfig,
    fit_length,
    fold,
    unfold,
)

DB = 20 / math.log(10)
"""Decibels in a neper."""
LONGEST_WINDOW = 2**20
"""Samples: five seconds at the highest rates in use. A mistyped or hostile one would fill the memory."""


class FrameConfig(SoundConfig):
    """Window and hop of a short-time transform.

    Attributes:
        window: W, samples (even).
        hop: a, samples; at most a third of the window.
    """

    window: int = Field(default=1024, ge=4, le=LONGEST_WINDOW, multiple_of=2)
    hop: int = Field(default=256, ge=1)

    @model_validator(mode="after")
    def _overlaps(self) -> "FrameConfig":
        if 3 * self.hop > self.window:
            raise ValueError(f"a hop of at most a third of the window ({self.window} samples), got {self.hop}")
        return self


class StftConfig(FrameConfig):
    """Complex STFT."""

    kind: Literal["stft"] = "stft"


class LogStftConfig(FrameConfig):
    """Log-magnitude STFT.

    Attributes:
        floor_db: the least value of a feature, dB.
    """

    kind: Literal["log_stft"] = "log_stft"
    floor_db: float = -80.0


class Stft(Representation):
    """Features: real parts of the M bins, then imaginary parts, channel after channel; ``f = 2 M c``."""

    round_trip = 110.0

    def __init__(self, config: StftConfig) -> None:
        super().__init__(config)
        self.grid = Frames(config.window, config.hop)
        self.hop = config.hop
        self.frame_size = 2 * self.grid.bins * config.channels

    def frames(self, n: int) -> int:
        """Return ``ceil(n / hop)``."""
        return self.grid.count(n)

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return real and imaginary parts of X."""
        self.check_wave(wave)
        spectrum = torch.view_as_real(self.grid.analyse(wave.flatten(0, 1)))
        return fold(spectrum.permute(0, 3, 2, 1).flatten(1, 2), self.channels)

    def live(self) -> LiveSynthesiser:
        """Return the overlap-add that gives what is settled."""
        return LiveExact(self.grid, self.channels, self.coefficients)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]]:
        """Return the root of the power density."""
        power = torch.view_as_real(self.coefficients(features)).square().sum(-1)
        return density_of(self, power, self.grid.density(self.sample_rate))

    def coefficients(self, features: Num[Tensor, "b f t"]) -> Complex[Tensor, "r t m"]:
        """Return X of features, a row a channel."""
        self.check_features(features)
        real, imaginary = unfold(features, self.channels).unflatten(1, (2, self.grid.bins)).unbind(1)
        return torch.complex(real, imaginary).transpose(1, 2)

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Return the least-squares inverse."""
        wave = self.grid.synthesise(self.coefficients(features), length)
        return fit_length(fold(wave[:, None], self.channels), length)


def density_of(
    representation: "Stft | Magnitudes", power: Float[Tensor, "r t k"], scale: float
) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]]:
    """Return what :meth:`Representation.spectrum` does of power on the grid of bins, a row a channel."""
    mean = power.unflatten(0, (-1, representation.channels)).mean(1).transpose(1, 2) * scale
    return (mean + LEAST_DENSITY).sqrt(), representation.grid.frequencies(representation.sample_rate, power)


class Magnitudes(Representation):
    """A representation that keeps magnitudes only: the phase of its STFT is recovered.

    Attributes:
        refinements: steps of fast Griffin-Lim after heap integration at quality ``best``.
    """

    drops_phase = True
    refinements = 20
    grid: Frames
    floor_db: float

    @property
    def floor(self) -> float:
        """The least feature, dB."""
        return self.floor_db

    @property
    def least(self) -> float:
        """The magnitude of an STFT bin that is taken for nothing."""
        return 10 ** (self.floor_db / 20)

    def frames(self, n: int) -> int:
        """Return ``ceil(n / hop)``."""
        return self.grid.count(n)

    @abstractmethod
    def magnitude(self, features: Num[Tensor, "b f t"]) -> Float[Tensor, "r t m"]:
        """Return the STFT's magnitude, a row a channel."""

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Recover the phase, then invert."""
        if quality == "live":
            live = self.live()
            wave, state = live.push(features, live.initial(features.shape[0]))
            return fit_length(torch.cat((wave, live.flush(state)), dim=-1), length)
        grid, magnitude = self.grid, self.magnitude(features)
        n = magnitude.shape[1] * self.hop if length is None else min(length, magnitude.shape[1] * self.hop)
        spectrum = phase.heap_integration(magnitude, grid.window, grid.hop, self.least)
        if quality == "best":
            # a shorter length leaves silence up to the last frame
            silence = magnitude.shape[1] * self.hop - n
            spectrum = phase.griffin_lim(
                magnitude,
                spectrum,
                lambda wave: grid.analyse(torch.nn.functional.pad(wave, (0, silence))),
                lambda coefficients: grid.synthesise(coefficients, n),
                self.refinements,
            )
        return fit_length(fold(grid.synthesise(spectrum, n)[:, None], self.channels), length)

    def live(self) -> LiveSynthesiser:
        """Return the causal synthesiser, one frame of look-ahead."""
        return LivePhase(self.grid, self.channels, self.magnitude, self.least)


class LogStft(Magnitudes):
    """Features: ``20 log10 max(|X|, floor)`` dB, channel after channel; ``f = M c``."""

    round_trip = -15.0

    def __init__(self, config: LogStftConfig) -> None:
        super().__init__(config)
        self.grid = Frames(config.window, config.hop)
        self.hop = config.hop
        self.floor_db = config.floor_db
        self.frame_size = self.grid.bins * config.channels

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return the level of every bin, dB."""
        self.check_wave(wave)
        power = torch.view_as_real(self.grid.analyse(wave.flatten(0, 1))).square().sum(-1)  # five times as fast as abs
        return fold(10 * power.clamp(min=self.least**2).log10().transpose(1, 2), self.channels)

    def magnitude(self, features: Num[Tensor, "b f t"]) -> Float[Tensor, "r t m"]:
        """Return ``10^(feature / 20)``; what lies at the floor is taken for silence."""
        self.check_features(features)
        level = unfold(features, self.channels).transpose(1, 2)
        return torch.where(level > self.floor_db + 1e-3, torch.exp(level * (1 / DB)), 0.0)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]]:
        """Return the root of the power density."""
        return density_of(self, self.magnitude(features).square(), self.grid.density(self.sample_rate))
