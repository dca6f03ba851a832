"""Derivatives by forward mode, one thread at a time.

torch keeps the level of forward mode for the whole process: where two threads are in it, the first that leaves closes
it for the other, which then fails, or is given wrong numbers. The browser instrument makes paths in several.
"""

from collections.abc import Callable
from threading import RLock

import torch
from torch import Tensor

_ALONE = RLock()  # one may be taken of another


def jvp(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function's value at a point, and its derivative along a direction of the same shape."""
    with _ALONE:
        value, slope = torch.func.jvp(function, (at,), (along,))[:2]
        return value, slope
