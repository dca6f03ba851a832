"""A run of a tagger: what it is worth on sounds that it has not heard, its verdict, and the page that shows it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentscape import __version__
from latentscape.core.errors import DataError, UsageError, nearest
from latentscape.core.storage import load_json
from latentscape.data.corpus import Clip, SoundCorpus
from latentscape.data.leakage import Leak, identity, leakage
from latentscape.data.marks import weights
from latentscape.data.tags import tags_of
from latentscape.experiment.figures import Figures
from latentscape.experiment.run import Prepared
from latentscape.instrument.tagging import Listener
from latentscape.measure.measure import Number
from latentscape.measure.tagging import Tagging, measure_tagging
from latentscape.report.items import Commands, Item, Page, Picture, Section, Table, Text
from latentscape.report.page import write_page
from latentscape.report.pictures import learning_curves
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict


@dataclass(frozen=True)
class TagFigures(Figures):
    """Figures of a tagger, with its table of tags and the leakage of the split.

    Attributes:
        tagging: everything measured.
        leaks: by label; empty for other sounds than the run's own.
    """

    tagging: Tagging
    leaks: dict[str, Leak]

    def lines(self) -> list[str]:
        """Return a line a number, then one a tag."""
        found = self.tagging
        width = max(len(name) for name in (*found.classes, "tag"))
        rows = [f"  {name:{width}}  {count:6}  {_figure(roc)}  {_figure(pr)}" for name, count, roc, pr in self.table()]
        return [*super().lines(), "", f"  {'tag':{width}}  sounds  ROC-AUC   PR-AUC", *rows]

    def table(self) -> list[tuple[str, int, float, float]]:
        """Return tag, sounds that have it, ROC-AUC and PR-AUC."""
        found = self.tagging
        return list(zip(found.classes, found.count, found.roc, found.precision, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        tags = {
            name: {"sounds": count, "roc_auc": _finite(roc), "pr_auc": _finite(pr)}
            for name, count, roc, pr in self.table()
        }
        calibration = self.tagging.calibration
        bins = [
            {"said": said, "so": so, "count": count}
            for said, so, count in zip(calibration.said, calibration.so, calibration.count, strict=True)
        ]
        leaks = {name: {"clips": one.clips, "values": one.values} for name, one in self.leaks.items()}
        return super().to_json() | {"tags": tags, "calibration": bins, "leakage": leaks}


def _figure(value: float) -> str:
    return "      -" if math.isnan(value) else f"{value:7.3f}"


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def tag_figures(
    listener: Listener, corpus: SoundCorpus, clips: Iterable[Clip], about: str, leaks: dict[str, Leak]
) -> TagFigures:
    """Listen to clips, and compare what is heard with what their label says; those without it are passed over.

    Raises:
        UsageError: the corpus has no such label.
        DataError: no clip has it.
    """
    label, one = listener.model.config.label, listener.model.config.law == "one"
    columns = corpus.clips.columns
    if label not in columns:
        raise UsageError(f"{corpus.name} has no label '{label}' to compare with{nearest(label, columns)}")
    scores, truth, tracks = [], [], []
    for clip in clips:
        tags = tags_of(columns[label].text(clip.row))
        if tags is None or (one and tags[0] not in listener.classes):
            continue
        scores.append(listener.hear(torch.from_numpy(corpus.wave(clip).copy())).scores.double().numpy())
        truth.append(weights(tags, listener.classes).long().numpy())
        tracks.append(identity(columns, clip.row, clip.name.partition("@")[0]))
    if not scores:
        raise DataError(f"{corpus.name}: none of the sounds has a '{label}' that {listener.name} knows")
    found = measure_tagging(np.stack(scores), np.stack(truth), tracks, listener.classes, one=one)
    numbers: dict[str, Number] = {}
    for name, estimate in found.numbers.items():
        numbers[name] = Number(estimate.value, estimate.unit)
        if interval := estimate.interval():
            numbers |= {f"{name}_low": Number(interval[0], ""), f"{name}_high": Number(interval[1], "")}
    numbers["calibration_error"] = Number(found.calibration.error, "")
    numbers |= {f"leakage_{name}": Number(100 * one.clips, "% of clips") for name, one in leaks.items()}
    heading = f"{about} ({found.sounds} sounds, {found.tracks} tracks; low and high: 95 % by track):"
    return TagFigures(heading, numbers, found, leaks)


def part_figures(listener: Listener, prepared: Prepared, part: Any, about: str) -> TagFigures:
    """Return the figures of a part of a run's own sounds."""
    corpus, split = prepared.corpus, prepared.split
    assert isinstance(corpus, SoundCorpus)
    leaks = leakage(corpus, split) if part == "test" else {}
    return tag_figures(listener, corpus, split.clips(corpus, part), about, leaks)


def show(run: Path, listener: Listener, outcome: Outcome, verdict: Verdict, figures: TagFigures) -> None:
    """Write the page of a run."""
    facts = load_json(run / "run.json")
    rows = tuple((name, f"{number.value:.4g}", number.unit) for name, number in figures.numbers.items())
    tags = tuple((name, count, _figure(roc), _figure(pr)) for name, count, roc, pr in figures.table())
    calibration = figures.tagging.calibration
    said = tuple(
        (f"{said:.2f}", f"{so:.2f}", count)
        for said, so, count in zip(calibration.said, calibration.so, calibration.count, strict=True)
    )
    curves = learning_curves(outcome.history, {"distortion": "cross-entropy (nats)"})
    figure_items: tuple[Item, ...] = (
        Table("on the test part", ("measure", "value", "unit"), rows),
        Table("tag by tag", ("tag", "sounds", "ROC-AUC", "PR-AUC"), tags, numeric=(2, 3)),
        Table("calibration", ("said", "so", "scores"), said, "Mean score, and how often it was so.", numeric=(0, 1)),
    )
    leading = "accuracy" if "accuracy" in figures.numbers else "macro_pr_auc"
    page = Page(
        title=run.name,
        lead=f"A tagger of {facts['source'].rstrip('/').rpartition('/')[2]}, recipe {facts['recipe']}.",
        facts=(
            (f"{figures.numbers[leading].value:.3f}", leading.replace("_", " ") + ", test part"),
            (f"{figures.numbers['macro_roc_auc'].value:.3f}", "macro ROC-AUC"),
            (f"{outcome.step:,}", "training steps"),
        ),
        sections=(
            Section("Verdict", (Text("\n\n".join(verdict.lines()), "warning" if verdict.overfitted else "good"),)),
            Section("Figures", figure_items, f"{len(listener.classes)} tags, segments averaged to sounds."),
            Section("Training", (Picture("learning curves", curves),)),
            Section("Make it again", (Commands("this run", (" ".join(facts["command"]),)),)),
        ),
        footer=f"latentscape {__version__}, {facts['started'][:10]}",
    )
    write_page(page, run / "index.html")
