"""What of a recording is silent, and recordings whose pauses are shortened."""

import numpy as np
import pytest
import torch

from latentscape.measure.silence import SECONDS, silent_share, sounding, with_pauses

RATE = 8000
FRAME = round(SECONDS * RATE)


def notes(loud: int, silent: int, count: int = 6, floor: float = 1e-3) -> np.ndarray:
    """Noise bursts of ``loud`` frames and pauses of ``silent``."""
    drawn = np.random.default_rng(0).normal(size=(count, (loud + silent) * FRAME))
    drawn[:, loud * FRAME :] *= floor
    return 0.1 * drawn.reshape(1, -1)


def test_pauses_are_found_whatever_the_level_and_the_channels():
    wave = notes(6, 4)
    for gain in (1.0, 1e-3):
        assert silent_share(gain * wave, RATE) == pytest.approx(0.4)
    assert silent_share(np.concatenate((wave, 0 * wave)), RATE) == pytest.approx(0.4)
    assert silent_share(notes(6, 4, floor=0.1), RATE) == 0  # 20 dB down is a quiet note


def test_a_click_in_silence_is_not_all_that_is_left():
    wave = torch.zeros(1, 100 * FRAME)
    wave[0, 50] = 1.0
    assert int(sounding(wave, RATE).sum()) >= 5


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.9])
def test_pauses_are_shortened_to_a_share_and_notes_stay(share):
    wave = notes(60, 40, 3)
    cut = with_pauses(wave, RATE, share)
    assert silent_share(cut, RATE) == pytest.approx(min(share, 0.4), abs=0.03)
    assert (cut**2).sum() == pytest.approx((wave**2).sum(), rel=0.06)  # but for the fades
    if share >= 0.4:
        assert cut is wave


def test_nothing_is_left_of_pauses_at_the_ends_and_order_stays():
    wave = np.concatenate((np.zeros((1, 5 * FRAME)), notes(6, 4), np.zeros((1, 7 * FRAME))), 1)
    cut = with_pauses(wave, RATE, 0.0)
    assert cut.shape[1] == pytest.approx(36 * FRAME, abs=2 * FRAME)
    first = wave[0, 5 * FRAME : 5 * FRAME + 400]
    assert np.abs(cut[0, :400] - first)[60:].max() < 1e-12
