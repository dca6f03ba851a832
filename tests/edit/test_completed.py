"""The hierarchy's way: gaps of any length from patches that always know something, and many answers."""

import numpy as np
import pytest
import torch

from latentscape.core.random import numpy_stream
from latentscape.edit.completed import Completed, completed_filler
from latentscape.edit.gaps import Gap
from latentscape.edit.hole import Hole
from latentscape.edit.inpaint import fillers, inpaint
from latentscape.instrument.instrument import Instrument
from latentscape.measure.reconstruction import LogSpectralDistance
from latentscape.models.hierarchy import Hierarchy, HierarchyConfig
from latentscape.nets.levels import ConvLevelsConfig
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig

RATE, PATCH = 8000, 16


@pytest.fixture(scope="module")
def run() -> Instrument:
    torch.manual_seed(1)
    sound = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
    levels = ConvLevelsConfig(widths=(16, 16), dims=1, kernel=3)
    config = HierarchyConfig(latents=(4, 2), levels=levels, conditional=True)
    units = torch.full((sound.frame_size, 1), -40.0), torch.full((sound.frame_size, 1), 20.0)
    model = Hierarchy(config, (sound.frame_size, PATCH), {}, units)
    return Instrument(model.eval(), sound, Window(length=PATCH, hop=4), name="test")


def note() -> np.ndarray:
    t = np.arange(RATE) / RATE
    tone = sum(0.2 / k * np.sin(2 * np.pi * 250 * k * t + k) for k in range(1, 6)) * np.exp(-t)
    return tone[None] + 1e-3 * numpy_stream("note", 0).normal(size=(1, len(t)))


@pytest.mark.parametrize(
    ("start", "end", "patches"),
    [(3000, 3200, 1), (3000, 5400, 10), (0, 500, 1), (0, 3000, 11), (5000, 8000, 11), (7300, 8000, 2)],
)
def test_a_gap_of_any_length_is_filled_from_patches_that_know_something(run, start, end, patches, monkeypatch):
    filler = completed_filler(run)
    assert isinstance(filler, Completed)
    asked = []

    def mean(told, known, seed, step):
        """A model that knows the mean of what it is told, 30 dB too low."""
        asked.append(known.clone())
        return told[:, known].mean(1, keepdim=True).expand_as(told) - 30

    monkeypatch.setattr(filler, "_answer", mean)
    wave = note()
    made = filler.fill(Hole(wave[:, :start], wave[:, end:], end - start, RATE))
    truth = wave[:, start:end]
    assert made.shape == truth.shape
    assert len(asked) == patches
    for known in asked:
        assert len(known) == PATCH
        assert int(known.sum()) >= PATCH // 4
    # what the model loses of either border is carried across
    distance = LogSpectralDistance(256, 64).metric(*(torch.from_numpy(one).float() for one in (truth, made)))
    assert distance < 11
    assert made.std() == pytest.approx(truth.std(), rel=0.5)


def test_answers_are_functions_of_the_seed(run):
    filler, wave = Completed(run, run.model, run.representation), note()
    hole = Hole(wave[:, :3000], wave[:, 5000:], 2000, RATE)
    plain, again, first, same, second = (filler.fill(hole, seed) for seed in (None, None, 1, 1, 2))
    assert np.array_equal(plain, again)
    assert np.array_equal(first, same)
    assert not np.allclose(first, second, atol=1e-4)
    assert not np.allclose(first, plain, atol=1e-4)


def test_it_is_chosen_where_the_run_can(run):
    ways = fillers(run)
    assert set(ways) == {"linear", "copy", "hierarchy"}
    wave = note()
    filled = inpaint(wave, RATE, [Gap(1000, 1100), Gap(3000, 5000)], ways=ways)
    assert filled.methods == ("linear", "hierarchy")
    outside = np.r_[0:1000, 1100:3000, 5000:8000]
    assert np.array_equal(filled.wave[:, outside], wave[:, outside])


def test_a_model_that_is_told_no_mask_fills_nothing(run):
    plain = Hierarchy(
        HierarchyConfig(latents=(4,), levels=ConvLevelsConfig(widths=(8,), dims=1)), run.model.event_shape
    )
    assert completed_filler(Instrument(plain.eval(), run.representation, Window(length=PATCH, hop=4))) is None
