r"""Multi-layer perceptrons.

Letters: b batch, i inputs, o outputs, h hidden state.

A layer is ``h <- act(norm(W h + a))``; where ``residual`` and the widths agree, ``h <- h + act(norm(W h + a))``. No
widths: the net is one linear map. A net that is told something modulates every hidden layer before its activation
(:mod:`latentscape.nets.film`).
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.nets.film import Film, Residual, Stack

Activation = Literal["silu", "relu", "gelu", "elu", "tanh", "leaky_relu", "softplus"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "softplus": nn.Softplus,
}


WIDE = 1024
"""Inputs that a layer's learning rate suits."""


class MlpConfig(Record):
    """A stack of dense layers; ``widths`` from input to output, empty for a linear map."""

    kind: Literal["mlp"] = "mlp"
    widths: tuple[PositiveInt, ...] = (512, 512)
    activation: Activation = "silu"
    norm: bool = False
    residual: bool = False
    dropout: float = Field(0.0, ge=0, lt=1)


class Mlp(Stack):
    """``[b, i] -> [b, o]``, told ``[b, told]`` in every hidden layer where ``told`` is not 0."""

    def __init__(self, config: MlpConfig, inputs: int, outputs: int, told: int = 0) -> None:
        super().__init__()
        for width in config.widths:
            layer = dense_layer(config, inputs, width, told)
            self.extend([Residual(Stack(*layer))] if config.residual and width == inputs else layer)
            inputs = width
        self.append(linear(inputs, outputs, gain=0.5))


class Wide(nn.Linear):
    """A linear layer of very many inputs whose weights are kept large by a fixed factor c, ``W (c h) + a``.

    Adam moves every weight by about the learning rate, so that of i coherent inputs (a raw window of sound) the output
    moves i times as far: 32,000 inputs blow up at a rate that suits 500. With c = 1024 / i it moves as for 1024 inputs
    (the rule of Yang and Hu 2021, table 3, for the width of a layer under Adam).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.factor = WIDE / inputs

    def forward(self, input: Tensor) -> Tensor:
        """Return ``[b, outputs]``."""
        return super().forward(input * self.factor)


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """Return a linear layer with initial weights (see :func:`initialise`), a :class:`Wide` one above 4096 inputs."""
    if inputs <= 4 * WIDE:
        return initialise(nn.Linear(inputs, outputs), gain)
    layer = Wide(inputs, outputs)
    return initialise(layer, gain / layer.factor)


def dense_layer(config: MlpConfig, inputs: int, width: int, told: int = 0) -> list[nn.Module]:
    """Return the modules of one hidden layer."""
    layers: list[nn.Module] = [linear(inputs, width, gain=2**0.5)]
    if config.norm:
        layers.append(nn.LayerNorm(width))
    if told:
        layers.append(Film(told, width))
    layers.append(ACTIVATIONS[config.activation]())
    if config.dropout:
        layers.append(nn.Dropout(config.dropout))
    return layers


def initialise(layer: nn.Linear, gain: float) -> nn.Linear:
    """Draw weights with variance gain^2 / inputs (He et al. 2015 for hidden layers; less at an output), biases zero."""
    with torch.no_grad():
        layer.weight.normal_(0, gain * layer.in_features**-0.5)
        layer.bias.zero_()
    return layer


class MlpReader(nn.Module):
    """Reads x ``[b, *event]`` and extra numbers ``[b, e]``: flattens and concatenates them."""

    def __init__(
        self, config: MlpConfig, event_shape: tuple[int, ...], extra: int, outputs: int, told: int = 0
    ) -> None:
        super().__init__()
        self.mlp = Mlp(config, torch.Size(event_shape).numel() + extra, outputs, told)

    def forward(self, x: Tensor, extra: Tensor | None = None, told: Tensor | None = None) -> Float[Tensor, "b o"]:
        """Return ``[b, outputs]``."""
        h = x.flatten(1)
        return self.mlp(h if extra is None else torch.cat([h, extra], dim=1), told)


class MlpWriter(Mlp):
    """Writes ``channels`` numbers a value of the event, then ``items`` an item: ``[b, i] -> [b, outputs]``."""

    def __init__(
        self,
        config: MlpConfig,
        inputs: int,
        event_shape: tuple[int, ...],
        channels: int,
        items: int,
        told: int = 0,
    ) -> None:
        super().__init__(config, inputs, channels * torch.Size(event_shape).numel() + items, told)
