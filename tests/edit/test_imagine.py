"""Activation maximisation: goals rise, priors hold, a start is begun with; what a unit hears of a sound."""

import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.edit.imagine import LEVEL, NONE, GainCanvas, Goal, Priors, imagine, jittered, levelled, pink
from latentscape.edit.inside import look, strengths
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import LatentMap
from latentscape.instrument.tagging import Listener
from latentscape.models.linear import Ppca, PpcaConfig
from latentscape.models.tagger import Tagger, TaggerConfig
from latentscape.nets.tagger import ChunkConfig, TemporalConfig
from latentscape.registry import Window
from latentscape.signal.mel import LogMel, LogMelConfig

RATE = 8000


def made(law="one", net=ChunkConfig(channels=(4, 6), dense=8)):
    torch.manual_seed(3)
    config = LogMelConfig(sample_rate=RATE, window=512, hop=128, bands=16, floor_db=-60)
    view, window = LogMel(config), Window(length=16, hop=8)
    units = (torch.full((1, 1), -20.0), torch.full((1, 1), 15.0))
    model = (
        Tagger(TaggerConfig(law=law, net=net), window.event_shape(16), {"tag": 3}, units).eval().requires_grad_(False)
    )
    return Listener(model, view, window, ("dog", "rain", "sea"), {"representation": config.model_dump()}, "mine")


@pytest.fixture(scope="module")
def listener():
    return made()


@pytest.mark.parametrize("priors", [NONE, Priors(jitter=0)], ids=["wave", "gains"])
def test_every_goal_rises_whatever_is_beside_it(listener, priors):
    goals = [Goal("dog"), Goal("sea")]
    found = imagine(listener, goals, [None, None], priors=priors, steps=25, rate=None if priors.gains else 0.2)
    for one in found:
        assert one.wave.shape == (1, listener.least)
        assert float(one.wave.square().mean().sqrt()) == pytest.approx(LEVEL, rel=1e-3)
        assert one.score > one.before
        assert len(one.curve) == 25
    again = imagine(listener, goals, [None, None], priors=priors, steps=25, rate=None if priors.gains else 0.2)
    assert all(torch.equal(a.wave, b.wave) for a, b in zip(found, again, strict=True))
    assert found[0].curve[-1] > found[0].curve[0]
    jitters = [imagine(listener, goals[:1], [None], steps=3, seed=seed)[0].wave for seed in (1, 1, 2)]
    assert torch.equal(jitters[0], jitters[1])
    assert not torch.equal(jitters[0], jitters[2])


def test_a_unit_and_any_number_of_tags(listener):
    many = made("many")
    (one,) = imagine(many, [Goal("rain")], [None], priors=NONE, steps=15, rate=0.2)
    assert one.score > one.before
    unit = Goal(layer="block1", unit=2)
    (excited,) = imagine(listener, [unit], [None], priors=NONE, steps=15, rate=0.2)
    assert excited.score > excited.before
    assert excited.score == pytest.approx(
        float(listener.activations(excited.wave[None])["block1"][0, 2].mean()), rel=1e-4
    )


def test_it_begins_with_a_sound_and_stays_near_its_spectrum(listener):
    t = torch.arange(RATE) / RATE
    tone = torch.sin(2 * torch.pi * 300 * t)[None]
    (still,) = imagine(listener, [Goal("dog")], [tone], steps=0)
    torch.testing.assert_close(still.wave, levelled(tone[:, : listener.least]), atol=1e-4, rtol=0)
    assert still.before == pytest.approx(still.score)
    (near,) = imagine(listener, [Goal("dog")], [tone], steps=10, priors=Priors(jitter=0))
    (far,) = imagine(listener, [Goal("dog")], [tone], steps=10, priors=NONE)

    def balance(wave):
        power = torch.fft.rfft(wave[0] * torch.hann_window(wave.shape[1])).abs().square()
        return 10 * torch.stack([part.mean() for part in power.split(64)]).add(1e-3).log10()

    moved = [(balance(one.wave) - balance(still.wave)).square().mean() for one in (near, far)]
    assert moved[0] < moved[1]
    assert near.flatness < far.flatness


def test_pink_noise_falls_by_3_db_an_octave():
    power = torch.fft.rfft(pink(torch.eye(1, 4096), RATE)).abs().square()[0]
    assert float(power[512] / power[1024]) == pytest.approx(2.0, rel=1e-4)
    assert float(power[1] / power[2]) == pytest.approx(1.0, rel=1e-4)  # not below 50 Hz


def test_gains_are_smooth_and_their_penalty_is_theirs(listener):
    wave = levelled(torch.randn(1, 1, listener.least))
    canvas = GainCanvas(listener, wave, Priors(tilt=2.0, variation=3.0))
    torch.testing.assert_close(canvas.waves().detach(), wave, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        canvas.moved += 6.0
    torch.testing.assert_close(canvas.waves().detach(), wave, atol=1e-5, rtol=1e-4)  # the level is kept
    assert float(canvas.penalty().detach()) == pytest.approx(2 * 36)
    with torch.no_grad():
        canvas.moved[:, 16:] -= 40.0
    power = torch.fft.rfft(canvas.waves().detach()[0, 0]).abs().square()
    half = len(power) // 2
    assert float(power[half:].mean() / power[: half // 4].mean()) < 1e-3
    assert float(canvas.penalty().detach()) == pytest.approx(2 * (36 + 34**2) / 2 + 3 * 40 / 31, rel=1e-4)


def test_jitter_keeps_what_is_heard(listener):
    wave = levelled(torch.randn(1, 4000))
    stream = torch.Generator().manual_seed(0)
    heard = jittered(wave, RATE, stream)
    assert heard.shape == wave.shape
    level = 20 * torch.log10(heard.square().mean().sqrt() / LEVEL)
    assert abs(float(level)) < 12
    spectrum = [torch.fft.rfft(one[0]).abs() for one in (wave, heard)]
    assert float(torch.corrcoef(torch.stack(spectrum))[0, 1]) > 0.8


def test_on_the_manifold_of_an_auto_encoder(listener):
    one, none = torch.ones(3), torch.zeros(3)
    chart = LatentMap(none, one, -one, one, torch.eye(3), one, none[None], ("clip",), {})
    config = {"representation": listener.config["representation"]}
    units = (torch.full((16,), -20.0), torch.full((16,), 15.0))
    model = Ppca(PpcaConfig(latent=3), (16,), {}, units)
    manifold = Instrument(model, listener.representation, Window(), {}, chart, config, "plane", None)
    (one,) = imagine(listener, [Goal("sea")], [None], manifold=manifold, steps=15, rate=0.3, priors=Priors(latent=0.01))
    assert one.curve[-1] > one.curve[0]
    assert one.wave.shape == (1, listener.least)
    other = Instrument(model, listener.representation, Window(), {}, chart, {"representation": {}}, "other", None)
    with pytest.raises(UsageError, match="does not see sound as mine does"):
        imagine(listener, [Goal("sea")], [None], manifold=other, steps=1)


def test_what_a_unit_hears(listener):
    wave = torch.zeros(1, 6000)
    wave[0, 2000:3000] = torch.sin(2 * torch.pi * 1000 * torch.arange(1000) / RATE)
    found = strengths(listener, wave, "block2")
    assert found.shape == (6,)
    for one in (listener, made(net=TemporalConfig(channels=(5, 6), kernel=4, dense=8))):
        layer = one.layers[-1]
        unit = int(strengths(one, wave, layer).argmax())
        view = look(one, wave, layer, unit)
        assert view.mask.shape == (513, 24)
        assert 0 <= float(view.mask.min()) <= float(view.mask.max()) == pytest.approx(1)
        assert view.heard.shape == wave.shape
        assert float(view.heard.square().sum()) <= float(wave.square().sum())
        assert float(view.heard[:, 5000:].abs().max()) < 1e-3  # it hears nothing that is not there
        noise = torch.randn(1, 6000)
        part = look(one, noise, layer, unit)
        assert float(part.heard.square().mean()) < 0.95 * float(noise.square().mean())
        assert float((part.heard * noise).mean()) > 0


def test_what_it_refuses(listener):
    with pytest.raises(UsageError, match="2 goals and 1 sounds"):
        imagine(listener, [Goal("dog"), Goal("sea")], [None])
    with pytest.raises(UsageError, match="did you mean 'rain'"):
        imagine(listener, [Goal("rian")], [None])
    with pytest.raises(UsageError, match="silent sound"):
        imagine(listener, [Goal("dog")], [torch.zeros(1, 100)])
    with pytest.raises(UsageError, match="at least the tagger's"):
        imagine(listener, [Goal("dog")], [None], seconds=0.01)
    with pytest.raises(UsageError, match="no layer 'block9', expected one of picture, block1, block2"):
        imagine(listener, [Goal(layer="block9")], [None])
    with pytest.raises(UsageError, match="layer block2 has units 0 to 5, got 6"):
        look(listener, torch.randn(1, 3000), "block2", 6)
