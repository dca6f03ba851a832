"""Damage that was put in is found, and what is whole is left alone."""

import numpy as np
import pytest

from latentscape.core.errors import UsageError
from latentscape.core.random import numpy_stream
from latentscape.edit.find import find_clicks, find_clipped, find_damage, find_silent
from latentscape.edit.gaps import Gap, known_of

RATE = 16000


def music(seconds=1.5, seed=0):
    """A decaying chord with a little noise, as 16 bit would hold it."""
    stream = numpy_stream("music", seed)
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(a * np.sin(2 * np.pi * f * t + f) for f, a in ((220, 0.2), (277, 0.15), (660, 0.05), (1400, 0.02)))
    wave = wave * np.exp(-t) + 1e-3 * stream.normal(size=len(t))
    return np.round(wave * 32768)[None] / 32768


def test_clicks_are_found_where_they_are_and_nowhere_else():
    wave, stream = music(), numpy_stream("clicks", 1)
    assert find_clicks(wave, RATE) == []
    places = np.arange(700, wave.shape[1] - 700, 1511)
    for place in places:
        length = int(stream.integers(1, 20))
        wave[:, place : place + length] += 0.15 * stream.normal(size=length) + 0.05
    found = find_clicks(wave, RATE)
    hit = [any(gap.start <= place + 20 and place <= gap.end for gap in found) for place in places]
    assert np.mean(hit) >= 0.9
    assert len(found) <= len(places) + 1
    assert all(gap.count <= 0.006 * RATE for gap in found)


def test_clipped_stretches_are_found_to_the_sample():
    wave = music()
    assert find_clipped(wave, RATE) == []
    limit = 0.6 * np.abs(wave).max()
    truth = (np.abs(wave) >= limit)[0]
    found = ~known_of(find_clipped(np.clip(wave, -limit, limit), RATE), wave.shape[1])
    assert (found & truth).sum() >= 0.95 * truth.sum()
    assert (found & ~truth).sum() <= 0.05 * truth.sum()
    low = 0.3 * np.sin(2 * np.pi * 30 * np.arange(RATE) / RATE)[None]
    assert find_clipped(low, RATE) == []  # smooth peaks are flat, too
    assert find_clipped(low * 1e-3, RATE) == []


def test_drop_outs_are_exact_silence_between_sound():
    wave = music()
    wave[:, :500] = 0
    wave[:, -500:] = 0
    wave[:, 4000:4200] = 0
    wave[:, 9000:9010] = 0  # shorter than 2 ms
    assert find_silent(wave, RATE) == [Gap(4000, 4200)]
    both = np.concatenate((wave, music(seed=1)))
    assert find_silent(both, RATE) == []  # one channel sounds on


def test_kinds_are_looked_for_one_by_one_or_all_together():
    wave = music()
    wave[:, 4000:4200] = 0
    assert set(find_damage(wave, RATE)) == {"silent", "clipped", "clicks"}
    assert find_damage(wave, RATE, "silent") == {"silent": [Gap(4000, 4200)]}
    with pytest.raises(UsageError, match="did you mean 'clicks'"):
        find_damage(wave, RATE, "click")
    assert find_damage(np.zeros((1, 10)), RATE) == {"silent": [], "clipped": [], "clicks": []}
