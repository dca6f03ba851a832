import numpy as np
import pytest
import scipy.signal
import torch

from latentscape.core.errors import DataError
from latentscape.laws.measure import check_measure
from latentscape.measure.measure import Measure, Number, average
from latentscape.measure.reconstruction import (
    MEASURES,
    FeatureDistance,
    LogSpectralDistance,
    MeanSquaredError,
    SignalToNoise,
    SpectralConvergence,
    log_spectrum,
)


def pair(n=30_000):
    stream = np.random.default_rng(3)
    time = np.arange(n) / 22050
    x = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.01 * stream.standard_normal(n)
    y = 0.4 * np.sin(2 * np.pi * 450 * time) + 0.02 * stream.standard_normal(n)
    return x, y


def waves(*values):
    return [torch.from_numpy(value).float()[None] for value in values]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_laws(measure):
    check_measure(measure)


class Off(Measure):
    name, unit, ideal = "off", "dB", 0.0

    def __init__(self, how):
        self.how = how

    def validate(self, reference, estimate):
        if self.how != "lax":
            super().validate(reference, estimate)

    def metric(self, reference, estimate):
        value = float((reference - estimate).abs().sum())
        return (
            {"ideal": value + 1, "flat": float(value > 0), "lax": value}[self.how]
            if reference.shape == estimate.shape
            else 0.0
        )


@pytest.mark.parametrize("how", ["ideal", "flat", "lax"])
def test_the_law_catches(how):
    with pytest.raises(AssertionError):
        check_measure(Off(how))


def scipys_spectrum(x):
    _, _, spectrum = scipy.signal.stft(x, window="hann", nperseg=1024, noverlap=768, boundary=None, padded=False)
    return np.abs(spectrum) * 512  # the sum of the window, by which scipy divides


def test_log_spectral_distance_is_what_scipy_gives():
    x, y = pair()
    levels = [20 * np.log10(np.maximum(scipys_spectrum(v), 1e-4)) for v in (x, y)]
    expected = np.sqrt(((levels[0] - levels[1]) ** 2).mean(0)).mean()
    got = LogSpectralDistance().evaluate(*waves(x, y))["log_spectral_distance"]
    assert got.unit == "dB"
    assert got.value == pytest.approx(expected, rel=1e-4)
    features = [torch.from_numpy(level) for level in levels]
    assert FeatureDistance().evaluate(*features)["feature_distance"].value == pytest.approx(expected, rel=1e-9)


def test_the_floor_and_a_gain():
    x, _ = waves(*pair())
    levels = log_spectrum(torch.zeros(1, 2000), 1024, 256, 1e-4)
    assert torch.equal(levels, torch.full((1, 513, 4), -80.0))
    # a gain of 6.0206 dB moves every bin above the floor by as much
    value = LogSpectralDistance().metric(x, 2 * x)
    assert value == pytest.approx(20 * np.log10(2), rel=1e-4)


@pytest.mark.parametrize(("n", "frames"), [(1, 1), (1024, 1), (1279, 1), (1280, 2), (22050, 83)])
def test_only_whole_frames_count(n, frames):
    assert log_spectrum(torch.ones(2, n), 1024, 256, 1e-4).shape == (2, 513, frames)


def test_signal_to_noise_and_squared_error_are_numpys():
    x, y = pair()
    got = SignalToNoise().evaluate(*waves(x, y))["signal_to_noise"].value
    assert got == pytest.approx(10 * np.log10((x**2).sum() / ((x - y) ** 2).sum()), abs=1e-4)
    squared = MeanSquaredError().evaluate(*waves(x, y))["mean_squared_error"].value
    assert squared == pytest.approx(((x - y) ** 2).mean(), rel=1e-5)
    with pytest.raises(DataError, match="silent reference"):
        SignalToNoise().evaluate(torch.zeros(1, 10), torch.ones(1, 10))


def test_spectral_convergence_is_that_of_scipys_spectra():
    x, y = pair()
    big, small = scipys_spectrum(x), scipys_spectrum(y)
    expected = 20 * np.log10(np.linalg.norm(big - small) / np.linalg.norm(big))
    got = SpectralConvergence().evaluate(*waves(x, y))["spectral_convergence"].value
    assert got == pytest.approx(expected, abs=1e-3)
    assert SpectralConvergence().evaluate(*waves(x, -x))["spectral_convergence"].value == -200


def test_average_of_clips():
    rows = [{"a": Number(1.0, "dB"), "b": Number(2.0, "")}, {"a": Number(3.0, "dB"), "b": Number(4.0, "")}]
    assert average(rows) == {"a": Number(2.0, "dB"), "b": Number(3.0, "")}
    assert str(Number(1.23456, "dB")) == "1.235 dB"
    for wrong in ([], [rows[0], {"a": Number(3.0, "Hz"), "b": Number(4.0, "")}]):
        with pytest.raises(DataError, match="average got rows"):
            average(wrong)
