r"""PixelCNN: masked convolutions that see only pixels above and to the left (van den Oord et al. 2016).

Letters: x ``[b, c, h, w]``, pixels in raster order, K kernel (odd), r reach, e channels of what is heard at a pixel.

The first convolution (kernel ``first``) sees the pixels before each, never itself; the blocks that follow see hidden
values at the pixel, too, which depend on pixels before it alone:

.. math:: h^1 = W^1 \ast x + V^1 y, \qquad h^{l+1} = h^l + W^{l,2}\, \phi(W^{l,1} \ast \phi(h^l) + V^l y)

with :math:`W^1` masked by "above, or left in the same row" and :math:`W^{l,1}` by the same and the pixel itself, 1 x 1
elsewhere. What is heard, y, is a map ``[b, e, h, w]``. All colours of a pixel are seen by later pixels, none by one
another. The reach is the number of rows (and of columns to either side) that a pixel's law depends on:
:math:`r = \lfloor \text{first} / 2 \rfloor + \text{blocks} \lfloor K / 2 \rfloor`, kept short on purpose where a latent
code is to say the rest (Chen et al. 2017). Masked square kernels leave a blind spot on the upper right, which a larger
first kernel makes smaller.

**Sampling** goes pixel by pixel. A pixel's law needs the part of the image within the reach only, and hidden values
that are cut off at the part's edge reach no further than pixels that do not matter: so that much is computed, and the
parameters are those of the whole image (tested).
"""

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.nets.conv import draw_weights
from latentscape.nets.mlp import ACTIVATIONS, Activation


class PixelCnnConfig(Record):
    """Sizes of the stack.

    Attributes:
        channels: of hidden values.
        first: odd; width of the first kernel.
        kernel: odd; width of the blocks' kernels.
        blocks: residual blocks.
        activation: within blocks.
    """

    channels: PositiveInt = 32
    first: PositiveInt = 5
    kernel: PositiveInt = 3
    blocks: int = Field(2, ge=0)
    activation: Activation = "elu"

    @model_validator(mode="after")
    def _odd(self) -> "PixelCnnConfig":
        if self.first % 2 == 0 or self.kernel % 2 == 0 or self.first < 3:
            raise ValueError(f"odd kernels, the first of 3 or more (got {self.first} and {self.kernel})")
        return self

    @property
    def reach(self) -> int:
        """Rows, and columns to either side, that a pixel's law depends on."""
        return self.first // 2 + self.blocks * (self.kernel // 2)


class MaskedConv(nn.Conv2d):
    """A convolution of the pixels before each, with the pixel itself (``own``) or without."""

    seen: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, own: bool) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        seen = torch.zeros(kernel, kernel)
        middle = kernel // 2
        seen[:middle] = 1
        seen[middle, : middle + own] = 1
        self.register_buffer("seen", seen, persistent=False)
        draw_weights(self, 1, gain=2**0.5 * (kernel**2 / float(seen.sum())) ** 0.5)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``[b, outputs, h, w]``."""
        return self._conv_forward(input, self.weight * self.seen, self.bias)


class Block(nn.Module):
    """A residual block; see the module."""

    def __init__(self, config: PixelCnnConfig, heard: int) -> None:
        super().__init__()
        width = config.channels
        self.first = MaskedConv(width, width, config.kernel, own=True)
        self.second = draw_weights(nn.Conv2d(width, width, 1), 1, gain=0.5)
        self.hear = _hear(heard, width)
        self.activate = ACTIVATIONS[config.activation]()

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        """Return the next hidden values."""
        a = self.first(self.activate(h))
        if self.hear is not None and y is not None:
            a = a + self.hear(y)
        return h + self.second(self.activate(a))


class PixelCnn(nn.Module):
    """The network of the module.

    Args:
        config: its sizes.
        inputs: c.
        outputs: raw parameters of one pixel's law.
        heard: e; 0 for nothing.
    """

    def __init__(self, config: PixelCnnConfig, inputs: int, outputs: int, heard: int = 0) -> None:
        super().__init__()
        self.config, self.heard = config, heard
        width = config.channels
        self.first = MaskedConv(inputs, width, config.first, own=False)
        self.hear = _hear(heard, width)
        self.blocks = nn.ModuleList(Block(config, heard) for _ in range(config.blocks))
        activate = ACTIVATIONS[config.activation]
        self.head = nn.Sequential(
            activate(),
            draw_weights(nn.Conv2d(width, width, 1), 1),
            activate(),
            draw_weights(nn.Conv2d(width, outputs, 1), 1, gain=0.1),
        )

    def forward(
        self, x: Float[Tensor, "b c h w"], heard: Float[Tensor, "b e h w"] | None = None
    ) -> Float[Tensor, "b o h w"]:
        """Return the raw parameters of every pixel's law, given those before it.

        Args:
            x: standardised values.
            heard: y; ``None`` adds nothing.
        """
        h = self.first(x)
        if self.hear is not None and heard is not None:
            h = h + self.hear(heard)
        for block in self.blocks:
            h = block(h, heard)
        return self.head(h)

    def at(
        self, x: Float[Tensor, "b c h w"], row: int, column: int, heard: Float[Tensor, "b e h w"] | None = None
    ) -> Float[Tensor, "b o"]:
        """Return the raw parameters of one pixel's law: as :meth:`forward`, from the part of the image it sees."""
        reach, (height, width) = self.config.reach, x.shape[2:]
        rows = slice(max(0, row - reach), min(height, row + 1))
        columns = slice(max(0, column - reach), min(width, column + reach + 1))
        part = None if heard is None else heard[:, :, rows, columns]
        return self(x[:, :, rows, columns], part)[:, :, -1, column - columns.start]


def _hear(heard: int, width: int) -> nn.Conv2d | None:
    if not heard:
        return None
    layer = nn.Conv2d(heard, width, 1, bias=False)
    with torch.no_grad():
        layer.weight.normal_(0, heard**-0.5)
    return layer
