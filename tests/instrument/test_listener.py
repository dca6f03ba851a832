"""A listener: segments that cover a sound, their mean, layers, gradients down to the wave."""

import itertools

import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.instrument.tagging import Listener
from latentscape.models.tagger import Tagger, TaggerConfig
from latentscape.nets.tagger import ChunkConfig, FrontConfig, TemporalConfig
from latentscape.registry import Window
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE = 8000
CLASSES = ("dog", "rain", "sea_waves")


def listener(kind="mel", law="one"):
    if kind == "mel":
        view = LogMel(LogMelConfig(sample_rate=RATE, window=256, hop=64, bands=16, floor_db=-60))
        window, net = Window(length=20, hop=8), ChunkConfig(channels=(4, 6), dense=8)
    else:
        view, window = Waveform(WaveformConfig(sample_rate=RATE)), Window(length=1200, hop=500)
        net = TemporalConfig(front=FrontConfig(channels=6, length=16, stride=8), channels=(5,), kernel=4, dense=8)
    config = TaggerConfig(law=law, net=net)
    units = (torch.full((1, 1), -20.0), torch.full((1, 1), 15.0)) if kind == "mel" else None
    model = Tagger(config, window.event_shape(view.frame_size), {"tag": 3}, units).eval().requires_grad_(False)
    return Listener(model, view, window, CLASSES, {}, "mine")


@pytest.mark.parametrize("kind", ["mel", "raw"])
@pytest.mark.parametrize("law", ["one", "many"])
def test_scores_are_the_mean_over_segments_that_cover_the_sound(kind, law):
    one = listener(kind, law)
    wave = 0.1 * torch.randn(2, 1, 4001)
    features = one.features(wave)
    starts = one.starts(features.shape[2])
    assert starts[0] == 0
    assert starts[-1] == features.shape[2] - one.window.length
    assert max(b - a for a, b in itertools.pairwise(starts)) <= one.window.hop
    segments = one.segments(features)
    p = torch.stack([one.model.probabilities(segments[row]) for row in range(2)])
    torch.testing.assert_close(one.scores(wave), p.mean(1))
    heard = one.hear(wave[0])
    torch.testing.assert_close(heard.scores, p[0].mean(0))
    torch.testing.assert_close(heard.segments, p[0])
    torch.testing.assert_close(heard.embedding, one.embed(wave)[0])
    assert heard.starts[-1] == pytest.approx(starts[-1] / one.representation.frame_rate)
    stereo = torch.cat((wave, wave), 1)
    torch.testing.assert_close(one.scores(stereo), one.scores(wave))


@pytest.mark.parametrize("kind", ["mel", "raw"])
def test_a_short_sound_is_followed_by_silence(kind):
    one = listener(kind)
    short = 0.1 * torch.randn(1, 1, 300)
    padded = torch.nn.functional.pad(short, (0, one.least - 300))
    torch.testing.assert_close(one.scores(short), one.scores(padded))
    assert one.segments(one.features(short)).shape[1] == 1


def test_a_long_sound_is_heard_as_a_whole_and_a_few_segments_at_a_time(monkeypatch):
    one = listener()
    wave = 0.1 * torch.randn(1, 9000)
    whole = one.hear(wave)
    monkeypatch.setattr("latentscape.instrument.tagging.SEGMENTS", 3)
    torch.testing.assert_close(one.hear(wave).segments, whole.segments)


@pytest.mark.parametrize("kind", ["mel", "raw"])
def test_gradients_reach_the_wave(kind):
    one = listener(kind)
    wave = (0.1 * torch.randn(1, 1, 3000)).requires_grad_()
    last = one.layers[-1]
    for value in (one.scores(wave)[0, 1], one.activations(wave)[last].mean(), one.embed(wave).sum()):
        (slope,) = torch.autograd.grad(value, wave)
        assert float(slope.abs().sum()) > 0
    found = one.activations(wave)
    assert tuple(found) == one.layers
    again = one.activations(features=one.features(wave))
    assert all(torch.equal(found[name], again[name]) for name in found)
    with pytest.raises(UsageError, match="a wave or features, and not both"):
        one.activations()


def test_names():
    one = listener()
    assert one.place("rain") == 1
    with pytest.raises(UsageError, match="mine knows no tag 'rian'; did you mean 'rain'"):
        one.place("rian")
    assert one.ranked(torch.tensor([0.2, 0.5, 0.3]), 2) == [("rain", 0.5), ("sea_waves", pytest.approx(0.3))]
