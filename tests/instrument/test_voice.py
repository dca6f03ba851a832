"""The live voice is the live render, bit for bit, however points are cut into pushes."""

import pytest
import torch
from identity_model import Identity

from latentscape.core.errors import UsageError
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.voice import Voice
from latentscape.models.autoencoder import AutoencoderConfig
from latentscape.registry import Window, build_model
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE = 8000
LOG = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
KINDS = [
    (LOG, Window()),
    (LOG, Window(length=5, hop=1)),
    (LOG, Window(length=8, hop=8)),
    (Stft(StftConfig(sample_rate=RATE, window=256, hop=64)), Window()),
    (Waveform(WaveformConfig(sample_rate=RATE)), Window(length=400, hop=100)),
    (MuLaw(MuLawConfig(sample_rate=RATE)), Window(length=100, hop=100)),
]


def player(representation=LOG, window=Window(), latent=3):
    torch.manual_seed(1)
    shape = window.event_shape(representation.frame_size)
    widths = {"kind": "mlp", "widths": [24]}
    config = AutoencoderConfig(latent=latent, encoder=widths, decoder=widths, condition=("family",))
    units = tuple(torch.full((shape[0],) if len(shape) == 1 else (shape[0], 1), value) for value in (-20.0, 15.0))
    model = build_model(config, shape, {"family": 2}, units).eval()
    return Instrument(model, representation, window, {"family": ("bell", "reed")})


def named(value):
    return str(value) if isinstance(value, Window) else type(value).__name__  # an address would differ between workers


@pytest.mark.parametrize(("representation", "window"), KINDS, ids=named)
def test_any_pushes_are_the_live_render(representation, window):
    instrument = player(representation, window)
    points = torch.randn(20, 3)
    whole = instrument.render(points, quality="live", labels={"family": "reed"})
    for cuts in ([20], [1] * 20, [3, 0, 7, 1, 9]):
        voice = Voice(instrument, {"family": "reed"})
        waves = [voice.push(piece) for piece in points.split(cuts)]
        wave = torch.cat((*waves, voice.flush()), 1)
        assert voice.samples == wave.shape[1]
        assert torch.equal(wave, whole)
    seconds = whole.shape[1] / RATE
    blocks = list(instrument.blocks(points, seconds, 77, labels={"family": "reed"}))
    assert torch.equal(
        torch.cat(blocks, 1), instrument.render(points, seconds, quality="live", labels={"family": "reed"})
    )


@pytest.mark.parametrize(("representation", "window"), KINDS[:5], ids=named)
def test_what_came_out_before_a_point_does_not_depend_on_it(representation, window):
    instrument = player(representation, window)
    points = torch.randn(30, 3)
    changed = points.clone()
    changed[20] += 3
    voices = [Voice(instrument) for _ in range(2)]
    waves = [
        torch.cat([voice.push(piece) for piece in p.split([20, 10])], 1)
        for voice, p in zip(voices, (points, changed), strict=True)
    ]
    before = Voice(instrument)
    before.push(points[:20])
    assert torch.equal(*(wave[:, : before.samples] for wave in waves))
    assert not torch.equal(*waves)


def test_labels_may_change_and_training_goes_on():
    instrument = player()
    points = torch.randn(12, 3)
    voice = Voice(instrument, {"family": "bell"})
    instrument.model.train()
    changed = torch.cat((voice.push(points[:6]), voice.push(points[6:], {"family": "reed"}), voice.flush()), 1)
    assert instrument.model.training
    told = [instrument.render(points, quality="live", labels={"family": name}) for name in ("bell", "reed")]
    early = 3 * 64
    assert torch.equal(changed[:, :early], told[0][:, :early])
    assert not torch.allclose(changed[:, 6 * 64 :], told[0][:, 6 * 64 :], atol=1e-4)
    with pytest.raises(UsageError, match="not known"):
        voice.push(points, {"family": "drum"})


def test_points_between_are_interpolated():
    instrument = Instrument(Identity(Window().event_shape(LOG.frame_size)), LOG)
    line = torch.lerp(torch.zeros(1, instrument.dim), torch.ones(1, instrument.dim), torch.linspace(0, 1, 25)[:, None])
    features = [instrument.legal(instrument.decode(line))]
    voice = Voice(instrument)
    pushed = []
    voice._live = type("Ear", (), {"push": lambda self, f, s: (pushed.append(f[0]), (torch.zeros(1, 1, 0), s))[1]})()
    voice.push(line[:1])
    voice.push(line[1:], every=2)
    torch.testing.assert_close(torch.cat(pushed, 1), features[0], atol=1e-4, rtol=0)


def test_what_can_not_be_played():
    with pytest.raises(UsageError, match="images"):
        Voice(Instrument(Identity((1, 4, 4))))
    nsgt = LogNsgt(LogNsgtConfig(sample_rate=RATE))
    with pytest.raises(UsageError, match="played live"):
        Voice(Instrument(Identity(Window().event_shape(nsgt.frame_size)), nsgt))
