"""The benchmark of waves: what it measures, what it keeps, and its page."""

import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from latentscape.benchmark import BenchmarkRequest, run_benchmark, waveform
from latentscape.benchmark.waveform import Ear, _stretches, found_cells, high_share, load_waveforms, run_waveforms
from latentscape.benchmark.waveform_report import compose, write_waveform_report
from latentscape.core.errors import ConfigError, DataError, UsageError
from latentscape.core.storage import save_json
from latentscape.data.corpus import SoundCorpus, SourceOptions
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.experiment.config import resolve
from latentscape.measure.curves import curves_of
from latentscape.measure.journey import statistics
from latentscape.measure.portraits import portrait
from latentscape.models.samplernn import Recurrent

RATE = 8000
GRID = """
title: tiny
source: sines
rate: 2000
seconds: 0.5
count: 4
base: {train.minutes: null, train.tensorboard: false, train.threads: 1, train.precision: 32, data.pool_seconds: 20}
members:
  SampleRNN:
    recipe: samplernn
    steps: 8
    set: {model.net.width: 16, model.net.head: 16, train.batch_size: 4, window.length: 128, window.hop: 128}
  unheard of:
    recipe: samplernn
    steps: 8
    set: {model.condition: [nothing]}
"""


def test_the_grids_of_the_package_are_made_of_recipes():
    for name in ("full", "quick"):
        grid = load_waveforms(name)
        assert len(grid.members) >= 4
        for member in grid.members.values():
            sets = [f"{key}={json.dumps(value)}" for key, value in {**grid.base, **member.set}.items()]
            resolve(member.recipe, [*sets, f"train.max_steps={member.steps}"])
    assert load_waveforms("quick", "tones").source == "tones"


def test_a_wrong_grid_is_refused(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        load_waveforms(tmp_path / "none.yaml")
    own = tmp_path / "own.yaml"
    for text, error in (
        ("a: [", "is not YAML"),
        ("[]", "got list"),
        ("title: x", "'source' is missing"),
        (
            GRID.replace("recipe: samplernn", "recipe: samplern", 1),
            "member 'SampleRNN': unknown recipe 'samplern'; did",
        ),
        (GRID.replace("model.net.width", "model.net.wide"), "member 'SampleRNN': .*model.net.wide"),
        (GRID.replace("unheard of", "Sample/SampleRNN"), "'SampleRNN' and 'Sample/SampleRNN' share the folder"),
        (GRID.replace("unheard of", "samplernn"), "'SampleRNN' and 'samplernn' share the folder"),  # on Windows
    ):
        own.write_text(text)
        with pytest.raises(ConfigError, match=error):
            load_waveforms(own)
    with pytest.raises(UsageError, match="waveform takes SOURCE"):
        run_benchmark(BenchmarkRequest("waveform", tmp_path, minutes=2.0), lambda line: None)
    with pytest.raises(UsageError, match="holds no benchmark of waveforms"):
        write_waveform_report(tmp_path)
    request = BenchmarkRequest("waveform", tmp_path / "out", source="digits", quick=True)
    with pytest.raises(UsageError, match="holds images"):
        run_benchmark(request, lambda line: None)
    assert not (tmp_path / "out").exists()
    for name, words in (("own.yaml", "is not a benchmark"), ("grid.json", "another suite")):
        (tmp_path / name).write_text("{}")
        with pytest.raises(UsageError, match=words):
            run_benchmark(BenchmarkRequest("waveform", tmp_path, quick=True), lambda line: None)


def sound(frequency: float, level: float = 0.1, seconds: float = 1.0) -> torch.Tensor:
    t = torch.arange(round(seconds * RATE)) / RATE
    return level * torch.sin(2 * torch.pi * frequency * t)[None]


def test_high_energy_is_counted_in_db():
    low, high = sound(500.0), sound(3000.0)
    assert high_share([low + high], RATE) == pytest.approx(-3.01, abs=0.05)
    assert high_share([low + 0.1 * high], RATE) == pytest.approx(-20.04, abs=0.1)


def made_ear() -> Ear:
    """An ear on tones of many pitches and levels."""
    generator = np.random.default_rng(0)
    tones = [sound(float(f), float(a)) for f, a in generator.uniform((200, 0.01), (3000, 0.5), (20, 2))]
    usual = statistics([curves_of(wave, RATE) for wave in tones])
    faces = np.stack([portrait(wave, RATE) for wave in tones])
    return Ear(RATE, usual, tones[:10], tones[10:], faces.mean(0), faces.std(0) + 1e-6)


def test_it_listens_to_all_of_a_corpus(tmp_path):
    for number in range(240):
        wave = sound(200.0 + 10 * number, 0.2, 0.1)
        soundfile.write(tmp_path / f"{'abcdef'[number // 40]}_{number}.wav", wave[0].numpy(), RATE)
    corpus = open_source(str(tmp_path), SourceOptions(pattern="{instrument}_{take}"))
    assert isinstance(corpus, SoundCorpus)
    split = split_corpus(corpus, seed=0)
    waves, names = _stretches(corpus, split, "train", 800, 60)
    assert len(waves) == 60
    assert set(names) == {corpus.clips.columns["instrument"].text(row) for row in split.parts["train"].rows}
    assert max(map(names.count, set(names))) <= 2 * 60 / len(set(names))


def test_rests_of_clips_too_short_for_curves_stop_nobody(tmp_path):
    for number in range(20):
        wave = sound(300.0 + 50 * number, 0.2, 0.64)  # 0.5 s and a rest of 0.14 s
        soundfile.write(tmp_path / f"{number}.wav", wave[0].numpy(), RATE)
    grid = waveform.WaveformGrid(
        title="",
        source=str(tmp_path),
        seconds=0.5,
        count=4,
        members={"a": waveform.Member(recipe="samplernn", steps=8)},
    )
    corpus = open_source(grid.source, SourceOptions())
    assert isinstance(corpus, SoundCorpus)
    ear = Ear.of(corpus, grid)
    assert ear.usual.sounds == 16
    assert ear.usual.seconds == pytest.approx(8.0, abs=0.01)


def test_draws_like_the_corpus_are_nearer_than_others():
    ear = made_ear()
    alike, alone = ear.distances(ear.other), ear.distances([sound(3500.0)] * 20)
    assert alone["frechet"] > 1.5 * alike["frechet"]
    assert alone["kernel"] > alike["kernel"]
    assert ear.distances(ear.real)["frechet"] == pytest.approx(0, abs=1e-3)
    assert ear.deficit([sound(500.0)]) > 20
    assert np.isfinite(ear.distances([torch.zeros(1, RATE)] * 4)["frechet"])


def test_silence_has_no_share_of_its_energy_anywhere():
    ear = made_ear()
    silent = ear.compare([torch.zeros(1, RATE)] * 4)  # it used to count as all high
    assert set(silent) == {"frechet", "kernel"}
    assert ear.compare([torch.zeros(1, RATE), sound(500.0)])["deficit"] > 20
    assert ear.compare(ear.other) == ear.ceilings()


def test_draws_of_an_earlier_time_are_not_measured(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(GRID)
    grid, ear = load_waveforms(tmp_path / "tiny.yaml"), made_ear()

    def drawn(run, out, making, *, count, seconds, seed):
        out.mkdir(exist_ok=True)
        for number in range(count):
            soundfile.write(out / f"sample{number:03d}.wav", sound(500.0)[0].numpy(), RATE)

    heard = []
    monkeypatch.setattr(Ear, "distances", lambda ear, draws: heard.append(len(draws)) or {})
    for name, value in (
        ("brought_to_end", lambda request, say: True),
        ("sample", drawn),
        ("load_waves", lambda run: "a model without latents"),
        ("open_run", lambda run: SimpleNamespace(examples=contextlib.nullcontext())),
        ("costs_of_recordings", lambda *given: {}),
        ("load_object", lambda path: {"figures": {"numbers": {}}, "seconds": 60.0, "steps": 8}),
        ("load_tensors", lambda path: {}),
    ):
        monkeypatch.setattr(waveform, name, value)
    sounds = tmp_path / "sounds" / "a"
    sounds.mkdir(parents=True)
    for left in ("sample004.wav", "circle.wav"):  # of five draws, and of a model that walked
        soundfile.write(sounds / left, sound(700.0)[0].numpy(), RATE)
    waveform._one(grid, grid.members["SampleRNN"], tmp_path, "a", ear, print)
    assert heard == [4]
    assert not (sounds / "circle.wav").exists()


def test_a_walk_through_many_sounds_reaches_more_than_a_still_one():
    ear = made_ear()
    moving = torch.cat([sound(f, 0.3, 0.4) for f in (250.0, 600.0, 1200.0, 2400.0)], dim=1)
    still = sound(600.0, 0.3, 1.6)
    wide, narrow = ear.along(moving, "circle", 0.4), ear.along(still, "circle", 0.4)
    assert wide["circle_centroid"] > 0.5 > narrow["circle_centroid"]
    assert wide["circle_seam_flux"] > 10
    assert abs(narrow["circle_seam_level"]) < 0.1
    assert "circle_seam_flux" not in ear.along(still, "circle", None)


@pytest.mark.no_cover  # heavy, and others run most of its lines
def test_it_trains_measures_keeps_and_reports(tmp_path, monkeypatch):
    monkeypatch.setattr(Recurrent, "glance", 2000)
    monkeypatch.setattr("latentscape.experiment.waves.SAMPLES", 2048)
    monkeypatch.setattr("latentscape.benchmark.waveform.LEARNT", 40)
    monkeypatch.setattr("latentscape.experiment.wave_page.SECONDS", 0.2)
    (tmp_path / "tiny.yaml").write_text(GRID)
    out = tmp_path / "bench"
    said: list[str] = []
    request = BenchmarkRequest("waveform", out, grid=tmp_path / "tiny.yaml")
    first = run_benchmark(request, said.append)
    assert (first.done, first.failed, first.kept) == (("SampleRNN",), ("unheard-of",), ())
    assert "no label 'nothing'" in (out / "logs" / "unheard-of.log").read_text()
    numbers = json.loads((out / "cells" / "SampleRNN.json").read_text())["numbers"]
    assert {"bits_per_sample", "unigram_bits", "frechet", "kernel", "deficit", "parameters", "minutes"} <= set(numbers)
    assert len(list((out / "sounds" / "SampleRNN").glob("*.wav"))) == 4
    costs = json.loads((out / "cells" / "SampleRNN.json").read_text())["costs"]
    nats, samples = np.array(list(costs.values())).sum(0)
    assert nats / samples / np.log(2) == pytest.approx(numbers["bits_per_sample"], rel=1e-5)
    text = (out / "report.md").read_text()
    assert "A held-out sample costs least under SampleRNN" in text
    assert "held-out sounds" in text
    again = run_benchmark(request, said.append)
    assert again.kept == ("SampleRNN",)
    (tmp_path / "tiny.yaml").write_text(GRID.replace("steps: 8", "steps: 9"))
    with pytest.raises(UsageError, match="was made with other settings"):
        run_benchmark(request, said.append)


def test_other_settings_leave_no_rows_of_the_old_ones(tmp_path, monkeypatch):
    def one(grid, member, out, name, ear, say):
        if grid.count == 6:
            raise DataError("it can't be drawn from")
        return {"numbers": {"frechet": float(grid.count)}, "steps": member.steps}

    monkeypatch.setattr(waveform, "_one", one)
    monkeypatch.setattr(waveform, "LEARNT", 40)
    (tmp_path / "tiny.yaml").write_text(GRID)
    grid, out = load_waveforms(tmp_path / "tiny.yaml"), tmp_path / "out"
    assert run_waveforms(grid, out, print).done == ("SampleRNN", "unheard-of")
    kept = {path: path.read_bytes() for path in out.rglob("*.json")}
    other = grid.model_copy(update={"count": 5})
    with pytest.raises(UsageError, match="was made with other settings"):
        run_waveforms(other, out, print)
    assert {path: path.read_bytes() for path in out.rglob("*.json")} == kept  # its ceilings are of the old grid still
    assert run_waveforms(grid, out, print, overwrite=True).kept == ("SampleRNN", "unheard-of")  # nothing to overwrite
    assert run_waveforms(other, out, print, overwrite=True).done == ("SampleRNN", "unheard-of")
    with monkeypatch.context() as changed:  # a recipe of the same name that another version of the package has
        recipe = waveform.resolve
        changed.setattr(waveform, "resolve", lambda name, sets: recipe(name, (*sets, "train.learning_rate=0.5")))
        with pytest.raises(UsageError, match="was made with other settings"):
            run_waveforms(other, out, print)
    last = run_waveforms(grid.model_copy(update={"count": 6}), out, print, overwrite=True)
    assert last.failed == ("SampleRNN", "unheard-of")
    with pytest.raises(UsageError, match="holds no benchmark"):  # of what failed, no row of other settings is left
        found_cells(out)


def test_a_member_that_diverged_has_failed(tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(GRID)
    grid = load_waveforms(tmp_path / "tiny.yaml")
    monkeypatch.setattr(waveform, "LEARNT", 40)
    monkeypatch.setattr(waveform, "brought_to_end", lambda request, say: True)
    monkeypatch.setattr(waveform, "sample", lambda *given, **options: pytest.fail("it was measured"))
    for name in ("SampleRNN", "unheard-of"):
        save_json(tmp_path / "out" / "runs" / name / "run.json", {"outcome": "diverged", "steps": 3})
        save_json(
            tmp_path / "out" / "runs" / f"{name}.json", waveform._asked(grid, grid.members[name.replace("-", " ")])
        )
    save_json(tmp_path / "out" / "grid.json", {"members": {}})
    assert run_waveforms(grid, tmp_path / "out", print).failed == ("SampleRNN", "unheard-of")
    assert "no longer finite after step 3" in (tmp_path / "out" / "logs" / "SampleRNN.log").read_text()


def test_sentences_are_computed(tmp_path):
    cells = [
        {"name": "a", "numbers": {"frechet": 3.0, "diagonal_centroid": 0.2, "bits_per_sample": 4.0}},
        {"name": "b", "numbers": {"frechet": 2.0, "diagonal_centroid": 0.5}},
    ]
    for name, more in (("c", (70.0, 140.0)), ("d", (0.0, 140.0))):  # nats of 100 samples, over those of a
        costs = {str(at): (200.0 + at + more[at % 2], 100.0) for at in range(20)}
        cells.append({"name": name, "numbers": {"bits_per_sample": 5.0}, "costs": costs})
    cells[0]["costs"] = {str(at): (200.0 + at, 100.0) for at in range(20)}
    page = compose(cells, {"title": "t", "source": "s", "ceilings": {"frechet": 1.0}}, tmp_path)
    answer = page.sections[0].items[0].text
    assert "nearest to the corpus from b (Frechet distance: b 2, a 3; other held-out sounds have 1)" in answer
    assert "range of centroid: b 50 %, a 20 %" in answer
    assert "costs least under a (bits: a 4.00, c 5.00, d 5.00)" in answer
    assert "a was asked for, too: c +1.515 (0.116; 20 recordings), d +1.010 (0.232; 20 recordings)" in answer
    draws = next(section for section in page.sections if section.title == "Draws").items[0]
    assert draws.rows[-1] == ("held-out sounds", "1")
    assert draws.best == {(1, 1)}
