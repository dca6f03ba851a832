"""Combinations of factors for a test: far fewer than all, and every few values of different factors meet in one."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np


def covering(*factors: Sequence[Any], strength: int = 3) -> list[tuple[Any, ...]]:
    """Return combinations in which any ``strength`` values of different factors occur together.

    Greedy: each is the first of all combinations that shows most of what was not seen yet.
    """
    everything = np.array(list(itertools.product(*(range(len(factor)) for factor in factors))))
    columns = itertools.combinations(range(len(factors)), strength)
    # a number for every choice of values of so many factors: [combinations, choices of factors]
    shown = np.stack(
        [np.unique(everything[:, list(some)], axis=0, return_inverse=True)[1].reshape(-1) for some in columns], axis=1
    )
    shown = shown + np.concatenate(([0], (shown.max(0) + 1).cumsum()[:-1]))
    unseen = np.ones(shown.max() + 1, bool)
    chosen = []
    while unseen.any():
        best = int(unseen[shown].sum(1).argmax())
        unseen[shown[best]] = False
        chosen.append(tuple(factor[i] for factor, i in zip(factors, everything[best], strict=True)))
    return chosen
