r"""What reads a long wave for a few numbers: log spectra of short frames, convolutions over them, and two heads.

Letters: n samples, H hop, m = ceil(n / H) steps, F frame, f = F / 2 + 1 bins, c channels, w the width of a step's
output, d of the whole item's, S how many steps of the net a step of the sequence is.

Step i looks at F samples about (i + 1/2) H, by a Hann window; of its spectrum at :math:`\log_{10}(|X|^2 + 10^{-6})`, X
scaled so that a full sine is 1. The item's numbers are a dense net of mean and deviation of the last channels over
time; those of a sequence are read from channels averaged over S steps. Where only a part of the wave is sound, silence
put behind it counts for nothing in mean and deviation.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.nets.conv import draw_weights
from latentscape.nets.mlp import Mlp, MlpConfig

FLOOR = 1e-6


class EarConfig(Record):
    """Sizes of the reader.

    Attributes:
        frame: samples of a spectrum.
        hop: samples from one to the next.
        channels: of the convolutions over time.
        kernel: odd; steps that each sees.
        dense: width of the layer between the pooled channels and the item's numbers.
    """

    kind: Literal["ear"] = "ear"
    frame: int = Field(512, ge=2, le=2**20)
    hop: PositiveInt = 128
    channels: tuple[PositiveInt, ...] = Field((96, 96), min_length=1)
    kernel: PositiveInt = 3
    dense: PositiveInt = 128

    @model_validator(mode="after")
    def _fits(self) -> "EarConfig":
        if self.kernel % 2 == 0 or self.hop > self.frame:
            raise ValueError(f"an odd kernel, and a hop within the frame (got {self.kernel}, {self.hop}/{self.frame})")
        return self


class LogSpectra(nn.Module):
    """The log spectra of the module, brought to about -1 to 1.

    Args:
        frame: F.
        hop: H, at most F.
    """

    window: Tensor

    def __init__(self, frame: int, hop: int) -> None:
        super().__init__()
        self.frame, self.hop, self.bins = frame, hop, frame // 2 + 1
        window = torch.hann_window(frame)
        self.register_buffer("window", window * (2 / window.sum()), persistent=False)

    def forward(self, x: Float[Tensor, "b n"]) -> Float[Tensor, "b f m"]:
        """Return them, a step every ``hop`` samples."""
        m = math.ceil(x.shape[1] / self.hop)
        before = (self.frame - self.hop) // 2
        padded = F.pad(x, (before, (m - 1) * self.hop + self.frame - before - x.shape[1]))
        power = torch.fft.rfft(padded.unfold(1, self.frame, self.hop) * self.window).abs().square()
        return ((power + FLOOR).log10() / 3 + 1).transpose(1, 2)


class Ear(nn.Module):
    """The net of the module.

    Args:
        config: its sizes.
        extra: numbers that are told beside, e.
        outputs: d.
        steps: w; 0 for no sequence.
        every: samples a step of the sequence, a multiple of the hop.
    """

    def __init__(self, config: EarConfig, extra: int, outputs: int, steps: int = 0, every: int = 0) -> None:
        super().__init__()
        self.config, self.every = config, every
        self.spectra = LogSpectra(config.frame, config.hop)
        inputs = self.spectra.bins + extra
        layers: list[nn.Module] = []
        for width in config.channels:
            layers += [draw_weights(nn.Conv1d(inputs, width, config.kernel, padding=config.kernel // 2), 1), nn.SiLU()]
            inputs = width
        self.net = nn.Sequential(*layers)
        self.whole = Mlp(MlpConfig(widths=(config.dense,)), 2 * inputs + extra, outputs)
        self.sequence = None
        if steps:
            self.sequence = draw_weights(nn.Conv1d(inputs + extra, steps, 3, padding=1), 1, gain=0.5)

    def forward(
        self, x: Float[Tensor, "b n"], extra: Float[Tensor, "b e"] | None = None, present: Tensor | None = None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b w s"] | None]:
        """Return the item's numbers, and those of the sequence, one step every ``every`` samples.

        Args:
            x: standardised samples.
            extra: what is told beside.
            present: ``[b, n]``, 1 where there is sound; ``None``: everywhere.
        """
        h = self.spectra(x)
        if extra is not None:
            h = torch.cat([h, extra.unsqueeze(2).expand(-1, -1, h.shape[2])], dim=1)
        h = self.net(h)
        weight = self._steps((torch.ones_like(x) if present is None else present).to(h.dtype), h.shape[2])
        weight = weight / weight.sum(2, keepdim=True).clamp_min(1e-3)
        mean = (h * weight).sum(2)
        deviation = ((h - mean.unsqueeze(2)).square() * weight).sum(2).clamp_min(1e-6).sqrt()
        told = [] if extra is None else [extra]
        whole = self.whole(torch.cat([mean, deviation, *told], dim=1))
        if self.sequence is None:
            return whole, None
        size = self.every // self.config.hop
        h = F.avg_pool1d(h, size, ceil_mode=True, count_include_pad=False)
        if extra is not None:
            h = torch.cat([h, extra.unsqueeze(2).expand(-1, -1, h.shape[2])], dim=1)
        return whole, self.sequence(h)

    def _steps(self, present: Float[Tensor, "b n"], m: int) -> Float[Tensor, "b 1 m"]:
        """Return how much of each step is present."""
        hop = self.config.hop
        padded = F.pad(present, (0, m * hop - present.shape[1]))
        return padded.unflatten(1, (m, hop)).mean(2).unsqueeze(1)
