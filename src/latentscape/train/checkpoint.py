"""Checkpoints: what a killed run needs to go on as if nothing had happened.

``checkpoint/`` in the run's folder holds

* ``settled.json``: what was decided at the start (:class:`~latentscape.train.config.Settled`)
* ``state.safetensors``: weights, their average, optimiser moments; in its metadata the :class:`Position`. One file,
  replaced as a whole
* ``best-STEP.safetensors``: the model's weights at the best validation

A best file newer than the state is harmless: the resumed run comes by that step again. One is removed only after a
state that names another is safely written.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import StorageError
from latentscape.core.storage import load_json, load_metadata, load_tensors, save_json, save_tensors
from latentscape.train.config import Settled

FORMAT = "1"


class Position(Record):
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        seconds: training time over all lives of the run.
        best: best (lowest) monitored validation value.
        best_step: its step; 0 before the first validation.
        waited: validations since then.
        pending: sums of the training values since the last row of ``metrics.jsonl``.
        pending_steps: steps in these sums.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    pending: dict[str, float] = {}
    pending_steps: int = 0


class Checkpoints:
    """The checkpoint folder of a run.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.folder = Path(run) / "checkpoint"
        self.save_seconds = 0.0

    def settle(self, settled: Settled) -> None:
        """Record what was decided at the start."""
        save_json(self.folder / "settled.json", settled.model_dump())

    def settled(self) -> Settled | None:
        """Return what was decided at the start, or ``None`` before that.

        Raises:
            StorageError: the record is damaged.
        """
        path = self.folder / "settled.json"
        if not path.exists():
            return None
        try:
            return Settled.model_validate(load_json(path))
        except ValidationError as error:
            raise StorageError(f"{path} is damaged: {error.errors()[0]['msg']}") from error

    def save(self, position: Position, tensors: Mapping[str, Tensor]) -> None:
        """Write the state, then drop best weights that it does not name."""
        began = time.perf_counter()
        save_tensors(
            self.folder / "state.safetensors", tensors, {"format": FORMAT, "position": position.model_dump_json()}
        )
        for path in self.folder.glob("best-*.safetensors"):
            if path != self.best_path(position.best_step):
                path.unlink(missing_ok=True)
        self.save_seconds = time.perf_counter() - began

    def load(self) -> tuple[Position, dict[str, Tensor]] | None:
        """Return the last state, or ``None`` where there is none yet.

        Raises:
            StorageError: it is damaged, or of a newer format.
        """
        path = self.folder / "state.safetensors"
        if not path.exists():
            return None
        metadata = load_metadata(path)
        if metadata.get("format") != FORMAT:
            raise StorageError(f"{path} has format {metadata.get('format')}, expected {FORMAT}: a newer latentscape?")
        try:
            position = Position.model_validate_json(metadata.get("position", ""))
        except ValidationError as error:
            raise StorageError(f"{path} is damaged: its position can't be read") from error
        return position, load_tensors(path)

    def best_path(self, step: int) -> Path:
        """Return where the model's weights of a best validation lie."""
        return self.folder / f"best-{step:09d}.safetensors"

    def clear(self) -> None:
        """Remove the states, but not what was settled."""
        for path in self.folder.glob("*.safetensors"):
            path.unlink(missing_ok=True)
