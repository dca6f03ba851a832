"""The numbers of a cell, on images that a judge knows and on sounds; and the request as the shell makes it."""

import gzip
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from latentscape.benchmark import BenchmarkRequest, BenchmarkSummary, figures, run_benchmark, suite_of
from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.cell import run_cell
from latentscape.benchmark.grid import GridConfig, expand
from latentscape.benchmark.views import SoundView
from latentscape.cli import main
from latentscape.core.config import merge, parse
from latentscape.core.errors import DataError, UsageError
from latentscape.core.storage import load_object
from latentscape.data.images import read_digits
from latentscape.data.sounds import SoundExamples
from latentscape.experiment.joined import open_run
from latentscape.models.second_stage import STAGES, FlowStageConfig

TINY = Path(__file__).with_name("tiny.yaml")
SOUND = {
    "suite": "notes",
    "sources": ["tones"],
    "seeds": 1,
    "measuring": {"samples": 12, "clips": 2, "clip_seconds": 0.5, "items": 60},
    "base": {
        "representation": {"kind": "log_stft", "window": 512, "hop": 128},
        "data": {"binarise": "none"},
        "model": {"likelihood": {"kind": "gaussian", "scale": "optimal"}},
        "train": {"max_steps": 60, "validate_every": 30},
    },
}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """A flow of few steps: how well it fits is not the point here."""
    monkeypatch.setitem(STAGES, "flow", partial(FlowStageConfig, steps=60))


def cell_of(changes, **more):
    values = merge(merge(yaml.safe_load(TINY.read_text()), changes), more)
    return expand(parse(GridConfig, values))[0]


def test_real_items_are_spread_where_another_part_has_fewer(monkeypatch):
    """Parts are in order of their labels: the first items of one would be compared with all of the other."""
    seen = {}

    def compared(view, items, real, train, measuring):
        seen.update(items=items.tolist(), real=real.tolist())
        return {}

    parts = {"test": torch.arange(12), "valid": torch.arange(4), "train": torch.arange(2)}
    view = SimpleNamespace(real=lambda part, count: parts[part][:count], training=2)
    monkeypatch.setattr(figures, "view_of", lambda *about: view)
    monkeypatch.setattr(figures, "compare", compared)
    figures.ceilings(cell_of({}), None)
    assert seen == {"items": [0, 1, 2, 3], "real": [0, 3, 6, 9]}


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A data root with some of scikit-learn's digits, drawn large, in the files of MNIST."""
    corpus = read_digits()
    large = np.kron(corpus.images[:, 0] * (255 // 16), np.ones((3, 3), np.uint8)).astype(np.uint8)
    large = np.pad(large, ((0, 0), (2, 2), (2, 2)))
    labels = corpus.columns["label"].codes.astype(np.uint8)
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for part, rows in (("train", slice(0, 500)), ("t10k", slice(500, 700))):
        for kind, values in (("images-idx3", large[rows]), ("labels-idx1", labels[rows])):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    monkeypatch.setenv("LATENTSCAPE_DATA", str(tmp_path / "data"))


def test_images_that_a_judge_knows_get_every_number(mnist, tmp_path):
    cell = cell_of({"sources": ["mnist"], "measuring": {"draw": True, "samples": 150}})
    record = run_cell(cell, tmp_path / "a")
    images = {name for name, entry in CATALOGUE.items() if "images" in entry.suites}
    assert set(record["numbers"]) == images
    assert record["data"] == "mnist, dynamic binarisation"
    ceiling = {name for name, entry in CATALOGUE.items() if entry.ceiling and "images" in entry.suites}
    assert set(record["ceilings"]) == ceiling
    numbers = {name: number["value"] for name, number in record["numbers"].items()}
    limits = {name: number["value"] for name, number in record["ceilings"].items()}
    assert numbers["frechet"] > 2 * limits["frechet"] > 0
    assert 1 <= numbers["classifier_score"] < limits["classifier_score"] <= 10
    assert numbers["distortion"] > numbers["nll_iw"] - numbers["kl"] > 0
    # q is narrow beside the decoder's slope
    assert numbers["nll_mean"] == pytest.approx(numbers["distortion"], rel=0.02)
    assert numbers["nll_mean"] != numbers["distortion"]
    assert (tmp_path / "a" / "pictures" / "samples.png").exists()


def test_a_deterministic_encoder_has_no_likelihood(tmp_path):
    family = {"AE": {"model": {"posterior": "deterministic"}, "objective": {"kind": "reconstruction"}}}
    numbers = run_cell(cell_of({"reference": "AE"}, families=family | {"VAE": {}}), tmp_path / "a")["numbers"]
    assert "elbo" in numbers  # the first family of the file is the VAE
    values = yaml.safe_load(TINY.read_text()) | {"families": family, "reference": "AE", "axes": {}}
    numbers = run_cell(expand(parse(GridConfig, values))[0], tmp_path / "b")["numbers"]
    assert not {"elbo", "nll_iw", "kl", "mutual_information"} & set(numbers)
    assert {"mse", "mmd_p", "data_mmd", "distortion"} <= set(numbers)
    assert numbers["nll_mean"]["value"] == pytest.approx(
        numbers["distortion"]["value"], rel=1e-5
    )  # a point is its own mean


@pytest.mark.no_cover  # heavy, and others run most of its lines
def test_sounds_get_every_number(tmp_path):
    record = run_cell(cell_of(SOUND), tmp_path / "a")
    notes = {name for name, entry in CATALOGUE.items() if "notes" in entry.suites}
    left_out = notes - set(record["numbers"])
    assert left_out <= {"w1_pitch"}, left_out  # an untrained model may have no pitch
    for name, number in record["numbers"].items():
        assert number["unit"] == CATALOGUE[name].unit, name
    numbers = {name: number["value"] for name, number in record["numbers"].items()}
    limits = {name: number["value"] for name, number in record["ceilings"].items()}
    assert limits["lsd_features"] == 0 < numbers["lsd_features"]
    for name in ("lsd_sound", "mss", "mel_distance", "convergence", "frechet"):
        assert limits[name] < numbers[name], name
    examples = open_run(tmp_path / "a").examples
    assert isinstance(examples, SoundExamples)
    with examples, pytest.raises(DataError, match="test part of tones has 0 stretches of 100 s"):
        SoundView(examples, 100.0, "fast").real("test", 5)


@pytest.mark.no_cover  # heavy, and others run most of its lines
def test_a_request_runs_reports_and_goes_on(tmp_path, capsys):
    grid, out = tmp_path / "g.yaml", tmp_path / "out"
    values = yaml.safe_load(TINY.read_text()) | {"seeds": 1, "axes": {}}
    grid.write_text(yaml.safe_dump(values))
    arguments = ["benchmark", "images", "--grid", str(grid), "--out", str(out), "--jobs", "1"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    caught = capsys.readouterr()
    assert "1 cells in" in caught.out
    assert "[1/1] digits.VAE.s0: 30 steps" in caught.err
    assert (out / "report.md").exists()
    summary = run_benchmark(BenchmarkRequest("images", out, grid=grid), print)
    assert (summary.kept, summary.done) == (("digits.VAE.s0",), ())
    assert summary.lines()[0] == "nothing to run, 1 finished before, 0 failed"
    (out / "index.html").unlink()
    again = run_benchmark(BenchmarkRequest("images", out, report_only=True), print)
    assert again.page == out / "index.html"
    assert again.page.exists()
    assert again.to_json()["page"] == str(again.page)
    assert load_object(out / "grid.json")["title"] == "a tiny grid"


def test_wrong_requests_are_one_line(tmp_path, capsys):
    with pytest.raises(UsageError, match="did you mean 'images'"):
        suite_of("image")
    with pytest.raises(UsageError, match="--quick chooses"):
        run_benchmark(BenchmarkRequest("images", tmp_path / "o", quick=True, grid=TINY), print)
    with pytest.raises(UsageError, match="holds no benchmark"):
        run_benchmark(BenchmarkRequest("images", tmp_path / "o", report_only=True), print)
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", "notes", "--grid", str(TINY), "--out", str(tmp_path / "o")])
    assert stop.value.code == 2
    assert "is of the suite 'images'" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_summary_says_what_failed_and_what_was_stopped(tmp_path):
    lines = BenchmarkSummary(tmp_path, done=("a",), failed=("b",), seconds=90, page=tmp_path / "i").lines()
    assert lines[0] == "1 cells in 1.5 min, 0 finished before, 1 failed"
    assert lines[1].endswith("b.log)")
    assert "goes on" in BenchmarkSummary(tmp_path, interrupted=True).lines()[0]
