"""Controls at equal content similarity."""

import numpy as np
import pytest

from latentscape.benchmark.restyle_controls import counts, curves_of, nearest_with
from latentscape.benchmark.restyle_pairs import PAIRS, TEST, TUNING, Sounds

CURVE = [(-99.0, 1.0, 1.0), (0.0, 0.6, 0.4), (10.0, 0.2, 0.1)]


@pytest.mark.parametrize(
    ("content", "style"), [(1.0, 1.0), (0.8, 0.7), (0.6, 0.4), (0.4, 0.25), (0.2, 0.1), (-0.5, 0.1), (1.1, np.inf)]
)
def test_between_its_points_a_control_lies_on_lines(content, style):
    assert nearest_with(CURVE, content) == pytest.approx(style)


def test_of_a_curve_that_turns_back_the_best_with_enough_content_is_taken():
    curve = [(0.0, 1.0, 1.0), (1.0, 0.9, 0.3), (2.0, 0.7, 0.5), (3.0, 0.7, 0.6)]
    assert nearest_with(curve, 0.7) == pytest.approx(0.3)
    assert nearest_with(curve, 0.95) == pytest.approx(0.65)


def test_a_method_counts_where_it_beats_both():
    curves = {"added": CURVE, "filtered": [(0.0, 1.0, 1.0), (1.0, 0.9, 0.5)]}
    assert counts(0.2, 0.4, curves)
    assert not counts(0.3, 0.4, curves)  # the sum comes as near
    assert not counts(0.55, 0.85, curves)  # the filter does
    assert counts(0.45, 0.85, curves)


def test_curves_go_from_the_content_to_the_style():
    rate = 8000
    t = np.arange(rate) / rate
    content = 0.2 * np.sin(2 * np.pi * 200 * t)[None] * (np.sin(14 * t) > 0)
    style = 0.05 * np.random.default_rng(0).normal(size=(1, rate))
    found = curves_of(Sounds(content, style, rate))
    added = found["added"]
    assert added[0][1:] == [1.0, 1.0]
    assert added[1][1] > 0.9
    assert added[-1][2] < 0.05
    assert added[-1][1] < added[1][1]
    assert all(s >= 0 for curve in found.values() for _, _, s in curve)


def test_what_settings_were_chosen_by_is_not_what_is_reported():
    assert not set(TUNING) & set(TEST)
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
