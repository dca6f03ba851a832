import pytest
import torch
from torch.distributions import Normal, kl_divergence

from latentscape.core.errors import ConfigError
from latentscape.dist.kernels import RbfConfig, build_kernel, mmd2
from latentscape.dist.likelihoods import BernoulliConfig, GaussianConfig
from latentscape.dist.priors import UniformPriorConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.linear import Ppca, PpcaConfig
from latentscape.models.model import Layer, Step, Terms
from latentscape.models.objectives import (
    Elbo,
    ElboConfig,
    Reconstruction,
    ReconstructionConfig,
    WaeMmd,
    WaeMmdConfig,
)
from latentscape.nets.mlp import MlpConfig

NET = {"latent": 4, "encoder": MlpConfig(widths=(16,)), "decoder": MlpConfig(widths=(16,))}


def model(**changes):
    return Autoencoder(AutoencoderConfig(**{**NET, "likelihood": GaussianConfig(scale="fixed"), **changes}), (6,))


X = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))


def test_elbo_is_kingmas():
    """Against the loss written out by hand."""
    m = model()
    terms = m.terms(X)
    loss = Elbo(ElboConfig())(m, terms, X, {}, 0)
    q = terms.layers[0].q
    kl = -0.5 * (1 + 2 * q.scale.log() - q.mean**2 - q.scale**2).sum(1)
    squares = 0.5 * (X - terms.likelihood.mean).square().sum(1) + 3 * torch.log(torch.tensor(2 * torch.pi))
    assert float(loss.total.detach()) == pytest.approx(float((kl + squares).mean().detach()), rel=1e-5)
    assert float(loss.log["elbo"]) == pytest.approx(-float(loss.total.detach()), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_beta_weighs_the_rate_only_and_the_logged_bound_is_unweighted(beta):
    m = model()
    terms = m.terms(X)
    plain, weighted = (Elbo(ElboConfig(beta=b))(m, terms, X, {}, 0) for b in (1.0, beta))
    assert float(weighted.total.detach()) == pytest.approx(
        float(plain.log["distortion"] + beta * plain.log["rate"]), rel=1e-5
    )
    assert weighted.log["elbo"] == plain.log["elbo"]
    assert all(not value.requires_grad for value in weighted.log.values())


@pytest.mark.parametrize("copies", [1, 3])
def test_beta_means_the_same_at_any_size(copies):
    """x repeated: distortion is a sum over values, so it grows with them and the rate does not shrink with them."""
    x = torch.randn(8, 6).repeat(1, copies)
    m = Autoencoder(AutoencoderConfig(**NET, likelihood=BernoulliConfig()), (6 * copies,))
    with torch.no_grad():
        for parameter in m.decoder.net.parameters():
            parameter.zero_()
    loss = Elbo(ElboConfig())(m, m.terms((x > 0).float()), x, {}, 0)
    assert float(loss.log["distortion"]) == pytest.approx(6 * copies * 0.693147, rel=1e-4)
    assert float(loss.total.detach() - loss.log["distortion"]) == pytest.approx(float(loss.log["rate"]), rel=1e-4)


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_warmup_ramps(step, share):
    m = model()
    terms = m.terms(X)
    loss = Elbo(ElboConfig(beta=2.0, warmup=10))(m, terms, X, {}, step)
    assert float(loss.log["beta"]) == pytest.approx(2 * share)
    assert float(loss.total.detach()) == pytest.approx(
        float(loss.log["distortion"] + 2 * share * loss.log["rate"]), rel=1e-5
    )
    wae = WaeMmd(WaeMmdConfig(weight=7.0, warmup=10))(m, terms, X, {}, step)
    assert float(wae.total.detach()) == pytest.approx(
        float(wae.log["distortion"] + 7 * share * wae.log["mmd"]), rel=1e-5
    )


@pytest.mark.parametrize("per", ["dimension", "layer"])
def test_free_bits_hold_the_batch_mean_and_stop_its_gradient(per):
    m = model()
    terms = m.terms(X)
    (layer,) = terms.layers
    values = kl_divergence(Normal(layer.q.mean, layer.q.scale), Normal(0.0, 1.0))
    means = values.mean(0) if per == "dimension" else values.sum(1).mean()[None]
    means = means.detach()
    level = float(means.median()) + 1e-6
    loss = Elbo(ElboConfig(free_bits=level, free_bits_per=per))(m, terms, X, {}, 0)
    assert float(loss.total.detach() - loss.log["distortion"]) == pytest.approx(
        float(means.clamp_min(level).sum()), rel=1e-4
    )
    assert float(loss.log["rate"]) == pytest.approx(
        float(values.detach().sum(1).mean()), rel=1e-4
    )  # the log is without them
    free = Elbo(ElboConfig(free_bits=1e6, free_bits_per=per))(m, terms, X, {}, 0)
    rate_gradient = torch.autograd.grad(free.total - terms.distortion.mean(), layer.q.mean, allow_unused=True)[0]
    assert rate_gradient is None or not rate_gradient.any()


@pytest.mark.parametrize(("per", "times"), [("dimension", 2), ("layer", 1)])
def test_free_bits_are_of_all_dimensions_together_where_the_posterior_does_not_factorise(per, times):
    m = Ppca(PpcaConfig(latent=2), (6,))
    loss = Elbo(ElboConfig(free_bits=1e3, free_bits_per=per))(m, m.terms(X), X, {}, 0)
    assert float(loss.total.detach() - loss.log["distortion"]) == pytest.approx(times * 1e3, rel=1e-5)


def test_layers_are_logged_and_summed():
    m = model()
    one = m.terms(X)
    two = Terms(one.distortion, one.rate * 2, one.layers * 2, one.likelihood)
    log = Elbo(ElboConfig())(m, two, X, {}, 0).log
    assert log["rate_1"] == log["rate_2"]
    assert float(log["rate"]) == pytest.approx(2 * float(log["rate_1"]))


@pytest.mark.parametrize("objective", [Elbo(ElboConfig(warmup=10)), Reconstruction(ReconstructionConfig())])
def test_what_is_logged_is_where_the_model_is(objective):
    """The loop stacks the numbers of a step: on an accelerator one that stayed behind would end the training."""
    m, x = model().to("meta"), X.to("meta")
    loss = objective(m, m.terms(x), x, {}, 3)
    assert {value.device for value in (loss.total, *loss.log.values())} == {x.device}


def test_elbo_refuses_infinite_rates_by_name():
    for changes in ({"posterior": "deterministic"}, {"prior": UniformPriorConfig()}):
        m = model(**changes)
        with pytest.raises(ConfigError, match="objective 'elbo' needs a finite rate"):
            Elbo(ElboConfig())(m, m.terms(X), X, {}, 0)


def test_reconstruction_is_the_distortion_and_logs_no_bound_it_has_not():
    m = model(posterior="deterministic")
    loss = Reconstruction(ReconstructionConfig())(m, m.terms(X), X, {}, 0)
    assert set(loss.log) == {"distortion"}
    assert loss.total.detach() == loss.log["distortion"]
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters())
    v = model()
    assert {"rate", "elbo"} <= set(Reconstruction(ReconstructionConfig())(v, v.terms(X), X, {}, 0).log)


def test_wae_is_distortion_and_unbiased_mmd_of_codes_against_the_prior():
    m = model(posterior="deterministic")
    terms = m.terms(X)
    objective = WaeMmd(WaeMmdConfig(weight=10.0, kernel=RbfConfig(bandwidth=2.0)))
    first, again, later = (objective(m, terms, X, {}, step) for step in (4, 4, 5))
    assert first.total == again.total  # the prior's sample is a function of the step
    assert first.log["mmd"] != later.log["mmd"]
    assert set(first.log) == {"distortion", "mmd"}
    values = [float(objective(m, terms, X, {}, step).log["mmd"]) for step in range(200)]
    kernel = build_kernel(RbfConfig(bandwidth=2.0))
    codes = terms.layers[0].z[0].detach()
    expected = [float(mmd2(codes, torch.randn(32, 4), kernel)) for _ in range(200)]
    error = (torch.tensor(values).var() / 200 + torch.tensor(expected).var() / 200).sqrt()
    assert sum(values) / 200 == pytest.approx(sum(expected) / 200, abs=4 * float(error))


def test_wae_of_codes_that_follow_the_prior_is_negative_at_times():
    m = model()
    terms = m.terms(X)
    objective, values = WaeMmd(WaeMmdConfig()), []
    for step in range(40):
        z = torch.randn(1, 32, 4)
        layer = Layer(z, terms.layers[0].q, terms.layers[0].p)
        followed = Terms(terms.distortion, terms.rate, (layer,), terms.likelihood)
        values.append(float(objective(m, followed, X, {}, step).log["mmd"]))
    assert min(values) < 0 < max(values)


def test_wae_leaves_the_random_state_alone():
    m = model(posterior="deterministic")
    terms = m.terms(X)
    state = torch.get_rng_state()
    WaeMmd(WaeMmdConfig())(m, terms, X, {"pitch": torch.zeros(32, dtype=torch.int64)}, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_several_samples_reach_every_objective():
    m = model()
    step = Step(m, Elbo(ElboConfig(samples=5)))
    assert step(X, {}, 0).total.isfinite()
    assert WaeMmd(WaeMmdConfig())(m, m.terms(X, samples=3), X, {}, 0).total.isfinite()


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        (Elbo(ElboConfig()), {}),
        (Elbo(ElboConfig()), {"prior": UniformPriorConfig(), "posterior": "uniform"}),
        (Reconstruction(ReconstructionConfig()), {"posterior": "deterministic"}),
        (WaeMmd(WaeMmdConfig()), {"posterior": "deterministic", "prior": UniformPriorConfig()}),
    ],
    ids=["vae", "uniform vae", "ae", "wae"],
)
def test_every_family_learns(objective, changes):
    m = model(likelihood=GaussianConfig(scale="optimal"), **changes)
    step = Step(m, objective)
    optimiser = torch.optim.Adam(step.parameters(), 1e-2)
    mix = torch.randn(2, 6)
    history = []
    for index in range(150):
        loss = step(torch.randn(64, 2) @ mix + 0.1 * torch.randn(64, 6), {}, index)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        history.append(float(loss.log["distortion"]))
    assert sum(history[-10:]) / 10 < history[0] - 2
