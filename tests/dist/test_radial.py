"""The radial Laplace likelihood against closed forms."""

import math

import pytest
import torch
from scipy import integrate, stats

from latentscape.core.errors import LikelihoodError
from latentscape.dist.radial import Radial, RadialConfig, RadialLaplace
from latentscape.dist.units import Affine


def test_in_one_dimension_it_is_the_laplace_density():
    x = torch.linspace(-3, 3, 7)[:, None]
    p = RadialLaplace(torch.full((7, 1), 0.5), torch.tensor(0.7), torch.tensor([2.0]))
    expected = torch.distributions.Laplace(0.5, 1.4).log_prob(x[:, 0])
    assert torch.allclose(p.log_prob(x), expected, atol=1e-6)


def test_the_density_integrates_to_one_in_two_dimensions():
    p = RadialLaplace(torch.tensor([0.3, -1.0]), torch.tensor(0.5), torch.tensor([1.0, 2.0]))
    density = lambda b, a: math.exp(float(p.log_prob(torch.tensor([a, b]))))  # noqa: E731
    assert integrate.dblquad(density, -9, 9, -18, 18, epsabs=1e-4)[0] == pytest.approx(1, abs=2e-3)


def test_samples_have_a_gamma_radius_and_the_stated_variance():
    torch.manual_seed(1)
    p = RadialLaplace(torch.zeros(5, 3, 2) + 1, torch.tensor(0.4), torch.tensor([[1.0], [2.0], [3.0]]), 2)
    x = p.rsample((4000,))
    assert x.shape == (4000, 5, 3, 2)
    radius = p.radius(x).flatten().numpy()
    assert stats.kstest(radius, stats.gamma(6, scale=0.4).cdf).pvalue > 0.01
    assert torch.allclose(x.var((0, 1)), p.variance[0], rtol=0.1)


def test_the_optimal_scale_maximises_the_likelihood_and_is_kept_for_evaluation():
    likelihood = Radial(RadialConfig(), (4,), Affine((4,), torch.zeros(4), torch.full((4,), 3.0)))
    x, raw = torch.randn(64, 4), torch.randn(64, 4)
    p = likelihood.observe(likelihood(raw), x)
    best = p.log_prob(x).sum()
    for factor in (0.9, 1.1):
        assert RadialLaplace(p.loc, p.scale * factor, p.units).log_prob(x).sum() < best
    likelihood.eval()
    assert torch.allclose(likelihood(raw).scale, p.scale, rtol=1e-3)


@pytest.mark.parametrize("scale", ["fixed", "scalar", "optimal"])
def test_the_mean_stays_above_the_floor(scale):
    units = Affine((3,), torch.full((3,), -50.0), torch.full((3,), 10.0))
    likelihood = Radial(RadialConfig(scale=scale, lower=-80), (3,), units)
    assert (likelihood(100 * torch.randn(20, 3)).mean >= -80).all()
    with pytest.raises(LikelihoodError, match="lower = -80"):
        likelihood.check(torch.full((2, 3), -90.0))
    with pytest.raises(LikelihoodError, match="codes"):
        likelihood.check(torch.zeros(2, 3, dtype=torch.int64))
