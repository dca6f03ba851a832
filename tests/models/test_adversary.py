"""The adversary: one backward pass against the two alternating steps, and what it is for."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from latentscape.core.errors import ConfigError
from latentscape.dist.kernels import build_kernel, mmd2
from latentscape.dist.likelihoods import GaussianConfig
from latentscape.dist.mixture import MixturePriorConfig
from latentscape.dist.priors import LaplacePriorConfig, NormalPriorConfig, UniformPriorConfig
from latentscape.dist.sphere import SpherePriorConfig
from latentscape.models.adversary import WaeGan, WaeGanConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.model import Step
from latentscape.models.objectives import WaeMmd, WaeMmdConfig, codes_and_draws
from latentscape.nets.mlp import MlpConfig

NET = {"latent": 3, "encoder": MlpConfig(widths=(16,)), "decoder": MlpConfig(widths=(16,))}
X = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
SMALL = MlpConfig(widths=(16, 16), activation="relu")


def step_of(config=WaeGanConfig(critic=SMALL), **changes):
    values = {**NET, "posterior": "deterministic", "likelihood": GaussianConfig(scale="fixed"), **changes}
    model = Autoencoder(AutoencoderConfig(**values), (6,), {"pitch": 4})
    return Step(model, WaeGan(config, model))


@pytest.mark.parametrize("density", [False, True])
def test_one_backward_gives_the_gradients_of_the_two_steps(density):
    """Algorithm 1 written out: the model's step with the critic frozen, the critic's step with the codes given."""
    step = step_of(WaeGanConfig(critic=SMALL, weight=7.0, density=density))
    step(X, {}, 5).total.backward()
    found = {name: p.grad.clone() for name, p in step.named_parameters()}
    step.zero_grad()

    model, critic = step.model, step.objective.critic
    terms = model.terms(X)
    z, y = codes_and_draws(model, terms, {}, "wae_gan", 5)

    def value(points):
        added = -points.square().sum(1) / 2 + points.shape[1] / 2 if density else 0
        return critic.net(points)[:, 0] + added

    critic.requires_grad_(False)
    (terms.distortion.mean() + 7.0 * -torch.log(torch.sigmoid(value(z))).mean()).backward()
    critic.requires_grad_(True)
    real, fake = value(y), value(z.detach())
    (-torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()).backward()
    assert found.keys() == dict(step.named_parameters()).keys()
    for name, parameter in step.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-4, atol=1e-6), name
        assert bool(found[name].any()), name


def test_the_log_is_unweighted_and_says_who_is_ahead():
    step = step_of(WaeGanConfig(critic=SMALL, weight=7.0))
    loss = step(X, {}, 5)
    terms = step.model.terms(X)
    z, y = codes_and_draws(step.model, terms, {}, "wae_gan", 5)
    critic = step.objective.critic
    with torch.no_grad():
        real, fake = critic(y), critic(z)
    assert set(loss.log) == {"distortion", "adversary", "critic", "critic_accuracy"}
    assert float(loss.log["adversary"]) == pytest.approx(float(softplus(-fake).mean()), rel=1e-5)
    assert float(loss.log["critic"]) == pytest.approx(float((softplus(-real) + softplus(fake)).mean()), rel=1e-5)
    right = torch.cat([real > 0, fake <= 0]).float().mean()
    assert float(loss.log["critic_accuracy"]) == pytest.approx(float(right))
    total = loss.log["distortion"] + 7 * loss.log["adversary"] + loss.log["critic"]
    assert float(loss.total.detach()) == pytest.approx(float(total), rel=1e-6)
    assert all(not value.requires_grad for value in loss.log.values())


def test_a_blind_critic_reads_log_two_and_one_half():
    step = step_of()
    with torch.no_grad():
        for parameter in step.objective.critic.parameters():
            parameter.zero_()
    log = step(X, {}, 0).log
    assert float(log["adversary"]) == pytest.approx(math.log(2))
    assert float(log["critic"]) == pytest.approx(2 * math.log(2))
    assert float(log["critic_accuracy"]) == 0.5


def test_evaluation_is_what_wae_mmd_would_say_and_leaves_the_critic_out():
    step = step_of(WaeGanConfig(critic=SMALL, weight=30.0)).eval()
    terms = step.model.terms(X)
    loss = step.objective(step.model, terms, X, {}, 2**40)
    y = codes_and_draws(step.model, terms, {}, "wae_gan", 2**40)
    expected = mmd2(*y, build_kernel(step.objective.config.kernel))
    assert float(loss.log["mmd"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(loss.total.detach()) == pytest.approx(float(loss.log["distortion"] + 30 * loss.log["mmd"]), rel=1e-6)
    with torch.no_grad():
        for parameter in step.objective.critic.parameters():
            parameter.normal_()
    again = step.objective(step.model, terms, X, {}, 2**40)
    assert torch.equal(loss.total, again.total)
    assert loss.log["adversary"] != again.log["adversary"]
    assert step.objective.steady == "distortion"
    assert WaeMmd(WaeMmdConfig()).steady == "loss"


@pytest.mark.parametrize(("at", "part"), [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)])
def test_warmup_weighs_the_adversary_and_not_the_critic(at, part):
    step = step_of(WaeGanConfig(critic=SMALL, weight=4.0, warmup=10))
    loss = step(X, {}, at)
    total = loss.log["distortion"] + 4 * part * loss.log["adversary"] + loss.log["critic"]
    assert float(loss.total.detach()) == pytest.approx(float(total), rel=1e-6)


def test_draws_are_of_the_step_and_leave_the_random_state_alone():
    step = step_of()
    state = torch.get_rng_state()
    first, again, later = (step(X, {}, at).log["critic"] for at in (3, 3, 4))
    assert first == again
    assert first != later
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "prior", [NormalPriorConfig(), LaplacePriorConfig(), UniformPriorConfig(), SpherePriorConfig()]
)
def test_codes_come_to_the_prior(prior):
    """Codes of a decoder without a say are driven by the adversary alone; the unbiased discrepancy must fall."""
    step = step_of(WaeGanConfig(critic=SMALL, weight=50.0, density=prior.kind == "normal"), prior=prior)
    optimiser = torch.optim.Adam(step.parameters(), 5e-3)
    mix = torch.randn(6, 6)

    def gap():
        step.eval()
        x = torch.randn(1000, 6) @ mix
        with torch.no_grad():
            found = float(step.objective(step.model, step.model.terms(x), x, {}, 0).log["mmd"])
        step.train()
        return found

    with torch.no_grad():
        step.model.encoder.net.mlp[-1].bias += 2.0
    before = gap()
    for index in range(150):
        optimiser.zero_grad()
        step(torch.randn(64, 6) @ mix, {}, index).total.backward()
        optimiser.step()
    assert gap() < before / 3


def test_priors_that_do_not_fit_are_refused_before_anything_begins():
    config = WaeGanConfig(critic=SMALL, density=True)
    for prior in (UniformPriorConfig(), LaplacePriorConfig(), SpherePriorConfig()):
        with pytest.raises(ConfigError, match=r"objective\.density.*'normal'"):
            step_of(config, prior=prior)
    with pytest.raises(ConfigError, match=r"'wae_gan' can't train the prior"):
        step_of(posterior="gaussian", prior=MixturePriorConfig(components=2))


def test_several_samples_and_labels_reach_the_critic():
    step = step_of(condition=("pitch",))
    terms = step.model.terms(X, {"pitch": torch.zeros(32, dtype=torch.int64)}, samples=3)
    assert step.objective(step.model, terms, X, {"pitch": torch.zeros(32, dtype=torch.int64)}, 0).total.isfinite()
