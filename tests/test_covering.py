"""What the tests' own choice of combinations promises."""

import itertools

from covering import covering


def test_every_three_values_meet():
    factors = ("abc", (1, 2, 3, 4), (True, False), "xyz", (0.5, 1.5))
    chosen = covering(*factors)
    for places in itertools.combinations(range(5), 3):
        met = {tuple(one[place] for place in places) for one in chosen}
        assert met == set(itertools.product(*(factors[place] for place in places)))
    assert 36 <= len(chosen) < 60  # of 144; three of four, three and three values can't do with fewer than 36
