import json

import numpy as np
import pytest
import torch
from scipy import stats

from latentscape.core.errors import DataError, UsageError
from latentscape.measure.estimate import Estimate, counts, mean_of, recentred, resamples


def test_the_mean_and_its_error_are_numpys():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1)) * 3 + 5
    estimate = mean_of(values, "nats", replicates=1000)
    assert estimate.value == pytest.approx(np.mean(values.numpy(), dtype=float))
    assert estimate.error == pytest.approx(float(values.std()) / 20, rel=0.08)
    low, high = estimate.interval(0.9)
    middle = stats.norm.interval(0.9, estimate.value, float(values.std()) / 20)
    assert (low, high) == pytest.approx(middle, abs=0.05)
    assert estimate.unit == "nats"


def test_replicates_are_means_of_resampled_items():
    values = torch.randn(30)
    drawn = resamples(30, 7, seed=3)
    estimate = mean_of(values, "", replicates=7, seed=3)
    assert estimate.replicates == pytest.approx([float(values[row].double().mean()) for row in drawn])
    for row, count in zip(drawn, counts(30, 7, seed=3), strict=True):
        assert count.tolist() == np.bincount(row, minlength=30).tolist()


def test_intervals_cover():
    stream = torch.Generator().manual_seed(4)
    held = 0
    for repeat in range(200):
        values = torch.empty(60).exponential_(generator=stream)
        low, high = mean_of(values, "", seed=repeat).interval(0.9)
        held += low <= 1 <= high
    assert 0.82 <= held / 200 <= 0.95  # percentile intervals of a skewed law fall a little short of 0.9


def test_resamples_are_functions_of_count_and_seed():
    assert torch.equal(resamples(50, 4), resamples(50, 9)[:4])
    assert not torch.equal(resamples(50), resamples(50, seed=1))
    assert resamples(50).min() == 0
    assert resamples(50).max() == 49
    state = torch.random.get_rng_state()
    resamples(10)
    assert torch.equal(state, torch.random.get_rng_state())
    # pinned: replicates of runs on other machines and days must pair
    assert resamples(10, 1)[0].tolist() == [8, 2, 1, 2, 9, 1, 2, 2, 5, 8]


def test_differences_of_replicates_are_paired():
    hard = torch.randn(500) * 10
    one, other = mean_of(hard, "nats"), mean_of(hard + 0.1 + 0.01 * torch.randn(500), "nats")
    difference = np.subtract(other.replicates, one.replicates)
    assert difference.std() < 0.01 < one.error
    assert difference.mean() == pytest.approx(0.1, abs=0.01)


def test_json_there_and_back():
    estimate = mean_of(torch.randn(5), "dB", replicates=3)
    assert Estimate.from_json(json.loads(json.dumps(estimate.to_json()))) == estimate
    assert Estimate.from_json({"value": 2, "unit": ""}) == Estimate(2.0, "")
    for wrong in ({"unit": "dB"}, {"value": "much", "unit": "dB"}, {"value": 1.0, "unit": "", "replicates": 3}):
        with pytest.raises(DataError, match="expected value, unit and replicates"):
            Estimate.from_json(wrong)


def test_a_single_item_or_number_has_no_doubt():
    estimate = mean_of(torch.ones(1), "nats")
    assert estimate.interval() is None
    assert estimate.error is None
    assert str(estimate) == "1 nats"
    assert str(Estimate(2.0, "", (1.0, 3.0))) == "2 ± 1.4"


def test_recentred_replicates_keep_their_spread():
    estimate = recentred(1.0, "", [2.0, 3.0, 4.0])
    assert estimate.replicates == (0.0, 1.0, 2.0)
    assert recentred(1.0, "", []).replicates == ()


def test_refusals():
    for values in (torch.zeros(0), torch.tensor([1.0, float("nan")]), torch.tensor([float("inf")])):
        with pytest.raises(DataError, match="expected some, all finite"):
            mean_of(values, "")
    with pytest.raises(DataError, match="0 items"):
        resamples(0)
    with pytest.raises(UsageError, match="level of 95"):
        Estimate(0.0, "", (1.0, 2.0)).interval(95.0)
