"""Samples a second of WaveNets: ours, a plain cached sampler in PyTorch, and vincentherrmann/pytorch-wavenet.

    python benchmarks/wavenet.py [--peer CHECKOUT] [--seconds 2] [--turns 3] [--cpu-time] [--json FILE] [--device cuda]

Kernel width 2, 256 codes, a head of S-S-256, random weights; layers x (residual, skip) as the table says. Systems take
turns, so that the machine's other load meets all alike; the best turn counts. On a busy machine ``--cpu-time`` counts
the processor time of the work instead. One stream is timed on one thread, 16 streams on two. ``local`` adds a condition
of 80 channels, a step every 256 samples. The loss of bfloat16 storage is not measured here, since it depends on the
weights; ``--loss RUN`` gives it for a trained run: bits a sample that held-out windows cost in either storage.
"""

import argparse
import contextlib
import copy
import io
import json
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from latentscape.nets.wavenet import WaveNet, WaveNetConfig
from latentscape.nets.wavenet_batch import BatchSampler
from latentscape.nets.wavenet_sampler import Heard, Sampler, uniforms

SIZES = {"10 x (32, 64)": (1, 32, 64), "20 x (32, 128)": (2, 32, 128), "30 x (64, 256)": (3, 64, 256)}
TARGETS = {"10 x (32, 64)": 160_000, "20 x (32, 128)": 96_000, "30 x (64, 256)": 16_000}
DILATIONS = tuple(2**power for power in range(10))


def ours(net: WaveNet, storage: str, rows: int, threads: int, *, local: bool) -> Callable[[int], int]:
    """Return what makes so many samples a stream, and tells how many that were."""
    most = 4_000_000 // rows
    series = torch.randn(rows, 80, most // 256 + 1) if local else None
    streams = Sampler(net, storage=storage).open(rows, Heard(series=series), threads=threads)

    def work(steps: int) -> int:
        streams.advance(steps, uniforms(0, range(rows), steps))
        return rows * steps

    return work


def batch(net: WaveNet, rows: int, device: str) -> Callable[[int], int]:
    """The sampler that a GPU takes: many streams as one batch in torch."""
    streams = BatchSampler(copy.deepcopy(net).to(device)).open(rows)

    def work(steps: int) -> int:
        streams.advance(steps, uniforms(0, range(rows), steps))
        return rows * steps

    return work


def plain(net: WaveNet) -> Callable[[int], int]:
    """A sampler that keeps hidden values in rings, with PyTorch's operations and no compiler."""
    r = net.config.residual
    rings = [torch.zeros(dilation, r) for dilation in net.dilations]
    last = torch.tensor(128)
    time_ = 0

    @torch.no_grad()
    def work(steps: int) -> int:
        nonlocal last, time_
        for _ in range(steps):
            h, skips = net.table[last], net.skip_bias
            for ring, dilation, gate, out in zip(rings, net.dilations, net.gates, net.outs, strict=True):
                place = time_ % dilation
                z = F.linear(torch.cat([ring[place], h]), gate.weight, gate.bias)
                ring[place] = h
                y = F.linear(torch.tanh(z[:r]) * torch.sigmoid(z[r:]), out.weight)
                h, skips = h + y[:r], skips + y[r:]
            logits = net.head[1](F.relu(net.head[0](F.relu(skips))))
            last = torch.multinomial(logits.softmax(0), 1)[0]
            time_ += 1
        return steps

    return work


def peer(folder: Path, stacks: int, r: int, s: int) -> Callable[[int], int]:
    """Return pytorch-wavenet's own fast sampler."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    warnings.simplefilter("ignore")
    from wavenet_model import WaveNetModel  # type: ignore[import-not-found]
    from wavenet_modules import DilatedQueue  # type: ignore[import-not-found]

    enqueue = DilatedQueue.enqueue  # today's PyTorch refuses to write [c, 1] into a column of c: its one repair
    DilatedQueue.enqueue = lambda self, input: enqueue(self, input.reshape(-1))
    model = WaveNetModel(
        layers=10,
        blocks=stacks,
        dilation_channels=r,
        residual_channels=r,
        skip_channels=s,
        end_channels=s,
        output_length=1,
    )

    def work(steps: int) -> int:
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            model.generate_fast(steps)
        return steps

    return work


def rate(work: Callable[[int], int], steps: int, clock: Callable[[], float], shares: int) -> float:
    """Return samples a second."""
    begin = clock()
    made = work(steps)
    return made * shares / (clock() - begin)


def measure(arguments: argparse.Namespace) -> list[dict]:
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    rows = []
    for name, (stacks, r, s) in SIZES.items():
        torch.manual_seed(0)
        config = WaveNetConfig(residual=r, skip=s, dilations=DILATIONS, stacks=stacks)
        net = WaveNet(config, 256, 256).requires_grad_(False)
        hearing = WaveNet(config, 256, 256, channels=80, hop=256).requires_grad_(False)
        systems: dict[str, tuple[Callable[[int], int], int]] = {}
        for storage in ("float32", "bfloat16"):
            systems[f"ours, {storage}"] = (ours(net, storage, 1, 1, local=False), 1)
            systems[f"ours, {storage}, local"] = (ours(hearing, storage, 1, 1, local=True), 1)
            systems[f"ours, {storage}, 16 streams on 2 cores"] = (ours(net, storage, 16, 2, local=False), 2)
            systems[f"ours, {storage}, 16 streams on 2 cores, local"] = (ours(hearing, storage, 16, 2, local=True), 2)
        systems[f"ours, batch in torch ({arguments.device})"] = (batch(net, 1, arguments.device), 1)
        systems[f"ours, batch in torch ({arguments.device}), 16 streams"] = (batch(net, 16, arguments.device), 1)
        systems["plain PyTorch, cached"] = (plain(net), 1)
        if arguments.peer:
            systems["pytorch-wavenet, generate_fast"] = (peer(arguments.peer, stacks, r, s), 1)
        steps: dict[str, int] = {}
        for system, (work, _) in systems.items():
            work(20)
            steps[system] = max(20, math.ceil(rate(work, 100, time.perf_counter, 1) * arguments.seconds))
            if "16" in system:
                steps[system] //= 16
        best = dict.fromkeys(systems, 0.0)
        for _ in range(arguments.turns):
            for system, (work, cores) in systems.items():
                shares = cores if arguments.cpu_time else 1
                best[system] = max(best[system], rate(work, steps[system], clock, shares))
        for system, found in best.items():
            rows.append(
                {"net": name, "system": system, "samples a second": round(found), "times 16 kHz": found / 16000}
            )
            target = f"   target {TARGETS[name]:,}" if system.startswith("ours") and "16" not in system else ""
            print(f"{name:16} {system:42} {found:12,.0f} {found / 16000:8.2f} x 16 kHz{target}", flush=True)
    return rows


def loss(run: Path, windows: int) -> None:
    """Print what held-out windows cost, bits a sample, in either storage."""
    from latentscape.core.random import seeded
    from latentscape.experiment.joined import open_run
    from latentscape.instrument.loading import load_waves

    waves = load_waves(run, "cpu")
    prepared = open_run(run)
    assert waves is not None
    conditional = waves.model.conditional
    with prepared.examples as examples, seeded(0):
        x, context = next(iter(examples.held("test", windows, windows)))
    heard = conditional.heard(None, context, len(x))
    n = x.shape[2]
    for storage in ("float32", "bfloat16"):
        with torch.no_grad():
            streams = Sampler(conditional.net, conditional.output, storage).open(len(x), heard)
            _, raw = streams.advance(n, uniforms(0, range(len(x)), n), x[:, 0].float(), raw=True)
            logs = conditional.likelihood(raw.flatten(0, 1)).log_prob(x.reshape(-1, 1))
        print(f"{storage}: {-float(logs.double().mean()) / math.log(2):.5f} bits a sample of {len(x)} windows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cpu", help="of the batch in torch")
    parser.add_argument("--loss", type=Path, metavar="RUN")
    parser.add_argument("--windows", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.loss:
        loss(arguments.loss, arguments.windows)
        return
    rows = measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
