"""Recurrent tiers: against the paper's equations, cut into windows, and sampled from."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from latentscape.core.errors import UsageError
from latentscape.nets.samplernn import SampleRnn, SampleRnnConfig
from latentscape.nets.samplernn_sampler import TieredSampler
from latentscape.nets.wavenet_sampler import Heard, Manner, Output, uniforms

OUTPUTS = {
    "categorical": (Output("categorical", 40), 40, 40),
    "logistic": (Output("logistic", 256, (3.0, float(np.log(1 / 8 / 255)))), 9, 0),
    "gaussian": (Output("gaussian", 0, (0.5, 1e-3)), 2, 0),
}
SIZES = {
    "three tiers": {"frames": (8, 4, 2), "past": 4, "cell": "gru"},
    "plain": {"frames": (1,), "past": 0, "cell": "lstm", "layers": 2},
    "plain, gated": {"frames": (1,), "past": 1, "cell": "gru", "layers": 2},
    "frames": {"frames": (4,), "past": 0, "cell": "lstm"},
    "a long look": {"frames": (6, 2), "past": 9, "cell": "lstm"},
}


def made(sizes: str, kind: str = "categorical", told: int = 0) -> SampleRnn:
    """A network whose every part matters."""
    _, outputs, levels = OUTPUTS[kind]
    net = SampleRnn(SampleRnnConfig(width=20, head=24, **SIZES[sizes]), outputs, levels, told)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "bias" in name or "begin" in name:
                parameter.normal_(0, 0.3)
        net.head[1].weight *= 10
    return net.eval().requires_grad_(False)


def test_it_is_what_the_paper_says():
    """Two tiers written out step by step, with cells of their own."""
    net = SampleRnn(SampleRnnConfig(frames=(4, 2), past=3, cell="gru", width=6, head=8), 40, 40, 3).requires_grad_(
        False
    )
    net.tables.normal_()
    x, told = torch.randint(40, (2, 16)), torch.randn(2, 3)
    padded = torch.cat([torch.full((2, 4), 40), x], 1)
    value = torch.where(padded == 40, 0.0, padded * 2 / 39 - 1)
    adds = net.tell(told).split([6, 6, 8], 1)
    slow, fast = net.tiers
    h, k, raw = torch.zeros(2, 6), torch.zeros(2, 6), []

    def step(cell, inputs, hidden):
        parts = (
            F.linear(inputs, cell.weight_ih_l0, cell.bias_ih_l0),
            F.linear(hidden, cell.weight_hh_l0, cell.bias_hh_l0),
        )
        (r, z, n), (p, q, m) = (part.chunk(3, 1) for part in parts)
        r, z = (r + p).sigmoid(), (z + q).sigmoid()
        return (1 - z) * (n + r * m).tanh() + z * hidden

    for t in range(16):
        if t % 4 == 0:
            h = step(slow.cell, slow.read(value[:, t : t + 4]) + adds[0], h)
            said = slow.spread(h).reshape(2, 2, 6)
        if t % 2 == 0:
            k = step(fast.cell, fast.read(value[:, t + 2 : t + 4]) + said[:, t % 4 // 2] + adds[1], k)
            close = fast.spread(k).reshape(2, 2, 8)
        seen = sum(net.tables[i - 1][padded[:, 4 + t - i]] for i in (1, 2, 3))
        raw.append(net.head[1](net.head[0]((close[:, t % 2] + adds[2] + seen).relu()).relu()))
    torch.testing.assert_close(net(x, told)[0], torch.stack(raw, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_windows_that_carry_the_state_are_the_whole(sizes):
    net = made(sizes, told=2)
    x, told = torch.randint(40, (3, 72)), torch.randn(3, 2)
    whole, after = net(x, told)
    first, state = net(x[:, :24], told)
    second, last = net(x[:, 24:], told, state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(last, after)
    assert not torch.allclose(net(x[:, 24:], told)[0][:, :8], whole[:, 24:32])


@pytest.mark.parametrize("sizes", SIZES)
def test_a_sample_depends_on_none_after_it(sizes):
    net = made(sizes)
    x = torch.randint(40, (1, 48))
    other = x.clone()
    other[0, 30] = (x[0, 30] + 7) % 40
    differ = (net(x)[0] - net(other)[0]).abs().sum(2)[0] > 0
    assert not differ[:31].any()
    assert differ[31 if SIZES[sizes]["past"] else 32]


def test_cached_equals_uncached():
    """Every size, output and condition, with a strength, some rows, cut into blocks with a primed begin."""
    worst = 0.0
    for sizes, kind, (rows, strength), told in itertools.product(SIZES, OUTPUTS, ((1, 1.0), (3, 1.7)), (0, 3)):
        net, output = made(sizes, kind, told), OUTPUTS[kind][0]
        n, prime = 48, torch.randint(40, (rows, 9)).float()
        bare = torch.zeros(1, told) if told else None
        given = Heard(torch.randn(rows, told) if told else None, None, bare)
        streams = TieredSampler(net, output).open(rows, given, Manner(strength=strength), threads=2)
        draws = uniforms(1, range(rows), n)
        parts = [
            streams.advance(b - a, draws[:, a:b], prime[:, a : min(b, 9)] if a < 9 else None, raw=True)
            for a, b in itertools.pairwise([0, 1, 17, 31, n])
        ]
        values, raw = (torch.cat([part[which] for part in parts], 1) for which in (0, 1))
        x = values.long() if output.kind == "categorical" else values
        x = 2 * x / (output.levels - 1) - 1 if output.kind == "logistic" else x
        right = net(x, given.told)[0]
        if strength != 1:
            right = torch.cat([right, net(x, None if bare is None else bare.expand(rows, -1))[0]])
        worst = max(worst, float((raw - right).abs().max() / right.abs().max()))
    print(f"largest difference {worst:.1e}")
    assert worst < 1e-5


def test_a_row_does_not_depend_on_how_many_run_beside_it():
    sampler = TieredSampler(made("three tiers"), OUTPUTS["categorical"][0])
    many = sampler.sample(100, 5, seed=3, threads=2)
    assert torch.equal(many[:2], sampler.sample(100, 2, seed=3))
    assert not torch.equal(many[0], many[1])


def test_what_a_row_is_told_is_its_own():
    """To the bit: torch rounds a product of one row otherwise than that of several."""
    sampler = TieredSampler(made("three tiers", "gaussian", told=48), OUTPUTS["gaussian"][0])
    told = torch.randn(5, 48)
    many = sampler.sample(300, 5, seed=3, heard=Heard(told))
    assert torch.equal(many, sampler.sample(300, 5, seed=3, heard=Heard(told), threads=3))
    assert torch.equal(many[:1], sampler.sample(300, 1, seed=3, heard=Heard(told[:1])))


def test_what_is_told_can_change_on_the_way():
    net = made("three tiers", told=2)
    told = torch.randn(2, 1, 2)
    streams = TieredSampler(net, OUTPUTS["categorical"][0]).open(1, Heard(told[0]))
    x = torch.randint(40, (1, 32))
    streams.advance(16, uniforms(0, range(1), 16), x[:, :16].float())
    streams.tell(told[1])
    _, raw = streams.advance(16, uniforms(0, range(1), 16), x[:, 16:].float(), raw=True)
    _, state = net(x[:, :16], told[0])
    torch.testing.assert_close(raw, net(x[:, 16:], told[1], state)[0], rtol=1e-4, atol=1e-4)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="each a multiple of the next"):
        SampleRnnConfig(frames=(16, 6))
    with pytest.raises(UsageError, match="30 samples arrived, expected a multiple of 8"):
        made("three tiers")(torch.randint(40, (1, 30)))
