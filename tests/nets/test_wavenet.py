"""The network, and what is kept between its steps: cached equals uncached."""

import contextlib
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from covering import covering
from latentscape.core.errors import UsageError
from latentscape.nets import lanes, wavenet_batch
from latentscape.nets.wavenet import WaveNet, WaveNetConfig
from latentscape.nets.wavenet_batch import BatchSampler
from latentscape.nets.wavenet_sampler import Heard, Manner, Output, Sampler, uniforms

OUTPUTS = {
    "categorical": (Output("categorical", 40), 40, 40),
    "logistic": (Output("logistic", 256, (3.0, float(np.log(1 / 8 / 255)))), 9, 0),
    "gaussian": (Output("gaussian", 0, (0.5, 1e-3)), 2, 0),
}
SAMPLERS = {"batch": BatchSampler, "compiled": Sampler}


def made(config: WaveNetConfig, kind: str = "categorical", told: int = 0, channels: int = 0, hop: int = 1) -> WaveNet:
    """A network whose every part matters."""
    _, outputs, levels = OUTPUTS[kind]
    net = WaveNet(config, outputs, levels, told, channels, hop)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "bias" in name:
                parameter.normal_(0, 0.3)
        net.head[1].weight *= 10
    return net.eval().requires_grad_(False)


def standardised(values: torch.Tensor, output: Output) -> torch.Tensor:
    if output.kind == "categorical":
        return values.long()
    return 2 * values / (output.levels - 1) - 1 if output.levels else values


# ------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize(("kernel", "stacks"), [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize("n", [50, 4])  # of 4 samples a layer's oldest taps lie before the begin
def test_it_is_a_stack_of_dilated_convolutions(kernel, stacks, n):
    """Its values and its gradients are those of torch's own convolutions."""
    config = WaveNetConfig(residual=6, skip=10, kernel=kernel, dilations=(1, 2, 5), stacks=stacks)
    net = made(config, told=4).requires_grad_().double()
    x, told = torch.randint(40, (2, n)), torch.randn(2, 4).double()
    h = net.table[torch.cat([torch.full((2, 1), 40), x[:, :-1]], 1)].transpose(1, 2)
    skips = net.skip_bias[:, None]
    for layer, (dilation, gate, out) in enumerate(zip((1, 2, 5) * stacks, net.gates, net.outs, strict=True)):
        weight = gate.weight.reshape(12, kernel, 6).transpose(1, 2)
        z = F.conv1d(F.pad(h, ((kernel - 1) * dilation, 0)), weight, gate.bias, dilation=dilation)
        z = z + net.tell(told).reshape(2, -1, 12)[:, layer, :, None]
        y = F.conv1d(z[:, :6].tanh() * z[:, 6:].sigmoid(), out.weight[:, :, None])
        h, skips = h + y[:, :6], skips + y[:, 6:]
    first, second = net.head
    raw = F.linear(F.linear(skips.relu().transpose(1, 2), first.weight, first.bias).relu(), second.weight, second.bias)
    ours = net(x, told)
    torch.testing.assert_close(ours, raw)
    slope, parameters = torch.randn_like(raw), list(net.parameters())
    for got, expected in zip(
        torch.autograd.grad(ours, parameters, slope), torch.autograd.grad(raw, parameters, slope), strict=True
    ):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_sample_depends_on_its_receptive_field_and_no_more(kernel):
    config = WaveNetConfig(residual=8, skip=8, kernel=kernel, dilations=(1, 2, 4), stacks=2)
    net = made(config, "gaussian")
    x = torch.randn(1, 60, requires_grad=True)
    net(x)[0, 50].sum().backward()
    touched = x.grad[0].nonzero()[:, 0]
    assert int(touched.max()) == 49
    assert int(touched.min()) == 50 - config.receptive_field


def test_a_series_is_heard_at_its_time():
    net = made(WaveNetConfig(residual=8, skip=8, dilations=(1,), heard=4, hold=4), "gaussian", channels=2, hop=16)
    series = torch.randn(1, 2, 6)
    x = torch.zeros(1, 96)
    other = series.clone()
    other[0, :, 5] += 1  # reaches the widened steps 4 and 5, and by interpolation the later half of step 3
    differ = (net(x, None, series) - net(x, None, other)).abs().sum(2)[0] > 0
    assert not differ[: 3 * 16 + 8].any()
    assert differ[4 * 16 :].all()


def test_interpolation_begins_as_lines():
    net = made(WaveNetConfig(heard=3, hold=1), channels=2, hop=8)
    up = net.upsampler
    y = torch.tensor([0.0, 1.0, 3.0]).expand(1, 3, 3)
    spread = up.spread(F.pad(y, (1, 1), mode="replicate"))[..., 12 : 12 + 24]
    places = (np.arange(24) + 0.5) / 8 - 0.5
    assert np.allclose(spread[0, 0], np.interp(places, [0, 1, 2], [0, 1, 3]), atol=1e-6)


def test_an_unknown_series_is_none():
    net = made(WaveNetConfig(dilations=(1, 2)), "gaussian", channels=2, hop=8)
    x, series = torch.randn(2, 32), torch.randn(2, 2, 4)
    series[1] = torch.nan
    both = net(x, None, series)
    assert torch.equal(both[1], net(x, None, None)[1])
    assert not torch.allclose(both[0], net(x, None, None)[0])


def test_a_series_that_does_not_fit_is_refused():
    net = made(WaveNetConfig(), "gaussian", channels=2, hop=8)
    with pytest.raises(UsageError, match="2 channels and 3 steps arrived, expected 2 channels and at least 4 steps"):
        net(torch.randn(1, 30), None, torch.randn(1, 2, 3))
    with pytest.raises(UsageError, match="hears none"):
        made(WaveNetConfig(), "gaussian")(torch.randn(1, 30), None, torch.randn(1, 2, 3))


# ------------------------------------------------------------------------------------------------- cached = uncached

STACKS = [((1, 2, 4, 8), 1), ((1, 3, 9), 2), ((5,), 1), ((4, 1), 2)]


CASES = covering((1, 2, 3), STACKS, tuple(OUTPUTS), (0, 3), (0, 2), (1, 3, 7), (1.0, 1.7))


@pytest.mark.parametrize("made_ready", sorted(SAMPLERS))
@pytest.mark.parametrize(("kernel", "stack"), itertools.product((1, 2, 3), STACKS))
def test_cached_equals_uncached(kernel, stack, made_ready, monkeypatch):
    """Any three of kernel, dilations, output, conditions, series, rows and strength meet, cut into blocks."""
    monkeypatch.setattr(wavenet_batch, "BLOCK", 12)  # a piece is several blocks
    (dilations, stacks), worst, tried = stack, 0.0, 0
    config = WaveNetConfig(
        residual=12 if stacks == 1 else 16, skip=20, kernel=kernel, dilations=dilations, stacks=stacks, heard=5, hold=4
    )
    for kind, told, heard, rows, strength in [case[2:] for case in CASES if case[:2] == (kernel, stack)]:
        net = made(config, kind, told, heard, 12)
        output = OUTPUTS[kind][0]
        sampler = SAMPLERS[made_ready](net, output)
        n, prime = 45, torch.randint(40, (rows, 9)).float()
        given = Heard(
            torch.randn(rows, told) if told else None,
            torch.randn(rows, heard, 4) if heard else None,
            torch.zeros(1, told) if told else None,
        )
        streams = sampler.open(rows, given, Manner(strength=strength), threads=2)
        draws = uniforms(tried, range(rows), n)
        cuts = [0, 1, 17, 31, n]
        parts = [
            streams.advance(high - low, draws[:, low:high], prime[:, low : min(high, 9)] if low < 9 else None, raw=True)
            for low, high in itertools.pairwise(cuts)
        ]
        values, raw = torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)
        assert torch.equal(values[:, :9], prime)
        x = standardised(values, output)
        expected = net(x, given.told, given.series)
        if strength != 1:
            expected = torch.cat([expected, net(x, given.bare.expand(rows, -1) if told else None)])
        scale = max(1.0, float(expected.abs().max()))
        worst = max(worst, float((raw - expected).abs().max()) / scale)
        tried += 1
    assert tried >= 3
    assert worst < 1e-5


def test_rows_do_not_know_of_each_other():
    """To the bit: however many rows go side by side, on however many threads."""
    net = made(WaveNetConfig(residual=16, skip=32, dilations=(1, 2, 4, 8)), told=3)
    sampler = Sampler(net, Output("categorical", 40))
    told = torch.randn(9, 3)
    together = sampler.sample(200, 9, seed=5, heard=Heard(told))
    assert torch.equal(together, sampler.sample(200, 9, seed=5, heard=Heard(told), threads=4))
    for row in (0, 4, 8):
        draws = uniforms(5, [row], 200)
        alone, _ = sampler.open(1, Heard(told[row : row + 1])).advance(200, draws)
        assert torch.equal(alone[0], together[row])


def test_what_a_row_is_told_and_hears_is_its_own():
    """To the bit: torch rounds a product of one row otherwise than that of several."""
    net = made(
        WaveNetConfig(residual=16, skip=32, dilations=(1, 2), heard=48), "gaussian", told=48, channels=20, hop=64
    )
    told, series = torch.randn(7, 48), torch.randn(7, 20, 8)
    sampler = Sampler(net, OUTPUTS["gaussian"][0])
    together = sampler.sample(500, 7, seed=5, heard=Heard(told, series))
    assert torch.equal(together, sampler.sample(500, 7, seed=5, heard=Heard(told, series), threads=3))
    strided = Heard(told.T.contiguous().T, series.transpose(1, 2).contiguous().transpose(1, 2))
    assert torch.equal(together, sampler.sample(500, 7, seed=5, heard=strided))
    for row in (0, 3):
        alone = sampler.open(1, Heard(told[row : row + 1], series[row : row + 1]))
        assert torch.equal(alone.advance(500, uniforms(5, [row], 500))[0][0], together[row])


def test_a_batch_draws_as_the_compiled_sampler_does():
    net = made(WaveNetConfig(residual=16, skip=32, dilations=(1, 2, 4, 8), heard=5, hold=4), "categorical", 3, 2, 12)
    heard = Heard(torch.randn(2, 3), torch.randn(2, 2, 5), torch.zeros(1, 3))
    manner, output, prime = Manner(0.9, 0.95, 1.5), OUTPUTS["categorical"][0], torch.randint(40, (2, 7)).float()
    for threads in (1, 2):
        both = [
            SAMPLERS[name](net, output).sample(60, 2, seed=3, heard=heard, manner=manner, prime=prime, threads=threads)
            for name in sorted(SAMPLERS)
        ]
        assert torch.equal(*both)  # the same numbers from (0, 1), and none of these falls on an edge


def test_a_captured_step_is_replayed_from_where_the_streams_stood(monkeypatch):
    """What is done around a graph, with one that runs its step again: no device is needed to see it."""

    class Graph(torch.cuda.CUDAGraph):
        raw = False

        def __new__(cls):
            return object.__new__(cls)

        def __init__(self):
            pass

        def replay(self):
            part._step(self.raw)

    class Stream:
        def wait_stream(self, other):
            pass

    for name, replaced in (
        ("Stream", Stream), ("current_stream", Stream), ("stream", contextlib.nullcontext), ("CUDAGraph", Graph),
        ("graph", contextlib.nullcontext), ("device", contextlib.nullcontext),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, replaced)
    net = made(WaveNetConfig(residual=8, skip=8, dilations=(1, 3)), told=3)
    waves = []
    for captures in (False, True):
        streams = BatchSampler(net, OUTPUTS["categorical"][0]).open(2, Heard(torch.ones(2, 3)))
        part = streams._parts[0]
        part.captures = captures
        draws = uniforms(0, range(2), 30)
        first, _ = streams.advance(10, draws[:, :10])
        streams.tell(torch.zeros(2, 3))
        Graph.raw = True
        second, raw = streams.advance(20, draws[:, 10:], raw=True)
        Graph.raw = False
        waves.append((first, second, raw))
        assert len(part.graphs) == 2 * captures
    for plain, captured in zip(*waves, strict=True):
        assert torch.equal(plain, captured)


def test_draws_are_of_seed_row_and_step():
    whole = uniforms(3, range(4), 50)
    assert np.array_equal(whole[2:3, 20:], uniforms(3, [2], 30, start=20))
    assert not np.array_equal(whole, uniforms(4, range(4), 50))
    assert whole.min() > 0
    assert whole.max() < 1
    assert abs(whole.mean() - 0.5) < 0.05


# ------------------------------------------------------------------------------------------------------------- draws


def drawn(kind: str, manner: Manner, made_ready: str):
    n = 400 if made_ready == "compiled" else 200
    net = made(WaveNetConfig(residual=8, skip=16, dilations=(1, 2, 4)), kind)
    output = OUTPUTS[kind][0]
    draws = uniforms(1, range(2), n)
    values, raw = SAMPLERS[made_ready](net, output).open(2, manner=manner).advance(n, draws, raw=True)
    return values.double(), raw.double(), torch.from_numpy(draws).double()


@pytest.mark.parametrize("made_ready", sorted(SAMPLERS))
@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("nucleus", [1.0, 0.7])
def test_a_code_inverts_the_cumulated_law(temperature, nucleus, made_ready):
    values, raw, draws = drawn("categorical", Manner(temperature, nucleus), made_ready)
    p = (raw / temperature).softmax(2)
    if nucleus < 1:
        order = p.argsort(2, descending=True)
        before = p.gather(2, order).cumsum(2) - p.gather(2, order)
        kept = torch.zeros_like(p).scatter(2, order, (before < nucleus).double())
        assert (kept.gather(2, values.long().unsqueeze(2)) == 1).all()
        p = p * kept / (p * kept).sum(2, keepdim=True)
    cumulated = p.cumsum(2)
    code = torch.searchsorted(cumulated, draws[..., :1].contiguous())[..., 0]
    edge = (cumulated - draws[..., :1]).abs().min(2).values < 1e-5
    assert ((code == values) | edge).all()
    assert edge.float().mean() < 0.05


@pytest.mark.parametrize("made_ready", sorted(SAMPLERS))
def test_temperature_0_takes_the_mode(made_ready):
    values, raw, _ = drawn("categorical", Manner(0.0), made_ready)
    assert torch.equal(values, raw.argmax(2).double())


@pytest.mark.parametrize("made_ready", sorted(SAMPLERS))
def test_a_level_is_a_component_and_a_logistic_variable(made_ready):
    values, raw, draws = drawn("logistic", Manner(), made_ready)
    logits, means, scales = raw.unflatten(2, (3, 3)).unbind(2)
    cumulated = logits.softmax(2).cumsum(2)
    chosen = torch.searchsorted(cumulated, draws[..., :1].contiguous())
    least = np.log(1 / 8 / 255)
    log_scale = least + F.softplus(scales - np.log(3) - least)
    mean = means + (2 * torch.arange(3) + 1) / 3 - 1
    u = (mean.gather(2, chosen) + log_scale.exp().gather(2, chosen) * draws[..., 1:].logit())[..., 0]
    level = ((u + 1) / 2 * 255).round().clamp(0, 255)
    assert (level == values).float().mean() > 0.99
    assert (level - values).abs().quantile(0.99) <= 1
    assert values.std() > 5


@pytest.mark.parametrize("made_ready", sorted(SAMPLERS))
def test_a_real_value_is_normal(made_ready):
    values, raw, draws = drawn("gaussian", Manner(), made_ready)
    scale = F.softplus(raw[..., 1] + 0.5) + 1e-3
    noise = (-2 * draws[..., 0].log()).sqrt() * (2 * np.pi * draws[..., 1]).cos()
    torch.testing.assert_close(values, raw[..., 0] + scale * noise, rtol=1e-4, atol=1e-4)
    assert abs(float(noise.std()) - 1) < 0.1


def test_what_can_not_be_drawn_is_refused():
    sampler = Sampler(made(WaveNetConfig(), "gaussian"), OUTPUTS["gaussian"][0])
    with pytest.raises(UsageError, match="needs a categorical output"):
        sampler.open(1, manner=Manner(nucleus=0.5))
    with pytest.raises(UsageError, match="temperature -1"):
        Manner(-1.0)
    with pytest.raises(UsageError, match=r"temperature inf.*expected a finite"):  # a normal law would give no number
        Manner(float("inf"))
    with pytest.raises(UsageError, match="do not fit"):
        sampler.open(2).advance(5, uniforms(0, range(1), 5))


@pytest.mark.parametrize("made_ready", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize(("kind", "wrong", "expected"), [
    ("categorical", 40.0, "hold 40, expected codes from 0 to 39"),
    ("categorical", -1.0, "hold -1, expected codes"),
    ("categorical", math.nan, "hold nan, expected codes"),
    ("logistic", 0.5, "hold 0.5, expected codes from 0 to 255"),
    ("gaussian", math.inf, "hold inf, expected finite values"),
], ids=["beyond", "below", "nan", "between", "infinite"])  # fmt: skip
def test_what_no_sound_can_begin_with_is_refused(kind, wrong, expected, made_ready):
    sampler = made_ready(made(WaveNetConfig(residual=16, skip=32, dilations=(1, 2)), kind), OUTPUTS[kind][0])
    with pytest.raises(UsageError, match=expected):
        sampler.sample(5, prime=torch.tensor([[1.0, wrong]]))


def test_a_series_that_ends_is_refused():
    net = made(WaveNetConfig(dilations=(1,)), "gaussian", channels=1, hop=8)
    with pytest.raises(UsageError, match="ends after 16 samples, 17 were asked for"):
        Sampler(net, OUTPUTS["gaussian"][0]).sample(17, heard=Heard(series=torch.zeros(1, 1, 2)))


# ------------------------------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize("n", [32, 64, 96, 160, 320])
@pytest.mark.parametrize("rows", [1, 2, 4, 7])
@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_products(n, rows, storage):
    from latentscape.nets.wavenet_kernel import multiply

    rng = np.random.default_rng(0)
    matrix, x = rng.normal(size=(n, 12)).astype(np.float32), rng.normal(size=(rows, 12)).astype(np.float32)
    weights = lanes.tiled(matrix)
    y = np.ones((rows, n), np.float32)
    if storage == "bfloat16":
        weights = lanes.paired(weights)
        kept = lanes.unpaired(weights)
        error = np.abs(kept - lanes.tiled(matrix)) / np.abs(lanes.tiled(matrix))
        assert error.max() <= 2**-8
    multiply(weights, 0, n, x.reshape(-1), 0, 12, y.reshape(-1), 0, n, rows, 12)
    assert np.allclose(
        y, 1 + x @ matrix.T, rtol=1e-5 if storage == "float32" else 0.05, atol=1e-5 if storage == "float32" else 0.05
    )
    for row in range(rows):
        alone = np.ones(n, np.float32)
        multiply(weights, 0, n, x[row].copy(), 0, 0, alone, 0, 0, 1, 12)
        assert np.array_equal(alone, y[row])


def test_pairs_keep_zeros_and_signs():
    values = [1.5, -0.0, 0.0, -2.0, 1e-30, -1e-30, 0.2501, -7.03]
    weights = np.repeat(np.array(list(itertools.product(values, values)), np.float32), lanes.LANES)
    kept = lanes.unpaired(lanes.paired(weights))
    assert np.isfinite(kept).all()
    assert np.allclose(kept, weights, rtol=2**-8, atol=1e-37)


@pytest.mark.parametrize("residual", [8, 16, 24])
def test_a_net_of_any_width_in_bfloat16(residual):
    net = made(WaveNetConfig(residual=residual, skip=20, dilations=(1, 2, 4)))
    prime = torch.randint(40, (1, 30))
    streams = Sampler(net, OUTPUTS["categorical"][0], "bfloat16").open(1)
    _, raw = streams.advance(30, uniforms(0, range(1), 30), prime.float(), raw=True)
    expected = net(prime)
    assert float((raw - expected).abs().max()) < 0.03 * float(expected.abs().max())


def test_gate_and_exponential():
    from latentscape.core.compiled import compiled

    @compiled
    def call(y, a, n):
        lanes.gate(y, 0, a, 0, n)

    @compiled
    def exponentials(y, sums, n):
        lanes.exponentials(y, 0, sums, n, np.float32(1))

    f, g = (np.random.default_rng(seed).normal(0, 4, 4096).astype(np.float32) for seed in (0, 1))
    a = np.zeros(4096, np.float32)
    call(np.concatenate([f, g]), a, 4096)
    expected = np.tanh(f.astype(np.float64)) / (1 + np.exp(-g.astype(np.float64)))
    assert np.abs(a - expected).max() < 3e-7
    v = np.linspace(-80, 0, 4096).astype(np.float32)
    y, sums = v.copy(), np.zeros(4096 // lanes.LANES, np.float32)
    exponentials(y, sums, 4096)
    assert np.abs(y / np.exp(v.astype(np.float64)) - 1).max() < 3e-7
    assert np.allclose(sums, y.reshape(-1, lanes.LANES).sum(1), rtol=1e-6)
