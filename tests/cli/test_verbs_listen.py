"""A tagger through the shell: trained on tones and noise, measured, listened with, looked into."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from typed import RATE, shell

TINY = (
    "representation.window=256", "representation.hop=64", "representation.bands=16", "window.length=24", "window.hop=12",
    "model.net.channels=[4, 6]", "model.net.dense=12", "train.max_steps=60", "train.batch_size=16", "train.threads=1",
    "train.learning_rate=0.01", "train.precision=32", "train.tensorboard=false", "train.validate_every=20",
    "source.sample_rate=8000", "data.pool_seconds=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Twenty sounds of two kinds in a table with folds."""
    root = tmp_path_factory.mktemp("kinds") / "kinds"
    root.mkdir()
    stream = np.random.default_rng(0)
    lines = ["path,tag,tags,fold,src_file"]
    t = np.arange(RATE // 2) / RATE
    for number in range(20):
        kind = ("hiss", "tone")[number % 2]
        tone = 0.3 * np.sin(2 * np.pi * (300 + 40 * number) * t)
        wave = tone + 0.01 * stream.standard_normal(len(t)) if number % 2 else 0.2 * stream.standard_normal(len(t))
        soundfile.write(root / f"{number:02d}.wav", wave, RATE)
        lines.append(f"{number:02d}.wav,{kind},{kind};sound,{number // 2 % 5 + 1},{number // 2}")
    (root / "metadata.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def tagger(sounds, drawn, tmp_path_factory):
    path = tmp_path_factory.mktemp("taggers") / "ears"
    sets = [word for one in (*TINY, "data.split.fold=2") for word in ("--set", one)]
    with drawn():
        assert shell("train", sounds, "--recipe", "tagger-chunk", "--run", path, *sets) == 0
    return path


def test_it_is_measured_on_its_fold(tagger, capsys):
    assert shell("evaluate", tagger, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["numbers"]["accuracy"]["value"] == found["numbers"]["macro_roc_auc"]["value"] == 1
    assert found["numbers"]["leakage_src_file"]["value"] == 0
    assert {name: row["sounds"] for name, row in found["tags"].items()} == {"hiss": 2, "tone": 2}
    assert sum(one["count"] for one in found["calibration"]) == 4
    assert shell("evaluate", tagger) == 0
    assert "hiss" in capsys.readouterr().out
    split = json.loads((tagger / "split.json").read_text())
    assert split["group"] == "fold 2, src_file"
    assert (tagger / "index.html").exists()
    assert shell("info", tagger) == 0
    assert "tagger over log_mel" in capsys.readouterr().out


def test_it_is_measured_on_other_sounds(tagger, sounds, folder, capsys):
    assert shell("evaluate", tagger, sounds, "--json") == 0
    assert json.loads(capsys.readouterr().out)["numbers"]["accuracy"]["value"] > 0.9
    assert shell("evaluate", tagger, folder) == 2
    assert "has no label 'tag' to compare with" in capsys.readouterr().err


def test_sounds_that_have_none_of_its_classes_are_passed_over(tagger, sounds, tmp_path, capsys):
    for name in ("00", "01", "02"):
        shutil.copy(sounds / f"{name}.wav", tmp_path)
    (tmp_path / "metadata.csv").write_text("path,tag\n00.wav,hiss\n01.wav,tone\n02.wav,;\n")
    assert shell("evaluate", tagger, tmp_path, "--json") == 0, capsys.readouterr().err
    assert sum(one["count"] for one in json.loads(capsys.readouterr().out)["calibration"]) == 2


def test_a_track_is_a_file_whatever_its_name(tagger, sounds, tmp_path, capsys):
    for name in ("00", "01"):
        shutil.copy(sounds / f"{name}.wav", tmp_path / f"note@{name}.wav")
    (tmp_path / "metadata.csv").write_text("path,tag\nnote@00.wav,hiss\nnote@01.wav,tone\n")
    assert shell("evaluate", tagger, tmp_path) == 0, capsys.readouterr().err
    assert "2 sounds, 2 tracks" in capsys.readouterr().out


def test_it_says_what_it_hears(tagger, sounds, capsys):
    assert shell("tag", tagger, sounds / "00.wav", sounds, "--json") == 0
    heard = json.loads(capsys.readouterr().out)
    assert len(heard) == 21
    assert max(heard[0]["tags"], key=heard[0]["tags"].get) == "hiss"
    assert heard[0]["segments"][0]["at"] == 0
    assert shell("tag", tagger, sounds / "01.wav") == 0
    assert capsys.readouterr().out.startswith("01: tone ")


def test_it_finds_what_is_alike(tagger, sounds, capsys):
    assert shell("find", tagger, sounds / "04.wav", "--count", 6, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0] == {"sound": "04", "score": pytest.approx(1, abs=1e-4)}
    assert sum(int(one["sound"]) % 2 == 0 for one in found) >= 5
    assert shell("find", tagger, "04", "--count", 1, "--json") == 0  # a clip of the run's own
    assert json.loads(capsys.readouterr().out) == found[:1]
    assert shell("find", tagger, "block2:1", sounds, "--count", 3) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_its_inside_is_heard_and_seen(tagger, sounds, tmp_path, capsys):
    assert shell("listen", tagger, sounds / "03.wav", "--out", tmp_path, "--layer", "block1", "--units", 2) == 0
    assert len(list(tmp_path.glob("03-block1-*.wav"))) == 2
    assert shell("listen", tagger, "03", "--out", tmp_path / "own", "--layer", "block1", "--units", 1) == 0
    assert len(list((tmp_path / "own").glob("03-block1-*.wav"))) == 1
    assert (tmp_path / "03-block1.png").read_bytes().startswith(b"\x89PNG")
    assert shell("listen", tagger, sounds / "03.wav", "--out", tmp_path, "--layer", "block1", "--units", 2) == 2
    assert "add --overwrite" in capsys.readouterr().err
    out = tmp_path / "tone.wav"
    assert shell("imagine", tagger, "tone", "--out", out, "--steps", 3, "--judge", tagger) == 0
    assert "p(tone) from" in capsys.readouterr().out
    facts = json.loads((tmp_path / "tone.json").read_text())
    assert len(facts["curve"]) == 3
    assert set(facts["judge"]) == {"hiss", "tone"}
    assert shell("imagine", tagger, "tune", "--out", tmp_path / "b.wav") == 2
    assert "knows no tag 'tune'; did you mean 'tone'" in capsys.readouterr().err


def test_other_runs_say_that_they_are_none(run, tagger, sounds, tmp_path, capsys):
    assert shell("tag", run, sounds / "00.wav") == 2
    assert "holds no tagger" in capsys.readouterr().err
    assert shell("reconstruct", tagger, sounds, "--out", tmp_path / "out") == 2
    assert "without a latent space; `tag`, `find`, `listen`, `imagine`, `eval" in capsys.readouterr().err
    assert shell("evaluate", tagger, "--samples", 5) == 2
