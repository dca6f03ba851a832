"""Pictures say what the arrays say: read back from the pixels and from matplotlib's own figures."""

import sys
import threading
from io import BytesIO

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from latentscape.core.errors import DataError
from latentscape.report import pictures
from latentscape.report.spectrum import FLOOR, envelope, spectrogram
from latentscape.report.style import CATEGORIES, DARK, LIGHT, SHAPES, category, continuous, png, shape, styled, svg

RNG = np.random.default_rng(0)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def share(data: bytes, colour: str) -> float:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float(np.mean(np.abs(pixels(data) - rgb).max(axis=2) < 6))


def rows(parts=("train", "valid")):
    return [{"step": s, "part": p, "rate": 5.0 + s, "loss": 1000.0 / (1 + s)} for p in parts for s in range(40)]


def test_spectrogram_of_a_sine_is_its_level_at_its_frequency():
    t = np.arange(16_000) / 16_000
    wave = 0.5 * np.sin(2 * np.pi * 1000 * t)[None]
    levels = spectrogram(wave, 16_000, 50, 512)
    assert levels.shape == (257, 50)
    assert np.all(levels[:, 5:45].argmax(axis=0) == 32)
    assert levels[32, 25] == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert levels.min() >= FLOOR - 1e-4
    assert spectrogram(np.zeros((2, 1), np.float32), 8_000, 3).max() == pytest.approx(FLOOR)


def test_envelope_bounds_every_stretch():
    wave = RNG.normal(size=(2, 1000))
    low, high = envelope(wave, 10)
    assert np.allclose(high, wave.max(axis=0).reshape(10, 100).max(axis=1))
    assert np.allclose(low, wave.min(axis=0).reshape(10, 100).min(axis=1))
    assert len(envelope(wave[:, :3], 10)[0]) == 3


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_learning_curves_show_both_parts_on_the_themes_paper(theme):
    image = pictures.learning_curves(rows(), {"rate": "rate (nats)", "loss": "loss (nats)", "none": "x"}, theme=theme)
    assert share(image, theme.paper) > 0.7
    assert share(image, category(1)) > 0.0005
    alone = pictures.learning_curves(rows(("valid",)), {"rate": "rate (nats)"}, theme=theme)
    assert pixels(alone).shape[0] < pixels(image).shape[0]
    assert share(pictures.learning_curves(rows(("train",)), {"rate": "rate (nats)"}), category(1)) == 0


def test_learning_curves_of_one_row_and_of_none():
    one = pictures.learning_curves([{"step": 0, "part": "valid", "loss": 1.0}], {"loss": "loss"})
    assert share(one, category(1)) > 0
    with pytest.raises(DataError, match=r"none of \['loss'\] is in the 0 rows"):
        pictures.learning_curves([], {"loss": "loss"})


def test_wild_first_steps_leave_the_picture_and_a_run_that_blows_up_does_not(monkeypatch):
    tops = []
    monkeypatch.setattr(pictures, "png", lambda figure: tops.append(figure.axes[0].get_ylim()[1]) or b"")
    calm = 1 + 10 * np.exp(-np.arange(100) / 20)
    for place in (0, -1):
        wild = calm.copy()
        wild[place] = 1e5
        shown = [{"step": step, "part": "train", "loss": value} for step, value in enumerate(wild)]
        pictures.learning_curves(shown, {"loss": "loss"})
    assert tops[0] < 20
    assert tops[1] > 1e5


def test_pair_is_on_equal_scales():
    loud = np.sin(np.arange(8000) * 0.3)[None].astype(np.float32)
    image = pictures.waveform_and_spectrogram({"original": loud, "quiet $x$": loud[:, :4000] * 0.01}, 8_000)
    half = pixels(image).shape[1] // 2
    colours = [share(_crop(image, left, left + half), category(k)) for k, left in enumerate((0, half))]
    assert colours[0] > 10 * max(colours[1], 1e-9)  # the quiet one is drawn quiet
    with pytest.raises(DataError, match="no sound"):
        pictures.waveform_and_spectrogram({}, 8_000)


def _crop(image: bytes, left: int, right: int) -> bytes:
    out = BytesIO()
    picture = Image.open(BytesIO(image))
    picture.crop((left, 0, right, picture.height)).save(out, "PNG")
    return out.getvalue()


def test_map_of_words_and_of_numbers():
    points = RNG.normal(size=(60, 2))
    words = pictures.latent_map(points, ["a", "b"] * 30, name="family", test=[True, False, False] * 20)
    assert share(words, category(0)) > 0.001
    assert share(words, category(1)) > 0.001
    plain = pictures.latent_map(points, np.full(60, np.nan), name="pitch")
    tested = pictures.latent_map(points, np.arange(60), name="pitch (MIDI)", test=[True] + [False] * 59)
    assert plain != tested
    every = pictures.latent_map(points, np.arange(60.0), test=[True] * 60)
    assert pixels(every).size


def test_rates_count_and_sort():
    values = np.array([0.0, 2.0, 0.01, 4.0])
    image = pictures.rates(values)
    assert share(image, category(2)) > 0.05
    assert share(pictures.rates(np.zeros(4)), category(2)) == 0
    assert pixels(pictures.rates(np.ones(40))).size


@pytest.mark.parametrize("channels", [(), (3,)])
def test_image_grid_shows_its_images(channels):
    images = np.zeros((2, 3, *channels, 8, 8))
    images[0] = 1.0
    image = pictures.image_grid(images, rows=["white", "black"], columns=list("abc"))
    brightness = pixels(image).mean(axis=2)
    height, width = brightness.shape
    assert brightness[int(0.4 * height), int(0.6 * width)] > 250
    assert brightness[int(0.75 * height), int(0.6 * width)] < 5
    assert pixels(pictures.image_grid(images)).shape != pixels(image).shape


def test_walk():
    path = np.stack([np.cos(np.linspace(0, 6, 50)), np.sin(np.linspace(0, 6, 50))], axis=1)
    wave = RNG.normal(size=(1, 9000)).astype(np.float32) * 0.1
    bare = pictures.walk(wave, 8_000, path)
    assert bare != pictures.walk(wave, 8_000, path, RNG.normal(size=(30, 2)), title="circle")
    assert pixels(bare).shape[1] > pixels(bare).shape[0]


def test_nothing_is_left_behind():
    """No pyplot, no changed settings, and pictures can be drawn in another thread."""
    before = dict(mpl.rcParams)
    done = []
    thread = threading.Thread(target=lambda: done.append(pictures.rates(np.ones(3))))
    thread.start()
    thread.join()
    assert done
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_svg_is_text_without_dates():
    def draw() -> str:
        with styled(LIGHT):
            figure = pictures.Figure(figsize=(2, 1))
            figure.subplots().plot([0, 1])
            return svg(figure)

    assert draw() == draw()
    assert "<svg" in draw()
    assert png is not svg


def test_colours_and_shapes_tell_categories_apart():
    pairs = [(category(k), shape(k)) for k in range(len(CATEGORIES) * len(SHAPES))]
    assert len(set(pairs)) == len(pairs)
    assert continuous(np.array([1.0, 2.0, 3.0]))[1] == continuous(np.array([0.0, 0.5, 1.0]))[1]
    assert continuous(np.array([np.nan, 1.0]))[0] == "#99949f"
    assert len(set(continuous(np.array([5.0, 5.0])))) == 1
    assert continuous(np.array([np.nan])) == ["#99949f"]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_contrast(theme):
    for colour in (theme.ink, theme.faint):
        assert contrast(colour, theme.paper) >= 4.5
    for colour in CATEGORIES:
        assert contrast(colour, theme.paper) >= 2.9


def contrast(a: str, b: str) -> float:
    """WCAG 2.1 contrast ratio."""

    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
