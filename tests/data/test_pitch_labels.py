"""A pitch augmentation keeps the label true: what is heard in a batch is what its label says."""

import numpy as np
import pytest
import torch
from soundfiles import RATE, put

from latentscape.data.augment import AugmentConfig
from latentscape.data.examples import DataConfig
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.registry import Window
from latentscape.signal.waveform import Waveform, WaveformConfig

LENGTH = 2048


@pytest.fixture
def corpus(tmp_path):
    """Two players' sines at 20 pitches, told as numbers, names and hertz."""
    rows = ["path,player,midi,note,f0_hz,dynamics"]
    time = np.arange(round(0.6 * RATE)) / RATE
    for player in "ab":
        for midi in range(60, 80):
            hertz = 440 * 2 ** ((midi - 69) / 12)
            name = f"{player}{midi}.wav"
            put(tmp_path / name, 0.5 * np.sin(2 * np.pi * hertz * time + ord(player))[None].astype("float32"))
            rows.append(f"{name},{player},{midi},n{midi},{hertz:.2f},{'p' if player == 'a' else 'f'}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    return open_source(str(tmp_path))


def heard(waves):
    """Return the pitch of sines ``[b, 1, n]`` as midi numbers, from the peak of a long spectrum."""
    spectrum = torch.fft.rfft(waves[:, 0] * torch.hann_window(LENGTH), n=16 * LENGTH).abs()
    return 69 + 12 * torch.log2(spectrum.argmax(1) * RATE / (16 * LENGTH) / 440)


@pytest.mark.parametrize("steps", [(-2.0, -1.0, 1.0, 2.0), (-0.5, 0.5), (5.0,)])
def test_what_is_heard_is_what_the_label_says(corpus, steps):
    config = DataConfig(augment=AugmentConfig(pitch_steps=steps, share=0.7), pool_seconds=20)
    told = ("midi", "note", "f0_hz", "dynamics")
    with SoundExamples(
        corpus,
        split_corpus(corpus),
        Waveform(WaveformConfig(sample_rate=RATE)),
        Window(length=LENGTH),
        config,
        seed=0,
        conditions=told,
    ) as made:
        x, labels = made.batch(0, 256)
        values = [float(value) for value in made.vocabulary["midi"]]
    pitch, known = heard(x), labels["midi"] >= 0
    named = torch.tensor(values)[labels["midi"]]
    assert float((pitch - named)[known].abs().max()) < 0.1
    whole = (pitch - pitch.round()).abs() < 0.1
    inside = torch.tensor([any(abs(value - p) < 0.1 for value in values) for p in pitch.tolist()])
    assert torch.equal(known, whole & inside)  # unknown only where no value of the training part says it
    assert int(known.sum()) > 40
    assert int((~known).sum()) > 0
    # names and hertz are not counted on: a shifted sound has none
    untouched = labels["note"] >= 0
    notes = torch.tensor([float(name[1:]) for name in made.vocabulary["note"]])[labels["note"]]
    assert float((pitch - notes)[untouched].abs().max()) < 0.1
    assert torch.equal(untouched, labels["f0_hz"] >= 0)
    assert 0.15 < float(untouched.float().mean()) < 0.5
    assert bool((labels["dynamics"] >= 0).all())
