"""The judges of a restyled sound: what they say of the ends, of filters, of noise."""

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError
from latentscape.measure.style import (
    RATE,
    RandomListener,
    content_similarity,
    correlation,
    heard,
    judge_restyling,
    style_distance,
    without_rumble,
)

N = int(1.6 * RATE)


def beeps(pitch: float, rate: float, seed: int = 0) -> torch.Tensor:
    t = np.arange(N) / RATE
    wave = sum(np.sin(2 * np.pi * k * pitch * t * (1 + 0.02 * np.sin(3 * t))) / k for k in range(1, 5))
    return torch.from_numpy(0.1 * wave * (0.1 + (np.sin(2 * np.pi * rate * t) > 0)))[None].float()


def hiss(seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, N, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def content() -> torch.Tensor:
    return beeps(200, 5)


def test_the_content_is_at_one_and_the_style_at_nought(content):
    style = hiss()
    same = judge_restyling(content, content, style, RATE)
    assert same.style["random"] == pytest.approx(1)
    assert same.content.mean == pytest.approx(1)
    assert same.content.pitch == pytest.approx(1)
    goal = judge_restyling(style, content, style, RATE)
    assert goal.style["random"] == pytest.approx(0, abs=1e-6)
    assert goal.content.mean < 0.3
    assert goal.noisier == pytest.approx(0)
    assert goal.flatness[1] < goal.flatness[2] - 20
    assert set(goal.to_json()) >= {"style", "content", "onsets", "pitch", "bands", "flatness"}


def test_other_noise_of_the_kind_is_near_and_neither_level_nor_rumble_count(content):
    style, other = hiss(), hiss(1)
    t = torch.arange(N) / RATE
    loud = 3 * other + 0.5 * torch.sin(2 * torch.pi * 5 * t)
    plain, rumbling = (judge_restyling(wave, content, style, RATE) for wave in (other, loud))
    assert plain.style["random"] < 0.05
    assert rumbling.style["random"] == pytest.approx(plain.style["random"], abs=1e-3)
    assert rumbling.flatness[0] == pytest.approx(plain.flatness[0], abs=0.1)


def test_a_lasting_filter_leaves_the_content(content):
    dull = content + torch.nn.functional.pad(content, (1, 0))[:, :-1]
    found = judge_restyling(dull, content, hiss(), RATE).content
    assert found.bands > 0.9
    assert found.pitch is not None
    assert found.pitch > 0.9


def test_pitch_is_left_out_where_there_is_none(content):
    assert judge_restyling(hiss(1), content, hiss(), RATE).content.pitch is None


@pytest.mark.parametrize(("share", "compared"), [(0.15, False), (0.5, True)])
def test_pitch_counts_where_a_quarter_of_the_content_is_voiced_in_both(share, compared):
    t = torch.arange(5 * RATE) / RATE
    phase = 2 * torch.pi * (220 * t + 6 * torch.sin(2 * t))
    song = sum(torch.sin(k * phase) / k for k in range(1, 5))[None]
    cut = round(share * song.shape[1])
    part = torch.cat((song[:, :cut], torch.randn(1, song.shape[1] - cut, generator=torch.manual_seed(0))), 1)
    y, c = (heard(one, RATE) for one in (part, song))
    assert (content_similarity(y, c).pitch is not None) == compared


def test_a_listener_hears_the_same_in_every_run():
    wave = heard(hiss(), RATE)
    first, again, other = (RandomListener(seed)(wave) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert {len(layer) for layer in first} == {1 + N // 256}


def test_rumble_goes_and_the_rest_stays():
    t = np.arange(N) / RATE
    wave = np.stack([np.sin(2 * np.pi * f * t) for f in (5, 200)])
    found = without_rumble(wave + 0.3, RATE)
    assert np.abs(found[0, 2000:-2000]).max() < 0.05
    assert np.abs(found[1] - wave[1])[2000:-2000].max() < 0.02


def test_correlation_agrees_with_numpy():
    a, b = np.random.default_rng(0).normal(size=(2, 50))
    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, np.ones(50)) == 0


@pytest.mark.parametrize("wave", [torch.zeros(1, N), torch.ones(1, 100), torch.full((1, N), torch.nan)])
def test_what_cannot_be_judged_is_refused(wave):
    with pytest.raises(DataError):
        heard(wave, RATE)


def test_content_and_style_that_are_alike_are_refused(content):
    one = heard(content, RATE)
    with pytest.raises(DataError, match="alike"):
        style_distance(one, one, one, RandomListener())


def test_pauses_are_no_style(content):
    style = hiss()
    silence = torch.zeros(1, N)
    halting = torch.cat((style[:, : N // 2], silence, style[:, N // 2 :]), 1)
    assert judge_restyling(style, content, halting, RATE).style["random"] < 0.1  # frames at the joints are left
