"""The table of nets: what reads data, what writes them.

A reader maps ``(x [b, *event], extra [b, e] or None)`` to ``[b, outputs]``; a writer maps ``[b, inputs]`` to
``channels`` numbers for every value of the event, then ``items`` numbers for the item. To add a net, add its pair here.
"""

from typing import Annotated, Any

from pydantic import Field
from torch import nn

from latentscape.nets.conv import ConvConfig, ConvReader, ConvWriter
from latentscape.nets.mlp import MlpConfig, MlpReader, MlpWriter

NetConfig = Annotated[MlpConfig | ConvConfig, Field(discriminator="kind")]
_TABLE: dict[type[Any], tuple[type[Any], type[Any]]] = {
    MlpConfig: (MlpReader, MlpWriter),
    ConvConfig: (ConvReader, ConvWriter),
}


def build_reader(config: MlpConfig | ConvConfig, event_shape: tuple[int, ...], extra: int, outputs: int) -> nn.Module:
    """Return the net that reads x and ``extra`` further numbers."""
    return _TABLE[type(config)][0](config, event_shape, extra, outputs)


def build_writer(
    config: MlpConfig | ConvConfig, inputs: int, event_shape: tuple[int, ...], channels: int, items: int
) -> nn.Module:
    """Return the net that writes the parameters of x's distribution."""
    return _TABLE[type(config)][1](config, inputs, event_shape, channels, items)
