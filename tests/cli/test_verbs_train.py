"""Training through the shell: what a run folder holds, and what happens to one that is there already."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from typed import TINY, shell

from latentscape.core.errors import StorageError
from latentscape.experiment import finish
from latentscape.experiment.joined import join, open_run
from latentscape.experiment.run import Request, train_run, training
from latentscape.experiment.train import offers_of


@pytest.fixture
def unfinished(monkeypatch):
    """Runs are trained only: to measure and to show them takes longer, and tests of other things look at that."""
    monkeypatch.setattr("latentscape.experiment.finish.finish", lambda *given: (None, None))


def trained(folder, run, sets) -> None:
    """Train by the recipe frames, as the shell does, and stop there."""
    request = Request(str(folder), run, recipe="frames", sets=tuple(sets[1::2]))
    assert train_run(request, lambda line: None).reason == "finished"


def test_a_run_folder_holds_all_that_is_promised(run):
    for name in ("run.json", "config.json", "weights.safetensors", "labels.json", "split.json", "metrics.jsonl",
                 "verdict.json", "map.json", "map.safetensors", "index.html", "checkpoint", "sounds/walk-circle.wav",
                 "pictures/learning-curves.png"):  # fmt: skip
        assert (run / name).exists(), name
    facts = json.loads((run / "run.json").read_text())
    assert facts["outcome"] == "finished"
    assert facts["steps"] == 40
    assert facts["format"] == 1
    assert facts["packages"]["torch"]
    assert not [p for p in run.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".ckpt")]


def test_train_on_an_existing_run_needs_a_word(run, folder, tmp_path, capsys):
    assert shell("train", folder, "--run", run, *TINY) == 2
    assert "--resume" in capsys.readouterr().err
    other = tmp_path / "holiday photos"
    other.mkdir()
    (other / "x.jpg").touch()
    assert shell("train", folder, "--run", other, "--overwrite", *TINY) == 2
    assert "is not a run" in capsys.readouterr().err
    assert (other / "x.jpg").exists()


def test_overwrite_keeps_the_old_run_beside(folder, tmp_path, unfinished):
    path = tmp_path / "r"
    few = [*TINY, "--set", "train.max_steps=4"]
    for _ in range(3):
        assert shell("train", folder, "--run", path, "--overwrite", *few) == 0
    assert (tmp_path / "r.old" / "weights.safetensors").exists()
    assert (tmp_path / "r.old2" / "weights.safetensors").exists()


def test_a_run_that_one_stands_in_is_not_put_aside(folder, tmp_path, capsys, monkeypatch):
    """The old one would take the working folder along, and "." would still be it."""
    kept = tmp_path / "r"
    trained(folder, kept, TINY)
    before = sorted(path.stat().st_mtime_ns for path in kept.rglob("*"))
    (kept / "sub").mkdir()
    for place, name in ((kept, "."), (kept / "sub", ".."), (kept, kept)):
        monkeypatch.chdir(place)
        assert shell("train", folder, "--recipe", "frames", "--run", name, "--overwrite", *TINY) == 2
        assert "is the folder that you are in" in capsys.readouterr().err
    (kept / "sub").rmdir()
    assert sorted(path.stat().st_mtime_ns for path in kept.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_source_that_changes_in_training_costs_no_run(folder, tmp_path, monkeypatch):
    root = tmp_path / "changing"
    shutil.copytree(folder / "dull", root)

    def reached(run, device):
        raise InterruptedError("what was trained on is there")

    few = tuple([*TINY, "--set", "train.max_steps=4"][1::2])
    with training(Request(str(root), tmp_path / "r", recipe="frames", sets=few), print) as (outcome, prepared):
        (root / "00.wav").unlink()
        with pytest.raises(StorageError, match="has changed since"):
            open_run(tmp_path / "r")
        monkeypatch.setattr(finish, "load_waves", reached)
        with pytest.raises(InterruptedError):
            finish.finish(tmp_path / "r", outcome, prepared, print)


def test_a_recipe_may_be_a_file_of_ones_own(folder, tmp_path, capsys, unfinished):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "representation: {kind: log_stft, window: 64, hop: 16}\n"
        "model: {kind: autoencoder, latent: 3, encoder: {kind: mlp, widths: [8]}, decoder: {kind: mlp, widths: [8]}}\n"
        "train: {minutes: 5, batch_size: 16}\n"
    )
    path = tmp_path / "r"
    few = ["--set", "train.max_steps=4", "--set", "train.threads=1"]
    assert shell("train", folder, "--run", path, "--recipe", recipe, *few) == 0
    config = json.loads((path / "config.json").read_text())
    assert config["model"]["latent"] == 3
    assert config["train"]["minutes"] is None  # who asks for steps alone does not want the recipe's minutes
    assert json.loads((path / "run.json").read_text())["recipe"] == str(recipe)
    assert shell("recipes", recipe) == 0
    assert "log_stft" in capsys.readouterr().out
    assert shell("train", folder, "--run", path, "--resume", "--seed", 3) == 2
    assert "--seed was 0, got 3" in capsys.readouterr().err
    recipe.write_text("model: {kind: autoencoder, latnt: 3}\n")
    assert shell("train", folder, "--run", tmp_path / "n", "--recipe", recipe) == 2
    assert "did you mean 'latent'" in capsys.readouterr().err
    for text, message in (("model: {latent", "is not YAML"), ("- 3", "expected settings")):
        recipe.write_text(text)
        assert shell("train", folder, "--run", tmp_path / "n", "--recipe", recipe) == 2
        assert message in capsys.readouterr().err
    assert shell("train", folder, "--run", tmp_path / "n", "--recipe", tmp_path / "absent.yaml") == 2
    assert "can't be read" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_what_set_says_wins_over_the_options(folder, tmp_path, unfinished):
    few = [*TINY, "--set", "train.max_steps=2", "--set", "train.seed=7", "--set", "source.sample_rate=4000"]
    assert shell("train", folder, "--run", tmp_path / "r", *few) == 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert (config["train"]["seed"], config["representation"]["sample_rate"]) == (7, 4000)
    assert shell("train", folder, "--run", tmp_path / "r", "--resume") == 0


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A finished run of images, in the folder that it was made from, and named as its data set."""
    home = tmp_path_factory.mktemp("images")
    small = ["--set", "model.encoder.widths=[16]", "--set", "model.decoder.widths=[16]", "--set", "model.latent=4",
             "--set", "train.minutes=null", "--set", "train.max_steps=20", "--set", "train.threads=1"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert shell("train", "digits", "--run", "digits", *small) == 0
    return home / "digits"


def test_a_run_named_as_its_data_set_is_not_taken_for_it(digits):
    assert json.loads((digits / "run.json").read_text())["source"] == "digits"
    assert (digits / "index.html").exists()


@pytest.mark.parametrize(("kind", "verbs"), [("run", ["play", "walk"]), ("digits", ["sample"])])
def test_what_is_offered_next_can_be_typed(kind, verbs, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = request.getfixturevalue(kind)
    prepared = join(open_run(path))
    prepared.examples.close()
    offers = [shlex.split(command)[1:] for command in offers_of(path, prepared)]
    assert [verb for verb, *_ in offers] == verbs
    for offer in offers:
        assert shell(*offer, *{"play": ["--help"], "walk": ["--seconds", "0.2"]}.get(offer[0], [])) == 0


@pytest.mark.parametrize("source", ["sounds", "digits"])
def test_tensorboard_gets_curves_sound_and_picture(folder, tmp_path, source, unfinished):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = tmp_path / "board"
    more = ["--set", "train.tensorboard=true", "--set", "train.validate_every=2", "--set", "train.max_steps=10"]
    assert shell("train", folder if source == "sounds" else "digits", "--run", path, *TINY, *more) == 0
    events = EventAccumulator(str(path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "valid/loss"} <= set(tags["scalars"])
    assert tags["images"] == ["reconstruction"]
    assert tags["audio"] == (["reconstruction"] if source == "sounds" else [])


def test_images_train_and_show(digits, tmp_path, capsys):
    assert (digits / "pictures" / "samples.png").exists()
    assert shell("sample", digits, "--count", 5, "--out", tmp_path / "s") == 0
    assert (tmp_path / "s" / "samples.png").read_bytes()[:4] == b"\x89PNG"
    for option, value in (("vocoder", digits), ("peak", -3)):
        assert shell("sample", digits, "--count", 5, "--out", tmp_path / "t", f"--{option}", value) == 2
        assert f"makes images, not sound; leave --{option} out" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
    assert shell("walk", digits, "--out", tmp_path / "w.wav") == 2
    assert "makes images" in capsys.readouterr().err


def test_json_says_what_the_lines_say(folder, tmp_path, capsys, unfinished):
    path = tmp_path / "my run"
    assert shell("train", folder, "--run", path, "--json", *TINY, "--set", "train.max_steps=4") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["message"] == "All 4 steps are done."
    assert [shlex.split(command)[1:3] for command in told["next"]] == [["play", str(path)], ["walk", str(path)]]
    assert told["page"] is None  # nothing was measured and shown


def test_two_processes_train_one_run(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    few = [*TINY, "--set", "train.max_steps=6", "--set", "train.log_every=2"]
    assert shell("train", folder, "--run", tmp_path / "two", *few, "--recipe", "frames", "--devices", 2) == 0
    trained(folder, tmp_path / "one", few)
    losses = []
    for name in ("two", "one"):
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows if row["part"] == "train"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (tmp_path / "two" / "index.html").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_resumes_to_the_same_weights(folder, tmp_path, unfinished):
    """Killed at some moment after its first checkpoint and resumed, a run ends with the weights of one never killed."""
    steps = ["--set", "train.max_steps=400", "--set", "train.checkpoint_every=20"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained(folder, whole, [*TINY, *steps])
    command = [sys.executable, "-m", "latentscape", "train", str(folder), "--run", str(killed), "--recipe", "frames"]
    command += [*TINY, *steps]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = killed / "checkpoint" / "state.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert shell("train", folder, "--run", killed, "--resume") == 0
    assert (killed / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def test_a_refused_change_on_resume_leaves_the_run_as_it_was(run, folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    before = (copy / "config.json").read_bytes()
    assert shell("train", folder, "--run", copy, "--resume", "--set", "train.batch_size=8") == 2
    assert "train.batch_size" in capsys.readouterr().err
    assert (copy / "config.json").read_bytes() == before


def test_ctrl_c_in_training_keeps_a_checkpoint_and_exits_with_130(folder, tmp_path, capsys, monkeypatch):
    from latentscape.train.learner import Learner

    update = Learner.update

    def pressed(self, step, *given):
        if step == 3:
            signal.raise_signal(signal.SIGINT)
        return update(self, step, *given)

    monkeypatch.setattr(Learner, "update", pressed)
    assert shell("train", folder, "--run", tmp_path / "r", *TINY) == 130
    caught = capsys.readouterr()
    assert "--resume goes on" in caught.out
    assert caught.err.endswith("latentscape: interrupted\n")
    assert (tmp_path / "r" / "checkpoint" / "state.safetensors").exists()
