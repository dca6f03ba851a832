r"""Seams: does a sound that was rendered in pieces click where they join?

Letters: x wave, :math:`e[n] = (x[n-1] - 2 x[n] + x[n+1])^2` the energy of its second difference, in which a jump of the
wave or of its slope stands out against the sound itself; J the samples within ``reach`` of a join.

.. math:: \text{seam} = 10 \log_{10} \frac{\mathrm{mean}_{n \in J}\, e[n]}{\mathrm{mean}_{n \notin J}\, e[n]}

in dB: about 0 without seams, positive with clicks; negative where joins were smoothed more than the rest.
"""

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
    energy = (wave[..., :-2] - 2 * wave[..., 1:-1] + wave[..., 2:]).double().square()
    energy = energy.mean(tuple(range(energy.ndim - 1)))
    first = every if first is None else first
    place = torch.arange(1, wave.shape[-1] - 1, device=wave.device)
    # a join at sample j lies between samples j - 1 and j
    at_join = ((place - first + reach) % every < 2 * reach) & (place >= first - reach)
    if at_join.all() or not at_join.any():
        raise DataError(
            f"seam_energy got {wave.shape[-1]} samples with joins every {every}, expected joins and more beside"
        )
    joins, inside = energy[at_join].mean(), energy[~at_join].mean()
    if not joins + inside > 0:
        return Number(0.0, "dB")
    return Number(float((10 * torch.log10(joins / inside)).clamp(-CEILING_DB, CEILING_DB)), "dB")
