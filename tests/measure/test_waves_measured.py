"""What a sample costs, with its doubt."""

import math

import numpy as np
import pytest
import torch

from latentscape.measure.waves import by_recording, costs_more, wave_costs, wave_likelihood
from latentscape.models.autoregressive import Autoregressive
from latentscape.models.model import Terms


class Priced(Autoregressive):
    """Windows that cost what the context says."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def terms(self, x, context={}, *, samples=1, exact=True):
        return Terms(context["cost"][None], (), (), torch.distributions.Normal(0.0, 1.0))


def test_the_error_is_that_of_the_mean_over_samples():
    """A window of which little is present weighs as little in the error as in the value: the bootstrap says so."""
    stream = np.random.default_rng(0)
    count = np.where(np.arange(240) % 3 == 0, 20, 1000)
    cost = math.log(2) * count * (4 + stream.normal(size=240) * np.where(count < 1000, 2.0, 0.3))
    context = {"present": torch.arange(1000) < torch.from_numpy(count)[:, None], "cost": torch.from_numpy(cost)}
    rows = ({name: value[low : low + 80] for name, value in context.items()} for low in (0, 80, 160))
    found = wave_likelihood(Priced(), ((torch.zeros(80, 1, 1000), told) for told in rows))
    assert found["bits_per_sample"].value == pytest.approx(cost.sum() / count.sum() / math.log(2))
    again = stream.integers(240, size=(4000, 240))
    drawn = cost[again].sum(1) / count[again].sum(1) / math.log(2)
    assert found["bits_per_sample_error"].value == pytest.approx(drawn.std(), rel=0.1)
    assert found["distortion"].value == pytest.approx(cost.mean())


def test_windows_of_one_stretch_are_drawn_together():
    """Eight windows of a stretch that cost alike are one observation: the bootstrap of stretches says so."""
    stream = np.random.default_rng(1)
    stretch = math.log(2) * 100 * (4 + stream.normal(size=60))
    cost = stretch + stream.normal(size=(8, 60))
    windows = ({"cost": torch.from_numpy(row), "place": torch.full((60,), place)} for place, row in enumerate(cost))
    found = wave_likelihood(Priced(), ((torch.zeros(60, 1, 100), told) for told in windows))
    drawn = cost[:, stream.integers(60, size=(4000, 60))].mean((0, 2)) / 100 / math.log(2)
    assert found["bits_per_sample_error"].value == pytest.approx(drawn.std(), rel=0.1)


def test_windows_of_one_recording_are_drawn_together():
    """Thirty recordings of unlike lengths, whose windows cost alike: the bootstrap of recordings says how sure it is."""
    stream = np.random.default_rng(2)
    recording = np.repeat(np.arange(30), stream.integers(2, 9, 30))
    cost = (math.log(2) * 100 * (4 + stream.normal(size=30)))[recording] + stream.normal(size=len(recording))
    order = stream.permutation(len(recording))
    told = {"cost": torch.from_numpy(cost[order]), "recording.": torch.from_numpy(recording[order] + 7)}
    windows = ({name: value[low : low + 20] for name, value in told.items()} for low in range(0, len(order), 20))
    found = wave_likelihood(Priced(), ((torch.zeros(len(one["cost"]), 1, 100), one) for one in windows))
    sums, counts = np.bincount(recording, cost), np.bincount(recording) * 100
    again = stream.integers(30, size=(4000, 30))
    drawn = sums[again].sum(1) / counts[again].sum(1) / math.log(2)
    assert found["bits_per_sample_error"].value == pytest.approx(drawn.std(), rel=0.1)
    rows = by_recording(*wave_costs(Priced(), [(torch.zeros(len(order), 1, 100), told)]))
    assert rows[7] == (pytest.approx(sums[0]), counts[0])
    assert list(rows) == list(range(7, 37))


def test_what_is_hard_for_two_models_does_not_blur_their_difference():
    stream = np.random.default_rng(3)
    counts = stream.integers(500, 2000, 40)
    hard = 3 + stream.normal(size=40)
    one = counts * (hard + 0.05 + 0.03 * stream.normal(size=40)) * math.log(2)
    other = counts * hard * math.log(2)
    left_out = {"40": (1e9, 1.0)}
    rows, beside = (
        {str(at): pair for at, pair in enumerate(zip(nats.tolist(), counts.astype(float).tolist(), strict=True))}
        for nats in (one, other)
    )
    more, error, both = costs_more(rows | left_out, beside)
    assert both == 40
    assert more == pytest.approx((one.sum() - other.sum()) / counts.sum() / math.log(2))
    again = stream.integers(40, size=(4000, 40))
    drawn = (one - other)[again].sum(1) / counts[again].sum(1) / math.log(2)
    assert error == pytest.approx(drawn.std(), rel=0.1)
    assert costs_more(rows, {"0": (1.0, 1.0)}) is None
