"""One long recording, as an album is: its map, its page and its verbs are of all of it, not of its beginning."""

import numpy as np
import pytest
import soundfile

from latentscape.cli import main
from latentscape.core.errors import UsageError
from latentscape.experiment.train import make_run
from latentscape.instrument.loading import load
from latentscape.play.sounds import Sounds
from latentscape.play.stage import Stage
from latentscape.signal import audio
from latentscape.workshop.making import sound_of

RATE, SECONDS = 4000, 100


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A tone that rises by a semitone every three seconds."""
    folder = tmp_path_factory.mktemp("album")
    frequency = 110 * 2 ** (np.floor(np.arange(RATE * SECONDS) / RATE / 3) / 12)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    soundfile.write(folder / "album.wav", 0.3 * np.sin(phase) + 0.1 * np.sin(3 * phase), RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def run(album, tmp_path_factory):
    run = tmp_path_factory.mktemp("long") / "run"
    sets = ("train.max_steps=8", "train.minutes=null", "train.threads=1", "train.tensorboard=false")
    small = ("model.encoder.widths=[8]", "model.decoder.widths=[8]", "model.latent=2", "representation.window=256")
    make_run(
        str(album), run, lambda line: None, recipe="frames", sets=(*sets, *small, "representation.hop=64"), device="cpu"
    )
    return run


def test_the_map_is_of_all_of_it(run):
    chart = load(run, "cpu").chart
    assert len(chart.names) >= 16
    assert len(set(chart.names)) == len(chart.names)
    assert any(chart.test)
    begins = np.array([int(name.rpartition("@")[2] or 0) for name in chart.names]) / RATE
    assert np.ptp(begins) > 0.8 * SECONDS
    assert len(list((run / "sounds").glob("reconstruction-*.wav"))) >= 2
    assert (run / "sounds" / "morph.wav").exists()


def test_its_stretches_are_sounds_to_the_verbs(run, album, tmp_path):
    instrument = load(run, "cpu")
    *_, late = sorted(instrument.chart.names, key=lambda name: int(name.rpartition("@")[2] or 0))
    start = int(late.rpartition("@")[2])
    name, wave = sound_of(run, late, instrument.representation)
    whole, _ = audio.read(album / "album.wav")
    assert name == late
    np.testing.assert_allclose(wave.numpy(), whole[:, start : start + 4 * RATE], atol=1e-6)
    with pytest.raises(UsageError, match="neither a file nor a clip"):
        sound_of(run, f"album@{RATE * SECONDS}", instrument.representation)
    with pytest.raises(SystemExit, match="0"):
        main(["morph", str(run), late, "album", "--out", str(tmp_path / "morph.wav"), "--seconds", "1"])
    assert audio.read(tmp_path / "morph.wav")[0].shape[1] == RATE


def test_its_stretches_are_heard_as_they_are_in_the_browser(run, album):
    instrument = load(run, "cpu")
    sounds = Sounds(Stage(instrument), run)
    sounds.wait(20)
    assert all(sounds.from_corpus(dot) for dot in range(len(instrument.chart.names)))
    own = sounds._own(3)
    start = int(sounds._name(3).rpartition("@")[2] or 0)
    whole, _ = audio.read(album / "album.wav")
    np.testing.assert_allclose(own, whole[:, start : start + own.shape[1]], atol=1e-6)
