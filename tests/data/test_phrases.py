"""Phrases: one recording whatever the blocks, at a fair level, without clicks, in memory that does not grow."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.errors import DataError
from latentscape.data.phrases import MOST_NOTES, Phrases
from latentscape.data.tones import Note, tones


@pytest.fixture(scope="module")
def notes():
    return list(tones())[::5]


def joined(phrases: Phrases, seconds: float = 10.0) -> np.ndarray:
    return np.concatenate(list(phrases.blocks(seconds)), axis=1)


def pure(midi: float, channels: int = 1, rate: int = 8_000, seconds: float = 1.0, gain: float = 0.5) -> Note:
    t = np.arange(round(seconds * rate)) / rate
    wave = gain * np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * t)
    wave *= np.minimum(1, 50 * np.minimum(t, t[-1] - t))
    return Note(f"pure-{midi}", np.tile(wave, (channels, 1)).astype(np.float32), rate, {"midi": midi})


@settings(deadline=None, max_examples=6)
@given(seconds=st.floats(0.01, 7.0))
def test_blocks_do_not_matter(notes, seconds):
    phrases = Phrases(notes, minutes=0.25)
    assert np.array_equal(joined(phrases, seconds), joined(phrases, 100.0))


def test_longer_recording_begins_like_the_shorter(notes):
    short, long = joined(Phrases(notes, minutes=0.2)), joined(Phrases(notes, minutes=0.4))
    same = short.shape[1] - 3 * 22_050  # what rings at the end is released there
    assert np.array_equal(short[:, :same], long[:, :same])
    assert not np.array_equal(short[:, :same], joined(Phrases(notes, minutes=0.2, seed=1))[:, :same])


def test_length_level_and_ends(notes):
    phrases = Phrases(notes, minutes=1.0)
    wave = joined(phrases)
    assert wave.shape == (1, 60 * 22_050) == (phrases.channels, phrases.length)
    assert wave.dtype == np.float32
    assert np.abs(wave).max() < 0.9
    assert -30 < 20 * np.log10(np.sqrt(np.mean(wave**2))) < -12
    assert np.abs(wave[:, -1]).max() < 1e-6
    assert np.mean(np.abs(wave) > 0.5) < 0.01  # the limiter leaves ordinary levels alone


def test_no_clicks():
    """Of sines with soft ends nothing but soft sines may come: a cut would put energy at the top of the band."""
    phrases = Phrases([pure(m) for m in range(50, 75)], minutes=0.5)
    wave = joined(phrases)[0].astype(float)
    frames = np.lib.stride_tricks.sliding_window_view(wave, 256)[::64] * np.hanning(256)
    spectrum = np.abs(np.fft.rfft(frames))
    top = spectrum[:, 100:].max(axis=1)  # above 3.1 kHz; the notes lie below 0.6 kHz
    assert 20 * np.log10(top.max() / spectrum.max()) < -50
    cut = wave.copy()
    cut[40_000:] *= 0
    assert np.abs(np.diff(cut)).max() > 0  # the measure itself sees a cut:
    frames = np.lib.stride_tricks.sliding_window_view(cut, 256)[::64] * np.hanning(256)
    assert 20 * np.log10(np.abs(np.fft.rfft(frames))[:, 100:].max() / spectrum.max()) > -50


def test_has_rests_melodies_and_chords(notes):
    phrases = Phrases(notes, minutes=3.0)
    events = list(islice(phrases._events(), 400))
    onsets = [event.onset for event in events]
    assert onsets == sorted(onsets)
    together = np.unique(onsets, return_counts=True)[1]
    assert (together == 1).mean() > 0.4
    assert (together == 3).any()
    wave = joined(phrases)[0]
    level = np.sqrt(np.mean(wave[: len(wave) // 2205 * 2205].reshape(-1, 2205) ** 2, axis=1))
    assert (level < 1e-4).mean() > 0.02
    assert (level > 0.03).mean() > 0.3


def test_one_voice_a_phrase(notes):
    phrases = Phrases(notes, minutes=1.0)
    for number in range(8):
        played, seconds = phrases._phrase(number)
        families = {phrases._notes[note].labels["family"] for _, chord, _, _ in played for note in chord}
        assert len(families) == 1
        assert seconds > played[-1][0]


def test_memory_does_not_grow_with_the_minutes():
    corpus = [pure(m) for m in range(50, 60)]

    def peak(minutes: float) -> int:
        phrases = Phrases(corpus, minutes=minutes)
        tracemalloc.start()
        for _ in phrases.blocks(5.0):
            pass
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    short = peak(1.0)
    assert peak(15.0) < 1.1 * short + 100_000


def test_large_corpus_is_sampled_evenly():
    many = (Note(str(k), np.full((1, 4), 0.1, np.float32), 8_000, {"midi": float(k % 40)}) for k in range(4000))
    kept = sorted(int(note.name) for note in Phrases(many, minutes=0.01)._notes)
    assert len(kept) == MOST_NOTES == len(set(kept))
    assert abs(np.mean(kept) - 2000) < 200


def test_channels_single_note_silence_and_default():
    wave = joined(Phrases([pure(60, channels=2)], minutes=0.1))
    assert wave.shape[0] == 2
    assert np.array_equal(wave[0], wave[1])
    assert not joined(Phrases([pure(60, gain=0.0)], minutes=0.1)).any()
    assert Phrases(minutes=0.1).sample_rate == 22_050


@pytest.mark.parametrize(
    ("corpus", "minutes", "message"),
    [
        ([], 1.0, "no notes"),
        ([pure(60), pure(61, rate=16_000)], 1.0, "16000 Hz, but 'pure-60' 1 at 8000 Hz"),
        ([pure(60), pure(61, channels=2)], 1.0, "has 2 channels"),
        ([Note("x", np.zeros((1, 9), np.float32), 8_000, {"word": "a"})], 1.0, "'x' has no number 'midi'"),
        ([pure(60)], 0.0, "less than one sample"),
    ],
)
def test_unplayable_corpora_are_refused(corpus, minutes, message):
    with pytest.raises(DataError, match=message):
        Phrases(corpus, minutes=minutes)
