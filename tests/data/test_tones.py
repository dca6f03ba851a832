"""The factors of the tones are what their labels say, by measures that know nothing of how they were made."""

import hashlib

import numpy as np
import pytest
from scipy.signal import hilbert, stft
from scipy.stats import spearmanr

from latentscape.core.errors import DataError
from latentscape.data.tones import FAMILIES, PITCHES, SAMPLE_RATE, TAKES, FamilyName, tone, tones

FACTORS = {"brightness": 0.5, "inharmonicity": 0.0, "noisiness": 0.2, "attack": 0.01}


@pytest.fixture(scope="module")
def corpus():
    return list(tones())


def make(family: FamilyName, midi: float = 60, seed: int = 1, sample_rate: int = 22_050, **factors: float):
    values = {k: float(v) for k, v in (FACTORS | {"attack": FAMILIES[family].attack[1] / 2} | factors).items()}
    stream = np.random.default_rng(seed)
    return tone(family, float(midi), seconds=1.2, level=-6.0, sample_rate=sample_rate, stream=stream, **values)


def power(wave: np.ndarray, size: int = 2048) -> np.ndarray:
    return np.mean(np.abs(stft(wave, nperseg=size, noverlap=3 * size // 4, padded=False)[2]) ** 2, axis=1)


def flatness(wave: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power spectrum, the median over frames."""
    spectrum = np.maximum(np.abs(stft(wave, nperseg=1024, padded=False)[2]) ** 2, 1e-16)
    return float(np.median(np.exp(np.log(spectrum).mean(0)) / spectrum.mean(0)))


def centroid(wave: np.ndarray) -> float:
    magnitude = np.sqrt(power(wave))
    return float(np.sum(np.arange(len(magnitude)) * magnitude) / np.sum(magnitude))


def peak_near(wave: np.ndarray, frequency: float, sample_rate: int = 22_050) -> float:
    """Frequency of the strongest partial within a semitone, by a parabola over a long, padded spectrum."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 2**19))
    bins = np.arange(len(spectrum)) * sample_rate / 2**19
    near = (bins > frequency * 2 ** (-1 / 12)) & (bins < frequency * 2 ** (1 / 12))
    return float(bins[near][np.argmax(spectrum[near])])


def test_corpus_is_what_it_says(corpus):
    assert len(corpus) == len(FAMILIES) * len(PITCHES) * TAKES == 320
    assert len({note.name for note in corpus}) == 320
    minutes = sum(note.wave.shape[1] for note in corpus) / SAMPLE_RATE / 60
    assert 7.5 < minutes < 8.5
    for note in corpus:
        assert note.wave.dtype == np.float32
        assert note.wave.shape[0] == 1
        peak = 20 * np.log10(np.abs(note.wave).max())
        assert -9.01 < peak < -2.99, note.name
        assert abs(note.wave[0, 0]) < 1e-3, note.name
        assert np.abs(note.wave[0, -8:]).max() < 1e-3, note.name
        assert abs(np.mean(note.wave)) < 1e-2, note.name
        assert note.labels["family"] == note.name.split("-")[0]


def test_same_on_every_machine(corpus):
    """The digest was made on x86-64 with numpy 2.4; samples lie on the grid of 16 bits, so that it holds elsewhere."""
    digest = hashlib.sha256()
    for note in corpus:
        codes = note.wave * 32_768
        assert np.array_equal(codes, np.round(codes))
        digest.update(codes.astype("<i2").tobytes())
    assert digest.hexdigest()[:16] == "68d90ee7002be3a7"


def test_seed_changes_the_corpus(corpus):
    other = next(iter(tones(seed=1)))
    assert other.name == corpus[0].name
    assert other.labels["brightness"] != corpus[0].labels["brightness"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("midi", [45, 64, 81.37])
def test_pitch_within_five_cents(family, midi):
    wave = make(family, midi)
    expected = 440 * 2 ** ((midi - 69) / 12)
    assert abs(1200 * np.log2(peak_near(wave, expected) / expected)) < 5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("midi", [45, 64, 80])
def test_centroid_follows_brightness(family, midi):
    centroids = [centroid(make(family, midi, brightness=b, noisiness=0)) for b in np.linspace(0, 1, 5)]
    assert np.all(np.diff(centroids) > 0)
    assert centroids[-1] > 1.2 * centroids[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("midi", [45, 64, 80])
def test_flatness_follows_noisiness(family, midi):
    onset = 4000 if FAMILIES[family].burst else None
    noisiness = np.linspace(0.25, 1, 4)  # below that the grid of 16 bits is as loud as the noise
    assert np.all(np.diff([flatness(make(family, midi, noisiness=v)[:onset]) for v in noisiness]) > 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_attack_is_the_time_to_full_loudness(family):
    fastest, slowest = FAMILIES[family].attack
    for attack in (max(fastest, 0.004), slowest):
        envelope = np.abs(hilbert(make(family, 76, attack=attack, noisiness=0, brightness=0)))
        envelope = np.convolve(envelope, np.ones(44) / 44, "same")
        full = np.argmax(envelope > 0.95 * envelope[: int(2 * attack * 22_050) + 44].max()) / 22_050
        assert 0.5 * attack - 0.001 < full < 1.6 * attack + 0.002


def test_partials_follow_their_law():
    f_1 = 440 * 2 ** ((60 - 69) / 12)
    for i in (0.3, 1.0):
        string = make("plucked", inharmonicity=i, noisiness=0, brightness=1)
        stiffness = i / 1000
        for h in (2, 3, 6):
            expected = h * f_1 * np.sqrt((1 + stiffness * h**2) / (1 + stiffness))
            assert peak_near(string, expected) == pytest.approx(expected, rel=5e-4)
        bar = make("struck", inharmonicity=i, noisiness=0, brightness=1)
        for h in (2, 3):
            expected = h ** (1 + i / 2) * f_1
            assert peak_near(bar, expected) == pytest.approx(expected, abs=1.5)


def test_blown_has_weak_even_partials_and_bowed_has_not():
    f_1 = 440 * 2 ** ((60 - 69) / 12)

    def level(wave: np.ndarray, frequency: float) -> float:
        spectrum = power(wave, 8192)
        place = round(frequency * 8192 / 22_050)
        return 10 * np.log10(spectrum[place - 3 : place + 4].max())

    blown, bowed = make("blown", noisiness=0), make("bowed", noisiness=0)
    assert level(blown, 2 * f_1) < level(blown, 3 * f_1)
    assert level(bowed, 2 * f_1) > level(bowed, 3 * f_1)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_aliases(family):
    """The pitch is 16 kHz / 10.5, so that a partial beyond half the rate would fold to between two partials."""
    wave = make(family, 90.507, brightness=1, noisiness=0, sample_rate=16_000)
    spectrum = 10 * np.log10(power(wave.astype(np.float64), 4096) / power(wave.astype(np.float64), 4096).max())
    bins = np.arange(len(spectrum)) * 16_000 / 4096
    f_1 = 440 * 2 ** ((90.507 - 69) / 12)
    harmonic = np.abs(bins / f_1 - np.round(bins / f_1)) < 0.15
    assert spectrum[~harmonic & (bins > 200)].max() < -45  # partial 9, folded, would come at -25


@pytest.mark.parametrize("family", ["plucked", "struck"])
def test_upper_partials_die_first(family):
    wave = make(family, 60, noisiness=0)
    early, late = wave[1000:6000], wave[16_000:21_000]
    above = [power(part)[100:].sum() / power(part).sum() for part in (early, late)]  # share above 1.1 kHz
    assert above[1] < 0.3 * above[0]
    assert np.mean(late**2) < np.mean(early**2)


def test_labels_agree_with_the_sounds_over_the_corpus(corpus):
    for family in FAMILIES:
        notes = [note for note in corpus if note.labels["family"] == family]
        relative = [centroid(n.wave[0]) / 2 ** (float(n.labels["midi"]) / 24) for n in notes]
        assert spearmanr([n.labels["brightness"] for n in notes], relative).statistic > 0.5, family


def test_rates_other_than_the_corpus():
    for sample_rate in (8_000, 44_100):
        wave = make("bowed", 69, sample_rate=sample_rate)
        assert len(wave) == round(1.2 * sample_rate)
        assert peak_near(wave, 440, sample_rate) == pytest.approx(440, rel=2e-3)


@pytest.mark.parametrize(
    ("family", "midi", "factors", "message"),
    [
        ("bowed", 60, {"brightness": 1.2}, "brightness is 1.2, expected 0 to 1"),
        ("bowed", 60, {"inharmonicity": 0.1}, "partials of bowed notes are locked"),
        ("plucked", 130, {}, "can't hold"),
        ("bowed", 60, {"attack": 1.1}, "too short for an attack of 1.1 s"),
    ],
)
def test_wrong_factors_are_refused(family, midi, factors, message):
    with pytest.raises(DataError, match=message):
        make(family, midi, **factors)
