"""Statistics of features against closed forms, autograd and scipy."""

import numpy as np
import pytest
import scipy.linalg
import torch

from latentscape.edit.restyle.statistics import (
    STATISTICS,
    Gaussian,
    autocorrelation,
    between,
    gaussian_of,
    gram,
    powers,
    ranked,
    transport,
    wasserstein,
)
from latentscape.measure.samples import frechet_of_moments


def drawn(seed: int, *shape: int) -> torch.Tensor:
    mixed = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mixed @ torch.randn(shape[-1], shape[-1], generator=torch.Generator().manual_seed(seed + 1)).double() + seed


def test_gram_is_covariance_and_mean():
    features = drawn(1, 2, 30, 4)
    found = gaussian_of(features)
    outer = found.mean[:, :, None] * found.mean[:, None]
    assert torch.allclose(gram(features), found.covariance + outer)
    assert np.allclose(found.covariance[1], np.cov(features[1].T.numpy(), bias=True))


def test_transport_carries_mean_and_covariance_and_is_the_cheapest():
    a, b = drawn(1, 500, 3), drawn(5, 400, 3)
    carry = transport(gaussian_of(a), gaussian_of(b), ridge=0.0)
    moved = gaussian_of(carry(a))
    assert torch.allclose(moved.mean, gaussian_of(b).mean)
    assert torch.allclose(moved.covariance, gaussian_of(b).covariance)
    assert torch.allclose(carry.matrix, carry.matrix.T)  # the gradient of a convex function
    assert float(torch.linalg.eigvalsh(carry.matrix)[0]) > 0
    cost = (carry(a) - a).square().sum(1).mean()
    assert torch.allclose(cost, wasserstein(gaussian_of(a), gaussian_of(b)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_lies_between_is_what_the_map_gives_on_the_way(share):
    a, b = drawn(1, 500, 3), drawn(5, 400, 3)
    wanted = gaussian_of(transport(gaussian_of(a), gaussian_of(b), ridge=1e-9)(a, share))
    found = between(gaussian_of(a), gaussian_of(b), share)
    assert torch.allclose(found.mean, wanted.mean)
    assert torch.allclose(found.covariance, wanted.covariance, atol=0.02)


def test_wasserstein_against_scipy_and_its_slope_against_differences():
    a, b = gaussian_of(drawn(1, 50, 3)), gaussian_of(drawn(5, 60, 3))
    root = scipy.linalg.sqrtm(a.covariance.numpy())
    cross = scipy.linalg.sqrtm(root @ b.covariance.numpy() @ root).real.trace()
    apart = float((a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross)
    assert float(wasserstein(a, b)) == pytest.approx(apart, rel=1e-9)
    assert float(wasserstein(a, b)) == pytest.approx(frechet_of_moments(a, b), rel=1e-6)
    features = drawn(1, 20, 3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f: wasserstein(gaussian_of(f), b), features)


def test_wasserstein_of_flat_gaussians_is_finite_with_a_finite_slope():
    flat = torch.zeros(10, 4)
    flat[:, 0] = torch.arange(10.0)
    moved = flat.clone().requires_grad_(True)
    distance = wasserstein(gaussian_of(moved), gaussian_of(2 * flat))
    distance.backward()
    assert torch.isfinite(distance)
    assert torch.isfinite(moved.grad).all()


def test_powers_are_inverse_where_there_is_something():
    matrix = gaussian_of(drawn(2, 40, 3)).covariance
    root, back = powers(matrix)
    assert torch.allclose(root @ root, matrix)
    assert torch.allclose(root @ back, torch.eye(3).double())
    assert not powers(torch.zeros(2, 2))[1].isnan().any()


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_is_met_by_itself_and_lies_between_its_ends(name):
    kind = STATISTICS[name]
    a, b = drawn(1, 2, 80, 3), drawn(5, 2, 90, 3)
    assert float(kind.apart(a, kind.of(a))) == pytest.approx(0, abs=1e-6)
    whole, half = (float(kind.apart(a, kind.between(kind.of(a), kind.of(b), share))) for share in (1.0, 0.5))
    assert 0 < half < whole
    assert isinstance(kind.of(a), Gaussian) == (name == "gaussian")


def test_autocorrelation_finds_a_period_and_agrees_with_sums():
    t = torch.arange(200.0)
    features = torch.stack((torch.sin(2 * torch.pi * t / 20) + 3, torch.cos(2 * torch.pi * t / 8)), 1)
    found = autocorrelation(features, 40)
    assert int(found[10:, 0].argmax()) + 11 in (20, 40)
    centred = features - features.mean(0)
    direct = (centred[7:] * centred[:-7]).mean(0) / centred.square().mean(0)
    assert torch.allclose(found[6], direct, atol=1e-4)
    assert autocorrelation(features[:5], 40).shape == (4, 2)


def test_ranks_carry_a_distribution_in_order():
    a = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    b = 5 + torch.rand(90, 3, generator=torch.Generator().manual_seed(1)) ** 3
    found = ranked(a, b)
    assert torch.equal(found.argsort(0), a.argsort(0))
    assert torch.allclose(ranked(a, a[torch.randperm(40)]), a)
    levels = torch.linspace(0.05, 0.95, 10)
    assert torch.allclose(found.quantile(levels, 0), b.quantile(levels, 0), atol=0.1)
    assert float(found.amax()) <= float(b.amax())
