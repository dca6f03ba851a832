"""Restyling by a WaveNet: every way of the search on a net of a few weights."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError, UsageError
from latentscape.edit.restyle.descent import WAYS, Search
from latentscape.edit.restyle.engine import Wish, restyle
from latentscape.edit.restyle.waves import CARRIED, listened, restyle_waves
from latentscape.instrument.waves import Waves
from latentscape.models.autoregressive import Autoregressive, AutoregressiveConfig
from latentscape.nets.rescoring import hidden_of, loss_of, target_of
from latentscape.nets.wavenet import WaveNetConfig
from latentscape.signal.mulaw import MuLaw, MuLawConfig

RATE = 4000
START = Wish("wavenet", strength=0.7)


@pytest.fixture(scope="module")
def waves() -> Waves:
    torch.manual_seed(0)
    config = AutoregressiveConfig(net=WaveNetConfig(residual=8, skip=8, dilations=(1, 2, 4, 8)), condition=("voice",))
    model = Autoregressive(config, (1, 64), {"voice": 2}).eval().requires_grad_(False)
    net = model.conditional.net
    ramp = torch.linspace(-1, 1, 256)[:, None] * torch.linspace(0.5, 2, 8)
    net.table[:-1] = ramp + 0.05 * net.table[:-1]  # neighbouring codes are alike, as a trained net has them
    return Waves(model, MuLaw(MuLawConfig(sample_rate=RATE)), {"voice": ("a", "b")}, {}, "made")


def search(waves: Waves, rounds: int, likelihood: float = 0.0) -> Search:
    net, drawn = waves.model.conditional.net, np.random.default_rng(0)
    t = np.arange(400)
    sounds = 0.1 * np.sin(0.2 * t), 0.1 * drawn.normal(size=400)
    codes, style = (waves.representation.analyse(torch.from_numpy(one).float()[None, None])[0, 0] for one in sounds)
    target = target_of(net, style, None, (2, 4))
    _, hidden, _ = hidden_of(net, net.table[codes], None)
    goal = target.features([h[1:] for h in hidden])
    return Search(net, codes, replace(target, goal=goal, content=0.01, likelihood=likelihood), None, rounds)


@pytest.mark.no_cover  # heavy, and others run most of its lines
@pytest.mark.parametrize("way", sorted(WAYS))
def test_every_way_returns_codes_and_all_but_the_joint_one_go_down(waves, way):
    told = []
    asked = replace(search(waves, 16), each=lambda share, loss, codes: told.append((share, len(codes))))
    found = WAYS[way](asked)
    assert found.codes.shape == asked.codes.shape
    assert 0 <= int(found.codes.min()) <= int(found.codes.max()) <= 255
    assert told[-1] == (1.0, 400)
    assert len(found.losses) == 16
    begun, ended = (loss_of(asked.net, codes, asked.target) for codes in (asked.codes, found.codes))
    if way != "joint":
        assert ended < 0.9 * begun
    else:
        assert found.losses[-1] < 0.9 * found.losses[0]  # what the net saw, no code
    assert torch.equal(WAYS[way](replace(asked, each=lambda *_: None)).codes, found.codes)


def test_descent_knows_its_loss_and_may_weigh_the_likelihood(waves):
    for likelihood in (0.0, 0.05):
        asked = search(waves, 8, likelihood)
        found = WAYS["descent"](asked)
        assert found.losses[-1] == pytest.approx(loss_of(asked.net, found.codes, asked.target), abs=1e-5)


def test_a_restyled_sound_has_the_length_and_channels_of_its_content(waves):
    t = np.arange(8000) / 8000
    content = np.stack([np.sin(2 * np.pi * 150 * t) * (np.sin(9 * t) > 0), np.sin(2 * np.pi * 220 * t)]) * 0.2
    style = 0.05 * np.random.default_rng(0).normal(size=(1, 8000))
    told = []
    wish = Wish("wavenet", evaluations=2, way="straight-through", strength=0.7)
    found = restyle_waves(waves, content, style, 8000, wish, labels={"voice": "b"}, each=lambda *a: told.append(a))
    assert found.wave.shape == content.shape
    assert np.isfinite(found.wave).all()
    assert len(found.losses) == 4  # two channels, two rounds
    assert told[-1][0] == 1.0
    assert told[-1][2]().shape == (1, 8000)  # a preview is heard at the rate of the content, not of the run
    spectra = [
        np.abs(np.fft.rfft(one[0])) for one in (found.wave, restyle(content, style, 8000, START, method=CARRIED).wave)
    ]
    high = slice(2200, None)  # Hz: above the band of the run the sound is as where it began
    assert np.corrcoef(*(one[high] for one in spectra))[0, 1] > 0.98  # but for the level of the whole
    texture = restyle_waves(waves, None, style, 8000, Wish("wavenet", evaluations=1), seconds=0.5)
    assert texture.wave.shape == (1, 4000)


def test_a_preview_holds_all_of_a_channel_so_far(waves):
    seconds: list[float] = []
    content = 0.05 * np.random.default_rng(1).normal(size=(2, 48000))
    wish = Wish("wavenet", evaluations=1, way="straight-through")
    restyle_waves(waves, content, content[:1], 8000, wish, each=lambda *a: seconds.append(a[2]().shape[1] / 8000))
    assert seconds == pytest.approx([3.1, 6.0, 3.1, 6.0], abs=0.05)


def test_a_run_is_left_as_it_was_wherever_it_lies(waves):
    model = deepcopy(waves.model).double().requires_grad_(True)  # doubles won't mix with floats, nor devices
    before = deepcopy(model.state_dict())
    style = 0.05 * np.random.default_rng(0).normal(size=(1, 2000))
    wish = Wish("wavenet", evaluations=1, way="straight-through")
    found, asked = (
        restyle_waves(run, style, style[:, ::-1], 8000, wish, labels={"voice": "b"})
        for run in (replace(waves, model=model), waves)
    )
    np.testing.assert_array_equal(found.wave, asked.wave)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {name: (value.dtype, value.device) for name, value in model.state_dict().items()} == {
        name: (value.dtype, value.device) for name, value in before.items()
    }
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_strength_nought_is_the_content(waves):
    content = 0.05 * np.random.default_rng(1).normal(size=(1, 8000))
    found = restyle_waves(waves, content, content[:, ::-1], 8000, Wish("wavenet", strength=0.0))
    np.testing.assert_array_equal(found.wave, content)
    with pytest.raises(DataError, match="content that holds NaN"):
        restyle_waves(waves, content * np.nan, content, 8000, Wish("wavenet", strength=0.0))


def test_what_it_can_not_do_is_said(waves):
    style = 0.05 * np.random.default_rng(0).normal(size=(1, 8000))
    with pytest.raises(UsageError, match="--way joint knows no likelihood"):
        restyle_waves(waves, style, style, 8000, Wish("wavenet", way="joint", likelihood=1.0))
    config = AutoregressiveConfig(net=WaveNetConfig(residual=8, skip=8, dilations=(1, 2)), reads="values")
    values = replace(waves, model=Autoregressive(config, (1, 64)), vocabulary={})
    with pytest.raises(UsageError, match="is no WaveNet over mu-law codes"):
        restyle_waves(values, style, style, 8000, Wish("wavenet"))


def test_every_second_layer_is_listened_to():
    assert listened(4) == (2, 4)
    assert listened(5) == (1, 3, 5)
    assert listened(1) == (1,)
