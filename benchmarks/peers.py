"""VAE and WAE-MMD against pythae 0.1.2: the same nets, data, objective, batches and epochs, in one run.

    python benchmarks/peers.py --pythae PYTHON [--epochs 3] [--train-items 60000] [--data fashion-mnist] [--seeds 1]

``--pythae`` names the interpreter of an environment with pythae. Its trainer, ours, and a plain hand-written loop
(peer_loops.py says what each does) run in processes of their own and take turns of 50 steps, so that the machine's
other load meets all alike. Ratios are medians over turns of a loop's seconds divided by the plain loop's; seconds an
epoch are of all turns, with what a trainer does at the ends of epochs and at its own end. On a busy machine
``--cpu-time`` counts the processor time of each process instead.

Afterwards all weights are loaded into our models and measured by our code on all 10,000 test images: MSE at the
posterior mean, in grey levels from 0 to 1; for the VAE the evidence bound, nats an image (Gaussian of deviation 1, with
its constant of 720.4 nats); for the WAE the unbiased squared MMD of codes against the prior, and the objective, nats.
Reconstructions of the loaded weights are compared with pythae's own first. Standard deviations are over seeds.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import torch
from peer_loops import Case, build
from torch import Tensor

from latentscape.core.random import seeded
from latentscape.data.corpus import ImageCorpus
from latentscape.data.sources import open_source
from latentscape.dist.kernels import ImqConfig, build_kernel, mmd2
from latentscape.models.bounds import elbo, evaluating
from latentscape.models.model import LatentModel

LOOPS = ("ours", "plain", "pythae")
BLOCK = 2000
COLUMNS = {
    "vae": {"mse": ("test MSE", 6), "elbo": ("test ELBO", 3), "rate": ("KL", 3)},
    "wae": {"mse": ("test MSE", 6), "mmd": ("test MMD^2", 5), "objective": ("objective", 3)},
}
"""What is measured: the heading, and decimals."""


class Loop:
    """A training process that takes turns."""

    def __init__(self, name: str, python: str, folder: Path, threads: int) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        script = Path(__file__).with_name("peer_loops.py")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [python, script, name, folder], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip
        self.seconds: list[float] = []

    def wait(self, word: str) -> str:
        """Return what follows the next line that begins with ``word``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        sys.exit(f"the loop '{self.name}' failed:\n{self.log.read_text()[-3000:]}")

    def turn(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.wait("TURN")))


def race(case: Case, folder: Path, pythons: dict[str, str]) -> dict[str, list[float]]:
    """Train by every loop in turns; return the seconds of each turn. Weights are left in the folder."""
    (folder / "case.json").write_text(json.dumps(dataclasses.asdict(case)))
    loops = [Loop(name, python, folder, case.threads) for name, python in pythons.items()]
    try:
        for loop in loops:
            loop.wait("READY")
        for turn in range(-(-case.steps // case.turn)):
            for i in range(len(loops)):
                loops[(turn + i) % len(loops)].turn()
        for loop in loops:
            loop.wait("DONE")
    finally:
        for loop in loops:
            loop.process.kill()
            loop.process.wait()
    return {loop.name: loop.seconds for loop in loops}


def measured(case: Case, model: LatentModel, x: Tensor) -> dict[str, float]:
    """Return the numbers of :data:`COLUMNS` on test images x, ``[n, 1, 28, 28]``."""
    with evaluating(model):
        codes = torch.cat([model.encode(some)[0] for some in x.split(BLOCK)])
        shown = torch.cat([model.decode((some,)).mean for some in codes.split(BLOCK)])
        mse = (shown - x).square().mean().item()
        if case.kind == "vae":
            rate = torch.cat([model.terms(some).rate[0][0] for some in x.split(BLOCK)]).mean().item()
            return {"mse": mse, "elbo": elbo(model, x, samples=5).mean().item(), "rate": rate}
        kernel = build_kernel(ImqConfig())
        with seeded("peers"):
            values = [mmd2(some, torch.randn_like(some), kernel).item() for some in codes.split(BLOCK)]
        mmd = mean(values)
        return {"mse": mse, "mmd": mmd, "objective": x[0].numel() * mse / 2 + case.weight * mmd}


def loaded(case: Case, path: Path) -> LatentModel:
    """Return our model with a loop's weights."""
    with np.load(path) as arrays:
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
    units = [weights.get(f"encoder.units.{name}") for name in ("mean", "scale")]  # only our loop standardises
    model = build(case, None if units[0] is None else (units[0], units[1])).model
    assert isinstance(model, LatentModel)
    model.load_state_dict(model.state_dict() | weights)
    return model.eval()


def check_loading(case: Case, folder: Path, x: Tensor) -> float:
    """Return the largest difference between pythae's reconstructions and those of its weights in our model."""
    theirs = torch.from_numpy(np.load(folder / "pythae_shown.npy"))
    model = loaded(case, folder / "pythae.npz")
    with torch.no_grad():
        ours = model.decode(model.encode(x[: len(theirs)])).mean
    return (ours - theirs).abs().max().item()


def ratios(seconds: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Return the median over turns of the ratio, and its quartiles."""
    quotients = [a / b for a, b in zip(seconds, reference, strict=True)]
    low, high = np.quantile(quotients, [0.25, 0.75]).tolist()
    return median(quotients), low, high


def spread(values: list[float], decimals: int) -> str:
    """Return mean and standard deviation as text."""
    text = f"{mean(values):.{decimals}f}"
    return text if len(values) == 1 else f"{text} ({stdev(values):.{decimals}f})"


def table(case: Case, seconds: dict[str, list[float]], numbers: dict[str, list[dict[str, float]]], seeds: int) -> str:
    columns = COLUMNS[case.kind]
    lines = [
        f"{'':8}{'s/epoch':>9}{'of plain (quartiles)':>25}" + "".join(f"{head:>22}" for head, _ in columns.values())
    ]
    for name, turns in seconds.items():
        middle, low, high = ratios(turns, seconds["plain"])
        ratio = f"{middle:.3f} ({low:.3f}-{high:.3f})"
        line = f"{name:8}{sum(turns) / (seeds * case.epochs):9.2f}{ratio:>25}"
        for key, (_, decimals) in columns.items():
            line += f"{spread([one[key] for one in numbers[name]], decimals):>22}"
        lines.append(line)
    return "\n".join(lines)


def run(case: Case, seeds: int, pythons: dict[str, str], images: dict[str, np.ndarray]) -> None:
    x = torch.from_numpy(images["test"]).float()[:, None] / 255
    seconds: dict[str, list[float]] = {name: [] for name in pythons}
    numbers: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    worst = 0.0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as temporary:
            folder, one = Path(temporary), dataclasses.replace(case, seed=seed)
            for part, values in images.items():
                np.save(folder / f"{part}.npy", values)
            for name, turns in race(one, folder, pythons).items():
                seconds[name] += turns
            worst = max(worst, check_loading(one, folder, x) if "pythae" in pythons else 0.0)
            for name in pythons:
                numbers[name].append(measured(one, loaded(one, folder / f"{name}.npz"), x))
    nets = "-".join(map(str, (784, *case.hidden, case.latent)))
    weight = f", weight {case.weight:g}" if case.kind == "wae" else ""
    print(f"\n{case.kind}{weight} on {case.data} (grey), {case.items} training images, nets {nets} and back, batch "
          f"{case.batch}, Adam {case.learning_rate:g}, {case.epochs} epochs, {seeds} seed(s)")  # fmt: skip
    print(table(case, seconds, numbers, seeds))
    print(f"pythae's weights in our model: reconstructions differ by {worst:.1e} at most", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythae", metavar="PYTHON", help="without it only ours and the plain loop run")
    parser.add_argument("--model", choices=COLUMNS, action="append")
    parser.add_argument("--data", choices=("mnist", "fashion-mnist"), default="fashion-mnist")
    parser.add_argument("--train-items", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--weight", type=float, default=100.0, help="of the MMD; 100 is the WAE's authors' on MNIST")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    corpus = open_source(options.data)
    assert isinstance(corpus, ImageCorpus)
    items = options.train_items - options.train_items % options.batch  # whole batches only: all then take equal steps
    images = {"train": corpus.images[:items, 0], "test": corpus.images[-10_000:, 0]}
    pythons = {"ours": sys.executable, "plain": sys.executable}
    pythons |= {"pythae": options.pythae} if options.pythae else {}
    clock = "processor time" if options.cpu_time else "wall clock"
    print(f"torch {torch.__version__}, {options.threads} thread(s), {clock}, load at the start {load()}", flush=True)
    for kind in options.model or COLUMNS:
        case = Case(
            kind, options.data, items, options.epochs, (512, 512), options.latent, options.batch, 1e-3,
            options.weight, 50, 0, options.threads, options.cpu_time,
        )  # fmt: skip
        run(case, options.seeds, pythons, images)
    print(f"load at the end {load()}")


def load() -> str:
    """Return how many processes wanted a processor over the last minute, this run's one included."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


if __name__ == "__main__":
    main()
