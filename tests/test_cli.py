"""The shell, as a person types it: every verb on a tiny run, and every mistake as one line."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from latentscape.cli import main

TINY = [
    "--set", "model.encoder.widths=[16]", "--set", "model.decoder.widths=[16]", "--set", "model.latent=3",
    "--set", "train.minutes=null", "--set", "train.max_steps=40", "--set", "train.batch_size=16",
    "--set", "train.threads=1", "--set", "train.precision=32", "--set", "data.pool_seconds=4", "--set", "train.tensorboard=false",
]  # fmt: skip
RATE = 8000


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder of short notes in sub-folders, one of them with a difficult name, and two files that are no sound."""
    root = tmp_path_factory.mktemp("sounds") / "my 'sounds' 🎺"
    t = np.arange(RATE // 2) / RATE
    for family, power in (("dull", 3), ("bright", 1)):
        (root / family).mkdir(parents=True)
        for number in range(6):
            f = 220 * 2 ** (number / 12)
            wave = sum(np.sin(2 * np.pi * k * f * t) / k**power for k in range(1, 6)) * 0.2 * np.exp(-3 * t)
            soundfile.write(root / family / f"{number:02d}.wav", wave, RATE)
    (root / "readme.txt").write_text("no sound")
    (root / "empty.wav").touch()
    return root


def shell(*arguments: object) -> int:
    """Run the shell in this process; return its exit code."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache-cli")


@pytest.fixture(autouse=True)
def _one_cache(cache, monkeypatch):
    monkeypatch.setenv("LATENTSCAPE_CACHE", str(cache))


@pytest.fixture(scope="session")
def run(folder, cache, tmp_path_factory) -> Path:
    """A finished tiny run, made by the shell."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    os.environ["LATENTSCAPE_CACHE"] = str(cache)
    assert shell("train", folder, "--recipe", "frames", "--run", path, *TINY) == 0
    return path


def test_a_run_folder_holds_all_that_is_promised(run):
    for name in ("run.json", "config.json", "weights.safetensors", "labels.json", "split.json", "metrics.jsonl",
                 "verdict.json", "map.json", "map.safetensors", "index.html", "checkpoint", "sounds/walk-circle.wav",
                 "pictures/learning-curves.png"):  # fmt: skip
        assert (run / name).exists(), name
    facts = json.loads((run / "run.json").read_text())
    assert facts["outcome"] == "finished"
    assert facts["steps"] == 40
    assert facts["format"] == 1
    assert facts["packages"]["torch"]
    assert not [p for p in run.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".ckpt")]


def test_doctor_names_what_is_left_out_and_a_recipe(folder, capsys):
    assert shell("doctor", folder) == 0
    text = capsys.readouterr().out
    assert "12 clips will be used" in text
    assert "empty.wav" in text
    assert "recipe: frames" in text
    assert shell("doctor", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 12


def test_info_and_evaluate_give_figures(run, capsys):
    assert shell("info", run) == 0
    assert "3 latents over log_stft" in capsys.readouterr().out
    assert shell("info", run, "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 40
    assert shell("evaluate", run, "--json", "--samples", 5) == 0
    numbers = json.loads(capsys.readouterr().out)["numbers"]
    assert numbers["lsd_features_model"]["unit"] == "dB"
    assert numbers["nll_5"]["value"] <= -numbers["elbo"]["value"] + 3 * numbers["nll_5_error"]["value"]
    assert numbers["lsd_features_ratio"]["value"] == pytest.approx(
        numbers["lsd_features_model"]["value"] / numbers["lsd_features_linear"]["value"]
    )


def test_evaluate_another_source(run, folder, capsys):
    assert shell("evaluate", run, folder / "dull") == 0
    assert "lsd_sound_model" in capsys.readouterr().out


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


def test_reconstruct_keeps_paths_lengths_and_never_overwrites(run, folder, tmp_path, capsys):
    out = tmp_path / "again"
    assert shell("reconstruct", run, folder, "--out", out) == 0
    made = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.wav"))
    assert made == sorted(f"{family}/{number:02d}.wav" for family in ("dull", "bright") for number in range(6))
    info = soundfile.info(out / "dull" / "00.wav")
    assert (info.frames, info.samplerate, info.subtype) == (RATE // 2, RATE, "PCM_24")
    before = (out / "dull" / "00.wav").stat().st_mtime_ns
    assert shell("reconstruct", run, folder, "--out", out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "dull" / "00.wav").stat().st_mtime_ns == before


def test_encode_then_decode_is_reconstruct(run, folder, tmp_path):
    codes, sounds, again = tmp_path / "codes", tmp_path / "sounds", tmp_path / "again"
    assert shell("encode", run, folder / "dull", "--out", codes) == 0
    z = np.load(codes / "03.npy", allow_pickle=False)
    assert z.shape[0] == 3
    assert json.loads((codes / "03.json").read_text())["samples"] == RATE // 2
    assert shell("decode", run, codes, "--out", sounds) == 0
    assert shell("reconstruct", run, folder / "dull", "--out", again) == 0
    first, second = (soundfile.read(path / "03.wav")[0] for path in (sounds, again))
    assert np.abs(first - second).max() < 1e-4


def test_walks_samples_and_morphs_have_the_length_asked_for(run, folder, tmp_path, capsys):
    for kind in (
        "traversal",
        "grid",
        "diagonal",
        "circle",
        "lissajous",
        "random-walk",
        "drift",
        "line",
        "spline",
        "triangle",
    ):
        target = tmp_path / f"{kind}.flac"
        assert shell("walk", run, "--kind", kind, "--seconds", 0.5, "--out", target) == 0, capsys.readouterr().err
        wave, rate = soundfile.read(target)
        assert (len(wave), rate) == (RATE // 2, RATE)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() > 0
    assert shell("sample", run, "--count", 2, "--seconds", 0.3, "--out", tmp_path / "s") == 0
    assert len(list((tmp_path / "s").glob("*.wav"))) == 2
    a, b = folder / "dull" / "00.wav", folder / "bright" / "05.wav"
    assert shell("morph", run, a, b, "--kind", "sphere", "--out", tmp_path / "m.wav") == 0
    assert soundfile.info(tmp_path / "m.wav").frames == RATE // 2


def test_walks_through_sounds_and_saved_paths(run, folder, tmp_path, capsys):
    a, b, c = (folder / name for name in ("dull/00.wav", "bright/05.wav", "dull/03.wav"))
    out, saved = tmp_path / "w.wav", tmp_path / "way.json"
    assert shell("walk", run, "--through", a, b, c, "--seconds", 0.5, "--save-path", saved, "--out", out) == 0
    about = json.loads(saved.read_text())
    assert (about["format"], about["dim"], about["path"]["kind"], len(about["path"]["points"])) == (1, 3, "spline", 3)
    assert "way.json: spline, 3 dimensions, 3 points" in capsys.readouterr().out
    again = tmp_path / "again.wav"
    assert shell("walk", run, "--path", saved, "--seconds", 0.5, "--out", again) == 0
    assert again.read_bytes() == out.read_bytes()
    assert shell("walk", run, "--through", a, "--save-path", saved, "--out", tmp_path / "new.wav") == 2  # it is there
    assert not (tmp_path / "new.wav").exists()
    assert shell("walk", run, "--through", a, "--save-path", saved, "--overwrite", "--out", again) == 0
    assert soundfile.info(again).frames == RATE // 2  # as long as the sound
    heard = tmp_path / "heard"
    assert shell("reconstruct", run, a.parent, "--out", heard) == 0
    first, second = (soundfile.read(path)[0] for path in (again, heard / "00.wav"))
    assert np.abs(first - second).max() < 1e-3
    moved = ("--through", "dull/00", "--onto", b, "--timing", c, "--save-path", saved, "--overwrite")
    assert shell("walk", run, *moved, "--out", again) == 0
    outer = json.loads(saved.read_text())["path"]
    assert (outer["kind"], outer["path"]["kind"], outer["path"]["path"]["kind"]) == ("retimed", "moved", "recorded")
    pace = ("--speed", "perceived", "--kind", "line", "--through", a, "--through", b, "--seconds", 0.3)
    assert shell("walk", run, *pace, "--out", again, "--overwrite") == 0
    assert shell("morph", run, a, b, "--kind", "geodesic", "--speed", "feature", "--out", again, "--overwrite") == 0


def test_the_same_seed_gives_the_same_sound(run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert (
            shell(
                "walk",
                run,
                "--kind",
                "random-walk",
                "--seconds",
                0.2,
                "--seed",
                seed,
                "--out",
                tmp_path / f"{name}.wav",
            )
            == 0
        )
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_train_on_an_existing_run_needs_a_word(run, folder, tmp_path, capsys):
    assert shell("train", folder, "--run", run, *TINY) == 2
    assert "--resume" in capsys.readouterr().err
    other = tmp_path / "holiday photos"
    other.mkdir()
    (other / "x.jpg").touch()
    assert shell("train", folder, "--run", other, "--overwrite", *TINY) == 2
    assert "is not a run" in capsys.readouterr().err
    assert (other / "x.jpg").exists()


def test_overwrite_keeps_the_old_run_beside(folder, tmp_path):
    path = tmp_path / "r"
    few = [*TINY, "--set", "train.max_steps=4"]
    for _ in range(3):
        assert shell("train", folder, "--run", path, "--overwrite", *few) == 0
    assert (tmp_path / "r.old" / "weights.safetensors").exists()
    assert (tmp_path / "r.old2" / "weights.safetensors").exists()


def test_a_model_with_conditions_is_told_labels(folder, tmp_path, capsys):
    path = tmp_path / "told"
    few = [*TINY, "--set", "model.condition=[folder]", "--set", "train.max_steps=150"]
    assert shell("train", folder, "--run", path, "--recipe", "frames", *few) == 0
    sounds = []
    for value in ("dull", "bright"):
        target = tmp_path / f"{value}.wav"
        assert shell("walk", path, "--seconds", 0.3, "--label", f"folder={value}", "--out", target) == 0
        sounds.append(soundfile.read(target)[0])
    assert np.abs(sounds[0] - sounds[1]).max() > 1e-3
    capsys.readouterr()
    assert shell("walk", path, "--label", "folder=brigt", "--out", tmp_path / "x.wav") == 2
    assert "did you mean 'bright'" in capsys.readouterr().err
    assert shell("walk", path, "--label", "folder", "--out", tmp_path / "x.wav") == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_a_recipe_may_be_a_file_of_ones_own(folder, tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "representation: {kind: log_stft, window: 64, hop: 16}\n"
        "model: {kind: autoencoder, latent: 3, encoder: {kind: mlp, widths: [8]}, decoder: {kind: mlp, widths: [8]}}\n"
        "train: {minutes: 5, batch_size: 16}\n"
    )
    path = tmp_path / "r"
    few = ["--set", "train.max_steps=4", "--set", "train.threads=1"]
    assert shell("train", folder, "--run", path, "--recipe", recipe, *few) == 0
    config = json.loads((path / "config.json").read_text())
    assert config["model"]["latent"] == 3
    assert config["train"]["minutes"] is None  # who asks for steps alone does not want the recipe's minutes
    assert json.loads((path / "run.json").read_text())["recipe"] == str(recipe)
    assert shell("recipes", recipe) == 0
    assert "log_stft" in capsys.readouterr().out
    assert shell("train", folder, "--run", path, "--resume", "--seed", 3) == 2
    assert "--seed was 0, got 3" in capsys.readouterr().err
    recipe.write_text("model: {kind: autoencoder, latnt: 3}\n")
    assert shell("train", folder, "--run", tmp_path / "n", "--recipe", recipe) == 2
    assert "did you mean 'latent'" in capsys.readouterr().err
    for text, message in (("model: {latent", "is not YAML"), ("- 3", "expected settings")):
        recipe.write_text(text)
        assert shell("train", folder, "--run", tmp_path / "n", "--recipe", recipe) == 2
        assert message in capsys.readouterr().err
    assert shell("train", folder, "--run", tmp_path / "n", "--recipe", tmp_path / "absent.yaml") == 2
    assert "can't be read" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_codes_that_were_cut_have_their_own_length(run, folder, tmp_path):
    assert shell("encode", run, folder / "bright" / "00.wav", "--out", tmp_path / "z") == 0
    (codes,) = (tmp_path / "z").rglob("*.npy")
    about = json.loads(codes.with_suffix(".json").read_text())
    assert shell("decode", run, tmp_path / "z", "--out", tmp_path / "a") == 0
    (sound,) = (tmp_path / "a").rglob("*.wav")
    assert soundfile.info(sound).frames == about["samples"]
    codes.with_suffix(".json").write_text(json.dumps(about | {"samples": 10**15}))
    assert shell("decode", run, tmp_path / "z", "--out", tmp_path / "b") == 0
    (sound,) = (tmp_path / "b").rglob("*.wav")
    assert abs(soundfile.info(sound).frames - about["samples"]) <= 2048


def test_a_second_stage_is_fitted_once_and_drawn_from(run, tmp_path, capsys):
    for name in ("a", "b"):
        assert (
            shell("sample", run, "--second-stage", "mixture", "--count", 2, "--seconds", 0.2, "--out", tmp_path / name)
            == 0
        )
    said = capsys.readouterr().err
    assert said.count("fitting the second stage") == 1
    assert (run / "second-stage-mixture.safetensors").exists()
    assert shell("sample", run, "--count", 2, "--seconds", 0.2, "--out", tmp_path / "c") == 0
    a, b, c = (soundfile.read(tmp_path / name / "sample000.wav")[0] for name in "abc")
    assert np.array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3
    assert shell("sample", run, "--second-stage", "mixtur", "--out", tmp_path / "d") == 2
    assert "did you mean 'mixture'" in capsys.readouterr().err
    assert shell("sample", run, "--second-stage", "mixture", "--temperature", 0.5, "--out", tmp_path / "d") == 2
    assert "no temperature" in capsys.readouterr().err


def test_two_processes_train_one_run(folder, tmp_path):
    path = tmp_path / "two"
    few = [*TINY, "--set", "train.max_steps=6", "--set", "train.log_every=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    rows = []
    for name, devices in (("two", "2"), ("one", "1")):
        path = tmp_path / name
        command = [sys.executable, "-m", "latentscape", "train", str(folder), "--run", str(path), "--recipe", "frames"]
        subprocess.run([*command, "--devices", devices, *few], check=True, env=environment, capture_output=True)
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        rows.append([row["loss"] for row in lines if row["part"] == "train"])
    assert rows[0] == pytest.approx(rows[1], rel=1e-5)
    assert (tmp_path / "two" / "index.html").exists()


@pytest.mark.parametrize("source", ["sounds", "digits"])
def test_tensorboard_gets_curves_sound_and_picture(folder, tmp_path, source):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = tmp_path / "board"
    more = ["--set", "train.tensorboard=true", "--set", "train.validate_every=2", "--set", "train.max_steps=10"]
    assert shell("train", folder if source == "sounds" else "digits", "--run", path, *TINY, *more) == 0
    events = EventAccumulator(str(path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "valid/loss"} <= set(tags["scalars"])
    assert tags["images"] == ["reconstruction"]
    assert tags["audio"] == (["reconstruction"] if source == "sounds" else [])


def test_images_train_and_show(tmp_path, capsys):
    path = tmp_path / "digits"
    small = ["--set", "model.encoder.widths=[16]", "--set", "model.decoder.widths=[16]", "--set", "model.latent=4",
             "--set", "train.minutes=null", "--set", "train.max_steps=20", "--set", "train.threads=1"]  # fmt: skip
    assert shell("train", "digits", "--run", path, *small) == 0
    assert (path / "pictures" / "samples.png").exists()
    capsys.readouterr()
    assert shell("sample", path, "--count", 5, "--out", tmp_path / "s") == 0
    assert (tmp_path / "s" / "samples.png").read_bytes()[:4] == b"\x89PNG"
    assert shell("walk", path, "--out", tmp_path / "w.wav") == 2
    assert "makes images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["doctor", "{tmp}/absent"], 2, "absent"),
        (["doctor", "{tmp}"], 1, "no sound"),
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
        (["morph", "{run}", "{tmp}/a.wav", "{tmp}/b.wav", "--out", "{tmp}/m.wav"], 1, "a.wav"),
        (["info", "{tmp}/absent"], 1, "is missing"),
        (["evaluate", "{run}", "--part", "tset"], 2, "tset"),
        (["evaluate", "{run}", "--paths", "--samples", "5"], 2, "leave SOURCE and options out"),
        (["evaluate", "{run}", "--pairs", "5"], 2, "go with --paths"),
        (["evaluate", "{run}", "--path", "nowhere.json"], 1, "nowhere.json"),
        (["data", "mnsit"], 2, "did you mean 'mnist'"),
        (["nonsense"], 2, "nonsense"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_with_the_right_code_and_write_nothing(run, tmp_path, capsys, arguments, code, message):
    places = {"tmp": str(tmp_path), "run": str(run)}
    assert shell(*(a.format(**places) for a in arguments)) == code
    caught = capsys.readouterr()
    assert message in caught.err
    assert "Traceback" not in caught.err
    assert "internal error" not in caught.err
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_run_resumes_to_the_same_weights(folder, cache, tmp_path):
    """Killed at some moment after its first checkpoint and resumed, a run ends with the weights of one never killed."""
    steps = ["--set", "train.max_steps=400", "--set", "train.checkpoint_every=20"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert shell("train", folder, "--run", whole, "--recipe", "frames", *TINY, *steps) == 0
    command = [
        sys.executable,
        "-m",
        "latentscape",
        "train",
        str(folder),
        "--run",
        str(killed),
        "--recipe",
        "frames",
        *TINY,
        *steps,
    ]
    environment = os.environ | {"LATENTSCAPE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = killed / "checkpoint" / "state.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert shell("train", folder, "--run", killed, "--resume") == 0
    assert (killed / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


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


def test_the_version_needs_no_verb(capsys):
    assert shell("--version") == 0
    assert capsys.readouterr().out.count(".") == 2


def test_what_set_says_wins_over_the_options(folder, tmp_path):
    few = [*TINY, "--set", "train.max_steps=2", "--set", "train.seed=7", "--set", "source.sample_rate=4000"]
    assert shell("train", folder, "--run", tmp_path / "r", *few) == 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert (config["train"]["seed"], config["representation"]["sample_rate"]) == (7, 4000)
    assert shell("train", folder, "--run", tmp_path / "r", "--resume") == 0


def test_a_refused_change_on_resume_leaves_the_run_as_it_was(run, folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    before = (copy / "config.json").read_bytes()
    assert shell("train", folder, "--run", copy, "--resume", "--set", "train.batch_size=8") == 2
    assert "train.batch_size" in capsys.readouterr().err
    assert (copy / "config.json").read_bytes() == before


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{}"])
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


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((3, 2), "a"), "real numbers"),
        (np.zeros((3, 2), complex), "real numbers"),
        (np.full((3, 2), 1e300), "finite"),
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


def test_the_doctor_writes_a_command_that_a_shell_understands(folder, tmp_path, capsys, monkeypatch):
    odd = tmp_path / "-it's"
    shutil.copytree(folder / "dull", odd)
    monkeypatch.chdir(tmp_path)
    assert shell("doctor", "--", odd.name) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[1:] == ["latentscape", "train", "./-it's", "--run", "runs/mine"]


def test_a_path_that_may_not_be_seen_is_no_internal_error(tmp_path, capsys, monkeypatch):
    def forbidden(self, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", forbidden)
    assert shell("train", "tones", "--run", tmp_path / "r") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Permission denied" in error
    assert "internal error" not in error


def test_ctrl_c_in_training_keeps_a_checkpoint_and_exits_with_130(folder, tmp_path, capsys, monkeypatch):
    from latentscape.train.learner import Learner

    update = Learner.update

    def pressed(self, step, *given):
        if step == 3:
            signal.raise_signal(signal.SIGINT)
        return update(self, step, *given)

    monkeypatch.setattr(Learner, "update", pressed)
    assert shell("train", folder, "--run", tmp_path / "r", *TINY) == 130
    caught = capsys.readouterr()
    assert "--resume goes on" in caught.out
    assert caught.err.endswith("latentscape: interrupted\n")
    assert (tmp_path / "r" / "checkpoint" / "state.safetensors").exists()
