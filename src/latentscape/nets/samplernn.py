r"""SampleRNN: recurrent nets at several rates, the slow ones told to the fast ones (Mehri et al. 2017).

Letters: b rows, n samples, x_t the sample at step t, tier k of K from the top, F_k samples a frame, F_{K+1} = 1,
h hidden values of width w, r_k = F_k / F_{k+1}, e what is told of the whole item.

Tier k reads the frame before the one it speaks of, and what the tier above said of that (eq. 4 to 8 of the paper):

.. math::
    u^k_j = W_k\, x_{(j-1) F_k \dots j F_k - 1} + c^{k-1}_j + U_k e, \qquad
    h^k_j = \mathrm{cell}(h^k_{j-1}, u^k_j), \qquad
    (c^k_{r j}, \dots, c^k_{r j + r - 1}) = S_k h^k_j

Last comes a perceptron, which sees the P samples before each, a row of a table for every one of them (eq. 9 and 10):

.. math:: o_t = C \operatorname{relu}(B \operatorname{relu}(c^K_t + U e + \sum_{i=1}^{P} T_{i, x_{t-i}}))

o are the raw parameters of p(x_t | x_1 .. x_{t-1}, e). Three models are rows of this table:

============================  ==============  ====
model                         F               P
============================  ==============  ====
SampleRNN of three tiers      16, 4           4
sample by sample (the plain)  1               0, 1
frame by frame                16              0
============================  ==============  ====

With P = 0 the samples of a frame are independent given those before the frame.

**State.** What the net holds between two windows of one sound: h of every cell, and the last samples. Windows begin at
multiples of F_1; one that nothing came before begins with a learnt h and the code that stands for nothing.
"""

from itertools import pairwise
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from latentscape.core.config import Record
from latentscape.core.errors import UsageError
from latentscape.nets.codes import code_table

State = dict[str, Tensor]
"""``cell.k``: ``[b, layers, parts * w]`` (a long short-term memory holds two parts, h and c); ``past``: ``[b, m]``."""
CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class SampleRnnConfig(Record):
    """Sizes of the tiers.

    Attributes:
        frames: samples a frame of each tier, from the top; each a multiple of the next.
        past: samples before each that the perceptron sees, P.
        cell: gated recurrent unit (Cho et al. 2014) or long short-term memory (Hochreiter and Schmidhuber 1997).
        width: of hidden values, w.
        layers: cells of a tier, one on the other.
        head: width of the perceptron's two hidden layers.
    """

    frames: tuple[PositiveInt, ...] = Field((16, 4), min_length=1)
    past: int = Field(4, ge=0)
    cell: Literal["gru", "lstm"] = "gru"
    width: PositiveInt = 256
    layers: PositiveInt = 1
    head: PositiveInt = 128

    @field_validator("frames")
    @classmethod
    def _nested(cls, frames: tuple[int, ...]) -> tuple[int, ...]:
        if any(above % below for above, below in pairwise(frames)):
            raise ValueError("sizes from the top, each a multiple of the next")
        return frames

    @property
    def ratios(self) -> tuple[int, ...]:
        """Steps of the next tier, or samples, in one step of each tier."""
        return tuple(above // below for above, below in pairwise((*self.frames, 1)))

    @property
    def reach(self) -> int:
        """Samples that have to be remembered as they are."""
        return max(self.frames[0], self.past)


class Tier(nn.Module):
    """One recurrent net: frames ``[b, j, F]`` and what is added to its inputs ``[b, j, w]`` become ``[b, r j, v]``."""

    def __init__(self, config: SampleRnnConfig, frame: int, ratio: int, wide: int) -> None:
        super().__init__()
        self.frame, self.ratio, self.parts = frame, ratio, 2 if config.cell == "lstm" else 1
        self.read = nn.Linear(frame, config.width)
        self.cell = CELLS[config.cell](config.width, config.width, config.layers, batch_first=True)
        self.spread = nn.Linear(config.width, ratio * wide)
        self.begin = nn.Parameter(torch.zeros(config.layers, self.parts * config.width))
        with torch.no_grad():
            self.read.weight.normal_(0, 2 * frame**-0.5)  # sound is quiet: samples are far smaller than 1
            self.spread.weight.normal_(0, config.width**-0.5)
            for layer in (self.read, self.spread):
                layer.bias.zero_()
            if config.cell == "lstm":  # forget little at first (Gers et al. 2000)
                for number in range(config.layers):
                    getattr(self.cell, f"bias_ih_l{number}")[config.width : 2 * config.width] = 1.0

    def forward(
        self, frames: Float[Tensor, "b j f"], added: Tensor, before: Float[Tensor, "b l v"]
    ) -> tuple[Float[Tensor, "b i u"], Float[Tensor, "b l v"]]:
        """Return what is said to the next tier, and the cells' state after it."""
        parts = [one.transpose(0, 1).contiguous() for one in before.to(frames.dtype).chunk(self.parts, dim=2)]
        hidden, after = self.cell(self.read(frames) + added, tuple(parts) if self.parts > 1 else parts[0])
        said = self.spread(hidden)
        after = torch.cat(after, dim=2) if self.parts > 1 else after
        return said.reshape(len(said), said.shape[1] * self.ratio, -1), after.transpose(0, 1)


class SampleRnn(nn.Module):
    """The network of the module.

    Args:
        config: its sizes.
        outputs: raw parameters of one sample's law.
        levels: codes that are read, or 0: standardised values are read.
        told: numbers that tell of the whole item, e.
    """

    edges: ClassVar = ("head.1.weight",)

    def __init__(self, config: SampleRnnConfig, outputs: int, levels: int, told: int = 0) -> None:
        super().__init__()
        self.config, self.outputs, self.levels, self.told = config, outputs, levels, told
        widths = (*[config.width] * (len(config.frames) - 1), config.head)
        self.tiers = nn.ModuleList(
            Tier(config, frame, ratio, wide)
            for frame, ratio, wide in zip(config.frames, config.ratios, widths, strict=True)
        )
        tables = torch.randn(config.past, levels + 1 if levels else 1, config.head)
        for table in tables if levels else ():
            table.copy_(code_table(levels, config.head))
        self.tables = nn.Parameter(tables * max(1, config.past) ** -0.5)
        self.head = nn.ModuleList([nn.Linear(config.head, config.head), nn.Linear(config.head, outputs)])
        self.tell = nn.Linear(told, len(config.frames) * config.width + config.head, bias=False) if told else None
        with torch.no_grad():
            for layer, gain in zip(cast("list[nn.Linear]", self.head), (2**0.5, 0.1), strict=True):
                layer.weight.normal_(0, gain * config.head**-0.5)
                layer.bias.zero_()
            if self.tell is not None:
                self.tell.weight.normal_(0, 0.5 * told**-0.5)

    def begin(self, rows: int) -> State:
        """Return the state that nothing came before."""
        tiers = cast("list[Tier]", self.tiers)
        state = {f"cell.{number}": tier.begin.expand(rows, -1, -1) for number, tier in enumerate(tiers)}
        past = torch.full((rows, self.config.reach), float(self.levels), device=self.tables.device)
        return state | {"past": past}

    def adds(self, told: Float[Tensor, "b e"] | None) -> list[Tensor]:
        """Return what is added to the inputs of every tier and of the perceptron, ``[b or 1, w]`` each."""
        sizes = [self.config.width] * len(self.tiers) + [self.config.head]
        if self.tell is None or told is None:
            return [self.tables.new_zeros(1, size) for size in sizes]
        return list(self.tell(told).split(sizes, dim=1))

    def place(self, x: Tensor) -> Tensor:
        """Return samples as numbers about 0, at most 1: what a tier reads; 0 for nothing."""
        if not self.levels:
            return x
        return torch.where(x == self.levels, 0.0, x * (2 / (self.levels - 1)) - 1)

    def forward(
        self, x: Num[Tensor, "b n"], told: Float[Tensor, "b e"] | None = None, before: State | None = None
    ) -> tuple[Float[Tensor, "b n o"], State]:
        """Return the raw parameters of every sample's law, given those before it, and the state after the last.

        Args:
            x: codes, or standardised values.
            told: of the items.
            before: the state that the window begins with; ``None`` for a begin.

        Raises:
            UsageError: n is no multiple of the longest frame.
        """
        config, (rows, n) = self.config, x.shape
        if n % config.frames[0]:
            raise UsageError(f"a window of {n} samples arrived, expected a multiple of {config.frames[0]}")
        before = self.begin(rows) if before is None else before
        reach = config.reach
        x = x.to(self.tables.dtype)
        known = torch.cat([before["past"].to(x.dtype), x], dim=1)
        values = self.place(known)
        after: State = {"past": known[:, n:]}
        adds = self.adds(told)
        said: Tensor | float = 0.0
        for number, tier in enumerate(cast("list[Tier]", self.tiers)):
            frames = values[:, reach - tier.frame : reach + n - tier.frame].reshape(rows, n // tier.frame, tier.frame)
            said, after[f"cell.{number}"] = tier(frames, said + adds[number].unsqueeze(1), before[f"cell.{number}"])
        hidden = said + adds[-1].unsqueeze(1)
        for lag in range(1, config.past + 1):
            table = self.tables[lag - 1]
            if self.levels:
                hidden = hidden + F.embedding(known[:, reach - lag : reach + n - lag].long(), table)
            else:
                hidden = hidden + values[:, reach - lag : reach + n - lag, None] * table[0]
        return self.head[1](F.relu(self.head[0](F.relu(hidden)))), after
