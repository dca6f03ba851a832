"""One cell: train, measure, draw, and write down that it is done. A cell's folder is a run folder and ``cell.json``.

``cell.json`` is written last, so that a cell that has one is finished. A cell that was killed goes on where it stood:
training from its checkpoint, measuring from its weights.

``python -m latentscape.benchmark.cell REQUEST FOLDER`` runs the cell that a JSON file describes, in a process of its
own; it stops, with a checkpoint, when its standard input ends, which it does when whoever started it dies.
"""

import _thread
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.figures import ceilings, measure_cell
from latentscape.benchmark.grid import Cell
from latentscape.core.errors import LatentscapeError
from latentscape.core.lock import locked
from latentscape.core.random import seeded
from latentscape.core.storage import load_object, save_json
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Request, train_run
from latentscape.instrument.loading import load
from latentscape.measure.estimate import Estimate
from latentscape.recipes import Recipe

RECORD = "cell.json"
INTERRUPTED = 130
AGAIN = 10.0
"""Seconds between two requests to stop: training asks for so long to write its checkpoint."""
WAIT = 60.0
"""Seconds that a cell waits for an older process that still works in its folder."""


class Interrupted(LatentscapeError):
    """The cell was asked to stop; it goes on when it is run again."""

    exit_code = INTERRUPTED


def run_cell(cell: Cell, folder: Path) -> dict[str, Any]:
    """Train, measure and draw a cell in its folder, from wherever it stood; return the record that ``cell.json`` holds.

    Raises:
        Interrupted: it was stopped on the way.
        LatentscapeError: it can't be trained or measured.
    """
    facts = _trained(cell, folder)
    began = time.perf_counter()
    with open_run(folder).examples as examples:
        instrument = load(folder)
        numbers = measure_cell(cell, instrument, examples)
        limits = ceilings(cell, examples) if cell.limits else {}
        measured = time.perf_counter() - began
        if cell.measuring.draw:
            from latentscape.benchmark.pictures import draw_cell  # with matplotlib, which takes a second

            with seeded("draw", cell.seed):
                draw_cell(folder, instrument, examples)
    parameters = sum(one.numel() for one in instrument.model.parameters() if one.requires_grad)
    steps, seconds = int(facts["steps"]), float(facts["seconds"])
    cost = {"seconds_step": _step_seconds(folder, steps, seconds), "seconds_train": seconds, "parameters": parameters}
    numbers |= {name: Estimate(float(value), CATALOGUE[name].unit) for name, value in cost.items()}
    record = {
        **_about(cell),
        "data": facts.get("data", cell.data),
        "status": "done",
        "error": "",
        "seconds": {"train": seconds, "measure": round(measured, 2)},
        "steps": steps,
        "parameters": parameters,
        "numbers": _plain(numbers),
        **({"ceilings": _plain(limits)} if limits else {}),
    }
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # four times the weights, and never needed again
    save_json(folder / RECORD, record)
    return record


def _plain(numbers: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: numbers[name].to_json() for name in CATALOGUE if name in numbers}


def fail_cell(cell: Cell, folder: Path, error: str) -> dict[str, Any]:
    """Write down that a cell failed, and why, in one line; return the record."""
    line = " ".join(error.split()) or "it ended without a word"
    record = {**_about(cell), "status": "failed", "error": line, "seconds": {}, "steps": 0, "parameters": 0}
    record["numbers"] = {}
    save_json(folder / RECORD, record)
    return record


def _about(cell: Cell) -> dict[str, Any]:
    plain = {key: value for key, value in cell.to_json().items() if key not in ("config", "measuring", "minutes")}
    return plain | {"minutes_limit": cell.minutes}


def _trained(cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train the cell unless that is done; return what ``run.json`` says."""
    if folder.exists() and not (folder / "run.json").exists():
        shutil.rmtree(folder)  # killed while it was laid down
    started = folder.exists()
    facts = load_object(folder / "run.json") if started else {}
    if facts.get("outcome") in (None, "interrupted"):
        source = cell.config.source
        values = cell.config.model_dump(mode="json")
        recipe = Recipe(cell.name, cell.name, "a cell of a benchmark", values)
        options = {"seed": cell.seed, "device": cell.config.train.accelerator, "labels": source.pattern}
        request = Request(
            cell.source,
            folder,
            None if started else recipe,
            resume=started,
            rate=source.sample_rate,
            channels=source.channels,
            **options,
        )
        outcome = train_run(request, say=lambda line: print(line, flush=True))
        if outcome.reason == "interrupted":
            raise Interrupted(f"{cell.name} was stopped at step {outcome.step}")
        facts = load_object(folder / "run.json")
    if facts["outcome"] == "diverged":
        raise LatentscapeError(f"the loss was no longer finite after step {facts['steps']}")
    return facts


def _step_seconds(folder: Path, steps: int, seconds: float) -> float:
    """Return the median time of a step as it was timed at the start, else the mean one."""
    settled = folder / "checkpoint" / "settled.json"
    timed = load_object(settled).get("step_seconds") if settled.exists() else None
    return timed or seconds / max(1, steps)


def main(arguments: list[str]) -> int:
    """Run the cell of a request file in a folder; return the exit code."""
    request, folder = map(Path, arguments)
    cell = Cell.from_json(load_object(request))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
    stop = threading.Event()
    try:
        threading.Thread(target=_watch, args=(stop,), daemon=True).start()
        with locked(request.with_suffix(".lock"), f"another process still works on {cell.name}", WAIT):
            run_cell(cell, folder)
    except (Interrupted, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if stop.is_set():
            return INTERRUPTED
        traceback.print_exc()
        fail_cell(cell, folder, reason(error))
        return 1
    return 0


def reason(error: Exception) -> str:
    """Return why a cell failed: our own errors speak for themselves, others are named."""
    return str(error) if isinstance(error, LatentscapeError) else f"{type(error).__name__}: {error}"


def _watch(stop: threading.Event) -> None:
    """Ask the main thread to stop when standard input ends, as Ctrl-C does; again, should it not listen.

    Read past Python's buffer: its lock is held while it waits, and an interpreter that shuts down then aborts.
    """
    while os.read(0, 1):
        pass
    stop.set()
    while True:
        _thread.interrupt_main(signal.SIGINT)
        time.sleep(AGAIN)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
