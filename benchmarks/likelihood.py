"""Figure 4: minutes for the importance-weighted NLL of MNIST's 10,000 test images, K = 1000, beside pythae's get_nll.

    python benchmarks/likelihood.py [--whole] [--items 20] [--chunks 500 1000 2000 4000] [--pythae PYTHON]

One VAE (784-512-512-40 and back, Bernoulli), trained for ``--steps`` steps on binarised images so that its numbers mean
something; its weights are given to pythae 0.1.2 too, whose interpreter ``--pythae`` names. Both estimate the NLL of the
same test images, one Bernoulli draw of the grey ones. For several K: rows that were decoded, and encoded, an image; the
time an image, median over ``--rounds`` in turns; and minutes for 10,000 images, extrapolated from ``--items``;
``--whole`` estimates all of them, ours alone. NLL in nats; the error of a difference is that of the mean over images,
and holds what both estimators' own draws add. ``--cpu-time`` counts processor time, for a busy machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from latentscape.core.random import seeded
from latentscape.data.corpus import ImageCorpus
from latentscape.data.examples import DataConfig
from latentscape.data.images import ImageExamples
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.dist.likelihoods import BernoulliConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.bounds import iw_bound
from latentscape.models.model import Step
from latentscape.models.objectives import Elbo, ElboConfig
from latentscape.nets.mlp import MlpConfig

HIDDEN, LATENT, TEST = (512, 512), 40, 10_000
KS = (1, 10, 100, 150, 1000)


class Counting(Autoencoder):
    """Counts the rows that it encodes and decodes."""

    encoded = decoded = 0

    def infer(self, x, context={}, *, samples=1, mean=False):
        self.encoded += len(x)
        return super().infer(x, context, samples=samples, mean=mean)

    def decode(self, z, context={}):
        self.decoded += len(z[0])
        return super().decode(z, context)


def build() -> Counting:
    encoder, decoder = (MlpConfig(widths=widths, activation="relu") for widths in (HIDDEN, HIDDEN[::-1]))
    config = AutoencoderConfig(latent=LATENT, encoder=encoder, decoder=decoder, likelihood=BernoulliConfig())
    return Counting(config, (1, 28, 28))


def train(examples: ImageExamples, steps: int) -> Counting:
    with seeded("likelihood"):
        step = Step(build(), Elbo(ElboConfig())).train()
        optimiser = torch.optim.Adam(step.parameters(), 1e-3, fused=True)
        for index in range(steps):
            optimiser.zero_grad()
            step(*examples.batch(index, 128), index).total.backward()
            optimiser.step()
    return step.model.eval()  # pyrefly: ignore


def exported(model: Autoencoder) -> dict[str, Tensor]:
    """Return the weights of the nets alone, for data as they are: the first layer standardises."""
    nets = ("encoder.net.", "decoder.net.")
    weights = {name: value for name, value in model.state_dict().items() if name.startswith(nets)}
    first = "encoder.net.mlp.0"
    matrix = weights[f"{first}.weight"] / model.units.scale.flatten()
    weights[f"{first}.bias"] = weights[f"{first}.bias"] - matrix @ model.units.mean.flatten()
    return weights | {f"{first}.weight": matrix}


PYTHAE = """
import json, logging, sys, time
from pathlib import Path
import numpy as np
import torch
here, folder, threads, cpu = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True"
sys.path.insert(0, here)
from peer_loops import load_pythae, pythae_model
logging.disable(logging.CRITICAL)
torch.set_num_threads(threads)
clock = time.process_time if cpu else time.perf_counter
meta = json.loads((folder / "net.json").read_text())
model = pythae_model("vae", tuple(meta["hidden"]), meta["latent"], bits=True).eval()
load_pythae(model, {name: torch.from_numpy(value) for name, value in np.load(folder / "weights.npz").items()})
x = torch.from_numpy(np.load(folder / "test.npy"))
rows = {"encoder": 0, "decoder": 0}
def counted(name):
    module = getattr(model, name)
    inner = module.forward
    def forward(given):
        rows[name] += len(given)
        return inner(given)
    module.forward = forward
counted("encoder"), counted("decoder")
print("READY", flush=True)
for line in sys.stdin:
    rows.update(encoder=0, decoder=0)
    began = clock()
    nll = [-float(model.get_nll(one[None], n_samples=int(line))) for one in x]  # it loops over images itself as well
    answer = [nll, (clock() - began) / len(x), rows["decoder"] // len(x), rows["encoder"] // len(x)]
    print("RESULT", json.dumps(answer), flush=True)
"""
Answer = tuple[np.ndarray, float, int, int]
"""NLL of each image in nats; seconds, rows decoded and rows encoded an image."""


class Pythae:
    """pythae's get_nll in a process of its own; what it returns is a log-likelihood, here negated."""

    def __init__(self, python: str, folder: Path, threads: int, cpu: bool) -> None:
        command = [python, "-c", PYTHAE, str(Path(__file__).parent), str(folder), str(threads), str(cpu)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line("READY")

    def _line(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word)
        sys.exit("pythae's process failed; its message is above")

    def __call__(self, k: int) -> Answer:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{k}\n")
        self.process.stdin.flush()
        nll, seconds, decoded, encoded = json.loads(self._line("RESULT"))
        return np.array(nll), seconds, decoded, encoded


def ours(model: Counting, x: Tensor, k: int, clock: Callable[[], float], chunk: int = 2000) -> Answer:
    model.decoded = model.encoded = 0
    began = clock()
    nll = -iw_bound(model, x, samples=k, chunk=chunk)
    return nll.numpy(), (clock() - began) / len(x), model.decoded // len(x), model.encoded // len(x)


def compare(model: Counting, x: Tensor, other: Pythae | None, clock: Callable[[], float], rounds: int) -> None:
    """Print a line for each K and estimator; all estimate all images, in turns."""
    print(f"{'':8}{'K':>6}{'rows decoded':>14}{'rows encoded':>14}{'ms/image':>12}{'min/10,000':>12}{'NLL':>10}")
    for k in KS:
        turns: list[dict[str, Answer]] = []
        for _ in range(rounds):
            turns.append({"ours": ours(model, x, k, clock)} | ({"pythae": other(k)} if other is not None else {}))
        for name, (nll, _, decoded, encoded) in turns[0].items():
            seconds = median(turn[name][1] for turn in turns)
            print(f"{name:8}{k:6}{decoded:14}{encoded:14}{1000 * seconds:12.2f}{seconds * TEST / 60:12.2f}"
                  f"{nll.mean():10.3f}", flush=True)  # fmt: skip
        if other is not None:
            difference = turns[0]["ours"][0] - turns[0]["pythae"][0]
            ratio = median(turn["ours"][1] / turn["pythae"][1] for turn in turns)
            print(f"{'':14}ours less pythae's {difference.mean():+.3f} (s.e. {error(difference):.3f}) nats, "
                  f"time ratio {ratio:.2f}")  # fmt: skip


def error(values: np.ndarray) -> float:
    """Return the standard error of the mean."""
    return float(values.std(ddof=1)) / len(values) ** 0.5


def chunks(model: Counting, x: Tensor, sizes: list[int], clock: Callable[[], float], rounds: int) -> None:
    """Print what a chunk's size does to the time, K = 1000, in turns."""
    times = [[ours(model, x, 1000, clock, size)[1] for size in sizes] for _ in range(rounds)]
    for size, column in zip(sizes, zip(*times, strict=True), strict=True):
        print(f"chunk {size:6}: {1000 * median(column):8.2f} ms/image, {median(column) * TEST / 60:.2f} min/10,000")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pythae", metavar="PYTHON")
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400, help="of training")
    parser.add_argument("--whole", action="store_true", help="estimate all 10,000 images, K = 1000")
    parser.add_argument("--chunks", type=int, nargs="+", default=[])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    corpus = open_source("mnist")
    assert isinstance(corpus, ImageCorpus)
    examples = ImageExamples(corpus, split_corpus(corpus), DataConfig(binarise="dynamic"), seed=0)
    model = train(examples, options.steps)
    x = torch.cat([batch for batch, _ in examples.held("test", 1000)])
    unit = "processor time" if options.cpu_time else "wall clock"
    print(f"torch {torch.__version__}, {options.threads} thread(s), {unit}, load {os.getloadavg()[0]:.1f} on "
          f"{os.cpu_count()} processors; {options.items} images, {options.steps} steps of training")  # fmt: skip
    some = x[:: len(x) // options.items][: options.items]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "net.json").write_text(json.dumps({"hidden": HIDDEN, "latent": LATENT}))
        np.savez(folder / "weights.npz", **{name: value.numpy() for name, value in exported(model).items()})
        np.save(folder / "test.npy", some.numpy())
        other = Pythae(options.pythae, folder, options.threads, options.cpu_time) if options.pythae else None
        try:
            compare(model, some, other, clock, options.rounds)
        finally:
            if other is not None:
                other.process.kill()
                other.process.wait()
    if options.chunks:
        chunks(model, some, options.chunks, clock, options.rounds)
    if options.whole:
        nll, seconds, decoded, _ = ours(model, x, 1000, clock)
        print(f"all {len(x)} images, {decoded} draws each: NLL {nll.mean():.3f} (s.e. {error(nll):.3f}) nats, "
              f"{seconds * len(x) / 60:.1f} minutes")  # fmt: skip
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
