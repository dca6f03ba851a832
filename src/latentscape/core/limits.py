"""Bounds that are reached softly."""

from torch import Tensor
from torch.nn.functional import elu


def held_below(values: Tensor, start: float) -> Tensor:
    r"""Return values as they are up to ``start``, and beyond it :math:`start + 1 - e^{start - v}`, below ``start`` + 1.

    The slope is 1 where it begins and never 0, so that what went too far finds back; a clamp would leave it there.
    """
    return start - elu(start - values)
