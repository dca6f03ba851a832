"""A WaveNet through the shell's rooms: trained, measured, heard; what needs a latent space says so."""

import json
from types import SimpleNamespace

import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.dist.logistic import LogisticMixtureConfig
from latentscape.experiment.card import card
from latentscape.experiment.evaluate import evaluate
from latentscape.experiment.run import Request
from latentscape.experiment.train import run_experiment
from latentscape.experiment.waves import measure_waves
from latentscape.instrument.loading import load, load_waves
from latentscape.instrument.stream import softened
from latentscape.measure.waves import unigram
from latentscape.models.autoregressive import PRESENT, Autoregressive, AutoregressiveConfig
from latentscape.nets.wavenet_sampler import Manner
from latentscape.signal import audio
from latentscape.workshop.draw import Drawing, sample
from latentscape.workshop.making import Making

SETS = (
    "train.max_steps=80", "train.batch_size=4", "train.threads=1", "train.validate_every=40", "train.warm_up=2",
    "model.net.dilations=[1, 2, 4]", "model.net.residual=8", "model.net.skip=16", "model.condition=[midi]",
    "window.length=512", "window.hop=512", "train.tensorboard=false", "train.averaging=0",
    "train.learning_rate=0.01", "data.lead_in=0",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _few():
    """Look at few windows and hear short sounds: what is measured is not the point here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autoregressive, "glance", 20_000)
        patch.setattr("latentscape.experiment.waves.SAMPLES", 1 << 15)
        patch.setattr("latentscape.experiment.wave_page.SECONDS", 0.2)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, _few):
    run = tmp_path_factory.mktemp("waves") / "run"
    request = Request("sines", run, recipe="wavenet", sets=SETS, device="cpu", rate=8000)
    return run, run_experiment(request, lambda line: None)


def test_it_learns_and_says_what_a_sample_costs(run):
    folder, summary = run
    numbers = summary.figures.numbers
    assert numbers["bits_per_sample"].value < numbers["unigram_bits"].value
    assert numbers["distortion"].value == pytest.approx(numbers["bits_per_sample"].value * 512 * 0.6931, rel=1e-3)
    assert (folder / "index.html").exists()
    assert len(list((folder / "sounds").glob("*.wav"))) == 8
    again = evaluate(folder, device="cpu").numbers
    assert again["bits_per_sample"].value == pytest.approx(numbers["bits_per_sample"].value, rel=1e-5)
    assert "wavenet over mulaw" in card(folder).lines()[0]


def test_levels_of_real_waves_are_counted_as_codes():
    """A mixture of logistics holds the levels of a wave in its own units, here 17 from -1 to 1."""
    law = LogisticMixtureConfig(components=2, levels=17, low=-1.0, high=1.0)
    model = Autoregressive(AutoregressiveConfig(net={"residual": 8, "skip": 8}, likelihood=law), (1, 50))
    codes = torch.randint(17, (4, 1, 50))
    waves = SimpleNamespace(model=model, device=torch.device("cpu"))

    def held(*_):
        yield codes / 8 - 1, {PRESENT: torch.ones(4, 50)}

    part = SimpleNamespace(held=held, event_shape=(1, 50))
    numbers = measure_waves(waves, part, "test", part)
    assert numbers["unigram_bits"] == unigram([codes], [codes], 17)["unigram_bits"]


def test_sounds_are_functions_of_seed_and_label(run, tmp_path):
    waves = load_waves(run[0], "cpu")
    value = waves.vocabulary["midi"][0]
    first = waves.sample(2, 0.1, labels={"midi": value}, seed=3)
    assert first.shape == (2, 1, 800)
    assert torch.equal(first[1:], waves.sample(2, 0.1, labels=[{}, {"midi": value}], seed=3)[1:])
    assert not torch.equal(first, waves.sample(2, 0.1, labels={"midi": value}, seed=4))
    assert not torch.equal(first, waves.sample(2, 0.1, labels={"midi": value}, seed=3, manner=Manner(strength=3.0)))
    lines = sample(run[0], tmp_path, Making(device="cpu", labels={"midi": value}), count=2, seconds=0.1, seed=3)
    assert len(lines) == 2
    wave, rate = audio.read(tmp_path / "sample001.wav")
    assert rate == 8000
    soft = softened(first[1], 8000)
    scale = 10 ** (-1 / 20) / max(10 ** (-1 / 20), float(soft.abs().max()))
    assert torch.allclose(torch.from_numpy(wave), scale * soft, atol=1e-5)
    begun = waves.sample(1, 0.1, prime=first[0, :, :200])
    assert torch.allclose(begun[0, :, :200], first[0, :, :200], atol=1e-6)


def test_a_file_of_drawn_sound_has_quiet_borders_but_begins_as_its_recording(run, tmp_path):
    making = Making(device="cpu", overwrite=True)
    sample(run[0], tmp_path, making, count=1, seconds=0.1)
    wave, _ = audio.read(tmp_path / "sample000.wav")
    assert wave[0, 0] == wave[0, -1] == 0
    recording = torch.full((1, 200), 0.25)
    audio.write(tmp_path / "begin.wav", recording.numpy(), 8000)
    sample(run[0], tmp_path, making, count=1, seconds=0.1, drawing=Drawing(prime=tmp_path / "begin.wav"))
    wave, _ = audio.read(tmp_path / "sample000.wav")
    assert wave[0, 0] == wave[0, 199] > 0.2
    assert wave[0, -1] == 0


def test_what_can_not_be_done_is_refused(run):
    folder, _ = run
    waves = load_waves(folder, "cpu")
    waves.model.config = waves.model.config.model_copy(update={"condition_dropout": 0.0})
    with pytest.raises(UsageError, match=r"never met; train it with --set model\.condition_dropout"):
        waves.sample(1, 0.1, manner=Manner(strength=2.0))
    with pytest.raises(UsageError, match="without a latent space"):
        load(folder, "cpu")
    with pytest.raises(UsageError, match="label 'speaker' is not known"):
        waves.sample(labels={"speaker": "1"})
    with pytest.raises(UsageError, match="labels of 1 sounds, expected 2"):
        waves.sample(2, labels=[{}])
    with pytest.raises(UsageError, match="has 800 samples"):
        waves.sample(1, 0.1, prime=torch.zeros(1, 800))
    with pytest.raises(UsageError, match="--samples is of models with latents"):
        evaluate(folder, samples=5, device="cpu")
    with pytest.raises(UsageError, match="0 sounds"):
        waves.sample(0)


def test_the_run_says_what_it_is(run):
    config = json.loads((run[0] / "config.json").read_text())
    assert config["model"]["kind"] == "wavenet"
    assert config["model"]["condition"] == ["midi"]
