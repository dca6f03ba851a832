"""Rescoring of a changed wave: what is known after a change is what a second look at the whole wave finds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.nets.rescoring import Plan, Rescoring, hidden_of, loss_of, target_of
from latentscape.nets.wavenet import WaveNet, WaveNetConfig

LEVELS, SAMPLES = 64, 60


def made(kernel: int, dilations: tuple[int, ...], told: int = 0) -> WaveNet:
    torch.manual_seed(kernel)
    net = WaveNet(WaveNetConfig(residual=20, skip=24, kernel=kernel, dilations=dilations), LEVELS, LEVELS, told)
    with torch.no_grad():
        net.head[1].weight *= 10
    return net.eval().requires_grad_(False)


def case(net: WaveNet, layers, likelihood: float, told=None):
    drawn = torch.Generator().manual_seed(1)
    style, codes = (torch.randint(LEVELS, (n,), generator=drawn) for n in (200, SAMPLES))
    target = target_of(net, style, told, layers)
    _, hidden, _ = hidden_of(net, net.table[codes], told)
    goal = target.features([h[1:] for h in hidden])
    return codes, replace(target, goal=goal, content=0.2, likelihood=likelihood)


@pytest.mark.parametrize("likelihood", [0.0, 0.3])
@pytest.mark.parametrize(
    ("kernel", "dilations", "layers", "told"),
    [
        (2, (1, 2, 4, 8), (1, 3, 4), 0),
        (2, (1, 2, 4, 1, 2, 4), (2, 5), 3),
        (3, (1, 3, 2), (2,), 0),
        (1, (1, 1), (1, 2), 0),
        (2, (3, 5, 1), (1, 3), 0),
        (2, (1, 2, 64), (3,), 0),
    ],
)
def test_after_any_moves_the_loss_is_that_of_the_whole_wave(kernel, dilations, layers, told, likelihood):
    net = made(kernel, dilations, told)
    heard = torch.randn(1, told) if told else None
    codes, target = case(net, layers, likelihood, heard)
    kept = Rescoring(net, codes, target, heard)
    drawn = np.random.default_rng(0)
    before = loss_of(net, codes, target, heard)
    for block in (1, 5):  # every place: those at both ends, too
        places, steps = drawn.permutation(SAMPLES), drawn.integers(-30, 31, (SAMPLES, 3))
        grains = drawn.normal(size=(SAMPLES, 3, block)) * 0.1 if block > 1 else None
        moved = kept.sweep(places, steps, grains, drawn.random(SAMPLES), temperature=50.0)
        after = loss_of(net, kept.codes, target, heard)
        assert moved == pytest.approx(after - before, abs=1e-6)
        before = after
    assert kept.changed > SAMPLES / 2
    assert not torch.equal(kept.codes, codes)


def test_without_a_temperature_no_change_is_for_the_worse_and_all_are_scored():
    net = made(2, (1, 2, 4, 8))
    codes, target = case(net, (2, 4), 0.0)
    kept = Rescoring(net, codes, target)
    steps = np.tile(np.arange(LEVELS) - 32, (SAMPLES, 1))
    first = kept.sweep(np.arange(SAMPLES), steps)
    assert first < 0
    assert kept.scored > 0.5 * steps.size  # less those that the ends of the scale make the same
    sizes = [loss_of(net, kept.codes, target)]
    one = kept.codes.clone()
    for place in (0, 31, SAMPLES - 1):  # the best of all single changes of a place is found
        tried = [torch.cat((one[:place], torch.tensor([code]), one[place + 1 :])) for code in range(LEVELS)]
        best = min(loss_of(net, each, target) for each in tried)
        window = np.arange(LEVELS)[None] - int(one[place])
        again = Rescoring(net, one, target)
        again.sweep([place], window)
        assert loss_of(net, again.codes, target) == pytest.approx(best, abs=1e-6)
        assert best <= sizes[0] + 1e-6


def test_the_nets_own_likeliest_codes_are_tried():
    net = made(2, (1, 2, 4, 8))
    codes, target = case(net, (2, 4), 1.0)
    kept = Rescoring(net, codes, replace(target, content=0.0))
    before = loss_of(net, codes, kept.target)
    moved = kept.sweep([30], np.zeros((1, 1), np.int64), own=LEVELS)  # all there are
    tried = [loss_of(net, torch.cat((codes[:30], torch.tensor([c]), codes[31:])), kept.target) for c in range(LEVELS)]
    assert before + moved == pytest.approx(min(tried), abs=1e-6)
    again = Rescoring(net, codes, kept.target)
    again.sweep([30], np.zeros((1, 1), np.int64), temperature=1e9, draws=np.array([0.75]), own=1)
    _, _, skips = hidden_of(net, net.table[codes], None)
    assert int(again.codes[30]) == int(net.speak(skips[None, 30:31])[0, 0].argmax())


def test_a_second_look_changes_nothing():
    net = made(2, (1, 2, 4, 8))
    codes, target = case(net, (2, 4), 0.2)
    kept = Rescoring(net, codes, target)
    kept.sweep(np.arange(SAMPLES), np.tile([-2, 2], (SAMPLES, 1)))
    hidden, gram = kept._hidden.copy(), kept._gram.copy()
    kept.refresh()
    assert np.abs(kept._hidden - hidden).max() < 1e-5
    assert np.abs(kept._gram - gram).max() < 1e-5


def test_blocks_of_every_size_have_candidates_of_any_number():
    """However many single samples had before."""
    net = made(2, (1, 2, 4, 8))
    codes, target = case(net, (2, 4), 0.0)
    kept, drawn = Rescoring(net, codes, target), np.random.default_rng(0)
    kept.sweep([3], drawn.integers(-30, 31, (1, 1002)))
    places = np.arange(0, SAMPLES, 7)
    shape = len(places), 2
    kept.sweep(places, drawn.integers(-30, 31, shape), drawn.normal(size=(*shape, 2)) * 0.1, drawn.random(9), 50.0)
    assert kept.loss == pytest.approx(loss_of(net, kept.codes, target), abs=1e-6)


def test_changes_of_nothing_are_refused():
    net = made(2, (1, 2))
    codes, target = case(net, (1, 2), 0.0)
    kept, steps = Rescoring(net, codes, target), np.ones((2, 3), np.int64)
    for places in ([0, -1], [0, SAMPLES]):
        with pytest.raises(UsageError, match=f"expected places in a wave of {SAMPLES} samples"):
            kept.sweep(places, steps)
    with pytest.raises(UsageError, match=r"got steps \(2, 3\).* for 3 blocks"):
        kept.sweep([1, 2, 3], steps)
    assert kept.sweep([], steps[:0]) == 0


def test_a_change_reaches_as_many_rows_as_the_taps_say():
    net = made(2, tuple(2**k for k in range(8)))
    plan = Plan(net, 1, 8)
    assert (plan.reach, plan.rows) == (256, 2 * 255)
    assert Plan(net, 10, 8).reach == 265
    layers = plan.arrays[3]
    assert np.array_equal(np.diff(layers), np.full(8, 2))  # a run for every tap, as no two overlap


def test_a_style_is_at_no_distance_from_itself():
    net = made(2, (1, 2))
    style = torch.randint(LEVELS, (300,), generator=torch.Generator().manual_seed(0))
    target = target_of(net, style, None, (1, 2))
    assert loss_of(net, style, target) == pytest.approx(0, abs=1e-6)
    assert loss_of(net, style.flip(0), target) > 1e-3
    assert float(target.gram.diagonal(dim1=1, dim2=2).mean()) == pytest.approx(1, abs=0.05)
