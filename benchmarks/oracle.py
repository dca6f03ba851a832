r"""Figure 3: bounds and gradients against what is known in closed form.

A linear-Gaussian VAE with d latents is set to its optimum, the maximum of the likelihood of probabilistic PCA, where a
diagonal posterior is exact. Its posterior's deviation is then inflated by 1.5: the bound with K = 1 falls by
:math:`d\,(\tfrac12 (1.5^2 - 1) - \log 1.5) = 0.2195\, d` nats, and the importance-weighted bound must climb back to
the exact log-likelihood. Second, probabilistic PCA is trained by gradient on its evidence bound and compared with its
closed form.

    python benchmarks/oracle.py [--json FILE]
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from latentscape.dist.likelihoods import GaussianConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.bounds import iw_bound
from latentscape.models.linear import Ppca, PpcaConfig, linear_marginal
from latentscape.models.model import Step
from latentscape.models.objectives import Elbo, ElboConfig
from latentscape.nets.mlp import MlpConfig

WIDTH, LATENT, ITEMS = 20, 6, 2000


def sample(items: int, seed: int = 0) -> Tensor:
    """Draw data of a linear-Gaussian law with 6 directions among 20 values."""
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.linalg.qr(torch.randn(WIDTH, LATENT, generator=generator))[0] * torch.linspace(4, 1, LATENT)
    z = torch.randn(items, LATENT, generator=generator)
    return z @ loadings.T + 0.5 * torch.randn(items, WIDTH, generator=generator) + 3


def linear_vae(oracle: Ppca, inflate: float = 1.0) -> Autoencoder:
    """Return a linear-Gaussian VAE at the oracle's optimum, its posterior's deviation times ``inflate``."""
    linear = MlpConfig(widths=())
    noise = float(oracle.log_noise.detach().exp())
    likelihood = GaussianConfig(scale="fixed", value=noise, least=0.0)
    config = AutoencoderConfig(latent=oracle.config.latent, encoder=linear, decoder=linear, likelihood=likelihood)
    model = Autoencoder(config, oracle.event_shape).eval()
    reader, writer = model.encoder.net.mlp[0], model.decoder.net[0]
    with torch.no_grad():
        w = oracle.loadings
        precision = w.square().sum(0) + noise**2  # M, diagonal at the optimum
        reader.weight.copy_(torch.cat([(w / precision).T, torch.zeros_like(w.T)]))
        deviation = torch.log(inflate * noise / precision.sqrt())
        reader.bias.copy_(torch.cat([-(w / precision).T @ oracle.mean, deviation]))
        writer.weight.copy_(w)
        writer.bias.copy_(oracle.mean)
    return model


def bounds(items: int = ITEMS, ks: tuple[int, ...] = (1, 10, 100, 1000)) -> dict:
    """Return the mean bound for each K, its gap to the exact log-likelihood, and standard errors (paired), in nats."""
    x = sample(items)
    oracle = Ppca(PpcaConfig(latent=LATENT), (WIDTH,)).fit([x])
    model = linear_vae(oracle, inflate=1.5)
    exact = linear_marginal(model).log_prob(x.double())
    closed = oracle.log_likelihood(x).detach()
    rows, last = [], None
    for k in ks:
        bound = iw_bound(model, x, samples=k, chunk=20_000)
        gap = exact - bound
        row = {"K": k, "bound": float(bound.mean()), "gap": float(gap.mean()), "gap_se": _error(gap)}
        if last is not None:
            row |= {"rise": float((bound - last).mean()), "rise_se": _error(bound - last)}
        rows.append(row)
        last = bound
    return {
        "latent": LATENT,
        "items": items,
        "exact": float(exact.mean()),
        "exact_by_ppca": float(closed.mean()),
        "expected_gap_at_1": LATENT * (0.5 * (1.5**2 - 1) - math.log(1.5)),
        "rows": rows,
    }


def gradient(items: int = ITEMS, steps: int = 1500) -> dict:
    """Train probabilistic PCA on its evidence bound and compare it with the closed form, nats an item."""
    x = sample(items)
    closed = Ppca(PpcaConfig(latent=LATENT), (WIDTH,)).fit([x]).log_likelihood(x).detach().mean()
    torch.manual_seed(0)
    model = Ppca(PpcaConfig(latent=LATENT), (WIDTH,), units=(x.mean(0), x.std(0)))
    step = Step(model, Elbo(ElboConfig()))
    optimiser = torch.optim.Adam(step.parameters(), 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for index in range(steps):
        optimiser.zero_grad()
        step(x, {}, index).total.backward()
        optimiser.step()
        schedule.step()
    reached = model.log_likelihood(x).detach().mean()
    return {"closed": float(closed), "gradient": float(reached), "gap": float(closed - reached), "steps": steps}


def _error(value: Tensor) -> float:
    return float(value.std() / len(value) ** 0.5)


def main() -> int:
    """Print the figure; exit 1 where it misses its target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figure = {"bounds": bounds(), "gradient": gradient()}
    found = figure["bounds"]
    print(f"linear-Gaussian VAE, {found['latent']} latents, {found['items']} items, deviation x 1.5; nats an item")
    print(f"exact log-likelihood {found['exact']:.4f} (by PPCA's closed form {found['exact_by_ppca']:.4f})")
    for row in found["rows"]:
        rise = f"  rise {row['rise']:+.4f} (s.e. {row['rise_se']:.4f})" if "rise" in row else ""
        print(
            f"K = {row['K']:5d}  bound {row['bound']:.4f}  short by {row['gap']:+.4f} (s.e. {row['gap_se']:.4f}){rise}"
        )
    print(
        "PPCA by gradient {gradient:.5f}, closed form {closed:.5f}: short by {gap:.5f} nats".format(
            **figure["gradient"]
        )
    )
    if options.json:
        options.json.write_text(json.dumps(figure, indent=1) + "\n", encoding="utf-8")
    rows = found["rows"]
    met = (
        rows[0]["gap"] >= 1
        and all(row["rise"] > -2 * row["rise_se"] for row in rows[1:])
        and abs(rows[-1]["gap"]) <= 0.02
        and figure["gradient"]["gap"] <= 0.01
    )
    print("target met" if met else "target missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
