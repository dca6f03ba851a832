"""What is set in begins and ends where the sound does, and bends no more than it."""

import numpy as np
import pytest

from latentscape.core.random import numpy_stream
from latentscape.edit.hole import Hole
from latentscape.edit.splice import JOIN_SECONDS, blend, second_differences, splice, unbend, usual_bend

RATE = 8000


def sound(n, channels=1, seed=0):
    stream = numpy_stream("sound", seed)
    t = np.arange(n) / RATE
    tones = np.stack([0.3 * np.sin(2 * np.pi * (200 + 110 * c) * t + c) for c in range(channels)])
    return tones + 0.002 * stream.normal(size=(channels, n))


def near_joins(wave, start, end):
    near = round(JOIN_SECONDS * RATE)
    bend = np.abs(second_differences(wave))
    left = bend[:, max(0, start - 2) : min(end, start - 1 + near)] if start else bend[:, :0]
    right = bend[:, max(0, start - 2, end - 1 - near) : end] if end < wave.shape[1] else bend[:, :0]
    return np.concatenate((left, right), 1).max(1)


@pytest.mark.parametrize(("start", "end"), [(2000, 2600), (2000, 2003), (2000, 2100), (0, 300), (3700, 4000)])
def test_joins_never_click_however_wrong_the_filling(start, end):
    wave = sound(4000, 2)
    known = np.ones(4000, bool)
    known[start:end] = False
    limits = usual_bend(wave, known)
    hole = Hole(wave[:, :start], wave[:, end:], end - start, RATE)
    filling = numpy_stream("wrong", 1).choice([-0.5, 0.5], size=(2, end - start))
    spliced = wave.copy()
    spliced[:, start:end] = splice(hole, filling, limits)
    assert (near_joins(spliced, start, end) <= limits).all()
    raw = wave.copy()
    raw[:, start:end] = filling
    assert (near_joins(raw, start, end) > limits).any()


def test_a_filling_that_fits_stays():
    wave = sound(4000)
    hole = Hole(wave[:, :2000], wave[:, 2500:], 500, RATE)
    truth = wave[:, 2000:2500]
    made = splice(hole, truth, np.array([np.inf]))
    assert np.array_equal(made[:, 40:-40], truth[:, 40:-40])
    assert np.abs(made - truth).max() < 0.02
    assert np.array_equal(unbend(hole, truth, np.array([np.inf])), truth)


def test_blending_meets_both_sides():
    wave = sound(4000)
    hole = Hole(wave[:, :2000], wave[:, 2500:], 500, RATE)
    made = blend(hole, np.zeros((1, 500)))
    assert made[0, 0] == pytest.approx(wave[0, 2000], abs=0.02)
    assert made[0, -1] == pytest.approx(wave[0, 2499], abs=0.02)
    assert not made[:, 100:400].any()
    single = Hole(wave[:, :2000], wave[:, 2001:], 1, RATE)
    assert blend(single, np.zeros((1, 1))).shape == (1, 1)


def test_the_usual_bend_is_that_of_known_samples():
    wave = sound(4000)
    known = np.ones(4000, bool)
    known[1000:1100] = False
    damaged = wave.copy()
    damaged[:, 1000:1100] = 9.0
    assert usual_bend(damaged, known)[0] < 0.05
    assert np.isinf(usual_bend(wave[:, :4], np.array([True, False, True, True])))[0]
