"""Sampling from a SampleRNN, one sample after another: a tier works when its frame is full, and not before.

The loop is compiled (:mod:`latentscape.nets.samplernn_kernel`); streams, draws and manners are those of a WaveNet
(:mod:`latentscape.nets.wavenet_sampler`): samples are a function of seed, row and conditions, to the bit.
"""

import copy
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from latentscape.nets.samplernn import SampleRnn, Tier
from latentscape.nets.wavenet_sampler import (
    BLOCK,
    KINDS,
    Heard,
    Manner,
    Output,
    Part,
    Sampling,
    Storage,
    aligned,
    fit,
    singly,
    zeros,
)


class TieredSampler(Sampling):
    """A network made ready for sampling on the processor.

    Args:
        net: is copied; what it learns afterwards is not seen.
        output: what its raw parameters mean.
        storage: of weights.
    """

    def __init__(self, net: SampleRnn, output: Output = Output(), storage: Storage = "float32") -> None:
        self.net = copy.deepcopy(net).to("cpu", torch.float32).eval().requires_grad_(False)
        self.output = output
        self.packed = _Packed(self.net, output, storage)

    def part(self, rows: range, heard: Heard, manner: Manner) -> Part:
        """Return some of the streams at their begin."""
        return _Part(self, rows, heard, manner)


class _Part:
    """The streams of one thread."""

    def __init__(self, sampler: TieredSampler, rows: range, heard: Heard, manner: Manner) -> None:
        self.rows, self.manner, self.packed, self.net, self.bare = rows, manner, sampler.packed, sampler.net, heard.bare
        packed, g = self.packed, len(rows)
        self.doubled = manner.strength != 1
        q = 2 * g if self.doubled else g
        self.time = np.zeros(1, np.int64)
        self.past = np.full((g, self.net.config.reach), packed.start, np.float32)
        self.memory = zeros(q, packed.held)
        self.memory[:] = packed.begin
        self.work, self.gates = zeros(q, 2, packed.wide), zeros(q, 4 * packed.width)
        self.sums = zeros(packed.outputs)
        self.tell(None if heard.told is None else heard.told[rows.start : rows.stop])

    def tell(self, told: Tensor | None) -> None:
        """Set what is added to the inputs of tiers and perceptron, ``[q, ...]``."""
        fixed = self.packed.fixed(told, len(self.rows))
        self.fixed = np.concatenate([fixed, self.packed.fixed(self.bare, len(self.rows))]) if self.doubled else fixed

    def advance(self, values: np.ndarray, given: int, draws: np.ndarray, raw: bool) -> list[np.ndarray]:
        """Fill ``values [g, n]`` from ``given`` on; return raw parameters, of told and of bare rows, if asked for."""
        from latentscape.nets.samplernn_kernel import run

        packed, manner = self.packed, self.manner
        g, n = values.shape
        draws = np.ascontiguousarray(draws[self.rows.start : self.rows.stop], np.float32)
        laws = np.zeros((len(self.fixed), n, self.net.outputs) if raw else (0, 0, 0), np.float32)
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            block, law = np.ascontiguousarray(values[:, start:stop]), np.ascontiguousarray(laws[:, start:stop])
            run(
                packed.sizes, packed.tiers, packed.cells, packed.weights, packed.bias, packed.tables, packed.head,
                self.fixed, packed.shape, self.time, self.past, self.memory, self.work, self.gates, self.sums,
                block, max(0, min(given - start, stop - start)), np.ascontiguousarray(draws[:, start:stop]),
                np.float32(manner.strength), float(manner.temperature), float(manner.nucleus), law,
            )  # fmt: skip
            values[:, start:stop] = block
            if raw:
                laws[:, start:stop] = law
        return [laws[:g], laws[g:]] if self.doubled else [laws]


class _Packed:
    """A network's weights as the kernel wants them: widths padded, gates apart, what tanh needs doubled."""

    def __init__(self, net: SampleRnn, output: Output, storage: Storage) -> None:
        from latentscape.nets.lanes import TILE, paired, tiled

        config = net.config
        self.net = net
        w, p, o = (-(-size // TILE) * TILE for size in (config.width, config.head, net.outputs))
        self.width, self.perceptron, self.outputs = w, p, o
        longest = -(-config.frames[0] // 4) * 4
        self.wide = max(w, p, o, longest)
        lstm = config.cell == "lstm"
        weights: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        begin: list[np.ndarray] = []

        def put(store: list[np.ndarray], values: np.ndarray) -> int:
            at = sum(part.size for part in store)
            store.append(values)
            return at

        def gates(matrix: np.ndarray, inputs: int) -> np.ndarray:
            """Gates ``[count w, k]`` padded to ``[count, w, inputs]``, in the kernel's order and scale."""
            parts = np.stack([fit(part, w, inputs) for part in np.split(matrix, 4 if lstm else 3)])
            return np.stack([parts[0], parts[1], parts[3], 2 * parts[2]]) if lstm else parts

        tiers = list(cast("list[Tier]", net.tiers))
        cells, spreads = [], []
        for tier in tiers:
            for layer in range(config.layers):
                own, old = (
                    gates(getattr(tier.cell, f"weight_{kind}_l{layer}").numpy(), w).reshape(-1, w)
                    for kind in ("ih", "hh")
                )
                first, second = (
                    gates(getattr(tier.cell, f"bias_{kind}_l{layer}").numpy()[:, None], 1)[:, :, 0]
                    for kind in ("ih", "hh")
                )
                bias = first + second if lstm else np.stack([*(first + second)[:2], first[2], second[2]])
                states = [fit(part[None], 1, w)[0] for part in np.split(tier.begin[layer].numpy(), tier.parts)]
                cells.append(
                    (
                        put(weights, tiled(own)),
                        put(weights, tiled(old if lstm else old[: 2 * w])),
                        0 if lstm else put(weights, tiled(old[2 * w :])),
                        put(begin, np.concatenate(states)),
                        put(biases, bias.reshape(-1)),
                    )
                )
        spread_begin = sum(part.size for part in biases)
        table = []
        for number, tier in enumerate(tiers):
            wide = w if number + 1 < len(tiers) else p
            narrow = config.width if number + 1 < len(tiers) else config.head
            reads = put(weights, tiled(fit(tier.read.weight.numpy(), w, -(-tier.frame // 4) * 4)))
            matrix, offset = tier.spread.weight.numpy(), tier.spread.bias.numpy()
            says = np.concatenate([fit(part, wide, w) for part in np.split(matrix, tier.ratio)])
            spreads.append(np.concatenate([fit(part[None], 1, wide)[0] for part in np.split(offset, tier.ratio)]))
            assert matrix.shape[0] == tier.ratio * narrow
            table.append(
                (tier.frame, tier.frame // tier.ratio, wide, reads, put(weights, tiled(says)),
                 put(begin, np.zeros(tier.ratio * wide, np.float32)))
            )  # fmt: skip
        first, second = cast("list[nn.Linear]", list(net.head))
        ends = np.concatenate([fit(layer.bias.numpy()[None], 1, size)[0] for layer, size in ((first, p), (second, o))])
        ends[p + net.outputs :] = -1e30  # logits that stand for nothing
        heads = [put(weights, tiled(fit(layer.weight.numpy(), size, p))) for layer, size in ((first, p), (second, o))]
        self.head = np.array([*heads, spread_begin], np.int64)
        self.tiers, self.cells = np.array(table, np.int64), np.array(cells, np.int64).reshape(len(tiers), -1, 5)
        every = np.concatenate(weights)
        self.weights = aligned(every if storage == "float32" else paired(every))
        self.bias = aligned(np.concatenate([*biases, *spreads, ends]).astype(np.float32))
        self.begin = np.concatenate(begin).astype(np.float32)
        self.held = len(self.begin)
        tables = net.tables.numpy()
        self.tables = np.zeros((max(1, tables.shape[0]), tables.shape[1], p), np.float32)
        self.tables[: len(tables), :, : config.head] = tables
        self.start = float(net.levels) if net.levels else ((output.levels - 1) / 2 if output.levels else 0.0)
        self.shape = output.numbers()
        self.sizes = (
            w, p, o, longest, config.layers, int(lstm), int(net.levels > 0), KINDS.index(output.kind), output.levels,
            net.outputs, config.past,
        )  # fmt: skip

    def fixed(self, told: Tensor | None, rows: int) -> np.ndarray:
        """Return what is added to the inputs of tiers and perceptron, ``[rows, ...]``, padded."""
        with torch.no_grad():
            each = [self.net.adds(row) for row in ([None] if told is None else singly(told))]
            adds = [torch.cat(parts).expand(rows, -1) for parts in zip(*each, strict=True)]
            tiers = cast("list[Tier]", self.net.tiers)
            adds = [one + tier.read.bias for one, tier in zip(adds, tiers, strict=False)] + [adds[-1]]
        parts = [fit(one.numpy(), rows, self.width) for one in adds[:-1]]
        return np.concatenate([*parts, fit(adds[-1].numpy(), rows, self.perceptron)], axis=1)
