"""Running the cells of a grid: side by side, each in a process of its own, so that none can take another down.

A runner's folder OUT::

    grid.json             the grid with all its cells
    cells/NAME/           a run folder; its cell.json says that the cell is finished
    requests/NAME.json    what the cell was asked to be: where it differs, the cell is not the same, and not kept
    logs/NAME.log         what it said on the way
    ceilings.json         the value of real held-out data for every measure that has one

Finished cells are never repeated, killed ones go on where they stood, failed ones are tried again from the start.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from latentscape.benchmark.cell import RECORD, fail_cell
from latentscape.benchmark.grid import Cell, Grid
from latentscape.benchmark.results import at_work
from latentscape.core.errors import UsageError
from latentscape.core.storage import load_object, save_json
from latentscape.experiment.run import Say

POLL = 0.1
PATIENCE = 30.0
"""Seconds that cells have to write a checkpoint after Ctrl-C."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Place:
    """OUT, and what lies where in it."""

    out: Path

    def folder(self, cell: Cell) -> Path:
        """Return the cell's run folder."""
        return self.out / "cells" / cell.name

    def request(self, cell: Cell) -> Path:
        """Return the file that says what the cell is."""
        return self.out / "requests" / f"{cell.name}.json"

    def log(self, cell: Cell) -> Path:
        """Return the file that holds what the cell said."""
        return self.out / "logs" / f"{cell.name}.log"

    def record(self, cell: Cell) -> dict[str, Any] | None:
        """Return what a finished cell wrote down, ``None`` where it is not finished."""
        path = self.folder(cell) / RECORD
        return load_object(path, ("status",)) if path.exists() else None


Execute = Callable[[Place, Sequence[Cell], Say], Iterator[Cell]]
"""Runs cells and yields each as it is finished, its record in its folder."""


@dataclass(frozen=True)
class Tally:
    """How a grid went.

    Attributes:
        out: its folder.
        done, failed, kept: names of cells that were run and came out, that failed, and that were finished before.
        seconds: wall time.
    """

    out: Path
    done: tuple[str, ...]
    failed: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float


def run_grid(grid: Grid, out: Path, execute: Execute, say: Say, *, overwrite: bool = False, jobs: int = 1) -> Tally:
    """Run what is left of a grid.

    Args:
        grid: its cells.
        out: the folder of all that comes of it.
        execute: how cells are run.
        say: told a line a cell.
        overwrite: cells that were made with other settings are removed and made again.
        jobs: how many cells are at work at a time, for what is said of the time that is left.

    Raises:
        UsageError: another runner works in the folder, it holds something else, or cells of other settings.
        KeyboardInterrupt: on Ctrl-C, when the cells have stopped.
    """
    with at_work(out):
        place = Place(out)
        _agree(grid, place, overwrite)
        save_json(out / "grid.json", grid.to_json())
        course, limits = Course(jobs), {}
        for cell in grid.cells:
            record = place.record(cell) or {}
            course.note(cell, record)
            if "ceilings" in record:  # of a cell that ended while its runner was being stopped, too
                limits[cell.source] = record["ceilings"]
        save_json(out / "ceilings.json", limits)
        kept = tuple(cell.name for cell in grid.cells if (place.record(cell) or {}).get("status") == "done")
        todo = [cell for cell in grid.cells if cell.name not in kept]
        for cell in todo:
            if place.record(cell) is not None:  # it failed before
                shutil.rmtree(place.folder(cell))
            save_json(place.request(cell), cell.to_json())
        if kept:
            say(f"{len(kept)} of {len(grid.cells)} cells are finished already")
        return _follow(place, todo, kept, execute, say, course)


class Course:
    """How long cells took, and so how long others will.

    A cell takes as long as those of its family and source did; where none has ended, as long as its bound on training
    and the longest measuring so far. Cells differ by far more than their number says: the quick ones come out first.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._took: dict[tuple[str, str], list[float]] = {}
        self._measuring = 0.0

    def note(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Take note of what a finished cell wrote down; one that failed says nothing of the others."""
        if seconds := record.get("seconds"):
            self._took.setdefault((cell.source, cell.family), []).append(seconds["train"] + seconds["measure"])
            self._measuring = max(self._measuring, seconds["measure"])

    def left(self, cells: Sequence[Cell]) -> str:
        """Return in words how long cells will take; those at work count whole."""
        known = [sum(took) / len(took) if (took := self._took.get((c.source, c.family))) else None for c in cells]
        bounds = [60 * cell.minutes + self._measuring for cell in cells]
        seconds = sum(bound if mean is None else mean for mean, bound in zip(known, bounds, strict=True))
        return f"{'at most ' if None in known else ''}about {clock(seconds / min(self.jobs, max(1, len(cells))))} left"


def _follow(
    place: Place, todo: Sequence[Cell], kept: tuple[str, ...], execute: Execute, say: Say, course: Course
) -> Tally:
    """Run cells and tell how far they are."""
    began = time.monotonic()
    waiting = {cell.name: cell for cell in todo}
    outcome: dict[str, list[str]] = {"done": [], "failed": []}
    for count, cell in enumerate(execute(place, todo, say), start=1):
        record = place.record(cell) or {}
        if "ceilings" in record:
            _keep_ceilings(place, cell, record["ceilings"])
        outcome[record["status"]].append(cell.name)
        course.note(cell, record)
        del waiting[cell.name]
        rest = course.left(list(waiting.values())) if waiting else "that was the last"
        say(f"[{count}/{len(todo)}] {cell.name}: {_summary(record)}; {rest}")
    done, failed = (tuple(outcome[status]) for status in ("done", "failed"))
    return Tally(place.out, done, failed, kept, time.monotonic() - began)


def _keep_ceilings(place: Place, cell: Cell, numbers: Mapping[str, Any]) -> None:
    path = place.out / "ceilings.json"
    save_json(path, load_object(path) | {cell.source: numbers})


def _summary(record: Mapping[str, Any]) -> str:
    if record["status"] == "failed":
        return f"failed: {record['error']}"
    seconds = record["seconds"]
    return f"{record['steps']} steps in {clock(seconds['train'])}, measured in {clock(seconds['measure'])}"


def clock(seconds: float) -> str:
    """Return a time for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _agree(grid: Grid, place: Place, overwrite: bool) -> None:
    """Refuse, or remove, cells in the folder that were made with other settings than the grid's."""
    plan = place.out / "grid.json"
    if plan.exists() and load_object(plan).get("suite") != grid.config.suite:
        raise UsageError(f"{place.out} holds a benchmark of another suite; choose another folder")
    for cell in grid.cells:
        path = place.request(cell)
        if not path.exists() or not place.folder(cell).exists():
            continue
        before = load_object(path)
        if before == cell.to_json():
            continue
        if not overwrite:
            key, old, new = _difference(before, cell.to_json())
            raise UsageError(
                f"{place.folder(cell)} was made with {key} = {old}, the grid now says {new}; "
                "add --overwrite to make such cells again, or choose another folder"
            )
        shutil.rmtree(place.folder(cell))


def _difference(old: Any, new: Any, path: str = "") -> tuple[str, Any, Any]:
    """Return the first key at which two nested values differ, and both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key):
                return _difference(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    return path, old, new


# ---------------------------------------------------------------------------------------------------- on this machine


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@dataclass
class _Worker:
    cell: Cell
    process: subprocess.Popen[Any]
    log: IO[bytes]


def side_by_side(jobs: int) -> Execute:
    """Return what runs so many cells at a time in processes of this machine, one thread each."""

    def execute(place: Place, cells: Sequence[Cell], say: Say) -> Iterator[Cell]:
        waiting, working = list(cells), list[_Worker]()
        with _stopped_at_the_end(working, say):
            while waiting or working:
                while waiting and len(working) < jobs:
                    working.append(_start(place, waiting.pop(0)))
                ended = [worker for worker in working if worker.process.poll() is not None]
                for worker in ended:
                    working.remove(worker)
                    _settle(place, worker)
                    yield worker.cell
                if not ended:
                    time.sleep(POLL)

    return execute


def _start(place: Place, cell: Cell) -> _Worker:
    path = place.log(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = open(path, "ab")  # noqa: SIM115  (it lives as long as the process)
    command = [sys.executable, "-m", "latentscape.benchmark.cell", str(place.request(cell)), str(place.folder(cell))]
    # A group of its own: Ctrl-C reaches the runner alone, which tells the cells by closing their standard input.
    apart: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    environment = os.environ | dict.fromkeys(THREADS, "1")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, **apart)
    return _Worker(cell, process, log)


def _settle(place: Place, worker: _Worker) -> None:
    """See to it that a process that ended left a record."""
    _close(worker)
    if place.record(worker.cell) is None:
        code = worker.process.returncode
        why = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        fail_cell(worker.cell, place.folder(worker.cell), f"{why}{_last_words(place.log(worker.cell))}")


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"; its last words: {lines[-1][:200]}" if lines else ""


def _close(worker: _Worker) -> None:
    worker.log.close()
    if worker.process.stdin is not None:
        worker.process.stdin.close()


@contextmanager
def _stopped_at_the_end(working: list[_Worker], say: Say) -> Iterator[None]:
    """Within, cells work; when that is left, whatever the reason, the rest of them are asked to stop."""
    try:
        yield
    finally:
        if working:
            say(f"stopping {len(working)} cells; the same command goes on from here")
        for worker in working:
            _close(worker)
        end = time.monotonic() + PATIENCE
        for worker in working:
            try:
                worker.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
