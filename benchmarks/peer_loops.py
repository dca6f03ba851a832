"""One of three training loops in a process of its own, a turn of steps at a time; started by peers.py.

    PYTHON benchmarks/peer_loops.py {ours,plain,pythae} FOLDER

``FOLDER/case.json`` says what to train, ``FOLDER/{train,test}.npy`` hold the same grey images for all, ``[n, 28, 28]``
bytes. "ours" is ``latentscape.train.loop.fit`` with batches of ``ImageExamples``; "plain" what anybody would write;
"pythae" the trainer of pythae 0.1.2 with its data loader. All have the same nets (without a sigmoid at the output) and
minimise the same function, letters: x image, x' its reconstruction, z code, y sample of N(0, I), k the kernel:

* vae: |x - x'|^2 / 2 + KL(q(z|x) || N(0, I)), the negative evidence bound of a Gaussian of deviation 1, without its
  constant;
* wae: |x - x'|^2 / 2 + weight MMD^2_k(z, y), unbiased, z deterministic.

Each keeps its own initial weights, and ours its standardised inputs and outputs. The weights that a loop ends with are
stored under our names, ``FOLDER/NAME.npz``. Only the branch of a loop imports what it needs: this file is run by two
interpreters.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the inverse multiquadratic kernel; the default of both libraries."""


@dataclass(frozen=True)
class Case:
    """What is trained: ``turn`` steps at a time, ``steps`` in all."""

    kind: str
    data: str
    items: int
    epochs: int
    hidden: tuple[int, ...]
    latent: int
    batch: int
    learning_rate: float
    weight: float
    turn: int
    seed: int
    threads: int
    cpu_time: bool

    @property
    def steps(self) -> int:
        return self.epochs * self.items // self.batch

    @property
    def clock(self) -> Callable[[], float]:
        return time.process_time if self.cpu_time else time.perf_counter


class Turns:
    """Waits for a word on standard input before each turn, and writes afterwards how many seconds it took."""

    def __init__(self, steps: int, clock: Callable[[], float]) -> None:
        self.steps, self.clock, self.began = steps, clock, None

    def before(self, step: int) -> None:
        """Say that a step begins."""
        if step % self.steps == 0 and (step > 0 or self.began is None):
            self.close()
            if not sys.stdin.readline():
                sys.exit("peers.py has gone")
            self.began = self.clock()

    def close(self) -> None:
        """End the turn; the last one by hand, when all that belongs to training is done."""
        print("READY" if self.began is None else f"TURN {self.clock() - self.began}", flush=True)


# Ours ----------------------------------------------------------------------------------------------------------------


def build(case: Case, units: tuple[Tensor, Tensor] | None = None):
    """Return our step; with units, the same for all pixels, the decoder's deviation is still 1 in the units of x."""
    from latentscape.dist.likelihoods import GaussianConfig
    from latentscape.models.autoencoder import AutoencoderConfig
    from latentscape.models.model import Step
    from latentscape.models.objectives import ElboConfig, WaeMmdConfig
    from latentscape.nets.mlp import MlpConfig
    from latentscape.registry import build_model, build_objective

    wae = case.kind == "wae"
    config = AutoencoderConfig(
        latent=case.latent,
        encoder=MlpConfig(widths=case.hidden, activation="relu"),
        decoder=MlpConfig(widths=case.hidden[::-1], activation="relu"),
        posterior="deterministic" if wae else "gaussian",
        likelihood=GaussianConfig(scale="fixed", value=1.0 if units is None else 1 / units[1].flatten()[0].item()),
    )
    torch.manual_seed(case.seed)
    model = build_model(config, (1, 28, 28), {}, units)
    return Step(model, build_objective(WaeMmdConfig(weight=case.weight) if wae else ElboConfig(), model))


def ours(case: Case, folder: Path, turns: Turns) -> dict[str, Tensor]:
    from latentscape.data.images import ImageExamples
    from latentscape.data.sources import open_source
    from latentscape.data.split import Part, Split
    from latentscape.train.config import TrainConfig
    from latentscape.train.loop import fit

    corpus = open_source(case.data)
    rows, zeros = np.arange(case.items), np.zeros(case.items, dtype=np.int64)
    train, none = Part(rows, zeros, zeros), Part(rows[:0], zeros[:0], zeros[:0])
    split = Split("image", 0, {"train": train, "valid": none, "test": none})
    examples = ImageExamples(corpus, split, seed=case.seed)  # pyrefly: ignore

    def batches(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        turns.before(step)
        return examples.batch(step, case.batch)

    step = build(case, examples.units())
    config = TrainConfig(
        max_steps=case.steps, batch_size=case.batch, learning_rate=case.learning_rate, schedule="constant", keep="last",
        precision="32", threads=case.threads, accelerator="cpu", seed=case.seed, tensorboard=False,
    )  # fmt: skip
    fit(step, batches, None, config, folder / "run", progress=False)
    turns.close()
    return dict(step.model.state_dict())


# Plain ---------------------------------------------------------------------------------------------------------------


def stack(widths: tuple[int, ...]) -> nn.Sequential:
    """Return dense layers of these widths, ReLU between them, as torch initialises them."""
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def imq(a: Tensor, b: Tensor) -> Tensor:
    """Return the kernel between two sets of points, ``[n, m]``."""
    squared = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)
    return sum(c / (c + squared) for c in (2 * a.shape[1] * scale for scale in SCALES))


def vae_loss(x: Tensor, out: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    rate = ((2 * log_scale).exp() + mean.square() - 1 - 2 * log_scale).sum() / 2
    return ((out - x).square().sum() / 2 + rate) / len(x)


def wae_loss(x: Tensor, out: Tensor, z: Tensor, y: Tensor, weight: float) -> Tensor:
    n = len(z)
    same = imq(z, z).sum() + imq(y, y).sum() - 2 * n * len(SCALES)  # the diagonals: k(0) = 1 for every scale
    mmd = same / (n * (n - 1)) - 2 * imq(z, y).mean()
    return (out - x).square().sum() / (2 * n) + weight * mmd


def plain(case: Case, folder: Path, turns: Turns) -> dict[str, Tensor]:
    torch.manual_seed(case.seed)
    data = torch.from_numpy(np.load(folder / "train.npy")).float().flatten(1) / 255
    encoder = stack((784, *case.hidden, case.latent * (2 if case.kind == "vae" else 1)))
    decoder = stack((case.latent, *case.hidden[::-1], 784))
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=case.learning_rate, fused=True)
    step = 0
    for _ in range(case.epochs):
        order = torch.randperm(case.items)
        for start in range(0, case.items, case.batch):
            turns.before(step)
            x = data[order[start : start + case.batch]]
            if case.kind == "vae":
                mean, log_scale = encoder(x).chunk(2, dim=1)
                loss = vae_loss(x, decoder(mean + log_scale.exp() * torch.randn_like(mean)), mean, log_scale)
            else:
                z = encoder(x)
                loss = wae_loss(x, decoder(z), z, torch.randn_like(z), case.weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    turns.close()
    return named(encoder, decoder)


def named(encoder: nn.Sequential, decoder: nn.Sequential) -> dict[str, Tensor]:
    """Return the weights of two stacks under the names that our model gives them."""
    read = {f"encoder.net.mlp.{name}": value for name, value in encoder.state_dict().items()}
    return read | {f"decoder.net.{name}": value for name, value in decoder.state_dict().items()}


# pythae --------------------------------------------------------------------------------------------------------------


def pythae_model(kind: str, hidden: tuple[int, ...], latent: int, weight: float = 1.0, bits: bool = False):
    """Return pythae's VAE or WAE-MMD on the nets of :func:`stack`; ``bits`` for a Bernoulli likelihood."""
    from pythae.models import VAE, WAE_MMD, VAEConfig, WAE_MMD_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Reader(BaseEncoder):
        def __init__(self):
            BaseEncoder.__init__(self)
            self.trunk = nn.Sequential(*stack((784, *hidden)), nn.ReLU())
            self.embedding = nn.Linear(hidden[-1], latent)
            self.log_var = nn.Linear(hidden[-1], latent) if kind == "vae" else None

        def forward(self, x):
            h = self.trunk(x.flatten(1))
            if self.log_var is None:
                return ModelOutput(embedding=self.embedding(h))
            return ModelOutput(embedding=self.embedding(h), log_covariance=self.log_var(h))

    class Writer(BaseDecoder):
        def __init__(self):
            BaseDecoder.__init__(self)
            self.net = stack((latent, *hidden[::-1], 784))

        def forward(self, z):
            out = self.net(z)
            return ModelOutput(reconstruction=(torch.sigmoid(out) if bits else out).reshape(-1, 1, 28, 28))

    # Every batch of pythae's loader is [b, 1, 28, 28]. Its VAE has half of the squared error, its WAE all of it.
    shape = {"input_dim": (1, 28, 28), "latent_dim": latent}
    if kind == "wae":
        config = WAE_MMD_Config(**shape, reg_weight=weight, reconstruction_loss_scale=0.5, scales=list(SCALES))
        return WAE_MMD(config, encoder=Reader(), decoder=Writer())
    loss = "bce" if bits else "mse"
    return VAE(VAEConfig(**shape, reconstruction_loss=loss), encoder=Reader(), decoder=Writer())


def pythae(case: Case, folder: Path, turns: Turns) -> dict[str, Tensor]:
    import logging

    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Wait(TrainingCallback):
        done = 0

        def on_train_begin(self, *arguments, **options):
            turns.before(0)

        def on_train_step_end(self, *arguments, **options):
            self.done += 1
            if self.done < case.steps:  # what follows the last step is pythae's own saving
                turns.before(self.done)

        def on_train_end(self, *arguments, **options):
            turns.close()

    logging.disable(logging.CRITICAL)
    torch.manual_seed(case.seed)
    data = torch.from_numpy(np.load(folder / "train.npy")).float()[:, None] / 255
    config = BaseTrainerConfig(
        output_dir=str(folder / "pythae"), num_epochs=case.epochs, per_device_train_batch_size=case.batch,
        learning_rate=case.learning_rate, no_cuda=True, seed=case.seed,
    )  # fmt: skip
    model = pythae_model(case.kind, case.hidden, case.latent, case.weight)
    trainer = BaseTrainer(model, BaseDataset(data, torch.ones(len(data))), training_config=config, callbacks=[Wait()])
    trainer.train()
    model = trainer._best_model.eval()  # what its final_model holds
    x = torch.from_numpy(np.load(folder / "test.npy")[:1000]).float()[:, None] / 255
    with torch.no_grad():
        np.save(folder / "pythae_shown.npy", model.decoder(model.encoder(x).embedding).reconstruction.numpy())
    return pythae_weights(model)


def pythae_weights(model) -> dict[str, Tensor]:
    """Return pythae's weights under our names; it writes the log of the variance, we that of the deviation."""
    reader = model.encoder
    heads = [reader.embedding] + ([] if reader.log_var is None else [reader.log_var])
    weights = named(reader.trunk, model.decoder.net)
    for name in ("weight", "bias"):
        parts = [getattr(head, name) * factor for head, factor in zip(heads, (1.0, 0.5), strict=False)]
        weights[f"encoder.net.mlp.{len(reader.trunk)}.{name}"] = torch.cat(parts).detach()
    return weights


def load_pythae(model, weights: dict[str, Tensor]) -> None:
    """Set pythae's weights from ours, the reverse of :func:`pythae_weights`."""
    own = pythae_weights(model)
    assert own.keys() == weights.keys(), "the nets differ"
    reader, count = model.encoder, model.encoder.embedding.out_features
    top = f"encoder.net.mlp.{len(reader.trunk)}"
    with torch.no_grad():
        for i, layer in enumerate(reader.trunk):
            for name, value in layer.named_parameters():
                value.copy_(weights[f"encoder.net.mlp.{i}.{name}"])
        for name in ("weight", "bias"):
            getattr(reader.embedding, name).copy_(weights[f"{top}.{name}"][:count])
            if reader.log_var is not None:
                getattr(reader.log_var, name).copy_(2 * weights[f"{top}.{name}"][count:])
        for name, value in model.decoder.net.named_parameters():
            value.copy_(weights[f"decoder.net.{name}"])


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    values = json.loads((folder / "case.json").read_text())
    case = Case(**values | {"hidden": tuple(values["hidden"])})
    torch.set_num_threads(case.threads)
    weights = {"ours": ours, "plain": plain, "pythae": pythae}[name](case, folder, Turns(case.turn, case.clock))
    np.savez(folder / f"{name}.npz", **{key: value.numpy() for key, value in weights.items()})
    print("DONE", flush=True)


if __name__ == "__main__":
    main()
