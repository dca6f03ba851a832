r"""How well a tagger tells sounds apart, with intervals by track.

Letters: n sounds, K classes or tags, s scores ``[n, K]``, y truth ``[n, K]`` of zeros and ones.

* **ROC-AUC** of a tag: the chance that a sound which has it scores above one which has not, ties counting half,
  :math:`\frac{R - n_1 (n_1 + 1) / 2}{n_1 n_0}` with R the sum of the (mean) ranks of those that have it (Hanley and
  McNeil 1982); 0.5 for blind guesses whatever the tag's frequency
* **PR-AUC** of a tag: average precision, :math:`\sum_i (r_i - r_{i-1}) p_i` over distinct scores from above, p the
  precision and r the recall (scikit-learn's definition, no interpolation); the tag's frequency for blind guesses
* *macro*: the mean over tags that some sound has and some has not (others have no such number)
* accuracy: share of sounds whose greatest score is their class
* calibration: expected calibration error (Guo et al. 2017, eq. 3) :math:`\sum_b \frac{n_b}{n} |\bar s_b - \bar y_b|`
  over 10 bins of equal width; of one class, of the greatest score and whether it is right; of tags, over all pairs

Sounds of one track are not independent, so the bootstrap draws tracks with replacement, each with all its sounds
(:mod:`latentscape.measure.estimate`). A drawn sample in which a tag has no sound, or every sound, leaves that tag out.
One track alone says nothing of others: it gives no interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from latentscape.core.errors import DataError
from latentscape.measure.estimate import REPLICATES, Estimate, resamples

Scores = Float[np.ndarray, "n k"]
Truth = Int[np.ndarray, "n k"]
BINS = 10


def roc_auc(scores: Scores, truth: Truth) -> Float[np.ndarray, " k"]:
    """Return the ROC-AUC of every tag; NaN where no sound has it, or every one."""
    from scipy.stats import rankdata  # takes seconds to import

    ones = truth.sum(0).astype(float)
    zeros = len(truth) - ones
    ranks = np.asarray(rankdata(scores, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((ranks * truth).sum(0) - ones * (ones + 1) / 2) / np.where(ones * zeros > 0, ones * zeros, np.nan)


def average_precision(scores: Scores, truth: Truth) -> Float[np.ndarray, " k"]:
    """Return the average precision of every tag; NaN where no sound has it, or every one."""
    return np.array([_average_precision(s, y) for s, y in zip(scores.T, truth.T, strict=True)], dtype=float)


def _average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    total = truth.sum()
    if not 0 < total < len(truth):
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of every run of equal scores
    hits = np.cumsum(truth[order])[last]
    precision, recall = hits / (last + 1), hits / total
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def accuracy(scores: Scores, truth: Truth) -> float:
    """Return the share of sounds whose greatest score is a class that they have."""
    return float(truth[np.arange(len(truth)), scores.argmax(1)].mean())


@dataclass(frozen=True)
class Reliability:
    """Calibration: what was said, and how often it was so.

    Attributes:
        said: mean score in each bin that holds any.
        so: share of them that were true.
        count: how many.
        error: the expected calibration error.
    """

    said: tuple[float, ...]
    so: tuple[float, ...]
    count: tuple[int, ...]
    error: float


def reliability(scores: Scores, truth: Truth, *, one: bool) -> Reliability:
    """Return the calibration of greatest scores (``one`` class a sound), or of all scores."""
    if one:
        said, so = scores.max(1), truth[np.arange(len(truth)), scores.argmax(1)]
    else:
        said, so = scores.ravel(), truth.ravel()
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    full = count > 0
    means = [np.bincount(place, one, BINS)[full] / count[full] for one in (said, so.astype(float))]
    error = float((count[full] / count.sum() * np.abs(means[0] - means[1])).sum())
    return Reliability(tuple(means[0].tolist()), tuple(means[1].tolist()), tuple(count[full].tolist()), error)


@dataclass(frozen=True)
class Tagging:
    """What a tagger is worth.

    Attributes:
        numbers: ``macro_roc_auc``, ``macro_pr_auc`` and, of one class a sound, ``accuracy``; with a bootstrap by track.
        classes: of the table.
        count: sounds that have each class.
        roc: of each; NaN where it has no such number.
        precision: average precision, likewise.
        calibration: of the scores.
        sounds: how many.
        tracks: how many.
    """

    numbers: dict[str, Estimate]
    classes: tuple[str, ...]
    count: tuple[int, ...]
    roc: tuple[float, ...]
    precision: tuple[float, ...]
    calibration: Reliability
    sounds: int
    tracks: int


def measure_tagging(
    scores: Scores,
    truth: Truth,
    tracks: Sequence[str],
    classes: Sequence[str],
    *,
    one: bool,
    replicates: int = REPLICATES,
) -> Tagging:
    """Return every measure of the module.

    Args:
        scores: a row a sound.
        truth: zeros and ones.
        tracks: what each sound is part of.
        classes: names of the columns.
        one: whether one class holds of every sound.
        replicates: of the bootstrap.

    Raises:
        DataError: there is no sound, shapes differ, a score is no probability, or no class has both sounds that have it
            and sounds that have not.
    """
    if scores.shape != truth.shape or len(scores) != len(tracks) or scores.shape[1:] != (len(classes),):
        arrived = f"scores {scores.shape}, truth {truth.shape}, {len(tracks)} tracks, {len(classes)} classes"
        raise DataError(f"measure_tagging got {arrived}, expected a row a sound and a column a class")
    if not len(scores) or not bool(((scores >= 0) & (scores <= 1)).all()):
        raise DataError("measure_tagging expected at least one sound, and scores from 0 to 1")
    roc, precision = roc_auc(scores, truth), average_precision(scores, truth)
    if np.isnan(roc).all():
        raise DataError("measure_tagging: no class has sounds that have it and sounds that have not")
    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "macro_roc_auc": lambda rows: _mean(roc_auc(scores[rows], truth[rows])),
        "macro_pr_auc": lambda rows: _mean(average_precision(scores[rows], truth[rows])),
    }
    if one:
        statistics["accuracy"] = lambda rows: accuracy(scores[rows], truth[rows])
    members = _members(tracks)
    whole = np.arange(len(scores))
    drawn = resamples(len(members), replicates if len(members) > 1 else 0).tolist()
    draws = [np.concatenate([members[track] for track in draw]) for draw in drawn]
    numbers = {
        name: Estimate(of(whole), "", tuple(value for value in map(of, draws) if not np.isnan(value)))
        for name, of in statistics.items()
    }
    return Tagging(
        numbers,
        tuple(classes),
        tuple(truth.sum(0).tolist()),
        tuple(roc.tolist()),
        tuple(precision.tolist()),
        reliability(scores, truth, one=one),
        len(scores),
        len(members),
    )


def _members(tracks: Sequence[str]) -> list[np.ndarray]:
    rows: dict[str, list[int]] = {}
    for row, track in enumerate(tracks):
        rows.setdefault(track, []).append(row)
    return [np.array(of) for of in rows.values()]


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
