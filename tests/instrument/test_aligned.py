"""Raw windows joined in phase: what agrees is kept, what does not keeps its level, time does not drift."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_model import Identity

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, UsageError
from latentscape.instrument.aligned import AlignedJoiner, best_shift
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.voice import Voice
from latentscape.instrument.windows import Joiner, cut
from latentscape.measure.seams import seam_course
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE = 8000
LENGTH, STEP = 4000, 2000


def joined(joiner, windows, size=None):
    pieces = [joiner.push(part) for part in windows.split(size or len(windows))]
    rest = joiner.flush()
    return torch.cat(pieces if rest is None else [*pieces, rest], 1)


def strangers(count=24, length=LENGTH, seed=0):
    """Windows of one chord whose partials have other phases in each."""
    stream = torch.Generator().manual_seed(seed)
    t = torch.arange(length) / RATE
    phases = 2 * math.pi * torch.rand(count, 5, 1, generator=stream)
    partials = torch.sin(2 * math.pi * 220 * torch.arange(1, 6)[:, None] * t + phases) / torch.arange(1, 6)[:, None]
    return 0.1 * (partials.sum(1) + 0.05 * torch.randn(count, length, generator=stream))[:, None]


@settings(deadline=None, max_examples=25)
@given(st.integers(40, 900), st.floats(0.1, 1.0), st.integers(1, 3000), st.integers(1, 5))
def test_what_was_cut_is_joined_as_it_was(length, share, samples, size):
    step = max(1, round(share * length))
    wave = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    windows = cut(wave, length, step, torch.zeros(2))
    made = joined(AlignedJoiner(length, step, RATE), windows, size)
    assert made.shape[1] == (len(windows) - 1) * step + length
    torch.testing.assert_close(made[:, :samples], wave)


@settings(deadline=None, max_examples=25)
@given(st.integers(-20, 20), st.integers(0, 5))
def test_the_shift_is_found(shift, seed):
    wave = torch.randn(2, 400, generator=torch.Generator().manual_seed(seed))
    before, search = wave[:, 100:200], 20
    after = 0.3 * wave[:, 100 - shift - search : 200 - shift + search]
    assert best_shift(before, after, search) == shift


def test_of_shifts_that_are_as_good_the_smallest_wins():
    tone = torch.sin(2 * math.pi * 500 * torch.arange(600) / RATE)[None]  # a period of 16 samples
    assert best_shift(tone[:, 200:400], tone[:, 136:464], 64) == 0
    assert best_shift(tone[:, 200:400], torch.zeros(1, 328), 64) == 0


def test_windows_meet_in_phase_at_the_level_they_have():
    windows = strangers()
    inside = windows.square().mean()
    found = {}
    for name, joiner in {
        "plain": Joiner(LENGTH, LENGTH), "fade": Joiner(LENGTH, STEP), "aligned": AlignedJoiner(LENGTH, STEP, RATE)
    }.items():  # fmt: skip
        made = joined(joiner, windows)
        first = joiner.step + (LENGTH - joiner.step) // 2
        joins = [place / RATE for place in range(first, made.shape[1] - joiner.step, joiner.step)]
        course = {key: value.value for key, value in seam_course(made, RATE, joins).items()}
        found[name] = course | {"loudness": 10 * math.log10(made.square().mean() / inside)}
    assert found["plain"]["seam_flux"] > 3
    assert found["fade"]["seam_level"] < -1.5
    assert found["fade"]["loudness"] < -0.8
    assert all(abs(value) < 0.5 for value in found["aligned"].values()), found


def test_a_last_window_that_was_moved_ends_in_a_fade():
    wave = torch.sin(2 * math.pi * 100 * torch.arange(6000) / RATE)[None]
    moved = torch.stack([wave[:, :LENGTH], wave[:, STEP - 30 : STEP - 30 + LENGTH]])
    joiner = AlignedJoiner(LENGTH, STEP, RATE)
    made = joined(joiner, moved)
    torch.testing.assert_close(made[:, : 5970 - joiner.ending], wave[:, : 5970 - joiner.ending], rtol=0, atol=1e-5)
    assert made.shape == wave.shape
    assert not made[:, 5970:].any()
    assert made[:, 5900:].diff().abs().max() < 0.1


def raw_instrument(join=None, length=400, hop=200, overlap=None):
    window = Window(length=length, hop=hop, join=join, overlap=overlap)
    return Instrument(Identity((1, length), 0.5, 0.0), Waveform(WaveformConfig(sample_rate=RATE)), window)


def test_raw_windows_of_a_path_are_aligned_and_those_with_a_place_are_not():
    instrument = raw_instrument()
    assert instrument.joining == "aligned"
    assert isinstance(instrument.joiner(), AlignedJoiner)
    assert isinstance(instrument.joiner(moving=False), Joiner)
    z = torch.randn(6, 400, generator=torch.Generator().manual_seed(1))
    made = instrument.render(z)
    windows = 0.5 * z[:, None]
    torch.testing.assert_close(made, joined(AlignedJoiner(400, 200, RATE), windows))
    torch.testing.assert_close(instrument.decode(z), joined(Joiner(400, 200), windows))
    torch.testing.assert_close(instrument.joined("fade").render(z), joined(Joiner(400, 200), windows))
    assert instrument.joined("aligned") is instrument.joined(None) is instrument
    assert instrument.joins(1400) == [place / RATE for place in range(300, 1400, 200)]


def test_plain_windows_are_put_end_to_end():
    plain = raw_instrument().joined("plain")
    z = torch.randn(5, 400, generator=torch.Generator().manual_seed(2))
    assert plain.step == 400
    torch.testing.assert_close(plain.render(z), 0.5 * z.reshape(1, -1))
    assert raw_instrument("plain").step == 400
    wave = torch.randn(1, 1900, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(plain.reconstruct(wave), wave)
    assert plain.joins(1700) == [place / RATE for place in (400, 800, 1200, 1600)]


def test_windows_share_as_much_as_is_asked_for():
    quarter = raw_instrument().joined(overlap=0.25)
    assert (quarter.joining, quarter.step) == ("aligned", 300)
    z = torch.randn(5, 400, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(quarter.render(z), joined(AlignedJoiner(400, 300, RATE), 0.5 * z[:, None]))
    wave = torch.randn(1, 1600, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(quarter.reconstruct(wave), wave)  # each place is its own
    assert quarter.joins(1000) == [place / RATE for place in (350, 650, 950)]


def test_an_overlap_of_the_run_is_kept_unless_another_is_asked_for():
    run = raw_instrument(overlap=0.75)
    assert (run.step, run.joined("fade").step, run.joined("plain").step) == (100, 100, 400)
    assert run.joined(overlap=0.5).step == run.joined("fade", 0.5).step == 200


@pytest.mark.parametrize("values", [{"length": 1}, {"length": 400, "join": "plain"}])
def test_an_overlap_that_means_nothing_is_refused_before_training(values):
    with pytest.raises(ConfigError, match="an overlap of windows longer than 1"):
        parse(Window, {**values, "overlap": 0.5})


def test_what_does_not_overlap_is_said():
    with pytest.raises(UsageError, match=r"overlap of 0\.25, but windows put end to end do not"):
        raw_instrument().joined("plain", 0.25)
    frames = Instrument(Identity((1,), 1.0, 0.0), Waveform(WaveformConfig(sample_rate=RATE)))
    with pytest.raises(UsageError, match=r"overlap of 0\.5, but frames do not"):
        frames.joined(overlap=0.5)


@pytest.mark.parametrize("join", ["plain", "fade", "aligned"])
def test_a_voice_joins_as_its_instrument_does(join):
    instrument = raw_instrument(join)
    z = torch.randn(5, 400, generator=torch.Generator().manual_seed(4))
    voice = Voice(instrument)
    live = torch.cat([voice.push(z[:2]), voice.push(z[2:]), voice.flush()], 1)
    torch.testing.assert_close(live, instrument.render(z))
    seconds = live.shape[1] / RATE
    blocks = torch.cat(list(instrument.blocks(z, seconds, 37)), 1)
    torch.testing.assert_close(blocks, instrument.render(z, seconds, quality="live"))


def test_spectra_have_no_phase_to_meet_in():
    model = Identity((513, 4))
    sound = LogStft(LogStftConfig(sample_rate=RATE))
    instrument = Instrument(model, sound, Window(length=4, hop=2))
    assert instrument.joining == "fade"
    with pytest.raises(UsageError, match="no raw windows to bring into phase; join by fade or plain"):
        instrument.joined("aligned")
    with pytest.raises(UsageError, match="no raw windows"):
        Instrument(model, sound, Window(length=4, hop=2, join="aligned"))
