r"""A bank of oscillators of fixed frequencies and phases: what is written is how loud each is, in the course of time.

Letters: b batch, c channels, n samples, K oscillators, H hop, T = ceil(n / H) frames, r = (t - m H) / H the place of
sample t within its frame m, a three times (``GAIN``) the inner net's output ``[b, c K, T + 1]``, about a quiet level
and held back together where :math:`\sum_k A_k^2 / 2` is beyond a loud one (``LOUDEST``).

.. math::
    y(t) = \sum_{k=1}^K A_k(t) \cos(2 \pi f_k t + \varphi_k), \qquad
    A_k(t) = (1 - r)\, e^{a_{k,m}} + r\, e^{a_{k,m+1}}, \qquad f_k = f_1 2^{(k - 1) / P}

This is the sum of sinusoids of McAulay and Quatieri (1986), whose amplitudes a decoder writes as in the additive
synthesis of Engel et al. (2020), with the frequencies held: P an octave, equally tempered. A code of ten numbers has no
room for the phase of everything it describes; here it need not: the phases are the bank's,
:math:`\varphi_k = 2 \pi \{k^2 g\}` with g the golden ratio's fraction and {} the fractional part (equidistributed, and
so are their differences), so that neighbours neither begin together nor chirp. What is asked of such a wave must be
blind to phase (:mod:`latentscape.models.perceptual`, ``distortion: 0``): squared error would ask for silence.

With :math:`\cos(\theta + \omega j) = \cos\theta \cos\omega j - \sin\theta \sin\omega j` a frame is one product of
amplitudes, turned by the phase :math:`\theta_{k,m}` at its begin, with a fixed matrix ``[4 K, H]``. It is made in
float32, whatever autocast does.

The reader is a convolutional net over log spectra (:class:`latentscape.nets.ear.LogSpectra`): what phase has no part
in, on that side too.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.core.limits import held_below
from latentscape.core.precision import without_autocast
from latentscape.nets.conv import ConvConfig, ConvReader, ConvWriter
from latentscape.nets.ear import LogSpectra

GOLDEN = (math.sqrt(5) - 1) / 2
START = 0.1
"""Root mean square of a wave whose net writes zeros, in standardised units."""
GAIN = 3.0
"""Log amplitudes a unit of the net's output: those of sound span some 60 dB, outputs of nets begin about 1."""
LOUDEST = 1.5
"""Log of the root mean square, in standardised units (13 dB), from which on all that sounds at a time is held back
softly; it never reaches 1 (9 dB) more. Points that the corpus leaves out would be hundreds of times as loud as it."""


class BankConfig(Record):
    """A bank's frequencies, and the net inside.

    Attributes:
        net: writes ``[c K, T + 1]`` log amplitudes, or reads ``[c f, T]`` log spectra; convolved along time unless its
            ``dims`` are 2.
        lowest: frequency of the first oscillator, cycles a sample (40 Hz at 16 kHz are 0.0025; writer only).
        highest: bound of the frequencies, cycles a sample (writer only).
        per_octave: oscillators an octave, P; 48 are a quarter of a semitone apart (writer only).
        hop: samples between two points of the amplitudes, and two spectra of the reader.
        frame: samples of a spectrum (reader only).
    """

    kind: Literal["bank"] = "bank"
    net: ConvConfig = ConvConfig(channels=(128, 128, 128, 128), dense=(256,))
    lowest: float = Field(0.0025, ge=1e-6)
    highest: float = Field(0.49, lt=0.5)
    per_octave: int = Field(48, ge=1, le=1000)
    hop: int = Field(256, ge=1, le=2**14)
    frame: int = Field(1024, ge=2, le=2**20)

    @model_validator(mode="after")
    def _fits(self) -> "BankConfig":
        if self.lowest > self.highest or self.hop > self.frame:
            raise ValueError(
                f"lowest <= highest and a hop within the frame (got {self.lowest:g}, {self.highest:g}, "
                f"{self.hop}/{self.frame})"
            )
        return self

    @property
    def oscillators(self) -> int:
        """How many there are, K."""
        return 1 + math.floor(self.per_octave * math.log2(self.highest / self.lowest) + 1e-9)


def _layout(config: BankConfig, event_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, samples and frames of an event.

    Raises:
        ConfigError: it is no raw window.
    """
    if len(event_shape) != 2:
        raise ConfigError(f"net bank got x of shape {event_shape}, expected a raw window [c, n]")
    channels, samples = event_shape
    return channels, samples, -(-samples // config.hop)


class BankReader(nn.Module):
    """Reads x ``[b, c, n]``; extra numbers ``[b, e]`` are heard at every frame."""

    def __init__(
        self, config: BankConfig, event_shape: tuple[int, ...], extra: int, outputs: int, told: int = 0
    ) -> None:
        super().__init__()
        channels, _, frames = _layout(config, event_shape)
        self.spectra = LogSpectra(config.frame, config.hop)
        self.net = ConvReader(config.net, (channels * self.spectra.bins, frames), extra, outputs, told)

    def forward(
        self, x: Float[Tensor, "b c n"], extra: Tensor | None = None, told: Tensor | None = None
    ) -> Float[Tensor, "b o"]:
        """Return ``[b, outputs]``."""
        spectra = self.spectra(x.flatten(0, 1)).unflatten(0, x.shape[:2]).flatten(1, 2)
        return self.net(spectra, extra, told)


class Oscillators(nn.Module):
    """The fixed part: amplitudes in, wave out (see the module).

    Args:
        config: frequencies and hop.
        samples: n.
    """

    matrix: Tensor
    begin: Tensor

    def __init__(self, config: BankConfig, samples: int) -> None:
        super().__init__()
        self.samples = samples
        k = torch.arange(config.oscillators, dtype=torch.float64)
        frequency = config.lowest * 2 ** (k / config.per_octave)
        starts = torch.arange(-(-samples // config.hop), dtype=torch.float64) * config.hop
        turns = (starts[:, None] * frequency + (k * k * GOLDEN)).frac()  # float64: late frames are many turns away
        within = torch.arange(config.hop, dtype=torch.float64)
        angle, rise = 2 * math.pi * frequency[:, None] * within, within / config.hop
        ramps = [part * ramp for ramp in (1 - rise, rise) for part in (angle.cos(), -angle.sin())]
        # They follow from the configuration, so they are not stored with the weights.
        self.register_buffer("matrix", torch.cat(ramps).float(), persistent=False)
        theta = 2 * math.pi * turns
        self.register_buffer("begin", torch.cat([theta.cos(), theta.sin()], 1).float(), persistent=False)

    def forward(self, amplitudes: Float[Tensor, "b c k m"]) -> Float[Tensor, "b c n"]:
        """Return the wave of amplitudes at the frames' borders."""
        points = amplitudes.transpose(2, 3).repeat(1, 1, 1, 2)
        turned = torch.cat([points[:, :, :-1] * self.begin, points[:, :, 1:] * self.begin], dim=3)
        return (turned @ self.matrix).flatten(2)[..., : self.samples]


class BankWriter(nn.Module):
    """Writes a wave ``[b, c n]``, then ``items`` numbers an item.

    Raises:
        ConfigError: the likelihood needs more than one number a sample.
    """

    def __init__(
        self,
        config: BankConfig,
        inputs: int,
        event_shape: tuple[int, ...],
        channels: int,
        items: int,
        told: int = 0,
    ) -> None:
        super().__init__()
        if channels != 1:
            raise ConfigError(
                f"net bank writes one number a sample, the wave, but the likelihood needs {channels}: take 'gaussian' "
                "or 'laplace' with scale 'optimal', 'fixed', 'scalar', 'feature' or 'item'"
            )
        waves, samples, frames = _layout(config, event_shape)
        self.shape = (waves, config.oscillators, frames + 1)
        self.points = math.prod(self.shape)
        self.level = math.log(START * math.sqrt(2 / config.oscillators))
        self.net = ConvWriter(config.net, inputs, (waves * config.oscillators, frames + 1), 1, items, told)
        self.oscillators = Oscillators(config, samples)

    def forward(self, h: Float[Tensor, "b i"], told: Tensor | None = None) -> Float[Tensor, "b o"]:
        """Return ``[b, c n + items]``."""
        written = self.net(h, told)
        with without_autocast(written.device):
            logs = GAIN * written[:, : self.points].float().unflatten(1, self.shape) + self.level
            level = ((2 * logs).logsumexp(2, keepdim=True) - math.log(2)) / 2
            wave = self.oscillators((logs + held_below(level, LOUDEST) - level).exp()).flatten(1)
        return torch.cat([wave, written[:, self.points :].float()], dim=1) if written.shape[1] > self.points else wave
