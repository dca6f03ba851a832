r"""Recurrent models of a wave: p(x | c) as a product over samples, made by a SampleRNN, or by one plain recurrent net.

As :mod:`.autoregressive` in all but the network (:mod:`latentscape.nets.samplernn`) and its reach: what it heard of the
past has no end. A window that follows on another begins with the state that the other left, which comes in the context
and goes into the terms (:mod:`latentscape.models.memory`): truncated back-propagation with a state that is carried on
(Williams and Peng 1990).

In training, conditions are withheld from a row for all windows of its stretch: where the window before was told of
them, the state tells of them still, and what was never told from the begin on would never be met. So what is withheld
is carried with the state.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float
from pydantic import field_validator
from torch import Tensor

from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Context
from latentscape.models.autoencoder import full_precision
from latentscape.models.autoregressive import (
    PRESENT,
    WITHHELD,
    Autoregressive,
    AutoregressiveConfig,
    SeriesConfig,
    WaveLaw,
    WaveNetConditional,
)
from latentscape.models.memory import BEFORE, PLACE, state_of
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
        kept: Mapping[str, Tensor] = {},
    ) -> None:
        super().__init__(net, heard, rows, n, present)
        self.before, self.kept = before, kept

    def given(self, past: Tensor) -> Float[Tensor, "b n o"]:
        """Return the raw parameters of every sample's law, given what the net reads and the state before."""
        raw, after = self.net.net(past, self.heard.told, self.before)
        self.after = after | self.kept
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
            before = {
                name: torch.where(follows.reshape(-1, *[1] * (begin.ndim - 1)), before[name], begin)
                for name, begin in conditional.net.begin(rows).items()
            }
        heard = conditional.heard(None, context, rows)
        kept = {WITHHELD: context[WITHHELD]} if WITHHELD in context else {}
        return TieredLaw(conditional, heard, rows, conditional.samples, context.get(PRESENT), before, kept)

    def _hidden(self, context: Context, rows: int, things: int, device: torch.device) -> Bool[Tensor, "b k"]:
        """Return which conditions are withheld from which rows: what was, at the begin of a stretch, still is."""
        drawn, before = super()._hidden(context, rows, things, device), context.get(BEFORE + WITHHELD)
        return drawn if before is None else torch.where(context[PLACE][:, None] > 0, before.bool(), drawn)
