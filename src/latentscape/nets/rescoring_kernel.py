"""The compiled loops that rescore a wave of which a few samples change (see :mod:`latentscape.nets.rescoring`).

Importing this module imports numba, which takes a while: import it inside functions.
"""

# ruff: noqa: ANN001, ANN201, ANN202, D417

import numpy as np

from latentscape.core.compiled import compiled
from latentscape.nets.lanes import FOUR_PAIR, exponentials, gate, move, rectify
from latentscape.nets.wavenet_kernel import PAIR, multiply


@compiled
def _within(offsets, begin, end, first, rows):
    """Return how many of some sorted offsets lie inside the sound."""
    count = 0
    for place in range(begin, end):
        if first + offsets[place] < rows:
            count += 1
    return count


@compiled
def _gather(hidden, at, offsets, begin, count, first, width, out):
    """Copy rows ``first + offsets`` of ``hidden`` (which begins at row ``at``) side by side."""
    for j in range(count):
        move(hidden, (at + first + offsets[begin + j]) * width, out, j * width, width)


@compiled
def _listen(found, count, r, k, first, offsets, begin, rows, centre, scale, goal, across, phi, turned, products, sums):
    """Add the standardised rows of one layer to its products and sums; return their squared distance to the goal."""
    apart = 0.0
    padded = -(-count // 4) * 4
    for j in range(count):
        row = (k * rows + first + offsets[begin + j]) * r
        for a in range(r):
            value = (found[j * r + a] - centre[k * r + a]) * scale[k * r + a]
            phi[j * r + a] = value
            turned[a * across + j] = value
            sums[k * r + a] += value
            apart += (value - goal[row + a]) ** 2
    for j in range(count, padded):
        for a in range(r):
            phi[j * r + a] = 0
            turned[a * across + j] = 0
    for a in range(0, r, 4):
        for part in range(0, r, PAIR):
            FOUR_PAIR(phi, part, r, turned, a * across, across, products, (k * r + a) * r + part, r, padded)
    return apart


@compiled
def _laws(skips, count, s, o, levels, w, head, bias, codes, at, work, other, total):
    """Return the sum of log p of ``count`` codes given their rows of skips, which are overwritten."""
    found = 0.0
    for j in range(count):
        rectify(skips, j * s, work, j * s, s)
        move(bias, 0, other, j * s, s)
    multiply(w, head[0], s, work, 0, s, other, 0, s, count, s)
    for j in range(count):
        rectify(other, j * s, skips, j * s, s)
        move(bias, s, work, j * o, o)
    multiply(w, head[1], o, skips, 0, s, work, 0, o, count, s)
    for j in range(count):
        exponentials(work, j * o, total, o, np.float32(1.0))
        mass = 0.0
        for part in range(levels):
            mass += work[j * o + part]
        found += np.log(max(work[j * o + codes[at + j]], 1e-37) / mass)
    return found


@compiled
def walk(
    first, codes, m, sizes, table, w, layers, head, bias, hidden, gates, skips, sample,
    offsets, begins, runs, run_begins, skip_runs, skip_begins, centre, scale, goal, held,
    buffers, said, products, sums, weigh, commit,
):  # fmt: skip
    """Follow a change of m samples through the net; return what its rows are apart from the goal, and log p.

    Letters: r, s, o padded widths of hidden values, skips and logits; l layers; N rows (a sound of N - 1 samples and
    the begin); K layers that are listened to.

    Args:
        first: the first row that sees the change (sample ``first - 1``).
        codes: ``[m]`` the new samples.
        sizes: r, s, o, levels, l, N.
        table: what the first layer sees of each code; w: all weights, tiled.
        layers: ``[l, 3 + taps]`` the listened layer's number or -1, begins of output, skip and taps (nearest first).
        hidden: ``[l + 1, N, r]``; gates: ``[l, N, 2 r]``; skips: ``[N, s]``.
        sample: ``[N - 1]`` the codes as they are.
        offsets: of the rows that a change reaches, layer after layer (``begins``).
        runs: ``[.., 4]`` tap, place in the layer before, place in this one, length (``run_begins``).
        skip_runs: ``[.., 3]`` place in a layer, in the last one, length (``skip_begins``).
        centre, scale: ``[K, r]`` of standardised features; goal: ``[K, N, r]`` what is held on to.
        held: receives the K squared distances to the goal.
        buffers: scratch; said: ``[rows reached + 1]`` scratch.
        products, sums: ``[K, r, r]``, ``[K, r]``: the changed rows are added.
        weigh: the likelihood is asked for; commit: the change is made.
    """
    r, s, o, levels, depth, rows = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    one, two, change, act, work, phi, turned, more, logits, other, total = buffers
    across = len(turned) // r
    taps = layers.shape[1] - 3
    cur, new = one, two
    n = min(m, rows - first)
    for i in range(n):
        move(table, codes[i] * r, cur, i * r, r)
    last = begins[depth]
    if weigh:
        count = _within(offsets, last, begins[depth + 1], first, rows)
        more[: (count + 1) * s] = 0
    for layer in range(depth):
        here, there = begins[layer], begins[layer + 1]
        reached = _within(offsets, there, begins[layer + 2], first, rows)
        for i in range(n):
            at = (layer * rows + first + offsets[here + i]) * r
            for a in range(r):
                change[i * r + a] = cur[i * r + a] - hidden[at + a]
            if commit:
                move(cur, i * r, hidden, at, r)
        _gather(gates, layer * rows, offsets, there, reached, first, 2 * r, work)
        _gather(hidden, layer * rows, offsets, there, reached, first, r, new)
        for run in range(run_begins[layer], run_begins[layer + 1]):
            tap, i, j = runs[run, 0], runs[run, 1], runs[run, 2]
            length = min(runs[run, 3], reached - j)
            if length > 0 and tap < taps:
                multiply(w, layers[layer, 3 + tap], 2 * r, change, i * r, r, work, j * 2 * r, 2 * r, length, r)
                if tap == 0:
                    move(cur, i * r, new, j * r, length * r)
        for j in range(reached):
            gate(work, j * 2 * r, act, j * r, r)
        multiply(w, layers[layer, 1], r, act, 0, r, new, 0, r, reached, r)
        if weigh:
            for j in range(reached):
                at = (layer * rows + first + offsets[there + j]) * 2 * r
                gate(gates, at, change, j * r, r)
                for a in range(r):
                    act[j * r + a] -= change[j * r + a]
            for run in range(skip_begins[layer], skip_begins[layer + 1]):
                i, j = skip_runs[run, 0], skip_runs[run, 1]
                length = min(skip_runs[run, 2], reached - i)
                if length > 0:
                    multiply(w, layers[layer, 2], s, act, i * r, r, more, (j + 1) * s, s, length, r)
        if commit:
            for j in range(reached):
                at = (layer * rows + first + offsets[there + j]) * 2 * r
                move(work, j * 2 * r, gates, at, 2 * r)
        k = layers[layer, 0]
        if k >= 0:
            held[k] += _listen(
                new, reached, r, k, first, offsets, there, rows, centre, scale, goal, across, phi, turned, products,
                sums,
            )  # fmt: skip
        cur, new = new, cur
        n = reached
    if commit:
        for j in range(n):
            move(cur, j * r, hidden, (depth * rows + first + offsets[last + j]) * r, r)
    found = 0.0
    if weigh:
        move(skips, (first - 1) * s, more, 0, s)
        said[0] = codes[0]
        seen = 1
        for j in range(n):
            row = first + offsets[last + j]
            for a in range(s):
                more[(j + 1) * s + a] += skips[row * s + a]
                if commit:
                    skips[row * s + a] = more[(j + 1) * s + a]
            if row < rows - 1:
                said[seen] = codes[row - first + 1] if row - first + 1 < m else sample[row]
                seen += 1
        found = _laws(more, seen, s, o, levels, w, head, bias, said, 0, logits, other, total)
    return found


@compiled
def _level(code, mu):
    value = 2.0 * code / mu - 1.0
    return np.sign(value) * np.expm1(abs(value) * np.log1p(mu)) / mu


@compiled
def _code(level, mu):
    value = min(max(level, -1.0), 1.0)
    pressed = np.sign(value) * np.log1p(mu * abs(value)) / np.log1p(mu)
    return int(np.rint((pressed + 1) / 2 * mu))


@compiled
def propose(sample, s, m, step, grain, mu, out):
    """Write what a block becomes: ``step`` codes further, ``grain`` (full scale 1) added to the wave."""
    for i in range(m):
        code = sample[s + i]
        if grain[i] != 0:
            code = _code(_level(code, mu) + grain[i], mu)
        out[i] = min(max(code + step, 0), int(mu))


@compiled
def likeliest(skips, row, s, o, levels, w, head, bias, buffers, out, most):
    """Write the ``most`` likeliest codes of the sample that a row of skips foretells into the ends of ``out``."""
    more, work, other = buffers[7], buffers[8], buffers[9]
    rectify(skips, row * s, work, 0, s)
    move(bias, 0, other, 0, s)
    multiply(w, head[0], s, work, 0, s, other, 0, s, 1, s)
    rectify(other, 0, more, 0, s)
    move(bias, s, work, 0, o)
    multiply(w, head[1], o, more, 0, s, work, 0, o, 1, s)
    for place in range(most):
        best = 0
        for code in range(levels):
            if work[code] > work[best]:
                best = code
        work[best] = -1e30
        out[len(out) - 1 - place, 0] = best


@compiled
def apart(k, products, sums, gram, mean, wanted, middle, count, r):
    """Return how far changes of products and sums move a layer's squared distance of Gram matrices."""
    moved = 0.0
    for a in range(k * r * r, (k + 1) * r * r):
        step = products[a] / count
        moved += step * (2 * (gram[a] - wanted[a]) + step)
    for a in range(k * r, (k + 1) * r):
        step = sums[a] / count
        moved += 2 * step * (2 * (mean[a] - middle[a]) + step)  # the mean stands in the Gram matrix twice
    return moved


@compiled
def sweep(
    places, m, steps, grains, draws, temperature, mu, sizes, net, state, plan, heard, target, weights, scratch, tally,
):  # fmt: skip
    """Visit blocks of samples one after another; draw one of several changes of each by its exact change of the loss.

    The loss is the sum over layers of ``weights`` times squared distances of Gram matrices (with means), plus distances
    to the goal, minus log p, as :class:`latentscape.nets.rescoring.Rescoring` says. The chance of a change is
    proportional to exp(- change of the loss times samples / temperature); at temperature 0 the best is taken.

    Args:
        places: ``[p]`` first samples of the blocks; m samples each.
        steps: ``[p, c]`` codes by which a block is moved; grains: ``[p, c, m]`` what is added to the wave.
            Where the scratch has room for more than c, the likeliest codes are tried, too (of blocks of one sample).
        draws: ``[p]`` from (0, 1).
        temperature: of the choice.
        mu: of the codes.
        sizes, net, state, plan, heard, target, weights, scratch: tuples, see :class:`Rescoring`.
        tally: receives candidates scored, changes made, the loss's change.
    """
    table, w, layers, head, bias = net
    hidden, gates, skips, sample, gram, mean = state
    offsets, begins, runs, run_begins, skip_runs, skip_begins = plan
    centre, scale, goal = heard
    wanted, middle = target
    style, content, likelihood = weights
    buffers, said, products, sums, products0, sums0, held, held0, codes, losses = scratch
    r, rows = sizes[0], sizes[5]
    count = rows - 1
    listened = len(style)
    choices = len(codes)
    own = choices - steps.shape[1]
    weigh = likelihood > 0
    for p in range(len(places)):
        s = places[p]
        size = min(m, count - s)
        present = sample[s : s + size].copy()
        products0[:] = 0
        sums0[:] = 0
        held0[:] = 0
        base = walk(s + 1, present, size, sizes, table, w, layers, head, bias, hidden, gates, skips, sample,
                    offsets, begins, runs, run_begins, skip_runs, skip_begins, centre, scale, goal, held0,
                    buffers, said, products0, sums0, weigh, False)  # fmt: skip
        losses[0] = 0.0
        if own:
            likeliest(skips, s, sizes[1], sizes[2], sizes[3], w, head, bias, buffers, codes, own)
        for c in range(choices):
            if c < choices - own:
                propose(sample, s, size, steps[p, c], grains[p, c], mu, codes[c])
            losses[1 + c] = np.inf
            same = True
            for i in range(size):
                same = same and codes[c, i] == present[i]
            if same:
                continue
            products[:] = 0
            sums[:] = 0
            held[:] = 0
            found = walk(s + 1, codes[c], size, sizes, table, w, layers, head, bias, hidden, gates, skips, sample,
                         offsets, begins, runs, run_begins, skip_runs, skip_begins, centre, scale, goal, held,
                         buffers, said, products, sums, weigh, False)  # fmt: skip
            tally[0] += 1
            loss = likelihood * (base - found) / count
            for k in range(listened):
                for a in range(k * r * r, (k + 1) * r * r):
                    products[a] -= products0[a]
                for a in range(k * r, (k + 1) * r):
                    sums[a] -= sums0[a]
                loss += style[k] * apart(k, products, sums, gram, mean, wanted, middle, count, r)
                loss += content[k] * (held[k] - held0[k]) / count
            losses[1 + c] = loss
        chosen = 0
        if temperature <= 0:
            for c in range(1, choices + 1):
                if losses[c] < losses[chosen]:
                    chosen = c
        else:
            least = losses[: choices + 1].min()
            mass = np.exp(-(losses[: choices + 1] - least) * count / temperature)
            goal_mass, below = draws[p] * mass.sum(), 0.0
            for c in range(choices + 1):
                below += mass[c]
                if below > goal_mass:
                    chosen = c
                    break
        if chosen:
            products[:] = 0
            sums[:] = 0
            held[:] = 0
            walk(s + 1, codes[chosen - 1], size, sizes, table, w, layers, head, bias, hidden, gates, skips, sample,
                 offsets, begins, runs, run_begins, skip_runs, skip_begins, centre, scale, goal, held,
                 buffers, said, products, sums, weigh, True)  # fmt: skip
            for a in range(len(products)):
                gram[a] += (float(products[a]) - products0[a]) / count
            for a in range(len(sums)):
                mean[a] += (float(sums[a]) - sums0[a]) / count
            for i in range(size):
                sample[s + i] = codes[chosen - 1, i]
            tally[1] += 1
            tally[2] += losses[chosen]
