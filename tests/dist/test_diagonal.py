import pytest
import torch
from torch.distributions import Independent, Laplace, Normal, Uniform

from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import point
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import DiagonalLaplace, DiagonalNormal, DiagonalUniform
from latentscape.dist.priors import (
    LaplacePriorConfig,
    NormalPriorConfig,
    UniformPriorConfig,
    build_prior,
)
from latentscape.laws.conditional import check_distribution

FAMILIES = {
    DiagonalNormal: lambda m, s: Normal(m, s),
    DiagonalLaplace: lambda m, s: Laplace(m, s),
    DiagonalUniform: lambda m, s: Uniform(m - s, m + s),
}
SCALES = {"one": (), "feature": (3, 1), "item": (4, 1, 1), "value": (4, 3, 2)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SCALES.values(), ids=list(SCALES))
def test_equals_torch_for_every_shape_of_the_scale(family, shape):
    loc, scale = torch.randn(4, 3, 2), torch.rand(shape) + 0.5
    ours = family(loc, scale, 2)
    theirs = Independent(FAMILIES[family](loc, scale.expand(4, 3, 2)), 2, validate_args=False)
    x = ours.rsample((5,))
    assert torch.allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-5)
    assert torch.allclose(ours.entropy(), theirs.entropy(), rtol=1e-5)
    assert torch.allclose(ours.variance, theirs.variance.expand(4, 3, 2), rtol=1e-5)
    assert torch.equal(ours.mean, loc)
    assert torch.equal(ours.mode, loc)
    assert bool(ours.support.check(x[0]).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_agree_with_density_and_carry_gradients(family):
    loc, scale = torch.randn(2, 3, requires_grad=True), torch.tensor([0.5, 1.0, 2.0], requires_grad=True)
    p = family(loc, scale)
    check_distribution(p)
    gradients = torch.autograd.grad(p.rsample((7,)).square().sum(), (loc, scale))
    assert all(bool(g.abs().sum() > 0) for g in gradients)


def test_law_sees_a_wrong_density():
    class Wrong(DiagonalNormal):
        def log_prob(self, value):
            return super().log_prob(value) + 0.3

    class WrongEntropy(DiagonalNormal):
        def entropy(self):
            return super().entropy() + 0.3

    for wrong in (Wrong, WrongEntropy):
        with pytest.raises(AssertionError):
            check_distribution(wrong(torch.zeros(1, 2), torch.ones(())))


def test_expand_and_rescale():
    p = DiagonalNormal(torch.randn(3), torch.rand(3) + 0.1).expand((4,))
    assert p.sample().shape == (4, 3)
    items = DiagonalLaplace(torch.randn(1, 3), torch.ones(1, 1)).expand((4,))
    assert items.scale.shape == (4, 1)
    assert items.log_prob(torch.zeros(4, 3)).shape == (4,)
    assert torch.equal(p.rescaled(torch.tensor(2.0)).variance, torch.full((4, 3), 4.0))


def test_uniform_has_no_density_outside_and_a_closed_edge():
    p = DiagonalUniform(torch.tensor([100.0]), torch.tensor([0.5]))
    assert p.log_prob(torch.tensor([100.6])) == -torch.inf
    assert p.log_prob(torch.tensor([100.5])) == 0.0


def test_laplace_noise_is_finite_at_the_edge(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    assert DiagonalLaplace(torch.zeros(3), torch.ones(3)).rsample().isfinite().all()


def test_delta():
    p = Delta(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert torch.equal(p.rsample((3,)), p.point.expand(3, 2, 2))
    assert torch.equal(point(p), p.point)
    assert torch.equal(p.mode, p.point)
    assert p.log_prob(p.point).tolist() == [torch.inf] * 2
    assert p.log_prob(p.point + 1).tolist() == [-torch.inf] * 2
    assert not p.variance.any()
    assert Delta(torch.zeros(2)).expand((5,)).batch_shape == (5,)
    assert Delta(torch.zeros(2), 0).log_prob(torch.zeros(2)).shape == (2,)
    assert p.support.check(p.point).all()


@pytest.mark.parametrize("config", [NormalPriorConfig(), LaplacePriorConfig(), UniformPriorConfig(low=-2, high=1)])
def test_prior_obeys_its_density_is_cached_and_follows_the_device(config):
    prior = build_prior(config, 3)
    check_distribution(prior())
    assert prior() is prior()
    assert not prior.state_dict()
    before = prior()
    assert prior.double()().loc.dtype == torch.float64
    assert prior() is not before


def test_prior_made_under_inference_mode_still_trains():
    prior = build_prior(NormalPriorConfig(), 3)
    with torch.inference_mode():
        prior().log_prob(torch.zeros(3))
    z = torch.zeros(3, requires_grad=True)
    prior().log_prob(z).backward()


def test_laplace_prior_has_unit_variance_by_default():
    assert torch.allclose(build_prior(LaplacePriorConfig(), 2)().variance, torch.ones(2))


def test_empty_box_is_refused():
    with pytest.raises(ConfigError, match=r"prior\.high"):
        build_prior(UniformPriorConfig(low=1, high=1), 2)
