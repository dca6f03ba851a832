"""Linear prediction: exact where the sound is predictable, and the least-squares answer where it is not."""

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream
from latentscape.edit.hole import Hole, cross_fade
from latentscape.edit.linear_prediction import LinearPrediction, burg, extrapolate, from_both_sides, janssen

RATE = 8000


def chord(n, seed=0):
    noise = 1e-5 * numpy_stream("rounding", seed).normal(size=n)  # as 16 bit would leave
    t = np.arange(n) / RATE
    phases = numpy_stream("chord", seed).uniform(0, 6, 3)
    return noise + sum(
        a * np.sin(2 * np.pi * f * t + p) for f, a, p in zip((200, 330, 1250), (0.3, 0.2, 0.1), phases, strict=True)
    )


def snr(truth, made):
    return 10 * np.log10((truth**2).sum() / ((truth - made) ** 2).sum())


def test_burg_finds_the_coefficients_that_made_a_sound():
    a = np.array([1.0, -1.6, 0.9])
    x = lfilter([1.0], a, numpy_stream("burg", 0).normal(size=20000))
    assert np.allclose(burg(x, 2), a, atol=0.02)
    assert len(burg(np.zeros(100), 5)) == 1
    assert len(burg(x[:4], 50)) <= 4
    assert np.abs(np.roots(burg(chord(500), 60))).max() < 1 + 1e-9


def test_sines_go_on():
    x = chord(3000)
    assert snr(x[2000:2400], extrapolate(x[:2000], 400, 300)) > 40
    assert not extrapolate(np.zeros(50), 20, 10).any()


@pytest.mark.parametrize("count", [1, 40])
def test_janssen_gives_back_what_is_predictable(count):
    x = chord(3000)
    start, end = 1500, 1500 + count
    made = janssen(x[:start], x[end:], np.zeros(count), 60)
    assert snr(x[start:end], made) > 30


def test_janssen_is_the_least_squares_answer():
    x = chord(900) + 0.05 * numpy_stream("noise", 0).normal(size=900)
    left, right, count = x[:400], x[450:], 50
    made = janssen(left, right, np.zeros(count), 12, iterations=1)
    a = burg(np.concatenate((left, np.zeros(count), right)), 12)
    whole = np.concatenate((left, np.zeros(count), right))
    # all residuals that see the gap, as one matrix: an independent solution
    rows = toeplitz(np.r_[a, np.zeros(900 - 13)], np.r_[a[0], np.zeros(899)])[12:]
    gap = slice(400, 450)
    best = -np.linalg.lstsq(rows[:, gap], rows @ whole, rcond=None)[0]
    assert np.allclose(made, best, atol=1e-6)


def test_long_gaps_and_ends_are_carried_on_from_what_there_is():
    x = chord(6000)
    filler = LinearPrediction()
    for start, end in ((2000, 4000), (0, 800), (5200, 6000), (3000, 3100)):
        hole = Hole(x[None, :start], x[None, end:], end - start, RATE)
        made = filler.fill(hole)
        assert made.shape == (1, end - start)
        assert snr(x[None, start:end], made) > 15
        backward = filler.fill(hole.reversed())[:, ::-1]
        assert np.allclose(made, backward, atol=1e-3)
    both = np.stack((x, x[::-1]))
    pair = filler.fill(Hole(both[:, :2000], both[:, 2300:], 300, RATE))
    assert np.allclose(pair[1], filler.fill(Hole(both[1:, :2000], both[1:, 2300:], 300, RATE))[0])
    assert np.allclose(from_both_sides(x[:2000], x[:0], 50, 200), extrapolate(x[:2000], 50, 200))


def test_a_cross_fade_keeps_the_level_of_sounds_that_differ():
    stream = numpy_stream("fade", 0)
    a, b = stream.normal(size=(2, 20000))
    middle = cross_fade(a, b)[8000:12000]
    assert middle.std() == pytest.approx(1, abs=0.05)
    assert np.allclose(cross_fade(a, a), a)
    assert np.allclose(cross_fade(a, b)[0], a[0], atol=1e-3)


def test_a_hole_says_what_it_can_not_be():
    x = np.zeros((1, 10))
    with pytest.raises(DataError, match="whole sound is missing"):
        Hole(x[:, :0], x[:, :0], 3, RATE)
    with pytest.raises(DataError, match="0 samples"):
        Hole(x, x, 0, RATE)
    with pytest.raises(DataError, match="expected"):
        Hole(x, np.zeros((2, 10)), 3, RATE)
