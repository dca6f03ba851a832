r"""Sampling from a WaveNet in torch: many streams as one batch, for a model that lies on a GPU.

Letters: g streams, q rows (g, or 2 g where conditions are strengthened), l layers, r and s widths, K kernel width, d_i
the dilation of layer i, T_i = (K - 1) d_i steps that it looks back.

What is remembered are the same rings as in :mod:`latentscape.nets.wavenet_sampler`, all layers in one tensor
``[sum T_i, q, r]``: row t mod T_i of layer i holds its input at step t. All that a step needs of the past was known
before it, so that the past taps of all layers are one gather and one batched product; a layer then costs two products,
and the skips are one product of all gates' outputs side by side.

Where a step stands (in its rings, among the draws, in what is heard) is counted by tensors on the device. A step is
therefore the same sequence of kernels every time: on CUDA it is captured once as a graph and replayed, a launch a
sample; elsewhere it runs as it is. The processor waits for the device once in :data:`BLOCK` samples.

Draws, conditions and manners are those of the compiled sampler, by the same two numbers from (0, 1) a sample; sums are
rounded otherwise, so that sounds are alike until a draw falls on an edge.
"""

import copy
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentscape.core.errors import UsageError
from latentscape.core.precision import without_autocast
from latentscape.nets.wavenet import WaveNet
from latentscape.nets.wavenet_sampler import BLOCK, Heard, Manner, Output, Part, Sampling, Streams

WARM_UPS = 3
"""Steps before a graph is captured, which give libraries the time to set up what may not be captured."""


class BatchSampler(Sampling):
    """A WaveNet made ready for drawing many streams where it lies.

    Args:
        net: is copied; what it learns afterwards is not seen.
        output: what its raw parameters mean.
    """

    def __init__(self, net: WaveNet, output: Output = Output()) -> None:
        self.net = copy.deepcopy(net).float().eval().requires_grad_(False)
        self.output = output
        r = net.config.residual
        gates = torch.stack([gate.weight.T for _, gate, _ in self.net.layers])
        outs = torch.stack([out.weight.T for _, _, out in self.net.layers])
        self.past, self.present = gates[:, :-r].contiguous(), gates[:, -r:].contiguous()
        self.onward, self.skip = outs[:, :, :r].contiguous(), outs[:, :, r:].flatten(0, 1).contiguous()
        self.start = float(net.levels) if net.levels else (output.levels - 1) / 2 if output.levels else 0.0

    @property
    def device(self) -> torch.device:
        """Where conditions are wanted: where the network lies."""
        return self.net.table.device

    def open(self, rows: int, heard: Heard = Heard(), manner: Manner = Manner(), threads: int = 1) -> Streams:
        """Return ``rows`` streams at their begin, in one batch whatever ``threads`` says; see :meth:`Sampling.open`."""
        return super().open(rows, heard, manner)

    def part(self, rows: range, heard: Heard, manner: Manner) -> Part:
        """Return some of the streams at their begin."""
        with torch.no_grad():
            return _Batch(self, rows, heard, manner)


class _Batch:
    """The streams; every tensor that a step reads or writes keeps its place, as a graph wants it."""

    def __init__(self, sampler: BatchSampler, rows: range, heard: Heard, manner: Manner) -> None:
        self.sampler, self.net, self.rows, self.manner, self.bare = sampler, sampler.net, rows, manner, heard.bare
        self.doubled = manner.strength != 1
        g, depth, config = len(rows), len(self.net.dilations), self.net.config
        q = 2 * g if self.doubled else g
        at: dict[str, Any] = {"device": sampler.device}
        dilations = torch.tensor(self.net.dilations, **at)
        self.lengths = (config.kernel - 1) * dilations
        self.begins = self.lengths.cumsum(0) - self.lengths
        self.back = dilations[:, None] * torch.arange(config.kernel - 1, 0, -1, **at)  # steps, the oldest tap first
        self.ring = torch.zeros(int(self.lengths.sum()), q, config.residual, **at)
        self.time, self.step, self.given, self.offset = torch.zeros(4, 1, dtype=torch.long, **at)
        self.last = torch.full((g,), sampler.start, **at)
        self.draws, self.values = torch.zeros(BLOCK, g, 2, **at), torch.zeros(BLOCK, g, **at)
        self.laws = torch.zeros(0, q, self.net.outputs, **at)
        self.series, self.hold = None, BLOCK  # without a series a row of gates holds for a whole block
        cut = slice(rows.start, rows.stop)
        if heard.series is not None:
            up = self.net.upsampler
            assert up is not None
            self.hold = up.hold
            self.series = self.net.listen(heard.series[cut].to(self.ring), heard.series.shape[2] * up.hop)
        held = 1 if self.series is None else (BLOCK - 1) // self.hold + 2
        self.gates = torch.zeros(held, depth, q, 2 * config.residual, **at)
        self.tell(None if heard.told is None else heard.told[cut])
        self.captures = sampler.device.type == "cuda"
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}

    def tell(self, told: Tensor | None) -> None:
        """From the next sample on, tell the rows something else."""
        g, net = len(self.rows), self.net
        with torch.no_grad():
            rows = [net.told_gates(None if told is None else told.to(self.ring)).expand(g, -1, -1)]
            if self.doubled:
                bare = None if self.bare is None else self.bare.to(self.ring)
                rows.append(net.told_gates(bare).expand(g, -1, -1))
            self.fixed = torch.cat(rows).transpose(0, 1)

    def advance(self, values: np.ndarray, given: int, draws: np.ndarray, raw: bool) -> list[np.ndarray]:
        """Fill ``values [g, n]`` from ``given`` on; return raw parameters, of told and of bare rows, if asked for."""
        g, n = values.shape
        draws = draws[self.rows.start : self.rows.stop]
        law = np.zeros((self.ring.shape[1], n, self.net.outputs) if raw else (0, 0, 0), np.float32)
        if raw and not len(self.laws):
            self.laws = self.laws.new_zeros(BLOCK, *self.laws.shape[1:])
        with torch.no_grad(), without_autocast(self.ring.device):
            for start in range(0, n, BLOCK):
                stop = min(n, start + BLOCK)
                size = stop - start
                self._listen(size)
                self.step.zero_()
                self.given.fill_(given - start)
                self.draws[:size].copy_(_steps_first(draws[:, start:stop]))
                self.values[:size].copy_(_steps_first(values[:, start:stop]))
                self._run(size, raw)
                values[:, start:stop] = self.values[:size].T.cpu().numpy()
                if raw:
                    law[:, start:stop] = self.laws[:size].transpose(0, 1).cpu().numpy()
        return [law[:g], law[g:]] if self.doubled else [law]

    def _listen(self, steps: int) -> None:
        """Lay out what is added to every gate in the next steps."""
        if self.series is None:
            self.gates.copy_(self.fixed.unsqueeze(0))
            return
        now = int(self.time)
        first, last = now // self.hold, (now + steps - 1) // self.hold + 1
        if last > self.series.shape[1]:
            end = self.series.shape[1] * self.hold
            raise UsageError(f"the series ends after {end} samples, {now + steps} were asked for")
        heard = self.net.heard_gates(self.series[:, first:last]).permute(1, 2, 0, 3)
        if self.doubled:
            heard = torch.cat([heard, torch.zeros_like(heard)], 2)
        self.gates[: last - first].copy_(heard + self.fixed)
        self.offset.fill_(now - first * self.hold)

    def _run(self, steps: int, raw: bool) -> None:
        """Make the next samples; on CUDA by replaying the graph of one."""
        if not self.captures:
            for _ in range(steps):
                self._step(raw)
            return
        with torch.cuda.device(self.ring.device):
            if raw not in self.graphs:
                self.graphs[raw] = self._captured(raw)
            for _ in range(steps):
                self.graphs[raw].replay()

    def _captured(self, raw: bool) -> torch.cuda.CUDAGraph:
        """Return a step as a graph; the streams stand where they stood."""
        state = (
            self.ring,
            self.time,
            self.step,
            self.last,
            self.values,
        )  # all that a step writes and a later one reads
        kept = [one.clone() for one in state]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self.step.zero_()
                self._step(raw)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(raw)
        for one, before in zip(state, kept, strict=True):
            one.copy_(before)
        return graph

    def _step(self, raw: bool) -> None:
        """Make one sample of every stream; nothing here waits for the device or depends on what it holds."""
        sampler, net = self.sampler, self.net
        r, depth = net.config.residual, len(net.dilations)
        z = self.gates.index_select(0, (self.offset + self.step) // self.hold)[0]
        if len(self.ring):
            seen = self.begins[:, None] + (self.time - self.back) % self.lengths[:, None]
            past = self.ring.index_select(0, seen.flatten()).unflatten(0, seen.shape)
            z = torch.baddbmm(z, past.transpose(1, 2).flatten(2), sampler.past)
        h = self._input()
        inputs, acts = [], []
        for layer in range(depth):
            gate = torch.addmm(z[layer], h, sampler.present[layer])
            acts.append(torch.tanh(gate[:, :r]) * torch.sigmoid(gate[:, r:]))
            inputs.append(h)
            h = torch.addmm(h, acts[-1], sampler.onward[layer])
        if len(self.ring):
            self.ring.index_copy_(0, self.begins + self.time % self.lengths, torch.stack(inputs))
        first, second = cast("list[nn.Linear]", net.head)
        o = second(F.relu(first(F.relu(torch.addmm(net.skip_bias, torch.cat(acts, 1), sampler.skip)))))
        if raw:
            self.laws.index_copy_(0, self.step, o.unsqueeze(0))
        if self.doubled:
            told, bare = o.chunk(2)
            o = bare + self.manner.strength * (told - bare)
        value = drawn(o, sampler.output, self.manner, self.draws.index_select(0, self.step)[0])
        value = torch.where(self.step < self.given, self.values.index_select(0, self.step)[0], value)
        self.values.index_copy_(0, self.step, value.unsqueeze(0))
        self.last.copy_(value)
        self.step += 1
        self.time += 1

    def _input(self) -> Tensor:
        """Return what the first layer sees of the sample before."""
        table, levels = self.net.table, self.sampler.output.levels
        if self.net.levels:
            h = table.index_select(0, self.last.long())
        else:
            place = 2 * self.last / (levels - 1) - 1 if levels else self.last
            h = torch.addcmul(table[1], place.unsqueeze(1), table[0])
        return torch.cat([h, h]) if self.doubled else h


def drawn(o: Float[Tensor, "g o"], output: Output, manner: Manner, draws: Float[Tensor, "g 2"]) -> Float[Tensor, " g"]:
    """Return a draw of each law: codes, levels, or standardised values, as the compiled sampler draws them.

    Args:
        o: raw parameters.
        output: what they mean.
        manner: temperature and nucleus.
        draws: two numbers from (0, 1) each.
    """
    u, v = draws.double().unbind(1)
    o, t = o.double(), manner.temperature
    if output.kind == "categorical":
        return _code(o, u, t, manner.nucleus).float()
    if output.kind == "gaussian":
        start, least = output.shape
        scale = F.softplus(o[:, 1] + start) + least
        return (o[:, 0] + t * scale * (-2 * u.log()).sqrt() * (2 * torch.pi * v).cos()).float()
    logits, means, scales = o.unflatten(1, (3, -1)).unbind(1)
    k, least = means.shape[1], output.shape[1]
    chosen = _code(logits, u, t, 1.0).unsqueeze(1)
    mean = means.gather(1, chosen)[:, 0] + (2 * chosen[:, 0] + 1) / k - 1
    log_scale = (least + F.softplus(scales.gather(1, chosen)[:, 0] - np.log(k) - least)).clamp_max(5.0)
    place = mean + t * log_scale.exp() * v.logit()
    return ((place + 1) * (output.levels - 1) / 2).round().clamp(0, output.levels - 1).float()


def _code(logits: Tensor, u: Tensor, temperature: float, nucleus: float) -> Tensor:
    """Return the code at which the cumulated law passes u; the mode at temperature 0."""
    if temperature == 0:
        return logits.argmax(1)
    p = (logits / temperature).softmax(1)
    if nucleus < 1:
        order = p.argsort(1, descending=True)
        ranked = p.gather(1, order)
        p = p * torch.zeros_like(p).scatter(1, order, (ranked.cumsum(1) - ranked < nucleus).to(p.dtype))
    cumulated = p.cumsum(1)
    goal = u.unsqueeze(1) * cumulated[:, -1:]
    return (cumulated <= goal).sum(1).clamp_max(logits.shape[1] - 1)


def _steps_first(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows.swapaxes(0, 1)))
