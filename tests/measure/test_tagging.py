"""Measures of tagging against scikit-learn, the bootstrap by track, calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from latentscape.core.errors import DataError
from latentscape.measure.estimate import resamples
from latentscape.measure.tagging import accuracy, average_precision, measure_tagging, reliability, roc_auc


def drawn(seed, n=60, k=4, levels=0):
    stream = np.random.default_rng(seed)
    truth = (stream.uniform(size=(n, k)) < 0.3).astype(np.int64)
    scores = np.clip(0.4 * truth + stream.uniform(0, 0.6, size=(n, k)), 0, 1)
    return (np.round(scores * levels) / levels if levels else scores), truth


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), n=st.integers(8, 80), levels=st.sampled_from([0, 2, 5]))
def test_they_are_those_of_scikit_learn(seed, n, levels):
    scores, truth = drawn(seed, n, levels=levels)
    mixed = (truth.sum(0) > 0) & (truth.sum(0) < n)
    for ours, theirs in ((roc_auc, roc_auc_score), (average_precision, average_precision_score)):
        found = ours(scores, truth)
        assert (np.isnan(found) == ~mixed).all()
        for tag in np.flatnonzero(mixed):
            assert found[tag] == pytest.approx(theirs(truth[:, tag], scores[:, tag]), abs=1e-12)


def test_perfect_and_blind():
    truth = np.eye(3, dtype=np.int64)[np.arange(30) % 3]
    assert roc_auc(truth.astype(float), truth).tolist() == [1, 1, 1]
    blind = np.full((30, 3), 0.5)
    assert roc_auc(blind, truth).tolist() == [0.5] * 3
    assert average_precision(blind, truth) == pytest.approx([1 / 3] * 3)
    assert accuracy(truth.astype(float), truth) == 1
    found = measure_tagging(truth.astype(float), truth, [str(i) for i in range(30)], ["a", "b", "c"], one=True)
    assert {name: one.value for name, one in found.numbers.items()} == {
        "macro_roc_auc": 1.0, "macro_pr_auc": 1.0, "accuracy": 1.0,
    }  # fmt: skip
    assert found.calibration.error == 0
    assert (found.count, found.sounds, found.tracks) == ((10, 10, 10), 30, 30)


def test_the_interval_is_by_track():
    """Ten copies of every sound are no more than the sound: the interval stays as wide as that of the tracks alone."""
    scores, truth = drawn(1, 40)
    tracks = [str(row) for row in range(40)]
    alone = measure_tagging(scores, truth, tracks, list("abcd"), one=False).numbers["macro_roc_auc"]
    copied = [np.repeat(one, 10, axis=0) for one in (scores, truth)]
    by_track = measure_tagging(*copied, list(np.repeat(tracks, 10)), list("abcd"), one=False).numbers["macro_roc_auc"]
    by_sound = measure_tagging(*copied, [str(r) for r in range(400)], list("abcd"), one=False).numbers["macro_roc_auc"]
    assert by_track.value == pytest.approx(alone.value)
    assert by_track.error == pytest.approx(alone.error, rel=1e-6)
    assert by_sound.error < 0.5 * by_track.error
    low, high = alone.interval()
    assert low < alone.value < high
    pairs = [str(row // 2) for row in range(40)]
    found = measure_tagging(scores, truth, pairs, list("abcd"), one=False).numbers["macro_roc_auc"]
    rows = [row for pair in resamples(20)[0].tolist() for row in (2 * pair, 2 * pair + 1)]
    assert found.replicates[0] == pytest.approx(roc_auc(scores[rows], truth[rows]).mean())


def test_one_track_gives_no_interval():
    scores, truth = drawn(0, 8)
    found = measure_tagging(scores, truth, ["one"] * 8, list("abcd"), one=False)
    assert found.tracks == 1
    assert all(estimate.interval() is None for estimate in found.numbers.values())


def test_calibration():
    said = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    scores, truth = np.stack([said, 1 - said], 1), np.stack([said > 0.5, said <= 0.5], 1).astype(np.int64)
    found = reliability(scores, truth, one=True)
    assert found.count == (2, 3)
    assert found.said == pytest.approx((0.85, (0.95 + 0.95 + 1.0) / 3))
    assert found.so == (1.0, 1.0)
    assert found.error == pytest.approx(2 / 5 * 0.15 + 3 / 5 * (1 - 2.9 / 3))
    pairs = reliability(scores, truth, one=False)
    assert sum(pairs.count) == 10


def test_what_it_refuses():
    scores, truth = drawn(0, 8)
    tracks = [str(row) for row in range(8)]
    with pytest.raises(DataError, match="a row a sound and a column a class"):
        measure_tagging(scores, truth, tracks[1:], list("abcd"), one=False)
    with pytest.raises(DataError, match="scores from 0 to 1"):
        measure_tagging(scores + 2, truth, tracks, list("abcd"), one=False)
    with pytest.raises(DataError, match="no class has sounds that have it and sounds that have not"):
        measure_tagging(scores, 0 * truth, tracks, list("abcd"), one=False)
