r"""Seams: does a sound that was rendered in pieces click where they join?

Letters: x wave, :math:`e[n] = (x[n-1] - 2 x[n] + x[n+1])^2` the energy of its second difference, in which a jump of the
wave or of its slope stands out against the sound itself; J the samples within ``reach`` of a join.

.. math:: \text{seam} = 10 \log_{10} \frac{\mathrm{mean}_{n \in J}\, e[n]}{\mathrm{mean}_{n \notin J}\, e[n]}

in dB: about 0 without seams, positive with clicks; negative where joins were smoothed more than the rest.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.measure import CEILING_DB, Number


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
