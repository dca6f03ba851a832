"""What a cell draws: pictures that hold what they should, and sounds."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from latentscape.benchmark import pictures
from latentscape.benchmark.charts import curves_of, learning_chart
from latentscape.benchmark.pictures import between, draw_cell, draw_map, spectrograms, tiles, traversals, ways
from latentscape.data.corpus import SourceOptions
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.experiment.config import fit_to, resolve
from latentscape.experiment.joined import gather, join
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.signal import audio


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGBA"))


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(pictures, "MAP_CLIPS", 12)
    monkeypatch.setattr(pictures, "WALK_SECONDS", 2.0)


def drawn(tmp_path, source, recipe, *sets):
    """Draw a cell with an untrained model."""
    corpus = open_source(source, SourceOptions())
    small = ("model.latent=3", "model.encoder.widths=[8]", "model.decoder.widths=[8]")
    config = fit_to(resolve(recipe, (*small, *sets), {}), corpus)
    prepared = join(gather(config, corpus, split_corpus(corpus, seed=0)))
    instrument = Instrument(prepared.model, getattr(prepared.examples, "representation", None), config.window)
    with prepared.examples as examples:
        draw_cell(tmp_path, instrument, examples)
        return examples, {path.stem: path for path in (tmp_path / "pictures").iterdir()}


def test_images(tmp_path):
    examples, found = drawn(tmp_path, "digits", "images")
    names = {"samples", "reconstructions", "interpolations-line", "interpolations-sphere", "traversals"}
    assert set(found) == names | {"map-train", "map-test"}
    assert all(path.stat().st_size < 60_000 for path in found.values())
    assert pixels(found["samples"].read_bytes()).shape == (8 * 18 - 2, 8 * 18 - 2, 4)
    assert pixels(found["traversals"].read_bytes()).shape == (3 * 18 - 2, 26 + 11 * 18 - 2, 4)
    # an original stands above its reconstruction, an item at the end of its way
    x = next(iter(examples.held("test", 30, 30)))[0][0, 0].numpy()
    shown = pixels(found["reconstructions"].read_bytes())[:16:2, :16:2, 0] / 255
    assert np.abs(shown - x).max() < 0.1
    x = next(iter(examples.held("test", 8, 8)))[0][4, 0].numpy()
    shown = pixels(found["interpolations-line"].read_bytes())[:16:2, -16::2, 0] / 255
    assert np.abs(shown - x).max() < 0.1


@pytest.mark.parametrize(("count", "shape"), [(150, (2 * 18 - 2, 10 * 18 - 2)), (50, (2 * 18 - 2, 5 * 18 - 2))])
def test_few_test_images_are_shown_as_far_as_they_go(tmp_path, count, shape):
    grey = np.random.default_rng(0).integers(0, 255, (count, 8, 8), np.uint8)
    (tmp_path / "some").mkdir()
    for number, one in enumerate(grey):
        Image.fromarray(one).save(tmp_path / "some" / f"{number:03d}.png")
    examples, found = drawn(tmp_path, str(tmp_path / "some"), "images")
    assert len(examples.split.parts["test"].rows) == count // 10
    assert pixels(found["reconstructions"].read_bytes()).shape[:2] == shape
    pairs = min(4, count // 20)
    assert pixels(found["interpolations-line"].read_bytes()).shape[:2] == (pairs * 18 - 2, 10 * 18 - 2)


@pytest.mark.no_cover  # heavy, and others run most of its lines
def test_sounds(tmp_path):
    found = drawn(tmp_path, "tones", "demo")[1]
    names = {"samples", "reconstructions", "interpolations-line", "interpolations-sphere", "traversals", "walk"}
    assert names < set(found)
    assert any(name.startswith("map-train") for name in found)
    assert any(name.startswith("map-test") for name in found)
    assert all(path.stat().st_size < 120_000 for path in found.values())
    heard = {path.stem for path in (tmp_path / "sounds").iterdir()}
    assert {"sample-1", "sample-4", "original-1", "reconstruction-1", "walk"} < heard
    wave, rate = audio.read(tmp_path / "sounds" / "walk.wav")
    assert wave.shape == (1, 2 * rate)
    original, _ = audio.read(tmp_path / "sounds" / "original-1.wav")
    again, _ = audio.read(tmp_path / "sounds" / "reconstruction-1.wav")
    assert original.shape == again.shape


def test_raw_windows_are_shown_as_their_sound(tmp_path):
    found = drawn(tmp_path, "sines", "sines")[1]
    assert pixels(found["traversals"].read_bytes())[..., :3].std() > 10


def test_ways_meet_their_ends():
    a, b, centre = torch.randn(3, 4, 5).unbind()
    for kind in ("line", "sphere"):
        z = between(a, b, 7, kind, centre[0])
        assert z.shape == (4, 7, 5)
        torch.testing.assert_close(z[:, 0], a)
        torch.testing.assert_close(z[:, -1], b)
    radius = (between(a, b, 7, "sphere", centre[0]) - centre[0]).norm(dim=-1)
    torch.testing.assert_close(radius[:, 3], (radius[:, 0] + radius[:, -1]) / 2)
    for path in ways(a[0], b[0], centre[0]).values():
        torch.testing.assert_close(path.start, a[0])
        torch.testing.assert_close(path.end, b[0])


def test_traversals_begin_with_the_widest_axis():
    codes = torch.randn(500, 3) * torch.tensor([1.0, 5.0, 2.0])
    axes, z = traversals(latent_map(codes), 5)
    assert axes == [1, 2, 0]
    assert z.shape == (3, 5, 3)
    torch.testing.assert_close(z[0, 4, 1] - z[0, 0, 1], 6 * latent_map(codes).deviation[1])
    assert (z[0, :, 0] == z[0, 0, 0]).all()


def test_tiles_keep_colours_and_gaps():
    red = torch.zeros(2, 3, 3, 8, 8)
    red[:, :, 0] = 1
    shown = pixels(tiles(red, every=1))
    assert shown.shape == (2 * 18 - 2 + 6, 3 * 18 - 2, 4)
    assert shown[0, 0].tolist() == [255, 0, 0, 255]
    assert shown[0, 16, 3] == 0
    assert pixels(tiles(torch.rand(1, 1, 1, 80, 80))).shape[:2] == (80, 80)


@pytest.mark.parametrize(
    "labels",
    [np.array(["0", "1", "10"] * 20), np.array(["bassoon", "oboe"] * 30), np.linspace(30, 90, 60), np.full(60, "item")],
)
def test_maps(labels):
    points = np.random.default_rng(0).normal(size=(60, 3))
    data = draw_map(points, labels, "midi")
    shown = pixels(data)
    assert (shown[0, 0] == [shown[0, 0, 0]] * 3 + [0]).all() or shown[0, 0, 3] == 0  # no paper
    assert (shown[..., 3] > 0).mean() > 0.02
    assert draw_map(points[:, :1], labels, "midi") != data


def test_spectrograms_share_their_scale():
    t = np.arange(22_050) / 22_050
    loud = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None]
    one = pixels(spectrograms({"a": loud, "b": loud * 1e-3, "c": loud}, 22_050))
    light = np.where(one[..., 3] == 255, one[..., :3].astype(int).sum(-1), 0)[30 : len(one) // 2 - 30]
    assert light[:, 70:260].max() > light[:, 300:480].max() + 50


def test_curves(tmp_path):
    lines = ['{"step": 1, "part": "valid", "distortion": 3.0}', '{"step": 2, "part": "valid", "distortion": 2.0}']
    (tmp_path / "metrics.jsonl").write_text(
        "\n".join([*lines, '{"step": 2, "part": "train", "distortion": 1}', '{"st'])
    )
    found = curves_of(tmp_path)
    assert found["distortion"].tolist() == [[1, 3], [2, 2]]
    assert curves_of(tmp_path / "none") == {}
    assert pixels(learning_chart({"VAE": [found, found], "AE": []})).std() > 5
    assert learning_chart({}).startswith(b"\x89PNG")
