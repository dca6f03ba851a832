"""The limiter: nothing passes the ceiling, what stays below is untouched to the bit, and the gain never jumps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.play.limiter import CEILING, RELEASE_DB, Limiter

RATE = 22050


def limited(wave, block=256):
    limiter = Limiter(RATE)
    return np.concatenate([limiter.limit(wave[start : start + block]) for start in range(0, len(wave), block)])


def tone(peak, seconds=0.5, frequency=97.0):
    t = np.arange(round(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * frequency * t)).astype(np.float32)[:, None]


def test_what_stays_below_is_returned_to_the_bit():
    wave = tone(CEILING - 1e-4)
    block = wave[:256]
    assert Limiter(RATE).limit(block) is block
    assert np.array_equal(limited(wave), wave)
    assert np.array_equal(limited(np.full((600, 2), np.float32(CEILING) * np.float32(1 - 1e-7))),
                          np.full((600, 2), np.float32(CEILING) * np.float32(1 - 1e-7)))  # fmt: skip


@given(seed=st.integers(0, 2**16), block=st.sampled_from([1, 7, 64, 256, 1000]), loud=st.floats(0.1, 300))
@settings(deadline=None, max_examples=25)
def test_nothing_passes_the_ceiling(seed, block, loud):
    noise = np.random.default_rng(seed)
    wave = (noise.standard_normal((3000, 2)) * loud * noise.random((3000, 1)) ** 4).astype(np.float32)
    out = limited(wave, block)
    assert out.dtype == np.float32
    assert np.abs(out).max() <= np.float32(CEILING)
    assert (out * wave >= 0).all()


@pytest.mark.parametrize("peak", [1.0, 3.0, 9.0])
@pytest.mark.parametrize("block", [64, 256, 1000])
def test_the_gain_goes_on_without_a_jump_from_block_to_block(peak, block):
    """A tone that swells from below the ceiling to beyond, and back: the gain, out over in, is smooth throughout."""
    swell = np.sin(np.linspace(0, np.pi, RATE, dtype=np.float32)) ** 2
    wave = tone(1.0, 1.0)
    wave = wave * (0.3 + (peak - 0.3) * swell)[:, None]
    out = limited(wave, block)
    heard = np.abs(wave[:, 0]) > 0.05
    gain = 20 * np.log10(out[heard, 0] / wave[heard, 0])
    places = np.flatnonzero(heard)
    steps = np.abs(np.diff(gain)) / np.diff(places)
    assert steps.max() < 0.35  # dB a sample: 2.8 where a gain is set anew by each block
    assert gain.min() == pytest.approx(min(0.0, 20 * np.log10(CEILING / peak)), abs=0.05)
    assert np.abs(out).max() <= np.float32(CEILING)


def test_it_falls_ahead_of_the_peak_and_rises_slowly():
    wave = np.full((RATE, 1), 0.5, np.float32)
    wave[1100] = 2.0
    out = limited(wave)
    gain = 20 * np.log10(out / wave)[:, 0]
    assert (gain[:1024] == 0).all()  # the block before is gone
    assert (np.diff(gain[1024:1101]) <= 0).all()
    assert gain[1100] == pytest.approx(20 * np.log10(CEILING / 2), abs=1e-3)
    again = 1101 + np.argmax(gain[1101:] == 0)
    assert (again - 1100) / RATE == pytest.approx(-gain[1100] / RELEASE_DB, abs=0.02)
    assert np.array_equal(out[again:], wave[again:])
