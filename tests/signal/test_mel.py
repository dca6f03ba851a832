"""Log-mel against librosa's filters and the formula."""

import numpy as np
import pytest
import torch
from librosa.filters import mel

from latentscape.core.errors import ConfigError
from latentscape.signal import nonnegative
from latentscape.signal.mel import LogMel, LogMelConfig


@pytest.fixture
def view():
    return LogMel(LogMelConfig(sample_rate=16000, window=512, hop=128, bands=40))


def test_is_the_level_in_librosas_bands(view):
    wave = 0.1 * torch.randn(1, 1, 6001)
    padded = np.pad(wave[0, 0].double().numpy(), 256)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    spectra = [np.fft.rfft(padded[128 * k : 128 * k + 512] * hann) for k in range(47)]
    bands = mel(sr=16000, n_fft=512, n_mels=40) @ np.abs(spectra).T ** 2
    expected = 10 * np.log10(np.maximum(bands, 1e-10))
    np.testing.assert_allclose(view.analyse(wave)[0].numpy(), expected, atol=0.01)


def test_inverse_has_the_bands_that_were_asked_for(view):
    features = view.analyse(0.1 * torch.randn(2, 1, 3000))
    power = view.magnitude(features) ** 2
    back = 10 * torch.log10(power @ view.filters(power).T).transpose(1, 2)
    assert (back - features).abs().mean() < 0.3
    assert (power >= 0).all()


def test_updates_are_the_dense_formula(view):
    rng = np.random.default_rng(0)
    filters = view.filters(torch.zeros(1)).numpy().astype(np.float64)
    v = rng.uniform(0, 1, (2, 3, 40))
    weight = filters.sum(axis=0)
    inside = weight > 0
    expected = np.where(inside, (v / filters.sum(axis=1)) @ filters / np.where(inside, weight, 1), 0)
    for _ in range(7):
        ratio = v / (expected @ filters.T)
        expected = np.where(inside, expected * (ratio @ filters) / np.where(inside, weight, 1), 0)
    found = nonnegative.solve(v, filters.astype(np.float32), 7)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)
    assert np.array_equal(nonnegative.solve(v, filters.astype(np.float32), 7, threads=2), found)


def test_kernel_as_plain_python_is_the_compiled_one():
    filters = np.array([[1, 0.5, 0, 0], [0, 0.5, 1, 0]], np.float32)
    v = np.random.default_rng(0).uniform(0, 1, (1, 2, 2))
    compiled = nonnegative.solve(v, filters, 5)
    plain = np.empty_like(compiled)
    first, lower, upper = np.array([0, 0, 1, 0]), np.array([1, 0.5, 1, 0]), np.array([0, 0.5, 0, 0])
    nonnegative._solve.py_func(v[0], first, lower, upper, np.array([1.5, 1.5]), 5, plain[0])
    np.testing.assert_allclose(plain, compiled, rtol=1e-6)


def test_silence_at_the_floor(view):
    features = view.analyse(torch.zeros(1, 1, 1000))
    assert torch.equal(features, torch.full_like(features, -100.0))
    assert view.magnitude(features).max() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bands": 300}, "300 bands are too many for a window of 512"),
        ({"low_hz": 5000.0, "high_hz": 4000.0}, "expected low_hz < high_hz <= 8000"),
        ({"high_hz": 9000.0}, "expected low_hz < high_hz <= 8000"),
    ],
)
def test_impossible_bands_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        LogMel(LogMelConfig(sample_rate=16000, window=512, hop=128, **settings))
