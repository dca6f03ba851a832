"""Pitch is librosa's, to roundoff; a frame's does not depend on the others that are computed with it."""

import numpy as np
import pytest

from by_librosa import HIGH, LOW, sounds, stored
from latentscape.signal.frames import centred
from latentscape.signal.pitch import track
from latentscape.signal.yin import _course, yin

TINY = np.finfo(float).tiny


@pytest.mark.parametrize("estimator", ["yin", "pyin"])
@pytest.mark.parametrize("name", sounds())
def test_pitch_is_librosas(name, estimator):
    found = track(*sounds()[name], estimator, (LOW, HIGH))
    np.testing.assert_allclose(found, stored()[name][estimator], rtol=1e-5)  # NaN where librosa has it


def test_the_sounds_are_ones_that_tell_estimators_apart():
    pitch = stored()["glide"]["pyin"]
    heard = pitch[np.isfinite(pitch)]
    assert 0.5 < len(heard) / len(pitch) < 0.95
    assert heard.max() > 2 * heard.min()
    assert np.isnan(stored()["noise"]["pyin"]).all()


def weights(share, reach):
    """Logarithms of what is seen ``[t, 2 s]`` and of every transition ``[2 s, 2 s]``, pitched states first."""
    steps = share.shape[1]
    voiced = share.sum(1, keepdims=True).clip(0, 1)
    apart = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    glide = np.maximum(0, 1 - apart / (reach + 1))
    glide /= glide.sum(1, keepdims=True)
    seen = np.hstack([share, np.repeat((1 - voiced) / steps, steps, 1)])
    return np.log(seen + TINY), np.log(np.kron([[0.99, 0.01], [0.01, 0.99]], glide) + TINY)


@pytest.mark.parametrize("reach", [0, 1, 4])
@pytest.mark.parametrize("noise", [0.1, 0.0])
def test_the_course_is_the_most_probable_one(noise, reach):
    """Without noise every frame but four is voiced for certain, and there are leaps that no glide reaches."""
    stream = np.random.default_rng(reach)
    share = noise * stream.dirichlet(np.full(9, 0.1), 48)
    share[np.arange(48), np.repeat([0, 8, 3, 4, 1, 7], 8)] += 1 - 2 * noise
    share[20:24] = 0
    course = _course(share, reach)
    seen, move = weights(share, reach)
    best = seen[0]
    for row in seen[1:]:
        best = (best[:, None] + move).max(0) + row
    assert seen[np.arange(48), course].sum() + move[course[:-1], course[1:]].sum() == pytest.approx(
        best.max(), rel=1e-9
    )
    assert noise or set(course) >= {0, 8, 3, 4, 1, 7}


def test_frames_are_alone():
    """More frames than are computed at once."""
    wave = np.random.default_rng(0).standard_normal(3000).cumsum()
    frames = centred(wave, 128, 10)
    assert frames.shape == (301, 128)
    whole = yin(wave, 8000, 128, 10, 140.0, 2000.0)
    for place in (20, 255, 256, 290):
        alone = wave[10 * place - 64 : 10 * place + 64]
        assert (frames[place] == alone).all()
        assert yin(alone, 8000, 128, 64, 140.0, 2000.0)[1] == pytest.approx(whole[place], rel=1e-9)


def test_frames_begin_and_end_in_zeros():
    found = centred(np.arange(1.0, 6.0), 4, 2)
    assert found.tolist() == [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 0]]


@pytest.mark.parametrize("offset", [0.0, 0.02, 0.1, 0.5])
def test_an_offset_gives_noise_and_silence_no_pitch(offset):
    noise = 0.02 * np.random.default_rng(0).standard_normal(22050)
    inside = slice(2, -3)  # whole frames: at the ends an offset is a step
    for sound in (noise, 0 * noise):
        assert np.isnan(track(sound + offset, 22050, 2048, 512, "voiced", (60.0, 1000.0))[inside]).all()
    tone = 0.1 * np.sin(2 * np.pi * 220 * np.arange(22050) / 22050)
    assert np.isfinite(track(tone, 22050, 2048, 512, "voiced", (60.0, 1000.0))[inside]).all()
