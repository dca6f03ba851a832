import math

import pytest
import scipy.integrate
import scipy.special
import torch
from torch.distributions import kl_divergence

from latentscape.core.errors import ConfigError
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.divergences import why_infinite
from latentscape.dist.priors import build_prior
from latentscape.dist.sphere import PowerSpherical, Sphere, SpherePriorConfig, SphereUniform, log_area, on_sphere
from latentscape.laws.conditional import check_distribution

KAPPAS = [0.0, 0.7, 10.0, 300.0]


def law(dim, kappa, count=2, dtype=torch.float32):
    mu = torch.nn.functional.normalize(torch.randn(count, dim, dtype=dtype), dim=-1)
    return PowerSpherical(mu, torch.full((count,), kappa, dtype=dtype))


@pytest.mark.parametrize(("dim", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_area_of_known_spheres(dim, area):
    assert math.exp(log_area(dim)) == pytest.approx(area)
    assert math.exp(log_area(dim, 3.0)) == pytest.approx(area * 3 ** (dim - 1))


@pytest.mark.parametrize("dim", [2, 3, 8])
@pytest.mark.parametrize("kappa", KAPPAS)
def test_density_is_that_of_its_samples(dim, kappa):
    check_distribution(law(dim, kappa))


@pytest.mark.parametrize("dim", [2, 5, 8])
def test_uniform_density_is_that_of_its_samples(dim):
    check_distribution(SphereUniform(torch.zeros(dim)))


@pytest.mark.parametrize("dim", [3, 10, 64])
@pytest.mark.parametrize("kappa", KAPPAS)
def test_mass_entropy_and_moments_equal_quadrature(dim, kappa):
    """By the cosine t, whose density is (1 - t^2)^((d-3)/2) A_(d-1) / A_d times the ratio to the uniform law."""
    q = law(dim, kappa, 1, torch.float64)
    across = torch.nn.functional.normalize(torch.randn(dim, dtype=torch.float64), dim=0)
    across = across - (across @ q.loc[0]) * q.loc[0]
    across = across / across.norm()

    def log_density(t):
        return float(q.log_prob(q.radius * (t * q.loc + math.sqrt(1 - t * t) * across)))

    ring = log_area(dim - 1) + (dim - 1) * math.log(q.radius)

    def mean(f):
        def integrand(angle):
            t = math.cos(angle)
            log_p = log_density(t)
            return f(t, log_p) * math.exp(log_p + ring) * math.sin(angle) ** (dim - 2) if log_p > -700 else 0.0

        peak = 1.0 / math.sqrt(1 + kappa / dim)
        return scipy.integrate.quad(integrand, 0, math.pi, points=[peak, peak / 3], limit=200)[0]

    assert mean(lambda t, log_p: 1.0) == pytest.approx(1.0, rel=1e-6)
    assert mean(lambda t, log_p: -log_p) == pytest.approx(float(q.entropy()), rel=1e-6)
    first, second = q._cosine()
    assert mean(lambda t, log_p: t) == pytest.approx(float(first), abs=1e-6)
    assert mean(lambda t, log_p: t * t) == pytest.approx(float(second), abs=1e-6)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_moments_are_those_of_samples(kappa):
    q = law(6, kappa)
    draws = q.rsample((40_000,))
    assert torch.allclose(draws.mean(0), q.mean, atol=0.05)
    assert torch.allclose(draws.var(0), q.variance, rtol=0.1, atol=0.01)
    assert torch.allclose(draws.norm(dim=-1), torch.tensor(6**0.5), rtol=1e-5)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_divergence_from_the_uniform_law_is_the_mean_log_ratio(kappa):
    q, p = law(7, kappa), SphereUniform(torch.zeros(7))
    z = q.rsample((20_000,))
    ratio = q.log_prob(z) - p.log_prob(z)
    assert torch.allclose(kl_divergence(q, p), ratio.mean(0), atol=5 * float(ratio.std()) / 141 + 1e-4)
    assert kl_divergence(law(7, 0.0), p).abs().max() < 1e-4


def test_uniform_coordinates_have_variance_one():
    p = SphereUniform(torch.zeros(5))
    draws = p.sample((40_000,))
    assert torch.allclose(draws.var(0), p.variance, atol=0.05)
    assert torch.allclose(draws.mean(0), p.mean, atol=0.05)


def test_gradients_of_draws_are_those_of_the_mean():
    """d E[x] / d kappa and d E[x] / d mu, by draws, against the closed mean."""
    mu, kappa = torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64), torch.tensor([5.0], dtype=torch.float64)
    mu.requires_grad_(), kappa.requires_grad_()
    weight = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)

    def gradients(direction, x):
        unit = direction / direction.norm(dim=-1, keepdim=True)
        return torch.autograd.grad((x(PowerSpherical(unit, kappa)) * weight).sum(), (mu, kappa))

    exact = gradients(mu, lambda q: q.mean)
    drawn = gradients(mu, lambda q: q.rsample((200_000,)).mean(0))
    for one, other in zip(exact, drawn, strict=True):
        assert torch.allclose(one, other, atol=0.02)


def test_very_sharp_laws_keep_their_digits():
    q, exact = law(40, 1e6, 1), law(40, 1e6, 1, torch.float64)
    exact = PowerSpherical(torch.nn.functional.normalize(q.loc.double(), dim=-1), q.concentration.double())
    z = q.rsample((200,))
    on = on_sphere(z.double())
    assert float((q.log_prob(z).double() - exact.log_prob(on)).abs().max()) < 0.1  # 1e-7 of rounding in x, times kappa
    log_n = scipy.special.loggamma(1e6 + 19.5) - scipy.special.loggamma(1e6 + 39)
    log_n += (1e6 + 39) * math.log(2) + 19.5 * math.log(math.pi)
    assert float(exact._log_normaliser()) == pytest.approx(log_n, abs=1e-6)


def test_off_the_sphere_there_is_nothing():
    for p in (SphereUniform(torch.zeros(4)), law(4, 3.0)):
        assert (p.log_prob(torch.ones(4) * 1.1) == -torch.inf).all()
        assert p.log_prob(torch.ones(4)).isfinite().all()
    assert Sphere(2.0).check(torch.tensor([[2.0, 0.0], [1.9, 0.0]])).tolist() == [True, False]


def test_law_sees_samples_off_the_sphere_and_a_wrong_density():
    class Inside(SphereUniform):
        def sample(self, sample_shape=()):
            return 0.5 * super().sample(sample_shape)

        def log_prob(self, value):
            return -self.entropy().expand(value.shape[:-1])

    class Heavy(PowerSpherical):
        def log_prob(self, value):
            return super().log_prob(value) + 0.2

        def entropy(self):
            raise NotImplementedError

    with pytest.raises(AssertionError, match="off the sphere"):
        check_distribution(Inside(torch.zeros(3)))
    with pytest.raises(AssertionError, match="integrates to"):
        check_distribution(Heavy(law(3, 5.0).loc, torch.tensor([5.0, 5.0])))


def test_temperature_changes_nothing_but_at_zero():
    p = build_prior(SpherePriorConfig(), 4)()
    assert p.sample_at(0.0, (3,)).tolist() == [[1.0] * 4] * 3
    assert p.sample_at(0.5, (3000,)).var(0).tolist() == pytest.approx([1.0] * 4, abs=0.15)
    assert bool(p.support.check(p.sample_at(0.0, (1,))).all())


def test_what_does_not_fit_says_so():
    normal, uniform, cap = DiagonalNormal(torch.zeros(2, 3), torch.ones(())), SphereUniform(torch.zeros(3)), law(3, 1.0)
    assert "off the sphere" in str(why_infinite(normal, uniform))
    assert kl_divergence(normal, uniform).tolist() == [math.inf] * 2
    assert "no mass" in str(why_infinite(cap, normal))
    assert why_infinite(cap, uniform) is None
    with pytest.raises(ConfigError, match="at least 2"):
        build_prior(SpherePriorConfig(), 1)
