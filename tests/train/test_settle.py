"""Decisions by the clock, with a clock of our own."""

from types import SimpleNamespace

import pytest
import torch
from toy import CALM, batches, toy, validate

from latentscape.core.errors import ConfigError
from latentscape.train import settle as room
from latentscape.train.checkpoint import Checkpoints
from latentscape.train.config import TrainConfig
from latentscape.train.learner import Learner
from latentscape.train.process import fabric_of


@pytest.mark.parametrize(
    ("left", "step", "validation", "every"), [(60, 0.01, 0.5, None), (60, 0.01, 30, None), (10, 0.1, 1, 50)]
)
def test_steps_fill_the_time_and_do_not_pass_it(left, step, validation, every):
    steps, between = room.steps_within(left, step, validation, every)
    count = -(-steps // between)
    used = steps * step + count * validation
    assert used <= left * 1.02 or count == 1
    assert used >= 0.75 * left
    assert every in (None, between)
    assert count <= 25 or every is not None


@pytest.mark.parametrize(("every", "between"), [(None, 5), (50, 50)])
def test_fewer_steps_are_taken_where_fewer_are_wanted(every, between):
    assert room.steps_within(60, 0.01, 0.5, every, 100) == (100, between)
    assert room.steps_within(60, 0.01, 0.5, every, 10**9) == room.steps_within(60, 0.01, 0.5, every)


def test_no_time_left_is_still_one_step():
    assert room.steps_within(-5.0, 0.1, 1.0, None)[0] == 1


@pytest.mark.parametrize(
    ("times", "expected"),
    [({1: 1.0, 2: 0.9}, 2), ({1: 1.0, 2: 0.97}, 1), ({1: 1.0, 2: 0.5, 4: 0.49}, 2), ({1: 1.0, 2: 6.3}, 1)],
)
def test_more_threads_must_earn_their_place(times, expected):
    chosen = [0]
    choice = room.quickest(list(times), lambda n: chosen.__setitem__(0, n), lambda index: times[chosen[0]], gain=0.05)
    assert choice == expected == chosen[0]


def test_one_slow_step_does_not_decide():
    calls = iter(range(1000))
    chosen = [0]

    def seconds(index):
        return 50.0 if next(calls) == 2 else {1: 1.0, 2: 1.2}[chosen[0]]

    assert room.quickest([1, 2], lambda n: chosen.__setitem__(0, n), seconds, gain=0.05) == 1


@pytest.mark.parametrize(("major", "expected"), [(7, False), (8, True), (9, True)])
def test_a_gpu_that_only_emulates_bf16_has_none(monkeypatch, major, expected):
    for name, found in {"is_available": True, "current_device": 0, "_check_bf16_tensor_supported": True}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, found=found: found)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=major))
    assert room.has_bf16() is expected


def test_thread_counts_end_at_the_cores():
    counts = room.thread_counts()
    assert counts[0] == 1
    assert counts == sorted(set(counts))


def decide(tmp_path, **changes):
    config = TrainConfig(**CALM | {"max_steps": 50, "batch_size": 16} | changes)
    learner = Learner(toy(), config, fabric_of(config))
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    settled = room.settle(learner, batches(), validate, Checkpoints(tmp_path))
    after = learner.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    return settled


def test_timing_leaves_no_trace(tmp_path):
    settled = decide(tmp_path, precision="auto", threads="auto", averaging=0.9)
    assert settled.threads in room.thread_counts()
    assert settled.max_steps == 50
    assert settled.validate_every == 2


def test_without_a_bound_there_are_ten_thousand_steps(tmp_path):
    assert decide(tmp_path, max_steps=None).max_steps == 10_000


def test_of_steps_and_minutes_the_fewer_steps_are_taken(tmp_path):
    assert decide(tmp_path, minutes=5, max_steps=7).max_steps == 7


def test_minutes_become_steps(tmp_path):
    settled = decide(tmp_path, minutes=0.05, max_steps=None, checkpoint_seconds=60)
    assert settled.step_seconds is not None
    assert 1 <= settled.max_steps <= 3 / settled.step_seconds
    assert not list((tmp_path / "checkpoint").glob("*.safetensors"))


def test_bf16_is_taken_only_where_it_pays(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "quickest", lambda choices, choose, seconds, gain: choose(choices[-1]) or choices[-1])
    assert decide(tmp_path, precision="auto").precision == "bf16"
    monkeypatch.setattr(room, "quickest", lambda choices, choose, seconds, gain: choose(choices[0]) or choices[0])
    assert decide(tmp_path, precision="auto").precision == "32"


def test_bf16_is_not_taken_where_a_layer_has_none(tmp_path, monkeypatch):
    """oneDNN has no LSTM in bf16 for processors without its instructions."""
    update = Learner.update

    def refusing(learner, *arguments):
        if learner.autocast.on:
            raise RuntimeError("could not create a primitive descriptor")
        return update(learner, *arguments)

    monkeypatch.setattr(Learner, "update", refusing)
    assert decide(tmp_path, precision="auto").precision == "32"
    with pytest.raises(
        ConfigError, match=r"train\.precision: got 'bf16', but .* primitive descriptor\); use 32 or auto"
    ):
        decide(tmp_path, precision="bf16")


def test_bf16_is_taken_where_it_is_asked_for(tmp_path):
    assert decide(tmp_path, precision="bf16").precision == "bf16"
