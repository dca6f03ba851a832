"""Grids: every shipped cell is a whole configuration, and every mistake is named with its path before anything runs."""

import json
from pathlib import Path

import pytest
import yaml

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.check import check_cells
from latentscape.benchmark.grid import Cell, Grid, GridConfig, expand, load_grid, shipped, slug
from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, DataError, UsageError
from latentscape.data.images import read_digits

TINY = Path(__file__).with_name("tiny.yaml")
FAMILIES = {"AE", "VAE", "beta-VAE", "WAE-MMD (RBF)", "WAE-MMD", "WAE-GAN"}


def changed(**changes) -> GridConfig:
    return parse(GridConfig, yaml.safe_load(TINY.read_text()) | changes, "tiny")


def test_four_grids_are_shipped():
    assert shipped() == ["images", "images-quick", "notes", "notes-quick"]


@pytest.mark.parametrize("name", ["images", "images-quick", "notes", "notes-quick"])
def test_shipped_grids_are_what_is_promised(name):
    grid = load_grid(name)
    quick = name.endswith("quick")
    assert set(grid.config.families) == FAMILIES
    assert len(grid.cells) <= 60
    assert grid.config.seeds == (2 if quick else 3)
    assert grid.config.minutes <= (5 if grid.config.suite == "images" else 3)
    if quick:  # two at a time, with a minute each for all the rest
        assert len(grid.cells) * (grid.config.minutes + 1) / 2 <= 15
    first = grid.config.sources[0]
    for family in FAMILIES:
        seeds = [c.seed for c in grid.cells if (c.family, c.axis, c.source) == (family, "", first)]
        assert seeds == list(range(grid.config.seeds))
    for name, axis in grid.config.axes.items():
        assert axis.expectation.endswith("."), name
        assert grid.config.suite in CATALOGUE[axis.measure].suites
    assert all(cell.config.train.threads == 1 for cell in grid.cells)
    assert {cell.config.train.precision for cell in grid.cells} == {"32"}  # one arithmetic for all
    assert {c.config.model.latent for c in grid.cells if not c.axis} == {16}


def test_a_cell_varies_one_thing():
    """A cell of an axis differs from its family in what the axis says, and in nothing else."""
    for name in shipped():
        grid = load_grid(name)
        families = {
            c.family: c for c in grid.cells if not c.axis and c.seed == 0 and c.source == grid.config.sources[0]
        }
        for cell in grid.cells:
            if not cell.axis:
                continue
            before, after = (flat(one.config.model_dump(mode="json")) for one in (families[cell.family], cell))
            level = grid.config.axes[cell.axis]
            told = {
                key.split(".")[0]
                for part in (level.values[cell.value], level.also.get(cell.value, {}).get(cell.family, {}))
                for key in flat(part)
            }
            differs = {key.split(".")[0] for key in {*before, *after} if before.get(key) != after.get(key)}
            assert differs, f"{cell.name} is its family"
            assert differs <= told, cell.name


def flat(values, prefix=""):
    rows = {}
    for key, value in values.items():
        rows |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return rows


@pytest.mark.parametrize("name", ["images", "images-quick"])
def test_every_model_of_the_image_grids_can_be_built(name, monkeypatch):
    """The parts of every cell fit each other; scikit-learn's digits stand in for data that may not be here."""
    monkeypatch.setattr("latentscape.benchmark.check.open_source", lambda *given, **options: read_digits())
    check_cells(load_grid(name).cells)


@pytest.mark.parametrize("name", ["notes", "notes-quick"])
def test_every_model_of_the_note_grids_can_be_built(name):
    check_cells(load_grid(name, source="tones").cells)


def test_a_cell_is_the_same_after_json():
    cell = load_grid(TINY).cells[2]
    again = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert again == cell
    assert cell.name == "digits.VAE.warm-up-10-steps.s0"
    assert (cell.axis, cell.value, cell.reference) == ("warm-up", "10 steps", False)
    with pytest.raises(ConfigError, match="'seed' is missing"):
        Cell.from_json({key: value for key, value in cell.to_json().items() if key != "seed"})


def test_sources_seeds_and_axes_make_the_cells():
    cells = expand(changed(sources=["digits", "a/b c"], seeds=2))
    assert [(c.source, c.axis, c.value, c.seed) for c in cells] == [
        ("digits", "", "", 0), ("digits", "", "", 1), ("a/b c", "", "", 0),
        ("digits", "warm-up", "10 steps", 0), ("digits", "warm-up", "20 steps", 0),
    ]  # fmt: skip
    assert [c.limits for c in cells] == [True, False, True, False, False]
    assert cells[2].name == "b-c.VAE.s0"


def test_source_and_minutes_can_be_replaced():
    grid = load_grid(TINY, source="mnist", minutes=2.5)
    assert {c.source for c in grid.cells} == {"mnist"}
    assert {(c.minutes, c.config.train.minutes, c.config.train.max_steps) for c in grid.cells} == {(2.5, 2.5, 30)}


def test_a_level_may_ask_more_of_one_family():
    grid = yaml.safe_load(TINY.read_text())
    grid["families"]["AE"] = {"model": {"posterior": "deterministic"}, "objective": {"kind": "reconstruction"}}
    axis = grid["axes"]["warm-up"]
    axis |= {"values": {"wide": {"model": {"latent": 5}}}, "families": ["VAE", "AE"]}
    axis["also"] = {"wide": {"AE": {"train": {"batch_size": 8}}}}
    cells = {c.family: c.config for c in expand(parse(GridConfig, grid)) if c.axis}
    assert [cells[f].model.latent for f in ("VAE", "AE")] == [5, 5]
    assert [cells[f].train.batch_size for f in ("VAE", "AE")] == [16, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sorces": []}, r"'sorces'; did you mean 'sources'"),
        ({"measuring": {"clps": 1}}, r"'measuring.clps'; did you mean 'clips'"),
        ({"seeds": 0}, "seeds: got 0"),
        ({"reference": "VEA"}, r"reference: 'VEA' is no family; did you mean 'VAE'"),
        ({"families": {"VAE": {"model": {"latnet": 3}}}}, r"families.VAE: unknown key 'model.latnet'; did you mean 'latent'"),
        ({"families": {"VAE": {"objective": {"kind": "ebo"}}}}, r"objective.kind: 'ebo' is not known; did you mean 'elbo'"),
        ({"base": {"representation": {"kind": "log_stft"}}}, "needs no representation"),
        ({"base": {"train": 5}}, "families.VAE: train: got 5, expected settings"),
        ({"families": {"VAE": {"train": None}}}, "families.VAE: train: got None, expected settings"),
        ({"sources": ["a/x", "b/x"]}, "two cells would be named 'x.VAE.s0'"),
    ],
)  # fmt: skip
def test_mistakes_name_their_path(change, message):
    with pytest.raises(ConfigError, match=message):
        expand(changed(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expct": "same"}, r"axes.warm-up.expct'; did you mean 'expect'"),
        ({"measure": "frechett"}, "did you mean 'frechet'"),
        ({"expect": "more"}, "axes.warm-up.expect: got 'more'"),
        ({"otherwise": {"10 step": "same"}}, r"axes.warm-up.otherwise: '10 step' is no level; did you mean '10 steps'"),
        ({"reference": "10 steps"}, "axes.warm-up: '10 steps' is the reference and a value"),
        ({"families": ["VEA"]}, r"axes.warm-up.families: 'VEA' is no family"),
        ({"also": {"10 step": {}}}, r"axes.warm-up.also: '10 step' is no level; did you mean '10 steps'"),
        ({"also": {"10 steps": {"VEA": {}}}}, r"axes.warm-up.also.10 steps: 'VEA' is no family"),
        ({"values": {"x": {"model": {"latent": 0}}}}, "axes.warm-up.x of VAE: model.latent: got 0"),
        (
            {"values": {"x": {"model": {"likelihood": {"kind": "laplace"}}}}},
            "a measure that means the same at every level: 'x' changes .* its distortion can't be compared",
        ),
        ({"values": {"x": {"data": {"binarise": "none"}}}}, "a measure that means the same at every level"),
    ],
)
def test_mistakes_of_an_axis_name_their_path(change, message):
    axis = yaml.safe_load(TINY.read_text())["axes"]["warm-up"]
    with pytest.raises(ConfigError, match=message):
        expand(changed(axes={"warm-up": axis | change}))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (None, UsageError, "can't be read"),
        ("[1, 2]", ConfigError, "got list"),
        ("a: [", ConfigError, "is not YAML"),
        ("title: x\nfamilies:\n  VAE: {}\n  VAE: {a: 1}", ConfigError, r"the key 'VAE' stands there twice \(line 4\)"),
        (TINY.read_text().replace("images", "pictures"), ConfigError, "suite: got 'pictures'"),
    ],
)
def test_files_that_are_no_grid_are_refused(tmp_path, text, kind, message):
    path = tmp_path / "grid.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=message):
        load_grid(path)


def test_the_suite_must_be_the_one_asked_for():
    with pytest.raises(UsageError, match="is of the suite 'images', got 'notes'"):
        load_grid(TINY, suite="notes")


def test_parts_that_do_not_fit_are_found_before_anything_runs():
    grid = yaml.safe_load(TINY.read_text())
    grid["axes"]["warm-up"]["values"] = {"box": {"model": {"posterior": "uniform"}}}
    with pytest.raises(ConfigError, match=r"cell digits.VAE.warm-up-box.s0: .*needs prior.kind 'uniform'"):
        check_cells(expand(parse(GridConfig, grid)))
    with pytest.raises((UsageError, DataError), match="absent"):
        check_cells(load_grid(TINY, source="absent").cells)


def test_a_grid_is_written_whole():
    grid = load_grid(TINY)
    values = json.loads(json.dumps(grid.to_json()))
    assert isinstance(grid, Grid)
    assert [cell["name"] for cell in values["cells"]] == [cell.name for cell in grid.cells]
    assert values["axes"]["warm-up"]["expectation"] == "Nothing happens in thirty steps."
    assert values["cells"][0]["config"]["model"]["latent"] == 3


@pytest.mark.parametrize(
    ("text", "name"),
    [("WAE-MMD (RBF)", "WAE-MMD-RBF"), ("a/my notes", "my-notes"), ("c:\\x\\y", "y"), ("87.5 %", "87-5"), ("%", "x")],
)
def test_names_are_safe_in_files(text, name):
    assert slug(text) == name
