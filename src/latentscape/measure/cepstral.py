r"""Mel-cepstral distortion: how far two sounds of one course of time lie apart in the shape of their spectra.

Letters: t frames, M mel bands, :math:`P_m` the power in band m (mean over channels), K coefficients.

.. math::
    c_k = \frac{2}{M} \sum_{m=0}^{M-1} \tfrac12 \ln P_m \cos\frac{\pi k (m + 1/2)}{M}, \qquad
    \mathrm{MCD} = \mathrm{mean}_t\; \frac{10}{\ln 10} \sqrt{2 \sum_{k=1}^{K} (c_k - c'_k)^2}

(Kubichek 1993). As :math:`\tfrac12 \ln P_m = c_0 / 2 + \sum_k c_k \cos(\dots)`, the MCD of a frame is the root mean
square difference, in dB, of two spectra on the mel scale that are smoothed to K cosines, whatever their level. Frames
are those wholly inside the sound in which the reference is at most 50 dB below its loudest. Cepstra by another way
(SPTK's, of warped all-pole spectra) give other figures: compare only what one measure measured.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.measure import Measure
from latentscape.measure.reconstruction import magnitudes
from latentscape.signal.bands import mel_filters

QUIET_DB = 50.0
LEAST = 1e-10
"""Least power of a band."""


class MelCepstralDistortion(Measure):
    """MCD of two waves of the same length, dB.

    Args:
        sample_rate: Hz.
        window: Hann window and FFT, samples; hops by a quarter of it.
        bands: M.
        coefficients: K.
    """

    name = "mel_cepstral_distortion"
    unit = "dB"
    ideal = 0.0

    def __init__(self, sample_rate: int, window: int = 512, bands: int = 40, coefficients: int = 13) -> None:
        self.window = window
        self._filters = mel_filters(sample_rate, window, bands)
        place = torch.arange(bands, dtype=torch.float64) + 0.5
        rows = torch.arange(1, coefficients + 1, dtype=torch.float64)[:, None]
        self._cosines = 2 / bands * torch.cos(math.pi / bands * rows * place)

    def cepstra(self, wave: Float[Tensor, "c n"]) -> tuple[Float[Tensor, "t k"], Float[Tensor, " t"]]:
        """Return the coefficients 1 to K of every frame, and its power: the mean over channels."""
        power = magnitudes(wave, self.window, self.window // 4).square().mean(0)
        bands = self._filters.to(power) @ power
        return (0.5 * bands.clamp_min(LEAST).double().log()).T @ self._cosines.T, power.sum(0)

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the MCD.

        Raises:
            DataError: the waves differ in length, or the reference is silent.
        """
        if reference.shape != estimate.shape:
            raise DataError(f"waves of {list(reference.shape)} and {list(estimate.shape)}, expected one length")
        own, power = self.cepstra(reference)
        other, _ = self.cepstra(estimate)
        heard = power > power.max() * 10 ** (-QUIET_DB / 10)
        if not bool(heard.any()):
            raise DataError("the reference is silent, expected a sound")
        each = (2 * (own - other).square().sum(1)).sqrt() * (10 / math.log(10))
        return float(each[heard].mean())
