"""Coordinate descent over a WaveNet's codes: what exact rescoring costs, and how far it comes beside the other ways.

    python benchmarks/descent.py RUN CONTENT STYLE [--seconds 1.5] [--budget 30] [--picture FILE]

First the candidates that are scored in a second, for blocks of several lengths, beside the evaluation of the whole wave
in PyTorch that each would take otherwise. Then every way of the search for so many seconds of the processor: the loss
of the codes (from scratch) and, for each way, of what the net saw; likelihood in bits a sample, style distance, content
similarity and flatness over the style's (dB) of what comes out. All begin with the content; ``carried`` is the content
with the style's ranks, where `latentscape restyle` begins. Processor time, one thread.
"""

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from latentscape.core.errors import LatentscapeError
from latentscape.edit.restyle.descent import WAYS, Search
from latentscape.edit.restyle.engine import Wish, restyle
from latentscape.edit.restyle.sounds import LEVEL
from latentscape.edit.restyle.waves import CARRIED, listened
from latentscape.instrument.loading import load_waves
from latentscape.measure.style import judge_restyling
from latentscape.nets.rescoring import Rescoring, hidden_of, loss_of, target_of
from latentscape.signal import audio

BLOCKS = (1, 8, 32, 128)
CANDIDATES = 4


def sound(path, rate, seconds):
    """Return the loudest stretch of a file, at the level of the search."""
    wave, own = audio.read(path)
    wave = audio.resample(wave.mean(0, keepdims=True), own, rate)
    n = min(wave.shape[1], round(seconds * rate))
    power = np.convolve(wave[0] ** 2, np.ones(n), "valid")
    start = int(power.argmax())
    cut = wave[:, start : start + n]
    return cut * (LEVEL / math.sqrt(float((cut**2).mean())))


def often(work, least=1.0):
    """Return how much is done in a second of the processor by calls that say how much they did."""
    work()
    done, began = 0, time.process_time()
    while time.process_time() - began < least:
        done += work()
    return done / (time.process_time() - began)


def speed(net, codes, target, told):
    """Print candidates a second."""
    print(f"{len(codes)} samples, {len(net.layers)} layers, receptive field {net.receptive_field}; candidates a second")
    print("| loss | whole wave | " + " | ".join(f"block of {block}" for block in BLOCKS) + " | one sample, times |")
    drawn = np.random.default_rng(0)
    for name, weight in (("statistics", 0.0), ("and likelihood", 0.1)):
        goal = replace(target, likelihood=weight)
        kept = Rescoring(net, codes, goal, told)

        def whole(goal=goal):
            loss_of(net, codes, goal, told)
            return 1

        def swept(block, kept=kept):
            before = kept.scored
            places = drawn.integers(0, len(codes) - block, 16)
            grains = np.zeros((16, CANDIDATES, block), np.float32)
            kept.sweep(places, np.tile([-2, -1, 1, 2], (16, 1)), grains)
            return kept.scored - before

        slow = often(whole)
        found = [often(lambda block=block: swept(block)) for block in BLOCKS]
        numbers = " | ".join(f"{one:,.0f}" for one in found)
        print(f"| {name} | {slow:,.1f} | {numbers} | {found[0] / slow:,.0f} |", flush=True)


def bits(net, codes, told):
    """Return what a sample costs."""
    with torch.no_grad():
        _, _, skips = hidden_of(net, net.table[codes], told)
        logs = net.speak(skips[None, :-1])[0].log_softmax(1).gather(1, codes[:, None])
    return -float(logs.mean()) / math.log(2)


def trace(way, search, budget):
    """Return (seconds of the processor, loss of the codes) along a search, what it found, and its rounds."""
    pause, began, line = 0.0, 0.0, []

    def each(share, loss, codes):
        nonlocal pause
        now = time.process_time()
        line.append((now - began - pause, loss_of(search.net, codes, search.target, search.told)))
        pause += time.process_time() - now

    began = time.process_time()
    WAYS[way](replace(search, rounds=4, each=each))
    rounds = max(8, round(budget * (len(line) - 1) / (line[-1][0] - line[0][0])))  # the first one takes longer
    pause, line = 0.0, []
    began = time.process_time()
    found = WAYS[way](replace(search, rounds=rounds, each=each))
    return line, found, rounds


def judged(waves, codes, content, style, rate):
    """Return what the judges say of codes."""
    wave = waves.representation.synthesise(codes[None, None], len(codes))[0]
    try:
        row = judge_restyling(wave, torch.from_numpy(content).float(), torch.from_numpy(style).float(), rate)
    except LatentscapeError as error:
        return str(error)
    return f"{row.style['random']:.2f} | {row.content.mean:.2f} | {row.noisier:+.1f}"


def draw(lines, path):
    """Draw the losses over seconds."""
    from matplotlib.figure import Figure

    figure = Figure((7, 4), layout="constrained")
    axes = figure.subplots()
    for name, line in lines.items():
        axes.plot(*zip(*line, strict=True), label=name)
    axes.set(xlabel="seconds of the processor", ylabel="loss of the codes", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main():
    """Print both tables."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "content", "style"):
        asked.add_argument(name, type=Path)
    asked.add_argument("--seconds", type=float, default=1.5)
    asked.add_argument("--budget", type=float, default=30)
    asked.add_argument("--ways", default=",".join(WAYS))
    asked.add_argument("--picture", type=Path)
    told = asked.parse_args()
    waves = load_waves(told.run, "cpu")
    net, rate = waves.model.conditional.net.requires_grad_(False).eval(), waves.representation.sample_rate
    with torch.no_grad():
        heard = waves.model.conditional.heard(None, {}, 1).told
    content, style = sound(told.content, rate, told.seconds), sound(told.style, rate, 4 * told.seconds)
    carried = restyle(content, style, rate, Wish("wavenet"), method=CARRIED).wave
    carried *= LEVEL / math.sqrt(float((carried**2).mean()))
    coded = {
        name: waves.representation.analyse(torch.from_numpy(np.float32(one))[None])[0, 0]
        for name, one in (("content", content), ("style", style), ("carried", carried))
    }
    codes = coded["content"]
    with torch.no_grad():
        target = target_of(net, coded["style"], heard, listened(len(net.layers)))
        _, hidden, _ = hidden_of(net, net.table[codes], heard)
        target = replace(target, goal=target.features([h[1:] for h in hidden]), content=0.03)
    speed(net, codes, target, heard)
    print("\n| codes | rounds | loss seen | loss of the codes | bits a sample | style | content | flatness |")
    for name, one in coded.items():
        loss = "" if name == "style" else f"{loss_of(net, one, target, heard):.3f}"
        print(f"| {name} | | | {loss} | {bits(net, one, heard):.2f} | {judged(waves, one, content, style, rate)} |")
    lines = {}
    for way in told.ways.split(","):
        search = Search(net, codes, target, heard)
        lines[way], found, rounds = trace(way, search, told.budget)
        seen = f"{found.losses[0]:.3f} -> {found.losses[-1]:.3f}"
        row = judged(waves, found.codes, content, style, rate)
        loss = loss_of(net, found.codes, target, heard)
        print(f"| {way} | {rounds} | {seen} | {loss:.3f} | {bits(net, found.codes, heard):.2f} | {row} |", flush=True)
    if told.picture:
        draw(lines, told.picture)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
