import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from latentscape.core.errors import ConfigError
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.mixture import GaussianMixture, MixturePriorConfig, VampPriorConfig
from latentscape.dist.priors import build_prior
from latentscape.dist.units import Affine
from latentscape.laws.conditional import check_distribution


def parts(count=7, dim=5, narrow=0.0):
    return torch.randn(count), 2 * torch.randn(count, dim), torch.exp(0.5 * torch.randn(count, dim) - narrow)


def explicit(logits, loc, scale):
    """The same law from torch's own parts, in double precision."""
    components = Independent(Normal(loc.double(), scale.double()), 1)
    return MixtureSameFamily(Categorical(logits=logits.double()), components)


@pytest.mark.parametrize("shape", [(), (9,), (3, 4)])
def test_density_and_moments_equal_torchs(shape):
    given = parts()
    mixture, oracle = GaussianMixture(*given), explicit(*given)
    z = 3 * torch.randn(*shape, 5)
    assert mixture.log_prob(z).shape == shape
    assert torch.allclose(mixture.log_prob(z).double(), oracle.log_prob(z.double()), rtol=1e-5, atol=1e-4)
    assert torch.allclose(mixture.mean.double(), oracle.mean, atol=1e-5)
    assert torch.allclose(mixture.variance.double(), oracle.variance, rtol=1e-4)


@pytest.mark.parametrize("narrow", [0.0, 7.0, 12.0])
def test_density_keeps_its_digits_in_narrow_components(narrow):
    given = parts(narrow=narrow)
    z = GaussianMixture(*given).sample((300,))
    exact = explicit(*given).log_prob(z.double())
    assert float((GaussianMixture(*given).log_prob(z) - exact).abs().max()) < 1e-3 * (1 + narrow)


def test_far_away_is_finite_and_has_a_gradient():
    z = torch.full((1, 5), 1e4, requires_grad=True)
    found = GaussianMixture(*parts()).log_prob(z).sum()
    found.backward()
    assert found.isfinite()
    assert z.grad.isfinite().all()
    assert z.grad.any()


def test_rows_in_parts_are_the_same(monkeypatch):
    mixture, z = GaussianMixture(*parts()), torch.randn(50, 5)
    whole = mixture.log_prob(z)
    monkeypatch.setattr("latentscape.dist.mixture._ROWS", 7)
    with torch.no_grad():
        assert torch.allclose(mixture.log_prob(z), whole)


def test_samples_agree_with_density():
    check_distribution(GaussianMixture(*parts(4, 2)))
    mixture = GaussianMixture(torch.tensor([0.0, 1.0, -1.0]), torch.tensor([[-9.0], [0.0], [9.0]]), torch.ones(3, 1))
    shares = torch.histc(mixture.sample((20_000,)), 3, -13.5, 13.5) / 20_000
    assert torch.allclose(shares, mixture.weights, atol=0.02)
    assert bool(mixture.support.check(mixture.sample()).all())


def test_temperature_narrows_components_and_sharpens_weights():
    mixture = GaussianMixture(torch.tensor([0.0, 1.0]), torch.tensor([[-9.0], [9.0]]), torch.ones(2, 1))
    assert mixture.sample_at(0.0, (3,)).tolist() == [[9.0]] * 3
    cool = mixture.sample_at(0.5, (20_000,))
    right = cool[cool > 0]
    assert float(right.std()) == pytest.approx(0.5, abs=0.02)
    assert len(right) / 20_000 == pytest.approx(float(torch.sigmoid(torch.tensor(2.0))), abs=0.02)


def test_mixture_begins_with_unit_variance():
    law = build_prior(MixturePriorConfig(components=500), 6)()
    assert law.variance.detach().tolist() == pytest.approx([1.0] * 6, abs=0.15)
    assert float(law.mean.detach().abs().max()) < 0.15


@pytest.mark.parametrize("weights", ["uniform", "learnt"])
def test_vamp_is_the_explicit_mixture_of_the_posteriors(weights):
    prior = build_prior(VampPriorConfig(components=6, weights=weights), 3, Affine((4,), -20.0, 5.0))
    assert len(list(prior.parameters())) == (2 if weights == "learnt" else 1)
    if weights == "learnt":
        torch.nn.init.normal_(prior.logits)
    q = DiagonalNormal(torch.randn(6, 3), torch.rand(6, 3) + 0.2)
    z = torch.randn(2, 8, 3)
    assert torch.allclose(
        prior(q).log_prob(z).double(), explicit(prior.logits, q.loc, q.scale).log_prob(z.double()), atol=1e-4
    )


def test_vamp_learns_in_standardised_units():
    units = Affine((4,), torch.tensor([1.0, 2.0, 3.0, 4.0]), 10.0)
    prior = build_prior(VampPriorConfig(components=500), 3, units)
    assert torch.allclose(prior.pseudo_inputs.mean(0), units.mean, atol=3.0)
    assert prior.pseudo_inputs.std(0).tolist() == pytest.approx([10.0] * 4, rel=0.2)
    assert prior.standardised.std().item() == pytest.approx(1.0, abs=0.1)


def test_vamp_is_primed_by_data_alike_every_time_and_without_twins():
    x, units = 50 + 10 * torch.randn(4, 3), Affine((3,), 50.0, 10.0)
    one, two = (build_prior(VampPriorConfig(components=6), 2, units) for _ in range(2))
    torch.manual_seed(1)
    one.prime(x)
    torch.manual_seed(2)
    two.prime(x)
    assert torch.equal(one.pseudo_inputs, two.pseudo_inputs)
    assert torch.allclose(one.pseudo_inputs[:4], x, atol=1.0)
    assert torch.allclose(one.pseudo_inputs[4:], x[:2], atol=1.0)
    assert float((one.pseudo_inputs[4] - one.pseudo_inputs[0]).abs().max().detach()) > 1e-3
    assert one.standardised.requires_grad


def test_vamp_says_what_it_needs():
    prior = build_prior(VampPriorConfig(components=6), 2, Affine((3,)))
    for given, arrived in ((None, "nothing"), (Delta(torch.zeros(6, 2)), "Delta of batch"), (DiagonalNormal(torch.zeros(5, 2), torch.ones(())), r"DiagonalNormal of batch \(5,\)")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"got {arrived}.*expected the encoder's normals of its 6"):
            prior(given)
    with pytest.raises(ConfigError, match="made-up items"):
        build_prior(VampPriorConfig(), 2)
