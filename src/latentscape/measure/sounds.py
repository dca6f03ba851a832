r"""How sounds of a model compare with real ones: one by one, and as crowds by their descriptors.

Letters: x reference, y estimate, X and Y their spectra (see :mod:`latentscape.measure.reconstruction`: frames wholly
inside the sound), s a window length, H mel filters (Slaney's, of unit area), :math:`\epsilon = 10^{-4}` (-80 dB).

.. math::
    \mathrm{MSS} = \sum_s \mathrm{mean}\, \big| |X_s| - |Y_s| \big| + \mathrm{mean}\, \Big| \ln
        \frac{\max(|X_s|, \epsilon)}{\max(|Y_s|, \epsilon)} \Big|, \qquad s = 2048, 1024, 512, 256, 128, 64 \\
    \mathrm{mel} = \mathrm{mean} \Big| 10 \log_{10} \frac{\max(H|X|^2, \epsilon^2)}{\max(H|Y|^2, \epsilon^2)} \Big|

MSS is the multi-scale spectral loss of Engel et al. 2020 (eq. 4, hop s / 4, both parts alike) with means for norms, and
the floor where theirs is added; it is a pure number. The mel distance is in dB.

Two crowds of sounds, unpaired, are compared by the distribution of each descriptor over all their frames,

.. math:: W_1 = \int |F(t) - G(t)|\, dt

(Wasserstein-1, in the unit of the descriptor), with F and G their distribution functions. Every sound weighs the same,
however long; frames more than 50 dB below the loudest of their sound, or below -80 dBFS, are skipped, and for pitch
unvoiced ones too. Pitch is in semitones, so that an octave counts 12 anywhere; loudness is the A-weighted level.
W1 is zero for equal crowds and biased upward, the more the fewer the sounds: counts must be equal, and the replicates,
which resample sounds, are moved to have their mean at the value (their own bias is larger).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import seed_of
from latentscape.measure.descriptors import UNITS, describe
from latentscape.measure.estimate import REPLICATES, Estimate, counts, recentred
from latentscape.measure.measure import Measure
from latentscape.measure.reconstruction import LogSpectralDistance, SpectralConvergence, magnitudes
from latentscape.signal.bands import mel_filters

FLOOR = 1e-4
"""Least magnitude, -80 dB."""
QUIET = (-50.0, -80.0)
"""dB below the loudest frame of a sound, and dBFS: quieter frames have no descriptors."""
PITCHES = (30.0, 4200.0)
"""Hz, about those of a piano."""
DESCRIPTORS = {**{name: unit for name, unit in UNITS.items() if name != "level"}, "pitch": "semitones"}
"""What crowds are compared by, and its unit."""

Described = dict[str, list[np.ndarray]]
"""The values of every descriptor, an array a sound; empty where it has none."""


class MultiScaleSpectralDistance(Measure):
    """MSS of two waves.

    Args:
        windows: Hann windows and FFTs, samples; each hops by a quarter of itself.
        floor: least magnitude in the logarithm.
    """

    name = "multi_scale_spectral_distance"
    unit = ""
    ideal = 0.0

    def __init__(self, windows: tuple[int, ...] = (2048, 1024, 512, 256, 128, 64), floor: float = FLOOR) -> None:
        self.windows, self.floor = windows, floor

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the MSS."""
        total = 0.0
        for window in self.windows:
            x, y = (magnitudes(wave, window, window // 4) for wave in (reference, estimate))
            ratio = x.clamp_min(self.floor).log() - y.clamp_min(self.floor).log()
            total += float((x - y).abs().mean() + ratio.abs().mean())
        return total


class MelDistance(Measure):
    """Mean absolute difference of two waves' mel levels.

    Args:
        sample_rate: Hz.
        window: Hann window and FFT, samples.
        hop: samples.
        bands: number of mel bands, from 0 Hz to half the rate.
        floor: least magnitude.
    """

    name = "mel_distance"
    unit = "dB"
    ideal = 0.0

    def __init__(
        self, sample_rate: int, window: int = 2048, hop: int = 512, bands: int = 80, floor: float = FLOOR
    ) -> None:
        self.window, self.hop, self.floor = window, hop, floor
        self.filters = mel_filters(sample_rate, window, bands)

    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the mel distance."""
        x, y = (self._level(wave) for wave in (reference, estimate))
        return float((x - y).abs().mean())

    def _level(self, wave: Tensor) -> Float[Tensor, "*c bands t"]:
        power = self.filters.to(wave) @ magnitudes(wave, self.window, self.hop).square()
        return 10 * power.clamp_min(self.floor**2).log10()


def sound_measures(sample_rate: int) -> tuple[Measure, ...]:
    """Return what compares a re-synthesised sound with its original at a rate in Hz."""
    return (LogSpectralDistance(), MultiScaleSpectralDistance(), MelDistance(sample_rate), SpectralConvergence())


def gather(
    waves: Sequence[Tensor] | Tensor, sample_rate: int, *, pitch_range: tuple[float, float] = PITCHES
) -> Described:
    """Return the descriptors of a crowd of sounds, in the units of ``DESCRIPTORS``, quiet and unvoiced frames left out.

    Args:
        waves: ``[c, n]`` each, of any lengths.
        sample_rate: Hz.
        pitch_range: least and greatest pitch, Hz.

    Raises:
        DataError: a wave is empty or holds NaN or infinity.
    """
    found: Described = {name: [] for name in DESCRIPTORS}
    for wave in waves:
        curves = describe(wave, sample_rate, pitch="voiced", pitch_range=pitch_range)
        level = curves["level"].values
        loud = level > max(level.max() + QUIET[0], QUIET[1])
        for name in DESCRIPTORS:
            values = curves[name].values[loud]
            values = values[np.isfinite(values)]
            found[name].append(69 + 12 * np.log2(values / 440) if name == "pitch" else values)
    return found


def crowd_distances(a: Described, b: Described, *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, Estimate]:
    """Return ``w1_centroid`` ... ``w1_pitch`` of two crowds that :func:`gather` described (see the module).

    A descriptor that no sound of a crowd has (the pitch of noises, everything of silences) is left out.

    Raises:
        DataError: the crowds have no sounds, or not as many (both counts are named).
    """
    found: dict[str, Estimate] = {}
    for name, unit in DESCRIPTORS.items():
        n, m = len(a[name]), len(b[name])
        if n != m or not n:
            raise DataError(f"crowd_distances got {n} and {m} sounds, expected equal counts: its bias depends on them")
        first, second = ([values for values in crowd[name] if len(values)] for crowd in (a, b))
        if first and second:
            found[f"w1_{name}"] = _wasserstein(first, second, unit, replicates, seed)
    return found


def descriptor_distances(
    a: Sequence[Tensor] | Tensor,
    b: Sequence[Tensor] | Tensor,
    sample_rate: int,
    *,
    pitch_range: tuple[float, float] = PITCHES,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return :func:`crowd_distances` of two crowds of waves ``[c, n]``; arguments and errors as there."""
    if len(a) != len(b) or not len(a):
        raise DataError(
            f"descriptor_distances got {len(a)} and {len(b)} sounds, expected equal counts: its bias depends on them"
        )
    crowds = (gather(waves, sample_rate, pitch_range=pitch_range) for waves in (a, b))
    return crowd_distances(*crowds, replicates=replicates, seed=seed)


def _wasserstein(first: list[np.ndarray], second: list[np.ndarray], unit: str, replicates: int, seed: int) -> Estimate:
    """Return W1 of two crowds' values, all sounds of a crowd weighing the same, with resampled sounds."""
    values = np.concatenate(first + second)
    order = np.argsort(values)
    gaps = np.diff(values[order])
    lengths = [np.array([len(sound) for sound in crowd]) for crowd in (first, second)]

    def distance(w: np.ndarray, v: np.ndarray) -> float:
        share_a, share_b = (
            np.repeat(weight / weight.sum() / length, length) for weight, length in zip((w, v), lengths, strict=True)
        )
        gone = np.concatenate([share_a, -share_b])[order].cumsum()[:-1]
        return float(np.abs(gone) @ gaps)

    n, m = len(first), len(second)
    value = distance(np.ones(n), np.ones(m))
    if min(n, m) < 2:
        return Estimate(value, unit)
    w, v = counts(n, replicates, seed).numpy(), counts(m, replicates, seed_of("second", seed)).numpy()
    return recentred(value, unit, [distance(*row) for row in zip(w, v, strict=True)])
