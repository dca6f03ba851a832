"""Recurrent models of waves: the law's own identities, and a state carried from window to window."""

import itertools
import math

import pytest
import torch

from latentscape.core.errors import ConfigError
from latentscape.data.consecutive import Consecutive
from latentscape.data.examples import DataConfig, Examples
from latentscape.measure.use import condition_use
from latentscape.measure.waves import wave_likelihood
from latentscape.models.memory import BEFORE, PLACE, Memory
from latentscape.models.model import Step
from latentscape.models.objectives import Reconstruction, ReconstructionConfig
from latentscape.models.samplernn import Recurrent, RecurrentConfig
from latentscape.nets.samplernn import SampleRnnConfig
from latentscape.nets.wavenet_sampler import Manner

TINY = SampleRnnConfig(frames=(4, 2), past=2, width=16, head=16)


def made(n: int = 16, levels: int = 32, **changes) -> Recurrent:
    likelihood = {"kind": "categorical", "levels": levels}
    config = RecurrentConfig.model_validate({"net": TINY, "likelihood": likelihood, **changes})
    model = Recurrent(config, (1, n), {"speaker": 3, "digit": 4})
    with torch.no_grad():
        model.conditional.net.head[1].weight *= 30
        for tier in model.conditional.net.tiers:
            tier.begin.normal_()
    return model.eval()


def test_the_law_of_all_sequences_sums_to_one():
    model = made(4, levels=3)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))[:, None]
    total = model.law({}, len(every)).log_prob(every).detach().exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


def test_draws_agree_with_the_density():
    model = made(4, levels=3)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))[:, None]
    law = model.law({}, len(every)).log_prob(every).detach().exp()
    drawn = model.conditional.draw(4, 1000, seed=1)[:, 0]
    counts = torch.bincount((drawn * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81)
    chi = float(((counts - 1000 * law).square() / (1000 * law)).sum())
    assert chi < 80 + 5 * math.sqrt(160)


@pytest.mark.parametrize("kind", ["categorical", "logistic_mixture", "gaussian"])
def test_every_law_of_a_sample_learns(kind):
    likelihood = {"kind": kind, **({"scale": "element"} if kind == "gaussian" else {})}
    reads = "codes" if kind == "categorical" else "values"
    model = made(8, likelihood=likelihood, reads=reads, condition=("speaker",)).train()
    x = torch.randint(200, (3, 1, 8)) if kind == "categorical" else torch.rand(3, 1, 8) - 0.5
    model.terms(x, {"speaker": torch.tensor([0, 2, -1])}).distortion.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    model.eval()
    drawn = model.law({"speaker": torch.tensor([0, 2, -1])}, 3).sample((2,))
    assert drawn.shape == (2, 3, 1, 8)


def test_labels_matter_and_unknown_ones_are_heard_as_such():
    model = made(condition=("speaker",))
    x = torch.randint(32, (1, 1, 16))
    costs = {code: float(model.terms(x, {"speaker": torch.tensor([code])}).distortion.detach()) for code in (-1, 0, 2)}
    assert len(set(costs.values())) == 3
    assert float(model.terms(x).distortion.detach()) == costs[-1]
    plain = model.conditional.draw(40, 1, model.conditional.heard(None, {}, 1), seed=2)
    told = model.conditional.heard(None, {"speaker": torch.tensor([0])}, 1)
    strong = model.conditional.draw(40, 1, told, seed=2, manner=Manner(strength=3.0))
    assert not torch.equal(plain, strong)


# ------------------------------------------------------------------------------------------- what is carried, and how


def cut(x, parts):
    return [(part, {PLACE: torch.full((len(x),), place)}) for place, part in enumerate(x.chunk(parts, 2))]


def test_windows_in_memory_cost_what_the_whole_costs():
    whole, window = made(64), made(16)
    window.load_state_dict(whole.state_dict())
    x = torch.randint(32, (5, 1, 64))
    cost = whole.terms(x).distortion[0]
    memory, costs = Memory(), []
    for part, context in cut(x, 4):
        terms = window.terms(part, memory.recall(context))
        memory.keep(terms.after)
        costs.append(terms.distortion[0])
    torch.testing.assert_close(sum(costs), cost)
    apart = sum(window.terms(part).distortion[0] for part, _ in cut(x, 4))
    assert not torch.allclose(apart, cost)
    bits = wave_likelihood(window, iter(cut(x, 4)))["bits_per_sample"].value
    assert bits == pytest.approx(float(cost.detach().sum()) / math.log(2) / x.numel(), rel=1e-5)


def test_a_window_that_begins_remembers_nothing():
    model, memory = made(), Memory()
    x = torch.randint(32, (3, 1, 16))
    alone = model.terms(x)
    memory.keep(model.terms(torch.randint(32, (3, 1, 16))).after)
    context = {PLACE: torch.tensor([0, 2, 0])}
    again = model.terms(x, memory.recall(context)).distortion[0]
    assert torch.equal(again[[0, 2]], alone.distortion[0, [0, 2]])
    assert not torch.equal(again[1], alone.distortion[0, 1])


def test_what_is_withheld_is_withheld_throughout_a_stretch():
    """Else the state would go on to tell of it, and a model that is told nothing from the begin on would not be met."""
    model = made(condition=("speaker", "digit"), condition_dropout=0.3).train()
    memory, stretches = Memory(), []
    for _ in range(2):
        heard = []
        for part, context in cut(torch.randint(32, (500, 1, 64)), 4):
            told = {"speaker": torch.full((500,), 1), "digit": torch.full((500,), 2)}
            terms = model.terms(part, memory.recall(context | told))
            memory.keep(terms.after)
            heard.append(terms.likelihood.heard.told.detach())
        assert all(torch.equal(window, heard[0]) for window in heard)
        stretches.append(heard[0])
    unknown = [(told == model.conditional.told_of(None, {}, 1)).unflatten(1, (2, -1)).all(2) for told in stretches]
    for found in unknown:  # all from a share, and each of the rest by itself
        assert float(found.all(1).float().mean()) == pytest.approx(0.3 + 0.7 * 0.09, abs=0.08)
        assert float(found[:, 0].float().mean()) == pytest.approx(0.51, abs=0.08)
    assert not torch.equal(*unknown)  # drawn anew where a stretch begins
    assert not any("withheld" in name for name in model.eval().terms(part, context | told).after)


def test_what_another_label_costs_is_asked_of_whole_sounds():
    """A speaker who is another in every window is none that the state could be of."""
    model, told = made(condition=("speaker",)), []
    own = model.terms

    def spying(x, context):
        told.append(context["speaker"])
        return own(x, context)

    model.terms = spying
    speakers = torch.arange(60) % 3
    windows = cut(torch.randint(32, (60, 1, 64)), 4)
    condition_use(model, [(x, context | {"speaker": speakers}) for x, context in windows], ("speaker",))
    first, other, unknown = torch.stack(told).split(4)
    assert torch.equal(first, speakers.expand(4, -1))
    assert torch.equal(other, other[0].expand(4, -1))
    assert 20 < int((other[0] != speakers).sum()) < 60
    assert bool((unknown == -1).all())


def test_rows_that_do_not_fit_are_not_remembered():
    memory = Memory()
    memory.keep(made().terms(torch.randint(32, (3, 1, 16))).after)
    assert not any(name.startswith(BEFORE) for name in memory.recall({PLACE: torch.ones(2)}))
    assert memory.recall({}) == {}
    memory.keep({})
    assert not any(name.startswith(BEFORE) for name in memory.recall({PLACE: torch.ones(3)}))


def test_no_gradient_passes_a_window_and_what_is_not_finite_is_not_kept():
    memory = Memory()
    terms = made().train().terms(torch.randint(32, (3, 1, 16)))
    memory.keep({**terms.after, "past": torch.full((3, 4), torch.nan)})
    held = memory.recall({PLACE: torch.ones(3)})
    assert not held[BEFORE + "cell.0"].requires_grad
    assert torch.equal(held[BEFORE + "past"], torch.zeros(3, 4))


class Stretches(Examples):
    """As many stretches of made-up sound as are asked for, a function of the step."""

    event_shape, vocabulary, seed, config = (1, 64), {}, 0, DataConfig()

    def __init__(self):
        self.asked = []

    def batch(self, step, size, *, rank=0, world=1):
        self.asked.append(step)
        return torch.randint(32, (size, 1, 64), generator=torch.Generator().manual_seed(step)), {}

    def held(self, part, size, limit=None):
        yield self.batch(100, size)

    def count(self, part):
        return 7

    def units(self):
        return torch.zeros(1, 1), torch.ones(1, 1)

    def describe(self):
        return "made up"


def test_steps_go_through_a_stretch_part_by_part():
    source = Stretches()
    examples = Consecutive(source, 4)
    assert examples.event_shape == (1, 16)
    assert examples.count("valid") == 28
    parts = [examples.batch(step, 3) for step in range(4, 8)]
    assert source.asked == [1]
    assert [int(context[PLACE][0]) for _, context in parts] == [0, 1, 2, 3]
    assert torch.equal(torch.cat([x for x, _ in parts], 2), Stretches().batch(1, 3)[0])
    assert torch.equal(Consecutive(Stretches(), 4).batch(6, 3)[0], parts[2][0]), "a function of the step alone"
    assert len(list(examples.held("valid", 2))) == 4


def trained(steps, state=None, start=0):
    """Plain steps of the loop's module; the state is what a checkpoint holds."""
    torch.manual_seed(0)
    examples, model = Consecutive(Stretches(), 4), made()
    step = Step(model, Reconstruction(ReconstructionConfig(), model)).train()
    if state is not None:
        step.load_state_dict(state)
    for index in range(start, steps):
        step.zero_grad()
        step(*examples.batch(index, 3), index).total.backward()
        with torch.no_grad():
            for parameter in step.parameters():
                parameter -= 1e-3 * parameter.grad
    return {name: value.clone() for name, value in step.state_dict().items()}


def test_a_run_that_is_resumed_within_a_stretch_goes_on_to_the_bit():
    whole = trained(7)
    resumed = trained(7, trained(6), 6)
    assert any(name.startswith("memory.") for name in whole)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    forgot = trained(7, {name: value for name, value in trained(6).items() if not name.startswith("memory.")}, 6)
    assert not torch.equal(forgot["model.conditional.net.tables"], whole["model.conditional.net.tables"])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"window.length: got 18, expected a multiple of 4, model.net.frames\[0\]"):
        made(18)
    with pytest.raises(ConfigError, match="model samplernn: x has shape"):
        Recurrent(RecurrentConfig(), (513,), {})
    with pytest.raises(ValueError, match="nothing: this network hears no series"):
        RecurrentConfig.model_validate({"series": {"channels": 2, "hop": 4}})
