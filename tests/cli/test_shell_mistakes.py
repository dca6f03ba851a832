"""Every mistake is one line with the right exit code, and writes nothing; help tells all it should."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typed import shell

from latentscape import cli
from latentscape.core.errors import DataError, nearest
from latentscape.core.storage import load_tensors, save_tensors
from latentscape.signal.waveform import Waveform, WaveformConfig
from latentscape.workshop.making import read_sound


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["doctor", "{tmp}/absent"], 2, "absent"),
        (["doctor", "{tmp}"], 1, "no sound"),
        (["doctor", "tones", "--rate", "1000000000000"], 2, "sample_rate: got 1000000000000, expected less than or equal to"),
        (["train", "tones", "--run", "{tmp}/r", "--set", "source.sample_rate=0"], 2, "source.sample_rate: got 0, expected greater"),
        (["recipes", "frmes"], 2, "did you mean 'frames'"),
        (["train", "tones", "--run", "{tmp}/r", "--recipe", "fames"], 2, "did you mean 'frames'"),
        (["train", "tones", "--run", "{tmp}/r", "--set", "model.latnet=3"], 2, "'model.latnet'; did you mean 'latent'"),
        (["train", "tones", "--run", "{tmp}/r", "--set", "train.max_steps=many"], 2, "train.max_steps: got 'many'"),
        (["train", "tones", "--run", "{tmp}/r", "--set", "model.likelihood.kind=gausian"], 2, "did you mean 'gaussian'"),
        (["train", "tones", "--run", "{tmp}/r", "--recipe", "images"], 2, "holds sounds, but the recipe is for images"),
        (["train", "tones", "--run", "{tmp}/r", "--set", "model.likelihood={{kind: bernoulli}}"], 1, "bernoulli"),
        (["train", "tones", "--run", "{tmp}/r", "--resume"], 2, "holds no run to resume"),
        (["walk", "{tmp}/r", "--out", "{tmp}/w.wav"], 1, "not a run folder"),
        (["walk", "{run}", "--out", "{tmp}/w.mp7"], 2, ".mp7"),
        (["walk", "{run}", "--kind", "cirle", "--out", "{tmp}/w.wav"], 2, "did you mean 'circle'"),
        (["walk", "{run}", "--axes", "0,9", "--out", "{tmp}/w.wav"], 2, "axis 9"),
        (["walk", "{run}", "--quality", "bets", "--out", "{tmp}/w.wav"], 2, "did you mean 'best'"),
        (["walk", "{run}", "--speed", "percieved", "--out", "{tmp}/w.wav"], 2, "did you mean 'perceived'"),
        (["walk", "{run}", "--through", "dul/00", "--out", "{tmp}/w.wav"], 2, "did you mean 'dull/00'"),
        (["walk", "{run}", "--through", "00", "--out", "{tmp}/w.wav"], 2, "'00' is the last part of the names of 2 clips"),
        (["walk", "{run}", "--axes", "1,1", "--out", "{tmp}/w.wav"], 2, "got axes [1, 1], expected different ones"),
        (["walk", "{run}", "--label", "midi=60", "--out", "{tmp}/w.wav"], 2, "this model takes none"),
        (["walk", "{run}", "circle", "--out", "{tmp}/w.wav"], 2, "after one --through"),
        (["walk", "{run}", "--kind", "circle", "--through", "dull/00", "--out", "{tmp}/w.wav"], 2, "through no given points"),
        (["walk", "{run}", "--kind", "recorded", "--out", "{tmp}/w.wav"], 2, "the course of one sound"),
        (["walk", "{run}", "--onto", "dull/00", "--out", "{tmp}/w.wav"], 2, "--onto carries"),
        (["walk", "{run}", "--timing", "dull/00", "--speed", "latent", "--out", "{tmp}/w.wav"], 2, "both say how fast"),
        (["walk", "{run}", "--path", "{tmp}/none.json", "--out", "{tmp}/w.wav"], 1, "none.json is missing"),
        (["walk", "{run}", "--path", "{tmp}/none.json", "--kind", "line", "--out", "{tmp}/w.wav"], 2, "leave --kind"),
        (["walk", "{run}", "--axes", "brigtness,0", "--out", "{tmp}/w.wav"], 2, "axis 'brigtness' is not known"),
        (["morph", "{run}", "{run}/sounds/walk-circle.wav", "{run}/sounds/walk-circle.wav", "--kind", "lin", "--out", "{tmp}/m.wav"], 2, "did you mean 'line'"),
        (["decode", "{run}", "{tmp}/none.npy", "--out", "{tmp}/o"], 1, "missing"),
        (["morph", "{run}", "{tmp}/a.wav", "{tmp}/b.wav", "--out", "{tmp}/m.wav"], 2, "a.wav' is neither a file nor a clip of"),
        (["walk", "{run}", "--seconds", "1e12", "--out", "{tmp}/w.wav"], 2, "less than or equal to 21600"),
        (["walk", "{run}", "--seconds", "inf", "--out", "{tmp}/w.wav"], 2, "less than or equal to 21600"),
        (["sample", "{run}", "--seconds", "1e12", "--out", "{tmp}/o"], 2, "less than or equal to 21600"),
        (["sample", "{run}", "--temperature", "1e300", "--out", "{tmp}/o"], 2, "'1e300', expected a number from 0 to 1000"),
        (["walk", "{run}", "--radius", "1e6", "--out", "{tmp}/w.wav"], 2, "less than or equal to 1000"),
        (["walk", "{run}", "--kind", "", "--out", "{tmp}/w.wav"], 2, "--kind got ''; known:"),
        (["walk", "{run}", "--axes", "", "--out", "{tmp}/w.wav"], 2, "--axes got ''"),
        (["walk", "{run}", "--axes", "-1,0", "--out", "{tmp}/w.wav"], 2, "axis -1 does not exist, expected 0 to 2"),
        (["walk", "{run}", "--kind", "line", "--turns", "3", "--out", "{tmp}/w.wav"], 2, "--turns means nothing to --kind line"),
        (["walk", "{run}", "--kind", "drift", "--turns", "1", "--out", "{tmp}/w.wav"], 2, "--turns means nothing"),
        (["walk", "{run}", "--kind", "spline", "--radius", "2", "--out", "{tmp}/w.wav"], 2, "--radius means nothing"),
        (["walk", "{run}", "--path", "{tmp}/none.json", "--radius", "3", "--out", "{tmp}/w.wav"], 2, "--radius means nothing to a saved path"),
        (["walk", "{run}", "--save-path", "{tmp}/../{name}/w.wav", "--out", "{tmp}/w.wav"], 2, "--out and --save-path are both"),
        (["walk", "{run}", "--save-path", "{tmp}", "--overwrite", "--out", "{tmp}/w.wav"], 2, "is a folder"),
        (["walk", "{run}", "--save-path", "/proc/no.json", "--seconds", "0.1", "--out", "{tmp}/w.wav"], 1, "could not write /proc/no.json"),
        (["walk", "{run}/run.json", "--out", "{tmp}/w.wav"], 1, "is not a run folder: it is a file"),
        (["walk", "{tmp}", "--out", "{tmp}/w.wav"], 1, "is not a run folder"),
        (["info", "{tmp}/absent"], 1, "is not a run folder: there is no such folder"),
        (["info", "{run}/run.json"], 1, "is not a run folder: it is a file"),
        (["evaluate", "{run}", "--part", "tset"], 2, "tset"),
        (["evaluate", "{run}", "--paths", "--samples", "5"], 2, "leave SOURCE and options out"),
        (["evaluate", "{run}", "--paths", "--latent-use"], 2, "leave SOURCE and options out"),
        (["evaluate", "{run}", "--path", "way.json", "--path", "other/way.json"], 2, "--path got two files named 'way'"),
        (["evaluate", "{run}", "--pairs", "5"], 2, "go with --paths"),
        (["evaluate", "{run}", "--items", "5"], 2, "--items goes with --samples"),
        (["evaluate", "{run}", "--path", "nowhere.json"], 1, "nowhere.json"),
        (["data", "mnsit"], 2, "did you mean 'mnist'"),
        (["nonsense"], 2, "nonsense"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_with_the_right_code_and_write_nothing(run, tmp_path, capsys, arguments, code, message):
    places = {"tmp": str(tmp_path), "run": str(run), "name": tmp_path.name}
    assert shell(*(a.format(**places) for a in arguments)) == code
    caught = capsys.readouterr()
    assert message in caught.err
    assert "Traceback" not in caught.err
    assert "internal error" not in caught.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_known_is_not_answered_with_a_thousand():
    text = nearest("zzz", [f"clip{number}" for number in range(1000)])
    assert len(text) < 500
    assert text.endswith("and 960 more")


def test_every_default_is_told_in_the_help(capsys, monkeypatch):
    """What stands in brackets in a help text is taken for markup, and left out."""
    monkeypatch.setenv("COLUMNS", "200")
    told = {
        "play": ["8137, or the next one free"],
        "walk": ["10, or that of the sound", "(2)", "(1, of a spiral 3)"],
        "morph": ["that of the longer sound"],
        "train": ["what fits", "the corpus's commonest"],
        "evaluate": ["the run's own test part", "(16)"],
        "benchmark": ["what the grid says", "the cores"],
        "refine": ["the manner's"],
        "inpaint": ["the first one is the likeliest"],
    }
    for verb, defaults in told.items():
        assert shell(verb, "--help") == 0
        shown = " ".join(capsys.readouterr().out.split())
        for default in defaults:
            assert default in shown, (verb, default)


def test_no_help_text_holds_brackets_that_vanish():
    for file in Path(cli.__file__).parent.glob("*.py"):
        assert not re.findall(r'help="[^"]*\[', file.read_text(encoding="utf-8")), file


def test_a_page_needs_all_its_files():
    """Every kind of file that the page of `play` has is packed."""
    import tomllib

    from latentscape.play.server import page_files

    packed = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    kinds = packed["tool"]["setuptools"]["package-data"]["latentscape"]
    assert {f"**/*{path.suffix}" for path in page_files().values()} <= set(kinds)


@pytest.mark.parametrize("damage", ["missing", "corrupt", "shape", "newer"])
def test_a_damaged_run_is_refused(run, tmp_path, capsys, damage):
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    weights = broken / "weights.safetensors"
    match damage:
        case "missing":
            weights.unlink()
        case "corrupt":
            weights.write_bytes(weights.read_bytes()[:100])
        case "shape":
            tensors = load_file(weights)
            name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
            save_file(tensors | {name: tensors[name][:1].copy()}, weights)
        case "newer":
            facts = json.loads((broken / "run.json").read_text())
            (broken / "run.json").write_text(json.dumps(facts | {"format": 99}))
    assert shell("walk", broken, "--seconds", 0.1, "--out", tmp_path / "w.wav") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "broken" in error
    assert not (tmp_path / "w.wav").exists()


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from latentscape.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'librosa', 'matplotlib', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "{folder}", "--run", "{tmp}/r", "--set", "train=3"], 2, "train: got 3"),
        (["train", "{folder}", "--run", "{tmp}/r", "--set", "source.rate=3"], 2, "'source.rate'"),
        (["train", "{tmp}/absent", "--run", "{tmp}/r", "--recipe", "frames", "--set", "trian.x=1"], 2, "'trian'"),
        (["train", "{folder}", "--run", "{tmp}/r", "--set", "model.encoder.widths=[0]"], 2, "widths.0: got 0"),
        (["train", "{folder}", "--run", "{tmp}/r", "--devices", "3"], 2, "can't be shared evenly"),
        (["train", "{folder}", "--run", "{tmp}/r", "--bad"], 2, "No such option: --bad"),
        (["train"], 2, "Missing argument"),
        (["walk", "{run}", "--out", "{tmp}/w.wav", "--seconds", "nan"], 2, "--seconds"),
        (["walk", "{run}", "--out", "{tmp}/w.wav", "--device", "cpu:x"], 2, "device 'cpu:x'"),
        (["evaluate", "{run}", "digits"], 2, "digits holds images"),
        (["doctor", "{tmp}/a\nb"], 2, "a b"),
        (["doctor", ""], 2, "source is empty"),
    ],
)
def test_hostile_words_are_one_line_and_write_nothing(run, folder, tmp_path, capsys, arguments, code, message):
    places = {"tmp": str(tmp_path), "run": str(run), "folder": str(folder)}
    assert shell(*(a.format(**places) for a in arguments)) == code
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if not line.startswith(("recipe: ", "12 clips", "2 files are left"))
    ]
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert lines[0].startswith("latentscape: ")
    assert "internal error" not in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_json_is_json_and_nothing_steers_the_terminal(run, tmp_path, capsys):
    """NaN of a figure is null; an escape in a title is shown as one, in lines, in JSON and in an error."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    facts, verdict = (json.loads((copy / f"{name}.json").read_text()) for name in ("run", "verdict"))
    (copy / "run.json").write_text(json.dumps(facts | {"source": "a\x1b]0;owned\x07\u009b2J", "best": float("inf")}))
    name = next(iter(verdict["figures"]["numbers"]))
    verdict["figures"]["numbers"][name]["value"] = float("nan")
    (copy / "verdict.json").write_text(json.dumps(verdict))
    assert shell("info", copy, "--json") == 0
    out = capsys.readouterr().out
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["verdict"]["figures"]["numbers"][name]["value"] is None
    assert (found["best"], found["source"]) == (None, "a\x1b]0;owned\x07\u009b2J")
    assert shell("info", copy) == 0
    out += capsys.readouterr().out
    assert "learnt from a\\u001b]0;owned\\u0007\\u009b2J" in out
    assert shell("info", tmp_path / "\x1b[31m") == 1
    out += capsys.readouterr().err
    assert not set(out) & {"\x1b", "\x07", "\u009b"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("a=1", "a=2"), "two values for 'a', '1' and '2'"), (("=3",), "expected NAME=VALUE")],
)
def test_a_label_has_one_value(run, tmp_path, capsys, labels, message):
    told = [word for label in labels for word in ("--label", label)]
    assert shell("sample", run, "--out", tmp_path / "s", *told) == 2
    assert message in capsys.readouterr().err


def test_a_place_that_cant_be_written_to_is_refused_before_the_source_is_read(folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    assert shell("train", folder, "--run", tmp_path / "file" / "r") == 1
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert shell("train", folder, "--run", tmp_path / "deep" / "r") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{tmp_path} can't be written to" in error
    assert not (tmp_path / "deep").exists()


def test_a_path_goes_with_the_run_that_it_was_made_with(run, tmp_path, capsys):
    assert shell("walk", run, "--seconds", "0.2", "--out", tmp_path / "a.wav", "--save-path", tmp_path / "p.json") == 0
    assert shell("walk", run, "--path", tmp_path / "p.json", "--seconds", "0.2", "--out", tmp_path / "b.wav") == 0
    other = tmp_path / "other"
    shutil.copytree(run, other)
    tensors = load_tensors(other / "weights.safetensors")
    save_tensors(other / "weights.safetensors", {name: tensor + 1 for name, tensor in tensors.items()})
    capsys.readouterr()
    assert shell("walk", other, "--path", tmp_path / "p.json", "--out", tmp_path / "c.wav") == 2
    assert f"a path of '{run.name}' with other weights" in capsys.readouterr().err
    assert not (tmp_path / "c.wav").exists()


def test_the_version_needs_no_verb(capsys):
    assert shell("--version") == 0
    assert capsys.readouterr().out.count(".") == 2


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{}", '{"lines": 5, "figures": {}}'])
@pytest.mark.parametrize("file", ["run.json", "split.json", "verdict.json", "map.json", "config.json"])
def test_json_of_another_shape_is_a_damaged_file(run, folder, tmp_path, capsys, file, text):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / file).write_text(text)
    verb = ("train", folder, "--run", copy, "--resume") if file == "split.json" else ("info", copy)
    assert shell(*verb) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "internal error" not in error
    assert "copy" in error


@pytest.mark.parametrize(("verb", "fact"), [("info", "seconds"), ("evaluate", "source")])
def test_a_fact_of_another_kind_is_a_damaged_file(run, tmp_path, capsys, verb, fact):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    facts = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(facts | {fact: ["soon"]}))
    assert shell(verb, copy) == 1
    assert f"run.json is damaged: got {fact} ['soon']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run.json", '"seconds": {}'),
        ("verdict.json", '"lines": [], "figures": {{"numbers": {{"elbo": {{"value": {}, "unit": ""}}}}}}'),
    ],
)
def test_a_number_without_end_is_a_damaged_file(run, tmp_path, capsys, file, text):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    facts = json.loads((copy / file).read_text())
    new = json.loads("{" + text.format("9" * 400) + "}")
    (copy / file).write_text(json.dumps(facts | new))
    assert shell("info", copy) == 1
    assert f"{file} is damaged" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((3, 2), "a"), "real numbers"),
        (np.zeros((3, 2), complex), "real numbers"),
        (np.full((3, 2), 1e300), "finite"),
        (np.where(np.eye(3) * [0, 0, 1], np.nan, 0.0), "z.npy holds nan at [2, 2], expected finite codes of float32"),
        (np.zeros((2, 3)), "expected finite codes [3, t]"),
    ],
)
def test_codes_that_are_none_are_refused(run, tmp_path, capsys, codes, message):
    np.save(tmp_path / "z.npy", codes)
    assert shell("decode", run, tmp_path / "z.npy", "--out", tmp_path / "o") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "o").exists()


def test_codes_are_never_unpickled_nor_believed_about_their_size(run, tmp_path, capsys):
    np.save(tmp_path / "pickled.npy", np.array([print], dtype=object), allow_pickle=True)
    np.save(tmp_path / "bomb.npy", np.zeros((3, 20)))
    raw = (tmp_path / "bomb.npy").read_bytes()
    (tmp_path / "bomb.npy").write_bytes(raw[:128].replace(b"(3, 20)", b"(3, 99999999999999)"))
    with open(tmp_path / "several.npy", "wb") as file:
        np.savez(file, a=np.zeros(3))
    np.save(tmp_path / "long.npy", np.zeros((3, 20)))
    (tmp_path / "long.json").write_text('{"samples": "abc"}')
    for name in ("pickled", "bomb", "several", "long"):
        assert shell("decode", run, tmp_path / f"{name}.npy", "--out", tmp_path / "o") == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert name in error
        assert "internal error" not in error


def test_a_path_that_may_not_be_seen_is_no_internal_error(tmp_path, capsys, monkeypatch):
    def forbidden(self, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", forbidden)
    assert shell("train", "tones", "--run", tmp_path / "r") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Permission denied" in error
    assert "internal error" not in error


@pytest.mark.parametrize(
    ("sample", "message"),
    [(np.nan, "NaN or infinite samples"), (np.inf, "NaN or"), (1e30, "samples beyond all levels")],
)
def test_a_sound_that_is_given_is_held_to_what_a_folder_is(tmp_path, sample, message):
    wave = np.zeros(100)
    wave[50] = sample
    soundfile.write(tmp_path / "odd.wav", wave, 8000, subtype="FLOAT")
    with pytest.raises(DataError, match=f"odd.wav holds {message}"):
        read_sound(tmp_path / "odd.wav", Waveform(WaveformConfig(sample_rate=8000)))
