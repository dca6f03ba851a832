"""The average against its definition."""

import pytest
import torch
from torch import nn

from latentscape.train.averaging import Average


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_average_is_the_bias_corrected_sum(decay):
    parameter = nn.Parameter(torch.randn(5))
    average = Average({"w": parameter}, decay)
    total, weight = torch.zeros(5, dtype=torch.float64), 0.0
    for t in range(1, 30):
        with torch.no_grad():
            parameter.copy_(torch.randn(5))
        average.follow(t)
        total = decay * total + (1 - decay) * parameter.detach().double()
        weight = decay * weight + (1 - decay)
        torch.testing.assert_close(average.tensors()["w"].double(), total / weight, rtol=1e-4, atol=1e-5)


def test_initial_weights_never_enter():
    parameter = nn.Parameter(torch.full((2,), 1e6))
    average = Average({"w": parameter}, 0.99)
    with torch.no_grad():
        parameter.fill_(1.0)
    average.follow(1)
    assert torch.equal(average.tensors()["w"], torch.ones(2))


def test_worn_holds_the_average_and_gives_the_weights_back_to_the_bit():
    parameter = nn.Parameter(torch.randn(3))
    average = Average({"w": parameter}, 0.9)
    start, averaged = parameter.detach().clone(), torch.arange(3.0)
    average.load({"w": averaged})
    with average.worn():
        assert torch.equal(parameter, averaged)
    assert torch.equal(parameter, start)
    assert torch.equal(average.tensors()["w"], averaged)
