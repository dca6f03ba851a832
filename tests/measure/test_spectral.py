import numpy as np
import pytest
import torch

from latentscape.measure.descriptors import describe
from latentscape.measure.spectral import SPECTRAL, describe_clip, frames_of, spectral_descriptors
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig
from latentscape.signal.stft import LogStft, LogStftConfig

RATE = 22050


def tone(midi=57.0, partials=12, seconds=0.5, slope=1.0, level=0.2):
    t = np.arange(round(seconds * RATE)) / RATE
    f = 440 * 2 ** ((midi - 69) / 12)
    count = min(partials, int(0.45 * RATE / f))
    stream = np.random.default_rng(1)
    wave = sum(np.sin(2 * np.pi * h * f * t + stream.uniform(0, 6)) / h**slope for h in range(1, count + 1))
    return (level * wave / np.abs(wave).max()).astype(np.float32)[None]


def noise(seconds=0.5, level=0.1):
    return (level * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)[None]


@pytest.mark.parametrize("midi", [40, 48, 57.3, 69, 81, 93])
def test_the_pitch_of_a_harmonic_tone(midi):
    assert describe_clip(tone(midi), RATE)["pitch"] == pytest.approx(midi, abs=0.25)


@pytest.mark.parametrize(
    "representation",
    [
        LogStft(LogStftConfig(sample_rate=RATE)),
        LogMel(LogMelConfig(sample_rate=RATE, bands=96)),
        LogNsgt(LogNsgtConfig(sample_rate=RATE)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_any_grid_of_frequencies_will_do(representation):
    wave = tone(60)
    root, frequency = representation.spectrum(representation.analyse(torch.from_numpy(wave)[None]))
    middle = root[0].T.numpy()[len(root[0].T) // 2][None]
    found = {name: value[0] for name, value in spectral_descriptors(middle, frequency.numpy()).items()}
    direct = describe_clip(wave, RATE)
    assert found["pitch"] == pytest.approx(60, abs=0.7)
    assert found["loudness"] == pytest.approx(direct["loudness"], abs=1.5)
    # a root of density weighs a partial more where channels are wider
    assert found["brightness"] == pytest.approx(direct["brightness"], rel=0.4)


def test_a_pure_tone_is_not_an_octave_lower():
    """Every whole number of its periods is as good a lag, and noise may make a longer one look better."""
    assert describe_clip(tone(95, partials=1) + noise(level=0.005), RATE)["pitch"] == pytest.approx(95, abs=0.3)


def test_noise_has_no_pitch_and_is_flat():
    found = describe_clip(noise(), RATE)
    assert np.isnan(found["pitch"])
    # the logarithm of an exponential variable is 2.5 dB below that of its mean
    assert found["noisiness"] == pytest.approx(-2.51, abs=0.2)
    assert found["brightness"] == pytest.approx(RATE / 4, rel=0.03)
    assert found["bandwidth"] == pytest.approx(RATE / 2 / np.sqrt(12), rel=0.03)


def test_agrees_with_the_descriptors_of_sounds_where_both_describe_the_same():
    for wave in (tone(50), noise(), tone(69) + noise(level=0.01)):
        found, curves = describe_clip(wave, RATE), describe(torch.from_numpy(wave), RATE, pitch="none", window=1024)
        inside = {name: np.median(curve.values[4:-4]) for name, curve in curves.items()}
        assert found["brightness"] == pytest.approx(inside["centroid"], rel=0.05)
        assert found["bandwidth"] == pytest.approx(inside["bandwidth"], rel=0.05)
        assert found["loudness"] == pytest.approx(inside["loudness"], abs=0.5)


def test_level_moves_loudness_only():
    soft, loud = describe_clip(tone(level=0.05), RATE), describe_clip(tone(level=0.5), RATE)
    assert loud["loudness"] - soft["loudness"] == pytest.approx(20, abs=1e-3)
    for name in ("brightness", "bandwidth", "noisiness", "roughness", "pitch"):
        assert loud[name] == pytest.approx(soft[name], abs=1e-3), name


def test_roughness_is_of_close_partials():
    t = np.arange(RATE) / RATE

    def pair(apart):
        return (0.2 * (np.sin(2 * np.pi * 800 * t) + np.sin(2 * np.pi * (800 + apart) * t))).astype(np.float32)

    rough, far, single = (describe_clip(wave[None], RATE)["roughness"] for wave in (pair(80), pair(700), pair(0)))
    assert rough > 0.2 > 3 * far
    assert single < 0.01
    # Plomp and Levelt: two equal partials a quarter of a critical band apart, half the sum of amplitudes
    f = np.linspace(0, 2000, 2001)
    root = np.full((1, 2001), 1e-9)
    s = 0.24 / (0.0207 * 800 + 18.96)
    worst = round(np.log(5.75 / 3.5) / ((5.75 - 3.5) * s))
    root[0, [800, 800 + worst]] = 1.0
    assert spectral_descriptors(root, f)["roughness"][0] == pytest.approx(0.5, abs=0.001)


def test_silence_has_a_level_and_nothing_else():
    found = describe_clip(np.zeros((1, 100), np.float32), RATE)
    assert found["loudness"] == -200
    assert all(np.isnan(value) for name, value in found.items() if name != "loudness")
    assert tuple(found) == tuple(SPECTRAL)


def test_a_full_scale_sine_is_minus_three_decibels():
    t = np.arange(RATE) / RATE
    root, frequency = frames_of(np.sin(2 * np.pi * 1000 * t).astype(np.float32)[None], RATE)
    assert 10 * np.log10((root**2).sum(1) * frequency[1]) == pytest.approx(-3.01, abs=0.01)
    assert describe_clip(np.sin(2 * np.pi * 1000 * t).astype(np.float32)[None], RATE)["loudness"] == pytest.approx(
        -3.01, abs=0.05
    )
