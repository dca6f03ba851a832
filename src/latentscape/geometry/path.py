"""The Path: t in [0, 1] -> a point of latent space.

Letters: n points, d latent width (layers, or the steps of a sequence, are packed into one point, so a path knows
nothing of them). One abstract method; velocity, length, travel at constant speed and concatenation follow from it.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor


class Path(ABC):
    """A curve z(t), t in [0, 1], in d dimensions.

    Attributes:
        dim: d.
    """

    dim: int

    @abstractmethod
    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return dz/dt at times ``t``, by forward-mode differentiation of :meth:`evaluate`."""
        return torch.func.jvp(self.evaluate, (t,), (torch.ones_like(t),))[1]
