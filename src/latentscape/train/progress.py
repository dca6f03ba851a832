"""What the person at the shell sees while it trains: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

TERMINAL_SECONDS = 0.5
LINE_SECONDS = 30.0


class Bar:
    """Progress of a run on standard error.

    Args:
        total: steps of the run.
        done: steps done before.
        shown: ``False`` shows nothing.
    """

    def __init__(self, total: int, done: int = 0, shown: bool = True) -> None:
        self.total, self.done, self.shown = total, done, shown
        self._values: dict[str, float] = {}
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if shown and console.is_terminal:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[values]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                auto_refresh=False,  # its thread would take the interpreter from the loop ten times a second
            )
            self._task = self._bar.add_task("training", total=total, completed=done, values="")
        self._began = self._shown_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.stop()

    def note(self, values: Mapping[str, float]) -> None:
        """Take values to show beside the bar from now on."""
        self._values.update(values)

    def at(self, step: int) -> None:
        """Say where the run stands; cheap, shown now and then."""
        now = time.monotonic()
        every = LINE_SECONDS if self._bar is None else TERMINAL_SECONDS
        if not self.shown or (now - self._shown_at < every and step < self.total):
            return
        self._shown_at = now
        values = "  ".join(f"{name} {value:.4g}" for name, value in self._values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, values=values, refresh=True)
            return
        pace = (now - self._began) / max(step - self.done, 1)
        left = pace * (self.total - step)
        print(f"step {step} of {self.total}  {values}  {left:.0f} s left", file=sys.stderr, flush=True)
