"""Figure 3's program, small: at the optimum the bound is the likelihood; inflated, it climbs back to it."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from latentscape.models.bounds import elbo
from latentscape.models.linear import Ppca, PpcaConfig, linear_marginal


@pytest.fixture(scope="module")
def oracle():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "oracle.py"
    spec = importlib.util.spec_from_file_location("oracle", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bound_is_the_likelihood_at_the_optimum_and_falls_by_the_inflation(oracle):
    x = oracle.sample(4000)
    ppca = Ppca(PpcaConfig(latent=6), (20,)).fit([x])
    exact = ppca.log_likelihood(x).detach()
    model = oracle.linear_vae(ppca)
    assert torch.allclose(linear_marginal(model).log_prob(x.double()), exact, atol=1e-3)
    gap = exact - elbo(model, x)
    assert abs(float(gap.mean())) < 4 * float(gap.std()) / 4000**0.5
    fallen = exact - elbo(oracle.linear_vae(ppca, inflate=1.5), x)
    expected = 6 * (0.5 * 1.25 - math.log(1.5))
    assert expected > 1
    assert abs(float(fallen.mean()) - expected) < 4 * float(fallen.std()) / 4000**0.5


def test_bound_climbs_back(oracle):
    found = oracle.bounds(items=400, ks=(1, 10, 100))
    assert found["rows"][0]["gap"] > 0.8
    assert all(row["rise"] > -2 * row["rise_se"] for row in found["rows"][1:])
    assert abs(found["rows"][-1]["gap"]) < 0.02 + 4 * found["rows"][-1]["gap_se"]


def test_gradient_reaches_the_closed_form(oracle):
    found = oracle.gradient(items=500, steps=600)
    assert -1e-4 < found["gap"] < 0.02
