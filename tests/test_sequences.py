"""A recurrent model of waves through the shell's rooms: trained, stopped, resumed, measured, heard."""

import pytest
import torch

from latentscape.core.errors import ConfigError, UsageError
from latentscape.core.storage import load_tensors
from latentscape.experiment.card import card
from latentscape.experiment.config import resolve
from latentscape.experiment.evaluate import evaluate
from latentscape.experiment.run import Request, train_run
from latentscape.experiment.train import run_experiment
from latentscape.instrument.loading import load, load_waves
from latentscape.models.samplernn import Recurrent
from latentscape.workshop.draw import sample
from latentscape.workshop.making import Making

SETS = (
    "train.batch_size=4", "train.threads=1", "train.precision=32", "train.validate_every=30", "train.warm_up=2",
    "model.net.width=16", "model.net.head=16", "model.condition=[midi]", "window.length=128", "window.hop=128",
    "train.minutes=null", "train.tensorboard=false", "train.averaging=0", "train.learning_rate=0.01",
    "data.consecutive=4", "data.pool_seconds=20",
)  # fmt: skip


def asked(run, *sets, **options):
    recipe = None if options.get("resume") else "samplernn"
    return Request("sines", run, recipe=recipe, sets=sets, device="cpu", **options)


@pytest.fixture(scope="module", autouse=True)
def _few():
    """Look at few windows: what is measured is not the point here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recurrent, "glance", 4000)
        patch.setattr("latentscape.experiment.waves.SAMPLES", 1 << 15)
        patch.setattr("latentscape.experiment.wave_page.SECONDS", 0.2)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, _few):
    run = tmp_path_factory.mktemp("sequences") / "run"
    return run, run_experiment(asked(run, *SETS, "train.max_steps=60", rate=8000), lambda line: None)


def test_it_learns_and_says_what_a_sample_costs(run):
    folder, summary = run
    numbers = summary.figures.numbers
    assert numbers["bits_per_sample"].value < numbers["unigram_bits"].value
    assert len(list((folder / "sounds").glob("*.wav"))) == 8
    assert "of the past is heard" in (folder / "index.html").read_text()
    assert not any(name.startswith("memory") for name in load_tensors(folder / "weights.safetensors"))
    again = evaluate(folder, device="cpu").numbers
    assert again["bits_per_sample"].value == pytest.approx(numbers["bits_per_sample"].value, rel=1e-5)
    assert "samplernn over mulaw" in card(folder).lines()[0]


def test_a_run_that_stopped_within_a_stretch_ends_with_the_same_weights(tmp_path):
    """30 is no multiple of the 4 windows of a stretch: the state they carry is in the checkpoint."""
    stopped = tmp_path / "stopped"
    constant = ("train.schedule=constant", "train.keep=last")
    train_run(asked(stopped, *SETS, *constant, "train.max_steps=30", rate=8000), lambda line: None)
    train_run(asked(stopped, "train.max_steps=34", resume=True), lambda line: None)
    at_once = tmp_path / "at-once"
    train_run(asked(at_once, *SETS, *constant, "train.max_steps=34", rate=8000), lambda line: None)
    first, second = (load_tensors(folder / "weights.safetensors") for folder in (stopped, at_once))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sounds_are_functions_of_seed_and_label(run, tmp_path):
    folder, _ = run
    waves = load_waves(folder, "cpu")
    value = waves.vocabulary["midi"][0]
    first = waves.sample(2, 0.1, labels={"midi": value}, seed=3)
    assert first.shape == (2, 1, 800)
    assert torch.equal(first[1:], waves.sample(2, 0.1, labels=[{}, {"midi": value}], seed=3)[1:])
    assert not torch.equal(first, waves.sample(2, 0.1, labels={"midi": value}, seed=4))
    begun = waves.sample(1, 0.1, prime=first[0, :, :200])
    assert torch.allclose(begun[0, :, :200], first[0, :, :200], atol=1e-6)
    assert len(sample(folder, tmp_path, Making(device="cpu"), count=2, seconds=0.1)) == 2
    with pytest.raises(UsageError, match="without a latent space"):
        load(folder, "cpu")


def test_windows_are_consecutive_only_for_what_carries_a_state(tmp_path):
    request = Request(
        "sines", tmp_path / "run", recipe="wavenet", sets=("data.consecutive=4",), device="cpu", rate=8000
    )
    with pytest.raises(ConfigError, match=r"data\.consecutive: got 4, but model wavenet carries nothing"):
        run_experiment(request, lambda line: None)
    assert not request.run.exists()


@pytest.mark.parametrize(("name", "frames", "past"), [("lstm", (1,), 1), ("frame-rnn", (16,), 0)])
def test_the_others_are_rows_of_one_table(name, frames, past):
    config = resolve(name, [])
    assert (config.model.kind, config.model.net.frames, config.model.net.past) == ("samplernn", frames, past)
    assert config.window.length * config.data.consecutive == 8192
