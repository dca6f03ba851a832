r"""How far a sound is from another: log-spectral distance, signal-to-noise ratio, spectral convergence, squared error.

Letters: x reference, y estimate, X and Y their spectra, f bins, T frames.

.. math::
    \mathrm{LSD} = \frac1T \sum_t \sqrt{\frac1f \sum_k (L_X[k,t] - L_Y[k,t])^2},\quad
        L = 20 \log_{10} \max(|X|, \text{floor}) \\
    \mathrm{SNR} = 10 \log_{10} \frac{\sum x^2}{\sum (x - y)^2},\qquad
    \mathrm{SC} = 20 \log_{10} \frac{\lVert\, |X| - |Y| \,\rVert_F}{\lVert X \rVert_F}

Spectra here are of Hann-windowed frames (periodic window, FFT of the window's length, not scaled) that lie wholly
inside the sound: frame t begins at sample ``t * hop``, nothing is centred or padded, and the last
``(n - window) % hop`` samples are not seen; only a sound shorter than one window is filled up with zeros.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.measure import CEILING_DB, Measure
from latentscape.signal.phase import spectral_convergence


def magnitudes(wave: Float[Tensor, "*c n"], window: int, hop: int) -> Float[Tensor, "*c f t"]:
    """Return |X| of the frames inside a wave, ``f = window / 2 + 1``."""
    short = max(0, window - wave.shape[-1])
    frames = torch.nn.functional.pad(wave, (0, short)).unfold(-1, window, hop)
    hann = torch.hann_window(window, dtype=wave.dtype, device=wave.device)
    return torch.fft.rfft(frames * hann).abs().transpose(-1, -2)


def log_spectrum(wave: Float[Tensor, "*c n"], window: int, hop: int, floor: float) -> Float[Tensor, "*c f t"]:
    """Return ``20 log10 max(|X|, floor)`` in dB."""
    return 20 * magnitudes(wave, window, hop).clamp_min(floor).log10()


def log_spectral_distance(reference: Float[Tensor, "*c f t"], estimate: Float[Tensor, "*c f t"]) -> float:
    """Return the LSD in dB of two log-spectra in dB: root mean square over bins, then mean over frames and the rest."""
    return float((reference - estimate).square().mean(-2).sqrt().mean())


class FeatureDistance(Measure):
    """LSD of features that are levels in dB (of LogStft, LogMel) as they are."""

    name = "feature_distance"
    unit = "dB"
    ideal = 0.0
    takes = "features [f, t] in dB"

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the LSD of the features."""
        return log_spectral_distance(reference, estimate)


class LogSpectralDistance(Measure):
    """LSD of two waves.

    Args:
        window: Hann window and FFT, samples.
        hop: samples.
        floor: least magnitude; 1e-4 is -80 dB.
    """

    name = "log_spectral_distance"
    unit = "dB"
    ideal = 0.0

    def __init__(self, window: int = 1024, hop: int = 256, floor: float = 1e-4) -> None:
        self.window, self.hop, self.floor = window, hop, floor

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the LSD of the waves."""
        spectra = (log_spectrum(wave, self.window, self.hop, self.floor) for wave in (reference, estimate))
        return log_spectral_distance(*spectra)


class SignalToNoise(Measure):
    """SNR of a wave against its reference, at most 200 dB."""

    name = "signal_to_noise"
    unit = "dB"
    ideal = CEILING_DB

    def validate(self, reference: Tensor, estimate: Tensor) -> None:
        """Refuse what can't be compared, a silent reference too."""
        super().validate(reference, estimate)
        if not reference.any():
            raise DataError(f"{self.name} got a silent reference, expected one with sound in it")

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the SNR."""
        signal, noise = reference.double(), reference.double() - estimate.double()
        ratio = 10 * torch.log10(signal.square().sum() / noise.square().sum())
        return float(ratio.clamp(-CEILING_DB, CEILING_DB))


class SpectralConvergence(SignalToNoise):
    """SC of two waves, at least -200 dB: as an SNR of magnitudes, blind to phase, and lower is better.

    Args:
        window: Hann window and FFT, samples.
        hop: samples.
    """

    name = "spectral_convergence"
    ideal = -CEILING_DB

    def __init__(self, window: int = 1024, hop: int = 256) -> None:
        self.window, self.hop = window, hop

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the SC."""
        target, magnitude = (magnitudes(wave, self.window, self.hop) for wave in (reference, estimate))
        return max(-CEILING_DB, min(CEILING_DB, spectral_convergence(target, magnitude)))


class MeanSquaredError(Measure):
    """Mean square of the difference, in squared units of what is compared."""

    name = "mean_squared_error"
    unit = ""
    ideal = 0.0
    takes = "tensors"

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the mean squared error."""
        return float((reference.double() - estimate.double()).square().mean())


MEASURES: tuple[Measure, ...] = (
    FeatureDistance(),
    LogSpectralDistance(),
    SignalToNoise(),
    SpectralConvergence(),
    MeanSquaredError(),
)
"""Every member, with its default arguments."""
