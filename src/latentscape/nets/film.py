r"""Layers that are told something: feature-wise linear modulation.

Letters: h hidden values ``[b, w]`` or ``[b, w, ...]``, c what is told ``[b, e]``, w width.

.. math:: h \leftarrow (1 + \gamma(c)) \odot h + \beta(c)

with one scale and one shift a channel (Perez et al. 2018, eq. 2), linear in c and zero at the start: a net begins blind
to what it is told, and each layer learns what of it matters there.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Film(nn.Module):
    """A scale and a shift of every channel (see the module)."""

    def __init__(self, told: int, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(told, 2 * width)
        with torch.no_grad():
            self.map.weight.zero_()
            self.map.bias.zero_()

    def forward(self, h: Float[Tensor, "b w ..."], told: Float[Tensor, "b e"]) -> Float[Tensor, "b w ..."]:
        """Return the modulated values."""
        scale, shift = self.map(told).reshape(*told.shape[:1], 2, -1, *[1] * (h.ndim - 2)).unbind(1)
        return torch.addcmul(shift, h, 1 + scale)


class Stack(nn.Sequential):
    """Modules one after the other; what is told reaches those that listen."""

    def forward(self, input: Tensor, told: Tensor | None = None) -> Tensor:
        """Return the last module's output."""
        if told is None:
            return super().forward(input)
        for module in self:
            input = module(input, told) if isinstance(module, Film | Residual) else module(input)
        return input


class Residual(nn.Module):
    """``h + inner(h)``."""

    def __init__(self, inner: Stack) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor, told: Tensor | None = None) -> Tensor:
        """Return ``h + inner(h)``."""
        return h + self.inner(h, told)
