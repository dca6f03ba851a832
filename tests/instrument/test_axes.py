import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from latentscape.core.errors import StorageError
from latentscape.instrument.axes import Naming, moved
from latentscape.instrument.decoded import audible, described, silence_of
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.instrument.naming import name_axes
from latentscape.models.model import LatentModel, Layer
from latentscape.registry import Window
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.stft import LogStft, LogStftConfig

RATE = 8000
LOG = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
FREQUENCY = torch.fft.rfftfreq(256, 1 / RATE)


class Knobs(LatentModel):
    """z -> a spectrum whose level is z0 and whose tilt is z1; z2 does nothing."""

    def __init__(self, gain=(6.0, 3.0), mixing=None, length=1):
        super().__init__()
        self.event_shape = (129,) if length == 1 else (129, length)
        self.latent_shapes = ((3,),)
        self.gain, self.length = gain, length
        self.mixing = torch.eye(3) if mixing is None else mixing

    def infer(self, x, context={}, *, samples=1, mean=False):
        unit = Independent(Normal(torch.zeros(1), 1.0), 1)
        return (Layer(torch.zeros(1, len(x), 3), unit, unit),)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        return (torch.randn(n, 3),)

    def decode(self, z, context={}):
        knobs = z[0] @ torch.linalg.inv(self.mixing).T
        octave = torch.log2(FREQUENCY.clamp_min(100) / 1000)
        level = -10 + self.gain[0] * knobs[:, :1] + (self.gain[1] * knobs[:, 1:2] - 6) * octave
        x = level if self.length == 1 else level[..., None].expand(-1, -1, self.length)
        return Independent(Normal(x, 1.0), len(self.event_shape))


def codes(n=2000, deviation=(1.0, 2.0, 0.5), seed=1):
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=stream) * torch.tensor(deviation) + torch.tensor([0.3, -0.2, 1.0])


def named(z, model=None, representation=LOG, window=Window(), **options):
    player = Instrument(model or Knobs(), representation, window, {}, latent_map(z))
    return player, name_axes(player, z, **options)


@cache
def usual():
    """Codes, instrument and axes that several tests look at."""
    z = codes()
    return z, *named(z)


def by_name(naming):
    return {axis.name: axis for axis in naming.axes}


def test_axes_are_named_for_what_they_move():
    _, _, naming = usual()
    axes = by_name(naming)
    assert "loudness" in axes
    assert axes.keys() & {"brightness", "bandwidth", "noisiness"}
    assert "axis-3" in axes
    assert naming.directions == "principal" or naming.scores["independent"] > naming.scores["principal"]
    level = axes["loudness"]
    assert abs(level.direction[0]) > 0.9
    # four deviations of one unit of 6 dB each
    assert level.moves["loudness"].span == pytest.approx(24, rel=0.15)
    assert level.moves["loudness"].correlation > 0.95
    assert level.moves["loudness"].unit == "dB"
    assert level.direction[0] > 0, "turned so that loudness rises"
    assert axes["axis-3"].explained == 0
    for name, effect in axes["axis-3"].moves.items():
        assert abs(effect.span) < 0.5 * naming.descriptors[name].deviation
    assert [axis.deviation for axis in naming.axes] == sorted((axis.deviation for axis in naming.axes), reverse=True)


def test_an_axis_that_lowers_its_descriptor_is_turned():
    _, naming = named(codes(), Knobs(gain=(-6.0, 3.0)))
    level = by_name(naming)["loudness"]
    assert level.direction[0] < -0.9
    assert level.moves["loudness"].span > 0
    assert level.low < 0 < level.high
    assert next(iter(level.moves)) == "loudness"


def test_what_is_explained_is_r_squared_of_a_regression():
    z, player, naming = usual()
    values = described(player, z)
    values = audible(values, silence_of(values))
    t = naming.coordinates(z).double().numpy()
    for j, axis in enumerate(naming.axes):
        for name, effect in axis.moves.items():
            known = np.isfinite(values[name])
            expected = np.corrcoef(t[known, j], values[name][known])[0, 1] ** 2
            assert effect.explained == pytest.approx(expected, abs=0.02), (axis.name, name)
    for name, one in naming.descriptors.items():
        known = np.isfinite(values[name])
        rows = np.c_[np.ones(known.sum()), t[known]]
        rest = values[name][known] - rows @ np.linalg.lstsq(rows, values[name][known], rcond=None)[0]
        assert one.explained == pytest.approx(1 - rest.var() / values[name][known].var(), abs=0.01)
    best = max(axis.moves["loudness"].explained for axis in naming.axes)
    assert best <= naming.descriptors["loudness"].explained + 0.01


def test_independent_directions_are_found_where_they_explain_more():
    stream = torch.Generator().manual_seed(2)
    sources = torch.rand(3000, 3, generator=stream) * 2 - 1  # not normal, so that they can be told apart
    mixing = torch.tensor([[1.0, 0.9, 0.2], [0.7, -1.0, 0.1], [0.3, 0.2, 1.0]])
    _, naming = named(sources @ mixing.T * 2, Knobs(mixing=mixing))
    assert naming.directions == "independent"
    level = by_name(naming)["loudness"]
    column = mixing[:, 0] / mixing[:, 0].norm()
    assert abs(float(torch.tensor(level.direction) @ column)) > 0.99


def test_coordinates_and_points_undo_each_other_also_for_slanted_axes():
    z = codes(9)
    _, _, naming = usual()
    slanted = replace(naming.axes[0], direction=tuple((torch.tensor([0.6, 0.64, 0.48])).tolist()))
    for one in (naming, replace(naming, axes=(slanted, *naming.axes[1:]))):
        torch.testing.assert_close(one.points(one.coordinates(z)), z, atol=1e-4, rtol=1e-4)
        t = torch.tensor([[1.0, -2.0, 0.5]])
        torch.testing.assert_close(one.coordinates(one.points(t)), t, atol=1e-4, rtol=1e-4)


def test_low_and_high_are_quantiles_of_the_corpus():
    z, _, naming = usual()
    t = naming.coordinates(z)
    for j, axis in enumerate(naming.axes):
        assert axis.low == pytest.approx(float(t[:, j].quantile(0.01)), abs=0.05)
        assert axis.high == pytest.approx(float(t[:, j].quantile(0.99)), abs=0.05)
        assert axis.deviation == pytest.approx(float(t[:, j].std()), rel=0.02)
        assert math.hypot(*axis.direction) == pytest.approx(1)


def test_the_same_corpus_gives_the_same_names():
    assert named(codes())[1] == usual()[2]


def test_names_are_unique_where_several_axes_move_the_same():
    class Levels(Knobs):
        def decode(self, z, context={}):
            level = (z[0] @ torch.tensor([4.0, 6.0, 8.0]))[:, None] - 20.0 + torch.zeros(129)
            return Independent(Normal(level, 1.0), 1)

    _, naming = named(codes(deviation=(3.0, 2.0, 1.0)), Levels())
    names = [axis.name for axis in naming.axes]
    # 4 dB x 3, 6 dB x 2, 8 dB x 1: the strongest has the plain name
    assert set(names) == {"loudness", "loudness-2", "loudness-3"}
    axes = by_name(naming)
    spans = [axes[name].moves["loudness"].span for name in ("loudness", "loudness-2", "loudness-3")]
    assert spans == sorted(spans, reverse=True)


def test_a_map_alone_gives_principal_axes():
    z = codes()
    player = Instrument(Knobs(), LOG, Window(), {}, latent_map(z))
    naming = player.naming
    assert naming.directions == "principal"
    assert player.axes == naming.axes
    assert player.naming is naming
    assert "loudness" in by_name(naming)
    assert naming.axes[0].high == pytest.approx(2.326 * naming.axes[0].deviation)


def test_images_have_numbered_axes():
    class Pictures(Knobs):
        def decode(self, z, context={}):
            return Independent(Normal(z[0][:, :, None, None].expand(-1, -1, 4, 4).mean(1, keepdim=True), 1.0), 3)

    model = Pictures()
    model.event_shape = (1, 4, 4)
    _, naming = named(codes(), model, None)
    assert [axis.name for axis in naming.axes] == ["axis-1", "axis-2", "axis-3"]
    assert all(axis.moves == {} for axis in naming.axes)
    assert naming.descriptors == {}
    assert "axis-2" in "\n".join(naming.lines())


@pytest.mark.parametrize("representation", [LOG, MuLaw(MuLawConfig(sample_rate=RATE))], ids=["spectra", "waves"])
def test_windows_have_an_attack(representation):
    length = 32 if representation is LOG else 4000
    ramp = torch.linspace(0, 1, length)

    class Rises(Knobs):
        """z1 sets which part of the window the rise takes."""

        def decode(self, z, context={}):
            share = (0.5 + 0.12 * z[0][:, 1:2]).clamp(0.1, 0.9)
            envelope = (ramp / share).clamp(1e-3, 1.0)
            if representation is LOG:
                x = (20 * envelope.log10())[:, None] + 10.0 + torch.zeros(129, 1)
            else:
                wave = 0.5 * envelope * torch.sin(2 * torch.pi * 440 * torch.arange(length) / RATE)
                x = representation.analyse(wave[:, None]).float()
            return Independent(Normal(x, 1.0), 2)

    model = Rises(length=length)
    model.event_shape = (representation.frame_size, length)
    z = codes(200)
    share = (0.5 + 0.12 * z[:, 1]).clamp(0.1, 0.9).numpy()
    player = Instrument(model, representation, Window(length=length, hop=length), {}, latent_map(z))
    values = described(player, z)
    assert np.corrcoef(values["attack"], np.log10(share))[0, 1] > 0.95
    seconds = length * (LOG.hop if representation is LOG else 1) / RATE
    # from 10 % to 90 % of a straight rise
    np.testing.assert_allclose(10 ** values["attack"], 0.8 * share * seconds, rtol=0.35)
    if representation is not LOG:
        assert np.nanmedian(values["pitch"]) == pytest.approx(69, abs=0.2)


def test_saved_and_loaded(tmp_path):
    _, _, naming = usual()
    naming.save(tmp_path)
    again = Naming.load(tmp_path)
    assert again == naming
    again.save(tmp_path)
    assert Naming.load(tmp_path) == naming
    assert moved(naming.axes[0]) == moved(again.axes[0])


def first(of):
    return next(iter(of.values()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda about: about.update(format=2), "format"),
        (lambda about: about.pop("mean"), "damaged"),
        (lambda about: about["axes"][0].pop("low"), "damaged"),
        (lambda about: about["axes"][0].update(direction=[1.0, 1.0, 0.0]), "length 1.414, expected 1"),
        (lambda about: about["axes"][0].update(deviation=float("nan")), "axes.0.deviation: got nan, expected a finite"),
        (
            lambda about: first(about["axes"][0]["moves"]).update(span="far"),
            r"span: got 'far', expected a valid number",
        ),
        (lambda about: first(about["axes"][0]["moves"]).update(correlation=None), "correlation: got None"),
        (lambda about: first(about["descriptors"]).update(mean=10**400), "mean: got 1000"),
        (lambda about: about.update(directions="sideways"), "directions: got 'sideways'"),
        (lambda about: about["scores"].update(principal=[]), r"scores.principal: got \[\]"),
        (lambda about: about["axes"][0].update(direction=[1.0]), "directions are not of 3"),
        (lambda about: about["axes"][0].update(name=about["axes"][1]["name"]), "names repeat"),
        (lambda about: about.update(axes=3), "damaged"),
    ],
)
def test_what_is_wrong_with_stored_axes_is_said(tmp_path, damage, message):
    usual()[2].save(tmp_path)
    about = json.loads((tmp_path / "axes.json").read_text())
    damage(about)
    (tmp_path / "axes.json").write_text(json.dumps(about))
    with pytest.raises(StorageError, match=message):
        Naming.load(tmp_path)


def test_too_few_codes_give_principal_axes_and_no_warning():
    z = codes(12)
    _, naming = named(z)
    assert naming.directions == "principal"
    assert len(naming.axes) == 3
