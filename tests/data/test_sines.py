"""The toy check holds what it promises, measured by projecting each sound onto its own frequency."""

import itertools

import numpy as np
import pytest

from latentscape.data.sines import sines


def test_each_sine_is_its_labels():
    for number, note in enumerate(sines(count=24)):
        assert note.wave.shape == (1, 32_000)
        assert note.wave.dtype == np.float32
        assert note.sample_rate == 16_000
        assert note.labels["midi"] == 57 + number % 12
        t = np.arange(32_000) / 16_000
        frequency = 440 * 2 ** ((float(note.labels["midi"]) - 69) / 12)
        basis = np.stack([np.sin(2 * np.pi * frequency * t), np.cos(2 * np.pi * frequency * t)], axis=1)
        (a, b), residual, *_ = np.linalg.lstsq(basis, note.wave[0].astype(float), rcond=None)
        assert residual[0] < 1e-8
        assert np.hypot(a, b) == pytest.approx(note.labels["amplitude"], rel=1e-5)
        assert np.arctan2(b, a) % (2 * np.pi) == pytest.approx(note.labels["phase"], abs=1e-5)


def test_draws_fill_their_ranges():
    notes = list(itertools.islice(sines(), 400))
    amplitudes = np.array([note.labels["amplitude"] for note in notes], dtype=float)
    phases = np.array([note.labels["phase"] for note in notes], dtype=float)
    assert 0.1 <= amplitudes.min() < 0.12
    assert 0.88 < amplitudes.max() <= 0.9
    assert np.abs(np.exp(1j * phases).mean()) < 0.15
    assert len({note.name for note in notes}) == 400


def test_seeded_and_extensible():
    short, long, other = list(sines(3, 5)), list(sines(3, 9)), list(sines(4, 5))
    assert all(np.array_equal(a.wave, b.wave) for a, b in zip(short, long, strict=False))
    assert not np.array_equal(short[0].wave, other[0].wave)
    assert sum(1 for _ in sines()) == 1200
