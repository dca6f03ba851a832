"""Mel filters are librosa's to the bit; of its functions this one needs nothing compiled."""

import numpy as np
import pytest
from librosa.filters import mel

from latentscape.signal.bands import mel_edges, mel_filters


@pytest.mark.parametrize(
    ("sample_rate", "window", "bands", "low", "high"),
    [
        (16_000, 512, 40, 0.0, None),
        (22_050, 1024, 80, 0.0, 8000.0),
        (44_100, 2048, 128, 30.0, None),
        (8000, 256, 9, 0.0, 900.0),
    ],
)
def test_filters_are_librosas(sample_rate, window, bands, low, high):
    expected = mel(sr=sample_rate, n_fft=window, n_mels=bands, fmin=low, fmax=high)
    found = mel_filters(sample_rate, window, bands, low_hz=low, high_hz=high).numpy()
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    edges = mel_edges(bands, low, high or sample_rate / 2)
    peaks = mel_filters(sample_rate, window, bands, low_hz=low, high_hz=high, unit="peak").numpy()
    np.testing.assert_allclose(peaks, expected * (edges[2:, None] - edges[:-2, None]) / 2, rtol=1e-6)
    assert edges[[0, -1]] == pytest.approx([low, high or sample_rate / 2])
