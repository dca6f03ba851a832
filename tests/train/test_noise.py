"""Every rank's rows, put together, are one process's draw."""

import pytest
import torch
from torch.distributions import Exponential, Laplace, Normal, Uniform

from latentscape.core.errors import UsageError
from latentscape.train.noise import GlobalNoise

B = 3
DRAWS = {
    "normal": lambda b: Normal(torch.zeros(b, 2), 1.0).rsample(),
    "normal, samples first": lambda b: Normal(torch.zeros(b, 2), 1.0).rsample((5,)),
    "laplace": lambda b: Laplace(torch.zeros(b, 2), 1.0).rsample((1,)),
    "uniform": lambda b: Uniform(torch.zeros(b, 2), 1.0).rsample((1,)),
    "exponential": lambda b: Exponential(torch.ones(b, 2)).rsample(),
    "randn": lambda b: torch.randn(b, 4),
    "rand": lambda b: torch.rand(1, b, 4),
    "randn_like": lambda b: torch.randn_like(torch.zeros(b, 4)),
    "native dropout": lambda b: torch.native_dropout(torch.ones(b, 4), 0.5, True)[0],
    "dropout": lambda b: torch.nn.functional.dropout(torch.ones(b, 4), 0.5),
}


def draw(function, rows, rank=0, world=1):
    torch.manual_seed(5)
    if world == 1:
        return function(rows), torch.rand(1)
    with GlobalNoise(rows, rank, world):
        return function(rows), torch.rand(1)


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("world", [2, 4])
def test_rows_of_all_ranks_are_one_process_draw(name, world):
    whole, after = draw(DRAWS[name], world * B)
    parts = [draw(DRAWS[name], B, rank, world) for rank in range(world)]
    axis = next(i for i, n in enumerate(whole.shape) if n == world * B)
    assert torch.equal(torch.cat([part for part, _ in parts], dim=axis), whole)
    assert all(torch.equal(rest, after) for _, rest in parts)  # the generator moved on as one process's did


def test_bernoulli_rows_differ_between_ranks_and_have_their_probability():
    probability = torch.full((B, 4000), 0.3)
    a, b = (draw(lambda rows: torch.bernoulli(probability), B, rank, 2)[0] for rank in (0, 1))
    assert not torch.equal(a, b)
    assert a.mean() == pytest.approx(0.3, abs=0.02)
    assert set(a.unique().tolist()) == {0.0, 1.0}


def test_a_draw_without_the_batch_is_the_same_everywhere():
    (a, _), (b, _) = (draw(lambda rows: torch.randn(7, 5), B, rank, 2) for rank in (0, 1))
    assert torch.equal(a, b)
    assert torch.equal(a, draw(lambda rows: torch.randn(7, 5), B)[0])


def test_gradients_pass_through_a_reparameterised_draw():
    mean = torch.zeros(B, 2, requires_grad=True)
    with GlobalNoise(B, 1, 2):
        Normal(mean, torch.ones(B, 2)).rsample((1,)).sum().backward()
    assert torch.equal(mean.grad, torch.ones(B, 2))


def test_a_generator_of_ones_own_is_left_alone():
    expected = torch.randn(B, 2, generator=torch.Generator().manual_seed(1))
    with GlobalNoise(B, 1, 2):
        assert torch.equal(torch.randn(B, 2, generator=torch.Generator().manual_seed(1)), expected)


def test_a_draw_that_can_not_be_shared_is_refused_and_not_faked():
    with pytest.raises(UsageError, match=r"multinomial.*train\.devices=1"), GlobalNoise(B, 0, 2):
        torch.multinomial(torch.ones(4), B)
