"""The non-stationary Gabor transform against direct sums, and its exactness."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.errors import ConfigError
from latentscape.signal.nsgt import ConstantQ, LogNsgt, LogNsgtConfig, Nsgt, NsgtConfig
from latentscape.signal.phase import spectral_convergence


def hann(frequency, before, centre, after):
    """The window of one channel, written as the docstring has it."""
    up = np.sin(np.pi / 2 * np.clip((frequency - before) / (centre - before), 0, 1)) ** 2
    down = np.cos(np.pi / 2 * np.clip((frequency - centre) / (after - centre), 0, 1)) ** 2
    return np.where(frequency <= centre, up, down)


def test_a_channel_is_the_direct_sum():
    rate, n = 8000, 4000
    grid = ConstantQ(NsgtConfig(low_hz=100, bins_per_octave=12), rate)
    wave = torch.randn(1, n)
    found = grid.analyse(wave)[0]
    t = found.shape[1]
    length = t * grid.hop
    padded = np.concatenate((wave[0].numpy(), np.zeros(length - n)))
    spectrum = np.fft.rfft(padded)
    frequency = np.arange(len(spectrum)) * rate / length
    for k in (1, 7, 30, len(grid.corners) - 2):
        window = hann(frequency, *grid.corners[k - 1 : k + 2].numpy())
        q = np.arange(t)[:, None]
        expected = 2 / length * (spectrum * window * np.exp(2j * np.pi * q * np.arange(len(spectrum)) / t)).sum(axis=1)
        np.testing.assert_allclose(found[k].numpy(), expected, atol=2e-5)


def test_a_sine_has_its_amplitude_in_its_own_channel():
    grid = ConstantQ(NsgtConfig(low_hz=55), 8000)
    assert grid.centres[1 + 48].item() == pytest.approx(220)
    wave = 0.3 * torch.sin(2 * torch.pi * 220 * torch.arange(16000) / 8000)[None]
    level = grid.analyse(wave)[0, :, 100:-100].abs()
    torch.testing.assert_close(level[49], torch.full_like(level[49], 0.3), atol=2e-3, rtol=0)
    assert level[[47, 51]].max() < 0.01


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_exact_at_any_length_and_grid(data):
    rate = data.draw(st.sampled_from([8000, 11025, 44100]), label="rate")
    config = NsgtConfig(
        sample_rate=rate,
        low_hz=data.draw(st.floats(20, 500), label="low"),
        high_hz=data.draw(st.none() | st.floats(1000, 30000), label="high"),
        bins_per_octave=data.draw(st.integers(1, 60), label="B"),
    )
    view = Nsgt(config)
    wave = 0.1 * torch.randn(1, 1, data.draw(st.integers(1, 3000), label="n"))
    made = view.synthesise(view.analyse(wave), wave.shape[-1])
    torch.testing.assert_close(made, wave, atol=2e-6, rtol=0)


def test_the_longest_hop_is_the_limit():
    longest = ConstantQ(NsgtConfig(), 22050).hop
    assert ConstantQ(NsgtConfig(hop=longest - 3), 22050).hop == longest - 3
    with pytest.raises(
        ConfigError, match=f"hop {longest + 1} is too long to be inverted, expected at most {longest} samples"
    ):
        ConstantQ(NsgtConfig(hop=longest + 1), 22050)


def test_a_grid_without_channels_is_refused():
    with pytest.raises(ConfigError, match="has no channel"):
        ConstantQ(NsgtConfig(low_hz=5000), 8000)


def test_tables_of_many_lengths_are_not_all_kept():
    grid = ConstantQ(NsgtConfig(), 8000)
    for t in range(1, 30):
        grid.table(t, torch.device("cpu"))
    assert len(grid._tables) == 8


def test_best_beats_fast_and_a_shorter_length_is_obeyed():
    view = LogNsgt(LogNsgtConfig(sample_rate=8000, low_hz=60))
    time = torch.arange(6000) / 8000
    wave = (0.3 * torch.sin(2 * torch.pi * 300 * time * (1 + 0.2 * time)) + 0.01 * torch.randn(6000))[None, None]
    features = view.analyse(wave)

    def gap(made):
        return spectral_convergence(10 ** (features / 20), 10 ** (view.analyse(made) / 20))

    assert gap(view.synthesise(features, 6000)) < gap(view.synthesise(features, 6000, quality="fast")) - 3
    assert view.synthesise(features, 999).shape == (1, 1, 999)
    assert view.synthesise(torch.full_like(features, -80.0)).abs().max() == 0
