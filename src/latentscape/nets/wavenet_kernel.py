"""The compiled loop of a WaveNet that makes one sample after another (see :mod:`latentscape.nets.wavenet_sampler`).

Importing this module imports numba, which takes a while: import it inside functions.
"""

# ruff: noqa: ANN001, ANN201, ANN202, D417

import numpy as np

from latentscape.core.compiled import compiled
from latentscape.nets.lanes import (
    FOUR_PAIR,
    LANES,
    ONE_32,
    ONE_64,
    ONE_96,
    TWO_32,
    add,
    exponentials,
    gate,
    move,
    rectify,
)

AHEAD = 4
"""Steps for which a past tap is multiplied at once, where its dilation is at least so many."""
PAIR = 2 * LANES
CATEGORICAL, LOGISTIC, GAUSSIAN = range(3)


@compiled
def multiply(w, at, n, x, x_at, x_step, y, y_at, y_step, rows, k):
    """Add W x to y for some rows: ``n`` outputs, ``k`` inputs; the order of sums is the same for any number of rows."""
    done = 0
    while done < n:
        left = n - done
        width = 32 if left == 32 else (64 if left == 64 or left == 128 else 96)
        start = at + done * k
        row = 0
        while rows - row >= 4:
            for part in range(0, width, PAIR):
                FOUR_PAIR(w, start + part, width, x, x_at + row * x_step, x_step,
                          y, y_at + row * y_step + done + part, y_step, k)  # fmt: skip
            row += 4
        while rows - row >= 2:
            for part in range(0, width, 32):
                TWO_32(w, start + part, width, x, x_at + row * x_step, x_step,
                       y, y_at + row * y_step + done + part, y_step, k)  # fmt: skip
            row += 2
        if row < rows:
            x_row, y_row = x_at + row * x_step, y_at + row * y_step + done
            if width == 96:
                ONE_96(w, start, width, x, x_row, 0, y, y_row, 0, k)
            elif width == 64:
                ONE_64(w, start, width, x, x_row, 0, y, y_row, 0, k)
            else:
                ONE_32(w, start, width, x, x_row, 0, y, y_row, 0, k)
        done += width


@compiled
def _nucleus(e, n, mass):
    """Return the greatest bound such that what is not below it has at least ``mass``, by halving."""
    low, high = 0.0, 1.0
    for _ in range(48):
        middle = 0.5 * (low + high)
        total = 0.0
        for j in range(n):
            if e[j] >= middle:
                total += e[j]
        if total >= mass:
            low = middle
        else:
            high = middle
    return low


@compiled
def draw_code(o, at, sums, levels, temperature, nucleus, u):
    """Return a code of the law with logits ``o[at:at+levels]``, which are overwritten; u in (0, 1)."""
    if temperature == 0:
        return np.argmax(o[at : at + levels])
    groups = (levels + LANES - 1) // LANES  # logits beyond the levels are so low that they weigh nothing
    exponentials(o, at, sums, groups * LANES, np.float32(1 / temperature))
    if nucleus < 1:
        total = 0.0
        for group in range(groups):
            total += sums[group]
            sums[group] = 0
        bound = _nucleus(o[at : at + levels], levels, nucleus * total)
        for j in range(levels):
            if o[at + j] < bound:
                o[at + j] = 0
            sums[j // LANES] += o[at + j]
    total = 0.0
    for group in range(groups):
        total += sums[group]
    goal = u * total
    below = 0.0
    group = 0
    while group < groups - 1 and below + sums[group] <= goal:
        below += sums[group]
        group += 1
    code = group * LANES
    for j in range(group * LANES, min(levels, (group + 1) * LANES)):
        if o[at + j] > 0:
            code = j
        below += o[at + j]
        if below > goal:
            break
    return code


@compiled
def _softplus(v):
    return max(v, 0.0) + np.log1p(np.exp(-abs(v)))


@compiled
def draw_level(o, at, shape, temperature, u, v):
    """Return a level of the discretised logistic mixture with raw parameters ``o`` (K logits, means, log scales).

    ``shape`` holds K, the number of levels, the log of the least scale; the rest is as in
    :class:`latentscape.dist.logistic.LogisticMixture`.
    """
    k, levels, least = int(shape[0]), int(shape[1]), shape[2]
    best = 0
    for j in range(k):
        if o[at + j] > o[at + best]:
            best = j
    chosen = best
    if temperature > 0:
        total = 0.0
        for j in range(k):
            total += np.exp((o[at + j] - o[at + best]) / temperature)
        goal = u * total
        below = 0.0
        for j in range(k):
            below += np.exp((o[at + j] - o[at + best]) / temperature)
            if below > goal:
                chosen = j
                break
    mean = o[at + k + chosen] + (2 * chosen + 1) / k - 1
    log_scale = min(least + _softplus(o[at + 2 * k + chosen] - np.log(k) - least), 5.0)
    place = mean + temperature * np.exp(log_scale) * np.log(v / (1 - v))
    return min(max(np.rint((place + 1) * (levels - 1) / 2), 0.0), levels - 1.0)


@compiled
def draw_real(o, at, shape, temperature, u, v):
    """Return a value, standardised, of the normal law with raw mean and scale; ``shape``: start and least scale."""
    scale = _softplus(o[at + 1] + shape[0]) + shape[1]
    return o[at] + temperature * scale * np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)


@compiled
def draw_value(o, at, bare, kind, outputs, levels, shape, sums, strength, temperature, nucleus, u, v):
    """Return a draw of the law of some kind with raw parameters ``o[at:at+outputs]``, which are overwritten.

    ``bare``: where those of the row that is told nothing lie, for a strength; below 0: nowhere.
    """
    if bare >= 0:
        for j in range(outputs):
            o[at + j] = o[bare + j] + strength * (o[at + j] - o[bare + j])
    if kind == CATEGORICAL:
        return np.float32(draw_code(o, at, sums, levels, temperature, nucleus, u))
    if kind == LOGISTIC:
        return np.float32(draw_level(o, at, shape, temperature, u, v))
    return np.float32(draw_real(o, at, shape, temperature, u, v))


@compiled
def _input(table, reads_codes, value, levels, carry, at, r):
    """Write what the first layer sees of the sample before: its code's row, or a line in its standardised value."""
    if reads_codes:
        move(table, int(value) * r, carry, at, r)
    else:
        place = np.float32(2 * value / (levels - 1) - 1) if levels else value
        for j in range(r):
            carry[at + j] = table[j] * place + table[r + j]


@compiled
def run(
    sizes, layers, w, table, head, bias, shape, conditions, hold, state, last, ring, pre, carry, act, work, sums,
    values, given, draws, strength, temperature, nucleus, raw,
):  # fmt: skip
    """Make the next samples of some streams in step.

    Letters: g streams, q rows (g, or 2 g where the second half is told nothing), l layers, r and s padded widths,
    c = r + s padded, o padded outputs, k kernel width, m steps.

    Args:
        sizes: r, s, c, o, kernel, codes are read (0, 1), kind of output, levels or 0, outputs.
        layers: ``[l, 6]`` dilation, ring length, ring begin (rows), weights of the past taps, of the present one, out.
        w: all weights, tiled.
        table: ``[levels + 1, r]``, the last row stands for silence before the begin; or ``[2, r]`` slope and offset.
        head: first and second matrix's begin in ``w``; bias: ``[s + o]`` of both.
        shape: numbers of the output's kind, see the draws above.
        conditions: ``[q, rows or 1, l, 2 r]`` what is added to every gate; a row for ``hold`` steps.
        hold: steps a row of ``conditions``, and how many of the first row's are over.
        state: ``[l + 1]`` place in each ring, number of steps made.
        last: ``[g]`` the sample before: code, or standardised value.
        ring: ``[q, ring rows, r]``.
        pre: ``[q, l, AHEAD, 2 r]`` products of past taps.
        carry: ``[1 + q, c]`` (row 0: where the skips' sum begins) hidden values and skips.
        act: ``[q, r]``; work: ``[2, q, max(s, o, 2 r)]`` scratch; sums: ``[o / LANES]`` scratch.
        values: ``[g, m]`` in: what is given; out: samples.
        given: number of leading steps whose value is given.
        draws: ``[g, m, 2]`` from (0, 1).
        strength: of the conditions: 1 as learnt, else extrapolated from rows told nothing.
        temperature: of draws; 0 takes the mode.
        nucleus: mass of the likeliest codes that are drawn from.
        raw: ``[q, m, outputs]`` receives the parameters of every step, or ``[0, 0, 0]``.
    """
    r, s, c, o, kernel, reads_codes, kind, levels, outputs = (
        sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7], sizes[8],
    )  # fmt: skip
    depth = layers.shape[0]
    g = values.shape[0]
    q = conditions.shape[0]
    told = conditions.shape[1] > 1
    wide = work.shape[2]
    rows = ring.shape[1]
    flat_ring, flat_carry, flat_act = ring.reshape(-1), carry.reshape(-1), act.reshape(-1)
    flat_work, flat_pre, flat_conditions = work.reshape(-1), pre.reshape(-1), conditions.reshape(-1)
    flat_table = table.reshape(-1)
    gates = conditions.shape[1] * depth * 2 * r
    second = q * wide
    for step in range(values.shape[1]):
        time = state[depth]
        phase = time % AHEAD
        row = (hold[1] + step) // hold[0] if told else 0
        for i in range(q):
            at = (1 + i) * c
            _input(flat_table, reads_codes, last[i % g], levels, flat_carry, at, r)
            move(flat_carry, r, flat_carry, at + r, c - r)
        for layer in range(depth):
            dilation, length, begin = layers[layer, 0], layers[layer, 1], layers[layer, 2]
            past, present, out = layers[layer, 3], layers[layer, 4], layers[layer, 5]
            place = state[layer]
            early = kernel > 1 and dilation >= AHEAD
            if early and phase == 0:
                for i in range(q):
                    to = (i * depth + layer) * AHEAD * 2 * r
                    flat_pre[to : to + AHEAD * 2 * r] = 0
                    for tap in range(1, kernel):
                        seen = place - tap * dilation
                        if seen < 0:
                            seen += length
                        start = past + (tap - 1) * 2 * r * r
                        multiply(w, start, 2 * r, flat_ring, (i * rows + begin + seen) * r, r,
                                 flat_pre, to, 2 * r, AHEAD, r)  # fmt: skip
            for i in range(q):
                told_at = i * gates + (row * depth + layer) * 2 * r
                if early:
                    to = ((i * depth + layer) * AHEAD + phase) * 2 * r
                    add(flat_conditions, told_at, flat_pre, to, flat_work, i * wide, 2 * r)
                else:
                    move(flat_conditions, told_at, flat_work, i * wide, 2 * r)
            if not early:
                for tap in range(1, kernel):
                    seen = place - tap * dilation
                    if seen < 0:
                        seen += length
                    start = past + (tap - 1) * 2 * r * r
                    multiply(w, start, 2 * r, flat_ring, (begin + seen) * r, rows * r, flat_work, 0, wide, q, r)
            multiply(w, present, 2 * r, flat_carry, c, c, flat_work, 0, wide, q, r)
            for i in range(q):
                if kernel > 1:
                    to, at = (i * rows + begin + place) * r, (1 + i) * c
                    move(flat_carry, at, flat_ring, to, r)
                    if place < AHEAD:  # the ring's first rows stand behind its last ones too: four are read at once
                        move(flat_carry, at, flat_ring, to + length * r, r)
                gate(flat_work, i * wide, flat_act, i * r, r)
            multiply(w, out, c, flat_act, 0, r, flat_carry, c, c, q, r)
            if kernel > 1:
                state[layer] = 0 if place + 1 == length else place + 1
        state[depth] = time + 1
        asked = step >= given or raw.shape[0] > 0
        if asked:
            for i in range(q):
                rectify(flat_carry, (1 + i) * c + r, flat_work, i * wide, s)
                move(bias, 0, flat_work, second + i * wide, s)
            multiply(w, head[0], s, flat_work, 0, wide, flat_work, second, wide, q, s)
            for i in range(q):
                rectify(flat_work, second + i * wide, flat_work, second + i * wide, s)
                move(bias, s, flat_work, i * wide, o)
            multiply(w, head[1], o, flat_work, second, wide, flat_work, 0, wide, q, s)
            for i in range(raw.shape[0]):
                for j in range(outputs):
                    raw[i, step, j] = flat_work[i * wide + j]
        for i in range(g):
            if step >= given:
                bare = (g + i) * wide if q > g else -1
                u, v = draws[i, step, 0], draws[i, step, 1]
                values[i, step] = draw_value(flat_work, i * wide, bare, kind, outputs, levels, shape, sums, strength,
                                             temperature, nucleus, u, v)  # fmt: skip
            last[i] = values[i, step]
