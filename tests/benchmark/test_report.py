"""The report: whatever is missing, it is written, and says so; in a browser it stands."""

import json
import re
import shutil
from io import BytesIO

import numpy as np
import pytest
from made_up import AXES, SOUND, TRUTH, write
from PIL import Image

from latentscape.benchmark.report import compose, write_report
from latentscape.benchmark.results import load_results
from latentscape.report import Commands, Compare, Gallery, Map, Picture, Sound, Table, Text
from latentscape.report.markdown import markdown, plain
from latentscape.signal import audio


def furnish(results):
    """Give cells pictures, curves, and what ran them."""
    out = BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(out, format="PNG")
    for cell in results.done:
        folder = results.folder(cell)
        (folder / "pictures").mkdir()
        for name in ("samples", "reconstructions", "interpolations-line", "traversals", "map-train", "map-test"):
            (folder / "pictures" / f"{name}.png").write_bytes(out.getvalue())
        rows = [{"step": s, "part": "valid", "distortion": 100 / s} for s in (1, 10, 20)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
        facts = {"device": "cpu", "threads": 1, "machine": "x86_64", "packages": {"torch": "2.13.0"}}
        (folder / "run.json").write_text(json.dumps(facts))
        if results.grid.suite == "notes":
            (folder / "sounds").mkdir()
            wave = np.sin(np.arange(4000) / 10).astype(np.float32)[None] / 2
            for name in ("original-1", "reconstruction-1", "sample-1", "walk"):
                audio.write(folder / "sounds" / f"{name}.wav", wave, 22_050)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    shifts = {("warm-up", "1000 steps", "VAE"): {"frechet": -8.0}}
    failed, missing = ("mnist.AE.s1",), ("mnist.AE.s2",)
    sources = ("mnist", "fashion-mnist")
    results = write(out, shifts=shifts, failed=failed, missing=missing, sources=sources, ceilings={"frechet": 1.0})
    furnish(results)
    pages = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentscape.benchmark.report.compose", lambda *given: pages.append(compose(*given)) or pages[-1])
        write_report(out)
    return out, pages[0]


def test_both_forms_say_the_same(whole):
    text = (whole[0] / "report.md").read_text()
    page = (whole[0] / "index.html").read_text()
    for sentence in (
        "measures on mnist, WAE-MMD is best",
        "The effect is VAE's alone.",
        "Expected. Warm-up keeps latents alive, so the samples get better.",
        "The grid is not finished: 1 of 18 cells have not run. 1 cell failed, see below.",
        "WAE-MMD is better in reconstruction, samples and samples with a mixture; worse in match to the prior",
        "the loss was not finite",
        "K = 100 on 1,000 items",
        "cpu, x86_64, 1 thread",
        "5,000 steps, at most 5 min a cell",
        "mnist, dynamic binarisation",
    ):
        assert sentence in text.replace("\\", ""), sentence
        assert sentence.replace("'", "&#x27;") in page, sentence


def test_pictures_are_linked_and_there(whole):
    text = (whole[0] / "report.md").read_text()
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", text)
    assert len(links) > 30
    assert all((whole[0] / link.replace("%20", " ")).is_file() for link in links)
    assert "cells/mnist.WAE-MMD.s0/pictures/samples.png" in links
    assert "pictures/effect-warm-up.png" in links


def test_sections(whole):
    page = whole[1]
    assert [section.title for section in page.sections] == [
        "The answer",
        "What was compared",
        "Families on mnist",
        "Families on fashion-mnist",
        "Do the Wasserstein auto-encoder's promises hold?",
        "What each setting does",
        "Do they rank alike?",
        "Side by side",
        "How they learnt",
        "Cost",
        "Failures",
        "What is measured",
    ]
    shown = next(section for section in page.sections if section.title == "Side by side")
    first = shown.items[0]
    assert isinstance(first, Gallery)
    assert [picture.title for picture in first.pictures] == ["VAE", "WAE-MMD", "AE", "beta-VAE"]
    assert page.facts[0] == ("16 of 18", "cells finished, 1 failed")


def test_sounds_and_another_benchmark(tmp_path, whole, monkeypatch):
    truth = {name: TRUTH[name] for name in ("mmd", "frechet", "seconds_train")} | SOUND
    results = write(tmp_path, truth=truth, suite="notes", sources=("notes",), axes={})
    furnish(results)
    monkeypatch.setattr("latentscape.benchmark.charts.png", lambda figure: b"\x89PNG")
    write_report(tmp_path, whole[0])
    text = (tmp_path / "report.md").read_text()
    assert "Do notes and images rank alike?" in text
    assert "sound here, reconstruction there" in text
    page = compose(load_results(tmp_path), load_results(whole[0]))
    sounds = next(section for section in page.sections if section.title == "Sounds")
    assert isinstance(sounds.items[0], Compare)
    assert [sound.title for sound in sounds.items[0].sounds] == ["original", "VAE", "WAE-MMD", "AE", "beta-VAE"]
    assert "cells/notes.VAE.s0/sounds/walk.wav" in text


@pytest.mark.parametrize(
    "options",
    [
        {"seeds": 1},
        {"seeds": 1, "replicates": 0, "axes": AXES},
        {"families": ("VAE",), "axes": {}},
        {"truth": {"mse": TRUTH["mse"]}},
        {"missing": [f"mnist.{f}.s{s}" for f in ("VAE", "WAE-MMD", "AE", "beta-VAE") for s in range(3)]},
        {"failed": [f"mnist.{f}.s{s}" for f in ("VAE", "WAE-MMD", "AE", "beta-VAE") for s in range(3)]},
        {"truth": {}},
    ],
)
def test_what_is_missing_is_named(tmp_path, options, monkeypatch):
    monkeypatch.setattr("latentscape.benchmark.charts.png", lambda figure: b"\x89PNG")  # how it looks is seen above
    write(tmp_path, **options)
    write_report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "nan" not in text.replace("nant", "")
    if options.get("seeds") == 1:
        assert "one seed" in text
    if "replicates" in options:
        assert "not known" in text
    if "missing" in options:
        assert "have not run" in text
        assert "Nothing can be ranked yet" in text


def test_markdown_is_safe():
    page = compose_page(
        Text("a *b* | c\n\n<d>", title="t_"),
        Table("", ("x", "y"), (("a|b", 1.0),), best=frozenset({(0, 1)}), near=frozenset({(0, 0)})),
        Picture("p", b"", file="a b(c).png"),
        Picture("q", b""),
        Sound("s", np.zeros((1, 9), np.float32), 9, "heard", "s.wav"),
        Sound("o", np.zeros((1, 9), np.float32), 9, "", "sounds/50% of #1?.wav"),
        Commands("c", ("ls",)),
        Map("m", np.zeros((1, 2)), ("n",), ("l",), caption="where"),
    )
    text = markdown(page)
    assert "### t\\_\n\na \\*b\\* \\| c\n\n\\<d\\>" in text
    assert "| *a\\|b* | **1.0** |" in text
    assert "![p](a%20b%28c%29.png)" in text
    assert "(q)" in text
    assert "[s](s.wav): heard" in text
    assert "[o](sounds/50%25%20of%20%231%3F.wav)" in text
    assert "```sh\nls\n```" in text
    assert "**m**\n\nwhere" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# 1 of 3", "\\# 1 of 3"),
        ("## 1", "\\## 1"),
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("---", "\\---"),
        ("1. a", "1\\. a"),
        ("12) a", "12\\) a"),
        ("~a~ &amp;", "\\~a\\~ \\&amp;"),
        ("-0.5 dB, +3 - 2", "-0.5 dB, +3 - 2"),
        ("1.5 s", "1.5 s"),
        ("#1", "#1"),
        ("", ""),
    ],
    ids=["head", "deeper", "dash", "plus", "line", "number", "bracket", "struck", "level", "time", "hash", "empty"],
)
def test_markdown_shows_words_as_they_are(text, expected):
    assert plain(text) == expected


def compose_page(*items):
    from latentscape.report import Page, Section

    return Page("title", sections=(Section("s", items),))


CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_nothing_runs_out_of_the_page(whole, width):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except sync_api.Error as error:
            pytest.skip(f"Chromium does not start: {error.message.splitlines()[0]}")
        page = browser.new_page(viewport={"width": width, "height": 900})
        wrong = []
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto((whole[0] / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
        beside = page.evaluate(
            "(() => { const [a, b] = document.querySelectorAll('.gallery .picture');"
            "return a.getBoundingClientRect().top === b.getBoundingClientRect().top; })()"
        )
        assert beside
        browser.close()
        assert wrong == []
