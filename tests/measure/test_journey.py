import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors

from latentscape.core.errors import DataError
from latentscape.measure.curves import DESCRIPTORS, TIMBRE, curves_of, mel_levels, plain
from latentscape.measure.journey import (
    CorpusStatistics,
    Neighbourhood,
    Spread,
    correlations,
    journey,
    spearman,
    statistics,
)
from latentscape.signal.bands import mel_filters

RATE = 22050
UNITS = {
    "loudness": (-60.0, -3.0),
    "centroid": (7.0, 12.0),
    "bandwidth": (5.0, 11.0),
    "flatness": (-90.0, 0.0),
    "pitch": (57.0, 81.0),
}


def corpus(deviation=1.0, spread=1.0, names=tuple(DESCRIPTORS)):
    found = {}
    for name in names:
        low, high = UNITS[name]
        quarter = (high - low) / 4
        middle = (low + high) / 2
        found[name] = Spread(low, low + quarter, middle, high - quarter, high, deviation, DESCRIPTORS[name])
    return CorpusStatistics(found, spread, 1, 1.0)


def tone(frequency, seconds=2.0, rate=RATE, harmonics=1, gain=0.3):
    """A tone whose frequency may be a curve ``[n]``; harmonics fall by 6 dB each."""
    n = round(seconds * rate)
    frequency = torch.as_tensor(frequency, dtype=torch.float64).expand(n)
    phase = 2 * math.pi * (frequency / rate).cumsum(0)
    return gain * sum(torch.sin(k * phase) / k for k in range(1, harmonics + 1)).float()[None]


def noise(seconds=2.0, seed=0):
    return 0.1 * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def glide(low=220.0, high=880.0, seconds=2.0):
    return low * (high / low) ** torch.linspace(0, 1, round(seconds * RATE), dtype=torch.float64)


def values(numbers):
    return {name: number.value for name, number in numbers.items()}


def test_a_constant_tone_goes_nowhere():
    found = values(journey(tone(440.0, harmonics=5), RATE, corpus=corpus(), between=True))
    # what is left is where the window lies on the period: 440 Hz take 50.1 samples
    assert found["variation"] < 0.2
    assert found["spectral_variation"] < 3
    assert found["range_90"] < 0.005
    assert found["pitch_jumps"] == found["pitch_jumps_rate"] == 0
    assert found["voiced"] == found["sounding"] == 1
    assert "monotonicity" not in found  # no end differs
    assert not {"seam", "length", "corner", "variation_length"} & set(found)


def test_a_glissando_has_a_course_and_no_jumps():
    wave = tone(glide(seconds=4.0), 4.0, harmonics=4)
    found = values(journey(wave, RATE, corpus=corpus(names=("pitch", "centroid")), between=True))
    assert found["pitch_jumps"] == found["pitch_jumps_rate"] == 0
    assert found["range_90_pitch"] == pytest.approx(1, abs=0.06)  # 24 semitones, less what the outer windows hide
    assert found["monotonicity"] > 0.999
    assert found["directness"] > 0.999
    down = values(journey(wave.flip(1), RATE, corpus=corpus(names=("pitch", "centroid")), between=True))
    assert down["monotonicity"] > 0.999
    there_and_back = tone(torch.cat((glide(seconds=1.2), glide(seconds=0.8).flip(0)))[:44100], harmonics=4)
    bent = values(journey(there_and_back, RATE, corpus=corpus(8.0, names=("pitch",)), between=True))
    assert "monotonicity" not in bent  # it ends where it began
    turned = tone(torch.cat((glide(220, 880, 4.5), glide(880, 440, 1.5))), 6.0, harmonics=4)
    turned = values(journey(turned, RATE, corpus=corpus(names=("pitch",)), between=True))
    assert turned["directness"] == pytest.approx(1 / 3, abs=0.04)  # an octave gained by three
    assert 0.3 < turned["monotonicity"] < 0.95


def test_half_a_glissando_covers_half_the_range():
    found = values(journey(tone(glide(440, 880)), RATE, corpus=corpus(names=("pitch",))))
    assert (
        found["range_90"] == found["range_90_pitch"] == pytest.approx(0.475, abs=0.01)
    )  # 12 semitones of 24, less the outer frames
    assert found["range_iqr"] == pytest.approx(0.475, abs=0.04)  # 69 to 75 of 63 to 75
    beyond = values(journey(tone(glide(1760, 3520)), RATE, corpus=corpus(names=("pitch",))))
    assert beyond["range_90"] == beyond["range_iqr"] == 0


def test_variation_is_the_way_of_the_curve():
    wave = tone(glide(220, 880))
    found = values(journey(wave, RATE, corpus=corpus(deviation=0.5, names=("centroid",))))
    assert found["variation"] == pytest.approx(2.0, rel=0.05)  # two octaves in two seconds, of half an octave each
    slow = tone(glide(220, 880, 4.0), 4.0)
    assert values(journey(slow, RATE, corpus=corpus(deviation=0.5, names=("centroid",))))["variation"] == pytest.approx(
        1.0, rel=0.05
    )
    codes = torch.stack((torch.linspace(0, 3, 50), torch.linspace(0, 4, 50)), 1)
    long = values(journey(wave, RATE, corpus=corpus(0.5, 2.0, ("centroid",)), codes=codes))
    assert long["length"] == pytest.approx(2.5)  # 5 latent units, of a spread of 2
    assert long["variation_length"] == pytest.approx(found["variation"] * 2 / 2.5)
    assert long["spectral_variation_length"] == pytest.approx(long["spectral_variation"] * 2 / 2.5)
    still = values(journey(wave, RATE, corpus=corpus(), codes=codes[:1].expand(9, -1)))
    assert still["length"] == 0
    assert "variation_length" not in still


def test_a_swell_of_level_varies_by_its_db():
    gain = 10 ** (torch.linspace(-30, 0, 2 * RATE) / 20)
    found = values(journey(tone(1000.0, gain=1.0) * gain, RATE, corpus=corpus(names=("loudness",)), between=True))
    assert found["variation"] == pytest.approx(15, rel=0.05)  # dB a second
    assert found["monotonicity"] > 0.999
    # a band of a sine rises at 15 dB a second, most others stay at the floor
    assert 0 < found["spectral_variation"] < 15


def test_noise_is_rough_and_a_filter_sweep_is_smooth_and_monotone():
    rough = values(journey(noise(), RATE, corpus=corpus()))
    calm = values(journey(tone(440.0, harmonics=5), RATE, corpus=corpus()))
    assert rough["variation"] > 10 * calm["variation"]
    assert rough["spectral_variation"] > 20 * calm["spectral_variation"]
    assert rough["voiced"] < 0.1
    n = 2 * RATE
    cut = 300 * 20 ** torch.linspace(0, 1, n, dtype=torch.float64)  # a low pass that opens over a saw at 150 Hz
    phase = 2 * math.pi * 150 * torch.arange(n, dtype=torch.float64) / RATE
    sweep = 0.2 * sum(torch.sin(k * phase) / k * torch.sigmoid((cut - 150 * k) / 80) for k in range(1, 60))
    found = values(journey(sweep.float()[None], RATE, corpus=corpus(names=("centroid",)), between=True))
    assert found["monotonicity"] > 0.99
    assert found["directness"] > 0.9
    assert found["pitch_jumps"] == 0
    shaken = (sweep.float() * (1 + 0.9 * torch.sin(torch.arange(n) * 2 * math.pi * 6 / RATE)))[None]
    steady = values(journey(sweep.float()[None], RATE, corpus=corpus()))
    assert values(journey(shaken, RATE, corpus=corpus()))["variation"] > 2 * steady["variation"]


def test_pitch_jumps_are_counted():
    def jumps(*frequencies):
        """Every half a second another one."""
        steps = torch.tensor(frequencies).double().repeat_interleave(RATE // 2)
        return values(journey(tone(steps, len(frequencies) / 2, harmonics=3), RATE, corpus=corpus()))

    for interval in (220 * 2 ** (1.5 / 12), 330.0, 440.0):  # 220 and 330 have a period of 110 in common
        found = jumps(220.0, interval, 220.0, interval)
        assert found["pitch_jumps_rate"] == pytest.approx(3 / 1.9, rel=0.03), interval
        assert 0.05 < found["pitch_jumps"] < 0.3
    assert jumps(220.0, 231.0, 220.0)["pitch_jumps"] == 0  # 0.84 semitones
    assert jumps(220.0, 440.0)["pitch_jumps_rate"] == pytest.approx(1 / 0.9, rel=0.03)


def test_clicks_at_joins_are_heard_as_seams():
    wave = tone(440.0, harmonics=3)
    joins = [0.25 * k for k in range(1, 8)]
    assert abs(values(journey(wave, RATE, corpus=corpus(), joins=joins))["seam"]) < 3
    jumped = wave.clone()
    for join in joins:
        jumped[:, round(join * RATE) :] *= -1
    assert values(journey(jumped, RATE, corpus=corpus(), joins=joins))["seam"] > 15
    beside = [join + 0.1 for join in joins]
    assert values(journey(jumped, RATE, corpus=corpus(), joins=beside))["seam"] < 3
    assert "seam" not in journey(wave, RATE, corpus=corpus(), joins=[9.0])


def test_a_corner_stands_out_where_the_sound_breaks():
    steps = torch.tensor([220.0, 660.0]).double().repeat_interleave(RATE)
    wave = tone(steps, harmonics=3)
    assert values(journey(wave, RATE, corpus=corpus(), corners=[1.0]))["corner"] > 20
    assert values(journey(wave, RATE, corpus=corpus(), corners=[0.5]))["corner"] < -10
    assert "corner" not in journey(wave, RATE, corpus=corpus(), corners=[9.0])


def test_other_rates_and_channels_are_described_alike():
    here = curves_of(tone(glide(), harmonics=4), RATE)
    other = 44100
    twice = tone(
        torch.from_numpy(np.interp(np.arange(2 * other) / 2, np.arange(2 * RATE), glide().numpy())), 2, other, 4
    )
    there = curves_of(twice.expand(2, -1), other)
    assert len(here.times) == len(there.times)
    for name in ("loudness", "centroid", "pitch"):
        assert here.values[name] == pytest.approx(there.values[name], abs=0.05), name
    assert here.levels == pytest.approx(there.levels, abs=1)
    assert here.times[0] >= 1024 / RATE
    assert here.times[-1] <= 2 - 1024 / RATE


def test_levels_are_those_of_the_formula():
    wave = tone(1000.0, gain=1.0)[0]
    found = mel_levels(wave, 3, 20)
    assert found.shape == (18, 64)
    assert found.max() == pytest.approx(0, abs=1.5)  # a full-scale sine, whose lines lie across a band or two
    assert found.min() == pytest.approx(-80, rel=1e-6)
    frame = wave[5 * 441 - 1024 : 5 * 441 + 1024].numpy() * np.hanning(2049)[:-1]
    power = np.abs(np.fft.rfft(frame)) ** 2 / 512**2
    bands = mel_filters(RATE, 2048, 64, unit="peak").numpy() @ power
    assert found[2] == pytest.approx(10 * np.log10(np.maximum(bands, 1e-8)), abs=1e-3)


def test_silence_has_no_curves():
    wave = tone(440.0, harmonics=3)
    wave[:, RATE:] *= 1e-4  # 80 dB down
    found = values(journey(wave, RATE, corpus=corpus(), between=True))
    assert found["sounding"] == pytest.approx(0.5, abs=0.05)
    assert "monotonicity" not in found
    half = noise(8.0) * (torch.arange(8 * RATE) < 4 * RATE)
    rates = [values(journey(wave, RATE, corpus=corpus()))["spectral_variation"] for wave in (noise(), half)]
    assert rates[1] == pytest.approx(rates[0], rel=0.25)  # of what sounds, and of its fall to silence
    nothing = values(journey(torch.zeros(1, RATE), RATE, corpus=corpus(), between=True))
    assert nothing == {
        "range_iqr": 0,
        **{f"range_90{name}": 0 for name in ("", *(f"_{name}" for name in DESCRIPTORS))},
        "voiced": 0,
        "pitch_jumps_rate": 0,
        "sounding": 0,
    }
    for bad in (torch.zeros(1, 2000), torch.full((1, RATE), torch.nan)):
        with pytest.raises(DataError, match="a journey got"):
            curves_of(bad, RATE)


def test_statistics_are_the_quantiles_of_sounding_frames():
    sounds = [curves_of(tone(f, 0.5, harmonics=3), RATE) for f in (220.0, 440.0, 880.0)]
    codes = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 4.0, 0.0])
    found = statistics(sounds, codes)
    assert found.descriptors["pitch"].median == pytest.approx(69, abs=0.1)
    assert found.descriptors["pitch"].low == pytest.approx(57, abs=0.1)
    pooled = np.concatenate([sound.values["centroid"] for sound in sounds])
    assert found.descriptors["centroid"].deviation == pytest.approx(pooled.std())
    assert found.descriptors["centroid"].upper == pytest.approx(np.quantile(pooled, 0.75))
    assert found.latent_spread == pytest.approx(5, rel=0.05)
    assert found.sounds == 3
    assert CorpusStatistics.from_json(found.to_json()) == found
    assert statistics(sounds).latent_spread == 1
    with pytest.raises(DataError, match="none of which"):
        statistics([curves_of(torch.zeros(1, RATE), RATE)])
    with pytest.raises(DataError, match="expected descriptors"):
        CorpusStatistics.from_json({"descriptors": 3})


def test_distances_are_relative_to_held_out_items():
    stream = torch.Generator().manual_seed(1)
    points, held, far = (torch.randn(n, 4, generator=stream) for n in (500, 200, 100))
    for count in (1, 5):
        near = Neighbourhood(points, held, count)
        own = NearestNeighbors(n_neighbors=count).fit(points.numpy()).kneighbors(held.numpy())[0].mean(1)
        assert near.own == pytest.approx(np.median(own), rel=0.01)
        assert near.ratio(held).value == pytest.approx(1)
        assert near.ratio(far).value == pytest.approx(1, abs=0.2)
        assert near.ratio(far + 10).value > 10
    assert Neighbourhood(points, held).ratio(points).value == 0
    assert Neighbourhood(points, points[:9]).ratio(held) is None
    with pytest.raises(DataError, match="expected at least 5"):
        Neighbourhood(points[:3], held, 5)


def test_correlations_find_the_axis_that_moves_the_pitch():
    curves = curves_of(tone(glide(), harmonics=3), RATE)
    stream = torch.Generator().manual_seed(0)
    axes = torch.stack(
        (torch.rand(len(curves.times), generator=stream), -(torch.from_numpy(curves.times).float() ** 3)), 1
    )
    found = correlations(axes, curves)
    assert set(found) == set(DESCRIPTORS)
    assert found["pitch"][1] == pytest.approx(-1, abs=1e-3)
    assert abs(found["pitch"][0]) < 0.3
    with pytest.raises(DataError, match="5 codes"):
        correlations(axes[:5], curves)
    assert set(correlations(axes[:, :1], curves_of(noise(), RATE))) == set(TIMBRE)


def test_spearman_is_scipys():
    stream = np.random.default_rng(0)
    a, b = stream.integers(0, 5, 40), stream.standard_normal(40)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(np.ones(4), b[:4]) == 0


def test_plain_units():
    assert plain("pitch", np.array([69.0, 81.0]))[0] == pytest.approx([440, 880])
    assert plain("centroid", np.array([10.0])) == (pytest.approx([1024]), "Hz")
    assert plain("loudness", np.array([-3.0])) == (pytest.approx([-3]), "dBFS")
