"""Whole runs: how they end, what they leave, and that a killed one goes on as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from toy import CALM, batches, toy, train, validate

from latentscape.core.errors import ConfigError, StorageError, UsageError
from latentscape.core.storage import load_tensors
from latentscape.train.config import TrainConfig
from latentscape.train.journal import read_rows
from latentscape.train.loop import fit

LONG = {"max_steps": 120, "averaging": 0.95, "checkpoint_every": 7, "warm_up": 10, "clip_norm": 20.0}


def rows(run):
    """The rows without the clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(run / "metrics.jsonl")]


def weights(run):
    return load_tensors(run / "weights.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    return run, train(run, **LONG)


def test_a_run_learns_and_leaves_its_files(whole):
    run, outcome = whole
    assert (outcome.reason, outcome.step) == ("finished", 120)
    valid = [row["loss"] for row in outcome.history if row["part"] == "valid"]
    assert len(valid) == 12
    assert valid[-1] < valid[0] - 1
    assert outcome.best_step == 10 * (valid.index(min(valid)) + 1)
    assert [row["step"] for row in outcome.history if row["part"] == "train"] == list(range(5, 121, 5))
    assert (run / "checkpoint" / "state.safetensors").exists()
    assert not list(run.rglob("*.pt"))
    assert outcome.settled.threads == 1


def test_a_train_row_is_the_mean_since_the_row_before(tmp_path, whole):
    single = [row for row in train(tmp_path, **LONG | {"log_every": 1}).history if row["part"] == "train"]
    fives = [row for row in whole[1].history if row["part"] == "train"]
    for i, row in enumerate(fives):
        for name in ("loss", "rate", "distortion"):
            assert row[name] == pytest.approx(sum(r[name] for r in single[5 * i : 5 * i + 5]) / 5, rel=1e-5)
    assert fives[0]["loss"] == pytest.approx(fives[0]["rate"] + fives[0]["distortion"], rel=1e-5)


def test_the_model_ends_with_the_stored_weights(tmp_path):
    step = toy()
    train(tmp_path, step=step, averaging=0.9)
    assert equal(dict(step.model.state_dict()), weights(tmp_path))
    assert not step.training


def test_best_or_last_weights_are_kept(tmp_path):
    values = iter([5.0, 3.0, 4.0, 9.0])
    seen = []

    def scored(model):
        seen.append({name: t.clone() for name, t in model.state_dict().items()})
        return {"loss": next(values)}

    config = TrainConfig(**CALM | {"max_steps": 40, "batch_size": 16, "validate_every": 10, "averaging": 0.9})
    outcome = fit(toy(), batches(), scored, config, tmp_path / "best", progress=False)
    assert outcome.best_step == 20
    assert equal(seen[1], weights(tmp_path / "best"))
    values = iter([5.0, 3.0, 4.0, 9.0])
    fit(toy(), batches(), scored, config.model_copy(update={"keep": "last"}), tmp_path / "last", progress=False)
    assert equal(seen[-1], weights(tmp_path / "last"))
    assert not equal(seen[1], weights(tmp_path / "last"))


def test_patience_ends_a_run_that_no_longer_improves(tmp_path):
    values = iter([5.0, 4.0, float("nan"), 4.5, 1.0])
    config = TrainConfig(**CALM | {"max_steps": 90, "batch_size": 16, "validate_every": 10, "patience": 2})
    outcome = fit(toy(), batches(), lambda model: {"loss": next(values)}, config, tmp_path, progress=False)
    assert (outcome.reason, outcome.step, outcome.best_step) == ("patience", 40, 20)
    assert "has not improved for 2 validations" in outcome.message
    again = fit(toy(), batches(), validate, config, tmp_path, progress=False, resume=True)
    assert (again.reason, again.step) == ("patience", 40)


def test_a_diverged_run_says_where_and_what_to_try(tmp_path):
    outcome = train(tmp_path, step=toy(poison=23), precision="bf16")
    assert (outcome.reason, outcome.step, outcome.best_step) == ("diverged", 23, 20)
    assert "not finite at step 24" in outcome.message
    for advice in ("train.learning_rate=0.0003", "train.clip_norm=usual", "train.warm_up=500", "train.precision=32"):
        assert advice in outcome.message
    assert all(row["loss"] is not None and row["step"] <= 20 for row in outcome.history)


def test_a_diverged_run_ends_at_the_weights_before_the_bad_step(tmp_path):
    options = {"schedule": "constant", "keep": "last", "validate_every": 1000}
    train(tmp_path / "bad", step=toy(poison=23), **options)
    train(tmp_path / "good", max_steps=23, **options)
    assert equal(weights(tmp_path / "bad"), weights(tmp_path / "good"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_resumes_exactly(tmp_path, whole, number):
    def interrupt(moment):
        if moment.step == 50:
            os.kill(os.getpid(), number)

    first = train(tmp_path, callbacks=(interrupt,), **LONG)
    assert (first.reason, first.step) == ("interrupted", 51)
    assert "--resume" in first.message
    second = train(tmp_path, resume=True, **LONG)
    assert second.reason == "finished"
    assert equal(weights(tmp_path), weights(whole[0]))
    assert rows(tmp_path) == rows(whole[0])
    assert second.seconds > first.seconds


def test_a_second_ctrl_c_aborts(tmp_path):
    def twice(moment):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, callbacks=(twice,))
    assert signal.getsignal(signal.SIGINT) is before


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch, toy
torch.set_num_threads(1)
run, mode, options = sys.argv[2], sys.argv[3], eval(sys.argv[4])
calm = toy.batches
def slow(size=16, rank=0, world=1):
    inner = calm(size, rank, world)
    def batch(step):
        if mode == "early" and step == 3:
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return inner(step)
    return batch
toy.batches = slow
from pathlib import Path
toy.train(Path(run), **options)
"""


def child(run, mode, options):
    return subprocess.Popen([sys.executable, "-c", CHILD, str(Path(__file__).parent), str(run), mode, repr(options)])


def test_a_killed_run_ends_with_the_same_weights_to_the_bit(tmp_path, whole):
    early = child(tmp_path / "early", "early", LONG)
    late = child(tmp_path / "late", "late", LONG)
    until = random.randrange(2, 20)  # rows, so a random step
    metrics = tmp_path / "late" / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and late.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= until:
            break
        time.sleep(random.random() / 50)
    late.kill()
    assert late.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert early.wait() == -signal.SIGKILL
    assert not (tmp_path / "early" / "checkpoint" / "state.safetensors").exists()
    for name in ("early", "late"):
        outcome = train(tmp_path / name, resume=True, **LONG)
        assert outcome.reason == "finished"
        assert equal(weights(tmp_path / name), weights(whole[0])), (name, until)
        assert rows(tmp_path / name) == rows(whole[0]), (name, until)


def test_resuming_obeys_the_record_and_refuses_another_run(tmp_path):
    first = train(tmp_path, max_steps=20, threads="auto", precision="auto")
    with pytest.raises(ConfigError, match=r"train\.averaging"):
        train(tmp_path, resume=True, threads="auto", precision="auto", max_steps=20, averaging=0.5)
    second = train(tmp_path, resume=True, threads="auto", precision="auto", max_steps=30)
    assert (second.step, second.settled.threads) == (30, first.settled.threads)
    assert [row["step"] for row in second.history if row["part"] == "train"] == [5, 10, 15, 20, 25, 30]


def test_a_finished_run_can_be_resumed_without_a_step(tmp_path):
    train(tmp_path)
    before = weights(tmp_path)
    outcome = train(tmp_path, resume=True)
    assert (outcome.reason, outcome.step) == ("finished", 40)
    assert equal(weights(tmp_path), before)


def test_a_run_is_never_overwritten(tmp_path):
    train(tmp_path)
    with pytest.raises(UsageError, match="already holds a training run"):
        train(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path)
    (tmp_path / "checkpoint" / "state.safetensors").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"state\.safetensors is damaged"):
        train(tmp_path, resume=True)


def test_a_monitor_that_is_not_measured_is_named(tmp_path):
    with pytest.raises(UsageError, match="no 'los' to go by; did you mean 'loss'"):
        train(tmp_path, monitor="los")


def test_torch_is_left_as_it_was(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1


def test_fit_works_without_validation_and_outside_the_main_thread(tmp_path):
    config = TrainConfig(**CALM | {"max_steps": 4, "batch_size": 16, "checkpoint_seconds": 1e-9, "log_every": 2})
    outcomes = []

    def work():
        outcomes.append(fit(toy(), batches(), None, config, tmp_path, progress=False))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (outcomes[0].reason, outcomes[0].best_step) == ("finished", 0)
    assert (tmp_path / "weights.safetensors").exists()


def test_the_clock_asks_for_checkpoints(tmp_path, monkeypatch):
    from latentscape.train.checkpoint import Checkpoints

    steps = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints,
        "save",
        lambda self, position, tensors: steps.append(position.step) or save(self, position, tensors),
    )
    train(tmp_path / "often", checkpoint_seconds=1e-9, validate_every=1000)
    assert len(steps) > 1
    assert all(step % 5 == 0 for step in steps)
    steps.clear()
    train(tmp_path / "seldom", checkpoint_seconds=1e9)
    assert steps == [40]


def test_lines_are_shown_where_there_is_no_terminal(tmp_path, capsys):
    train(tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert shown.startswith("step 40 of 40  loss ")
    assert "valid loss" in shown
    assert shown.count("\n") == 1


def test_a_bar_is_shown_in_a_terminal(monkeypatch, capsys):
    from latentscape.train import progress

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.0)
    with progress.Bar(10, 2) as bar:
        bar.note({"loss": 1.25})
        bar.at(5)
    shown = capsys.readouterr().err
    assert "5/10" in shown
    assert "loss 1.25" in shown


def test_tensorboard_gets_curves_and_call_backs_can_draw(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    moments = []

    def draw(moment):
        moments.append((moment.step, moment.metrics["loss"]))
        moment.board.add_audio("walk", torch.zeros(1, 10), moment.step, 8000)

    train(tmp_path, tensorboard=True, callbacks=(draw,))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "train/rate", "valid/loss"} <= set(tags["scalars"])
    assert [(event.step, pytest.approx(event.value)) for event in events.Scalars("valid/loss")] == moments
    assert tags["audio"] == ["walk"]


def test_tensorboard_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.setattr("latentscape.train.loop.find_spec", lambda name: None)
    assert train(tmp_path, tensorboard=True).reason == "finished"
    assert not (tmp_path / "tensorboard").exists()


def test_a_lazily_guarded_run_ends_at_the_same_step(tmp_path, monkeypatch):
    from latentscape.train import loop

    eager = loop.Learner
    monkeypatch.setattr(loop, "Learner", lambda step, config, fabric: eager(step, config, fabric, eager=False))
    options = {"schedule": "constant", "keep": "last", "validate_every": 1000}
    outcome = train(tmp_path / "bad", step=toy(poison=23), **options)
    assert (outcome.reason, outcome.step) == ("diverged", 23)
    monkeypatch.undo()
    train(tmp_path / "good", max_steps=23, **options)
    assert equal(weights(tmp_path / "bad"), weights(tmp_path / "good"))
