import itertools

import pytest
import scipy.integrate
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import DiagonalLaplace, DiagonalNormal, DiagonalUniform
from latentscape.dist.divergences import rate_per_value, why_infinite
from latentscape.dist.priors import LaplacePriorConfig, NormalPriorConfig, build_prior

FAMILIES = [DiagonalNormal, DiagonalLaplace, DiagonalUniform]


@pytest.mark.parametrize(("q_family", "p_family"), itertools.product(FAMILIES, FAMILIES))
@pytest.mark.parametrize("shift", [0.0, 0.4, 3.0])
def test_pair_equals_quadrature(q_family, p_family, shift):
    double = {"dtype": torch.float64}
    q = q_family(torch.tensor([shift], **double), torch.tensor([0.7], **double))
    p = p_family(torch.tensor([0.0], **double), torch.tensor([1.3], **double))
    closed = float(kl_divergence(q, p))
    if p_family is DiagonalUniform and (q_family is not DiagonalUniform or shift > 0.6):
        assert closed == torch.inf
        return

    def integrand(x):
        at = torch.tensor([x], **double)
        log_q = q.log_prob(at)
        return float(log_q.exp() * (log_q - p.log_prob(at))) if log_q > -700 else 0.0

    reach = 0.7 if q_family is DiagonalUniform else 20.0
    knots = sorted({k for k in (0.0, shift) if abs(k - shift) < reach})
    value, _ = scipy.integrate.quad(integrand, shift - reach, shift + reach, points=knots, limit=200)
    assert closed == pytest.approx(value, abs=1e-6)


def test_event_is_the_sum_and_batches_broadcast():
    q = DiagonalNormal(torch.randn(5, 3), torch.rand(5, 3) + 0.1)
    p = DiagonalNormal(torch.zeros(3), torch.ones(()))
    values = rate_per_value(q, p)
    assert values is not None
    assert values.shape == (5, 3)
    assert torch.allclose(values.sum(1), kl_divergence(q, p))


def test_a_known_unit_normal_gives_the_same():
    q = DiagonalNormal(torch.randn(5, 3), torch.rand(5, 3) + 0.1)
    zeros, ones = torch.zeros(3), torch.ones(3)
    plain, known = (kl_divergence(q, DiagonalNormal(zeros, ones, unit=unit)) for unit in (False, True))
    assert torch.allclose(plain, known, atol=1e-5)
    assert build_prior(NormalPriorConfig(), 3)().unit
    assert not build_prior(LaplacePriorConfig(), 3)().unit


def test_delta_is_infinitely_far_from_everything():
    q = Delta(torch.zeros(4, 3))
    for p in (DiagonalNormal(torch.zeros(3), torch.ones(())), DiagonalUniform(torch.zeros(3), torch.ones(3))):
        assert kl_divergence(q, p).tolist() == [torch.inf] * 4
        assert why_infinite(q, p) is not None


def test_full_covariance_against_diagonal():
    root = torch.randn(3, 3).tril() + 2 * torch.eye(3)
    root.diagonal().abs_()
    q = MultivariateNormal(torch.randn(5, 3), scale_tril=root)
    loc, scale = torch.randn(3), torch.rand(3) + 0.5
    expected = kl_divergence(q, MultivariateNormal(loc, torch.diag(scale**2)))
    assert torch.allclose(kl_divergence(q, DiagonalNormal(loc, scale)), expected, rtol=1e-4)
    assert rate_per_value(q, DiagonalNormal(loc, scale)) is None


def test_box_inside_box_touching_the_edge_is_finite():
    width = torch.sigmoid(torch.randn(2000, 4) * 3)
    q = DiagonalUniform(7 + (1 - width) * 2 * torch.tanh(torch.randn(2000, 4) * 20), 2 * width)
    p = DiagonalUniform(torch.full((4,), 7.0), torch.full((4,), 2.0))
    assert torch.allclose(kl_divergence(q, p), -width.log().sum(1), rtol=1e-3, atol=1e-4)
    assert why_infinite(q, p) is None


def test_gaussian_on_a_box_says_why():
    q = DiagonalNormal(torch.zeros(1, 2), torch.ones(1, 2))
    assert "box" in str(why_infinite(q, DiagonalUniform(torch.zeros(2), torch.ones(2))))
    assert why_infinite(q, DiagonalLaplace(torch.zeros(2), torch.ones(2))) is None
