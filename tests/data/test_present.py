"""What counts of a window: no padding, no lead-in but at a clip's begin; held-out samples are counted once."""

import numpy as np
import pytest
import soundfile
import torch

from latentscape.core.errors import ConfigError
from latentscape.data.corpus import SourceOptions
from latentscape.data.examples import DataConfig
from latentscape.data.present import counted
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus, undivided
from latentscape.registry import Window
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE = 8000
LENGTHS = {"short": 300, "long": 2000, "whole": 1000}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("present")
    for name, length in LENGTHS.items():
        soundfile.write(folder / f"{name}.wav", np.full(length, 0.5), RATE)  # sound is 0.5 throughout, padding is 0
    return open_source(str(folder), SourceOptions())


def examples(corpus, lead_in=0, hop=1000, present=True, **config):
    representation = Waveform(WaveformConfig(sample_rate=RATE))
    data = DataConfig(lead_in=lead_in, **config)
    return SoundExamples(
        corpus, undivided(corpus), representation, Window(length=1000, hop=hop), data, seed=0, present=present
    )


def test_padding_does_not_count_and_all_sound_does(corpus):
    with examples(corpus) as own:
        for x, context in (own.batch(0, 64), *own.held("train", 2)):
            assert torch.equal(context["present"] > 0, x[:, 0] > 0.25)
            assert context["present"].shape == (len(x), 1000)
        sizes = own.batch(0, 400)[1]["present"].sum(1)
        assert 30 < int((sizes == 300).sum()) < 75, "a short clip is to be drawn as often as its sound is long"


def test_a_lead_in_does_not_count_but_at_a_clips_begin(corpus):
    with examples(corpus, lead_in=100, hop=900) as own:
        x, context = own.batch(0, 200)
        present = context["present"]
        for row in range(len(x)):
            first = int(present[row].nonzero()[0])
            assert first in (0, 100), "counting begins at the clip's begin or after the lead-in"
            assert torch.equal(present[row, first:] > 0, x[row, 0, first:] > 0.25)
        assert {int(row.nonzero()[0]) for row in present} == {0, 100}
        counts = sorted(float(row.sum()) for _, told in own.held("test", 2) for row in told["present"])
        assert counts == [300.0, 900.0, 1000.0, 1000.0]  # 2000 = 1000 + 900 and a rest that fills no window


def test_segments_of_a_clip_do_not_begin_it(corpus):
    """Of a clip that is cut for the pool, the first segment alone counts from its first sample."""
    with examples(corpus, lead_in=100, segment_seconds=0.125, pool_seconds=0.5) as own:
        slab = own._slab(0)
        assert not bool(slab.begins.all()) or len(set(slab.rows.tolist())) == len(slab.rows)


def test_a_block_of_a_recording_does_not_begin_it(tmp_path):
    """A recording that is cut into blocks begins once: in the training part as in the others."""
    soundfile.write(tmp_path / "one.wav", np.full(20_000, 0.5), RATE)
    corpus = open_source(str(tmp_path), SourceOptions())
    split = split_corpus(corpus, gap=100)
    assert split.group == "block"
    representation, data = Waveform(WaveformConfig(sample_rate=RATE)), DataConfig(lead_in=100)
    with SoundExamples(corpus, split, representation, Window(length=300, hop=200), data, seed=0, present=True) as own:
        slab, starts = own._slab(0), split.parts["train"].starts.tolist()
        assert len(starts) > 1
        assert int(slab.begins.sum()) == (0 in starts)


def test_a_window_counts_one_sample_at_least():
    found = counted(torch.tensor([0, 5]), torch.tensor([3, 7]), torch.tensor([False, False]), 8, 4)
    assert found.tolist() == [[0, 0, 1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]


def test_nothing_is_told_unless_asked_and_nonsense_is_refused(corpus):
    with examples(corpus, present=False) as own:
        assert own.batch(0, 4)[1] == {}
    with pytest.raises(ConfigError, match=r"less than window\.length"):
        examples(corpus, lead_in=1000)
