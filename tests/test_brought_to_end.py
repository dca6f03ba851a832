"""Programs that train one run after another: what was stopped goes on, what ended stays."""

import signal
from pathlib import Path

import pytest
import torch

from latentscape.core.storage import load_object, load_tensors, save_json
from latentscape.experiment import run as running
from latentscape.experiment.run import Request
from latentscape.experiment.train import brought_to_end

SETS = (
    "train.max_steps=12", "train.validate_every=4", "train.threads=1", "train.precision=32", "train.batch_size=16",
    "train.tensorboard=false", "model.latent=2", "model.encoder.widths=[8]", "model.decoder.widths=[8]",
)  # fmt: skip


def quiet(line: str) -> None: ...


@pytest.fixture(autouse=True)
def unshown(monkeypatch):
    """Runs are trained and said to be judged: to measure, map and draw them takes longer, and is tested elsewhere."""

    def finish(run, *given):
        save_json(run / "verdict.json", {})
        return None, None

    monkeypatch.setattr("latentscape.experiment.finish.finish", finish)


def request(run: Path) -> Request:
    """What a program asks for every time that it is started, the recipe and its settings included."""
    return Request("digits", run, "images", SETS, device="cpu")


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path, monkeypatch, how):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert brought_to_end(request(whole), quiet)
    own = running.glimpses

    def stopping(examples):
        glimpse = own(examples)

        def call_back(moment):
            glimpse(moment)
            if how == "killed":
                raise SystemError("killed")
            signal.raise_signal(signal.SIGINT)

        return call_back

    with monkeypatch.context() as patch:
        patch.setattr(running, "glimpses", stopping)
        if how == "killed":
            with pytest.raises(SystemError):
                brought_to_end(request(run), quiet)
        else:
            assert not brought_to_end(request(run), quiet)  # so nobody takes half a training for a whole one
            assert load_object(run / "run.json")["outcome"] == "interrupted"
    assert brought_to_end(request(run), quiet)
    assert load_object(run / "run.json")["steps"] == 12
    first, second = (load_tensors(folder / "weights.safetensors") for folder in (whole, run))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_ended_is_left_as_it_is_unless_it_is_to_begin_anew(tmp_path):
    run = tmp_path / "run"
    assert brought_to_end(request(run), quiet)
    weights = (run / "weights.safetensors").stat().st_mtime_ns
    assert brought_to_end(Request("digits", run, "images", ("train.max_steps=99",)), quiet)
    assert (run / "weights.safetensors").stat().st_mtime_ns == weights
    sets = (*SETS, "train.max_steps=4")
    assert brought_to_end(Request("digits", run, "images", sets, overwrite=True, device="cpu"), quiet)
    assert load_object(run / "run.json")["steps"] == 4
