r"""WaveNet: a causal stack of dilated, gated, residual convolutions (van den Oord et al. 2016).

Letters: n samples, x_t the sample at step t, h hidden values ``[b, n, r]``, z the gate's input ``[b, n, 2 r]``, a its
output, d the dilation of a layer, K kernel width, e what is told of the whole item, y what is heard at t.

.. math::
    h^1_t = E(x_{t-1}), \qquad
    z^l_t = \sum_{k=0}^{K-1} W^l_k h^l_{t - k d_l} + c^l + U^l e + V^l y_t, \qquad
    a = \tanh(z_{1..r}) \odot \sigma(z_{r+1..2r})

.. math:: h^{l+1} = h^l + P^l a^l, \qquad
          o_t = B \operatorname{relu}(A \operatorname{relu}(\textstyle\sum_l Q^l a^l + q) + q') + q''

(eq. 2 to 4 of the paper). o are the raw parameters of p(x_t | x_1 .. x_{t-1}, e, y). E is a row of a table for codes (a
one-hot code through a matrix), a line for real values; before the first sample it is the table's last row, and every
hidden value before the begin is 0. The receptive field is :math:`1 + (K - 1) \sum_l d_l` samples.

What is heard is a series at a lower rate, one step every ``hop`` samples; step i stands at sample (i + 1/2) hop. It is
widened by a convolution over three steps, brought to one value every ``hold`` samples by a transposed convolution a
channel (which begins as linear interpolation), and held in between: V y costs 1 / ``hold`` of what it would.

Hidden values lie as ``[b, n, r]``, and a convolution is one matrix product of the taps side by side.
"""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from latentscape.core.config import Record
from latentscape.core.errors import UsageError
from latentscape.nets.codes import code_table


class WaveNetConfig(Record):
    """Sizes of the stack.

    Attributes:
        residual: width of hidden values.
        skip: width of the skips' sum and of the head.
        kernel: width of the dilated convolutions, K.
        dilations: of one cycle of layers.
        stacks: how often the cycle is repeated.
        heard: width of a widened series.
        hold: samples that a value of the widened series is held for (or the greatest common divisor with its hop).
    """

    residual: PositiveInt = 32
    skip: PositiveInt = 64
    kernel: PositiveInt = 2
    dilations: tuple[PositiveInt, ...] = Field((1, 2, 4, 8, 16, 32, 64, 128, 256, 512), min_length=1)
    stacks: PositiveInt = 1
    heard: PositiveInt = 32
    hold: PositiveInt = 8

    @property
    def receptive_field(self) -> int:
        """Samples before x_t that its law depends on."""
        return 1 + (self.kernel - 1) * self.stacks * sum(self.dilations)


class Upsampler(nn.Module):
    """Brings a series ``[b, c, m]`` to one value every ``hold`` samples, ``[b, m hop / hold, heard]``."""

    def __init__(self, config: WaveNetConfig, channels: int, hop: int) -> None:
        super().__init__()
        self.channels, self.hop = channels, hop
        self.hold = math.gcd(hop, config.hold)
        self.stride = hop // self.hold
        self.widen = nn.Conv1d(channels, config.heard, 3, padding=1)
        if self.stride > 1:
            self.spread = nn.ConvTranspose1d(
                config.heard, config.heard, 2 * self.stride, self.stride, groups=config.heard, bias=False
            )
            ramp = (torch.arange(2 * self.stride) + 0.5) / self.stride
            with torch.no_grad():
                self.spread.weight.copy_((1 - (1 - ramp).abs()).expand_as(self.spread.weight))

    def forward(self, heard: Float[Tensor, "b c m"]) -> Float[Tensor, "b j e"]:
        """Return the widened series."""
        y = F.silu(self.widen(heard))
        if self.stride > 1:  # the ends are held, so that there is something to interpolate with
            y = self.spread(F.pad(y, (1, 1), mode="replicate"))
            cut = self.stride + self.stride // 2
            y = y[..., cut : cut + heard.shape[2] * self.stride]
        return y.transpose(1, 2)


class WaveNet(nn.Module):
    """The network of the module.

    Args:
        config: its sizes.
        outputs: raw parameters of one sample's law.
        levels: codes that are read through a table, or 0: standardised values are read.
        told: numbers that tell of the whole item, e.
        channels: of the series that is heard; 0 for none.
        hop: samples a step of that series.
    """

    edges: ClassVar = ("table", "head.1.weight")

    def __init__(
        self, config: WaveNetConfig, outputs: int, levels: int, told: int = 0, channels: int = 0, hop: int = 1
    ) -> None:
        super().__init__()
        self.config, self.outputs, self.levels, self.told = config, outputs, levels, told
        r, s = config.residual, config.skip
        self.dilations = config.dilations * config.stacks
        depth = len(self.dilations)
        self.table = nn.Parameter(code_table(levels, r) if levels else torch.zeros(2, r).normal_())
        self.gates = nn.ModuleList(_linear(config.kernel * r, 2 * r) for _ in range(depth))
        self.outs = nn.ModuleList(_linear(r, r + s, bias=False) for _ in range(depth))
        with torch.no_grad():
            for _, _, out in self.layers:
                out.weight[:r] *= depth**-0.5
                out.weight[r:] *= 2 * depth**-0.5
        self.skip_bias = nn.Parameter(torch.zeros(s))
        self.head = nn.ModuleList([_linear(s, s, gain=2**0.5), _linear(s, outputs, gain=0.1)])
        self.tell = _linear(told, depth * 2 * r, bias=False, gain=0.5) if told else None
        self.upsampler = Upsampler(config, channels, hop) if channels else None
        self.hear = _linear(config.heard, depth * 2 * r, bias=False, gain=0.5) if channels else None

    @property
    def receptive_field(self) -> int:
        """Samples before x_t that its law depends on."""
        return self.config.receptive_field

    @property
    def layers(self) -> list[tuple[int, nn.Linear, nn.Linear]]:
        """Dilation, gate (all taps, the oldest first) and output (residual, then skip) of every layer."""
        gates, outs = cast("list[nn.Linear]", self.gates), cast("list[nn.Linear]", self.outs)
        return list(zip(self.dilations, gates, outs, strict=True))

    def begin(self, x: Num[Tensor, "b n"]) -> Float[Tensor, "b n r"]:
        """Return the first layer's input: what is seen of the sample before each."""
        if not self.levels:
            return F.pad(x[:, :-1], (1, 0)).unsqueeze(2) * self.table[0] + self.table[1]
        return F.embedding(F.pad(x[:, :-1], (1, 0), value=self.levels), self.table)

    def told_gates(self, told: Float[Tensor, "b e"] | None) -> Float[Tensor, "b l z"]:
        """Return what is added to every gate at all steps: ``[b, layers, 2 r]``, or ``[1, ...]`` if nothing is told."""
        bias = torch.stack([gate.bias for _, gate, _ in self.layers]).unsqueeze(0)
        if self.tell is None or told is None:
            return bias
        return bias + self.tell(told).reshape(len(told), len(self.gates), -1)

    def heard_gates(self, y: Float[Tensor, "b j e"]) -> Float[Tensor, "b j l z"]:
        """Return what a widened series adds to every gate: ``[b, steps, layers, 2 r]``."""
        assert self.hear is not None
        return self.hear(y).reshape(*y.shape[:2], len(self.gates), -1)

    def forward(
        self,
        x: Num[Tensor, "b n"],
        told: Float[Tensor, "b e"] | None = None,
        heard: Float[Tensor, "b c m"] | None = None,
    ) -> Float[Tensor, "b n o"]:
        """Return the raw parameters of every sample's law, given those before it.

        Args:
            x: codes (int64), or standardised values.
            told: of the items.
            heard: series of at least n / hop steps; ``None`` adds nothing, and so does one that is NaN throughout:
                unknown. Of one that is known in part the rest is heard as 0.

        Raises:
            UsageError: the series is too short, or has other channels.
        """
        n = x.shape[1]
        series = None if heard is None else self.heard_gates(self.listen(heard, n))
        *_, (_, _, skips) = self.steps(self.begin(x), self.told_gates(told), series)
        return self.speak(skips)

    def steps(
        self, h: Float[Tensor, "b n r"], fixed: Float[Tensor, "c l z"], series: Float[Tensor, "b j l z"] | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield of every layer the gate's input ``[b, n, 2 r]``, what it hands on ``[b, n, r]``, and the skips so far.

        Args:
            h: the first layer's input.
            fixed: what is added to the gates at all steps.
            series: what is added to them while it is heard.
        """
        b, n, r = h.shape
        skips = self.skip_bias.expand(b * n, -1)
        for layer, (dilation, gate, out) in enumerate(self.layers):
            taps = cast("Tensor", _Taps.apply(h, self.config.kernel, dilation))
            if len(fixed) == 1:  # the same for all items: a bias
                z = F.linear(taps, gate.weight, fixed[0, layer])
            else:
                z = F.linear(taps, gate.weight)
                z = z + fixed[:, layer].unsqueeze(1).to(z.dtype)  # or all that follows would be as wide as the sum
            if series is not None:
                assert self.upsampler is not None
                z = z + series[:, :, layer].repeat_interleave(self.upsampler.hold, dim=1)[:, :n]
            a = cast("Tensor", _Gate.apply(z)).reshape(b * n, r)
            onward, skip = out.weight.t().split((r, len(self.skip_bias)), dim=1)
            h = torch.addmm(h.reshape(b * n, r), a, onward).reshape(b, n, r)
            skips = torch.addmm(skips, a, skip)
            yield z, h, skips.reshape(b, n, -1)

    def speak(self, skips: Float[Tensor, "b n s"]) -> Float[Tensor, "b n o"]:
        """Return the raw parameters that the head makes of the skips' sum."""
        return self.head[1](F.relu(self.head[0](F.relu(skips))))

    def listen(self, heard: Float[Tensor, "b c m"], n: int) -> Float[Tensor, "b j e"]:
        """Return the widened series for n samples.

        Raises:
            UsageError: it is too short, or has other channels.
        """
        up = self.upsampler
        if up is None:
            raise UsageError("a series was given, but this network hears none")
        if heard.shape[1] != up.channels or heard.shape[2] * up.hop < n:
            raise UsageError(
                f"a series of {heard.shape[1]} channels and {heard.shape[2]} steps arrived, "
                f"expected {up.channels} channels and at least {-(-n // up.hop)} steps for {n} samples"
            )
        known = heard.isfinite().flatten(1).any(1)
        return (up(heard.nan_to_num(0.0, 0.0, 0.0)) * known[:, None, None])[:, : -(-n // up.hold)]


class _Taps(torch.autograd.Function):
    """Hidden values ``[b, n, r]`` of a convolution's taps side by side, the oldest first: ``[b, n, kernel r]``.

    Sums and slices that autograd would make of this (a zeroed copy for every slice) took a third of a training step.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, kernel: int, dilation: int) -> Tensor:  # pyrefly: ignore
        b, n, r = h.shape
        ctx.shifts = [min(tap * dilation, n) for tap in range(kernel - 1, 0, -1)]
        taps = h.new_empty(b, n, kernel * r)
        for i, by in enumerate(ctx.shifts):
            taps[:, :by, i * r : (i + 1) * r] = 0
            taps[:, by:, i * r : (i + 1) * r] = h[:, : n - by]
        taps[..., -r:] = h
        return taps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore
        n, r = grad.shape[1], grad.shape[2] // (len(ctx.shifts) + 1)
        back = grad[..., -r:].clone()
        for i, by in enumerate(ctx.shifts):
            back[:, : n - by] += grad[:, by:, i * r : (i + 1) * r]
        return back, None, None


class _Gate(torch.autograd.Function):
    """tanh of the first half times the sigmoid of the second; its gradient is written at one go."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # pyrefly: ignore
        signal, gate = z.chunk(2, dim=-1)
        signal, gate = torch.tanh(signal), torch.sigmoid(gate)
        ctx.save_for_backward(signal, gate)
        return signal * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyrefly: ignore
        signal, gate = ctx.saved_tensors
        back = grad.new_empty(*grad.shape[:-1], 2 * grad.shape[-1])
        of_signal, of_gate = back.chunk(2, dim=-1)
        through = torch.mul(grad, gate, out=of_signal)  # g s (1 - t^2)
        torch.mul(through, signal, out=of_gate)
        through.addcmul_(of_gate, signal, value=-1)
        of_gate.addcmul_(of_gate, gate, value=-1)  # g s t (1 - s)
        return back


def _linear(inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        layer.weight.normal_(0, gain * inputs**-0.5)
        if bias:
            layer.bias.zero_()
    return layer
