"""The compiled loop of a SampleRNN that makes one sample after another (see :mod:`latentscape.nets.samplernn_sampler`).

Importing this module imports numba, which takes a while: import it inside functions.
"""

# ruff: noqa: ANN001, ANN201, ANN202, D417

import numpy as np

from latentscape.core.compiled import compiled
from latentscape.nets.lanes import add, move, rectify, sigmoid
from latentscape.nets.wavenet_kernel import draw_value, multiply


@compiled
def _remember(gates, at, memory, h, w, lstm):
    """Move one cell's state on, h at ``memory[h:h+w]`` and c behind it, by what its gates were given at ``gates[at:]``.

    A long short-term memory was given i, f, o, 2 g; a gated unit r, z, and what n is of its input and of its past. Both
    go by tanh v = 2 sigmoid(2 v) - 1.
    """
    if lstm:
        sigmoid(gates, at, gates, at, 4 * w)
        for j in range(w):
            kept = gates[at + w + j] * memory[h + w + j]
            memory[h + w + j] = kept + gates[at + j] * (2 * gates[at + 3 * w + j] - 1)
            gates[at + j] = 2 * memory[h + w + j]
        sigmoid(gates, at, gates, at, w)
        for j in range(w):
            memory[h + j] = gates[at + 2 * w + j] * (2 * gates[at + j] - 1)
    else:
        sigmoid(gates, at, gates, at, 2 * w)
        for j in range(w):
            gates[at + 2 * w + j] = 2 * (gates[at + 2 * w + j] + gates[at + j] * gates[at + 3 * w + j])
        sigmoid(gates, at + 2 * w, gates, at + 2 * w, w)
        for j in range(w):
            new = 2 * gates[at + 2 * w + j] - 1
            memory[h + j] = new + gates[at + w + j] * (memory[h + j] - new)


@compiled
def run(
    sizes, tiers, cells, w, bias, tables, head, fixed, shape, time, past, memory, work, gates, sums,
    values, given, draws, strength, temperature, nucleus, raw,
):  # fmt: skip
    """Make the next samples of some streams in step.

    Letters: g streams, q rows (g, or 2 g where the second half is told nothing), w, p padded widths of cells and
    perceptron, o padded outputs, m steps.

    Args:
        sizes: w, p, o, longest frame padded, layers, cells are long short-term memories (0, 1), codes are read (0, 1),
            kind of output, levels or 0, outputs, samples seen by the perceptron.
        tiers: ``[k, 6]`` samples a frame, samples of the next tier's, width said, begin in ``w`` of what reads and of
            what spreads, begin in ``memory`` of what was said.
        cells: ``[k, layers, 5]`` begin in ``w`` of the input's matrix and of the past's, of the past's part of n
            (gated units), begin in ``memory``, begin in ``bias``.
        w: all weights, tiled.
        bias: of cells (of input and past), then of what spreads, from ``head[2]`` on, then of both of the perceptron's.
        tables: ``[P, levels + 1 or 1, p]`` what the perceptron sees of the samples before.
        head: begin in ``w`` of the perceptron's matrices, begin in ``bias`` of what spreads and of the perceptron.
        fixed: ``[q, k w + p]`` what is added to the inputs of tiers and perceptron at all steps.
        shape: numbers of the output's kind.
        time: ``[1]`` number of steps made.
        past: ``[g, m]`` ring of samples: codes, or standardised values.
        memory: ``[q, ...]`` states of cells, and what every tier said last.
        work: ``[q, 2, max(w, p, o, longest frame)]`` scratch; gates: ``[q, 4 w]`` scratch; sums: scratch.
        values, given, draws, strength, temperature, nucleus, raw: as of a WaveNet.
    """
    width, p, o, _, layers, lstm, codes, kind, levels, outputs, seen = (
        sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5] == 1, sizes[6] == 1, sizes[7], sizes[8], sizes[9],
        sizes[10],
    )  # fmt: skip
    g, q, ring = values.shape[0], memory.shape[0], past.shape[1]
    held, wide, told = memory.shape[1], work.shape[2], fixed.shape[1]
    flat, scratch, gated = memory.reshape(-1), work.reshape(-1), gates.reshape(-1)
    both, flat_fixed, flat_tables = 2 * wide, fixed.reshape(-1), tables.reshape(-1)
    centre = 2 / (levels - 1) if levels else 1.0
    rest = bias.shape[0] - p - o
    for step in range(values.shape[1]):
        now = time[0]
        for tier in range(tiers.shape[0]):
            frame, below, spread, reads, says, said = (
                tiers[tier, 0], tiers[tier, 1], tiers[tier, 2], tiers[tier, 3], tiers[tier, 4], tiers[tier, 5],
            )  # fmt: skip
            if now % frame:
                continue
            size = -(-frame // 4) * 4
            for i in range(q):
                at = i * both
                for j in range(frame):
                    value = past[i % g, (now - frame + j) % ring]
                    if codes and value == levels:
                        scratch[at + j] = 0
                    else:
                        scratch[at + j] = value * centre - 1 if levels else value
                for j in range(frame, size):
                    scratch[at + j] = 0
                move(flat_fixed, i * told + tier * width, scratch, at + wide, width)
                if tier:
                    above = tiers[tier - 1, 5] + (now % tiers[tier - 1, 0]) // frame * tiers[tier - 1, 2]
                    add(scratch, at + wide, flat, i * held + above, scratch, at + wide, width)
            multiply(w, reads, width, scratch, 0, both, scratch, wide, both, q, size)
            source, place, stride = scratch, wide, both
            for layer in range(layers):
                own, old, new, h, offset = (
                    cells[tier, layer, 0], cells[tier, layer, 1], cells[tier, layer, 2], cells[tier, layer, 3],
                    cells[tier, layer, 4],
                )  # fmt: skip
                for i in range(q):
                    move(bias, offset, gated, i * 4 * width, 4 * width)
                multiply(w, own, 4 * width if lstm else 3 * width, source, place, stride, gated, 0, 4 * width, q, width)
                multiply(w, old, 4 * width if lstm else 2 * width, flat, h, held, gated, 0, 4 * width, q, width)
                if not lstm:
                    multiply(w, new, width, flat, h, held, gated, 3 * width, 4 * width, q, width)
                for i in range(q):
                    _remember(gated, i * 4 * width, flat, i * held + h, width, lstm)
                source, place, stride = flat, h, held
            count = frame // below * spread
            for i in range(q):
                move(bias, head[2] + tiers[tier, 5] - tiers[0, 5], flat, i * held + said, count)
            multiply(w, says, count, source, place, stride, flat, said, held, q, width)
        last = tiers[tiers.shape[0] - 1]
        asked = step >= given or raw.shape[0] > 0
        if asked:
            for i in range(q):
                at = i * both
                above = last[5] + now % last[0] * last[2]
                add(flat, i * held + above, flat_fixed, i * told + told - p, scratch, at, p)
                for lag in range(1, seen + 1):
                    value = past[i % g, (now - lag) % ring]
                    if codes:
                        row = ((lag - 1) * (levels + 1) + int(value)) * p
                        add(scratch, at, flat_tables, row, scratch, at, p)
                    else:
                        value = np.float32(value * centre - 1) if levels else value
                        for j in range(p):
                            scratch[at + j] += value * flat_tables[(lag - 1) * p + j]
                rectify(scratch, at, scratch, at, p)
                move(bias, rest, scratch, at + wide, p)
            multiply(w, head[0], p, scratch, 0, both, scratch, wide, both, q, p)
            for i in range(q):
                rectify(scratch, i * both + wide, scratch, i * both + wide, p)
                move(bias, rest + p, scratch, i * both, o)
            multiply(w, head[1], o, scratch, wide, both, scratch, 0, both, q, p)
            for i in range(raw.shape[0]):
                for j in range(outputs):
                    raw[i, step, j] = scratch[i * both + j]
        for i in range(g):
            if step >= given:
                bare = (g + i) * both if q > g else -1
                u, v = draws[i, step, 0], draws[i, step, 1]
                values[i, step] = draw_value(scratch, i * both, bare, kind, outputs, levels, shape, sums, strength,
                                             temperature, nucleus, u, v)  # fmt: skip
            past[i, now % ring] = values[i, step]
        time[0] = now + 1
