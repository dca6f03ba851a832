import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from latentscape.core.errors import ConfigError
from latentscape.dist.kernels import Imq, ImqConfig, Rbf, RbfConfig, build_kernel, mmd2, squared_distances


def naive_mmd2(z, y, k):
    n, m = len(z), len(y)
    zz = sum(k(z[i], z[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return zz + yy - 2 * sum(k(a, b) for a in z for b in y) / (n * m)


def test_rbf_is_sklearns():
    x = torch.randn(20, 5, dtype=torch.float64)
    ours = Rbf(RbfConfig(bandwidth=1.7))(squared_distances(x), 5)
    assert np.allclose(ours, rbf_kernel(x.numpy(), gamma=1 / (2 * 1.7**2)))


def test_median_bandwidth_is_the_median_distance():
    x = torch.randn(15, 3, dtype=torch.float64)  # 105 pairs, an odd number
    distances = [float((a - b).norm()) for i, a in enumerate(x) for b in x[:i]]
    ours = Rbf(RbfConfig())(squared_distances(x), 3)
    assert np.allclose(ours, rbf_kernel(x.numpy(), gamma=1 / (2 * np.median(distances) ** 2)))


@pytest.mark.parametrize("n", [7, 12])
def test_mmd_is_the_double_loop(n):
    z, y = torch.randn(n, 4, dtype=torch.float64) + 3, torch.randn(9, 4, dtype=torch.float64) + 3
    scales, variance = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0), 1.5

    def imq(a, b):
        squared = float((a - b).square().sum())
        return sum(s * 2 * 4 * variance / (s * 2 * 4 * variance + squared) for s in scales)

    assert float(mmd2(z, y, Imq(ImqConfig(variance=variance)))) == pytest.approx(naive_mmd2(z, y, imq), abs=1e-10)

    def rbf(a, b):
        return float(rbf_kernel(a[None].numpy(), b[None].numpy(), gamma=1 / (2 * 0.8**2))[0, 0])

    assert float(mmd2(z, y, Rbf(RbfConfig(bandwidth=0.8)))) == pytest.approx(naive_mmd2(z, y, rbf), abs=1e-10)


@pytest.mark.parametrize("config", [ImqConfig(), RbfConfig(bandwidth=2.0)])
def test_null_is_centred_negative_half_of_the_time_and_alternatives_are_seen(config):
    kernel = build_kernel(config)
    null = torch.stack([mmd2(torch.randn(64, 8), torch.randn(64, 8), kernel) for _ in range(200)])
    assert abs(float(null.mean())) < 4 * float(null.std()) / 200**0.5
    assert 0.3 < float((null < 0).float().mean()) < 0.8
    narrow = mmd2(0.7 * torch.randn(64, 8), torch.randn(64, 8), kernel)
    assert float(narrow) > float(null.quantile(0.99))


def test_distances_far_from_the_origin_keep_their_digits_and_their_gradient():
    x = (torch.randn(10, 3) + 1e3).requires_grad_()
    exact = torch.cdist(x.detach().double(), x.detach().double()).square()
    squared = squared_distances(x)
    assert torch.allclose(squared.double(), exact, rtol=1e-2, atol=1e-2)
    assert bool((squared >= 0).all())
    (gradient,) = torch.autograd.grad(squared[0, 1], x)
    assert torch.allclose(gradient[0], 2 * (x[0] - x[1]).detach(), atol=1e-3)


def test_distances_are_full_precision_under_autocast():
    x = torch.randn(50, 16)
    with torch.autocast("cpu", torch.bfloat16):
        squared = squared_distances(x)
    assert torch.allclose(squared, torch.cdist(x, x).square(), atol=1e-3)


@pytest.mark.parametrize("config", [ImqConfig(), RbfConfig(bandwidth=2.0)])
def test_gradients_are_those_of_finite_differences(config):
    z, y = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: mmd2(z, y, build_kernel(config)), (z,))


def test_a_median_bandwidth_is_that_of_the_pooled_sample():
    z, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64)  # 105 pairs
    pooled = torch.cat([z, y])
    width = float(np.median([float((a - b).norm()) for i, a in enumerate(pooled) for b in pooled[:i]]))
    expected = mmd2(z, y, Rbf(RbfConfig(bandwidth=width)))
    assert float(mmd2(z, y, Rbf(RbfConfig()))) == pytest.approx(float(expected), abs=1e-12)


def test_one_point_is_refused():
    with pytest.raises(ConfigError, match="at least 2"):
        mmd2(torch.randn(1, 3), torch.randn(5, 3), Imq(ImqConfig()))
