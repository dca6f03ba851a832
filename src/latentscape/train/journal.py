"""``metrics.jsonl``: the learning curves, one JSON object a line, no step twice and none missing after a resume."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentscape.core.errors import StorageError
from latentscape.core.storage import save_text

Row = dict[str, Any]


class Journal:
    """Rows ``{"step", "part": "train" | "valid", name: value, ...}``.

    ``train`` rows are means over the steps since the row before, ``valid`` rows what the validation gave; a value that
    is not finite is ``null``, since JSON has none.

    Args:
        path: the file; ``None`` keeps the rows in memory (every process but the first).
        step: rows after this step are of a life that was lost: they are dropped.
    """

    def __init__(self, path: Path | None, step: int = 0) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path is None:
            return
        if path.exists():
            self.rows = [row for row in read_rows(path) if row["step"] <= step]
        save_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def add(self, step: int, part: str, values: Mapping[str, float]) -> Row:
        """Append a row and return it.

        Raises:
            StorageError: it could not be written; a disk that is full names no file itself.
        """
        row: Row = {"step": step, "part": part}
        row |= {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self.rows.append(row)
        if self.path is not None:
            try:
                with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                    file.write(json.dumps(row) + "\n")
            except OSError as error:
                why = error.strerror or error
                raise StorageError(
                    f"could not write {self.path}: {why}; --resume goes on from what is saved"
                ) from error
        return row

    def flush(self) -> None:
        """See to it that the rows are on the disk: a checkpoint that is newer than its rows would lose them."""
        if self.path is not None:
            with open(self.path, "rb+") as file:
                os.fsync(file.fileno())


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a ``metrics.jsonl``; a last line that was cut short by a kill is left out."""
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
