"""Every representation under the public laws, and the laws themselves under a member that breaks them."""

import pytest
import torch

from latentscape.core.errors import ConfigError, DataError
from latentscape.laws.representation import check_representation
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig, Nsgt, NsgtConfig
from latentscape.signal.representation import fit_length, fold, unfold
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

MEMBERS = [
    Waveform(WaveformConfig(sample_rate=8000)),
    Waveform(WaveformConfig(sample_rate=8000, channels=3)),
    MuLaw(MuLawConfig(sample_rate=8000, channels=2)),
    Stft(StftConfig(sample_rate=8000, channels=2, window=512, hop=128)),
    Stft(StftConfig(sample_rate=8000, window=300, hop=77)),
    LogStft(LogStftConfig(sample_rate=8000, channels=2, window=512, hop=128)),
    LogStft(LogStftConfig(sample_rate=8000, window=500, hop=90)),
    LogMel(LogMelConfig(sample_rate=8000, window=512, hop=128, bands=48)),
    Nsgt(NsgtConfig(sample_rate=8000, channels=2)),
    Nsgt(NsgtConfig(sample_rate=8000, low_hz=50, high_hz=3000, bins_per_octave=12, hop=5)),
    LogNsgt(LogNsgtConfig(sample_rate=8000, low_hz=60)),
]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: f"{type(m).__name__}-{m.channels}-{m.hop}")
def test_keeps_the_laws(member):
    check_representation(member)


class Late(Waveform):
    """Drops the last sample."""

    def synthesise(self, features, length=None, *, quality="best"):
        wave = super().synthesise(features, length, quality=quality)
        wave[..., -1] = 0
        return wave


class Mutating(Waveform):
    def analyse(self, wave):
        wave *= 0.5
        return wave.clone()


class Coupled(Waveform):
    """Rows of a batch touch each other."""

    def analyse(self, wave):
        return wave + (wave.mean(dim=0, keepdim=True) if len(wave) > 1 else 0)


class Blockwise(Waveform):
    """Forgets how it began: a block's first sample is always zero, except in a short sound."""

    def analyse(self, wave):
        features = wave.clone()
        if 300 < wave.shape[-1] < 900:
            features[..., 0] = 0
        return features


class Loose(LogStft):
    round_trip = -80.0


class Restless(LogStft):
    """Its live form depends on the size of the pushes."""

    def magnitude(self, features):
        return super().magnitude(features) * (1 + 0.01 * features.shape[-1])


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (Late(WaveformConfig(sample_rate=8000)), "round trip"),
        (Mutating(WaveformConfig(sample_rate=8000)), "changed its input"),
        (Coupled(WaveformConfig(sample_rate=8000)), "of a batch differs"),
        (Blockwise(WaveformConfig(sample_rate=8000)), "blocks differ"),
        (Loose(LogStftConfig(sample_rate=2000, window=128, hop=32)), "round trip"),
    ],
    ids=["late", "mutating", "coupled", "blockwise", "loose"],
)
def test_the_law_finds_what_is_broken(member, message):
    with pytest.raises(AssertionError, match=message):
        check_representation(member)


def test_the_law_finds_a_live_form_that_differs():
    member = Restless(LogStftConfig(sample_rate=2000, window=128, hop=32))
    member.round_trip = 100.0  # let it reach the law of live sound
    with pytest.raises(AssertionError, match="streamed sound differs"):
        check_representation(member)


def test_sample_rate_must_be_resolved():
    with pytest.raises(ConfigError, match="log_stft: sample_rate is not set"):
        LogStft(LogStftConfig())


@pytest.mark.parametrize("member", MEMBERS[::2], ids=lambda m: type(m).__name__)
def test_wrong_shapes_are_named(member):
    with pytest.raises(DataError, match=r"got a wave of shape \[1, 7, 100\]"):
        member.analyse(torch.zeros(1, 7, 100))
    with pytest.raises(DataError, match=r"got a wave of shape"):
        member.analyse(torch.zeros(1, member.channels, 0))
    features = torch.zeros(1, member.frame_size + 1, 3, dtype=member.dtype)
    with pytest.raises(DataError, match=r"got features of shape"):
        member.synthesise(features)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: f"{type(m).__name__}-{m.channels}-{m.hop}")
def test_a_flush_without_frames_is_empty(member):
    live = member.live()
    if live is not None:
        assert live.flush(live.initial(2)).shape == (2, member.channels, 0)


def test_fold_puts_channel_after_channel():
    rows = torch.arange(12.0).reshape(4, 3, 1)
    folded = fold(rows, 2)
    assert folded.shape == (2, 6, 1)
    assert folded[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(unfold(folded, 2), rows)


def test_fit_length():
    wave = torch.ones(1, 1, 4)
    assert fit_length(wave, None) is wave
    assert fit_length(wave, 3).shape[-1] == 3
    assert fit_length(wave, 6)[0, 0].tolist() == [1, 1, 1, 1, 0, 0]
