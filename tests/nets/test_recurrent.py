"""Recurrent readers and writers: any size exactly, in the course of time."""

import pytest
import torch

from latentscape.core.errors import ConfigError
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.nets.build import build_reader, build_writer
from latentscape.nets.recurrent import RecurrentNetConfig

NETS = {
    "gru": RecurrentNetConfig(width=8),
    "lstm": RecurrentNetConfig(width=8, cell="lstm", layers=2, frame=3, both=True),
    "blind": RecurrentNetConfig(width=8, feedback=False, frame=4),
}


@pytest.mark.parametrize("told", [0, 2])
@pytest.mark.parametrize("shape", [(5, 6), (1, 33), (3, 1)], ids=str)
@pytest.mark.parametrize("config", NETS.values(), ids=list(NETS))
def test_reads_and_writes_any_size_and_gradients_reach_every_parameter(config, shape, told):
    reader, writer = build_reader(config, shape, 2, 5, told), build_writer(config, 5, shape, 3, 1, told)
    x, extra, said = torch.randn(8, *shape), torch.randn(8, 2), torch.randn(8, told) if told else None
    h = reader(x, extra, said)
    assert h.shape == (8, 5)
    out = writer(h, said)
    assert out.shape == (8, 3 * torch.Size(shape).numel() + 1)
    assert not torch.allclose(reader(x, extra + 1, said), h), "extra numbers are not read"
    out.square().sum().backward()
    for net in (reader, writer):
        for name, parameter in net.named_parameters():
            if net.frames == 1 and name.startswith(("again", "cell.weight_hh")):
                continue  # nothing came before
            assert parameter.grad is not None, name
            assert bool(parameter.grad.any()), name


def test_every_value_is_written_where_its_own_is_read():
    """A writer told to write its step, value and parameter numbers puts them in the event's order."""
    writer = build_writer(RecurrentNetConfig(width=4, frame=2, feedback=False), 3, (3, 5), 2, 0)
    with torch.no_grad():
        writer.out.weight.zero_()
        writer.out.bias.copy_(torch.arange(12.0))  # (parameter, value, step in the frame)
    out = writer(torch.randn(1, 3)).reshape(2, 3, 5)
    expected = torch.arange(12.0).reshape(2, 3, 2).repeat(1, 1, 3)[..., :5]
    assert torch.equal(out, expected)


def test_the_last_frame_reaches_the_code_and_the_first_too():
    reader = build_reader(RecurrentNetConfig(width=8, frame=4, both=True), (2, 10), 0, 3)
    x = torch.randn(1, 2, 10, requires_grad=True)
    reader(x).sum().backward()
    assert bool((x.grad != 0).all())


def test_what_was_written_is_heard():
    """With feedback a later frame depends on the weights that make a frame of the one before; without, it does not."""
    for feedback in (True, False):
        torch.manual_seed(1)
        writer = build_writer(RecurrentNetConfig(width=8, feedback=feedback), 3, (2, 6), 1, 0)
        z = torch.randn(1, 3)
        before = writer(z).reshape(2, 6)
        with torch.no_grad():
            writer.out.bias[0] += 1
        after = writer(z).reshape(2, 6)
        assert torch.allclose(after[1], before[1]) != feedback


def test_the_variational_recurrent_auto_encoder_learns_a_gesture():
    """Sines that rise or fall: a code of two tells which, and decodes it."""
    net = {"kind": "recurrent", "width": 24}
    config = AutoencoderConfig.model_validate(
        {"latent": 2, "encoder": net, "decoder": net, "likelihood": {"kind": "gaussian", "scale": "optimal"}}
    )
    model = Autoencoder(config, (1, 12))
    t = torch.linspace(0, 1, 12)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)

    def batch(n):
        slope = torch.rand(n, 1, 1) * 4 - 2
        return slope * (t - 0.5)

    for _ in range(150):
        terms = model.terms(batch(32))
        loss = (terms.distortion + 0.1 * terms.rate[0]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x = batch(64)
    with torch.no_grad():
        error = (model.decode(model.encode(x)).mean - x).square().mean()
    assert float(error) < 0.05 * float(x.square().mean())


@pytest.mark.parametrize("shape", [(5,), (1, 28, 28)], ids=str)
def test_an_event_without_a_course_of_time_is_refused(shape):
    with pytest.raises(ConfigError, match=r"net recurrent got x of shape .* a window of several"):
        build_reader(RecurrentNetConfig(), shape, 0, 4)
