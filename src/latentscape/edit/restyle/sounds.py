r"""Where a restyled sound is looked for: as magnitudes of a spectrum, as complex coefficients, or as samples.

Letters: r rows (channels), n samples, t frames, m bins, k bands; X coefficients of the short-time Fourier transform
(:mod:`latentscape.signal.frames`) times 4 / W, so that a full-scale sine has 1; e the *floor*.

.. math:: L = \log(1 + |X| / e), \qquad B_k = \log\Bigl(1 + \sqrt{\textstyle\sum_m H_{mk} |X_m|^2}\; / e\Bigr)

L are *levels*: linear in what is quieter than e, logarithmic above, so that silence is zero and no gradient is
infinite. H are triangles, one bin wide below about 300 Hz, a fourteenth of their frequency above: what a method listens
to, at a seventh of the cost of all bins or less.

Sounds are optimised at a root mean square of 0.1.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from latentscape.signal import phase
from latentscape.signal.frames import Frames

LEVEL = 0.1
FLOOR = 4e-5
"""e, -88 dB under a full-scale sine and 68 under the sound."""
LOUDEST = math.log1p(100 / FLOOR)
FRAME_SECONDS = 0.046
SHARPNESS = 14
REFINEMENTS = 16


class Spectrum:
    """The transform that all methods share, at one sample rate (Hz)."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.window = 2 ** round(math.log2(FRAME_SECONDS * sample_rate))
        self.hop = self.window // 4
        self.grid = Frames(self.window, self.hop)
        self.triangles = _triangles(self.grid.bins, sample_rate / self.window)

    def analyse(self, wave: Float[Tensor, "r n"]) -> Complex[Tensor, "r t m"]:
        """Return X."""
        return self.grid.analyse(wave) * (4 / self.window)

    def synthesise(self, coefficients: Complex[Tensor, "r t m"], length: int) -> Float[Tensor, "r n"]:
        """Return the wave that fits X best."""
        return self.grid.synthesise(coefficients * (self.window / 4), length)

    def levels(self, magnitude: Float[Tensor, "r t m"]) -> Float[Tensor, "r t m"]:
        """Return L."""
        return torch.log1p(magnitude / FLOOR)

    def magnitude(self, levels: Float[Tensor, "r t m"]) -> Float[Tensor, "r t m"]:
        """Undo :meth:`levels`, but that 0 is bent to e / 11: a level below silence has a slope back.

        Nothing is louder than 40 dB over full scale: a line search may ask for what no number holds.
        """
        return FLOOR * torch.expm1(torch.nn.functional.softplus(8 * levels.clamp_max(LOUDEST)) / 8)

    def bands(self, magnitude: Float[Tensor, "r t m"]) -> Float[Tensor, "r t k"]:
        """Return B."""
        power = magnitude.square() @ self.triangles.to(magnitude)
        return torch.log1p((power + FLOOR**2 * 1e-4).sqrt() / FLOOR)

    def recover(
        self, magnitude: Float[Tensor, "r t m"], length: int, guide: Complex[Tensor, "r t m"] | None
    ) -> Float[Tensor, "r n"]:
        """Return a wave of these magnitudes: in the guide's phase or by heap integration, whichever fits it better."""
        starts = [phase.heap_integration(magnitude, self.window, self.hop, 1e-3 * FLOOR)]
        starts += [] if guide is None else [guide]

        def made(start: Complex[Tensor, "r t m"]) -> tuple[float, Tensor]:
            found = phase.griffin_lim(
                magnitude, start, lambda wave: self.analyse(wave), lambda c: self.synthesise(c, length), REFINEMENTS
            )
            wave = self.synthesise(found, length)
            return phase.spectral_convergence(magnitude, self.analyse(wave).abs()), wave

        return min(map(made, starts), key=lambda pair: pair[0])[1]


def _triangles(bins: int, step: float) -> Float[Tensor, "m k"]:
    centres = [0.0]
    while centres[-1] < (bins - 1) * step:
        centres.append(centres[-1] + max(step, centres[-1] / SHARPNESS))
    centre = torch.tensor(centres, dtype=torch.float64)
    width = centre.diff()
    frequency = torch.arange(bins, dtype=torch.float64)[:, None] * step
    away = frequency - centre
    below = torch.cat((width[:1], width))
    above = torch.cat((width, width[-1:]))
    filters = (1 - torch.where(away < 0, -away / below, away / above)).clamp_min(0).float()
    return filters[:, filters.sum(0) > 0]


class Place(ABC):
    """Where a sound is looked for: a variable, and what it sounds like.

    Args:
        spectrum: the shared transform.
        length: samples.
        guide: coefficients whose phases are held where a variable has none; ``None`` where nothing was given.
    """

    def __init__(self, spectrum: Spectrum, length: int, guide: Complex[Tensor, "r t m"] | None = None) -> None:
        self.spectrum = spectrum
        self.length = length
        self.guide = guide

    @abstractmethod
    def begin(self, levels: Float[Tensor, "r t m"]) -> Tensor:
        """Return the variable for levels L."""

    @abstractmethod
    def magnitude(self, variable: Tensor) -> Float[Tensor, "r t m"]:
        """Return the absolute values of X."""

    @abstractmethod
    def wave(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return samples, with gradients."""

    @abstractmethod
    def finish(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return the sound."""


class InMagnitudes(Place):
    """Levels are looked for; phases are found at the end."""

    def begin(self, levels: Float[Tensor, "r t m"]) -> Tensor:
        """Return the levels."""
        return levels.clone()

    def magnitude(self, variable: Tensor) -> Float[Tensor, "r t m"]:
        """Return them as magnitudes."""
        return self.spectrum.magnitude(variable)

    def wave(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return samples in the guide's phases, which are held."""
        magnitude = self.magnitude(variable)
        guide = torch.ones_like(magnitude, dtype=torch.complex64) if self.guide is None else self.guide
        return self.spectrum.synthesise(phase.impose(magnitude, guide), self.length)

    def finish(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return the sound with its phases recovered."""
        with torch.no_grad():
            return self.spectrum.recover(self.magnitude(variable), self.length, self.guide)


class InSamples(Place):
    """Samples are looked for, by relative changes of their transform: x = synthesis of ``scale * variable``.

    A step in samples as they are would change loud bins only, since levels are logarithms: what is 40 dB down needs
    steps a hundred times as small. Every wave has a variable, so nothing is ruled out.
    """

    scale: Float[Tensor, "r t m"]

    def begin(self, levels: Float[Tensor, "r t m"]) -> Tensor:
        """Return the variable of samples that have the levels."""
        with torch.no_grad():
            found = self.spectrum.analyse(
                self.spectrum.recover(self.spectrum.magnitude(levels), self.length, self.guide)
            )
            self.scale = (torch.view_as_real(found).square().sum(-1) + (10 * FLOOR) ** 2).sqrt()
            return torch.view_as_real(found / self.scale)

    def magnitude(self, variable: Tensor) -> Float[Tensor, "r t m"]:
        """Return the magnitudes of the samples."""
        return _absolute(self.spectrum.analyse(self.wave(variable)))

    def wave(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return the samples."""
        return self.spectrum.synthesise(torch.view_as_complex(variable) * self.scale, self.length)

    def finish(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return them without gradients."""
        return self.wave(variable.detach())


class Given(Place):
    """A sound as it is: the variable are its samples."""

    def begin(self, levels: Float[Tensor, "r t m"]) -> Tensor:
        """Return samples that have the levels."""
        with torch.no_grad():
            return self.spectrum.recover(self.spectrum.magnitude(levels), self.length, self.guide)

    def magnitude(self, variable: Tensor) -> Float[Tensor, "r t m"]:
        """Return their magnitudes."""
        return _absolute(self.spectrum.analyse(variable))

    def wave(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return them."""
        return variable

    def finish(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return them without gradients."""
        return variable.detach()


class InCoefficients(Place):
    """Real and imaginary parts of X are looked for, consistent or not."""

    def begin(self, levels: Float[Tensor, "r t m"]) -> Tensor:
        """Return the transform of samples that have the levels."""
        wave = Given(self.spectrum, self.length, self.guide).begin(levels)
        return torch.view_as_real(self.spectrum.analyse(wave)).clone()

    def magnitude(self, variable: Tensor) -> Float[Tensor, "r t m"]:
        """Return their absolute values."""
        return _absolute(torch.view_as_complex(variable))

    def wave(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return the wave that fits them best."""
        return self.spectrum.synthesise(torch.view_as_complex(variable), self.length)

    def finish(self, variable: Tensor) -> Float[Tensor, "r n"]:
        """Return it without gradients."""
        return self.wave(variable.detach())


PLACES: dict[str, type[Place]] = {
    "magnitudes": InMagnitudes,
    "coefficients": InCoefficients,
    "samples": InSamples,
    "plain samples": Given,
}


def _absolute(coefficients: Complex[Tensor, "r t m"]) -> Float[Tensor, "r t m"]:
    return (torch.view_as_real(coefficients).square().sum(-1) + (0.01 * FLOOR) ** 2).sqrt()
