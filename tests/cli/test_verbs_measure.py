"""Measuring through the shell, on a tiny run."""

import json
import shlex
import shutil

import numpy as np
import pytest
import soundfile
from typed import shell

from latentscape.core.storage import load_json


def test_doctor_names_what_is_left_out_and_a_recipe(folder, capsys):
    assert shell("doctor", folder) == 0
    text = capsys.readouterr().out
    assert "12 clips will be used" in text
    assert "empty.wav" in text
    assert "recipe: frames" in text
    assert shell("doctor", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 12


def test_the_doctor_writes_a_command_that_a_shell_understands(folder, tmp_path, capsys, monkeypatch):
    odd = tmp_path / "-it's"
    shutil.copytree(folder / "dull", odd)
    monkeypatch.chdir(tmp_path)
    assert shell("doctor", "--", odd.name) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[1:] == ["latentscape", "train", "./-it's", "--run", "runs/mine"]
    ways = ("--rate", "16000", "--labels", "{instrument} {note}", "--channels", "each")
    assert shell("doctor", *ways, "--", odd.name) == 0
    assert shlex.split(capsys.readouterr().out.splitlines()[-1])[6:] == list(ways)


def test_info_and_evaluate_give_figures(run, capsys):
    assert shell("info", run) == 0
    assert "3 latents over log_stft at 8000 Hz" in capsys.readouterr().out
    assert shell("info", run, "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 40
    assert shell("evaluate", run, "--json", "--samples", 5) == 0
    numbers = json.loads(capsys.readouterr().out)["numbers"]
    assert numbers["lsd_features_model"]["unit"] == "dB"
    assert numbers["nll_5"]["value"] <= -numbers["elbo"]["value"] + 3 * numbers["nll_5_error"]["value"]
    assert numbers["lsd_features_ratio"]["value"] == pytest.approx(
        numbers["lsd_features_model"]["value"] / numbers["lsd_features_linear"]["value"]
    )


def test_a_run_that_is_worse_than_linear_is_not_called_good(run):
    verdict, page = load_json(run / "verdict.json"), (run / "index.html").read_text()
    ratio = verdict["figures"]["numbers"]["lsd_features_ratio"]["value"]
    assert ratio > 1  # forty steps
    assert f"Worse than linear: {ratio:.2f} of the spectral error of PCA" in " ".join(verdict["lines"])
    assert 'class="text warning"' in page
    assert 'class="text good"' not in page


def test_a_likelihood_of_the_first_items_alone(run, capsys):
    assert shell("evaluate", run, "--json", "--samples", 5, "--items", 1) == 0
    assert json.loads(capsys.readouterr().out)["numbers"]["nll_5_error"]["value"] == 0  # there is no spread of one


def test_evaluate_another_source(run, folder, capsys):
    assert shell("evaluate", run, folder) == 0
    text = capsys.readouterr().out
    assert "lsd_sound_model" in text
    assert text.splitlines()[-1].startswith("left out: 'empty.wav' is empty")
    assert shell("evaluate", run, folder, "--part", "train") == 2  # all of it is measured, whatever is said
    assert "--part is of the run's own sounds" in capsys.readouterr().err


def test_what_a_linear_model_gives_back_exactly_has_no_ratio(run, tmp_path, capsys):
    soundfile.write(tmp_path / "a few samples.wav", np.full(5, 1e-4), 8000)  # as sound all of it is below the floor
    assert shell("evaluate", run, tmp_path, "--json") == 0
    numbers = json.loads(capsys.readouterr().out)["numbers"]
    assert numbers["lsd_sound_linear"]["value"] == 0
    assert "lsd_sound_ratio" not in numbers
    assert numbers["lsd_features_ratio"]["value"] > 0


@pytest.mark.no_cover  # heavy, and others run most of its lines
def test_evaluate_listens_to_paths(run, tmp_path, capsys):
    line = tmp_path / "mine.json"
    line.write_text(json.dumps({"format": 1, "dim": 3, "path": {"kind": "line", "a": [0, 0, 0], "b": [1, 0, -1]}}))
    assert shell("evaluate", run, "--path", line, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["kind"]: row for row in found["rows"]}
    assert set(rows) == {"held-out sounds", "reconstructed", "mine"}
    assert rows["mine"]["numbers"]["variation"]["unit"] == "deviations/s"
    assert shell("evaluate", run, "--paths", "--pairs", 1) == 0
    text = capsys.readouterr().out
    for kind in ("line (1)", "sphere (1)", "circle (1)", "random_walk (4)", "range 5-95", "monotone"):
        assert kind in text
