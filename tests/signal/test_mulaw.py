"""Mu-law against the law (ITU-T G.711) and its own declared error."""

import numpy as np
import pytest
import torch

from latentscape.signal.mulaw import MuLaw, MuLawConfig


@pytest.fixture
def view():
    return MuLaw(MuLawConfig(sample_rate=16000))


def test_codes_are_the_curve_rounded(view):
    wave = np.linspace(-1, 1, 4001, dtype=np.float32)
    codes = view.analyse(torch.from_numpy(wave)[None, None])
    curve = np.sign(wave) * np.log1p(255 * np.abs(wave.astype(np.float64))) / np.log(256)
    exact = (curve + 1) / 2 * 255
    found = codes[0, 0].numpy()
    assert found.min() == 0
    assert found.max() == 255
    assert np.abs(found - exact).max() <= 0.5 + 1e-4


def test_expansion_is_the_inverse_of_the_curve(view):
    codes = torch.arange(256)[None, None]
    level = 2 * np.arange(256) / 255 - 1
    expected = np.sign(level) * (256 ** np.abs(level) - 1) / 255
    np.testing.assert_allclose(view.synthesise(codes)[0, 0].numpy(), expected, rtol=1e-5, atol=1e-7)


def test_every_code_comes_back(view):
    codes = torch.arange(256)[None, None]
    assert torch.equal(view.analyse(view.synthesise(codes)), codes)


def test_error_of_every_sample_is_inside_the_stated_bound(view):
    wave = torch.linspace(-1, 1, 20001)[None, None]
    far = (view.synthesise(view.analyse(wave)) - wave).abs()
    assert (far <= (256 ** (1 / 255) - 1) * (wave.abs() + 1 / 255) + 1e-6).all()
    assert far.max() > 0.01  # 256 codes can't do better at full scale


def test_beyond_full_scale_is_clipped(view):
    codes = view.analyse(torch.tensor([[[-3.0, -1.0, 1.0, 7.0]]]))
    assert codes[0, 0].tolist() == [0, 0, 255, 255]


def test_other_mu():
    view = MuLaw(MuLawConfig(sample_rate=8000, mu=15))
    codes = view.analyse(torch.linspace(-1, 1, 500)[None, None])
    assert set(codes.flatten().tolist()) == set(range(16))
