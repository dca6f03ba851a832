"""Double precision for the few places where single precision loses what is left after a cancellation."""

import torch
from torch import Tensor


def doubled(value: Tensor) -> Tensor:
    """Return the value as float64, or as float32 on a device that has no float64 (Apple's)."""
    return value.to(torch.float32 if value.device.type == "mps" else torch.float64)
