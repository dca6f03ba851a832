"""The autoregressive model: its likelihood is that of its samples, padding costs nothing, conditions are heard."""

import math

import pytest
import torch

from latentscape.core.errors import ConfigError, LikelihoodError
from latentscape.core.random import seeded
from latentscape.laws.conditional import check_gradients, check_storage
from latentscape.models import autoregressive
from latentscape.models.autoregressive import Autoregressive, AutoregressiveConfig, SeriesConfig
from latentscape.nets.wavenet_batch import BatchSampler
from latentscape.nets.wavenet_sampler import Heard, Manner
from latentscape.train.noise import GlobalNoise

NET = {"residual": 8, "skip": 16, "dilations": (1, 2, 4), "heard": 4, "hold": 4}
LIKELIHOODS = {
    "categorical": {"likelihood": {"kind": "categorical", "levels": 16}},
    "logistic": {"likelihood": {"kind": "logistic_mixture", "levels": 16, "low": 0.0, "high": 15.0, "components": 2}},
    "values": {"likelihood": {"kind": "categorical", "levels": 16}, "reads": "values"},
    "gaussian": {"likelihood": {"kind": "gaussian", "scale": "element"}, "reads": "values"},
}


def made(kind="categorical", n=24, units=None, **settings) -> Autoregressive:
    config = AutoregressiveConfig.model_validate({"net": NET, **LIKELIHOODS[kind], **settings})
    model = Autoregressive(config, (1, n), {"voice": 3, "word": 2}, units).eval()
    with torch.no_grad():
        model.conditional.net.head[1].weight *= 20
    return model


def data(kind, rows, n=24):
    return torch.randn(rows, 1, n) if kind == "gaussian" else torch.randint(16, (rows, 1, n))


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_shapes_gradients_and_storage(kind):
    def build():
        return made(kind, condition=("voice", "word"), vector=2, series={"channels": 3, "hop": 8}, condition_dropout=0)

    model, x = build(), data(kind, 4)
    context = {"voice": torch.tensor([0, 2, -1, 1]), "word": torch.tensor([1, 0, 1, -1])}
    context |= {"vector": torch.randn(4, 2), "series": torch.randn(4, 3, 3)}
    model.check(x, context)
    for samples in (1, 3):
        terms = model.terms(x, context, samples=samples)
        assert terms.distortion.shape == (samples, 4)
        assert terms.rate == terms.layers == ()
    assert terms.likelihood.batch_shape == (4,)
    assert terms.likelihood.event_shape == (1, 24)
    assert terms.likelihood.sample((2,)).shape == (2, 4, 1, 24)
    check_gradients(model, terms.distortion)
    check_storage(model, build())


@pytest.mark.parametrize("kind", ["categorical", "values"])
def test_samples_have_the_density_that_is_said(kind):
    """All 16^2 waves of two samples: their masses sum to one, and draws come as often as they say."""
    model = made(kind, 2)
    x = torch.cartesian_prod(torch.arange(16), torch.arange(16)).unsqueeze(1)
    with torch.no_grad():
        p = (-model.terms(x).distortion[0]).exp()
        assert abs(float(p.sum()) - 1) < 1e-4
        with seeded("density"):
            drawn = model.law({}, 1).sample((8000,))[:, 0, 0]
    counts = torch.bincount(drawn[:, 0] * 16 + drawn[:, 1], minlength=256)
    expected = 8000 * p
    chi = ((counts - expected).square() / expected.clamp_min(1e-9))[expected > 5].sum()
    assert chi < 1.5 * (expected > 5).sum()
    assert counts.max() > 3 * counts.float().mean()  # the law is far from even


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_draws_are_likely_where_they_were_drawn(kind):
    """The mean log-density of draws is, but for chance, higher than that of another condition's, and none is -inf."""
    model = made(kind, 60, condition=("voice",))
    with torch.no_grad():
        model.conditional.labels.tables[0].weight.mul_(4)
        told = {"voice": torch.zeros(64, dtype=torch.int64)}
        with seeded("likely"):
            x = model.law(told, 64).sample()
        own = model.terms(x, told).distortion[0]
        other = model.terms(x, {"voice": torch.full((64,), 2)}).distortion[0]
    assert own.isfinite().all()
    gap = (other - own).double()
    assert gap.mean() > 3 * gap.std() / 8


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_a_law_supports_what_it_draws(kind):
    law, x = made(kind).law({}, 3), data(kind, 3)
    assert law.support.check(x).tolist() == [True] * 3
    assert law.support.is_discrete == (kind != "gaussian")
    if kind != "gaussian":
        assert law.support.check(x + 16).tolist() == [False] * 3


def test_levels_are_supported_in_the_units_of_the_wave():
    likelihood = {"kind": "logistic_mixture", "levels": 16, "low": -1.0, "high": 1.0, "components": 2}
    law = made("logistic", likelihood=likelihood).law({}, 1)
    level = torch.arange(24.0).remainder(16)[None, None]
    assert bool(law.support.check(level / 7.5 - 1).all())
    assert not bool(law.support.check(level).any())


def test_units_move_a_real_wave_and_its_density():
    units = (torch.full((1, 1), 3.0), torch.full((1, 1), 0.5))
    plain, moved = made("gaussian"), made("gaussian", units=units)
    state = {name: value for name, value in plain.state_dict().items() if "units" not in name}
    moved.load_state_dict(state, strict=False)
    x = data("gaussian", 3)
    with torch.no_grad():
        gap = moved.terms(3 + 0.5 * x).distortion - plain.terms(x).distortion
        assert torch.allclose(gap, torch.tensor(24 * math.log(0.5)), atol=1e-3)
        heard = Heard()
        first, second = (model.conditional.draw(24, 2, heard, seed=4) for model in (plain, moved))
    assert torch.allclose(second, 3 + 0.5 * first, atol=1e-4)


def test_padding_enters_no_loss():
    model, x = made(), data("categorical", 3)
    present = torch.ones(3, 24)
    present[1, 15:] = 0
    padded = x.clone()
    padded[1, 0, 15:] = 7
    first, second = (model.terms(one, {"present": present}).distortion for one in (x, padded))
    assert torch.equal(first, second)
    shorter = made(n=15)
    shorter.load_state_dict(model.state_dict())
    assert torch.allclose(first[0, 1], shorter.terms(x[1:2, :, :15]).distortion[0, 0], rtol=1e-5)
    gradient = torch.autograd.grad(first.sum(), model.conditional.net.table)[0]
    other = torch.autograd.grad(second.sum(), model.conditional.net.table)[0]
    assert torch.allclose(gradient, other, atol=1e-5)


def test_conditions_are_heard_and_unknown_is_one_thing():
    model, x = (
        made(condition=("voice",), vector=2, series=SeriesConfig(channels=2, hop=8).model_dump()),
        data("categorical", 2),
    )
    with torch.no_grad():
        bare = model.terms(x).distortion
        unknown = {
            "voice": torch.tensor([-1, -1]),
            "vector": torch.full((2, 2), torch.nan),
            "series": torch.full((2, 2, 3), torch.nan),
        }
        assert torch.allclose(model.terms(x, unknown).distortion, bare)
        for name, value in {
            "voice": torch.tensor([1, 1]),
            "vector": torch.ones(2, 2),
            "series": torch.randn(2, 2, 3),
        }.items():
            assert not torch.allclose(model.terms(x, {name: value}).distortion, bare), name


def test_conditions_are_withheld_from_a_share_of_training_rows():
    model = made(condition=("voice",), vector=2, condition_dropout=0.5).train()
    x = data("categorical", 1).expand(400, -1, -1)
    told = {"voice": torch.full((400,), 1), "vector": torch.ones(400, 2)}
    with torch.no_grad():
        costs = model.terms(x, told).distortion[0]
        model.eval()
        one = {name: value[:1] for name, value in told.items()}
        ways = ({}, {"voice": one["voice"]}, {"vector": one["vector"]}, one)
        known = torch.stack([model.terms(x[:1], way).distortion[0, 0] for way in ways])
    found = torch.isclose(costs[:, None], known, rtol=1e-4)
    assert found.any(1).all()
    # all at once from a half, of the other half each by itself from a half
    assert found.float().mean(0).tolist() == pytest.approx([0.625, 0.125, 0.125, 0.125], abs=0.06)


def test_a_prime_is_gone_on_from():
    model = made(n=24)
    prime = data("categorical", 3, 10)
    with torch.no_grad():
        x = model.conditional.draw(24, 3, prime=prime, seed=1)
        other = model.conditional.draw(24, 3, prime=(prime + 1) % 16, seed=1)
    assert torch.equal(x[:, :, :10], prime)
    assert not torch.equal(x[:, :, 10:], other[:, :, 10:])


def test_many_streams_on_a_gpu_are_one_batch(monkeypatch):
    assert [autoregressive.batched(torch.device(kind), rows) for kind in ("cpu", "mps", "cuda") for rows in (1, 9)] == [
        *(False,) * 5, True,
    ]  # fmt: skip
    model = made(condition=("voice",))
    with torch.no_grad():
        heard = model.conditional.heard(None, {"voice": torch.tensor([0, 1, 2])}, 3)
        compiled = model.conditional.draw(24, 3, heard, seed=2)
        monkeypatch.setattr(autoregressive, "batched", lambda device, rows: True)
        assert torch.equal(model.conditional.draw(24, 3, heard, seed=2), compiled)
        assert isinstance(model.conditional.sampler("float32", 3), BatchSampler)


def test_strength_moves_away_from_what_is_told_nothing():
    model = made(condition=("voice",))
    with torch.no_grad():
        model.conditional.labels.tables[0].weight.mul_(2)
        heard = model.conditional.heard(None, {"voice": torch.zeros(64, dtype=torch.int64)}, 64)
        advantage = []
        for strength in (0.0, 1.0, 2.0):
            x = model.conditional.draw(24, 64, heard, manner=Manner(strength=strength))
            told = model.terms(x, {"voice": torch.zeros(64, dtype=torch.int64)}).distortion.mean()
            advantage.append(float(model.terms(x).distortion.mean() - told))
    assert advantage[0] < 0 < advantage[1] < advantage[2]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"expected \(1, samples\)"):
        Autoregressive(AutoregressiveConfig(), (513,))
    with pytest.raises(ConfigError, match="expected 'values'"):
        made("gaussian", reads="codes")
    with pytest.raises(ConfigError, match="scale: element"):
        made("gaussian", likelihood={"kind": "gaussian"})
    with pytest.raises(ConfigError, match="no label 'speaker'"):
        made(condition=("speaker",))
    with pytest.raises(LikelihoodError, match="int64 codes"):
        made().check(torch.rand(2, 1, 24))
    with pytest.raises(LikelihoodError, match="label 'voice'"):
        made(condition=("voice",)).check(data("categorical", 1), {"voice": torch.tensor([3])})
    with pytest.raises(LikelihoodError, match="at least 3 steps"):
        made(series={"channels": 2, "hop": 8}).check(data("categorical", 1), {"series": torch.zeros(1, 2, 2)})


def test_it_learns_what_a_condition_sounds_like():
    """A square wave of another period for each voice: after a little training, what is drawn has the period asked for."""
    periods = torch.tensor([4, 10])
    model = made(n=120, condition=("voice",), condition_dropout=0.1).train()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    steps = torch.arange(120)

    def wave(voices, phases):
        return torch.where((steps + phases[:, None]) % periods[voices][:, None] < periods[voices][:, None] // 2, 12, 3)[
            :, None
        ]

    for _ in range(150):
        voices = torch.randint(2, (16,))
        loss = model.terms(wave(voices, torch.randint(20, (16,))), {"voice": voices}).distortion.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    voices = torch.arange(2).repeat_interleave(6)
    with torch.no_grad(), seeded("drawn"):
        x = model.law({"voice": voices}, 12).sample()[:, 0].float()
    spectrum = torch.fft.rfft(x - x.mean(1, keepdim=True)).abs().argmax(1)
    assert int((120 / spectrum.float() == periods[voices]).sum()) >= 11


def test_each_part_of_a_series_is_also_withheld_by_itself():
    series = {"channels": 3, "hop": 8, "parts": (1, 2)}
    model = made(series=series, condition_dropout=0.3)
    context = model._withheld({"series": torch.ones(4000, 3, 3)}, 4000, torch.device("cpu"))
    unknown = context["series"].isnan()
    assert torch.equal(unknown[:, 1], unknown[:, 2])
    assert torch.equal(unknown.all(2), unknown.any(2))
    first, second = unknown[:, 0, 0], unknown[:, 1, 0]
    assert abs(float(first.float().mean()) - 0.51) < 0.03  # 1 - 0.7^2: withheld with all, or by itself
    assert abs(float((first & second).float().mean()) - (0.3 + 0.7 * 0.09)) < 0.03
    whole = made(series=series | {"parts": ()}, condition_dropout=0.3)
    unknown = whole._withheld({"series": torch.ones(4000, 3, 3)}, 4000, torch.device("cpu"))["series"].isnan()
    assert torch.equal(unknown.flatten(1).all(1), unknown.flatten(1).any(1))


@pytest.mark.parametrize("kind", ["categorical", "values"])
def test_the_past_is_noisy_in_training_alone_and_nothing_else_is(kind):
    model, x = made(kind, past_noise=2.0), data(kind, 400)
    conditional = model.conditional
    past = conditional.read(x)[:, 0]
    assert torch.equal(conditional.eval().disturbed(past), past)
    with seeded("noise", 0):
        noise = (conditional.train().disturbed(past) - past).double()
    inner = (past > 7) & (past < 9) if conditional.net.levels else torch.ones_like(past, dtype=torch.bool)
    assert float(noise[inner].std()) == pytest.approx(2.0, rel=0.1)
    assert abs(float(noise[inner].mean())) < 0.2
    if conditional.net.levels:
        assert set((past + noise).flatten().tolist()) <= set(range(16))
    with torch.no_grad():
        one = model.train().terms(x).distortion
        assert not torch.allclose(one, model.eval().terms(x).distortion)
        conditional.net.head[1].weight.zero_()  # deaf to the past: what is left is the sample that is asked for
        torch.testing.assert_close(model.train().terms(x).distortion, model.eval().terms(x).distortion)


@pytest.mark.parametrize("kind", ["categorical", "logistic", "gaussian"])
def test_training_shows_a_share_of_what_the_net_itself_draws_and_asks_for_the_truth(kind, monkeypatch):
    model, x = made(kind, n=200, past_own=0.3), data(kind, 40, 200)
    seen = []
    heard = autoregressive.WaveLaw.given
    monkeypatch.setattr(autoregressive.WaveLaw, "given", lambda law, past: (seen.append(past), heard(law, past))[1])
    truth = model.conditional.read(x)[:, 0]
    with seeded("own", 0):
        model.train().terms(x).distortion.sum().backward()
    assert torch.equal(seen[0], truth)
    other = seen[1] != truth
    if kind == "gaussian":
        assert float(other.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert 0 < float(other.float().mean()) < 0.33
    with torch.no_grad():  # what stands there is as likely, after the true past, as another draw from there
        law = model.conditional.likelihood(heard(model.law({}, 40), truth).flatten(0, 1))
        fresh, shown = law.sample(), model.conditional.restore(seen[1].float()).reshape(-1, 1)
        likely = [law.log_prob(one.to(fresh.dtype))[other.flatten()].mean() for one in (fresh, shown, x.reshape(-1, 1))]
    assert likely[1] == pytest.approx(float(likely[0]), abs=0.15)
    assert likely[2] < likely[0] - 0.2
    if kind != "gaussian":
        assert set(seen[1].flatten().tolist()) <= set(range(16))
    seen.clear()
    whole = model.eval().terms(x).distortion
    assert len(seen) == 1
    assert torch.equal(seen[0], truth)
    with torch.no_grad():
        model.conditional.net.head[1].weight.zero_()  # deaf to the past: what is left is the sample that is asked for
        torch.testing.assert_close(model.train().terms(x).distortion, model.eval().terms(x).distortion)
    assert whole.shape == (1, 40)


def test_several_processes_show_the_draws_that_one_would(monkeypatch):
    model, x, seen = made(n=50, past_own=0.5), data("categorical", 4, 50), []
    heard = autoregressive.WaveLaw.given
    monkeypatch.setattr(autoregressive.WaveLaw, "given", lambda law, past: (seen.append(past), heard(law, past))[1])
    with seeded("own", 0):
        model.train().terms(x)
    for rank in range(2):
        with seeded("own", 0), GlobalNoise(2, rank, 2):
            model.train().terms(x[2 * rank : 2 * rank + 2])
    assert not torch.equal(seen[1], seen[0])
    assert torch.equal(seen[1], torch.cat([seen[3], seen[5]]))
