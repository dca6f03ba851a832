r"""Constant-Q as an invertible non-stationary Gabor transform.

Letters: n samples, a hop, t frames, L = t a the padded length, X the DFT of the padded sound, j its bins, K channels,
:math:`g_k` the window of channel k over frequency. The centre frequencies are :math:`f_k = f_1 2^{(k - 1) / B}`, B an
octave; channel 0 holds all below and channel K - 1 all above, so that nothing is lost. Between neighbouring centres
(u in 0..1) :math:`g_k = \cos^2(\pi u / 2)` and :math:`g_{k+1} = \sin^2(\pi u / 2)`: Hann over frequency.

.. math:: c_k[q] = \frac{2}{L} \sum_{j} X[j] \, g_k[j] \, e^{2 \pi i j q / t}, \qquad
          X[j] = \frac{L}{2 t} \sum_k \tilde g_k[j] \, \mathrm{DFT}(c_k)[j \bmod t], \qquad
          \tilde g_k = g_k / \sum_l g_l^2

Every channel has t coefficients ("matrix form"). The inverse is exact when no window is wider than the frame rate (the
painless case): that bounds the hop. A sine of amplitude A at a centre frequency has :math:`|c_k| = A`. The transform
takes the sound as one whole, and as periodic.

Sources: Velasco, Holighaus, Doerfler, Grill 2011 (transform, dual windows); Holighaus, Doerfler, Velasco, Grill 2013.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Complex, Float, Num
from pydantic import Field
from torch import Tensor

from latentscape.core.errors import ConfigError
from latentscape.signal import phase
from latentscape.signal.representation import (
    LEAST_DENSITY,
    Quality,
    Representation,
    SoundConfig,
    fit_length,
    fold,
    unfold,
    widths,
)


class ConstantQConfig(SoundConfig):
    """A constant-Q grid.

    Attributes:
        low_hz: the lowest centre frequency f_1, Hz.
        high_hz: the highest centre frequency is at most this, Hz; ``None`` is half the sample rate.
        bins_per_octave: B.
        hop: samples a frame; ``None`` is the greatest that allows the inverse.
    """

    low_hz: float = Field(default=32.703, gt=0)
    high_hz: float | None = Field(default=None, gt=0)
    bins_per_octave: int = Field(default=24, ge=1, le=1000)
    hop: int | None = Field(default=None, ge=1)


class NsgtConfig(ConstantQConfig):
    """Complex constant-Q."""

    kind: Literal["nsgt"] = "nsgt"


class LogNsgtConfig(ConstantQConfig):
    """Log-magnitude constant-Q.

    Attributes:
        floor_db: the least value of a feature, dB of full scale.
    """

    kind: Literal["log_nsgt"] = "log_nsgt"
    floor_db: float = -80.0


class Table(NamedTuple):
    """Where bin j goes, for one length: to two channels, in the flat spectrum ``[K t + 1]`` whose last place is a bin.

    Attributes:
        lower: place in the channel below, ``[L / 2 + 1]``.
        upper: place in the channel above.
        window: g of both, ``[2, L / 2 + 1]``.
        dual: the dual windows of both.
    """

    lower: Tensor
    upper: Tensor
    window: Tensor
    dual: Tensor


class ConstantQ:
    """The transform itself, on rows: wave ``[r, n]`` <-> coefficients ``[r, k, t]``.

    Attributes:
        sample_rate: Hz.
        hop: a, samples.
        corners: Hz ``[K]``; the window of channel k rises from corner k - 1 to corner k and falls to corner k + 1.
        centres: centre frequencies of the channels, Hz ``[K]``: the corners, but 0 and half the rate for the outer two.
    """

    def __init__(self, config: ConstantQConfig, sample_rate: int) -> None:
        nyquist = sample_rate / 2
        high = min(config.high_hz or nyquist, nyquist)
        octaves = math.log2(max(high / config.low_hz, 1.0))
        count = math.floor(octaves * config.bins_per_octave + 1e-9) + 1
        corners = config.low_hz * 2 ** (torch.arange(-1, count + 1, dtype=torch.float64) / config.bins_per_octave)
        corners = corners[corners <= nyquist]
        if len(corners) < 3 or config.low_hz > high:
            raise ConfigError(f"constant-Q from {config.low_hz} to {high} Hz at {sample_rate} Hz has no channel")
        widths = torch.cat((corners[1:2], corners[2:] - corners[:-2], nyquist - corners[-2:-1]))
        longest = max(1, math.floor(sample_rate / float(widths.max())))
        self.hop = config.hop or longest
        if self.hop > longest:
            raise ConfigError(
                f"constant-Q: hop {self.hop} is too long to be inverted, expected at most {longest} samples"
            )
        self.sample_rate = sample_rate
        self.corners = corners
        self.centres = corners.clone()
        self.centres[0], self.centres[-1] = 0.0, nyquist
        self._tables: dict[tuple[int, torch.device], Table] = {}

    def frames(self, n: int) -> int:
        """Return ``ceil(n / a)``."""
        return -(-n // self.hop)

    def table(self, t: int, device: torch.device) -> Table:
        """Return places and windows for sounds of ``t`` frames; those of the last few lengths are kept."""
        key = (t, device)
        if key not in self._tables:
            if len(self._tables) >= 8:
                self._tables.pop(next(iter(self._tables)), None)
            self._tables[key] = self._make_table(t, device)
        return self._tables[key]

    def _make_table(self, t: int, device: torch.device) -> Table:
        channels, length = len(self.corners), t * self.hop
        bins = torch.arange(length // 2 + 1)
        frequency = bins.double() * (self.sample_rate / length)
        lower = (torch.bucketize(frequency, self.corners, right=True) - 1).clamp(0, channels - 2)
        start, end = self.corners[lower], self.corners[lower + 1]
        u = ((frequency - start) / (end - start)).clamp(0, 1)  # the outer channels are flat: 0 or 1
        window = torch.stack((torch.cos(math.pi / 2 * u) ** 2, torch.sin(math.pi / 2 * u) ** 2))
        window[0, u == 1] = 0
        # a place is taken only by a bin inside the window: others, t apart, would write over it
        places = [torch.where(window[i] > 0, (lower + i) * t + bins % t, channels * t).to(device) for i in range(2)]
        dual = window / window.square().sum(dim=0)
        return Table(places[0], places[1], window.float().to(device), dual.float().to(device))

    def density(
        self, power: Float[Tensor, "r k t"], channels: int
    ) -> tuple[Float[Tensor, "b k t"], Float[Tensor, " k"]]:
        """Return the root of the power density of :math:`|c|^2`, a row a channel, and the centre frequencies.

        A sine has :math:`|c|^2` of :math:`A^2` at a centre and of half that in all between two: 3/4 of it on average.
        So the mean square :math:`A^2 / 2` is two thirds of it, spread over the Hz that the channel has.
        """
        centres = self.centres.to(power)
        mean = power.unflatten(0, (-1, channels)).mean(1) / (1.5 * widths(centres)[:, None])
        return (mean + LEAST_DENSITY).sqrt(), centres

    def analyse(self, wave: Float[Tensor, "r n"]) -> Complex[Tensor, "r k t"]:
        """Return c."""
        t = self.frames(wave.shape[1])
        table = self.table(t, wave.device)
        spectrum = torch.fft.rfft(torch.nn.functional.pad(wave, (0, t * self.hop - wave.shape[1])))
        spread = spectrum.new_zeros(wave.shape[0], len(self.corners) * t + 1)
        spread[:, table.lower] = spectrum * table.window[0]
        spread[:, table.upper] = spectrum * table.window[1]
        return torch.fft.ifft(spread[:, :-1].unflatten(1, (-1, t))) * (2 / self.hop)

    def synthesise(self, coefficients: Complex[Tensor, "r k t"], length: int | None = None) -> Float[Tensor, "r n"]:
        """Return the wave by the dual windows, ``t a`` samples or the first ``length`` of them."""
        t = coefficients.shape[2]
        table = self.table(t, coefficients.device)
        spread = torch.nn.functional.pad(torch.fft.fft(coefficients).flatten(1), (0, 1))
        spectrum = spread[:, table.lower] * table.dual[0] + spread[:, table.upper] * table.dual[1]
        return torch.fft.irfft(spectrum * (self.hop / 2), n=t * self.hop)[:, :length]


class Nsgt(Representation):
    """Features: real, then imaginary parts of the K channels, one channel of the sound after another; ``f = 2 K c``."""

    round_trip = 100.0

    def __init__(self, config: NsgtConfig) -> None:
        super().__init__(config)
        self.grid = ConstantQ(config, self.sample_rate)
        self.hop = self.grid.hop
        self.frame_size = 2 * len(self.grid.corners) * config.channels

    def frames(self, n: int) -> int:
        """Return ``ceil(n / hop)``."""
        return self.grid.frames(n)

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return real and imaginary parts of c."""
        self.check_wave(wave)
        coefficients = torch.view_as_real(self.grid.analyse(wave.flatten(0, 1)))
        return fold(coefficients.permute(0, 3, 1, 2).flatten(1, 2), self.channels)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]]:
        """Return the root of the power density."""
        self.check_features(features)
        power = unfold(features, self.channels).unflatten(1, (2, -1)).square().sum(1)
        return self.grid.density(power, self.channels)

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Return the exact inverse."""
        self.check_features(features)
        real, imaginary = unfold(features, self.channels).unflatten(1, (2, -1)).unbind(1)
        wave = self.grid.synthesise(torch.complex(real, imaginary), length)
        return fit_length(fold(wave[:, None], self.channels), length)


class LogNsgt(Representation):
    r"""Features: ``20 log10 max(|c|, floor)`` dB of full scale, sound channel after sound channel; ``f = K c``.

    The phase is begun as if every channel held a steady sine at its centre, :math:`2 \pi f_k a q / f_s`, which narrow
    channels make a good guess, and refined by fast Griffin-Lim with this transform's own projection. The transform
    needs the whole sound, so that ``live`` is the same as ``fast``: no refinement.

    Attributes:
        refinements: steps of fast Griffin-Lim at quality ``best``.
    """

    drops_phase = True
    round_trip = -20.0
    refinements = 30

    def __init__(self, config: LogNsgtConfig) -> None:
        super().__init__(config)
        self.grid = ConstantQ(config, self.sample_rate)
        self.hop = self.grid.hop
        self.floor_db = config.floor_db
        self.frame_size = len(self.grid.corners) * config.channels

    @property
    def floor(self) -> float:
        """The least feature, dB."""
        return self.floor_db

    def frames(self, n: int) -> int:
        """Return ``ceil(n / hop)``."""
        return self.grid.frames(n)

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return the level of every channel, dB."""
        self.check_wave(wave)
        magnitude = self.grid.analyse(wave.flatten(0, 1)).abs()
        return fold(20 * magnitude.clamp(min=10 ** (self.floor_db / 20)).log10(), self.channels)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]]:
        """Return the root of the power density."""
        self.check_features(features)
        level = unfold(features, self.channels)
        power = torch.where(level > self.floor_db + 1e-3, 10 ** (level / 10), 0.0)
        return self.grid.density(power, self.channels)

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Recover the phase, then invert."""
        self.check_features(features)
        grid, t = self.grid, features.shape[2]
        level = unfold(features, self.channels)
        magnitude = torch.where(level > self.floor_db + 1e-3, 10 ** (level / 20), 0.0)
        turns = grid.centres[:, None] * (torch.arange(t, dtype=torch.float64) * self.hop / self.sample_rate)
        angle = (2 * math.pi * (turns % 1)).to(magnitude)
        n = t * self.hop if length is None else min(length, t * self.hop)

        def analyse(wave: Tensor) -> Tensor:
            return grid.analyse(torch.nn.functional.pad(wave, (0, t * self.hop - n)))

        coefficients = phase.griffin_lim(
            magnitude,
            torch.polar(torch.ones_like(magnitude), angle.expand_as(magnitude)),
            analyse,
            lambda c: grid.synthesise(c, n),
            self.refinements if quality == "best" else 0,
        )
        return fit_length(fold(grid.synthesise(coefficients, n)[:, None], self.channels), length)
