"""What a sample costs, with its doubt."""

import math

import numpy as np
import pytest
import torch

from latentscape.measure.waves import wave_likelihood
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
