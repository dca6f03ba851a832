r"""Seams: does a sound that was rendered in pieces click, dip or jump where they join?

Letters: x wave, :math:`e[n] = (x[n-1] - 2 x[n] + x[n+1])^2` the energy of its second difference, in which a jump of the
wave or of its slope stands out against the sound itself; J the samples within ``reach`` of a join.

.. math:: \text{seam} = 10 \log_{10} \frac{\mathrm{mean}_{n \in J}\, e[n]}{\mathrm{mean}_{n \notin J}\, e[n]}

in dB: about 0 without seams, positive with clicks; negative where joins were smoothed more than the rest.

Two measures more of a longer reach, of frames of 32 ms, 8 ms apart: P[t] their power, L[t, b] their levels in dB, in
third-octave bands, nothing under -80 dBFS; frames whose middle lies within ``reach`` s of a join against all others:

.. math:: \text{level} = 10 \log_{10} \frac{\mathrm{mean}_{t \in J} P[t]}{\mathrm{mean}_{t \notin J} P[t]}, \qquad
          \text{flux} = 10 \log_{10} \frac{\mathrm{mean}_{t \in J} \sum_b (L[t, b] - L[t-1, b])^2}
                                       {\mathrm{mean}_{t \notin J} \sum_b (L[t, b] - L[t-1, b])^2}

A hole between windows is a level below 0, a jump from one spectrum to another a flux above it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.measure import CEILING_DB, Number
from latentscape.measure.reconstruction import magnitudes

_WINDOW_SECONDS, _FLOOR = 0.032, 1e-8


def seam_energy(wave: Float[Tensor, "*c n"], every: int, *, first: int | None = None, reach: int = 2) -> Number:
    """Return the seam in dB, between -200 and 200.

    Args:
        wave: the rendered sound.
        every: samples from join to join.
        first: sample of the first join; default ``every``.
        reach: samples on either side of a join that count to it.

    Raises:
        DataError: there is no join inside the wave, or nothing beside the joins.
    """
    first = every if first is None else first
    return seam_at(wave, range(first, wave.shape[-1] + reach, every), reach=reach)


def seam_at(wave: Float[Tensor, "*c n"], joins: Sequence[int], *, reach: int = 2) -> Number:
    """Return the seam in dB, between -200 and 200, of joins anywhere.

    Args:
        wave: the rendered sound.
        joins: samples; a join at j lies between samples j - 1 and j.
        reach: samples on either side of a join that count to it.

    Raises:
        DataError: there is no join inside the wave, or nothing beside the joins.
    """
    energy = (wave[..., :-2] - 2 * wave[..., 1:-1] + wave[..., 2:]).double().square()
    energy = energy.mean(tuple(range(energy.ndim - 1)))
    near = torch.as_tensor(list(joins), dtype=torch.long)[:, None] + torch.arange(-reach, reach)
    near = near[(near >= 1) & (near < wave.shape[-1] - 1)] - 1  # energy i stands for sample i + 1
    at_join = torch.zeros(len(energy), dtype=torch.bool)
    at_join[near] = True
    if at_join.all() or not at_join.any():
        at = f"joins every {joins.step}" if isinstance(joins, range) else f"{len(joins)} joins"
        raise DataError(f"seam_energy got {wave.shape[-1]} samples with {at}, expected joins and more beside")
    at_join = at_join.to(energy.device)
    within, inside = energy[at_join].mean(), energy[~at_join].mean()
    if not within + inside > 0:
        return Number(0.0, "dB")
    return Number(float((10 * torch.log10(within / inside)).clamp(-CEILING_DB, CEILING_DB)), "dB")


def seam_course(
    wave: Float[Tensor, "c n"], sample_rate: int, joins: Sequence[float], *, reach: float = 0.05
) -> dict[str, Number]:
    """Return ``seam_level`` and ``seam_flux`` in dB, between -200 and 200 (see the module).

    Args:
        wave: the rendered sound; channels are averaged.
        sample_rate: Hz.
        joins: times, s.
        reach: s on either side of a join that count to it.

    Raises:
        DataError: there is no join inside the wave, or nothing beside the joins.
    """
    window = 4 * max(16, round(_WINDOW_SECONDS * sample_rate / 4))
    hop = window // 4
    mono = wave.detach().cpu().double().mean(0)
    power = magnitudes(mono, window, hop).square() / (0.1875 * window**2)  # sums to the mean square
    middle = (torch.arange(power.shape[1]) * hop + window / 2) / sample_rate
    near = ((middle[:, None] - torch.tensor(list(joins), dtype=torch.float64)).abs() <= reach).any(1)
    change = near[1:] | near[:-1]
    if len(change) == 0 or change.all() or not change.any():
        raise DataError(f"seam_course got {wave.shape[-1]} samples, {len(joins)} joins, expected joins and more beside")
    levels = 10 * (_bands(window, sample_rate) @ power).clamp_min(_FLOOR).log10()
    flux = levels.diff(dim=1).square().sum(0)
    total = power.sum(0)
    return {
        "seam_level": _ratio(total[near].mean(), total[~near].mean()),
        "seam_flux": _ratio(flux[change].mean(), flux[~change].mean()),
    }


def _ratio(within: Tensor, beside: Tensor) -> Number:
    if not within + beside > 0:
        return Number(0.0, "dB")
    return Number(float((10 * torch.log10(within / beside)).clamp(-CEILING_DB, CEILING_DB)), "dB")


def _bands(window: int, sample_rate: int) -> Float[Tensor, "b f"]:
    """Return which bin belongs to which band: a third of an octave wide, at least one bin, from 50 Hz."""
    frequency = torch.arange(window // 2 + 1, dtype=torch.float64) * sample_rate / window
    band = (3 * torch.log2(frequency.clamp_min(50.0) / 50.0)).floor().long()
    found = torch.unique(band, return_inverse=True)[1]
    return torch.nn.functional.one_hot(found).T.double()
