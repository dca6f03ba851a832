"""A tiny VAE with noise, its data and its validation, as a module that a fresh process can import."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from latentscape.core.random import torch_stream
from latentscape.models.model import Loss, Model, Objective, Step, Terms
from latentscape.train.config import TrainConfig
from latentscape.train.loop import Moment, Outcome, fit

F, D = 6, 2
CALM = {"precision": "32", "threads": 1, "tensorboard": False, "accelerator": "cpu"}


class Vae(Model):
    event_shape = (F,)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(F, 2 * D)
        self.decoder = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, F))

    def terms(self, x: Tensor, context: Mapping[str, Tensor] = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        mean, spread = self.encoder(x).float().chunk(2, dim=-1)
        q = Normal(mean, spread.exp())
        z = q.rsample((samples,))
        likelihood: Distribution = Independent(Normal(self.decoder(z).float(), 0.3), 1)
        rate = (-spread + (spread.mul(2).exp() + mean.square() - 1) / 2).sum(-1)
        return Terms(-likelihood.log_prob(x), (rate.expand(samples, -1),), (), likelihood)


class Elbo(Objective):
    """The negative bound; from step ``poison`` on it is NaN."""

    def __init__(self, poison: int | None = None) -> None:
        super().__init__()
        self.poison = poison

    def forward(self, model: Model, terms: Terms, x: Tensor, context: Mapping[str, Tensor], step: int) -> Loss:
        distortion, rate = terms.distortion.mean(), terms.rate[0].mean()
        total = distortion + rate
        if self.poison is not None and step >= self.poison:
            total = total * float("nan")
        return Loss(total, {"distortion": distortion.detach(), "rate": rate.detach()})


def toy(poison: int | None = None) -> Step:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Step(Vae(), Elbo(poison))


def rows(*keys: int | str, size: int) -> Tensor:
    generator = torch_stream("toy", *keys)
    return torch.randn(size, D, generator=generator) @ torch.linspace(-1, 1, D * F).reshape(D, F)


def batches(size: int = 16, rank: int = 0, world: int = 1) -> Callable[[int], tuple[Tensor, dict[str, Tensor]]]:
    def batch(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        part = size // world
        return rows(step, size=size)[rank * part : (rank + 1) * part], {}

    return batch


def validate(model: Model) -> dict[str, float]:
    terms = model.terms(rows("valid", size=32))
    return {"loss": float((terms.distortion + terms.rate[0]).mean()), "rate": float(terms.rate[0].mean())}


def train(
    run: Path, *, step: Step | None = None, callbacks: tuple[Callable[[Moment], None], ...] = (), **changes
) -> Outcome:
    options = {name: changes.pop(name) for name in ("resume", "monitor", "progress") if name in changes}
    config = TrainConfig(**{"max_steps": 40, "batch_size": 16, "log_every": 5, "validate_every": 10} | CALM | changes)
    options = {"progress": False} | options
    return fit(step or toy(), batches(), validate, config, run, callbacks=callbacks, **options)


class Work:
    """What a process does under :func:`latentscape.train.process.launch`."""

    def __init__(self, config: TrainConfig, run: Path) -> None:
        self.config, self.run = config, run

    def __call__(self, fabric: Fabric) -> Outcome:
        data = batches(self.config.batch_size, fabric.global_rank, fabric.world_size)
        return fit(toy(), data, validate, self.config, self.run, progress=False, fabric=fabric)
