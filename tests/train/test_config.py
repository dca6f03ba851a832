"""Schedules against torch's own, and what may change when a run is resumed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.train.config import Settled, TrainConfig, continued, learning_rate

S = 40


def course(**changes):
    config = TrainConfig(**{"learning_rate": 0.1} | changes)
    return [learning_rate(config, step, S) for step in range(S)]


def torch_course(build):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    schedule = build(optimiser)
    rates = []
    for _ in range(S):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return rates


def test_cosine_is_torchs():
    expected = torch_course(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, S))
    assert course(schedule="cosine") == pytest.approx(expected, rel=1e-6)


def test_one_cycle_is_torchs():
    # torch counts its last step as the end of the course; ours would end one step later, as cosine does.
    def build(o):
        return torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=10 * S, final_div_factor=1e4 / 25)

    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    schedule = build(optimiser)
    config = TrainConfig(learning_rate=0.1, schedule="one_cycle")
    for step in range(10 * S):
        assert learning_rate(config, step, 10 * S) == pytest.approx(optimiser.param_groups[0]["lr"], abs=2e-3)
        optimiser.step()
        if step < 10 * S - 1:
            schedule.step()
    rates = [learning_rate(config, step, 10 * S) for step in range(10 * S)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] == pytest.approx(0.1 / 25)


def test_constant_is_constant_after_a_linear_warm_up():
    rates = course(schedule="constant", warm_up=4)
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert set(rates[4:]) == {0.1}


@settings(deadline=None, max_examples=25)
@given(
    schedule=st.sampled_from(["constant", "cosine", "one_cycle"]),
    warm_up=st.integers(0, 60),
    max_steps=st.integers(1, 50),
)
def test_rates_are_positive_and_never_above_the_peak(schedule, warm_up, max_steps):
    config = TrainConfig(learning_rate=0.1, schedule=schedule, warm_up=warm_up)
    rates = [learning_rate(config, step, max_steps) for step in range(max_steps)]
    assert all(0 < rate <= 0.1 * (1 + 1e-12) for rate in rates)


def settled(config):
    return Settled(config=config, max_steps=77, validate_every=5, precision="32", threads=1, device="cpu")


def test_a_resumed_run_obeys_what_was_settled():
    config = TrainConfig(minutes=3, threads="auto")
    assert continued(settled(config), config).max_steps == 77


def test_a_resumed_run_may_be_longer_or_slower():
    changed = continued(settled(TrainConfig()), TrainConfig(max_steps=99, learning_rate=1e-4))
    assert changed.max_steps == 99
    assert changed.config.learning_rate == 1e-4


@pytest.mark.parametrize("change", [{"batch_size": 64}, {"seed": 1}, {"averaging": 0.9}, {"minutes": 1}])
def test_a_resumed_run_can_not_become_another(change):
    name = next(iter(change))
    with pytest.raises(ConfigError, match=rf"train\.{name}: got .*started with") as error:
        continued(settled(TrainConfig()), TrainConfig(**change))
    assert "\n" not in str(error.value)


def test_settled_survives_json():
    record = settled(TrainConfig(threads="auto", minutes=2))
    assert Settled.model_validate_json(record.model_dump_json()) == record


def test_wrong_values_are_refused_by_name():
    with pytest.raises(ConfigError, match="averaging"):
        parse(TrainConfig, {"averaging": 1.0})
    with pytest.raises(ConfigError, match="learning_rate"):
        parse(TrainConfig, {"learning_rates": 1.0})
