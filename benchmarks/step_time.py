"""Figure 7: what the training loop costs beside a plain hand-written PyTorch loop with the same nets.

    python benchmarks/step_time.py [--case mlp-128] [--steps 150] [--bf16] [--pythae PYTHON]

"ours" is ``latentscape.train.loop.fit``; "plain" a loop by hand with the same nets and the loss in closed form; "bare"
a loop around our own model and objective. Same batches, fused Adam and precision, no validation. Runs alternate, and
each gives the mean time of its steps after the first 20, from one batch request to the next, so that logging and all
else that a loop does is in it. A ratio is the median over turns (with its range) of ours divided by the other. On a
busy machine
``--cpu-time`` counts this thread's processor time instead (one thread).

``--pythae`` names the interpreter of an environment with pythae 0.1.2: its trainer on its own MLP VAE (784-512-16),
with its data loader and default Adam, batch 128, timed in turns with ours.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from latentscape.dist.likelihoods import BernoulliConfig, GaussianConfig
from latentscape.models.autoencoder import AutoencoderConfig
from latentscape.models.model import Step
from latentscape.models.objectives import ElboConfig
from latentscape.nets.mlp import MlpConfig
from latentscape.registry import build_model, build_objective
from latentscape.train.config import TrainConfig
from latentscape.train.loop import fit

WARM = 20


@dataclass(frozen=True)
class Case:
    width: int
    hidden: tuple[int, ...]
    latent: int
    batch: int
    binary: bool


CASES = {
    "mlp-128": Case(784, (512,), 16, 128, True),
    "mlp-256": Case(784, (512,), 16, 256, True),
    "notes-256": Case(513, (512, 512), 16, 256, False),
}


def build(case: Case) -> Step:
    torch.manual_seed(0)
    config = AutoencoderConfig(
        latent=case.latent,
        encoder=MlpConfig(widths=case.hidden, activation="relu"),
        decoder=MlpConfig(widths=case.hidden[::-1], activation="relu"),
        likelihood=BernoulliConfig() if case.binary else GaussianConfig(scale="fixed"),
    )
    model = build_model(config, (case.width,), {})
    return Step(model, build_objective(ElboConfig(), model))


def plain(case: Case, batches: Callable, steps: int, bf16: bool) -> None:
    """The loop that anybody would write: the same nets, the loss by hand."""
    model = build(case).model
    encoder, decoder = model.encoder.net, model.decoder.net
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    for step in range(steps):
        x, _ = batches(step)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            mean, log_scale = encoder(x).float().chunk(2, dim=-1)
            z = mean + log_scale.exp() * torch.randn_like(mean)
            out = decoder(z).float().reshape(x.shape)
        if case.binary:
            distortion = nn.functional.binary_cross_entropy_with_logits(out, x, reduction="sum")
        else:
            distortion = ((out - x).square() / 2 + math.log(2 * math.pi) / 2).sum()
        rate = ((2 * log_scale).exp() + mean.square() - 1 - 2 * log_scale).sum() / 2
        loss = (distortion + rate) / x.shape[0]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def bare(case: Case, batches: Callable, steps: int, bf16: bool) -> None:
    """A loop around our own model and objective: what is left is what :func:`fit` adds."""
    step = build(case)
    optimiser = torch.optim.Adam(step.parameters(), lr=1e-3, fused=True)
    for index in range(steps):
        x, context = batches(index)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = step(x, context, index).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def ours(case: Case, batches: Callable, steps: int, bf16: bool) -> None:
    config = TrainConfig(
        max_steps=steps, batch_size=case.batch, schedule="constant", precision="bf16" if bf16 else "32",
        threads=torch.get_num_threads(), tensorboard=False, accelerator="cpu",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        fit(build(case), batches, None, config, Path(folder), progress=False)


class Clock:
    """Batches that note when they were asked for."""

    def __init__(self, data: Tensor, size: int, clock: Callable[[], float]) -> None:
        self.data, self.size, self.clock, self.times = data, size, clock, []

    def __call__(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self.times.append(self.clock())
        start = step * self.size % (len(self.data) - self.size)
        return self.data[start : start + self.size], {}

    def milliseconds(self) -> float:
        return 1000 * (self.times[-1] - self.times[WARM]) / (len(self.times) - 1 - WARM)


def timed(loop: Callable, case: Case, data: Tensor, steps: int, bf16: bool, clock: Callable[[], float]) -> float:
    batches = Clock(data, case.batch, clock)
    loop(case, batches, steps, bf16)
    return batches.milliseconds()


PYTHAE = """
import json, logging, sys, tempfile, time
import torch
from pythae.models import VAE, VAEConfig
from pythae.trainers import BaseTrainer, BaseTrainerConfig
import numpy as np
steps, threads, warm = map(int, sys.argv[1:])
torch.set_num_threads(threads)
logging.disable(logging.CRITICAL)
times = []
class Timed(VAE):
    def forward(self, inputs, **kwargs):
        times.append(time.perf_counter())
        return super().forward(inputs, **kwargs)
from pythae.data.datasets import BaseDataset
data = torch.rand(steps * 128, 784)
model = Timed(VAEConfig(input_dim=(784,), latent_dim=16, reconstruction_loss="bce"))
with tempfile.TemporaryDirectory() as folder:
    config = BaseTrainerConfig(output_dir=folder, num_epochs=1, per_device_train_batch_size=128, learning_rate=1e-3,
        no_cuda=True, steps_saving=None)
    trainer = BaseTrainer(model=model, train_dataset=BaseDataset(data, torch.ones(len(data))), training_config=config)
    del times[:]
    trainer.train()
times = times[:steps]
print("RESULT", json.dumps(1000 * (times[-1] - times[warm]) / (len(times) - 1 - warm)))
"""


def pythae(python: str, steps: int) -> float:
    done = subprocess.run(
        [python, "-c", PYTHAE, str(steps), str(torch.get_num_threads()), str(WARM)], capture_output=True, text=True
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not answers:
        sys.exit(f"{python} could not run pythae:\n{done.stderr[-2000:]}")
    return json.loads(answers[-1].removeprefix("RESULT"))


def compare(name: str, rows: list[tuple[float, ...]], others: tuple[str, ...]) -> None:
    """Print medians, and each other's ratio: the median over turns of ours divided by it."""
    columns = [median(column) for column in zip(*rows, strict=True)]
    print(f"{name:16} ours {columns[0]:7.3f} ms", end="")
    for i, other in enumerate(others, start=1):
        ratios = [row[0] / row[i] for row in rows]
        print(
            f"   {other} {columns[i]:7.3f} ms, ratio {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})", end=""
        )
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--pythae", metavar="PYTHON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.cpu_time else time.perf_counter
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.steps} steps a run, {options.runs} runs")
    for name in options.case or CASES:
        case = CASES[name]
        data = torch.rand(20_000, case.width)
        data = (data > 0.5).float() if case.binary else data
        rows = [
            tuple(timed(loop, case, data, options.steps, options.bf16, clock) for loop in (ours, plain, bare))
            for _ in range(options.runs)
        ]
        compare(f"{name} {'bf16' if options.bf16 else 'fp32'}", rows, ("plain", "bare"))
    if options.pythae:
        case = CASES["mlp-128"]
        data = (torch.rand(20_000, case.width) > 0.5).float()
        rows = [
            (timed(ours, case, data, options.steps, False, time.perf_counter), pythae(options.pythae, options.steps))
            for _ in range(options.runs)
        ]
        compare("mlp-128 fp32", rows, ("pythae",))


if __name__ == "__main__":
    main()
