"""The one place that joins: configuration and corpus -> loop -> verdict -> map -> page."""

from pathlib import Path
from typing import Any

from latentscape.experiment.card import Card, card
from latentscape.experiment.config import RunConfig, resolve
from latentscape.experiment.evaluate import evaluate, evaluate_paths
from latentscape.experiment.examine import examine
from latentscape.experiment.figures import Figures
from latentscape.experiment.finish import Summary, finish
from latentscape.experiment.run import Request, Say, train_run
from latentscape.experiment.second_stage import second_stage
from latentscape.experiment.use import use_of_latents

__all__ = [
    "Card",
    "Figures",
    "Request",
    "RunConfig",
    "Summary",
    "card",
    "evaluate",
    "evaluate_paths",
    "examine",
    "resolve",
    "run_experiment",
    "second_stage",
    "train",
    "use_of_latents",
]


def run_experiment(request: Request, say: Say) -> Summary:
    """Train and, unless it was interrupted, finish a run."""
    outcome = train_run(request, say)
    if outcome.reason == "interrupted":
        return Summary(request.run, outcome)
    return finish(request.run, outcome, say, request.device)


def train(source: str, run: Path | str, say: Say = print, **options: Any) -> Summary:
    """Train a run from Python as ``latentscape train`` does; options are the fields of :class:`Request`."""
    return run_experiment(Request(str(source), Path(run), **options), say)
