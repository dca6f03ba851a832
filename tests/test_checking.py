"""Annotations are executed in tests, the first calls of each."""

import jaxtyping
import pytest
import torch

from checking import CALLS, left
from latentscape.core.storage import save_json
from latentscape.nets.film import Film


def test_a_wrong_shape_is_refused(tmp_path):
    film = Film(2, 3)
    with pytest.raises(jaxtyping.TypeCheckError, match="told"):
        film(torch.zeros(4, 3, 5), torch.zeros(3, 1, 2))
    with pytest.raises(jaxtyping.TypeCheckError, match="path"):
        save_json("a word for a path", {})


def test_every_test_has_its_share():
    left.refill()
    assert not jaxtyping.config.jaxtyping_disable
    for _ in range(CALLS):
        left.take()
    assert jaxtyping.config.jaxtyping_disable
    left.refill()
    assert not jaxtyping.config.jaxtyping_disable
