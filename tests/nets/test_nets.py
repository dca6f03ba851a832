import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.nets.build import NetConfig, build_reader, build_writer
from latentscape.nets.conv import ConvConfig
from latentscape.nets.mlp import ACTIVATIONS, Mlp, MlpConfig

NETS = {
    "mlp": MlpConfig(widths=(12, 7)),
    "linear": MlpConfig(widths=()),
    "residual": MlpConfig(widths=(9, 9, 9), residual=True, norm=True, dropout=0.1, activation="relu"),
    "conv": ConvConfig(channels=(4, 6)),
    "conv deep": ConvConfig(channels=(4, 4, 5), blocks=1, norm=True, dense=(8,), activation="leaky_relu"),
    "conv strided": ConvConfig(channels=(3,), kernel=9, stride=4),
    "conv none": ConvConfig(channels=()),
}
SHAPES = [(11,), (5, 6), (1, 33), (1, 28, 28), (3, 7, 5), (2, 1, 1)]


@pytest.mark.parametrize("config", NETS.values(), ids=list(NETS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reads_and_writes_any_size_exactly_and_gradients_reach_every_parameter(config, shape):
    reader, writer = build_reader(config, shape, 2, 5), build_writer(config, 5, shape, 3, 1)
    x, extra = torch.randn(8, *shape), torch.randn(8, 2)
    h = reader(x, extra)
    assert h.shape == (8, 5)
    out = writer(h)
    assert out.shape == (8, 3 * torch.Size(shape).numel() + 1)
    assert not torch.allclose(reader(x, extra + 1), h), "extra numbers are not read"
    out.square().sum().backward()
    for net in (reader, writer):
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 4), st.sampled_from([1, 3, 5, 9]), st.integers(0, 3))
def test_conv_mirrors_any_length(n, stride, kernel, depth):
    config = ConvConfig(channels=(2,) * depth, kernel=kernel, stride=stride)
    for shape in ((1, n), (2, n, 3)):
        assert build_reader(config, shape, 0, 4)(torch.randn(2, *shape)).shape == (2, 4)
        assert build_writer(config, 4, shape, 1, 0)(torch.randn(2, 4)).shape == (2, torch.Size(shape).numel())


def test_dims_choose_what_is_convolved():
    """A patch (f, t): along t only (every f at once), or along both as one picture."""
    patch = torch.randn(2, 6, 8)
    along = build_reader(ConvConfig(channels=(3,), kernel=3), (6, 8), 0, 4)
    picture = build_reader(ConvConfig(channels=(3,), kernel=3, dims=2), (6, 8), 0, 4)
    assert along.stages[0].weight.shape == (3, 6, 3)
    assert picture.stages[0].weight.shape == (3, 1, 3, 3)
    assert along(patch).shape == picture(patch).shape == (2, 4)
    with pytest.raises(ConfigError, match="dims 1"):
        build_reader(ConvConfig(dims=1), (1, 28, 28), 0, 4)


def test_parameter_maps_come_before_events():
    """The c-th map of a writer is the c-th block of its flat output, whatever the event's own channels."""
    writer = build_writer(ConvConfig(channels=(4,)), 3, (2, 5, 5), 3, 0)
    with torch.no_grad():
        writer.stages[-1].weight.zero_()
        writer.stages[-1].bias.copy_(torch.arange(6.0))  # (parameter, event channel)
    out = writer(torch.randn(1, 3)).reshape(3, 2, 5, 5)
    assert out[:, :, 0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_activations_keep_variance_in_a_sensible_range():
    for activation in ACTIVATIONS:
        net = Mlp(MlpConfig(widths=(256,) * 4, activation=activation), 256, 256)
        with torch.no_grad():
            spread = float(net(torch.randn(200, 256)).std())
        assert 0.03 < spread < 5, (activation, spread)


@pytest.mark.parametrize("config", [ConvConfig(channels=(32, 32)), ConvConfig(channels=(32, 32), stride=4, kernel=9)])
def test_conv_writer_keeps_variance_too(config):
    with torch.no_grad():
        out = build_writer(config, 16, (1, 64, 64), 1, 0)(torch.randn(50, 16))
    assert 0.03 < float(out.std()) < 3


def test_no_widths_is_linear():
    net = Mlp(MlpConfig(widths=()), 3, 2)
    a, b = torch.randn(1, 3), torch.randn(1, 3)
    zero = net(torch.zeros(1, 3))
    assert torch.allclose(net(a + b) - zero, net(a) + net(b) - 2 * zero, atol=1e-6)


def test_configs_parse_and_refuse():
    assert parse(NetConfig, {"kind": "conv", "kernel": 3}).kernel == 3
    with pytest.raises(ConfigError, match=r"kernel.*got 4, expected an odd number"):
        parse(NetConfig, {"kind": "conv", "kernel": 4})
    with pytest.raises(ConfigError, match="did you mean 'widths'"):
        parse(NetConfig, {"kind": "mlp", "width": [3]})


def test_a_step_of_adam_moves_a_wide_layer_no_further_than_a_narrow_one():
    from latentscape.nets.mlp import WIDE, linear

    moved = []
    for inputs in (WIDE, 32 * WIDE):
        layer = linear(inputs, 8, gain=1.0)
        h = torch.ones(4, inputs)
        assert 0.5 < float(layer(torch.randn(256, inputs)).detach().std()) < 2
        optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)
        before = layer(h).detach()
        layer(h).sum().backward()
        optimiser.step()
        moved.append(float((layer(h).detach() - before).abs().mean()))
    assert moved[1] == pytest.approx(moved[0], rel=0.01)
