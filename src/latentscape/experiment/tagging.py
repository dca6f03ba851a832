"""A run of a tagger: what it is worth on sounds that it has not heard."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from latentscape.core.errors import DataError, UsageError, nearest
from latentscape.data.corpus import Clip, SoundCorpus
from latentscape.data.leakage import Leak, identity, leakage
from latentscape.data.marks import weights
from latentscape.data.tags import tags_of
from latentscape.experiment.figures import Figures
from latentscape.experiment.joined import Opened
from latentscape.instrument.tagging import Listener
from latentscape.measure.measure import Number
from latentscape.measure.tagging import Tagging, measure_tagging


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
        rows = [f"  {name:{width}}  {count:6}  {shown(roc)}  {shown(pr)}" for name, count, roc, pr in self.table()]
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


def shown(value: float) -> str:
    """Return a figure in seven places, or a dash where there is none."""
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
        if tags is None or (one and not set(tags) & set(listener.classes)):
            continue
        scores.append(listener.hear(torch.from_numpy(corpus.wave(clip).copy())).scores.double().numpy())
        truth.append(weights(tags, listener.classes).long().numpy())
        tracks.append(identity(columns, clip.row, str(clip.path)))
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
    several = f"{found.tracks} tracks; low and high: 95 % by track"
    heading = f"{about} ({found.sounds} sounds, {several if found.tracks > 1 else '1 track'}):"
    return TagFigures(heading, numbers, found, leaks)


def part_figures(listener: Listener, prepared: Opened, part: Any, about: str) -> TagFigures:
    """Return the figures of a part of a run's own sounds."""
    corpus, split = prepared.corpus, prepared.split
    assert isinstance(corpus, SoundCorpus)
    leaks = leakage(corpus, split) if part == "test" else {}
    return tag_figures(listener, corpus, split.clips(corpus, part), about, leaks)
