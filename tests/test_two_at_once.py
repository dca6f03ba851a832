"""Two trainings that are told the same run folder."""

import pytest

from latentscape.core import lock
from latentscape.core.errors import UsageError
from latentscape.core.lock import locked
from latentscape.core.storage import save_json
from latentscape.experiment import run as running


def test_a_training_that_began_meanwhile_is_left_alone(tmp_path, monkeypatch):
    def meanwhile(request, say):
        save_json(request.run / "run.json", {})

    monkeypatch.setattr(running, "prepare", meanwhile)
    with pytest.raises(UsageError, match="exists; go on with --resume"):
        running.train_run(running.Request("tones", tmp_path / "r"), print)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("word", ["overwrite", "resume"])
def test_a_training_that_is_at_work_is_left_alone(tmp_path, monkeypatch, word):
    save_json(tmp_path / "r" / "run.json", {"source": "tones", "digest": ""})
    monkeypatch.setattr(running, "prepare", lambda request, say: None)
    with running.alone_in(tmp_path / "r"), pytest.raises(UsageError, match="another training is at work in"):
        running.train_run(running.Request("tones", tmp_path / "r", **{word: True}), print)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_lock_that_was_taken_away_is_no_lock(tmp_path, monkeypatch):
    """Who waits opens the file; who holds it takes it away; a third would make another and hold it, too."""
    path, opened = tmp_path / "lock", []
    take = lock._take

    def late(handle):
        opened.append(handle)
        if len(opened) == 1:
            path.unlink()
        return take(handle)

    monkeypatch.setattr(lock, "_take", late)
    with locked(path, "taken"):
        assert len(opened) == 2
        with pytest.raises(UsageError, match="taken"), locked(path, "taken"):
            pass
    assert not path.exists()
