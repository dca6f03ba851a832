"""One step: its noise, its guard, its state."""

import math

import pytest
import torch
from torch import nn
from toy import CALM, batches, toy

from latentscape.core.errors import StorageError
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.model import Step
from latentscape.models.objectives import Elbo, ElboConfig
from latentscape.nets.wavenet import WaveNet, WaveNetConfig
from latentscape.train.config import Settled, TrainConfig
from latentscape.train.learner import Learner
from latentscape.train.optimisers import inner_matrices
from latentscape.train.process import fabric_of


def learner(step=None, eager=None, **changes):
    config = TrainConfig(**CALM | {"batch_size": 16, "schedule": "constant"} | changes)
    return Learner(step or toy(), config, fabric_of(config), eager)


def weights(of):
    return {name: tensor.clone() for name, tensor in of.tensors().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_step_is_a_function_of_seed_and_step():
    a, b = learner(averaging=0.9), learner(averaging=0.9)
    for index in range(3):
        torch.manual_seed(index)
        a.update(index, *batches()(index))
        torch.rand(1000)
        b.update(index, *batches()(index))
    assert same(weights(a), weights(b))
    other = learner(averaging=0.9, seed=1)
    for index in range(3):
        other.update(index, *batches()(index))
    assert not same(weights(a), weights(other))


def test_steps_are_plain_adam():
    step, ours = toy(), learner(learning_rate=0.01)
    adam = torch.optim.Adam(step.parameters(), lr=0.01, fused=True)
    from latentscape.core.random import seed_of

    for index in range(4):
        torch.manual_seed(seed_of(0, "step", index))
        adam.zero_grad()
        step(*batches()(index), index).total.backward()
        adam.step()
        ours.update(index, *batches()(index))
    assert same(dict(step.state_dict()), dict(ours.step.state_dict()))


def test_clipping_bounds_the_gradient(monkeypatch):
    free, clipped = learner(), learner(clip_norm=0.5)
    norms = []
    for one in (free, clipped):
        original = one._optimisers[-1].step
        monkeypatch.setattr(
            one._optimisers[-1],
            "step",
            lambda one=one, original=original: (
                norms.append(math.sqrt(sum(float(p.grad.square().sum()) for p in one.step.parameters()))) or original()
            ),
        )
        one.update(0, *batches()(0))
    assert norms[0] > 0.5
    assert norms[1] == pytest.approx(0.5, rel=1e-4)


def test_what_is_usual_is_let_through_and_nothing_far_beyond(monkeypatch):
    free, bounded = learner(), learner(clip_norm="usual")
    for index in range(40):
        for one in (free, bounded):
            one.update(index, *batches()(index))
    usual = float(bounded._usual.state[0].exp())
    assert same(weights(free), {name: value for name, value in weights(bounded).items() if "usual" not in name})
    norms = []
    for one in (free, bounded):
        original = one._optimisers[-1].step

        def step(one=one, original=original):
            norms.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in one.step.parameters())))
            original()

        monkeypatch.setattr(one._optimisers[-1], "step", step)
        for parameter in one.step.parameters():
            parameter.register_hook(lambda g: g * 1e6)
        one.update(40, *batches()(40))
    assert norms[0] > 1e4 * usual
    assert norms[1] == pytest.approx(10 * usual, rel=1e-4)
    assert float(bounded._usual.state[0].exp()) < 1.1 * usual
    later = learner(clip_norm="usual")
    later.load(weights(bounded))
    assert torch.equal(later._usual.state, bounded._usual.state)
    before = bounded._usual.state.clone()
    bounded._usual.bound(torch.tensor(math.inf))
    assert torch.equal(bounded._usual.state, before)


def test_weight_decay_spares_biases():
    one = learner(toy(), weight_decay=0.3, optimiser="adamw")
    decays = {p.ndim >= 2: group["weight_decay"] for group in one._optimisers[-1].param_groups for p in group["params"]}
    assert decays == {True: 0.3, False: 0.0}
    assert sum(len(group["params"]) for group in one._optimisers[-1].param_groups) == len(list(one.step.parameters()))


def test_muon_moves_the_inner_matrices_alike_in_all_directions_and_adam_the_rest():
    ours = learner(optimiser="muon", learning_rate=0.01)
    free = learner(optimiser="adamw", learning_rate=0.01)
    before = {name: tensor.clone() for name, tensor in ours.step.named_parameters()}
    for one in (ours, free):
        one.update(0, *batches()(0))
    for name, now in ours.step.named_parameters():
        moved = now.detach() - before[name]
        if now.ndim < 2:
            assert torch.equal(now, dict(free.step.named_parameters())[name])
            continue
        spread = torch.linalg.svdvals(moved) / (0.01 * 0.2 * max(now.shape) ** 0.5)
        assert (
            spread[:2] > 0.6
        ).all()  # as even as five steps of Newton and Schulz leave it; the toy has two directions
        assert (spread < 1.3).all()
        by_adam = torch.linalg.svdvals(dict(free.step.named_parameters())[name].detach() - before[name])
        assert by_adam[0] / by_adam[1] > 1.5 > spread[0] / spread[1]


def test_what_a_net_calls_its_edges_is_left_to_adam():
    net = WaveNet(WaveNetConfig(residual=4, skip=6, dilations=(1, 2)), outputs=8, levels=8, told=3)
    inner = {id(p) for p in inner_matrices(nn.Sequential(net, nn.Embedding(3, 2), nn.Linear(2, 2)))}
    names = {name for name, p in net.named_parameters() if id(p) in inner}
    gates = {f"gates.{layer}.weight" for layer in (0, 1)} | {f"outs.{layer}.weight" for layer in (0, 1)}
    assert names == gates | {"head.0.weight", "tell.weight"}
    assert len(inner) == len(names) + 1


@pytest.mark.parametrize("eager", [True, False])
def test_a_run_by_muon_goes_on_from_its_state_and_a_bad_step_changes_nothing(eager):
    one, other = (learner(toy(poison=4), optimiser="muon", averaging=0.9, eager=eager) for _ in range(2))
    for index in range(2):
        one.update(index, *batches()(index))
    other.load(weights(one))
    assert any(name.endswith("momentum_buffer") for name in weights(one))
    for index in (2, 3):
        one.update(index, *batches()(index))
        other.update(index, *batches()(index))
    assert same(weights(one), weights(other))
    before = weights(one)
    for index in (4, 5):
        one.update(index, *batches()(index))
    steps = {name for name in before if name.endswith(".step")}  # AdamW's counter of a frozen step is not undone on CPU
    assert same(
        {n: t for n, t in before.items() if n not in steps}, {n: t for n, t in weights(one).items() if n not in steps}
    )
    first = learner(toy(poison=0), optimiser="muon", eager=False)
    start = {name: tensor.clone() for name, tensor in first.step.state_dict().items()}
    first.update(0, *batches()(0))
    assert same(start, dict(first.step.state_dict()))
    assert all(not tensor.any() for name, tensor in weights(first).items() if name.endswith("momentum_buffer"))


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_the_guard_refuses_a_bad_step_and_changes_nothing(bad):
    one = learner(toy(poison=2 if bad == "loss" else None), averaging=0.9)
    for index in range(2):
        assert one.update(index, *batches()(index)) is not None
    before = weights(one)
    if bad == "gradient":
        one.step.model.decoder[0].weight.register_hook(lambda g: g * math.inf)
    assert one.update(2, *batches()(2)) is None
    assert same(before, weights(one))


def test_the_lazy_guard_freezes_at_the_first_bad_step():
    one, lazy = learner(toy(poison=3)), learner(toy(poison=3), eager=False)
    for index in range(3):
        one.update(index, *batches()(index))
    for index in range(2):
        lazy.update(index, *batches()(index))
    assert lazy.healthy() is None
    for index in range(2, 7):
        assert lazy.update(index, *batches()(index)) is not None
    assert lazy.healthy() == 1  # one good step since the last look
    assert same(weights(one), weights(lazy))


def test_the_lazy_guard_freezes_the_average_too():
    one, lazy = learner(toy(poison=3), averaging=0.9), learner(toy(poison=3), eager=False, averaging=0.9)
    for index in range(3):
        one.update(index, *batches()(index))
    for index in range(7):
        lazy.update(index, *batches()(index))
    found = lazy.average.tensors()
    for name, value in one.average.tensors().items():
        assert torch.allclose(value, found[name], rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize("eager", [True, False])
def test_a_refused_step_leaves_running_averages_alone(eager):
    def step():
        with torch.random.fork_rng():
            torch.manual_seed(3)
            net = {"kind": "mlp", "widths": (8,)}
            model = Autoencoder(AutoencoderConfig(latent=2, encoder=net, decoder=net), (6,))
        return Step(model, Elbo(ElboConfig(), model)).train()

    one, other = learner(step()), learner(step(), eager)
    for index in range(3):
        one.update(index, *batches()(index))
        other.update(index, *batches()(index))
    held = other.step.model.likelihood.running.clone()
    x, context = batches()(3)
    other.update(3, x.index_fill(0, torch.tensor([0]), math.nan), context)
    assert held > 0
    assert same(weights(one), weights(other))
    assert torch.equal(held, other.step.model.likelihood.running)


def test_state_goes_round():
    a, b = learner(averaging=0.9), learner(averaging=0.9)
    for index in range(3):
        a.update(index, *batches()(index))
    b.load(weights(a))
    for one in (a, b):
        one.update(3, *batches()(3))
    assert same(weights(a), weights(b))


def test_a_foreign_state_is_refused_in_one_line():
    one = learner(averaging=0.9)
    state = weights(one)
    state["step.model.encoder.weight"] = torch.zeros(3, 3)
    with pytest.raises(StorageError, match=r"does not fit the model.*encoder\.weight") as error:
        one.load(state)
    assert "\n" not in str(error.value)
    with pytest.raises(StorageError, match="does not fit"):
        one.load(weights(learner()))


def test_evaluation_wears_the_average_with_the_same_noise_each_time():
    one = learner(averaging=0.9)
    for index in range(3):
        one.update(index, *batches()(index))
    draws = []
    for _ in range(2):
        with one.evaluating() as model:
            assert not model.training
            assert not torch.is_grad_enabled()
            assert torch.equal(model.encoder.weight, one.average.tensors()["model.encoder.weight"]) is False
            draws.append(torch.rand(2))
        assert one.step.model.training
    assert torch.equal(*draws)


def test_bf16_leaves_the_data_alone():
    one = learner()
    seen = []
    one.step.register_forward_pre_hook(
        lambda module, args: seen.append((args[0].dtype, torch.is_autocast_enabled("cpu")))
    )
    for precision in ("bf16", "32"):
        one.obey(
            Settled(config=one.config, max_steps=9, validate_every=3, precision=precision, threads=1, device="cpu")
        )
        assert one.update(0, *batches()(0)) is not None
    assert seen == [(torch.float32, True), (torch.float32, False)]
    assert all(p.dtype == torch.float32 for p in one.step.parameters())
