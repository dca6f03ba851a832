"""Checks before a long run: they find what is wrong, and pass what is right."""

import json
import re
from pathlib import Path

import pytest
import torch

from latentscape.cli import main
from latentscape.experiment.check import check_flags, check_sines, range_test
from latentscape.experiment.config import resolve
from latentscape.experiment.run import Request, prepare

TINY = (
    "model.encoder.widths=[16]", "model.decoder.widths=[16]", "model.latent=4", "window.length=400", "window.hop=400",
    "train.batch_size=8", "train.threads=1", "train.precision=32", "data.pool_seconds=8", "train.clip_norm=null",
)  # fmt: skip


def prepared(*sets, recipe="raw-one-layer-small", source="sines"):
    return prepare(Request(source, Path("none"), recipe, (*TINY, *sets), rate=2000, device="cpu"), lambda line: None)


def flags(*sets, **options):
    found = prepared(*sets, **options)
    with found.examples:
        return check_flags(found)


def test_a_sensible_configuration_has_no_flags():
    assert flags() == []


@pytest.mark.parametrize(
    ("sets", "flag"),
    [
        (["train.minutes=null", "train.max_steps=50", "train.patience=50"], "train.patience: 50 .* in 25;"),
        (["train.minutes=null", "train.max_steps=100", "objective.warmup=80"], "objective.warmup: .* 80 of 100 steps"),
        (["train.minutes=null", "train.max_steps=100", "train.warm_up=50"], "train.warm_up: 50 of 100 .* cut to 10"),
        (["objective.beta=0.01"], "objective.beta: a weight of 0.01 .* over-fitting"),
        (["window.length=8000", "window.hop=8000"], r"window.length: 9\d\d of 9\d\d training clips .*4 s; .*phrases:"),
        (["train.batch_size=4096"], "train.batch_size: the training part has .* batches 4096"),
    ],
)
def test_each_mistake_is_named(sets, flag):
    found = flags(*sets)
    assert len(found) >= 1
    assert any(re.search(flag, line) for line in found), found


def test_a_model_larger_than_memory_is_named(monkeypatch):
    monkeypatch.setattr("latentscape.experiment.check._memory", lambda: 2**16)
    assert flags()[0].startswith("model: weights, gradients and moments take")
    monkeypatch.setattr("latentscape.experiment.check._memory", lambda: None)
    assert flags() == []


def test_the_range_test_finds_where_the_loss_climbs():
    found = prepared("train.learning_rate=0.01")
    with found.examples:
        answer = range_test(found, 24)
    assert len(answer.rates) <= 24
    assert answer.rates[0] == pytest.approx(1e-5)
    assert answer.climbs is not None
    assert 1e-5 < answer.suggested < answer.climbs
    assert answer.losses[0] > min(answer.losses)


def test_sines_are_learnt_or_they_are_not():
    sets = [*TINY, "objective.warmup=10", "train.learning_rate=0.01"]
    config = resolve("raw-one-layer-small", sets)
    config = config.model_copy(
        update={"representation": config.representation.model_copy(update={"sample_rate": 2000})}
    )
    text, learns = check_sines(config, 60)
    assert learns
    assert text.startswith("sines: ")
    stuck = config.model_copy(update={"train": config.train.model_copy(update={"learning_rate": 1e-9})})
    text, learns = check_sines(stuck, 12)
    assert not learns
    assert text.endswith("it learns nothing")


def test_sines_of_codes_are_checked_by_the_likeliest():
    """A law of codes has no mean."""
    sets = [
        *TINY,
        "representation={kind: mulaw, sample_rate: 2000}",
        "model.likelihood={kind: categorical, levels: 256}",
    ]
    text, _ = check_sines(resolve("raw-one-layer-small", [*sets, "objective.warmup=2"]), 12)
    assert "of the variance" in text


def test_the_shell_checks_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("latentscape.experiment.check.STEPS", 12)
    run = tmp_path / "run"
    sets = [part for one in (*TINY, "train.patience=60") for part in ("--set", one)]
    arguments = [
        "train",
        "sines",
        "--run",
        str(run),
        "-r",
        "raw-one-layer-small",
        "--rate",
        "2000",
        "--check",
        "--json",
    ]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *sets])
    assert stop.value.code == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"]
    assert found["flags"][0].startswith("train.patience: 60")
    assert found["learning_rate"]["asked"] == 1e-3
    assert not run.exists()
    assert torch.is_grad_enabled()


def test_flags_of_what_is_told_layer_by_layer():
    sets = (
        "data.binarise=static", "objective.warmup=[0,90,0]", "objective.beta=[1,1,0.01]", "train.max_steps=100",
        "model.levels.widths=[4,4,4]", "train.minutes=null",
    )  # fmt: skip
    found = prepare(Request("digits", Path("none"), "hierarchy-images", sets, device="cpu"), lambda line: None)
    with found.examples:
        told = "\n".join(check_flags(found))
    assert "whole weight after 90 of 100 steps" in told
    assert "a weight of 0.01 on the rate" in told
