"""The STFT against scipy and numpy, and its exactness at any length."""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.signal.frames import Frames
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig


def noise(n, channels=1, batch=1):
    return 0.1 * torch.randn(batch, channels, n)


def test_is_scipys_stft():
    wave = noise(5000)
    found = Frames(512, 128).analyse(wave[0])[0].numpy()
    _, _, expected = scipy.signal.stft(
        wave[0, 0].numpy(), window="hann", nperseg=512, noverlap=384, boundary="zeros", padded=True, scaling="spectrum"
    )
    expected = expected.T * 256  # scipy divides by the window's sum
    np.testing.assert_allclose(found, expected[: len(found)], atol=2e-4)


def test_log_stft_is_the_level_of_numpys_spectra():
    wave = noise(4001)
    found = LogStft(LogStftConfig(sample_rate=22050, window=400, hop=100, floor_db=-60.0)).analyse(wave)[0]
    padded = np.pad(wave[0, 0].double().numpy(), 200)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs([np.fft.rfft(padded[100 * k : 100 * k + 400] * hann) for k in range(41)]).T
    assert found.shape == magnitude.shape
    np.testing.assert_allclose(found.numpy(), 20 * np.log10(np.maximum(magnitude, 1e-3)), atol=0.02)


def test_full_scale_sine_has_the_level_of_half_the_windows_sum():
    wave = torch.sin(2 * torch.pi * 64 / 1024 * torch.arange(8192))[None, None]
    found = LogStft(LogStftConfig(sample_rate=22050)).analyse(wave)
    assert found[0, 64, 16].item() == pytest.approx(20 * np.log10(256), abs=1e-3)


def test_inverse_is_scipys_istft_of_a_changed_spectrum():
    grid = Frames(512, 128)
    spectrum = grid.analyse(noise(40 * 128)[0])
    changed = spectrum * torch.rand(spectrum.shape)
    found = grid.synthesise(changed)[0].numpy()
    _, expected = scipy.signal.istft(changed[0].T.numpy() / 256, window="hann", nperseg=512, noverlap=384)
    inner = slice(0, 38 * 128)  # scipy wants one frame more at the end
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_exact_at_any_length_window_and_hop(data):
    window = 2 * data.draw(st.integers(2, 200), label="half window")
    hop = data.draw(st.integers(1, window // 3), label="hop")
    n = data.draw(st.integers(1, 1000), label="n")
    view = Stft(StftConfig(sample_rate=8000, window=window, hop=hop))
    wave = noise(n) + 0.1
    features = view.analyse(wave)
    assert features.shape == (1, window + 2, -(-n // hop))
    torch.testing.assert_close(view.synthesise(features, n), wave, atol=2e-6, rtol=1e-5)


def test_real_then_imaginary_channel_after_channel():
    wave = noise(600, channels=2)
    view = Stft(StftConfig(sample_rate=8000, channels=2, window=64, hop=16))
    features = view.analyse(wave)
    second = Frames(64, 16).analyse(wave[:, 1])[0].T
    torch.testing.assert_close(features[0, 66 : 66 + 33], second.real)
    torch.testing.assert_close(features[0, 99:], second.imag)


def test_what_lies_at_the_floor_is_silence():
    view = LogStft(LogStftConfig(sample_rate=8000, window=64, hop=16, floor_db=-40.0))
    features = torch.full((1, 33, 9), -40.0)
    assert view.magnitude(features).max() == 0
    assert view.synthesise(features).abs().max() == 0
    features[0, 3, 4] = 6.0
    assert view.magnitude(features).sum().item() == pytest.approx(10 ** (6 / 20), rel=1e-5)


def test_best_beats_fast_and_a_shorter_length_is_obeyed():
    wave = torch.cat((noise(2000), torch.zeros(1, 1, 2000)), dim=-1)
    view = LogStft(LogStftConfig(sample_rate=8000, window=256, hop=64))
    features = view.analyse(wave)

    def gap(made):
        return (view.magnitude(features) - view.magnitude(view.analyse(made))).norm()

    fast, best = (view.synthesise(features, 4000, quality=quality) for quality in ("fast", "best"))
    assert gap(best) < 0.7 * gap(fast)
    for quality in ("live", "fast", "best"):
        assert view.synthesise(features, 1777, quality=quality).shape == (1, 1, 1777)


def test_a_hop_too_long_is_refused():
    with pytest.raises(ConfigError, match="at most a third of the window"):
        parse(StftConfig, {"window": 512, "hop": 256})
