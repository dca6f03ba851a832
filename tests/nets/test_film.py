import pytest
import torch

from latentscape.core.errors import ConfigError
from latentscape.nets.build import build_reader, build_writer
from latentscape.nets.conv import ConvConfig
from latentscape.nets.film import Film, Stack
from latentscape.nets.mlp import MlpConfig

NETS = {
    "mlp": MlpConfig(widths=(12, 7)),
    "residual": MlpConfig(widths=(9, 9, 9), residual=True, norm=True),
    "conv": ConvConfig(channels=(4, 6), dense=(8,)),
    "conv deep": ConvConfig(channels=(4, 4), blocks=1, norm=True),
    "conv single": ConvConfig(channels=(4,)),
}


def films(net):
    return [module for module in net.modules() if isinstance(module, Film)]


@pytest.mark.parametrize("config", NETS.values(), ids=list(NETS))
@pytest.mark.parametrize("shape", [(11,), (1, 9, 8)], ids=str)
def test_a_told_net_begins_blind_and_then_hears_in_every_layer(config, shape):
    reader, writer = build_reader(config, shape, 0, 5, 3), build_writer(config, 5, shape, 2, 1, 3)
    x, told, other = torch.randn(4, *shape), torch.randn(4, 3), torch.randn(4, 3)
    h = torch.randn(4, 5)
    assert torch.equal(reader(x, None, told), reader(x, None, other))
    assert torch.equal(writer(h, told), writer(h, other))
    assert writer(h, told).shape == (4, 2 * torch.Size(shape).numel() + 1)
    (reader(x, None, told).square().sum() + writer(h, told).square().sum()).backward()
    for net in (reader, writer):
        assert len(films(net)) >= len(getattr(config, "widths", getattr(config, "channels", ())))
        for film in films(net):
            assert bool(film.map.weight.grad.any()), "a layer does not hear"
    for net, given in ((reader, (x, None)), (writer, (h,))):
        for film in films(net):
            with torch.no_grad():
                film.map.weight.normal_()
                assert not torch.allclose(net(*given, told), net(*given, other))
                film.map.weight.zero_()


def test_it_is_a_scale_and_a_shift_of_every_channel():
    film = Film(2, 3)
    with torch.no_grad():
        film.map.weight.normal_()
        film.map.bias.normal_()
    told, h = torch.randn(4, 2), torch.randn(4, 3, 5, 6)
    scale, shift = film.map(told)[:, :3], film.map(told)[:, 3:]
    expected = (1 + scale)[:, :, None, None] * h + shift[:, :, None, None]
    assert torch.allclose(film(h, told), expected, atol=1e-6)
    assert torch.allclose(film(h[:, :, 0, 0], told), expected[:, :, 0, 0], atol=1e-6)


@pytest.mark.parametrize("config", NETS.values(), ids=list(NETS))
def test_an_untold_net_has_the_same_weights_by_the_same_names_and_draws(config):
    """Runs trained before nets could be told load, and train to the same figures."""
    torch.manual_seed(0)
    plain = build_writer(config, 5, (1, 9, 8), 2, 1)
    torch.manual_seed(0)
    again = build_writer(config, 5, (1, 9, 8), 2, 1, 0)
    assert not films(plain)
    assert plain.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), again.parameters(), strict=True))


def test_names_of_untold_weights_are_those_of_old_runs():
    assert list(build_writer(MlpConfig(widths=(4, 4), residual=True), 4, (2,), 1, 0).state_dict()) == [
        f"{name}.{part}" for name in ("0.inner.0", "1.inner.0", "2") for part in ("weight", "bias")
    ]
    conv = list(build_reader(ConvConfig(channels=(2,), blocks=1), (1, 6, 6), 0, 3).state_dict())
    assert conv[::2] == ["stages.0.weight", "stages.2.inner.0.weight", "stages.2.inner.2.weight", "neck.0.weight"]


def test_a_net_without_hidden_layers_can_not_be_told():
    for build in (
        lambda: build_reader(MlpConfig(widths=()), (4,), 0, 2, 3),
        lambda: build_writer(ConvConfig(channels=()), 2, (4,), 1, 0, 3),
    ):
        with pytest.raises(ConfigError, match=r"condition_by.*hidden layers"):
            build()


def test_a_film_that_is_told_nothing_is_an_error_and_not_silence():
    with pytest.raises(TypeError):
        Stack(Film(2, 3))(torch.randn(1, 3))
