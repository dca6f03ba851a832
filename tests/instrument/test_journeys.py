"""Paths of a model of which everything is known, over sounds that differ in one thing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from identity_model import Identity

from latentscape.core.errors import DataError, UsageError
from latentscape.data.corpus import SourceOptions
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.geometry.paths import Line, Polyline
from latentscape.instrument import journeys
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.journeys import (
    AGAIN,
    BETWEEN,
    HELD,
    axis_correlations,
    journey_along,
    survey,
    walks_of,
    ways,
)
from latentscape.instrument.map import latent_map
from latentscape.instrument.reference import Place, heard, held_part, pairs_of, place_of, reference_of
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig

RATE = 8000
SOUND = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
STEPS = np.arange(-36, 0, 2)


def tone(decibels, seconds=0.4, frequency=437.5):
    t = np.arange(round(seconds * RATE)) / RATE
    return 10 ** (decibels / 20) * sum(np.sin(2 * np.pi * k * frequency * t) / k for k in (1, 2, 3)) / 2


class Unit(Identity):
    """The same, its codes brought to one norm."""

    def infer(self, x, context={}, *, samples=1, mean=False):
        (layer,) = super().infer(x, context, samples=samples, mean=mean)
        return (type(layer)(torch.nn.functional.normalize(layer.z, dim=-1), layer.q, layer.p),)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """One tone at many levels."""
    root = tmp_path_factory.mktemp("levels")
    for number, decibels in enumerate(STEPS):
        soundfile.write(root / f"{number:02d}.wav", tone(decibels), RATE, subtype="FLOAT")
    corpus = open_source(str(root), SourceOptions())
    with SoundExamples(corpus, split_corpus(corpus, seed=0), SOUND, Window(), seed=0) as found:
        yield found


def player_of(examples, kind=Identity, **options):
    model = kind(examples.event_shape, **options)
    codes = (torch.cat([x for x, _ in examples.held("train", 999)]) + 30) / 10
    return Instrument(model, SOUND, chart=latent_map(codes), name="levels")


@pytest.fixture(scope="module")
def player(examples):
    return player_of(examples)


@pytest.fixture(scope="module")
def reference(player, examples):
    return reference_of(player, examples)


def test_the_reference_is_the_training_part(reference, player, examples):
    loudness = reference.statistics.descriptors["loudness"]
    count = len(examples.split.parts["train"].rows)
    assert reference.statistics.sounds == count
    assert 15 < loudness.high - loudness.low < 36
    codes = (torch.cat([x for x, _ in examples.held("train", 999)]) + 30) / 10
    assert reference.statistics.latent_spread == pytest.approx(float(codes.var(0, correction=0).sum().sqrt()), rel=1e-4)
    torch.testing.assert_close(reference.centre, player.centre)
    assert reference.codes.count == 5
    round_player = player_of(examples, Unit)
    assert bool((reference_of(round_player, examples).centre == 0).all())


def test_one_long_recording_is_many_sounds(tmp_path):
    """Of half an hour of one wave, three seconds were taken for the corpus, and training sounds for unheard ones."""
    stream = np.random.default_rng(0)
    levels = np.repeat(stream.uniform(0.05, 0.5, 90), RATE)
    soundfile.write(tmp_path / "long.wav", levels * tone(-6.0, 90.0), RATE, subtype="FLOAT")
    corpus = open_source(str(tmp_path), SourceOptions())
    with SoundExamples(corpus, split_corpus(corpus, seed=0), SOUND, Window(), seed=0) as long:
        assert held_part(long) == "test"
        unheard, known = (dict(heard(long, part, 100)) for part in ("test", "train"))
        seconds = sum(wave.shape[1] for wave in known.values()) / RATE
        assert seconds == pytest.approx(int(long.split.parts["train"].frames.sum()) / RATE, abs=0.3)
        assert len(unheard) >= 2
        assert all(wave.shape[1] <= 3 * RATE for wave in (*known.values(), *unheard.values()))
        assert len(dict(heard(long, "train", 5))) == 5
        (a, b), *_ = pairs_of(player_of(long), long, 1)
        assert {a.name, b.name} <= set(unheard)


def test_a_line_from_soft_to_loud_is_monotone_and_as_long_as_it_is(player, reference):
    only = {"loudness": reference.statistics.descriptors["loudness"]}  # the one thing that varies in this corpus
    reference = replace(reference, statistics=replace(reference.statistics, descriptors=only))
    soft, loud = (place_of(player, "", torch.from_numpy(tone(d)).float()[None]).code for d in (-30.0, -6.0))
    found = journey_along(player, Line(a=soft.tolist(), b=loud.tolist()), 2.0, reference, between=True, kind="line")
    numbers = {name: number.value for name, number in found.numbers.items()}
    assert numbers["monotonicity"] > 0.95
    assert numbers["directness"] > 0.8
    assert numbers["length"] == pytest.approx(
        float((loud - soft).norm()) / reference.statistics.latent_spread, rel=1e-4
    )
    assert numbers["pitch_jumps"] == 0
    assert abs(numbers["seam"]) < 3
    assert found.path["kind"] == "line"
    assert len(found.curves["loudness"]) == 19  # 1.9 s of frames that lie inside, in steps of 0.1 s
    assert found.curves["loudness"][-1] - found.curves["loudness"][0] == pytest.approx(24 * 1.7 / 2, abs=3)
    assert found.curves["pitch"][9] == pytest.approx(437.5, rel=0.01)
    there_and_back = Polyline(points=[soft.tolist(), loud.tolist(), soft.tolist()])
    back = journey_along(player, there_and_back, 2.0, reference, between=True).numbers
    assert "monotonicity" not in back
    assert back["length"].value == pytest.approx(2 * numbers["length"], rel=1e-3)
    assert "corner" in back
    assert back["range_90_loudness"].value == pytest.approx(numbers["range_90_loudness"], abs=0.1)


def test_far_from_the_data_is_far(player, reference):
    loud = place_of(player, "", torch.from_numpy(tone(-10.0)).float()[None]).code
    near = journey_along(player, Line(a=loud.tolist(), b=(loud + 0.01).tolist()), 0.5, reference).numbers
    far = journey_along(player, Line(a=(loud + 3).tolist(), b=(loud + 3.01).tolist()), 0.5, reference).numbers
    assert far["distance_data"].value > 5 * near["distance_data"].value
    assert far["distance_codes"].value > 5 * near["distance_codes"].value


def test_the_place_of_a_sound_is_a_code_of_its_loud_part(player):
    wave = torch.from_numpy(np.concatenate([np.zeros(4000), tone(-6.0), np.zeros(4000)])).float()[None]
    codes = player.encode(wave)
    found = place_of(player, "a", wave)
    assert found.name == "a"
    row = int((codes - found.code).norm(dim=1).argmin())
    assert torch.equal(codes[row], found.code)
    assert 4000 <= row * 64 <= 4000 + 3200
    windows = Instrument(Identity((129, 4)), SOUND, Window(length=4, hop=4))
    row = int((windows.encode(wave) - place_of(windows, "", wave).code).norm(dim=1).argmin())
    assert 4000 - 256 <= row * windows.step * 64 <= 4000 + 3200


def test_pairs_are_of_different_sounds_and_the_same_for_every_model(player, examples):
    pairs = pairs_of(player, examples, 1)
    assert len(pairs) == 1
    names = [
        [(a.name, b.name) for a, b in pairs_of(one, examples, 50)] for one in (player, player_of(examples, scale=3.0))
    ]
    assert names[0] == names[1]
    held = len(examples.split.parts["test"].rows)
    assert len({frozenset(pair) for pair in names[0]}) == len(names[0]) == held * (held - 1) // 2
    assert all(a != b for a, b in names[0])
    first = {name for pair in names[0][: held // 2] for name in pair}
    assert len(first) == held // 2 * 2  # each once, while they last


def test_ways_and_walks(player):
    a, b = player.centre + 1, player.centre - torch.linspace(0, 1, player.dim)
    ends = [(Place("a", a), Place("b", b)), (Place("b", b), Place("a", a))]
    for kind in BETWEEN:
        there, back = ways(player, kind, ends, player.centre)
        for path, start, end in ((there, a, b), (back, b, a)):
            torch.testing.assert_close(path.start, start, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(path.end, end, atol=1e-4, rtol=1e-4)
    # the decoder of this model is linear, so its geodesics are lines
    middle = ways(player, "geodesic", ends, player.centre)[0].evaluate(torch.tensor([0.5]))[0]
    torch.testing.assert_close(middle, (a + b) / 2, atol=0.02, rtol=0)
    with pytest.raises(UsageError, match="a way 'lime' is not known; did you mean 'line'"):
        ways(player, "lime", ends, player.centre)
    assert [name for name, _ in walks_of(player, "traversal")] == [f"axis {i}" for i in range(4)]
    assert len(walks_of(player, "random_walk")) == 4
    assert len(walks_of(player, "circle")) == 1


@pytest.fixture(scope="module")
def found(player, examples):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journeys, "WALK_SECONDS", 1.0)
        patch.setattr(journeys, "STROLL", (2.0, 8))
        said = []
        saved = {"mine": Line(a=player.centre.tolist(), b=(player.centre + 1).tolist())}
        options = {"between": ("line", "nothing"), "walks": ("circle", "random_walk"), "saved": saved}
        return survey(player, examples, pairs=2, say=said.append, **options), said


def test_a_survey_has_a_row_a_kind(found):
    survey, said = found
    assert [row.kind for row in survey.rows] == [HELD, AGAIN, "line", "circle", "random_walk", "mine", "nothing"]
    rows = {row.kind: row for row in survey.rows}
    assert rows["line"].paths == 2 or rows["line"].paths == 1
    assert rows["random_walk"].paths == 4
    assert survey.about.endswith(f"beside {rows[HELD].paths} real sounds")
    assert "not known" in rows["nothing"].skipped
    assert rows[HELD].numbers["distance_data"].value == pytest.approx(1, abs=0.7)
    # the model loses nothing, so its sounds are as those that they are of
    assert rows[AGAIN].numbers["distance_data"].value == pytest.approx(
        rows[HELD].numbers["distance_data"].value, rel=0.05
    )
    reach = [rows[kind].numbers["range_90_loudness"].value for kind in (HELD, AGAIN)]
    assert reach[0] == pytest.approx(reach[1], abs=0.05)
    mean = np.mean([one.numbers["variation"].value for one in survey.journeys if one.kind == "random_walk"])
    assert rows["random_walk"].numbers["variation"].value == pytest.approx(mean)
    assert rows["random_walk"].numbers["variation"].interval() is not None
    assert "travelling: random walk" in said


def test_a_survey_is_printed_and_stored(found):
    survey, _ = found
    text = "\n".join(survey.lines())
    assert "line (" in text
    assert "left out:\n  nothing: a way 'nothing' is not known" in text
    assert max(map(len, survey.lines()[1:-1])) < 120
    stored = json.loads(json.dumps(survey.to_json(), allow_nan=False))
    assert stored["corpus"]["descriptors"]["loudness"]["unit"] == "dBFS"
    assert {row["kind"] for row in stored["rows"]} >= {"line", HELD}
    line = next(one for one in stored["journeys"] if one["kind"] == "line")
    assert line["path"]["kind"] == "line"
    assert " to " in line["name"]
    assert len(line["curves"]["centroid"]) == 19


def test_correlations_are_with_the_axis_of_level(player, monkeypatch):
    monkeypatch.setattr(journeys, "STROLL", (6.0, 20))
    frame = place_of(player, "", torch.from_numpy(tone(-20.0)).float()[None]).code
    levels, tilts = torch.randn(2, 500, 1)
    tilt = torch.linspace(-1, 1, player.dim)  # the spectrum's slope, about its middle
    known = Instrument(player.model, SOUND, chart=latent_map(frame + 0.5 * levels + 0.3 * tilts * tilt))
    found = axis_correlations(known, axes=2)
    assert found["loudness"][0] > 0.8
    assert abs(found["centroid"][1]) > 0.8
    assert abs(found["centroid"][0]) < 0.5


def test_what_has_no_sound_or_no_pairs_is_said(player, examples, tmp_path):
    with pytest.raises(UsageError, match="makes images"):
        survey(Instrument(Identity((1, 2, 2))), examples)
    soundfile.write(tmp_path / "one.wav", tone(-6.0, 3.0), RATE)
    corpus = open_source(str(tmp_path), SourceOptions())
    with SoundExamples(corpus, split_corpus(corpus, seed=0), SOUND, Window(), seed=0) as one:
        with pytest.raises(DataError, match="expected at least 2 for a pair"):
            pairs_of(player, one)
