"""Copies come from where the surroundings fit, and fill gaps of any length."""

import numpy as np
import pytest

from latentscape.core.random import numpy_stream
from latentscape.edit.copy_context import CopyContext, mismatch
from latentscape.edit.hole import Hole

RATE = 8000


def test_mismatch_is_the_squared_distance():
    stream = numpy_stream("mismatch", 0)
    x, template = stream.normal(size=(2, 300)), stream.normal(size=(2, 20))
    direct = [((x[:, o : o + 20] - template) ** 2).sum() for o in range(281)]
    assert np.allclose(mismatch(x, template), direct)
    assert len(mismatch(template, x)) == 0


@pytest.mark.parametrize(("start", "end"), [(9000, 10000), (0, 500), (19000, 20000), (3000, 3001)])
def test_what_is_heard_twice_is_found_again(start, end):
    loop = numpy_stream("loop", 0).normal(size=(2, 5000))
    x = np.tile(loop, 4)
    made = CopyContext().fill(Hole(x[:, :start], x[:, end:], end - start, RATE))
    assert np.allclose(made, x[:, start:end], atol=1e-9)


@pytest.mark.parametrize(("left", "right"), [(600, 700), (600, 0), (0, 600), (40, 3)])
def test_little_context_is_carried_on_as_long_as_it_takes(left, right):
    t = np.arange(9000) / RATE
    x = 0.3 * np.sin(2 * np.pi * 400 * t)[None]
    made = CopyContext().fill(Hole(x[:, :left], x[:, 9000 - right :], 4000, RATE))
    assert made.shape == (1, 4000)
    assert np.isfinite(made).all()
    if left + right > 100:
        assert made.std() == pytest.approx(x.std(), rel=0.15)
