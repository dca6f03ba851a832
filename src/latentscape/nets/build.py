"""The table of nets: what reads data, what writes them.

A reader maps ``(x [b, *event], extra [b, e] or None)`` to ``[b, outputs]``; a writer maps ``[b, inputs]`` to
``channels`` numbers for every value of the event, then ``items`` numbers for the item. Both may be told ``[b, told]``,
which modulates their hidden layers (:mod:`latentscape.nets.film`). To add a net, add its pair here.
"""

from typing import Annotated, Any

from pydantic import Field
from torch import nn

from latentscape.core.errors import ConfigError
from latentscape.nets.bank import BankConfig, BankReader, BankWriter
from latentscape.nets.conv import ConvConfig, ConvReader, ConvWriter
from latentscape.nets.film import Film
from latentscape.nets.mlp import MlpConfig, MlpReader, MlpWriter
from latentscape.nets.recurrent import RecurrentNetConfig, RecurrentReader, RecurrentWriter

NetConfig = Annotated[MlpConfig | ConvConfig | RecurrentNetConfig | BankConfig, Field(discriminator="kind")]
_TABLE: dict[type[Any], tuple[type[Any], type[Any]]] = {
    MlpConfig: (MlpReader, MlpWriter),
    ConvConfig: (ConvReader, ConvWriter),
    RecurrentNetConfig: (RecurrentReader, RecurrentWriter),
    BankConfig: (BankReader, BankWriter),
}


def build_reader(
    config: MlpConfig | ConvConfig | RecurrentNetConfig | BankConfig,
    event_shape: tuple[int, ...],
    extra: int,
    outputs: int,
    told: int = 0,
) -> nn.Module:
    """Return the net that reads x and ``extra`` further numbers.

    Raises:
        ConfigError: it is to be told something, and has no hidden layer to hear it.
    """
    return _hearing(_TABLE[type(config)][0](config, event_shape, extra, outputs, told), told)


def build_writer(
    config: MlpConfig | ConvConfig | RecurrentNetConfig | BankConfig,
    inputs: int,
    event_shape: tuple[int, ...],
    channels: int,
    items: int,
    told: int = 0,
) -> nn.Module:
    """Return the net that writes the parameters of x's distribution.

    Raises:
        ConfigError: as :func:`build_reader`.
    """
    return _hearing(_TABLE[type(config)][1](config, inputs, event_shape, channels, items, told), told)


def _hearing(net: nn.Module, told: int) -> nn.Module:
    if told and not any(isinstance(module, Film) for module in net.modules()):
        raise ConfigError("model.condition_by: got 'film' for a net without hidden layers, expected 'concat'")
    return net
