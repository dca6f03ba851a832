"""What is heard goes with its window: every step belongs to the samples that it stands beside, drawn or in order."""

import numpy as np
import pytest
import soundfile
import torch

from latentscape.core.errors import ConfigError
from latentscape.data.corpus import SourceOptions
from latentscape.data.examples import DataConfig
from latentscape.data.hearing import Hearing
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import undivided
from latentscape.registry import Window
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE, HOP, LENGTH = 8000, 100, 1000


class FirstSample(Hearing):
    """Hears the first sample of every step, and where in its file it lies, s."""

    hop, channels = HOP, 2

    def listen(self, wave, place=None):
        assert place.path.endswith(".wav")
        first = wave[:, ::HOP]
        times = place.start + torch.arange(first.shape[1]) * (HOP / RATE * place.speed)
        return torch.cat([first, times[None]])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Sample i of every sound is (i + 1) / 100,000."""
    folder = tmp_path_factory.mktemp("heard")
    for name, length in {"short": 330, "long": 40_000, "whole": 1000}.items():
        ramp = (np.arange(length) + 1) / 1e5
        soundfile.write(folder / f"{name}.wav", ramp, RATE, subtype="FLOAT")
    return open_source(str(folder), SourceOptions())


def examples(corpus, window=Window(length=LENGTH, hop=300), **config):
    representation = Waveform(WaveformConfig(sample_rate=RATE))
    settings = DataConfig(**config)
    return SoundExamples(corpus, undivided(corpus), representation, window, settings, seed=0, hearing=FirstSample())


@pytest.mark.parametrize("config", [{}, {"segment_seconds": 1.0, "pool_seconds": 1.0, "steps_per_slab": 1}])
def test_every_step_stands_beside_its_samples(corpus, config):
    with examples(corpus, **config) as own:
        batches = [own.batch(step, 32) for step in range(3)]
        for x, context in (*batches, *own.held("train", 7), *own.held("test", 64, 9)):
            series = context["series"]
            assert series.shape == (len(x), 2, LENGTH // HOP)
            assert torch.equal(series[:, 0], x[:, 0, ::HOP])
            sound = series[:, 0] > 0
            times = (series[:, 0] * 1e5 - 1) / RATE
            assert torch.allclose(series[:, 1][sound], times[sound], atol=1e-4)
        begins = {round(float(value), 6) for x, _ in batches for value in x[:, 0, 0]}
        assert len(begins) > 20


def test_a_sound_that_is_shifted_in_pitch_is_heard_at_its_own_speed(corpus):
    with examples(corpus, augment={"pitch": (12, 12)}) as own:
        x, context = own.batch(0, 32)
        series = context["series"]
        inside = x[:, 0].min(1).values > 0.01
        assert inside.any()
        assert torch.equal(series[:, 0], x[:, 0, ::HOP])
        gaps = series[:, 1].diff(dim=1)
        assert torch.allclose(gaps, torch.tensor(2 * HOP / RATE), atol=1e-4)
        times = (series[inside, 0] * 1e5 - 1) / RATE
        assert torch.allclose(series[inside, 1], times, atol=2e-3)


def test_windows_between_steps_are_refused(corpus):
    with pytest.raises(ConfigError, match=r"window\.hop: got 250 .* expected a multiple of 100 samples"):
        examples(corpus, Window(length=LENGTH, hop=250))
