"""Training from begin to end: a source becomes a run that is measured, judged and shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentscape.experiment.figures import Figures
from latentscape.experiment.run import Request, Say, training
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        run: its folder.
        outcome: how training ended.
        verdict: in plain words; ``None`` for an interrupted run.
        figures: on the test part.
    """

    run: Path
    outcome: Outcome
    verdict: Verdict | None = None
    figures: Figures | None = None

    def lines(self) -> list[str]:
        """Return what the shell prints."""
        lines = [self.outcome.message]
        if self.figures is not None and self.verdict is not None:
            lines += ["", *self.verdict.lines(), "", *self.figures.lines(), "", f"open {self.run / 'index.html'}"]
        return lines

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "run": str(self.run),
            "outcome": self.outcome.reason,
            "steps": self.outcome.step,
            "seconds": self.outcome.seconds,
            "verdict": None if self.verdict is None else self.verdict.lines(),
            "figures": None if self.figures is None else self.figures.to_json(),
        }


def run_experiment(request: Request, say: Say) -> Summary:
    """Train and, unless it was interrupted, finish a run.

    Raises:
        LatentscapeError: what the request or the data are wrong about.
    """
    with training(request, say) as (outcome, prepared):
        if outcome.reason == "interrupted":
            return Summary(request.run, outcome)
        from latentscape.experiment.finish import finish  # it draws: what is refused before does not wait for that

        return Summary(request.run, outcome, *finish(request.run, outcome, prepared, say, request.device))


def train(source: str, run: Path | str, say: Say = print, **options: Any) -> Summary:
    """Train a run from Python as ``latentscape train`` does; options are the fields of :class:`Request`."""
    return run_experiment(Request(str(source), Path(run), **options), say)
