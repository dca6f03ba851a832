"""Two processes give one process's losses; their failures arrive as one line."""

import pytest
from toy import CALM, Work

from latentscape.core.errors import ConfigError, DataError
from latentscape.core.storage import load_tensors
from latentscape.train.config import TrainConfig
from latentscape.train.process import fabric_of, launch

CONFIG = TrainConfig(
    **CALM | {"max_steps": 30, "batch_size": 16, "log_every": 1, "validate_every": 10, "averaging": 0.9}
)


def test_two_processes_give_one_process_losses(tmp_path):
    two = CONFIG.model_copy(update={"devices": 2})
    one = launch(CONFIG, Work(CONFIG, tmp_path / "one"))
    both = launch(two, Work(two, tmp_path / "two"))
    assert (both.reason, both.step, len(both.history)) == ("finished", 30, len(one.history))
    for a, b in zip(one.history, both.history, strict=True):
        assert (a["step"], a["part"]) == (b["step"], b["part"])
        for name in ("loss", "rate"):
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-5)
    first, second = (load_tensors(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    for name, tensor in first.items():
        assert second[name].sub(tensor).abs().max() < 1e-4


def fail(fabric):
    if fabric.global_rank == 1:
        raise DataError("notes/a.wav is damaged")
    fabric.barrier()


def test_a_failure_in_a_worker_is_one_clear_line():
    with pytest.raises(DataError, match=r"^notes/a\.wav is damaged$"):
        launch(CONFIG.model_copy(update={"devices": 2}), fail)


def test_a_batch_that_can_not_be_shared_is_refused():
    with pytest.raises(ConfigError, match="16 can't be shared evenly by 3"):
        fabric_of(CONFIG.model_copy(update={"devices": 3}))


def test_a_missing_accelerator_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train\.accelerator: 'cuda' is not available"):
        fabric_of(CONFIG.model_copy(update={"accelerator": "cuda"}))
