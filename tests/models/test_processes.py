"""Two processes that share a batch give one process's loss and gradients."""

import multiprocessing

import pytest
import torch
import torch.distributed as collective

from latentscape.dist.likelihoods import GaussianConfig, build_likelihood
from latentscape.dist.units import Affine
from latentscape.models.adversary import WaeGan, WaeGanConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.model import Step
from latentscape.models.objectives import Elbo, ElboConfig, WaeMmd, WaeMmdConfig
from latentscape.nets.mlp import MlpConfig

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
HIDDEN = torch.arange(6) < torch.tensor([1] * 8 + [6] * 8)[:, None]
"""One process hides a sixth of what the other does."""


class Still(Autoencoder):
    """Codes at the mean, so that the draws of different processes do not matter."""

    def infer(self, x, context={}, *, samples=1, mean=False):
        return super().infer(x, context, samples=samples, mean=True)


def steps():
    net = MlpConfig(widths=(8,))
    base = {"latent": 3, "encoder": net, "decoder": net, "likelihood": GaussianConfig(scale="optimal")}
    wae = AutoencoderConfig(**base, posterior="deterministic", condition=("pitch",), condition_dropout=0.0)
    for config, objective in (
        (wae, lambda model: WaeMmd(WaeMmdConfig())),
        (wae, lambda model: WaeGan(WaeGanConfig(critic=net, weight=3.0), model)),
        (AutoencoderConfig(**base), lambda model: Elbo(ElboConfig(free_bits=0.3))),
        (AutoencoderConfig(**base), lambda model: Elbo(ElboConfig(free_bits=0.3, free_bits_per="layer"))),
    ):
        torch.manual_seed(0)
        model = Still(config, (6,), {"pitch": 4})
        yield Step(model, objective(model))


def run(x, hidden):
    """Return totals, gradients and running scales of one step of each objective, and of a scale of hidden values."""
    context = {"pitch": torch.zeros(len(x), dtype=torch.int64)}
    found = []
    for step in steps():
        total = step(x, context, 3).total
        gradients = torch.autograd.grad(total, list(step.parameters()), allow_unused=True)
        flat = torch.cat([torch.zeros(1) if g is None else g.flatten() for g in gradients])
        found.append((total.detach(), flat, step.model.likelihood.running.clone()))
    likelihood = build_likelihood(GaussianConfig(scale="optimal"), (6,), Affine((6,)))
    scale = likelihood.observe(likelihood(torch.zeros_like(x)), x, hidden).scale
    return [*found, (scale.mean(), scale.flatten()[:1], likelihood.running)]


def work(rank, path, queue):
    torch.set_num_threads(1)
    collective.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    found = run(X[8 * rank : 8 * rank + 8], HIDDEN[8 * rank : 8 * rank + 8])
    for total, gradient, _ in found:  # what DDP does, and what a log shows
        for value in (total, gradient):
            collective.all_reduce(value)
            value /= 2
    if rank == 0:
        queue.put([[value.tolist() for value in row] for row in found])
    collective.barrier()
    collective.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_equal_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=work, args=(rank, tmp_path / "meet", queue)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    shared = queue.get(timeout=100)
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode == 0
    for one, two in zip(run(X, HIDDEN), shared, strict=True):
        for value, other in zip(one, two, strict=True):
            assert torch.allclose(value, torch.tensor(other), rtol=1e-4, atol=1e-5)
