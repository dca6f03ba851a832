"""The ear: what it is told of presence, and the steps of its sequence."""

import pytest
import torch

from latentscape.nets.ear import Ear, EarConfig


@pytest.mark.parametrize("samples", [127, 1000, 1024])
def test_sound_everywhere_is_what_nothing_said_means(samples):
    torch.manual_seed(0)
    ear, x = Ear(EarConfig(channels=(8,), dense=8), 0, 4), torch.randn(2, samples)
    torch.testing.assert_close(ear(x)[0], ear(x, None, torch.ones(2, samples))[0])


def test_the_sequence_has_a_step_for_every_part():
    ear = Ear(EarConfig(channels=(8,), dense=8), 0, 4, steps=3, every=256)
    for samples in (1, 256, 257, 4000):
        sequence = ear(torch.randn(2, samples))[1]
        assert sequence.shape == (2, 3, -(-samples // 256))
