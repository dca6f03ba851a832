"""What each layer of a hierarchy of sound decides: nothing where nobody hears it, all where it alone speaks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentscape.core.random import numpy_stream
from latentscape.experiment.layers import _effect, decides
from latentscape.instrument.instrument import Instrument
from latentscape.models.hierarchy import Hierarchy, HierarchyConfig, masked
from latentscape.nets.levels import ConvLevelsConfig
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig

PATCH = 16


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    torch.manual_seed(1)
    sound = LogStft(LogStftConfig(sample_rate=8000, window=256, hop=64))
    levels = ConvLevelsConfig(widths=(16, 16), dims=1, kernel=3)
    units = torch.full((sound.frame_size, 1), -40.0), torch.full((sound.frame_size, 1), 20.0)
    config = HierarchyConfig(latents=(4, 2), levels=levels, conditional=True)
    model = Hierarchy(config, (sound.frame_size, PATCH), {}, units)
    with torch.no_grad():
        model.stages[1].absorb.weight.zero_()  # the lower layer speaks to nobody
    return Instrument(model.eval(), sound, Window(length=PATCH, hop=4), name="test")


def held(part, size, limit):
    assert part == "test"
    for number in range(2):
        x = -40 + 20 * torch.randn(30, 129, PATCH, generator=torch.Generator().manual_seed(number))
        yield x, masked(x, torch.ones_like(x).bool())  # all of it would be shown


def test_a_layer_that_nobody_hears_decides_nothing(instrument):
    shares = decides(instrument, SimpleNamespace(held=held))
    assert {"loudness", "brightness", "pitch", "attack"} <= shares.keys()
    for name in ("loudness", "brightness"):
        top, bottom = shares[name]
        assert bottom == pytest.approx(0, abs=1e-9)
        assert top > 0.1


def test_images_have_no_descriptors():
    assert decides(SimpleNamespace(representation=None, model=None, device=None), None) == {}


def test_an_independent_draw_has_an_effect_of_one():
    stream = numpy_stream("effect", 0)
    before, after = stream.normal(3, 2, 4000), stream.normal(3, 2, 4000)
    assert _effect(before, after) == pytest.approx(1, abs=0.06)
    assert _effect(before, before) == 0
    before[::2] = np.nan  # a sound without pitch has no part in it
    assert _effect(before, np.where(np.isnan(before), 1e6, after)) == pytest.approx(1, abs=0.09)
    assert np.isnan(_effect(np.full(4, np.nan), np.ones(4)))
    assert np.isnan(_effect(np.ones(4), np.ones(4)))
