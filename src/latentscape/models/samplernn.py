r"""Recurrent models of a wave: p(x | c) as a product over samples, made by a SampleRNN, or by one plain recurrent net.

As :mod:`.autoregressive` in all but the network (:mod:`latentscape.nets.samplernn`) and its reach: what it heard of the
past has no end. A window that follows on another begins with the state that the other left, which comes in the context
and goes into the terms (:mod:`latentscape.models.memory`): truncated back-propagation with a state that is carried on
(Williams and Peng 1990).
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from pydantic import field_validator
from torch import Tensor

from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Context
from latentscape.models.autoencoder import full_precision
from latentscape.models.autoregressive import (
    PRESENT,
    Autoregressive,
    AutoregressiveConfig,
    SeriesConfig,
    WaveLaw,
    WaveNetConditional,
)
from latentscape.models.memory import PLACE, state_of
from latentscape.nets.samplernn import SampleRnn, SampleRnnConfig, State
from latentscape.nets.samplernn_sampler import TieredSampler
from latentscape.nets.wavenet_sampler import Heard, Sampling, Storage


class RecurrentConfig(AutoregressiveConfig):
    """What :class:`Recurrent` is made of: as a WaveNet, but nothing is heard.

    Attributes:
        net: sizes of the tiers.
    """

    kind: Literal["samplernn"] = "samplernn"  # type: ignore[assignment]
    net: SampleRnnConfig = SampleRnnConfig()  # type: ignore[assignment]

    @field_validator("series")
    @classmethod
    def _none(cls, series: SeriesConfig | None) -> SeriesConfig | None:
        if series is not None:
            raise ValueError("nothing: this network hears no series")
        return series


class TieredLaw(WaveLaw):
    """p(x | e, state): begins with the state before the window, and leaves the one after it."""

    def __init__(
        self,
        net: "RecurrentConditional",
        heard: Heard,
        rows: int,
        n: int,
        present: Tensor | None,
        before: State | None = None,
    ) -> None:
        super().__init__(net, heard, rows, n, present)
        self.before = before

    def raw(self, value: Tensor) -> Float[Tensor, "b n o"]:
        """Return the raw parameters of every sample's law, given those before it."""
        past = self.net.disturbed(self.net.read(value)[:, 0])
        raw, self.after = self.net.net(past, self.heard.told, self.before)
        return full_precision(raw)


class RecurrentConditional(WaveNetConditional):
    """p(x | given, context), with recurrent tiers in place of a WaveNet."""

    def build(self, levels: int) -> Any:
        """Return the network that reads ``levels`` codes, or values (0)."""
        return SampleRnn(cast("SampleRnnConfig", self.config.net), self.likelihood.channels, levels, self.told)

    def sampler(self, storage: Storage, rows: int = 1) -> Sampling:
        """Return the network made ready for sampling."""
        return TieredSampler(self.net, self.output, storage)


class Recurrent(Autoregressive):
    """The model of the module.

    Args:
        config: what it is made of.
        event_shape: of x, ``(1, n)``.
        vocabulary: number of values of every label.
        units: mean and scale of a real-valued wave, one number each.

    Raises:
        ConfigError: x is no wave of one channel of whole frames, or a label is not known.
    """

    carries = True
    makes = RecurrentConditional

    def __init__(
        self,
        config: RecurrentConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__(config, event_shape, vocabulary, units)
        frame = config.net.frames[0]
        if event_shape[1] % frame:
            raise ConfigError(
                f"window.length: got {event_shape[1]}, expected a multiple of {frame}, model.net.frames[0]"
            )

    @property
    def receptive_field(self) -> None:
        """Has no end."""
        return

    def law(self, context: Context, rows: int) -> TieredLaw:
        """Return p(x | context) of ``rows`` items."""
        conditional = cast("RecurrentConditional", self.conditional)
        before = state_of(context)
        if before is not None:
            follows = context[PLACE] > 0
            begin = conditional.net.begin(rows)
            before = {
                name: torch.where(follows.reshape(-1, *[1] * (value.ndim - 1)), value, begin[name])
                for name, value in before.items()
            }
        heard = conditional.heard(None, context, rows)
        return TieredLaw(conditional, heard, rows, conditional.samples, context.get(PRESENT), before)
