"""The model's way: it meets both borders, carries the model's error across, and has many answers."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import numpy_stream
from latentscape.edit.bordered import borders, recover, steady, turned, whole_frames
from latentscape.edit.hole import Hole
from latentscape.edit.latent import Latent, latent_filler
from latentscape.edit.spectral import Around
from latentscape.instrument.instrument import Instrument
from latentscape.measure.reconstruction import LogSpectralDistance
from latentscape.registry import Window
from latentscape.signal.frames import Frames
from latentscape.signal.stft import LogStft, LogStftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "instrument"))
from identity_model import Identity

RATE = 8000


class Lossy(Identity):
    """A model that gets everything wrong by 30 dB and forgets all detail."""

    def decode(self, z, context={}):
        found = super().decode(z, context)
        level = found.mean.mean(1, keepdim=True).expand_as(found.mean) - 30
        return torch.distributions.Independent(torch.distributions.Normal(level, 1.0), 1)


def instrument(model=Identity, **options):
    sound = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64, **options))
    return Instrument(model((sound.frame_size,)).eval(), sound, name="test")


def note(seconds=1.0, channels=1):
    stream = numpy_stream("note", 0)
    t = np.arange(round(seconds * RATE)) / RATE
    tone = sum(0.2 / k * np.sin(2 * np.pi * 250 * k * t + k) for k in range(1, 6)) * np.exp(-t)
    return tone[None] + 1e-3 * stream.normal(size=(channels, len(t)))


def hole_of(wave, start, end, rate=RATE):
    return Hole(wave[:, :start], wave[:, end:], end - start, rate)


def lsd(a, b):
    return LogSpectralDistance(256, 64).metric(torch.from_numpy(a).float(), torch.from_numpy(b).float())


@pytest.mark.parametrize("model", [Identity, Lossy])
@pytest.mark.parametrize(("start", "end"), [(3000, 5000), (3000, 3100), (0, 900), (7000, 8000)])
def test_the_gap_is_filled_near_the_truth_whatever_the_model_loses(model, start, end):
    wave = note()
    made = Latent(instrument(model)).fill(hole_of(wave, start, end))
    truth = wave[:, start:end]
    assert made.shape == truth.shape
    assert lsd(truth, made) < 7.5
    assert made.std() == pytest.approx(truth.std(), rel=0.35)


def test_answers_are_functions_of_the_seed_and_differ():
    filler, hole = Latent(instrument()), hole_of(note(), 3000, 5000)
    plain, first, again, second = (filler.fill(hole, seed) for seed in (None, 1, 1, 2))
    assert np.array_equal(first, again)
    assert lsd(plain, first) > 0.5
    assert lsd(first, second) > 0.5
    cool = Latent(instrument(), temperature=0.0).fill(hole, 1)
    assert np.allclose(cool, plain)


def test_bridges_vanish_at_the_borders_and_have_the_spread_of_the_context():
    filler = Latent(instrument())
    codes = torch.randn(200, 129)
    whole = torch.ones(200, dtype=torch.bool)
    whole[60:140] = False
    wave, level = torch.zeros(1, 0), torch.zeros(1, 200, 129)
    bridge = filler._bridge(codes, Around(wave, level, whole, 59, 140), 3)
    assert bridge[[59, 140]].abs().max() < 1e-5
    assert float(bridge[70:130].std()) == pytest.approx(1.0, abs=0.15)
    assert not filler._bridge(codes[:4], Around(wave, level[:, :4], whole[:4], 1, None), 3).isnan().any()


def test_any_rate_and_number_of_channels():
    t = np.arange(22050) / 22050
    wave = 0.2 * np.stack((np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 660 * t)))
    made = Latent(instrument()).fill(hole_of(wave, 9000, 12000, 22050))
    assert made.shape == (2, 3000)
    assert lsd(wave[:, 9000:12000], made) < 8
    for rate, start, end in ((44100, 30001, 33334), (11025, 5000, 6011), (4000, 1999, 2502)):
        tone = 0.2 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)[None]
        made = Latent(instrument()).fill(hole_of(tone, start, end, rate))
        assert made.shape == (1, end - start)
        assert np.abs(made - tone[:, start:end]).max() < 0.05
    noise = 0.1 * numpy_stream("high", 0).normal(size=(1, 22050))
    filled = Latent(instrument()).fill(hole_of(noise, 9000, 12000, 22050))
    above = np.abs(np.fft.rfft(filled[0]))[850:].std()  # over 6.2 kHz, which the model at 8 kHz has not
    assert above == pytest.approx(np.abs(np.fft.rfft(noise[0, 9000:12000]))[850:].std(), rel=0.3)


def test_paths_of_every_kind_end_at_the_same_borders():
    hole = hole_of(note(), 3000, 4000)
    for path in ("sphere",):
        assert Latent(instrument(), path).fill(hole).shape == (1, 1000)
    with pytest.raises(UsageError, match="path 'ring'"):
        Latent(instrument(), "ring")


def test_what_a_run_can_not_do_is_said():
    sound = Waveform(WaveformConfig(sample_rate=RATE))
    raw = Instrument(Identity((1, 100)), sound, Window(length=100, hop=50), name="raw")
    with pytest.raises(UsageError, match="raw can't fill gaps by method latent"):
        Latent(raw)
    assert latent_filler(raw) is None
    filler = latent_filler(instrument())
    assert filler is not None
    tiny = hole_of(note()[:, :300], 100, 200)
    assert not filler.can(tiny)
    assert filler.can(hole_of(note(), 3000, 3100))
    with pytest.raises(DataError, match="nothing longer than the run's window"):
        filler.fill(tiny)
    pair = instrument(channels=2)
    assert not Latent(pair).can(hole_of(note(), 3000, 3100))
    with pytest.raises(UsageError, match="has 2 channels, the sound has 1"):
        Latent(pair).fill(hole_of(note(), 3000, 3100))
    assert Latent(pair).fill(hole_of(note(channels=2), 3000, 3100)).shape == (2, 100)


def test_phase_goes_on_from_both_sides():
    grid = Frames(256, 64)
    wave = torch.from_numpy(note()[0]).float()
    known = torch.ones(len(wave), dtype=torch.bool)
    known[3000:4000] = False
    magnitude = grid.analyse(wave[None])[0].abs()
    silent = torch.where(known, wave, 0.0)
    made = recover(magnitude, silent, known, grid, 1e-4)
    assert torch.equal(made[known], wave[known])
    noise = (made - wave)[3000:4000].square().sum()
    # the gap is 64 periods of a steady tone: its phase is right all over it
    assert 10 * torch.log10(wave[3000:4000].square().sum() / noise) > 10


def test_frames_that_see_nothing_of_the_gap():
    grid = Frames(256, 64)
    known = torch.ones(2000, dtype=torch.bool)
    known[1000:1100] = False
    whole = whole_frames(known, grid)
    direct = [bool(known[max(0, k * 64 - 128) : k * 64 + 128].all()) for k in range(len(whole))]
    assert whole.tolist() == direct
    left, right = borders(known, grid)
    assert left == direct.index(False) - 1
    assert right == len(direct) - direct[::-1].index(False)
    assert borders(torch.zeros(2000, dtype=torch.bool), grid) == (None, None)
    with pytest.raises(ValueError, match="nothing is missing"):
        borders(torch.ones(2000, dtype=torch.bool), grid)


def test_turned_phases_meet_the_known_ones():
    grid = Frames(256, 64)
    spectrum = grid.analyse(torch.from_numpy(note()).float())[0]
    first = torch.zeros(spectrum.shape)
    for left, right in ((5, 20), (5, None), (None, 20)):
        found = turned(first, spectrum, left, right)
        for place in (left, right):
            if place is not None:
                assert torch.allclose(torch.polar(torch.ones(129), found[place]), torch.sgn(spectrum[place]), atol=1e-4)
    assert torch.equal(turned(first, spectrum, None, None), first)
    phases = turned(steady(spectrum, grid, 5, 20), spectrum, 5, 20)
    peak = int(spectrum[5].abs().argmax())
    wrong = torch.polar(torch.tensor(1.0), phases[12, peak]) - torch.sgn(spectrum[12, peak])
    assert wrong.abs() < 0.2
    assert steady(spectrum, grid, None, None).shape == spectrum.shape
