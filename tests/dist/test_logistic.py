"""The discretised logistic mixture against scipy, high precision and counting."""

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic

from latentscape.core.errors import ConfigError, LikelihoodError
from latentscape.dist.conditional import point
from latentscape.dist.likelihoods import build_likelihood
from latentscape.dist.logistic import DiscretisedLogistics, LogisticMixtureConfig, _log_one_less_exp
from latentscape.dist.units import Affine
from latentscape.laws.conditional import check_distribution


def likelihood(event=(1, 2), **keys):
    return build_likelihood(LogisticMixtureConfig(**keys), event, Affine(event, 7.0, 3.0))


def values(config):
    return torch.linspace(config.low, config.high, config.levels, dtype=torch.float64)


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from([(2, 0.0, 1.0), (17, 0.0, 1.0), (256, 0.0, 1.0), (256, 0.0, 255.0), (300, -3.0, 5.0)]),
    st.floats(-1e4, 1e4),
    st.floats(-1e3, 1e3),
    st.integers(0, 100),
)
def test_masses_sum_to_one_and_everything_is_finite(grid, mean, scale, seed):
    """Wherever the raw numbers are: means far outside the range, scales at both bounds."""
    levels, low, high = grid
    law = likelihood((2,), components=3, levels=levels, low=low, high=high)
    torch.manual_seed(seed)
    raw = (torch.randn(2, 3, 3, 2) + torch.tensor([0.0, mean, scale]).reshape(3, 1, 1)).flatten(1).requires_grad_()
    p = law(raw)
    total = p.masses().sum(0)
    assert torch.allclose(total, torch.ones_like(total), atol=2e-4), total
    every = p.log_prob(values(law.config).float()[:, None, None].expand(-1, 1, 2))
    assert bool(every.isfinite().all())
    (gradient,) = torch.autograd.grad(every.sum(), raw)
    assert bool(gradient.isfinite().all())
    mean = p.mean.detach()
    assert bool(((mean >= low - 1e-3 * (high - low)) & (mean <= high + 1e-3 * (high - low))).all())


def test_masses_are_scipys():
    law = likelihood((4,), components=2, levels=256)
    p = law(torch.randn(3, law.outputs))
    u = torch.linspace(-1, 1, 256, dtype=torch.float64).reshape(-1, 1, 1, 1).numpy()
    m, s, w = p.means.double().numpy(), p.log_scales.double().exp().numpy(), p.log_weights.double().exp()
    upper, lower = logistic.cdf((u + 1 / 255 - m) / s), logistic.cdf((u - 1 / 255 - m) / s)
    upper[-1], lower[0] = 1, 0
    expected = (w * torch.from_numpy(upper - lower)).sum(2)
    assert torch.allclose(p.masses().double(), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("mean", [-40.0, -1.5, 0.3, 900.0])
@pytest.mark.parametrize("log_scale", [-7.6, -3.0, 0.0, 5.0])
@pytest.mark.parametrize("level", [0, 1, 100, 255])
def test_log_masses_are_exact_far_in_the_tail(mean, log_scale, level):
    """Against 60 digits: where the difference of two logistic functions is 0 in any float, its log is right."""
    config = LogisticMixtureConfig(components=1)
    one = torch.tensor([[mean]])
    p = DiscretisedLogistics(torch.zeros(1, 1), one, torch.full((1, 1), log_scale), config, 0)
    with mpmath.workdps(60):
        s, h, u = mpmath.exp(float(p.log_scales)), mpmath.mpf(1) / 255, mpmath.mpf(2 * level) / 255 - 1
        low = mpmath.mpf(0) if level == 0 else 1 / (1 + mpmath.exp(-(u - h - mean) / s))
        # 1 - sigma is written out: 60 digits do not hold 1 - 1e-300000
        ends = [(u - h - mean) / s, (u + h - mean) / s]
        if level == 0:
            exact = -mpmath.log1p(mpmath.exp(-ends[1]))
        elif level == 255:
            exact = -mpmath.log1p(mpmath.exp(ends[0]))
        else:
            parts = -mpmath.log1p(mpmath.exp(-ends[1])) - mpmath.log1p(mpmath.exp(ends[0]))
            exact = parts + mpmath.log(-mpmath.expm1(ends[0] - ends[1]))
        if low and abs(ends[0]) < 50:
            assert abs(mpmath.log(1 / (1 + mpmath.exp(-ends[1])) - low) - exact) < 1e-9 or level == 255
    found = float(p.log_prob(torch.tensor([level / 255])))
    assert found == pytest.approx(float(exact), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("d", [1e-30, 1e-6, 9e-4, 1.1e-3, 0.1, 3.0, 40.0])
def test_log_of_one_less_an_exponential(d):
    exact = math.log(-math.expm1(-d))
    found = _log_one_less_exp(torch.tensor(d, dtype=torch.float64))
    assert float(found) == pytest.approx(exact, rel=1e-7, abs=1e-15)


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_slopes_are_those_of_differences(levels):
    """In float64, of a mass between two levels and at both open ends; parameters spread over several draws, too."""
    config = LogisticMixtureConfig(components=3, levels=levels)
    raw = [torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    x = torch.tensor([0.0, 1.0, (levels // 2) / (levels - 1), 1 / (levels - 1)], dtype=torch.float64)

    def masses(*raw):
        logits, means, log_scales = raw
        return DiscretisedLogistics(logits, means, log_scales - 2, config, 1).log_prob(x.expand(2, 3, 4))

    assert torch.autograd.gradcheck(masses, raw)


@pytest.mark.parametrize("keys", [{"levels": 5}, {"levels": 40, "low": -2.0, "high": 6.0}])
def test_samples_are_of_the_masses(keys):
    law = likelihood((2,), components=3, **keys)
    p = law(2 * torch.randn(2, law.outputs))
    check_distribution(p)
    x = p.sample((20_000,))
    step = (law.config.high - law.config.low) / (law.config.levels - 1)
    level = ((x - law.config.low) / step).round().long()
    assert torch.allclose(law.config.low + level * step, x, atol=1e-5)  # a sample is a level
    law.check(x[:, 0])
    assert bool(p.support.check(x).all())
    assert not bool(p.support.check(x + step / 3).any())
    shares = torch.stack([(level == k).float().mean(0) for k in range(law.config.levels)])
    masses = p.masses()
    assert bool(((shares - masses).abs() <= 5 * (masses / 20_000).sqrt() + 1e-4).all())


def test_mean_is_the_sum_over_levels():
    for levels, tolerance in ((17, 1e-5), (64, 1e-5), (65, 1 / 128), (256, 1 / 510)):
        law = likelihood((3,), components=4, levels=levels)
        for scale in (-20.0, 0.0, 20.0):
            raw = torch.randn(50, 3, 4, 3) + torch.tensor([0.0, 0.0, scale]).reshape(3, 1, 1)
            p = law(raw.flatten(1))
            summed = torch.tensordot(values(law.config).float(), p.masses(), 1)
            assert float((p.mean - summed).abs().max()) <= tolerance
            if scale == 0:
                assert float((p.mean - summed).abs().max()) <= 1e-2 / levels  # smooth: far nearer than half a step
    assert torch.equal(point(p), p.mean)


def test_the_start_is_nearly_even():
    law = likelihood((1,), components=5)
    masses = law(torch.zeros(1, law.outputs)).masses()[:, 0, 0]
    assert float(masses[10:-10].min()) * 256 > 0.3
    assert float(masses[10:-10].max()) * 256 < 2


def test_each_channel_has_its_own_mixture():
    law = likelihood((3, 2, 2), components=2)
    raw = torch.zeros(1, law.outputs)
    raw.reshape(1, 3, 2, 3, 2, 2)[0, 1, :, 1] = 30.0  # the means of channel 1 lie far above the range
    mean = law(raw).mean[0]
    assert torch.allclose(mean[1], torch.ones(2, 2), atol=1e-4)
    assert torch.allclose(mean[[0, 2]], torch.full((2, 2, 2), 0.5), atol=1e-4)


def test_units_are_the_levels_own_and_codes_will_do():
    law = likelihood((1, 3), levels=256, low=0, high=255)
    codes = torch.tensor([[[0, 128, 255]]])
    law.check(codes)
    assert torch.allclose(law.units.standardise(codes)[0, 0, ::2], torch.tensor([-1.0, 1.0]))
    raw = torch.randn(1, law.outputs)
    assert torch.equal(law(raw).log_prob(codes), law(raw).log_prob(codes.float()))


def test_what_lies_off_the_grid_is_refused():
    law = likelihood((1, 2), levels=17)
    law.check(torch.arange(18)[:17].reshape(-1, 1, 1).expand(-1, 1, 2) / 16)
    with pytest.raises(LikelihoodError, match=r"17 values between 0 and 1, 0.0625 apart \(50 % lie off them\)"):
        law.check(torch.tensor([[[0.5, 0.51]]]))
    with pytest.raises(LikelihoodError, match=r"between 0 and 16 .*give it the levels, low and high"):
        law.check(torch.tensor([[[0.0, 16.0]]]))
    with pytest.raises(LikelihoodError, match="NaN"):
        law.check(torch.tensor([[[0.0, math.nan]]]))
    with pytest.raises(ConfigError, match=r"likelihood\.high"):
        likelihood(low=1.0, high=1.0)


def test_it_learns_a_law_of_two_peaks():
    """A Gaussian can't: the mass between the peaks is a thousandth of theirs."""
    law = likelihood((1,), components=3, levels=17)
    raw = torch.zeros(1, law.outputs, requires_grad=True)
    x = torch.where(torch.rand(128, 1) < 0.3, 2 / 16, 13 / 16)
    optimiser = torch.optim.Adam([raw], lr=0.1)
    for _ in range(120):
        optimiser.zero_grad()
        loss = -law(raw).log_prob(x).mean()
        loss.backward()
        optimiser.step()
    share = float((x < 0.5).float().mean())
    best = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert float(loss.detach()) < best + 0.05
