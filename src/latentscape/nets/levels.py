r"""Levels: what a hierarchy of latents climbs and descends, dense or convolutional, from gated residual blocks.

Letters: x ``[b, *event]``, L levels, 1 at the top; h_l the state of level l, ``[b, w_l]`` or ``[b, w_l, *size_l]``.

A gated residual block is

.. math:: h \leftarrow h + a \odot \sigma(g), \qquad (a, g) = W_2\, \phi(n(W_1\, \phi(n(h))))

with activation :math:`\phi` and normalisation n over all of an item (layer norm, or one group), so that an item never
depends on the others of its batch. The gate is what van den Oord et al. 2016 (PixelCNN, eq. 2) put into convolutions.

Convolutional levels are ``stride`` apart: the lowest is x's size divided by it (rounded up), and the way down gives
back every size exactly, as :mod:`latentscape.nets.conv`.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.nets.conv import CONV, TRANSPOSED, draw_weights, layout
from latentscape.nets.mlp import ACTIVATIONS, Activation, linear


class _LevelsConfig(Record):
    """What both kinds have.

    Attributes:
        blocks: gated residual blocks a level and direction; none leaves every map linear.
        activation: phi.
        norm: whether there is a normalisation n.
        dropout: share of the inner values of a block that is left out in training.
    """

    blocks: int = Field(1, ge=0)
    activation: Activation = "silu"
    norm: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)


class DenseLevelsConfig(_LevelsConfig):
    """Dense levels; ``widths`` of their states, top level first."""

    kind: Literal["mlp"] = "mlp"
    widths: tuple[PositiveInt, ...] = (128, 256, 512)


class ConvLevelsConfig(_LevelsConfig):
    """Convolutional levels.

    Attributes:
        widths: channels of every level's state, top level first.
        kernel: odd; of what lies between levels. Blocks have 3.
        stride: between levels.
        dims: axes convolved, as in :class:`latentscape.nets.conv.ConvConfig`.
    """

    kind: Literal["conv"] = "conv"
    widths: tuple[PositiveInt, ...] = (96, 64, 32)
    kernel: Literal[3, 5, 7, 9] = 5
    stride: int = Field(2, ge=1)
    dims: Literal[1, 2] | None = None


LevelsConfig = Annotated[DenseLevelsConfig | ConvLevelsConfig, Field(discriminator="kind")]


class Levels:
    """The sizes of every level, and what makes modules for them.

    Args:
        config: of the levels.
        event_shape: of x.

    Raises:
        ConfigError: convolutions do not fit the event's axes.
    """

    def __init__(self, config: DenseLevelsConfig | ConvLevelsConfig, event_shape: tuple[int, ...]) -> None:
        self.config, self.event_shape = config, event_shape
        self.dims, self.planes, size = 0, torch.Size(event_shape).numel(), ()
        sizes: list[tuple[int, ...]] = [()] * len(config.widths)
        if isinstance(config, ConvLevelsConfig):
            self.dims, self.planes, size = layout(config.dims, event_shape)
            sizes = [self._divided(size, level) for level in range(len(config.widths), 0, -1)]
        self.sizes = (*sizes, size)
        """Sizes of the convolved axes, top level first, x's own last."""

    def _divided(self, size: tuple[int, ...], times: int) -> tuple[int, ...]:
        assert isinstance(self.config, ConvLevelsConfig)
        for _ in range(times):
            size = tuple(-(-n // self.config.stride) for n in size)
        return size

    def shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of a level's state."""
        return (self.config.widths[level], *self.sizes[level])

    def mix(self, inputs: int, outputs: int, kernel: int = 1, gain: float = 1.0) -> nn.Module:
        """Return a linear map between channels of the same size."""
        if not self.dims:
            return linear(inputs, outputs, gain)
        return draw_weights(CONV[self.dims](inputs, outputs, kernel, padding=kernel // 2), 1, gain)

    def norm(self, width: int) -> list[nn.Module]:
        """Return the normalisation, if there is one."""
        if not self.config.norm:
            return []
        return [nn.GroupNorm(1, width)] if self.dims else [nn.LayerNorm(width)]

    def active(self, width: int) -> list[nn.Module]:
        """Return what stands before a map: normalisation and activation; nothing where all maps are to be linear."""
        return [*self.norm(width), ACTIVATIONS[self.config.activation]()] if self.config.blocks else []

    def blocks(self, level: int) -> nn.Sequential:
        """Return the gated residual blocks of a level."""
        return nn.Sequential(*(Gated(self, self.config.widths[level]) for _ in range(self.config.blocks)))

    def down(self, level: int, inputs: int) -> nn.Module:
        """Return the map from the level below (x's planes below the lowest), of ``inputs`` channels, to a level."""
        width = self.config.widths[level]
        if not isinstance(self.config, ConvLevelsConfig):
            return linear(inputs, width, 1.0)
        kernel = self.config.kernel
        return draw_weights(CONV[self.dims](inputs, width, kernel, self.config.stride, padding=kernel // 2), 1, 1.0)

    def up(self, level: int, outputs: int, gain: float = 1.0) -> nn.Module:
        """Return the map from a level to ``outputs`` channels of the size below it."""
        width = self.config.widths[level]
        if not isinstance(self.config, ConvLevelsConfig):
            return linear(width, outputs, gain)
        kernel, stride = self.config.kernel, self.config.stride
        narrow, wide = self.sizes[level], self.sizes[level + 1]
        padding = tuple(n - 1 - (m - 1) * stride for m, n in zip(narrow, wide, strict=True))
        conv = TRANSPOSED[self.dims](width, outputs, kernel, stride, kernel // 2, output_padding=padding)
        return draw_weights(conv, stride**self.dims, gain)


class Gated(nn.Module):
    """A gated residual block (see the module)."""

    def __init__(self, levels: Levels, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *levels.active(width),
            levels.mix(width, width, 3, 2**0.5),
            *levels.active(width),
            *([nn.Dropout(levels.config.dropout)] if levels.config.dropout else []),
            levels.mix(width, 2 * width, 3, 1.0),
        )

    def forward(self, h: Float[Tensor, "b w ..."]) -> Float[Tensor, "b w ..."]:
        """Return the next state."""
        a, g = self.inner(h).chunk(2, dim=1)
        return torch.addcmul(h, a, g.sigmoid())


class Climb(nn.Module):
    """The way up: planes of x's shape become a state of every level.

    Args:
        levels: of the hierarchy.
        planes: how many tensors of x's shape are read side by side.
    """

    def __init__(self, levels: Levels, planes: int) -> None:
        super().__init__()
        widths = (*levels.config.widths, planes * levels.planes)
        count = len(levels.config.widths)
        self.axes = levels.dims
        self.stages = nn.ModuleList(
            nn.Sequential(levels.down(level, widths[level + 1]), levels.blocks(level)) for level in range(count)
        )

    def read(self, planes: list[Tensor]) -> Tensor:
        """Return the planes as what the lowest level reads."""
        h = torch.stack(planes, 1)
        return h.flatten(1, h.ndim - 1 - self.axes) if self.axes else h.flatten(1)

    def forward(self, planes: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the states, top level first."""
        h, states = self.read(planes), []
        for stage in reversed(self.stages):
            h = stage(h)
            states.append(h)
        return tuple(states[::-1])


class Write(nn.Module):
    """The last step down: the lowest state becomes ``channels`` numbers a value of x, then ``items`` an item.

    Args:
        levels: of the hierarchy.
        channels: numbers a value, or a place.
        items: numbers an item.
        colours: values of x a place that have numbers of their own; ``None``: all, 1: they share them.
    """

    def __init__(self, levels: Levels, channels: int, items: int, colours: int | None = None) -> None:
        super().__init__()
        lowest = len(levels.config.widths) - 1
        width = levels.config.widths[lowest]
        self.before = nn.Sequential(*levels.active(width))
        planes = levels.planes if colours is None else levels.planes // levels.event_shape[0] * colours
        self.values = levels.up(lowest, channels * planes, 0.5)
        self.items = linear(width, items, 0.5) if items else None

    def forward(self, h: Float[Tensor, "b w ..."]) -> Float[Tensor, "b o"]:
        """Return ``[b, outputs]``."""
        h = self.before(h)
        values = self.values(h).flatten(1)
        if self.items is None:
            return values
        return torch.cat([values, self.items(h.flatten(2).mean(2) if h.ndim > 2 else h)], 1)
