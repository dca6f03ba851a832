r"""Log-mel: the power of the STFT in bands that are even on the mel scale.

Letters: p = |X|^2 power ``[t, m]``, H the filters ``[bands, m]`` (Slaney's, of unit area), v = H p.

The features are librosa's ``power_to_db(melspectrogram(...), ref=1, top_db=None)``. Back: a power :math:`p \ge 0` with
``H p = v`` by multiplicative updates for the Kullback-Leibler divergence (Lee and Seung 2001, eq. 5),

.. math:: p \leftarrow p \cdot \frac{H^T (v / H p)}{H^T 1},

which keep every band's relative (dB) error in view, where least squares would see the loudest bands only; then the
phase is recovered.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Num
from pydantic import Field
from torch import Tensor

from latentscape.core.errors import ConfigError
from latentscape.signal.bands import mel_edges, mel_filters
from latentscape.signal.frames import Frames
from latentscape.signal.representation import LEAST_DENSITY, fold, unfold
from latentscape.signal.stft import FrameConfig, Magnitudes


class LogMelConfig(FrameConfig):
    """Log-mel power.

    Attributes:
        bands: number of mel bands.
        low_hz: lower edge of the lowest band, Hz.
        high_hz: upper edge of the highest band, Hz; ``None`` is half the sample rate.
        floor_db: the least value of a feature, dB.
    """

    kind: Literal["log_mel"] = "log_mel"
    bands: int = Field(default=128, ge=1)
    low_hz: float = Field(default=0.0, ge=0)
    high_hz: float | None = Field(default=None, gt=0)
    floor_db: float = -100.0


class LogMel(Magnitudes):
    """Features: ``10 log10 max(H |X|^2, floor)`` dB, channel after channel; ``f = bands c``.

    Attributes:
        centres: of the bands, Hz.
        updates: multiplicative updates of the inverse.
    """

    round_trip = -15.0
    updates = 30

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__(config)
        self.grid = Frames(config.window, config.hop)
        self.hop = config.hop
        self.floor_db = config.floor_db
        self.bands = config.bands
        self.frame_size = config.bands * config.channels
        high = config.high_hz or self.sample_rate / 2
        if not config.low_hz < high <= self.sample_rate / 2:
            raise ConfigError(
                f"log_mel: bands from {config.low_hz} to {high} Hz, expected low_hz < high_hz <= {self.sample_rate / 2}"
            )
        edges = mel_edges(config.bands, config.low_hz, high)
        grid = np.fft.rfftfreq(config.window, 1 / self.sample_rate)
        if not all(((grid > a) & (grid < b)).any() for a, b in zip(edges[:-2], edges[2:], strict=True)):
            raise ConfigError(
                f"log_mel: {config.bands} bands are too many for a window of {config.window} samples at "
                f"{self.sample_rate} Hz: some hold no bin; take fewer bands or a longer window"
            )
        self._filters = mel_filters(self.sample_rate, config.window, config.bands, low_hz=config.low_hz, high_hz=high)
        self.centres = torch.from_numpy(edges[1:-1]).float()

    def filters(self, like: Tensor) -> Float[Tensor, "bands m"]:
        """Return H on the device of ``like``."""
        if self._filters.device != like.device:
            self._filters = self._filters.to(like.device)
        return self._filters

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return the level of every band, dB."""
        self.check_wave(wave)
        power = torch.view_as_real(self.grid.analyse(wave.flatten(0, 1))).square().sum(dim=-1)
        level = 10 * (power @ self.filters(wave).T).clamp(min=10 ** (self.floor_db / 10)).log10()
        return fold(level.transpose(1, 2), self.channels)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]]:
        """Return the root of the mean power density of every band, at the band's centre."""
        self.check_features(features)
        level = unfold(features, self.channels)
        power = torch.where(level > self.floor_db + 1e-3, 10 ** (level / 10), 0.0)
        scale = self.grid.density(self.sample_rate) * self.sample_rate / self.grid.window  # filters sum to 1 over Hz
        mean = power.unflatten(0, (-1, self.channels)).mean(1) * scale
        return (mean + LEAST_DENSITY).sqrt(), self.centres.to(power)

    def magnitude(self, features: Num[Tensor, "b f t"]) -> Float[Tensor, "r t m"]:
        """Return the root of a power whose bands are as given; what lies at the floor is taken for silence."""
        self.check_features(features)
        level = unfold(features, self.channels).transpose(1, 2)
        power = torch.where(level > self.floor_db + 1e-3, 10 ** (level / 10), 0.0)
        from latentscape.signal import nonnegative  # numba takes a while to import

        found = nonnegative.solve(
            power.cpu().numpy(), self._filters.cpu().numpy(), self.updates, torch.get_num_threads()
        )
        return torch.from_numpy(found).to(power.device).sqrt()
