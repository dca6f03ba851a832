"""The programs that compare with pythae: all loops minimise the same function, and weights keep their meaning."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from latentscape.core.random import seeded
from latentscape.models.objectives import pack

CONSTANT = 392 * math.log(2 * math.pi)


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")


@pytest.fixture
def loops(benchmarks):
    import peer_loops

    return peer_loops


def case(loops, kind):
    return loops.Case(
        kind, data="mnist", items=60, epochs=2, hidden=(8, 6), latent=3, batch=20, learning_rate=1e-3, weight=7.0,
        turn=4, seed=0, threads=1, cpu_time=False,
    )  # fmt: skip


UNITS = [None, (torch.full((1, 1, 1), 0.3), torch.full((1, 1, 1), 0.4))]


@pytest.mark.parametrize("units", UNITS)
def test_the_plain_loop_minimises_the_negative_evidence_bound(loops, units):
    step, x = loops.build(case(loops, "vae"), units), torch.rand(9, 1, 28, 28)
    with seeded("test"):
        total = step(x, {}, 0).total
    with seeded("test"):
        terms = step.model.terms(x)
    q, out = terms.layers[0].q, terms.likelihood.mean
    assert float(terms.likelihood.stddev.mean()) == pytest.approx(1)
    plain = loops.vae_loss(x.flatten(1), out.flatten(1), q.loc, q.log_scale)
    assert total.item() - CONSTANT == pytest.approx(plain.item(), rel=1e-4)


@pytest.mark.parametrize("units", UNITS)
def test_the_plain_loop_minimises_the_penalised_distortion(loops, units):
    step, x = loops.build(case(loops, "wae"), units), torch.rand(9, 1, 28, 28)
    total = step(x, {}, 3).total
    with seeded("wae_mmd", 3):
        y = pack(step.model.generate(9))
    (z,) = step.model.encode(x)
    out = step.model.decode((z,)).mean
    plain = loops.wae_loss(x.flatten(1), out.flatten(1), z, y, 7.0)
    assert total.item() - CONSTANT == pytest.approx(plain.item(), rel=1e-4)


def test_stacks_are_our_nets(loops):
    model = loops.build(case(loops, "vae")).model.eval()
    weights = loops.named(loops.stack((784, 8, 6, 6)), loops.stack((3, 6, 8, 784)))
    model.load_state_dict(model.state_dict() | weights)
    own = {name for name in model.state_dict() if ".net." in name}
    assert own == set(weights)


@pytest.mark.parametrize(("steps", "turns"), [(8, 2), (9, 3)])
def test_a_loop_waits_before_each_turn_and_reports_it(loops, monkeypatch, capsys, steps, turns):
    words = io.StringIO("go\n" * 9)
    monkeypatch.setattr("sys.stdin", words)
    watch = iter(range(100))
    one = loops.Turns(4, lambda: next(watch))
    for step in (0, *range(steps)):  # the first batch is asked for twice: fit looks at it before it begins
        one.before(step)
    one.close()
    assert capsys.readouterr().out.split("\n") == ["READY", *["TURN 1"] * turns, ""]
    assert words.tell() == 3 * turns


def test_ratios_are_of_turns(benchmarks):
    import peers

    assert peers.ratios([2.0, 3.0, 40.0], [1.0, 1.0, 10.0]) == (3.0, 2.5, 3.5)


def test_exported_weights_take_data_as_they_are(benchmarks):
    import likelihood

    model = likelihood.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        x = (torch.rand(5, 1, 28, 28) > 0.5).float()
        weights = likelihood.exported(model)
        h = x.flatten(1)
        for layer in (0, 2, 4):
            h = h @ weights[f"encoder.net.mlp.{layer}.weight"].T + weights[f"encoder.net.mlp.{layer}.bias"]
            h = h if layer == 4 else h.relu()
        q = model.encoder(x)
        assert torch.allclose(h, torch.cat([q.loc, q.log_scale], dim=1), atol=1e-4)


def test_every_draw_is_counted(benchmarks):
    import likelihood

    model = likelihood.build().eval()
    x = (torch.rand(2, 1, 28, 28) > 0.5).float()
    nll, _, decoded, encoded = likelihood.ours(model, x, 17, lambda: 0.0)
    assert nll.shape == (2,)
    assert (decoded, encoded) == (17, 1)
    assert likelihood.error(np.array([1.0, 2.0, 3.0])) == pytest.approx(3**-0.5)
