import math

import pytest
import torch

from latentscape.core.errors import ConfigError, DataError, LikelihoodError
from latentscape.dist.conditional import point
from latentscape.dist.likelihoods import (
    BernoulliConfig,
    CategoricalConfig,
    GaussianConfig,
    LaplaceConfig,
    build_likelihood,
)
from latentscape.dist.units import Affine
from latentscape.laws.conditional import check_distribution

SCALES = ["fixed", "scalar", "feature", "item", "element", "optimal"]
EVENT = (3, 2)


def units():
    return Affine(EVENT, torch.tensor([[-40.0], [3.0], [0.1]]), torch.tensor([[10.0], [2.0], [0.05]]))


@pytest.mark.parametrize("make", [GaussianConfig, LaplaceConfig])
@pytest.mark.parametrize("scale", SCALES)
def test_density_is_in_the_units_of_x(make, scale):
    """log p(x) = log p(standardised) - sum log scale, and samples agree with the density."""
    config = make(scale=scale, value=0.7)
    inside, outside = build_likelihood(config, EVENT, units()), build_likelihood(config, EVENT, Affine(EVENT))
    raw = torch.randn(4, inside.outputs)
    x = inside.units.restore(torch.randn(4, *EVENT))
    with torch.no_grad():
        given = inside(raw).log_prob(x)
        standardised = outside(raw).log_prob(inside.units.standardise(x))
        assert torch.allclose(given, standardised - inside.units.scale.log().sum(), rtol=1e-4, atol=1e-3)
        check_distribution(inside(raw))
        start = inside(torch.zeros_like(raw)).scale / inside.units.scale
    assert torch.allclose(start, torch.tensor(0.7), atol=1e-3)  # every form begins at the configured value
    assert inside(raw).mean.shape == (4, *EVENT)


@pytest.mark.parametrize("make", [GaussianConfig, LaplaceConfig])
def test_lower_keeps_the_mean_above_the_floor_and_leaves_it_alone_far_above(make):
    likelihood = build_likelihood(make(lower=-80.0), (5,), Affine((5,), -40.0, 10.0))
    raw = torch.linspace(-50, 20, 15).reshape(3, 5)
    mean = likelihood(raw).mean
    assert bool((mean >= -80).all())
    high = raw > 6
    assert torch.allclose(mean[high], (-40 + 10 * raw)[high], atol=1e-2)
    with pytest.raises(LikelihoodError, match="lower"):
        likelihood.check(torch.full((2, 5), -90.0))


@pytest.mark.parametrize(("make", "power"), [(GaussianConfig, 2), (LaplaceConfig, 1)])
def test_optimal_scale_is_the_maximum_and_evaluation_uses_the_running_average(make, power):
    likelihood = build_likelihood(make(scale="optimal", least=0.0, value=3.0), (6,), Affine((6,), 1.0, 2.0))
    raw = torch.randn(32, 6, requires_grad=True)
    x = 1 + 2 * (raw.detach() + 0.3 * torch.randn(32, 6))
    p = likelihood(raw)
    best = likelihood.observe(p, x)
    mean_power = ((x - p.loc) / 2).abs().pow(power).mean()
    assert torch.allclose((best.scale / 2).pow(power), mean_power, rtol=1e-5)
    total = best.log_prob(x).sum()
    for factor in (0.98, 1.02):
        assert total > best.rescaled(best.scale * factor).log_prob(x).sum()
    # The held scale gives the gradient of the batch's mean with a scale that follows: the envelope theorem.
    (held,) = torch.autograd.grad(total, raw)
    free = likelihood(raw)
    moment = ((x - free.loc) / 2).abs().pow(power).mean()
    follows = free.rescaled(2 * moment ** (1 / power)).log_prob(x).sum()
    assert torch.allclose(held, torch.autograd.grad(follows, raw)[0], rtol=1e-3, atol=1e-5)
    assert torch.allclose(likelihood.running, mean_power.detach())
    before = likelihood.running.clone()
    likelihood.eval()
    assert likelihood.observe(p, x + 100) is p
    assert torch.equal(likelihood.running, before)
    assert torch.allclose((likelihood(raw).scale / 2).pow(power), mean_power, rtol=1e-5)


def test_running_average_forgets():
    likelihood = build_likelihood(GaussianConfig(scale="optimal"), (2,), Affine((2,)))
    raw = torch.zeros(4, 2)
    for size in [10.0] * 5 + [1.0] * 1500:
        likelihood.observe(likelihood(raw), torch.full((4, 2), size))
    assert float(likelihood.running) == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("make", [GaussianConfig, LaplaceConfig])
def test_where_nothing_is_hidden_nothing_is_estimated(make):
    likelihood = build_likelihood(make(scale="optimal", least=0.0, value=3.0), (6,), Affine((6,)))
    raw, none = torch.zeros(4, 6), torch.zeros(4, 6, dtype=torch.bool)
    p = likelihood(raw)
    assert torch.equal(likelihood.observe(p, raw + 2, none).scale, p.scale)
    assert torch.allclose(likelihood(raw).scale, torch.tensor(3.0))
    hidden = none.clone()
    hidden[0] = True
    x = torch.where(hidden, 2.0, 50.0)
    for mask in (hidden, none):  # the first batch that tells something has the whole weight, and what tells nothing none
        likelihood.observe(likelihood(raw), x, mask)
        assert torch.allclose(likelihood(raw).scale, torch.tensor(2.0))


def test_least_bounds_every_learnt_scale():
    for scale in ("scalar", "feature", "item", "element"):
        likelihood = build_likelihood(GaussianConfig(scale=scale, least=0.01), (3,), Affine((3,)))
        with torch.no_grad():
            for parameter in likelihood.parameters():
                parameter.fill_(-50)
            assert float(likelihood(torch.full((2, likelihood.outputs), -50.0)).scale.min()) == pytest.approx(0.01)
    optimal = build_likelihood(GaussianConfig(scale="optimal", least=0.01), (3,), Affine((3,)))
    assert float(optimal.observe(optimal(torch.zeros(2, 3)), torch.zeros(2, 3)).scale[0]) == pytest.approx(0.01)
    with pytest.raises(ConfigError, match=r"likelihood\.value"):
        build_likelihood(GaussianConfig(scale="item", value=1e-3, least=0.1), (3,), Affine((3,)))


def test_bernoulli_density_and_refusals():
    likelihood = build_likelihood(BernoulliConfig(), (1, 2, 2), Affine((1, 2, 2), 5.0, 9.0))
    p = likelihood(torch.randn(3, 4))
    check_distribution(p)
    x = p.sample()
    likelihood.check(x)
    probability = p.mean
    expected = (x * probability.log() + (1 - x) * (1 - probability).log()).sum((1, 2, 3))
    assert torch.allclose(p.log_prob(x), expected, atol=1e-5)
    with pytest.raises(LikelihoodError, match=r"between -1 and 1 .*needs every value to be 0 or 1"):
        likelihood.check(torch.tensor([-1.0, 0.0, 1.0, 0.5]).reshape(1, 1, 2, 2))
    with pytest.raises(LikelihoodError, match=r"50 % are not"):
        likelihood.check(torch.tensor([0.2, 0.0, 1.0, 0.5]).reshape(1, 1, 2, 2))
    with pytest.raises(LikelihoodError, match="shape"):
        likelihood.check(torch.zeros(1, 2))
    with pytest.raises(LikelihoodError, match="NaN"):
        likelihood.check(torch.full((1, 1, 2, 2), math.nan))


def test_categorical_density_layout_and_refusals():
    likelihood = build_likelihood(CategoricalConfig(levels=5), (1, 3), Affine((1, 3), 5.0, 9.0))
    raw = torch.zeros(2, likelihood.outputs)
    raw.reshape(2, 5, 1, 3)[:, 4, 0, 1] = 20.0  # the second value is almost surely code 4
    p = likelihood(raw)
    check_distribution(p)
    assert int(point(p)[0, 0, 1]) == 4
    assert float(p.log_prob(torch.tensor([[[0, 4, 2]]]))[0]) == pytest.approx(-2 * math.log(5), abs=1e-4)
    assert torch.equal(likelihood.units.standardise(torch.tensor([[[0, 2, 4]]])), torch.tensor([[[-1.0, 0.0, 1.0]]]))
    likelihood.check(torch.tensor([[[0, 4, 2]]]))
    with pytest.raises(LikelihoodError, match="from 0 to 4"):
        likelihood.check(torch.tensor([[[0, 5, 2]]]))
    with pytest.raises(LikelihoodError, match="int64 codes"):
        likelihood.check(torch.zeros(1, 1, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_code_costs_what_torch_says_and_pulls_as_much(dtype):
    """So many rows that they are taken in several blocks."""
    likelihood = build_likelihood(CategoricalConfig(), (1, 400), Affine((1, 400), 127.5, 127.5))
    raw = (3 * torch.randn(3, likelihood.outputs)).to(dtype).requires_grad_()
    codes, weight = torch.randint(256, (3, 1, 400)), torch.randn(3)
    ours = likelihood(raw).log_prob(codes)
    logits = raw.to(torch.promote_types(dtype, torch.float32)).reshape(3, 256, 1, 400).movedim(1, -1)
    theirs = torch.distributions.Categorical(logits=logits).log_prob(codes).sum((1, 2))
    torch.testing.assert_close(ours, theirs)
    (got,) = torch.autograd.grad(ours, raw, weight.to(ours))
    (expected,) = torch.autograd.grad(theirs, raw, weight.to(theirs))
    torch.testing.assert_close(got, expected)


def test_many_codes_under_one_law_and_many_laws_of_one_code():
    p = build_likelihood(CategoricalConfig(levels=5), (1, 3), Affine((1, 3), 5.0, 9.0))(torch.randn(2, 15))
    codes = torch.randint(5, (4, 2, 1, 3))
    torch.testing.assert_close(p.log_prob(codes), torch.stack([p.log_prob(code) for code in codes]))
    torch.testing.assert_close(p.expand((4, 2)).log_prob(codes[0]), p.log_prob(codes[0]).expand(4, 2))


def test_continuous_refuses_codes():
    for config in (GaussianConfig(), LaplaceConfig()):
        with pytest.raises(LikelihoodError, match="categorical"):
            build_likelihood(config, (1, 3), Affine((1, 3))).check(torch.zeros(2, 1, 3, dtype=torch.int64))


def test_units_are_checked():
    with pytest.raises(DataError, match="does not fit"):
        Affine((3,), torch.zeros(4))
    with pytest.raises(DataError, match="positive"):
        Affine((3,), 0.0, torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(DataError, match="NaN"):
        Affine((3,), math.nan)
