r"""Convolutional stacks that reproduce any size exactly.

Letters: c channels, k kernel (odd), s stride, n an axis' size.

A stage of the reader maps n to :math:`\lceil n / s \rceil` (padding (k - 1) / 2); its mirror in the writer is a
transposed convolution with the output padding that gives back n, whatever n is. What is convolved follows from the
event's axes and ``dims``: with one axis more than ``dims``, the first is channels (an image ``(c, h, w)`` with 2, a raw
window ``(c, n)`` or a patch ``(f, t)`` convolved along its last axis with 1); with as many axes, there is one channel
(a patch ``(f, t)`` seen as a picture with 2, a frame ``(f,)`` with 1). A net that is told something modulates the
channels before every activation (:mod:`latentscape.nets.film`).
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.nets.film import Film, Residual, Stack
from latentscape.nets.mlp import ACTIVATIONS, Activation, Mlp, MlpConfig

CONV: dict[int, type[Any]] = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED: dict[int, type[Any]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}


class ConvConfig(Record):
    """Strided convolutions and a dense neck; written for the reader, mirrored by the writer.

    Attributes:
        channels: of each stage, from data to latents; empty leaves the dense neck only.
        kernel: odd.
        stride: downsampling of each stage.
        blocks: residual blocks (two 3-wide convolutions) after each stage.
        dense: widths of the neck's hidden layers, from data to latents.
        dims: axes convolved; by default one less than the event has (at least 1).
    """

    kind: Literal["conv"] = "conv"
    channels: tuple[PositiveInt, ...] = (32, 64, 128)
    kernel: int = Field(5, ge=1)
    stride: int = Field(2, ge=1)
    blocks: int = Field(0, ge=0)
    dense: tuple[PositiveInt, ...] = ()
    activation: Activation = "silu"
    norm: bool = False
    dims: Literal[1, 2] | None = None

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError("an odd number")
        return kernel


def layout(wanted: int | None, event_shape: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
    """Return dims, channels and the sizes of the convolved axes.

    Raises:
        ConfigError: so many dims do not fit the event's axes.
    """
    axes = len(event_shape)
    dims = wanted or max(1, axes - 1)
    if axes == dims + 1 and dims in CONV:
        return dims, event_shape[0], event_shape[1:]
    if axes == dims:
        return dims, 1, event_shape
    raise ConfigError(f"net conv with dims {dims} got x of shape {event_shape}, expected {dims} or {dims + 1} axes")


def _sizes(config: ConvConfig, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the sizes before the first stage and after every stage."""
    sizes = [size]
    for _ in config.channels:
        sizes.append(tuple(-(-n // config.stride) for n in sizes[-1]))
    return sizes


def _finish(config: ConvConfig, dims: int, channels: int, told: int) -> list[nn.Module]:
    """Return what follows a stage's convolution."""
    layers = _activate(config, channels, told)
    for _ in range(config.blocks):
        first, second = (CONV[dims](channels, channels, 3, padding=1) for _ in range(2))
        between = _activate(config, channels, told)
        layers.append(Residual(Stack(draw_weights(first, 1), *between, draw_weights(second, 1, gain=0.5))))
    return layers


def _activate(config: ConvConfig, channels: int, told: int, norm: bool = True) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.GroupNorm(1, channels)] if config.norm and norm else []
    return [*layers, *([Film(told, channels)] if told else []), ACTIVATIONS[config.activation]()]


def draw_weights(layer: nn.Module, reuse: int, gain: float = 2**0.5) -> nn.Module:
    """Draw weights so that variance is kept: gain^2 / (inputs that reach one output); ``reuse`` divides them."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
    fan = weight[:, 0].numel() if transposed else weight[0].numel()
    with torch.no_grad():
        weight.normal_(0, gain * (fan / reuse) ** -0.5)
        bias.zero_()
    return layer


def _neck(config: ConvConfig, widths: tuple[int, ...]) -> MlpConfig:
    return MlpConfig(widths=widths, activation=config.activation, norm=config.norm)


class ConvReader(nn.Module):
    """Reads x ``[b, *event]``; extra numbers ``[b, e]`` are added as constant channels."""

    def __init__(
        self, config: ConvConfig, event_shape: tuple[int, ...], extra: int, outputs: int, told: int = 0
    ) -> None:
        super().__init__()
        self.dims, self.inputs, size = layout(config.dims, event_shape)
        channels = self.inputs + extra
        stages: list[nn.Module] = []
        for width in config.channels:
            conv = CONV[self.dims](channels, width, config.kernel, config.stride, padding=config.kernel // 2)
            stages += [draw_weights(conv, 1), *_finish(config, self.dims, width, told)]
            channels = width
        self.stages = Stack(*stages)
        flat = channels * torch.Size(_sizes(config, size)[-1]).numel()
        self.neck = Mlp(_neck(config, config.dense), flat, outputs, told)

    def forward(self, x: Tensor, extra: Tensor | None = None, told: Tensor | None = None) -> Float[Tensor, "b o"]:
        """Return ``[b, outputs]``."""
        h = x if x.ndim == self.dims + 2 else x.unsqueeze(1)
        if extra is not None:
            ones = [1] * self.dims
            h = torch.cat([h, extra.reshape(*extra.shape, *ones).expand(-1, -1, *h.shape[2:])], dim=1)
        return self.neck(self.stages(h, told).flatten(1), told)


class ConvWriter(nn.Module):
    """Writes ``channels`` numbers a value of the event, then ``items`` an item, from the neck."""

    def __init__(
        self,
        config: ConvConfig,
        inputs: int,
        event_shape: tuple[int, ...],
        channels: int,
        items: int,
        told: int = 0,
    ) -> None:
        super().__init__()
        dims, event_channels, size = layout(config.dims, event_shape)
        sizes = _sizes(config, size)
        widths = (*config.channels[::-1], channels * event_channels)
        self.start = (widths[0], *sizes[-1])
        self.items = items
        self.first = torch.Size(self.start).numel()
        self.channels, self.event_channels = channels, event_channels
        self.neck = Mlp(_neck(config, config.dense[::-1]), inputs, self.first + items, told)
        stages: list[nn.Module] = []
        last = len(config.channels) - 1
        for stage, (narrow, wide) in enumerate(zip(sizes[:0:-1], sizes[-2::-1], strict=True)):
            if stage == 0:
                stages += _activate(config, widths[0], told, norm=False)
            padding = tuple(n - 1 - (m - 1) * config.stride for m, n in zip(narrow, wide, strict=True))
            shape = (widths[stage], widths[stage + 1], config.kernel, config.stride, config.kernel // 2)
            conv = TRANSPOSED[dims](*shape, output_padding=padding)
            stages.append(draw_weights(conv, config.stride**dims, gain=0.5 if stage == last else 2**0.5))
            if stage < last:
                stages += _finish(config, dims, widths[stage + 1], told)
        self.stages = Stack(*stages)

    def forward(self, h: Float[Tensor, "b i"], told: Tensor | None = None) -> Float[Tensor, "b o"]:
        """Return ``[b, channels * prod(event) + items]``."""
        h = self.neck(h, told)
        # Output channels are (parameter, event channel), parameters slowest, as a flat event is.
        out = self.stages(h[:, : self.first].reshape(-1, *self.start), told).flatten(1)
        return torch.cat([out, h[:, self.first :]], dim=1) if self.items else out
