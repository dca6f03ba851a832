"""Which samples of a window count: those of sound, and of these the ones whose past is in the window, too.

Letters: b windows, L samples of a window.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def counted(
    offset: Int[Tensor, " b"], heard: Int[Tensor, " b"], begins: Bool[Tensor, " b"], length: int, lead_in: int
) -> Float[Tensor, "b l"]:
    """Return 1 where a window's samples count, else 0. A window of any sound at all counts one sample at least.

    Args:
        offset: of the windows' first samples in the stretches of sound that they were cut from.
        heard: samples of each stretch that are sound; what follows is padding.
        begins: whether each stretch is the begin of its clip: nothing lies before, so that its first window counts
            whole.
        length: L.
        lead_in: samples at the begin of a window that are given and not asked for.
    """
    place = torch.arange(length)
    sound = heard - offset
    first = torch.minimum(torch.where(begins & (offset == 0), 0, lead_in), sound - 1)
    return ((place >= first[:, None]) & (place < sound[:, None])).float()
