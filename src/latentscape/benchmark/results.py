"""What a benchmark left on disk: its grid, its cells, and what real data reach.

Every finished cell has a ``cell.json``; a cell without one has not run yet. Damaged records are failures too: one bad
file does not hide the rest.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.grid import GridConfig
from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, DataError, StorageError, UsageError
from latentscape.core.lock import locked
from latentscape.core.storage import load_object
from latentscape.measure.estimate import Estimate

Numbers = Mapping[str, Estimate]
LOCK = ".lock"
_PLAN = ("name", "source", "family", "axis", "value", "seed")


@contextmanager
def at_work(out: Path, sign: str = "grid.json") -> Iterator[None]:
    """Keep others out of a benchmark's folder, which holds a benchmark or nothing.

    Args:
        out: the folder.
        sign: what lies in it where it holds one.

    Raises:
        UsageError: it holds something else, or another process works there.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, expected a folder")
    if out.exists() and not (out / sign).exists() and any(one.name != LOCK for one in out.iterdir()):
        raise UsageError(f"{out} exists and is not a benchmark; choose another folder")
    try:
        with locked(out / LOCK, f"another benchmark is running in {out}; wait for it, or choose another folder"):
            yield
    finally:
        with suppress(OSError):  # goes only where nothing came of it
            out.rmdir()


@dataclass(frozen=True)
class Result:
    """One cell as it came out.

    Attributes:
        name: of its folder.
        source: its corpus.
        family: as in the grid.
        axis: what is varied; empty for a family as it is.
        value: the level; empty likewise.
        seed: of its run.
        status: done or failed.
        data: what the model was given, in words.
        error: why it failed.
        steps: of training.
        numbers: by their name in the catalogue.
    """

    name: str
    source: str
    family: str
    axis: str = ""
    value: str = ""
    seed: int = 0
    status: Literal["done", "failed"] = "done"
    data: str = ""
    error: str = ""
    steps: int = 0
    numbers: Numbers = field(default_factory=dict)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Result":
        """Return what ``cell.json`` says.

        Raises:
            DataError: something is missing, or is not what it should be.
        """
        try:
            numbers = {name: Estimate.from_json(value) for name, value in record.get("numbers", {}).items()}
            if "parameters" not in numbers and record.get("parameters"):
                numbers["parameters"] = Estimate(float(record["parameters"]), "")
            if "seconds_train" not in numbers and (record.get("seconds") or {}).get("train"):
                numbers["seconds_train"] = Estimate(float(record["seconds"]["train"]), "s")
            return cls(
                **{name: record[name] or "" for name in ("name", "source", "family", "axis", "value")},
                seed=int(record["seed"]),
                status="done" if record["status"] == "done" else "failed",
                data=str(record.get("data") or ""),
                error=str(record.get("error") or ""),
                steps=int(record.get("steps") or 0),
                numbers=numbers,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"a cell's record is damaged: {type(error).__name__} {error}") from error


@dataclass(frozen=True)
class Results:
    """A benchmark, finished or not.

    Attributes:
        out: its folder.
        grid: what was asked for.
        planned: its cells in order, not yet looked at.
        cells: those that have run, in the grid's order.
        ceilings: what real held-out data reach: source -> number -> value.
    """

    out: Path
    grid: GridConfig
    planned: tuple[Result, ...] = ()
    cells: tuple[Result, ...] = ()
    ceilings: Mapping[str, Numbers] = field(default_factory=dict)

    @property
    def done(self) -> tuple[Result, ...]:
        """The cells that have numbers."""
        return tuple(cell for cell in self.cells if cell.status == "done")

    @property
    def failed(self) -> tuple[Result, ...]:
        """The cells that have none, with their reason."""
        return tuple(cell for cell in self.cells if cell.status == "failed")

    @property
    def missing(self) -> tuple[Result, ...]:
        """The cells that have not run yet."""
        run = {cell.name for cell in self.cells}
        return tuple(cell for cell in self.planned if cell.name not in run)

    @property
    def first(self) -> str:
        """The source that carries axes and seeds."""
        return self.grid.sources[0]

    def of(self, family: str, source: str | None = None, axis: str = "", value: str = "") -> tuple[Result, ...]:
        """Return the finished cells of a family, all seeds: as it is, or at a level of an axis."""
        wanted = (family, source or self.first, axis, value)
        return tuple(cell for cell in self.done if (cell.family, cell.source, cell.axis, cell.value) == wanted)

    def families(self, source: str | None = None) -> tuple[str, ...]:
        """Return the families that have finished at least once on a source, in the grid's order."""
        return tuple(family for family in self.grid.families if self.of(family, source))

    def measures(self, group: str | None = None) -> tuple[str, ...]:
        """Return the catalogue's names that some finished cell holds, in its order."""
        held = {name for cell in self.done for name in cell.numbers}
        return tuple(name for name, entry in CATALOGUE.items() if name in held and group in (None, entry.group))

    def folder(self, cell: Result) -> Path:
        """Return a cell's run folder."""
        return self.out / "cells" / cell.name

    def with_cells(self, cells: Iterator[Result] | tuple[Result, ...]) -> "Results":
        """Return the same benchmark with other cells."""
        return replace(self, cells=tuple(cells))


def load_results(out: Path) -> Results:
    """Read a benchmark's folder.

    Raises:
        UsageError: it is no such folder.
        StorageError: the grid is damaged.
    """
    out = Path(out)
    path = out / "grid.json"
    if not path.exists():
        raise UsageError(f"{out} holds no benchmark: it has no grid.json")
    record = load_object(path, ("title", "suite", "sources", "families", "cells"))
    known = {name: record[name] for name in GridConfig.model_fields if name in record}
    try:
        grid = parse(GridConfig, known, str(path))
        planned = tuple(Result(**{name: cell[name] for name in _PLAN}) for cell in record["cells"])
    except (ConfigError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is damaged: {error}") from error
    cells = tuple(cell for plan in planned if (cell := _read(out, plan)) is not None)
    return Results(out, grid, planned, cells, _ceilings(out / "ceilings.json"))


def _read(out: Path, plan: Result) -> Result | None:
    path = out / "cells" / plan.name / "cell.json"
    if not path.is_file():
        return None
    try:
        return Result.from_json(load_object(path))
    except (StorageError, DataError) as error:
        return replace(plan, status="failed", error=str(error))


def _ceilings(path: Path) -> dict[str, dict[str, Estimate]]:
    if not path.is_file():
        return {}
    try:
        return {
            source: {name: Estimate.from_json(value) for name, value in numbers.items()}
            for source, numbers in load_object(path).items()
        }
    except (AttributeError, DataError) as error:
        raise StorageError(f"{path} is damaged: {error}") from error
