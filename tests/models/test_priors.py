"""Learnt priors and the hypersphere inside the autoencoder: wiring, refusals, and that they earn their keep."""

import copy
import math

import pytest
import torch
from torch.distributions import kl_divergence

from latentscape.core.errors import ConfigError, LikelihoodError
from latentscape.dist.flow import FlowPriorConfig
from latentscape.dist.likelihoods import GaussianConfig
from latentscape.dist.mixture import MixturePriorConfig, VampPriorConfig
from latentscape.dist.priors import LaplacePriorConfig, NormalPriorConfig, UniformPriorConfig
from latentscape.dist.sphere import SpherePrior, SpherePriorConfig, log_area
from latentscape.laws.conditional import check_storage
from latentscape.measure.latent import evaluate_model
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.bounds import elbo, iw_bound
from latentscape.models.model import Step
from latentscape.models.objectives import (
    Elbo,
    ElboConfig,
    Reconstruction,
    ReconstructionConfig,
    WaeMmd,
    WaeMmdConfig,
)
from latentscape.models.posteriors import build_form
from latentscape.nets.mlp import MlpConfig

NET = {"latent": 3, "encoder": MlpConfig(widths=(16,)), "decoder": MlpConfig(widths=(16,))}
LEARNT = {
    "mixture": MixturePriorConfig(components=6),
    "vamp": VampPriorConfig(components=6),
    "flow": FlowPriorConfig(layers=4, width=16),
}
X = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))


def model(prior, posterior="gaussian", **changes):
    config = AutoencoderConfig(
        **{**NET, "likelihood": GaussianConfig(scale="fixed"), **changes}, prior=prior, posterior=posterior
    )
    return Autoencoder(config, (6,), {"pitch": 3})


def clusters(n, step):
    """Four tight clusters in 2 of 6 dimensions: a law that no normal prior fits."""
    generator = torch.Generator().manual_seed(step)
    corner = torch.randint(0, 2, (n, 2), generator=generator) * 4.0 - 2
    plane = corner + 0.1 * torch.randn(n, 2, generator=generator)
    mix = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    return plane @ mix + 0.05 * torch.randn(n, 6, generator=generator)


def trained(prior, posterior="gaussian", steps=300):
    torch.manual_seed(0)
    made = model(prior, posterior, latent=2, likelihood=GaussianConfig(scale="fixed", value=0.1))
    made.prime(clusters(64, 10_000))
    step = Step(made, Elbo(ElboConfig()))
    optimiser = torch.optim.Adam(step.parameters(), 5e-3)
    for index in range(steps):
        optimiser.zero_grad()
        step(clusters(64, index), {}, index).total.backward()
        optimiser.step()
    return made


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    return float(elbo(trained(NormalPriorConfig()), clusters(500, 20_000), samples=20).mean())


@pytest.mark.parametrize("name", LEARNT)
def test_a_learnt_prior_raises_the_bound_of_clustered_data(name, plain):
    made = trained(LEARNT[name])
    x = clusters(500, 20_000)
    bound = elbo(made, x, samples=20).mean()
    assert float(bound) > plain + 0.5
    assert float(iw_bound(made, x, samples=200).mean() - bound) > -0.05
    (draws,), (cold,) = made.generate(200), made.generate(2, temperature=(0.0,))
    shown = made.decode((draws,)).mean
    near = torch.cdist(shown, clusters(2000, 30_000)).amin(1).detach()
    if name == "vamp":  # it began at data, so its draws decode to data after so short a training
        assert float((near < 0.5).float().mean()) > 0.8
    assert cold[0].tolist() == cold[1].tolist()


def test_vamp_is_the_mixture_of_the_encoder_at_its_pseudo_inputs():
    made = model(VampPriorConfig(components=6), condition=("pitch",)).eval()
    assert made.wants == 6
    (layer,) = made.infer(X, {"pitch": torch.zeros(32, dtype=torch.int64)})
    q = made.encoder(made.prior.pseudo_inputs)
    joint = torch.stack(
        [torch.distributions.Normal(m, s).log_prob(layer.z).sum(-1) for m, s in zip(q.loc, q.scale, strict=True)]
    )
    assert torch.allclose(layer.p.log_prob(layer.z), joint.logsumexp(0) - torch.tensor(6.0).log(), atol=1e-4)
    layer.p.log_prob(layer.z.detach()).sum().backward()
    assert made.prior.standardised.grad.any()
    assert made.encoder.net.mlp[0].weight.grad.any()  # the prior moves with the encoder


def test_the_encoder_is_not_stored_twice():
    made = model(VampPriorConfig(components=6))
    assert sum("prior" in name for name in made.state_dict()) == 3  # the inputs, and the units' mean and scale
    assert len({id(p) for p in made.parameters()}) == len(list(made.parameters()))
    fresh = model(VampPriorConfig(components=6))
    check_storage(made, fresh)
    twin = copy.deepcopy(made)
    assert twin.prior.units is twin.units


def test_priming_takes_items_and_nothing_else_needs_any():
    made = model(VampPriorConfig(components=40))
    made.prime(X)
    assert torch.allclose(made.prior.pseudo_inputs[:32], X, atol=0.1)
    other = model(NormalPriorConfig())
    before = {name: value.clone() for name, value in other.state_dict().items()}
    other.prime(X)
    assert other.wants == 0
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_pseudo_inputs_are_read_once_a_chunk():
    made = model(VampPriorConfig(components=6)).eval()
    seen = []
    made.encoder.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    iw_bound(made, X[:4], samples=100, chunk=200)
    assert seen == [2, 6] * 2


@pytest.mark.parametrize("posterior", ["deterministic", "uniform", "spherical"])
def test_vamp_needs_normals(posterior):
    with pytest.raises(ConfigError, match=r"model\.posterior: prior\.kind 'vamp'"):
        model(VampPriorConfig(), posterior)


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("objective", ["wae_mmd", "reconstruction"])
def test_an_objective_blind_to_the_density_refuses_a_learnt_prior(name, objective):
    made = model(LEARNT[name])
    kinds = {"wae_mmd": (WaeMmd, WaeMmdConfig()), "reconstruction": (Reconstruction, ReconstructionConfig())}
    make, config = kinds[objective]
    with pytest.raises(ConfigError, match=f"objective '{objective}' can't train the prior"):
        make(config, made)


@pytest.mark.parametrize("posterior", ["deterministic", "gaussian"])
@pytest.mark.parametrize(
    "prior", [SpherePriorConfig(), UniformPriorConfig(), LaplacePriorConfig(), NormalPriorConfig()]
)
def test_wae_aims_at_every_prior_that_is_not_learnt(prior, posterior):
    made = model(prior, posterior)
    loss = WaeMmd(WaeMmdConfig(), made)(made, made.terms(X), X, {}, 3)
    loss.total.backward()
    assert loss.total.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.encoder.parameters())


def test_spherical_posterior_needs_the_sphere_and_the_sphere_a_spherical_one():
    with pytest.raises(ConfigError, match=r"'spherical' needs prior\.kind 'hypersphere'"):
        model(NormalPriorConfig(), "spherical")
    made = model(SpherePriorConfig())
    with pytest.raises(ConfigError, match="off the sphere"):
        Elbo(ElboConfig(), made)(made, made.terms(X), X, {}, 0)
    with pytest.raises(LikelihoodError, match="off the sphere"):
        elbo(made, X)
    with pytest.raises(ConfigError, match="'uniform' needs"):
        model(MixturePriorConfig(), "uniform")
    with pytest.raises(ConfigError, match="nothing can train the prior"):
        model(FlowPriorConfig(), "deterministic")


@pytest.mark.parametrize("posterior", ["spherical", "deterministic"])
def test_codes_lie_on_the_sphere(posterior):
    made = model(SpherePriorConfig(), posterior)
    (code,) = made.encode(X)
    (layer,) = made.infer(X, samples=4)
    for points in (code, layer.z, *made.generate(9)):
        assert torch.allclose(points.norm(dim=-1), torch.tensor(3**0.5), rtol=1e-5)


def test_a_spherical_autoencoder_learns():
    made = trained(SpherePriorConfig(), "spherical", 150)
    start = model(SpherePriorConfig(), "spherical", latent=2, likelihood=GaussianConfig(scale="fixed", value=0.1))
    x = clusters(200, 20_000)
    assert float(elbo(made, x).mean()) > float(elbo(start, x).mean()) + 10


def test_a_spherical_posterior_that_went_too_far_finds_back():
    """A rate that costs nothing yet lets it grow as sharp as it likes; once it costs, the way back must be open."""
    form = build_form("spherical", 8, model(SpherePriorConfig(), "spherical").prior)
    raw = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0, b] for b in (2.0, 11.0, 12.5, 20.0)], requires_grad=True)
    q = form(raw)
    kl_divergence(q, SpherePrior(8)()).sum().backward()
    assert bool((raw.grad[:, 8] > 1e-5).all())
    assert float(q.concentration[0].detach()) == pytest.approx(1 + 8 * math.exp(2.0))
    assert bool((q.concentration[1:].diff() > 0).all())
    assert q.concentration[-1] < 1 + 8 * math.exp(12.0)


def test_a_spherical_posterior_that_the_rate_has_flattened_still_points_somewhere():
    """However far its number has been driven down, the decoder's loss reaches the direction, at hardly any rate."""
    form = build_form("spherical", 8, model(SpherePriorConfig(), "spherical").prior)
    raw = torch.randn(2000, 9)
    raw[:, 8] = -60
    raw.requires_grad_()
    q = form(raw)
    assert bool((q.concentration == 1).all())
    z = q.rsample()
    (-(z * torch.ones(8)).sum()).backward()
    pull = raw.grad[:, :8].mean(0)
    assert float(pull.mean() / (raw.grad[:, :8].std(0) / 2000**0.5).mean()) < -5
    rate = log_area(8, 8**0.5) - q.entropy()
    assert bool((rate < 0.1).all())


@pytest.mark.parametrize(
    ("prior", "posterior"), [*((p, "gaussian") for p in LEARNT.values()), (SpherePriorConfig(), "spherical")]
)
def test_latents_are_examined(prior, posterior):
    numbers = evaluate_model(model(prior, posterior), [(X, {})])
    assert {"rate", "elbo", "active_latents", "active_units"} <= set(numbers)


@pytest.mark.parametrize("name", LEARNT)
def test_free_bits_are_of_all_dimensions_together(name):
    made = model(LEARNT[name])
    loss = Elbo(ElboConfig(free_bits=1e3))(made, made.terms(X), X, {}, 0)
    total = 1e3 * made.latent_shapes[0][0]
    assert float((loss.total - loss.log["distortion"]).detach()) == pytest.approx(total, rel=1e-5)
