"""The benchmark of restyling on sounds of a second."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from latentscape.benchmark import BenchmarkRequest, BenchmarkSummary, restyle, run_benchmark
from latentscape.benchmark.restyle import Asked, asked_of, effect_error, run_restyling
from latentscape.benchmark.restyle_pairs import Pair, processed, sounds_of
from latentscape.benchmark.restyle_report import met, write_restyle_report
from latentscape.core.errors import UsageError

RATE = 8000
PAIRS = (Pair("c", "s"), Pair("c", "s", chain=True), Pair("", "long"))


def voice(pitch: float, seconds: float = 1.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 6)) * (0.05 + 0.1 * (np.sin(14 * t) > 0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    clips = tmp_path_factory.mktemp("clips")
    noise = np.random.default_rng(0).normal(size=2 * RATE)
    sounds = {
        "c": voice(150),
        "s": 0.05 * np.diff(noise[: RATE + 1]),
        "long": 0.05 * np.convolve(noise, np.ones(12) / 12, "same"),
    }
    for name, wave in sounds.items():
        soundfile.write(clips / f"{name}.flac", wave, RATE)
    asked = Asked(tmp_path_factory.mktemp("out"), clips, ("transport", "tagger"), {}, PAIRS)
    return asked, run_restyling(asked, lambda line: None)


def test_every_cell_is_made_once_and_a_failure_is_tried_again(made):
    asked, tally = made
    assert len(tally.done) == 10  # two controls and a method each, of a texture two seeds
    assert [name.partition("--tagger")[2] for name in tally.failed] == ["", "", "", "--s1"]
    for line in BenchmarkSummary(asked.out, failed=tally.failed).lines()[1:]:
        log = Path(line.partition("(see ")[2].rstrip(")"))  # what the shell points to is there
        assert "needs --run" in log.read_text()
    assert len(list((asked.out / "controls").glob("*.json"))) == 1
    again = run_restyling(asked, lambda line: None)
    assert (again.done, again.kept, len(again.failed)) == ((), tally.done, 4)


def test_a_cell_of_other_settings_is_refused(made):
    asked, _ = made
    place = asked.out / "cells" / "c--s--transport.json"
    whole = place.read_text()
    row = json.loads(whole)
    place.write_text(json.dumps(row | {"asked": row["asked"] | {"run": "other"}}))
    with pytest.raises(UsageError, match="other settings"):
        run_restyling(asked, lambda line: None)
    place.write_text(whole)


def test_a_run_that_was_trained_anew_is_another_setting(made, tmp_path):
    asked, _ = made
    known = replace(asked, out=tmp_path / "out", runs={"tagger": tmp_path}, pairs=PAIRS[:1])
    seen = []
    for weights in (b"first", b"second"):
        (tmp_path / "weights.safetensors").write_bytes(weights)
        settings = restyle._settings(known, PAIRS[0], "tagger", 0)
        assert restyle._settings(known, PAIRS[0], "tagger", 0) == settings
        seen.append(settings)
    assert seen[0] != seen[1]
    assert "weights" not in restyle._settings(known, PAIRS[0], "transport", 0)


def test_a_folder_of_something_else_is_left_alone(made, tmp_path):
    for file, words in (("thesis.txt", "is not a benchmark"), ("grid.json", "is not a benchmark")):
        (tmp_path / file).write_text("{}")
        with pytest.raises(UsageError, match=words):
            run_restyling(replace(made[0], out=tmp_path), lambda line: None)
    (tmp_path / "cells").mkdir()
    with pytest.raises(UsageError, match="of another suite"):
        run_restyling(replace(made[0], out=tmp_path), lambda line: None)
    assert {one.name for one in tmp_path.iterdir()} == {"thesis.txt", "grid.json", "cells"}


def test_judges_of_pairs_chains_and_textures(made):
    asked, _ = made
    rows = {p.stem: json.loads(p.read_text()) for p in (asked.out / "cells").glob("*.json")}
    assert rows["c--s--transport"]["style"]["random"] < rows["c--s--filtered"]["style"]["random"] < 1
    assert {"effect", "as_true"} <= rows["c--s-processed--transport"].keys()
    texture = rows["texture--long--transport"]
    assert texture["other"] < 0.5
    assert "content" not in texture
    assert rows["texture--long--other-half"]["other"] == pytest.approx(0, abs=1e-6)


def test_the_error_in_effect_is_nothing_for_the_truth_and_one_for_the_content(made):
    asked, _ = made
    sounds = sounds_of(asked.clips, PAIRS[1])
    content, truth = (torch.from_numpy(np.asarray(one[0])).float() for one in (sounds.content, sounds.truth))
    assert effect_error(truth, content, truth) == 0
    assert effect_error(content, content, truth) == 1
    power = np.abs(np.fft.rfft(processed(np.random.default_rng(1).normal(size=(1, RATE)), RATE)[0])) ** 2
    assert power[:100].mean() < 0.4 * power[500:3000].mean()


def test_the_page_says_what_it_comes_to(made):
    asked, _ = made
    page = write_restyle_report(asked.out, asked.clips, PAIRS)
    text = (asked.out / "report.md").read_text()
    assert page.stat().st_size > 50_000
    assert "1 method reaches a mean style distance" in text or "methods reach a mean style distance" in text
    assert "Of 2 pairs: transport on" not in text  # the chain is no pair of sounds
    assert "Of 1 pair: transport on" in text
    assert "Controls at equal content similarity" in text
    assert "tagger: " in text
    assert "unseen half" in text
    assert "error in effect" in text
    good = {"style": {"random": 0.2}, "content": 0.7, "noisier": -2.0}
    assert met(good)
    assert not any(met(good | worse) for worse in ({"style": {"random": 0.4}}, {"content": 0.4}, {"noisier": -4.0}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ("tagger",)}, "--run tagger=RUN"),
        ({"runs": ("transport=x",)}, "METHOD=RUN"),
        ({"pairs": ("tests",)}, "did you mean 'test'"),
        ({"source": "nowhere"}, "is not there"),
        ({"quick": True}, "no grid"),
        ({"report_only": True}, "holds no benchmark"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        run_benchmark(BenchmarkRequest("restyle", tmp_path, **({"source": str(tmp_path)} | options)), print)


def test_runs_and_methods_go_with_restyle_alone(tmp_path):
    with pytest.raises(UsageError, match="benchmark restyle"):
        run_benchmark(BenchmarkRequest("images", tmp_path, methods=("texture",)), print)
    with pytest.raises(UsageError, match="--run wavenet=RUN"):
        asked_of(tmp_path, tmp_path, ("wavenet",), ())
