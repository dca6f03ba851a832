import numpy as np
import pytest
import torch
from librosa.filters import mel
from scipy.stats import wasserstein_distance

from latentscape.core.errors import DataError
from latentscape.core.random import seed_of
from latentscape.laws.measure import check_measure
from latentscape.measure.estimate import counts
from latentscape.measure.sounds import (
    DESCRIPTORS,
    MelDistance,
    MultiScaleSpectralDistance,
    crowd_distances,
    descriptor_distances,
    gather,
    sound_measures,
)

RATE = 16000


def stream(seed):
    return torch.Generator().manual_seed(seed)


def noise(n=9000, seed=0, gain=0.1):
    return gain * torch.randn(1, n, generator=stream(seed))


def tone(frequency, seconds=0.5, gain=0.5):
    return gain * torch.sin(2 * torch.pi * frequency * torch.arange(int(seconds * RATE)) / RATE)[None]


@pytest.mark.parametrize("measure", sound_measures(RATE), ids=lambda measure: measure.name)
def test_laws(measure):
    check_measure(measure)


def numpy_magnitudes(wave, window, hop):
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, wave.size - window + 1, hop)
    return np.array([np.abs(np.fft.rfft(wave[start : start + window] * hann)) for start in starts])


def test_multi_scale_spectral_distance_is_numpys():
    x, y = noise(5000), noise(5000, seed=1, gain=0.05)
    expected = 0.0
    for window in (2048, 1024, 512, 256, 128, 64):
        a, b = (numpy_magnitudes(wave[0].double().numpy(), window, window // 4) for wave in (x, y))
        logs = np.log(np.maximum(a, 1e-4)) - np.log(np.maximum(b, 1e-4))
        expected += np.abs(a - b).mean() + np.abs(logs).mean()
    found = MultiScaleSpectralDistance().evaluate(x, y)["multi_scale_spectral_distance"]
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.unit == ""


def test_mel_distance_is_that_of_librosas_bands():
    x, y = noise(), noise(seed=1)
    levels = []
    for wave in (x, y):
        power = mel(sr=RATE, n_fft=2048, n_mels=80) @ numpy_magnitudes(wave[0].double().numpy(), 2048, 512).T ** 2
        levels.append(10 * np.log10(np.maximum(power, 1e-8)))
    found = MelDistance(RATE).evaluate(x, y)["mel_distance"]
    assert found.value == pytest.approx(np.abs(levels[0] - levels[1]).mean(), rel=1e-4)
    assert found.unit == "dB"


def test_a_gain_moves_the_mel_distance_by_its_level():
    x = noise()
    assert MelDistance(RATE).evaluate(x, 0.5 * x)["mel_distance"].value == pytest.approx(6.0206, abs=1e-3)


def crowd(seed, sounds=6):
    generator = np.random.default_rng(seed)
    return {name: [generator.normal(seed, 1, size=size + 1) for size in range(sounds)] for name in DESCRIPTORS}


def scipy_distance(first, second, first_counts=None, second_counts=None):
    def weights(crowd, count):
        count = np.ones(len(crowd)) if count is None else count
        return np.concatenate([np.full(len(sound), c / len(sound)) for sound, c in zip(crowd, count, strict=True)])

    return wasserstein_distance(
        np.concatenate(first), np.concatenate(second), weights(first, first_counts), weights(second, second_counts)
    )


def test_distances_of_crowds_are_scipys_with_every_sound_weighing_the_same():
    a, b = crowd(0), crowd(1)
    found = crowd_distances(a, b)
    assert list(found) == [f"w1_{name}" for name in DESCRIPTORS]
    for name, unit in DESCRIPTORS.items():
        assert found[f"w1_{name}"].value == pytest.approx(scipy_distance(a[name], b[name]))
        assert found[f"w1_{name}"].unit == unit
    w, v = counts(6), counts(6, seed=seed_of("second", 0))
    expected = [scipy_distance(a["pitch"], b["pitch"], *row) for row in zip(w.numpy(), v.numpy(), strict=True)]
    estimate = found["w1_pitch"]
    shift = estimate.value - np.mean(expected)
    assert estimate.replicates == pytest.approx([value + shift for value in expected])


def test_intervals_of_crowds_cover():
    covered, values, errors = 0, [], []
    generator = np.random.default_rng(5)

    def draw(mean):
        sounds = generator.normal(mean, 1, (40, 1)) + 0.1 * generator.normal(size=(40, 5))
        return {name: list(sounds) if name == "pitch" else [np.zeros(0)] * 40 for name in DESCRIPTORS}

    for repeat in range(60):
        estimate = crowd_distances(draw(0.0), draw(1.0), seed=repeat)["w1_pitch"]
        low, high = estimate.interval(0.9)
        covered += low <= 1 <= high
        values.append(estimate.value)
        errors.append(estimate.error)
    assert covered >= 48  # of 60
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.3)


def test_an_octave_is_twelve_semitones_and_a_gain_is_its_level():
    low = [tone(f) for f in (220.0, 300.0, 440.0)]
    high = [tone(2 * f) for f in (220.0, 300.0, 440.0)]
    found = descriptor_distances(low, high, RATE)
    assert set(found) == {f"w1_{name}" for name in DESCRIPTORS}
    assert found["w1_pitch"].value == pytest.approx(12, abs=0.2)
    assert found["w1_centroid"].value == pytest.approx(320, rel=0.1)
    quiet = descriptor_distances(low, [0.5 * wave for wave in low], RATE)
    assert quiet["w1_loudness"].value == pytest.approx(6.0206, abs=0.01)
    for name in ("centroid", "bandwidth", "rolloff", "contrast", "pitch"):
        assert quiet[f"w1_{name}"].value == pytest.approx(0, abs=0.02), name


def test_identity_is_nothing():
    waves = torch.stack([noise(seed=seed) for seed in range(3)])
    for name, estimate in descriptor_distances(waves, waves, RATE).items():
        assert estimate.value == 0, name


def test_quiet_and_unvoiced_frames_are_skipped():
    wave = tone(440.0, 0.5)
    long = torch.cat([wave, torch.zeros(1, 20000)], 1)
    short, padded = gather([wave], RATE), gather([long], RATE)
    assert len(padded["loudness"][0]) <= len(short["loudness"][0]) + 4
    assert gather([0.00005 * wave], RATE)["centroid"][0].size == 0  # -90 dBFS
    described = gather([noise()], RATE)
    assert described["pitch"][0].size == 0
    assert described["centroid"][0].size == 1 + 9000 // 512


def test_what_a_crowd_lacks_is_left_out():
    tones, noises, silence = [tone(300.0)] * 2, [noise(), noise(seed=1)], [torch.zeros(1, 5000)] * 2
    assert set(descriptor_distances(tones, noises, RATE)) == {f"w1_{name}" for name in DESCRIPTORS if name != "pitch"}
    assert descriptor_distances(tones, silence, RATE) == {}
    alone = descriptor_distances(tones[:1], [tone(400.0)], RATE)
    assert alone["w1_pitch"].replicates == ()
    assert alone["w1_pitch"].value == pytest.approx(12 * np.log2(4 / 3), abs=0.05)


def test_refusals():
    with pytest.raises(DataError, match="2 and 1 sounds, expected equal counts"):
        descriptor_distances([noise()] * 2, [noise()], RATE)
    with pytest.raises(DataError, match="0 and 0 sounds"):
        descriptor_distances([], [], RATE)
    with pytest.raises(DataError, match="6 and 5 sounds"):
        crowd_distances(crowd(0), crowd(1, sounds=5))
    with pytest.raises(DataError, match="all finite"):
        gather([noise() / 0], RATE)
