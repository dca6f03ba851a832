r"""Recurrent nets that read an item in the course of time, and write one: a recurrent auto-encoder's two halves.

Letters: b batch, x the item ``[b, f, t]``, x_j its frames of F steps each, laid out as ``f F`` numbers, h hidden.

.. math:: h_j = \mathrm{cell}(h_{j-1}, W x_j + a), \qquad \text{out} = V h_m

reads (Fabius and van Amersfoort 2014, eq. 1 and 2), and a second net backwards in time where ``both`` says so;

.. math:: g_0 = \tanh(U z + d), \qquad g_j = \mathrm{cell}(g_{j-1}, W' y_{j-1} + Y z), \qquad y_j = V' g_j

writes (eq. 4 to 6). y are the parameters of x's law, and what is fed back is y itself, never x: given z all values are
independent, so that the law has a mean, and is evaluated as it is drawn. Without ``feedback`` the net hears z alone.
A last frame that x does not fill is padded with 0 when read, and cut when written. A net that is told something
modulates h at the end, and g at the begin (:mod:`latentscape.nets.film`).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.nets.film import Film
from latentscape.nets.mlp import initialise
from latentscape.nets.samplernn import CELLS


class RecurrentNetConfig(Record):
    """A recurrent net along the last axis of x.

    Attributes:
        width: of hidden values.
        layers: cells, one on the other.
        cell: gated recurrent unit or long short-term memory.
        frame: steps of x that are one step of the net, such as 64 samples of a wave.
        both: read backwards, too (reader only).
        feedback: what was written last is heard (writer only).
    """

    kind: Literal["recurrent"] = "recurrent"
    width: PositiveInt = 128
    layers: PositiveInt = 1
    cell: Literal["gru", "lstm"] = "gru"
    frame: PositiveInt = 1
    both: bool = False
    feedback: bool = True


def _layout(config: RecurrentNetConfig, event_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return values a step, steps, and frames of an event.

    Raises:
        ConfigError: it has no course of time.
    """
    if len(event_shape) != 2:
        raise ConfigError(f"net recurrent got x of shape {event_shape}, expected (values, steps): a window of several")
    values, steps = event_shape
    return values, steps, -(-steps // config.frame)


class RecurrentReader(nn.Module):
    """Reads x ``[b, f, t]``; extra numbers ``[b, e]`` are heard at every step."""

    def __init__(
        self, config: RecurrentNetConfig, event_shape: tuple[int, ...], extra: int, outputs: int, told: int = 0
    ) -> None:
        super().__init__()
        values, steps, self.frames = _layout(config, event_shape)
        self.frame, self.short, ways = config.frame, self.frames * config.frame - steps, 2 if config.both else 1
        self.read = initialise(nn.Linear(values * config.frame + extra, config.width), 1.0)
        self.cell = CELLS[config.cell](
            config.width, config.width, config.layers, batch_first=True, bidirectional=config.both
        )
        self.film = Film(told, ways * config.width) if told else None
        self.out = initialise(nn.Linear(ways * config.width, outputs), 0.5)

    def forward(
        self, x: Float[Tensor, "b f t"], extra: Tensor | None = None, told: Tensor | None = None
    ) -> Float[Tensor, "b o"]:
        """Return ``[b, outputs]``."""
        frames = F.pad(x, (0, self.short)).unflatten(2, (self.frames, self.frame)).transpose(1, 2).flatten(2)
        if extra is not None:
            frames = torch.cat([frames, extra.unsqueeze(1).expand(-1, self.frames, -1)], dim=2)
        _, last = self.cell(self.read(frames))
        last = last[0] if isinstance(last, tuple) else last  # of a long short-term memory h alone
        ways = 2 if self.cell.bidirectional else 1
        h = last[-ways:].transpose(0, 1).flatten(1)
        return self.out(h if self.film is None or told is None else self.film(h, told))


class RecurrentWriter(nn.Module):
    """Writes ``channels`` numbers a value of the event, then ``items`` an item, frame by frame."""

    def __init__(
        self,
        config: RecurrentNetConfig,
        inputs: int,
        event_shape: tuple[int, ...],
        channels: int,
        items: int,
        told: int = 0,
    ) -> None:
        super().__init__()
        self.values, self.steps, self.frames = _layout(config, event_shape)
        self.frame, self.channels = config.frame, channels
        self.layers, self.parts = config.layers, 2 if config.cell == "lstm" else 1
        size = channels * self.values * config.frame
        self.begin = initialise(nn.Linear(inputs, config.layers * self.parts * config.width), 1.0)
        self.film = Film(told, config.layers * self.parts * config.width) if told else None
        self.hear = initialise(nn.Linear(inputs, config.width), 1.0)
        self.again = initialise(nn.Linear(size, config.width), 0.5) if config.feedback else None
        self.cell = CELLS[config.cell](config.width, config.width, config.layers, batch_first=True)
        self.out = initialise(nn.Linear(config.width, size), 0.5)
        self.items = initialise(nn.Linear(inputs, items), 0.5) if items else None

    def forward(self, h: Float[Tensor, "b i"], told: Tensor | None = None) -> Float[Tensor, "b o"]:
        """Return ``[b, channels * prod(event) + items]``."""
        first = self.begin(h)
        first = torch.tanh(first if self.film is None or told is None else self.film(first, told))
        parts = [
            one.contiguous() for one in first.unflatten(1, (self.parts, self.layers, -1)).permute(1, 2, 0, 3).unbind(0)
        ]
        state = tuple(parts) if self.parts > 1 else parts[0]
        heard = self.hear(h).unsqueeze(1)
        if self.again is None:
            written = self.out(self.cell(heard.expand(-1, self.frames, -1), state)[0])
        else:
            frames: list[Tensor] = []
            inputs = heard
            for _ in range(self.frames):
                hidden, state = self.cell(inputs, state)
                frames.append(self.out(hidden))
                inputs = heard + self.again(frames[-1])
            written = torch.cat(frames, dim=1)
        # a frame is (parameter, value, step) long; the event's order is parameter slowest, then value, then time
        written = written.unflatten(2, (self.channels, self.values, self.frame)).permute(0, 2, 3, 1, 4).flatten(3)
        written = written[..., : self.steps].flatten(1)
        return written if self.items is None else torch.cat([written, self.items(h)], dim=1)
