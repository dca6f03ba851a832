import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soundfiles import noise

from latentscape.data.augment import Augmentation, AugmentConfig, apply, draw

ALL = AugmentConfig(pitch=(-2, 3), gain_db=(-6, 0), noise_db=(-60, -40), polarity=True)


def test_a_draw_depends_on_its_keys_alone():
    assert draw(ALL, 0, 1) == draw(ALL, 0, 1)
    assert draw(ALL, 0, 1) != draw(ALL, 0, 2)


def test_draws_fill_their_ranges():
    drawn = [draw(ALL, 0, number) for number in range(400)]
    pitch, gain = np.array([d.pitch for d in drawn]), np.array([d.gain_db for d in drawn])
    assert -2 <= pitch.min() < -1.9
    assert 2.9 < pitch.max() <= 3
    assert -6 <= gain.min() < -5.9
    assert gain.max() <= 0
    assert 150 < sum(d.flip for d in drawn) < 250
    assert abs(np.corrcoef(pitch, gain)[0, 1]) < 0.2
    assert {draw(AugmentConfig(pitch_steps=(-1, 0, 0.5)), 0, n).pitch for n in range(50)} == {-1, 0, 0.5}
    assert all(draw(AugmentConfig(offset=False), 0, n).offset == 0 for n in range(5))


def test_still_is_still():
    assert AugmentConfig().still
    for change in (
        {"pitch": (0, 1)},
        {"pitch_steps": (1,)},
        {"gain_db": (0, 1)},
        {"noise_db": (-9, -9)},
        {"polarity": True},
    ):
        assert not AugmentConfig(**change).still
    wave = noise("still")
    np.testing.assert_array_equal(apply(draw(AugmentConfig(), 0), wave, 8000), wave)


@pytest.mark.parametrize("semitones", [-7.0, 0.5, 12.0])
def test_pitch_moves_by_semitones(semitones):
    rate, f_0 = 8000, 500.0
    wave = np.sin(2 * np.pi * f_0 * np.arange(rate) / rate).astype(np.float32)[None]
    out = apply(Augmentation(pitch=semitones), wave, rate)
    assert out.shape[1] == pytest.approx(rate * 2 ** (-semitones / 12), abs=2)
    spectrum = np.abs(np.fft.rfft(out[0] * np.hanning(out.shape[1]), 16 * rate))
    assert spectrum.argmax() / 16 == pytest.approx(f_0 * 2 ** (semitones / 12), abs=0.5)


def test_gain_polarity_and_noise():
    wave = noise("gain", seconds=1)
    np.testing.assert_allclose(apply(Augmentation(gain_db=-20.0, flip=True), wave, 8000), -0.1 * wave, rtol=1e-6)
    added = apply(Augmentation(noise_db=-40.0, seed=3), wave, 8000) - wave
    assert 20 * np.log10(added.std()) == pytest.approx(-40, abs=0.2)
    np.testing.assert_array_equal(added, apply(Augmentation(noise_db=-40.0, seed=3), wave, 8000) - wave)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 400), st.integers(1, 3), st.integers(0, 10**6))
def test_applying_is_pure_at_any_length(length, channels, key):
    wave = noise("pure", seconds=length / 8000, channels=channels)
    before = wave.copy()
    drawn = draw(ALL, key)
    first, second = apply(drawn, wave, 8000), apply(drawn, wave, 8000)
    np.testing.assert_array_equal(wave, before)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert first.shape[0] == channels
    assert first.shape[1] >= 1


def test_share_leaves_the_rest_as_it_is():
    config = AugmentConfig(pitch=(1.0, 2.0), gain_db=(3.0, 6.0), share=0.7)
    draws = [draw(config, 0, number) for number in range(1000)]
    varied = [one for one in draws if one.pitch or one.gain_db]
    assert 650 < len(varied) < 750
    assert all(one.pitch and one.gain_db for one in varied)
