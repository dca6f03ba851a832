"""Two trainings that are told the same run folder."""

import pytest

from latentscape.core.errors import UsageError
from latentscape.core.storage import save_json
from latentscape.experiment import run as running


def test_a_training_that_began_meanwhile_is_left_alone(tmp_path, monkeypatch):
    def meanwhile(request, say):
        save_json(request.run / "run.json", {})

    monkeypatch.setattr(running, "prepare", meanwhile)
    with pytest.raises(UsageError, match="exists; go on with --resume"):
        running.train_run(running.Request("tones", tmp_path / "r"), print)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
