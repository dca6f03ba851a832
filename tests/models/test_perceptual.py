"""Cures for the average sound: each term against its equation, each gradient against the steps it stands for."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import point
from latentscape.dist.likelihoods import GaussianConfig
from latentscape.models import perceptual
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.model import Step
from latentscape.models.objectives import Elbo, ElboConfig
from latentscape.models.perceptual import (
    SILENCE,
    Perceptual,
    PerceptualConfig,
    SpectralConfig,
    WaveCriticConfig,
    octave_distance,
    octaves_of,
    spectral_distance,
)
from latentscape.nets.mlp import MlpConfig
from latentscape.registry import build_objective
from latentscape.signal.multiscale import spectral_view

SPECTRAL = SpectralConfig(weight=50.0, windows=(16, 64))
CRITIC = WaveCriticConfig(weight=3.0, features=7.0, channels=(4, 6), kernel=5, stride=2, warmup=10)
X = torch.randn(8, 1, 96, generator=torch.Generator().manual_seed(3))


def step_of(event=(1, 96), **terms):
    values = {"latent": 3, "encoder": MlpConfig(widths=(8,)), "decoder": MlpConfig(widths=(8,))}
    model = Autoencoder(AutoencoderConfig(**values, likelihood=GaussianConfig(scale="fixed")), event)
    return Step(model, build_objective(PerceptualConfig(beta=0.5, **terms), model))


def again(step, at):
    """The same draw of z as in a step with the same seed."""
    torch.manual_seed(11)
    return step.model.terms(X)


def loss_of(step, at=10):
    torch.manual_seed(11)
    return step(X, {}, at)


def test_magnitudes_are_those_of_numpy_and_a_full_sine_has_one():
    view = spectral_view((16, 64))
    found = view(X)
    for window, magnitude in zip((16, 64), found, strict=True):
        hann = np.hanning(window + 1)[:-1]
        frames = np.lib.stride_tricks.sliding_window_view(X.numpy(), window, -1)[:, :, :: window // 4]
        expected = np.abs(np.fft.rfft(frames * hann)) * 2 / hann.sum()
        np.testing.assert_allclose(magnitude.numpy(), expected.swapaxes(-1, -2), atol=1e-5)
    sine = torch.sin(2 * math.pi * 8 / 64 * torch.arange(256.0))[None, None]
    assert view(sine)[1][0, 0, 8].numpy() == pytest.approx(1.0, abs=1e-5)
    silent = torch.zeros(1, 1, 64, requires_grad=True)
    sum(part.sum() for part in view(silent)).backward()
    assert torch.isfinite(silent.grad).all()


def test_the_spectral_term_is_blind_to_phase_and_sees_level():
    view = spectral_view((256,))
    t = torch.arange(2048) / 8000
    a, b = (0.5 * torch.sin(2 * math.pi * 1000 * t + phase)[None, None] for phase in (0.0, 1.0))
    assert float(spectral_distance(view(a), view(a))) == 0
    assert float(spectral_distance(view(a), view(b))) < 0.05
    half = float(spectral_distance([torch.ones(1, 1, 4, 4)], [torch.full((1, 1, 4, 4), 0.5)]))
    assert half == pytest.approx(0.5 + math.log((1 + SILENCE) / (0.5 + SILENCE)), rel=1e-6)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_spectral_term_is_added_with_its_weight(samples):
    step = step_of(spectral=SPECTRAL, samples=samples)
    torch.manual_seed(11)
    loss = step(X, {}, 0)
    torch.manual_seed(11)
    terms = step.model.terms(X, samples=samples)
    plain = Elbo(ElboConfig(beta=0.5), step.model)(step.model, terms, X, {}, 0)
    view = spectral_view(SPECTRAL.windows)
    expected = spectral_distance(view(X.repeat(samples, 1, 1)), view(point(terms.likelihood))).detach()
    assert float(loss.log["spectral"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(loss.total.detach()) == pytest.approx(float(plain.total.detach() + 50 * expected), rel=1e-4)
    assert set(loss.log) == {*plain.log, "spectral"}
    assert step.objective.steady == "loss"


def test_octaves_hold_the_power_of_their_bins():
    (magnitudes,) = spectral_view((64,))(X)
    power = magnitudes.numpy() ** 2
    parts = [power[:, :, low:high].sum(2) for low, high in ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 33))]
    np.testing.assert_allclose(octaves_of(magnitudes).numpy() ** 2, np.stack(parts, 2) + SILENCE**2, rtol=1e-4)
    assert float(octaves_of(torch.zeros(1, 1, 33, 2)).max()) == pytest.approx(SILENCE)


def test_the_octaves_term_has_a_gradient_at_its_least():
    wave = X.clone().requires_grad_()
    view = spectral_view((16, 64))
    octave_distance(view(X), view(wave)).backward()
    assert torch.isfinite(wave.grad).all()


def test_where_pitch_is_open_bins_ask_for_silence_and_octaves_for_the_level():
    """A tone in one of eight bins of an octave, or, one time in three, none; what is written is the same for all."""
    tones = torch.zeros(12, 1, 33, 4)
    for item in range(8):
        tones[item, 0, 8 + item] = 1
    gains = torch.logspace(-3, 0.5, 200)
    shape = torch.zeros(1, 1, 33, 4)
    shape[:, :, 8:16] = 8**-0.5  # the power of one tone
    best = {}
    for name, distance in (("bins", spectral_distance), ("octaves", octave_distance)):
        losses = torch.stack([distance([tones], [(gain * shape).expand_as(tones)]) for gain in gains])
        best[name] = float(gains[losses.argmin()])
    assert best["bins"] < 0.01
    assert 0.6 < best["octaves"] < 1.1


def test_the_octaves_term_is_added_as_a_share_of_the_spectral_weight():
    step = step_of(spectral=SPECTRAL.model_copy(update={"octaves": 0.5}))
    log = loss_of(step).log
    view = spectral_view(SPECTRAL.windows)
    expected = octave_distance(view(X), view(point(again(step, 10).likelihood))).detach()
    assert float(log["octaves"]) == pytest.approx(float(expected), rel=1e-4)
    asked = log["distortion"] + 0.5 * log["rate"] + 50 * log["spectral"] + 25 * log["octaves"]
    assert float(loss_of(step).total.detach()) == pytest.approx(float(asked), rel=1e-4)


def test_without_terms_it_is_the_bound():
    step = step_of()
    plain = Elbo(ElboConfig(beta=0.5), step.model)(step.model, again(step, 0), X, {}, 0)
    assert torch.equal(loss_of(step, 0).total, plain.total)
    assert not list(step.objective.parameters())


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_the_distortion_has_a_weight_and_the_bound_has_none(weight):
    """With 0 the gradient is that of spectra and rate alone, and the optimal scale is estimated all the same."""
    values = {"latent": 3, "encoder": MlpConfig(widths=(8,)), "decoder": MlpConfig(widths=(8,))}
    model = Autoencoder(AutoencoderConfig(**values), (1, 96))
    step = Step(model, build_objective(PerceptualConfig(beta=0.5, spectral=SPECTRAL, distortion=weight), model))
    loss = loss_of(step)
    loss.total.backward()
    found = {name: p.grad.clone() for name, p in step.named_parameters()}
    step.zero_grad()
    scale = float(model.likelihood.running)
    terms = again(step, 10)
    view = spectral_view(SPECTRAL.windows)
    asked = 0.5 * terms.rate[0].mean() + 50 * spectral_distance(view(X), view(point(terms.likelihood)))
    (asked + weight * terms.distortion.mean() if weight else asked).backward()
    for name, parameter in step.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-5), name
    assert scale == pytest.approx(float((X - point(terms.likelihood).detach()).square().mean()), rel=1e-4)
    assert float(loss.log["elbo"]) == pytest.approx(float(-(loss.log["distortion"] + loss.log["rate"])))

    log = loss_of(step.eval())
    total = weight * log.log["distortion"] + 0.5 * log.log["rate"] + 50 * log.log["spectral"]
    assert float(log.total.detach()) == pytest.approx(float(total), rel=1e-5)  # what is kept is what was asked for


def test_without_the_distortion_something_else_is_asked_for():
    with pytest.raises(ConfigError, match=r"objective\.distortion: 0 leaves nothing to be learnt"):
        step_of(distortion=0)
    assert step_of(distortion=0, critic=CRITIC, spectral=SPECTRAL).objective.steady == "spectral"


@pytest.mark.parametrize("scale", ["element", "feature", "item", "scalar"])
def test_a_learnt_scale_needs_the_distortion(scale):
    values = {"encoder": MlpConfig(widths=(4,)), "decoder": MlpConfig(widths=(4,))}
    model = Autoencoder(AutoencoderConfig(**values, likelihood=GaussianConfig(scale=scale)), (1, 96))
    with pytest.raises(ConfigError, match=r"objective\.distortion: 0 would leave the likelihood's learnt scale"):
        build_objective(PerceptualConfig(distortion=0, spectral=SPECTRAL), model)
    Perceptual(PerceptualConfig(distortion=0.1), model)


@pytest.mark.parametrize("at", [0, 5, 50])
def test_one_backward_gives_the_gradients_of_the_two_steps(at):
    """The model's step with the critic's weights frozen, the critic's step with the decoded windows given."""
    step = step_of(critic=CRITIC)
    loss_of(step, at).total.backward()
    found = {name: p.grad.clone() for name, p in step.named_parameters() if p.grad is not None}
    step.zero_grad(set_to_none=True)

    critic, scale = step.objective.critic, X.square().mean().sqrt()
    terms = again(step, at)
    made = point(terms.likelihood) / scale
    critic.requires_grad_(False)
    *wanted, _ = critic(X / scale)
    *seen, value = critic(made)
    features = sum((a - b).abs().mean() / a.abs().mean() for a, b in zip(wanted, seen, strict=True)) / len(wanted)
    share = min(1.0, at / 10)
    asked = 7 * features - 3 * torch.log(torch.sigmoid(value)).mean()
    (terms.distortion.mean() + 0.5 * terms.rate[0].mean() + share * asked).backward()
    critic.requires_grad_(True)
    real, fake = critic(X / scale)[-1], critic(made.detach())[-1]
    (-torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()).backward()
    for name, parameter in step.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-5), name
        assert found[name].any(), name


def test_evaluation_leaves_the_critic_out_and_logs_it():
    step = step_of(critic=CRITIC, spectral=SPECTRAL).eval()
    loss = loss_of(step)
    log = loss.log
    total = log["distortion"] + 0.5 * log["rate"] + 50 * log["spectral"]
    assert float(loss.total.detach()) == pytest.approx(float(total), rel=1e-6)
    assert {"features", "adversary", "critic"} <= set(log)
    assert all(not value.requires_grad for value in log.values())
    assert step.objective.steady == "distortion"
    with torch.no_grad():
        for parameter in step.objective.critic.parameters():
            parameter.zero_()
    blind = loss_of(step).log
    assert float(blind["adversary"]) == pytest.approx(math.log(2))
    assert float(blind["critic"]) == pytest.approx(2 * math.log(2))
    assert float(softplus(torch.tensor(0.0))) == pytest.approx(float(blind["adversary"]))


def test_what_a_likelihood_turns_down_the_spectral_term_turns_up():
    """A quiet sine for sines of any phase: the squared error asks for silence, the magnitudes for its level."""
    phases = 2 * math.pi * torch.arange(64.0)[:, None, None] / 64
    t = 2 * math.pi * 12 / 96 * torch.arange(96.0)
    heard, view = torch.sin(t + phases), spectral_view((32,))
    slopes = {}
    for name in ("squared", "spectral"):
        level = torch.tensor(0.3, requires_grad=True)
        made = (level * torch.sin(t)).expand_as(heard)
        loss = (heard - made).square().mean() if name == "squared" else spectral_distance(view(heard), view(made))
        loss.backward()
        slopes[name] = float(level.grad)
    assert slopes["squared"] == pytest.approx(0.3, abs=0.02)
    assert slopes["spectral"] < -0.5


@pytest.mark.parametrize("terms", [{"spectral": SPECTRAL}, {"critic": CRITIC}])
def test_what_is_no_raw_window_is_refused(terms):
    with pytest.raises(ConfigError, match="listens to raw windows"):
        step_of((6,), **terms)


def test_short_windows_and_odd_settings_are_refused():
    step = step_of(spectral=SpectralConfig(windows=(256,)))
    with pytest.raises(ConfigError, match="at least 256 samples"):
        step(X, {}, 0)
    with pytest.raises(ConfigError, match="needs a view"):
        Perceptual(PerceptualConfig(spectral=SPECTRAL), step.model)
    with pytest.raises(ConfigError, match="that 4 divides"):
        parse(SpectralConfig, {"windows": [30]})


@pytest.mark.parametrize("distance", [spectral_distance, octave_distance])
def test_two_processes_with_half_a_batch_each_have_the_distance_of_the_whole(monkeypatch, distance):
    """What one process would hand to the others is noted in a first pass, and handed over in a second one."""
    level = torch.logspace(-3, 0, 8).reshape(8, 1, 1, 1)
    wanted, found = (torch.rand(8, 1, 33, 5) * level for _ in range(2))
    whole = distance([wanted], [found])
    said = ([], [])

    def half(rank, between):
        mean = lambda value: between(value[None]).mean(0)  # noqa: E731
        monkeypatch.setattr(perceptual, "mean_over_processes", mean, raising=False)
        monkeypatch.setattr(perceptual, "gather_rows", between, raising=False)
        rows = slice(4 * rank, 4 * rank + 4)
        return distance([wanted[rows]], [found[rows]])

    for rank in range(2):
        half(rank, lambda rows, rank=rank: said[rank].append(rows) or rows)
    means = []
    for rank in range(2):
        turns = iter(zip(*said, strict=True))
        means.append(half(rank, lambda rows, turns=turns: torch.cat(next(turns))))
    assert torch.allclose(torch.stack(means).mean(), whole, rtol=1e-5)
