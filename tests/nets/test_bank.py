"""A bank of oscillators: the wave against the sum that the module writes down, and what its nets are told and give."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.dist.likelihoods import GaussianConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.nets.bank import GOLDEN, LOUDEST, BankConfig, Oscillators
from latentscape.nets.build import NetConfig, build_reader, build_writer
from latentscape.nets.conv import ConvConfig

NET = ConvConfig(channels=(4, 6), kernel=3, dense=(8,))
SMALL = BankConfig(net=NET, lowest=0.01, highest=0.4, per_octave=6, hop=16, frame=32)
ONE = BankConfig(net=NET, lowest=0.0625, highest=0.0625, hop=32, frame=64)


def frequencies(config):
    return config.lowest * 2 ** (np.arange(config.oscillators) / config.per_octave)


def sum_of(config, amplitudes, samples):
    """The equation, oscillator by oscillator and sample by sample."""
    t, k = np.arange(samples), np.arange(config.oscillators)
    points = np.arange(amplitudes.shape[1]) * config.hop
    phases = 2 * np.pi * (frequencies(config)[:, None] * t + (k * k * GOLDEN)[:, None])
    return sum(np.interp(t, points, one) * np.cos(phase) for one, phase in zip(amplitudes, phases, strict=True))


@pytest.mark.parametrize("samples", [16, 31, 160, 161])
def test_the_wave_is_the_sum_of_the_ramped_oscillators(samples):
    frames = -(-samples // SMALL.hop)
    amplitudes = torch.rand(3, 2, SMALL.oscillators, frames + 1)
    wave = Oscillators(SMALL, samples)(amplitudes)
    assert wave.shape == (3, 2, samples)
    for item in range(3):
        for channel in range(2):
            expected = sum_of(SMALL, amplitudes[item, channel].numpy(), samples)
            np.testing.assert_allclose(wave[item, channel].numpy(), expected, atol=1e-4)


def test_constant_amplitudes_are_the_sinusoids_asked_for_late_in_a_long_window():
    """Two of 12 an octave apart, at the end of a window of 2 s, where a phase in float32 would be off."""
    config = BankConfig(net=NET, lowest=1 / 64, highest=0.25, per_octave=12, hop=256)
    amplitudes = torch.zeros(1, 1, config.oscillators, 126)
    amplitudes[:, :, 12], amplitudes[:, :, 36] = 0.5, 0.25  # at 1 / 32 and 1 / 8
    wave = Oscillators(config, 32_000)(amplitudes)[0, 0, -4096:].double().numpy()
    spectrum = np.abs(np.fft.rfft(wave)) / 2048
    assert sorted(np.argsort(spectrum)[-2:]) == [128, 512]
    assert spectrum[128] == pytest.approx(0.5, abs=1e-5)
    assert spectrum[512] == pytest.approx(0.25, abs=1e-5)
    assert np.delete(spectrum, [128, 512]).max() < 1e-5


def test_between_two_points_loudness_is_linear():
    amplitudes = torch.tensor([0.0, 1.0, 0.5])[None, None, None]
    wave = Oscillators(ONE, 64)(amplitudes)[0, 0].numpy()
    t = np.arange(64)
    envelope = np.where(t < 32, t / 32, 1 - (t - 32) / 64)
    np.testing.assert_allclose(wave, envelope * np.cos(2 * np.pi * t / 16), atol=1e-6)


def test_oscillators_are_equally_tempered_between_their_bounds():
    assert SMALL.oscillators == 32
    assert frequencies(SMALL)[-1] <= 0.4 < frequencies(SMALL)[-1] * 2 ** (1 / 6)
    for k in range(100):  # the bound itself is one of them, however its quotient is rounded
        assert BankConfig(lowest=0.01, highest=0.01 * 2 ** (k / 48), per_octave=48).oscillators == k + 1
    turns = (np.arange(366) ** 2 * GOLDEN) % 1
    for apart in (turns, np.diff(turns) % 1):  # neither begin together nor chirp
        assert abs(np.exp(2j * np.pi * apart).mean()) < 0.1


@pytest.mark.parametrize("dims", [None, 2])
@pytest.mark.parametrize("shape", [(1, 160), (1, 33), (2, 50)], ids=str)
@pytest.mark.parametrize(("items", "told"), [(0, 0), (1, 3)])
def test_reads_and_writes_any_window_and_gradients_reach_every_parameter(dims, shape, items, told):
    config = SMALL.model_copy(update={"net": NET.model_copy(update={"dims": dims})})
    reader, writer = build_reader(config, shape, 2, 5, told), build_writer(config, 5, shape, 1, items, told)
    x, extra, label = torch.randn(6, *shape), torch.randn(6, 2), torch.randn(6, 3) if told else None
    h = reader(x, extra, label)
    assert h.shape == (6, 5)
    assert not torch.allclose(reader(x, extra + 1, label), h)
    out = writer(h, label)
    assert out.shape == (6, math.prod(shape) + items)
    out.square().sum().backward()
    for net in (reader, writer):
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name
    if told:
        for net in (reader, writer):
            for module in net.modules():
                if type(module).__name__ == "Film":
                    nn.init.normal_(module.map.weight)
        assert not torch.allclose(writer(h, label), writer(h, -label))
        assert not torch.allclose(reader(x, extra, label), reader(x, extra, -label))


def test_a_net_that_writes_zeros_is_quiet_and_a_wild_one_is_bounded():
    writer = build_writer(BankConfig(net=NET), 3, (1, 8000), 1, 0)
    with torch.no_grad():
        writer.net.stages[-1].weight.zero_()
        assert float(writer(torch.randn(2, 3)).square().mean().sqrt()) == pytest.approx(0.1, rel=0.05)
        writer.net.stages[-1].bias.fill_(1e9)
        assert bool(writer(torch.randn(2, 3)).isfinite().all())


def test_the_reader_is_blind_to_phase_and_hears_pitch():
    reader = build_reader(BankConfig(net=NET, hop=64, frame=256), (1, 4096), 0, 4)
    t = torch.arange(4096.0)
    with torch.no_grad():
        a, b, c = (
            reader(torch.sin(2 * math.pi * f * t + p).reshape(1, 1, -1)) for f, p in ((0.1, 0), (0.1, 2), (0.12, 0))
        )
    assert float((a - b).norm()) < 0.2 * float((a - c).norm())


def test_phases_are_the_same_after_loading_and_are_not_stored():
    first, second = (build_writer(SMALL, 3, (1, 100), 1, 0) for _ in range(2))
    assert set(first.state_dict()) == {name for name, _ in first.named_parameters()}
    z = torch.randn(2, 3)
    assert not torch.equal(first(z), second(z))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(z), second(z))


def test_autocast_leaves_the_synthesis_in_full_precision():
    writer = build_writer(BankConfig(net=ConvConfig(channels=(), dense=())), 3, (1, 16_000), 1, 0)
    z = torch.zeros(1, 3)
    with torch.no_grad():
        plain = writer(z)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(writer(z), plain)


def test_an_autoencoder_of_banks_tells_loud_from_quiet_windows():
    likelihood = GaussianConfig(scale="item")
    model = Autoencoder(AutoencoderConfig(latent=2, encoder=SMALL, decoder=SMALL, likelihood=likelihood), (1, 80))
    terms = model.terms(torch.randn(4, 1, 80))
    assert terms.likelihood.mean.shape == (4, 1, 80)
    terms.distortion.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("size", [3.0, 30.0, 300.0])
def test_no_point_is_far_louder_than_a_corpus_can_be(size):
    """Of every oscillator at once, too: each may be as loud as a sound, but not all of them together."""
    writer = build_writer(SMALL, 3, (2, 4000), 1, 0)
    z = (size * torch.randn(64, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    wave = writer(z).unflatten(1, (2, -1))
    loudest = 20 * math.log10(math.e) * (LOUDEST + 1)
    level = 10 * wave.detach().unfold(-1, 400, 400).square().mean(-1).log10()
    assert level.max() < loudest + 1.0  # what beats within a frame may be louder for a moment
    if size > 3:
        assert level.max() > loudest - 9.0
    wave.sum().backward()
    assert z.grad.isfinite().all()


def test_what_is_not_loud_is_left_alone(monkeypatch):
    writer = build_writer(SMALL, 3, (1, 4000), 1, 0)
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    held = writer(z)
    monkeypatch.setattr("latentscape.nets.bank.LOUDEST", 1e3)
    torch.testing.assert_close(writer(z), held, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="writes one number a sample, the wave, but the likelihood needs 2"):
        Autoencoder(AutoencoderConfig(decoder=SMALL, likelihood=GaussianConfig(scale="element")), (1, 80))
    for build in (lambda: build_reader(SMALL, (80,), 0, 2), lambda: build_writer(SMALL, 2, (1, 8, 8), 1, 0)):
        with pytest.raises(ConfigError, match=r"net bank got x of shape .*, expected a raw window \[c, n\]"):
            build()
    for wrong in ({"lowest": 0.3, "highest": 0.2}, {"hop": 64, "frame": 32}):
        with pytest.raises(ConfigError, match="lowest <= highest and a hop within the frame"):
            parse(NetConfig, {"kind": "bank", **wrong})
    with pytest.raises(ConfigError, match="highest"):
        parse(NetConfig, {"kind": "bank", "highest": 0.5})
