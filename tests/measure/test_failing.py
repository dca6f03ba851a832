"""Failed sounds: white noise and silence are told from tones, breath and short pauses."""

import math

import pytest
import torch

from latentscape.measure.failing import failing, flatness

RATE = 8000


def tone(seconds=1.0, pitch=220.0):
    return 0.3 * torch.sin(2 * math.pi * pitch * torch.arange(round(seconds * RATE)) / RATE)[None]


@pytest.fixture
def noise():
    return 0.3 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))


def test_noise_and_silence_fail_and_sound_does_not(noise):
    assert failing(noise, RATE) == "noise"
    assert failing(torch.cat([tone(0.3), noise], 1), RATE) == "noise"  # runs away
    assert failing(1e-4 * tone(), RATE) == "silence"
    assert failing(torch.full((1, RATE), 0.4), RATE) == "silence"  # a constant is nothing
    assert failing(torch.cat([tone(0.4), torch.zeros(1, RATE)], 1), RATE) == "silence"  # falls silent
    assert failing(tone(), RATE) is None
    assert failing(torch.cat([torch.zeros(1, RATE // 2), tone(), torch.zeros(1, RATE // 2)], 1), RATE) is None
    assert failing(tone() + 0.02 * noise, RATE) is None
    assert failing(torch.cat([tone(1.0), 0.3 * noise[:, : RATE // 2]], 1), RATE) is None  # a burst is part of a sound
    assert failing(noise[:, :1000], RATE) is None  # too short to judge


def test_nine_frames_in_ten_are_silence():
    for count in (10, 30, 70):
        seconds = count / 100
        assert failing(torch.cat([torch.zeros(1, round(9 * seconds * RATE)), tone(seconds)], 1), RATE) == "silence"
        assert failing(torch.cat([torch.zeros(1, round(8 * seconds * RATE)), tone(2 * seconds)], 1), RATE) is None


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_a_sound_beyond_all_numbers_has_run_away(beyond):
    wave = tone()
    wave[0, -1] = beyond
    assert failing(wave, RATE) == "noise"
    assert failing(wave[:, -10:], RATE) == "noise"


def test_flatness_is_one_of_white_noise_and_less_of_coloured(noise):
    brown = torch.nn.functional.avg_pool1d(noise[None], 9, 1, 4)[0]
    white, coloured, pure = (float(flatness(one[:, :RATE]).mean()) for one in (noise, brown, tone()))
    assert white > 0.9
    assert coloured < 0.6
    assert pure < 0.01
