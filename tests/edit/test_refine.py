"""Refinement: the journal's way contracts, ours holds its level and keeps moving."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.distributions import Independent, Normal

from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import seed_of
from latentscape.edit.refine import MANNERS, Manner, manner_of, refine
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.measure.refinement import HEARD, Heard, Usual, hear, spectral_step, usual
from latentscape.models.model import LatentModel, Layer
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig
from streamed_run import streamed

RATE, LENGTH, LATENT = 4000, 4000, 12


class Tones(LatentModel):
    """Codes are amplitudes of tones; a pass of means keeps ``kept`` of each."""

    def __init__(self, kept=0.7, noise=0.02):
        super().__init__()
        self.event_shape, self.latent_shapes = (1, LENGTH), ((LATENT,),)
        t = torch.arange(LENGTH) / RATE
        tones = torch.sin(2 * math.pi * 110.0 * torch.arange(1, LATENT + 1)[:, None] * t)
        self.register_buffer("tones", tones)
        self.kept, self.noise = kept, noise
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def infer(self, x, context={}, *, samples=1, mean=False):
        centre = self.kept * x[:, 0] @ self.tones.T * 2 / LENGTH
        q = Independent(Normal(centre, 0.01), 1)
        z = centre if mean else q.sample()
        return (Layer(z[None], q, q),)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        return (0.1 * torch.randn(n, LATENT),)

    def decode(self, z, context={}):
        return Independent(Normal((z[0] @ self.tones)[:, None], self.noise), 2)


def instrument(**changes):
    codes = 0.1 * torch.randn(500, LATENT, generator=torch.Generator().manual_seed(0))
    sound = Waveform(WaveformConfig(sample_rate=RATE))
    return Instrument(Tones(**changes), sound, Window(length=LENGTH, hop=2000), chart=latent_map(codes))


def chord(samples=LENGTH, seed=1):
    z = 0.1 * torch.randn(LATENT, generator=torch.Generator().manual_seed(seed))
    t = torch.arange(samples) / RATE
    return (z[:, None] * torch.sin(2 * math.pi * 110.0 * torch.arange(1, LATENT + 1)[:, None] * t)).sum(0, keepdim=True)


def test_the_journals_way_gets_quieter_by_what_the_map_keeps():
    found = refine(instrument(), chord(), 10, MANNERS["mean"])
    levels = [one.heard.level for one in found.passes]
    for before, after in pairwise(levels):
        assert after - before == pytest.approx(20 * math.log10(0.7), abs=0.05)
    assert found.drift == pytest.approx(9 * 3.098, abs=0.2)
    spreads = [one.spread for one in found.passes]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.1 * spreads[0]
    assert all(one.gain == 0 for one in found.passes)
    assert all(one.heard.centroid == pytest.approx(found.given.centroid, rel=0.05) for one in found.passes)


def test_a_kept_level_alone_makes_every_pass_alike():
    found = refine(instrument(), chord(), 6, MANNERS["level"])
    assert found.drift < 0.01
    assert found.passes[0].gain == pytest.approx(3.098, abs=0.05)
    assert all(one.moved < 0.5 for one in found.passes)


def test_drift_holds_the_level_and_keeps_moving():
    found = refine(instrument(), chord(), 20, MANNERS["drift"])
    assert found.drift < 0.01
    assert found.least_step > 3
    assert 0.5 < sum(one.spread for one in found.passes) / 20 < 1.5


def test_roaming_keeps_to_what_is_usual_and_moves():
    """Where a walk strays, or hardly moves, a pass is drawn again; without a range it need only move."""
    given, model = chord(), instrument()
    free = refine(model, given, 20, MANNERS["drift"])
    centroids = sorted(one.heard.centroid for one in free.passes)
    wide = {"level": (-100.0, 0.0), "flatness": (-1000.0, 0.0)}
    bounds = wide | {"centroid": (centroids[5], centroids[14])}  # which half of the free walk leaves
    usually = Usual(*({name: ends[end] for name, ends in bounds.items()} for end in (0, 1)))
    found = refine(model, given, 20, MANNERS["roam"], within=usually)
    assert all(all(usually.holds(one.heard).values()) for one in found.passes)
    assert found.least_step >= 3
    far = replace(MANNERS["roam"], step=8.0)
    assert refine(model, given, 20, far).least_step > refine(model, given, 20, replace(far, tries=1)).least_step


def test_the_nearest_try_is_taken_where_none_is_as_wanted():
    high = {"level": 0.0, "centroid": 2e4, "flatness": 0.0}
    usually = Usual(dict.fromkeys(HEARD, -1000.0) | {"centroid": 1e4}, high)
    one, model = replace(MANNERS["roam"], step=0.0), instrument()
    tried = [refine(model, chord(), 1, replace(one, tries=n), within=usually, seed=1) for n in range(1, 9)]
    faults = [usually.excess(one.passes[0].heard) for one in tried]
    assert faults == sorted(faults, reverse=True)
    assert 0 < faults[-1] < faults[0]
    assert usually.excess(Heard(-20.0, math.nan, math.nan)) == math.inf


def test_noise_is_fed_back_and_not_heard():
    made = []
    refine(instrument(kept=1.0, noise=0.3), chord(), 2, Manner(noise=1.0), each=lambda step, wave: made.append(wave))
    first, second = made
    codes = [2 / LENGTH * wave @ Tones().tones.T for wave in made]
    for wave, z in zip(made, codes, strict=True):  # nothing beside the tones
        assert (wave - z @ Tones().tones).abs().max() < 1e-3
    assert (codes[0] - codes[1]).abs().max() > 0.003  # yet the noise has moved them
    assert not torch.equal(first, second)


def test_temperature_is_of_the_draw_about_the_mean():
    model = instrument(kept=1.0)
    cold, warm, hot = (refine(model, chord(), 2, Manner(temperature=T)).passes[0].moved for T in (0.0, 1.0, 4.0))
    assert cold < 0.1 < warm < hot


def test_it_is_a_function_of_its_seed_and_leaves_all_as_it_was():
    model, wave = instrument(), chord(9000)
    model.model.train()
    kept, state = wave.clone(), torch.random.get_rng_state()
    a, b, c = (refine(model, wave, 3, MANNERS["gibbs"], seed=seed).wave for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(wave, kept)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.model.training


@pytest.mark.parametrize("samples", [1000, LENGTH, 9000])
def test_passes_are_joined_with_half_of_a_window_or_a_second_in_common(samples):
    seen = []
    found = refine(instrument(), chord(samples), 5, MANNERS["drift"], each=lambda step, wave: seen.append((step, wave)))
    whole = max(samples, LENGTH)
    overlap = min(whole // 2, RATE)
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5]
    assert {wave.shape for _, wave in seen} == {(1, whole)}
    assert found.wave.shape == (1, 5 * (whole - overlap) + overlap)
    assert torch.isfinite(found.wave).all()
    assert torch.equal(found.wave[:, : whole // 4], seen[0][1][:, : whole // 4])


def test_a_record_of_it_is_json():
    found = refine(instrument(), chord(), 1)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert values["least_step"] is None
    assert len(values["passes"]) == 1
    assert set(values["passes"][0]) == {"level", "centroid", "flatness", "moved", "spread", "gain"}
    assert "1 passes: level" in found.lines()[0]
    assert not [line for line in found.lines() if "nan" in line]


def test_what_can_not_be_refined_is_refused():
    with pytest.raises(DataError, match="silent sound"):
        refine(instrument(), torch.zeros(1, LENGTH), 2)
    with pytest.raises(UsageError, match="got 0 steps"):
        refine(instrument(), chord(), 0)
    with pytest.raises(UsageError, match="makes images"):
        refine(Instrument(Tones()), chord(), 1)
    by_spectra = instrument()
    by_spectra.config = {"objective": {"kind": "perceptual", "distortion": 0.0}}
    with pytest.raises(UsageError, match="trained by spectra alone"):
        refine(by_spectra, chord(), 1, MANNERS["gibbs"])
    assert refine(by_spectra, chord(), 1, MANNERS["sample"]).passes
    with pytest.raises(UsageError, match="drift 2, expected"):
        Manner(drift=2.0)
    with pytest.raises(UsageError, match="level 'mach'; did you mean 'match'"):
        Manner(level="mach")
    with pytest.raises(UsageError, match="--manner got 'drif'; did you mean 'drift'"):
        manner_of("drif")
    assert manner_of("gibbs", temperature=2.0, drift=None) == Manner(temperature=2.0, noise=1.0)


def test_spectral_models_are_refined_as_well():
    from identity_model_of_edit import Halved

    sound = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
    model = Instrument(Halved((129,)), sound)
    found = refine(model, chord(), 3, MANNERS["mean"])
    assert found.wave.shape[1] == 3 * (LENGTH - LENGTH // 2) + LENGTH // 2
    assert found.passes[2].heard.level < found.passes[0].heard.level - 3


def test_what_is_usual_is_a_range_that_holds_most():
    stream = torch.Generator().manual_seed(0)
    windows = [torch.randn(1, 2000, generator=stream) * 10 ** (-torch.rand(1, generator=stream)) for _ in range(60)]
    found = usual([*windows, torch.zeros(1, 2000)], RATE)
    held = [found.holds(hear(wave, RATE)) for wave in windows]
    for name in ("level", "centroid", "flatness"):
        assert 0.85 <= sum(one[name] for one in held) / 60 <= 0.95
    assert not found.holds(hear(windows[0] * 100, RATE))["level"]
    assert not any(found.holds(hear(torch.zeros(1, 2000), RATE)).values())
    with pytest.raises(DataError, match="none of the corpus's windows sounds"):
        usual([torch.zeros(1, 2000)], RATE)


def test_a_step_is_the_level_between_sounds_that_differ_by_a_gain():
    wave = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    assert spectral_step(wave, 0.5 * wave, RATE) == pytest.approx(6.02, abs=0.01)


@pytest.mark.parametrize("kind", ["codes", "slow"])
def test_a_decoder_that_draws_is_heard_as_it_draws(kind):
    here = streamed(kind)
    wave = 0.2 * torch.randn(1, 2 * here.window.length)
    found = refine(here, wave, 4, MANNERS["gibbs"], seed=3)
    assert torch.equal(found.wave, refine(here, wave, 4, MANNERS["gibbs"], seed=3).wave)
    assert not torch.equal(found.wave, refine(here, wave, 4, MANNERS["gibbs"], seed=4).wave)
    assert found.least_step > 1  # each pass is another draw
    assert found.drift == pytest.approx(0, abs=1e-3)
    heard = []
    refine(here, wave, 2, MANNERS["mean"], each=lambda step, sound: heard.append(sound))
    again = here.drawn(here.manner, seed_of("refine", 0, 2, 0)).placed(here.encode(heard[0]), wave.shape[1])
    assert torch.equal(heard[1], again)
