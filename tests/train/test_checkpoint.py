"""Checkpoints and the journal: whole or not at all."""

import json
from pathlib import Path

import pytest
import torch

from latentscape.core.errors import StorageError
from latentscape.core.storage import load_metadata, save_tensors
from latentscape.train.checkpoint import Checkpoints, Position
from latentscape.train.journal import Journal, read_rows

TENSORS = {"a": torch.arange(3.0)}


def test_state_goes_round(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() is None
    assert checkpoints.settled() is None
    position = Position(step=7, best=1 / 3, best_step=5, waited=2, pending={"loss": 0.1}, pending_steps=3, seconds=1.5)
    checkpoints.save(position, TENSORS)
    back, tensors = checkpoints.load()
    assert back == position
    assert torch.equal(tensors["a"], TENSORS["a"])


def test_a_failed_save_leaves_the_old_state(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Position(step=1), TENSORS)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match="No space left"):
        checkpoints.save(Position(step=2), TENSORS)
    assert checkpoints.load()[0].step == 1
    assert [p.name for p in checkpoints.folder.iterdir()] == ["state.safetensors"]


def test_only_the_best_weights_that_the_state_names_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (3, 6, 9):
        save_tensors(checkpoints.best_path(step), TENSORS)
    checkpoints.save(Position(step=10, best_step=9), TENSORS)
    assert [p.name for p in checkpoints.folder.glob("best-*")] == ["best-000000009.safetensors"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "2"}, "format 2, expected 1"),
        ({"format": "1"}, "damaged"),
        ({"format": "1", "position": "{}}"}, "damaged"),
    ],
)
def test_a_strange_state_is_refused(tmp_path, metadata, message):
    checkpoints = Checkpoints(tmp_path)
    save_tensors(checkpoints.folder / "state.safetensors", TENSORS, metadata)
    with pytest.raises(StorageError, match=message):
        checkpoints.load()


def test_damaged_files_are_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.folder.mkdir()
    (checkpoints.folder / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(StorageError, match="damaged"):
        checkpoints.load()
    (checkpoints.folder / "settled.json").write_text('{"threads": 0}')
    with pytest.raises(StorageError, match="damaged"):
        checkpoints.settled()
    with pytest.raises(StorageError, match="missing"):
        load_metadata(tmp_path / "nothing.safetensors")


def test_rows_after_the_checkpoint_are_dropped_and_none_is_lost(tmp_path):
    path = tmp_path / "metrics.jsonl"
    journal = Journal(path)
    for step in (5, 10, 15):
        journal.add(step, "train", {"loss": step / 3})
    with open(path, "a") as file:
        file.write('{"step": 20, "par')  # killed while writing
    assert [row["step"] for row in Journal(path, 10).rows] == [5, 10]
    assert [row["step"] for row in read_rows(path)] == [5, 10]
    assert json.loads(path.read_text().splitlines()[0]) == {"step": 5, "part": "train", "loss": 5 / 3}


def test_what_is_not_finite_is_null(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.add(1, "valid", {"loss": float("nan"), "rate": float("inf"), "x": 1})
    journal.flush()
    assert read_rows(journal.path)[0] == {"step": 1, "part": "valid", "loss": None, "rate": None, "x": 1.0}


def test_a_full_disk_is_named(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.path.unlink()
    journal.path.symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"metrics\.jsonl: No space left on device; --resume goes on"):
        journal.add(1, "train", {"loss": 1.0})


def test_without_a_path_nothing_is_written(tmp_path):
    journal = Journal(None)
    journal.add(1, "train", {"loss": 1.0})
    journal.flush()
    assert len(journal.rows) == 1
