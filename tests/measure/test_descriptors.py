from itertools import pairwise

import numpy as np
import pytest
import torch

from by_librosa import HIGH, LOW, sounds, stored
from latentscape.core.errors import DataError, UsageError
from latentscape.measure.descriptors import UNITS, Curve, describe

RATE = 16000


def tone(frequency, seconds=0.5, rate=RATE, gain=1.0):
    return gain * torch.sin(2 * torch.pi * frequency * torch.arange(int(seconds * rate)) / rate)[None]


def test_a_sine_is_described_as_one():
    curves = describe(tone(1000.0), RATE)
    inside = slice(4, -4)
    assert set(curves) == set(UNITS)
    assert curves["centroid"].values[inside] == pytest.approx(1000, rel=0.01)
    assert curves["rolloff"].values[inside] == pytest.approx(1000, abs=2 * RATE / 2048)
    assert curves["pitch"].values[inside] == pytest.approx(1000, rel=0.01)
    assert curves["level"].values[inside] == pytest.approx(-3.01, abs=0.02)
    assert curves["flatness"].values[inside].max() < 1e-4
    assert curves["bandwidth"].values[inside].max() < 150
    assert {name: curve.unit for name, curve in curves.items()} == UNITS


@pytest.mark.parametrize("name", sounds())
def test_every_descriptor_is_librosas(name):
    wave, rate, window, hop = sounds()[name]
    curves = describe(torch.from_numpy(wave)[None], rate, window=window, hop=hop, pitch_range=(LOW, HIGH))
    for key, expected in stored()[name].items():
        if key != "pyin":
            found = curves["pitch" if key == "yin" else key].values
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9, err_msg=key)


def test_centroid_bandwidth_and_flatness_are_numpys():
    noise = torch.randn(1, 9000, generator=torch.Generator().manual_seed(1))
    curves = describe(noise, RATE, window=512, hop=128, pitch="none")
    assert "pitch" not in curves
    frame = noise[0, 128 * 20 - 256 : 128 * 20 + 256].double().numpy()
    magnitude = np.abs(np.fft.rfft(frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))))
    frequency = np.arange(257) * RATE / 512
    share = magnitude / magnitude.sum()
    centroid = (share * frequency).sum()
    assert curves["centroid"].values[20] == pytest.approx(centroid, rel=1e-5)
    bandwidth = np.sqrt((share * (frequency - centroid) ** 2).sum())
    assert curves["bandwidth"].values[20] == pytest.approx(bandwidth, rel=1e-5)
    flatness = np.exp(np.log(magnitude**2).mean()) / (magnitude**2).mean()
    assert curves["flatness"].values[20] == pytest.approx(flatness, rel=1e-5)
    assert curves["level"].values[20] == pytest.approx(10 * np.log10((frame**2).mean()), abs=1e-4)


@pytest.mark.parametrize("n", [1, 100, 2048, 5000])
def test_every_curve_has_its_length(n):
    curves = describe(tone(440.0)[:, :n], RATE)
    assert {len(curve.values) for curve in curves.values()} == {1 + n // 512}
    assert curves["level"].rate == RATE / 512


def test_silence_is_at_the_least_level_and_channels_are_averaged():
    curves = describe(torch.stack((tone(440.0)[0], -tone(440.0)[0])), RATE, pitch="none")
    assert curves["level"].values.max() == -100
    assert np.isfinite(curves["centroid"].values).all()


def test_pyin_leaves_silence_without_pitch():
    wave = torch.cat((tone(300.0, 0.4), torch.zeros(1, 6000)), 1)
    pitch = describe(wave, RATE, pitch="pyin", pitch_range=(200.0, 400.0))["pitch"]
    assert np.isnan(pitch.values[-4:]).all()
    assert pitch.median == pytest.approx(300, rel=0.01)
    assert np.isnan(Curve(np.full(3, np.nan), "Hz", 1.0).median)


def test_contrast_is_the_papers_by_numpy():
    noise = torch.randn(1, 9000, generator=torch.Generator().manual_seed(1))
    frame = noise[0, 512 * 8 - 1024 : 512 * 8 + 1024].double().numpy()
    power = np.abs(np.fft.rfft(frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)))) ** 2
    frequency = np.arange(1025) * RATE / 2048
    edges = [0, *(200 * 2.0 ** np.arange(7))]
    contrasts = []
    for low, high in pairwise(edges):
        (inside,) = np.nonzero((frequency >= low) & (frequency <= high))
        first = inside[0] - (low > 0)  # the bin below belongs to a band, in librosa
        last = 1025 if high > RATE / 2 else inside[-1]  # and its upper edge to the next one
        sort = np.sort(power[first:last])
        share = max(1, round(0.02 * (1 + inside[-1] - first)))
        contrasts.append(10 * np.log10(sort[-share:].mean() / sort[:share].mean()))
    found = describe(noise, RATE, pitch="none")["contrast"].values[8]
    assert found == pytest.approx(np.mean(contrasts), rel=1e-4)
    assert describe(tone(1000.0), RATE, pitch="none")["contrast"].values[8] > found + 5


@pytest.mark.parametrize(("frequency", "gain"), [(63.0, -26.2), (100.0, -19.1), (1000.0, 0.0), (6300.0, -0.1)])
def test_loudness_is_the_a_weighted_level(frequency, gain):
    """Gains of the table of IEC 61672."""
    curves = describe(tone(frequency, 1.0), RATE, pitch="none")
    difference = curves["loudness"].values - curves["level"].values
    assert difference[4:-4] == pytest.approx(gain, abs=0.35 if frequency < 99 else 0.15)


def test_voiced_pitch_is_yins_where_there_is_one():
    wave = torch.cat((tone(300.0, 0.5), 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(3))), 1)
    always, voiced = (describe(wave, RATE, pitch=kind)["pitch"].values for kind in ("yin", "voiced"))
    assert voiced[2:13] == pytest.approx(300, rel=0.01)
    assert np.isnan(voiced[-12:]).all()
    heard = np.isfinite(voiced)
    assert (voiced[heard] == always[heard]).all()
    assert np.isnan(describe(torch.zeros(1, 4000), RATE, pitch="voiced")["pitch"].values).all()


@pytest.mark.parametrize("frequency", [60.0, 220.0, 1500.0])
def test_a_steady_tone_is_voiced(frequency):
    pitch = describe(tone(frequency), RATE, pitch="voiced")["pitch"].values[3:-3]
    assert pitch == pytest.approx(frequency, rel=0.015)


def test_refusals():
    with pytest.raises(DataError, match="all finite"):
        describe(torch.full((1, 100), float("nan")), RATE)
    with pytest.raises(DataError, match="expected samples"):
        describe(torch.zeros(1, 0), RATE)
    with pytest.raises(UsageError, match="does not fit"):
        describe(tone(440.0), RATE, window=512, hop=128, pitch_range=(20.0, 60.0))
