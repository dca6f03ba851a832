r"""Sound as a judge hears it: levels on an axis of quarter tones, whatever its loudness and length.

Letters: n samples, t frames, m bins of the spectrum, k bands, X the spectrum of a Hann-windowed frame, f_i = low
2^(i/24) the centre of band i in Hz, H ``[m, k]`` triangles in frequency, from a neighbour's centre to the next's (one
bin to each side where that is wider, below about 90 Hz).

.. math:: P_i = \frac1t \sum_t \sum_m H_{mi} |X_{tm}|^2, \qquad
          x_i = \max\Big(10 \log_{10} \frac{P_i}{\max_j P_j},\ \text{floor}\Big) \text{ dB}

Power is averaged over the whole stretch, so that a held and a moving sound compare. P is linear in power, so stretches,
shifts and noise can be made from the frames of a note; a shift of pitch by one semitone moves x by two bands.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import DataError

PER_OCTAVE = 24
SILENT = 1e-20
"""A power that counts as nothing."""


class PitchSpectrumConfig(Record):
    """See the module's text.

    Attributes:
        sample_rate: Hz.
        window: samples of a frame, and the fewest of a stretch.
        hop: samples from frame to frame.
        low_hz: centre of the lowest band.
        bands: quarter tones.
        floor_db: the least level, dB below the loudest band.
    """

    kind: Literal["pitch_spectrum"] = "pitch_spectrum"
    sample_rate: PositiveInt = 22050
    window: PositiveInt = 8192
    hop: PositiveInt = 2048
    low_hz: float = Field(default=41.203445, gt=0)  # E1
    bands: PositiveInt = 180
    floor_db: float = Field(default=-60.0, lt=0)


class PitchSpectrum:
    """The view; a pure function of a wave."""

    def __init__(self, config: PitchSpectrumConfig) -> None:
        self.config = config
        self.filters = triangles(config)
        self._window = torch.hann_window(config.window)

    def __call__(self, waves: Float[Tensor, "b n"]) -> Float[Tensor, "b k"]:
        """Return the levels of each wave, dB."""
        return self.levels(self.frames(waves).mean(1))

    def frames(self, waves: Float[Tensor, "b n"]) -> Float[Tensor, "b t k"]:
        """Return the power in every band of every whole frame.

        Raises:
            DataError: the waves are shorter than a frame.
        """
        size = self.config.window
        if waves.shape[1] < size:
            rate = self.config.sample_rate
            raise DataError(f"a judge of sound got {waves.shape[1]} samples, expected {size} or more at {rate} Hz")
        cut = waves.unfold(1, size, self.config.hop)
        rows = [torch.view_as_real(torch.fft.rfft(one * self._window.to(one))).square().sum(-1) for one in cut]
        return torch.stack([power @ self.filters.to(power) for power in rows])

    def levels(self, power: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Return power as dB below the loudest band; silence is flat."""
        level = 10 * (power + SILENT).log10()
        return (level - level.amax(1, keepdim=True)).clamp_min(self.config.floor_db)


def triangles(config: PitchSpectrumConfig) -> Float[Tensor, "m k"]:
    """Return H."""
    step = config.sample_rate / config.window
    frequency = torch.arange(config.window // 2 + 1, dtype=torch.float64)[:, None] * step
    centre = config.low_hz * 2 ** (torch.arange(config.bands, dtype=torch.float64) / PER_OCTAVE)
    below = (centre * (1 - 2 ** (-1 / PER_OCTAVE))).clamp_min(step)
    above = (centre * (2 ** (1 / PER_OCTAVE) - 1)).clamp_min(step)
    distance = frequency - centre
    return (1 - torch.where(distance < 0, -distance / below, distance / above)).clamp_min(0).float()
