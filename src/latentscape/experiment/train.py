"""Training from begin to end: a source becomes a run that is measured, judged and shown."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from latentscape.core.storage import load_object
from latentscape.data.corpus import ImageCorpus
from latentscape.experiment.figures import Figures
from latentscape.experiment.joined import Prepared
from latentscape.experiment.run import Request, Say, training
from latentscape.models.model import LatentModel
from latentscape.models.tagger import Tagger
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict

ENDED = frozenset({"finished", "patience", "diverged"})
"""Outcomes of a training that is not gone on with."""


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        run: its folder.
        outcome: how training ended.
        verdict: in plain words; ``None`` for an interrupted run.
        figures: on the test part.
        offers: commands to go on with.
    """

    run: Path
    outcome: Outcome
    verdict: Verdict | None = None
    figures: Figures | None = None
    offers: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what the shell prints."""
        lines = [self.outcome.message]
        if self.figures is not None and self.verdict is not None:
            lines += ["", *self.verdict.lines(), "", *self.figures.lines(), "", f"open {self.run / 'index.html'}"]
            lines += [f"next: {command}" for command in self.offers]
        return lines

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "run": str(self.run),
            "outcome": self.outcome.reason,
            "message": self.outcome.message,
            "steps": self.outcome.step,
            "seconds": self.outcome.seconds,
            "verdict": None if self.verdict is None else self.verdict.lines(),
            "figures": None if self.figures is None else self.figures.to_json(),
            "page": None if self.figures is None else str(self.run / "index.html"),
            "next": list(self.offers),
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

        verdict, figures = finish(request.run, outcome, prepared, say, request.device)
        return Summary(request.run, outcome, verdict, figures, offers_of(request.run, prepared))


def offers_of(run: Path, prepared: Prepared) -> tuple[str, ...]:
    """Return what is usually done next with a run of its kind, as commands."""
    name = quote(str(run))
    if isinstance(prepared.model, Tagger):
        return (f"latentscape tag {name} SOUND",)
    if isinstance(prepared.corpus, ImageCorpus) or not isinstance(prepared.model, LatentModel):
        return (f"latentscape sample {name} --out samples",)
    return (f"latentscape play {name}", f"latentscape walk {name} --out walk.wav")


def brought_to_end(request: Request, say: Say) -> bool:
    """Train and finish a run from wherever it stands, for programs that go on where they stopped.

    One that was begun, and stopped or killed on the way, goes on by its own record: of the request only the source is
    read then (and with ``overwrite`` it begins anew). One that came to its end is left as it is.

    Returns:
        Whether the run is at its end now; it is not where training was interrupted, and nothing is to be measured.

    Raises:
        LatentscapeError: as :func:`run_experiment`.
    """
    run = request.run
    begun = (run / "run.json").exists() and not request.overwrite
    if begun and (run / "verdict.json").exists() and load_object(run / "run.json").get("outcome") in ENDED:
        return True
    if begun:
        request = Request(request.source, run, resume=True)
    return run_experiment(request, say).outcome.reason in ENDED


def make_run(source: str, run: Path | str, say: Say = print, **options: Any) -> Summary:
    """Train a run from Python as ``latentscape train`` does; options are the fields of :class:`Request`."""
    return run_experiment(Request(str(source), Path(run), **options), say)
