"""Mel-cepstral distortion: what SciPy and librosa give, zero on identity, blind to level."""

import numpy as np
import pytest
import scipy.fft
import torch
from librosa.filters import mel

from latentscape.core.errors import DataError
from latentscape.measure.cepstral import MelCepstralDistortion

RATE = 16000


def sounds():
    stream = np.random.default_rng(0)
    loud = np.repeat([1.0, 1e-4, 0.5], 4000)
    one = stream.standard_normal(12000) * loud
    two = np.convolve(one, [1, 0.7, 0.2], "same") + 0.05 * stream.standard_normal(12000) * loud
    return (torch.from_numpy(wave * 0.1).float()[None] for wave in (one, two))


def spectrum(wave):
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    return np.abs([np.fft.rfft(wave[start : start + 512] * hann) for start in range(0, len(wave) - 511, 128)]).T


def test_it_is_what_scipy_and_librosa_give():
    one, two = sounds()
    cepstra, powers = [], []
    for wave in (one, two):
        power = spectrum(wave[0].double().numpy()) ** 2
        bands = mel(sr=RATE, n_fft=512, n_mels=40) @ power
        # an orthonormal DCT-II of M numbers: sqrt(2 / M) sum x cos; ours is 2 / M of half the logarithm
        cepstra.append(scipy.fft.dct(np.log(np.maximum(bands, 1e-10)), axis=0, norm="ortho")[1:14] / np.sqrt(2 * 40))
        powers.append(power.sum(0))
    each = 10 / np.log(10) * np.sqrt(2 * ((cepstra[0] - cepstra[1]) ** 2).sum(0))
    heard = powers[0] > powers[0].max() * 1e-5
    assert 0.3 < heard.mean() < 0.9
    found = MelCepstralDistortion(RATE).metric(one, two)
    assert found == pytest.approx(each[heard].mean(), rel=1e-4)
    assert found > 1


def test_every_channel_is_heard():
    one, two = sounds()
    measure = MelCepstralDistortion(RATE)
    assert measure.metric(one.expand(2, -1), two.expand(2, -1)) == pytest.approx(measure.metric(one, two), rel=1e-4)
    assert measure.metric(torch.cat((one, one)), torch.cat((one, two))) > 0.3


def test_it_is_zero_on_identity_and_blind_to_level():
    one, two = sounds()
    measure = MelCepstralDistortion(RATE)
    assert measure.metric(one, one) == measure.ideal
    assert measure.metric(one, 0.5 * one) < 1e-3
    assert measure.metric(one, two) == pytest.approx(measure.metric(2 * one, two), rel=1e-3)


def test_with_all_cepstra_it_is_the_distance_of_the_spectra_in_db():
    """All M - 1 cosines: the root mean square difference in dB of the bands, about its own mean."""
    one, two = sounds()
    measure = MelCepstralDistortion(RATE, coefficients=39)
    levels = []
    for wave in (one, two):
        power = spectrum(wave[0].double().numpy()) ** 2
        levels.append(10 * np.log10(np.maximum(mel(sr=RATE, n_fft=512, n_mels=40) @ power, 1e-10)))
        heard = power.sum(0) > power.sum(0).max() * 1e-5 if len(levels) == 1 else heard
    gap = levels[0] - levels[1]
    assert measure.metric(one, two) == pytest.approx(gap.std(0)[heard].mean(), rel=1e-4)


def test_what_can_not_be_compared_is_refused():
    measure = MelCepstralDistortion(RATE)
    with pytest.raises(DataError, match="expected one length"):
        measure.metric(torch.zeros(1, 600), torch.zeros(1, 601))
    with pytest.raises(DataError, match="silent"):
        measure.metric(torch.zeros(1, 600), torch.zeros(1, 600))
