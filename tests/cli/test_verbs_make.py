"""Making sound through the shell, on a tiny run."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from typed import RATE, TINY, shell

from latentscape.core.storage import load_tensors, save_json, save_tensors
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load
from latentscape.models.second_stage import MixtureStageConfig, fit_second_stage
from latentscape.signal.waveform import Waveform, WaveformConfig
from latentscape.workshop.making import Making, clips_of, own_sounds, write


def test_reconstruct_keeps_paths_lengths_and_never_overwrites(run, folder, tmp_path, capsys):
    out = tmp_path / "again"
    assert shell("reconstruct", run, folder, "--out", out) == 0
    made = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.wav"))
    assert made == sorted(f"{family}/{number:02d}.wav" for family in ("dull", "bright") for number in range(6))
    assert "left out: 'empty.wav' is empty" in capsys.readouterr().out
    info = soundfile.info(out / "dull" / "00.wav")
    assert (info.frames, info.samplerate, info.subtype) == (RATE // 2, RATE, "PCM_24")
    before = (out / "dull" / "00.wav").stat().st_mtime_ns
    assert shell("reconstruct", run, folder, "--out", out) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "dull" / "00.wav").stat().st_mtime_ns == before


def test_a_sound_that_is_cut_off_is_used_with_a_note(run, folder, tmp_path, capsys):
    given = sorted(folder.rglob("*.wav"))
    whole = next(path for path in given if path.stat().st_size > 1000)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[:-3000])
    assert shell("morph", run, whole, cut, "--out", tmp_path / "m.wav", "--seconds", 1) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "cut.wav is cut off: " in notes[0]
    assert notes[0].endswith("s are there; what is there is used")


def test_the_own_sounds_of_a_run_are_read_as_it_has_read_them(tmp_path):
    (tmp_path / "wide").mkdir()
    left, right = np.random.default_rng(0).normal(0, 0.1, (2, 4000)).astype(np.float32)
    soundfile.write(tmp_path / "wide" / "a.wav", np.stack((left, right), 1), RATE, subtype="FLOAT")
    save_json(tmp_path / "run.json", {"source": str(tmp_path / "wide")})
    save_json(tmp_path / "config.json", {"source": {"channels": "each"}})
    clips = dict(clips_of(own_sounds(tmp_path, Waveform(WaveformConfig(sample_rate=RATE)))))
    assert sorted(clips) == ["a#1", "a#2"]
    np.testing.assert_array_equal(clips["a#2"]()[0].numpy(), right)


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


def test_codes_of_other_weights_are_refused_unless_nothing_is_known_of_them(run, folder, tmp_path, capsys):
    codes, other = tmp_path / "codes", tmp_path / "other"
    assert shell("encode", run, folder / "dull", "--out", codes) == 0
    shutil.copytree(run, other)
    assert shell("decode", other, codes / "03.npy", "--out", tmp_path / "a.wav") == 0  # the same weights
    weights = load_tensors(other / "weights.safetensors")
    save_tensors(other / "weights.safetensors", {name: value + 1e-6 for name, value in weights.items()})
    capsys.readouterr()
    assert shell("decode", other, codes, "--out", tmp_path / "b") == 2
    assert "00.npy holds codes of 'tiny' with other weights than those of" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    (codes / "03.json").unlink()
    assert shell("decode", other, codes / "03.npy", "--out", tmp_path / "b") == 0


def test_a_clip_of_the_run_is_a_sound_by_its_name(run, tmp_path, capsys):
    ends = run, "dull/00", "bright/05"
    assert shell("morph", *ends, "--out", tmp_path / "m.wav") == 0, capsys.readouterr().err
    assert soundfile.info(tmp_path / "m.wav").frames == RATE // 2
    assert shell("refine", run, "dull/02", "--steps", 1, "--out", tmp_path / "r.wav") == 0
    assert shell("morph", run, "dull/00", "05", "--out", tmp_path / "n.wav") == 2
    assert "'05' is the last part of the names of 2 clips" in capsys.readouterr().err


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
    between = ("--weight", 0.5, "--layers", "1", "--overwrite", "--out", tmp_path / "m.wav")
    assert shell("morph", run, a, b, *between) == 0
    assert shell("morph", run, a, b, "--layers", "top", "--out", tmp_path / "n.wav") == 2
    assert "--layers got 'top'" in capsys.readouterr().err


def test_a_silent_draw_is_drawn_again(run, tmp_path, capsys, monkeypatch):
    own, asked = Instrument.sample, []

    def first_silent(self, n=1, seconds=2.0, *, seed=0, **way):
        asked.append((n, seed))
        made = own(self, n, seconds, seed=seed, **way)
        return torch.cat([0 * made[:1], made[1:]]) if n == 3 else made

    monkeypatch.setattr(Instrument, "sample", first_silent)
    assert shell("sample", run, "--count", 3, "--seconds", 0.5, "--out", tmp_path / "a") == 0
    said = capsys.readouterr().out.splitlines()
    assert ["all that is heard is silence" in line for line in said[-3:]] == [True, False, False]
    assert shell("sample", run, "--count", 3, "--seconds", 0.5, "--retries", 2, "--out", tmp_path / "b") == 0
    assert "sample000.wav: 0.50 s, drawn again once" in capsys.readouterr().out
    assert [n for n, _ in asked] == [3, 3, 1]
    assert np.abs(soundfile.read(tmp_path / "b" / "sample000.wav")[0]).max() > 0


def test_a_loop_goes_on_where_it_ends(run, tmp_path, capsys):
    target = tmp_path / "loop.wav"
    assert shell("walk", run, "--seconds", 0.5, "--loop", "--out", target) == 0, capsys.readouterr().err
    wave, _ = soundfile.read(target)
    assert len(wave) == RATE // 2
    assert np.abs(wave[:40]).max() > 0.1 * np.abs(wave).max()  # it does not fade in
    assert abs(wave[0] - wave[-1]) <= 2 * np.abs(np.diff(wave)).max()
    assert shell("walk", run, "--kind", "diagonal", "--loop", "--out", tmp_path / "open.wav") == 2
    assert "a diagonal does not end where it begins; circle, lissajous, random_walk, line" in capsys.readouterr().err
    saved = tmp_path / "open.json"
    assert shell("walk", run, "--kind", "spiral", "--out", tmp_path / "some.wav", "--save-path", saved) == 0
    capsys.readouterr()
    assert shell("walk", run, "--path", saved, "--speed", "latent", "--loop", "--out", tmp_path / "open.wav") == 2
    assert "spiral ends" in capsys.readouterr().err  # before it is paced, which takes a while
    assert not (tmp_path / "open.wav").exists()


def test_a_peak_that_is_asked_for_is_met_and_said(run, folder, tmp_path, capsys):
    """A model's sounds are often far below full scale, and a limit would be no help."""
    plain, loud = tmp_path / "plain.wav", tmp_path / "loud.wav"
    for target, more in ((plain, ()), (loud, ("--peak", -3))):
        assert shell("walk", run, "--seconds", 0.3, *more, "--out", target) == 0
    first, second = (np.abs(soundfile.read(path)[0]).max() for path in (plain, loud))
    assert 20 * np.log10(second) == pytest.approx(-3, abs=0.01)
    gain = 20 * np.log10(second / first)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"{loud}: 0.30 s, turned {'up' if gain > 0 else 'down'} by {abs(gain):.1f} dB"
    assert shell("reconstruct", run, folder / "dull", "--peak", -6, "--out", tmp_path / "again") == 0
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in (tmp_path / "again").glob("*.wav")]
    assert 20 * np.log10(peaks) == pytest.approx(-6, abs=0.01)
    assert shell("walk", run, "--peak", 0, "--out", tmp_path / "over.wav") == 2


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


def test_a_walk_begins_and_ends_in_silence_and_a_course_as_its_sound_does(run, tmp_path):
    out, edge = tmp_path / "w.wav", round(0.001 * RATE)

    def ends(*way):
        assert shell("walk", run, *way, "--overwrite", "--out", out) == 0
        wave = np.abs(soundfile.read(out)[0]) / np.abs(soundfile.read(out)[0]).max()
        return wave[:edge].max(), wave[-edge:].max()

    for way in (("--kind", "circle"), ("--kind", "line", "--speed", "latent")):
        assert max(ends(*way, "--seconds", 0.5)) < 0.03  # a held sound would click
    course = ends("--through", "dull/00")
    assert max(course) > 0.03
    assert ends("--through", "dull/00", "--timing", "dull/00")[0] > 0.03


def test_a_saved_course_keeps_its_time(run, folder, tmp_path):
    way, first, again = tmp_path / "way.json", tmp_path / "a.wav", tmp_path / "b.wav"
    assert shell("walk", run, "--through", folder / "dull" / "00.wav", "--save-path", way, "--out", first) == 0
    assert shell("walk", run, "--path", way, "--out", again) == 0
    assert first.read_bytes() == again.read_bytes()


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


def test_one_output_may_be_a_file_and_several_may_not(run, folder, tmp_path, capsys):
    target = tmp_path / "one.flac"
    assert shell("sample", run, "--count", 1, "--seconds", 0.2, "--out", target) == 0
    assert soundfile.info(target).frames > 1000
    assert shell("sample", run, "--count", 1, "--seconds", 0.2, "--out", target) == 2
    assert "exists; add --overwrite" in capsys.readouterr().err
    assert shell("sample", run, "--count", 2, "--seconds", 0.2, "--out", tmp_path / "two.wav") == 2
    assert "is the name of one file, but 2 are made; expected a folder" in capsys.readouterr().err
    assert shell("reconstruct", run, folder / "bright" / "00.wav", "--out", tmp_path / "again.wav") == 0
    assert shell("encode", run, folder / "bright" / "00.wav", "--out", tmp_path / "z.npy") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.wav", "one.flac", "z.json", "z.npy"]
    assert shell("encode", run, folder / "bright" / "01.wav", "--out", tmp_path / "z.npy", "--overwrite") == 0


def test_what_is_written_beside_a_sound_replaces_nothing_unasked(run, folder, tmp_path, capsys):
    given, mine = folder / "bright" / "00.wav", tmp_path / "mine.json"
    mine.write_text("mine")
    for verb, out, more in (("encode", "mine.npy", ()), ("refine", "mine.wav", ("--steps", 1))):
        assert shell(verb, run, given, "--out", tmp_path / out, *more) == 2
        assert "mine.json exists; add --overwrite" in capsys.readouterr().err
        assert (mine.read_text(), [*tmp_path.iterdir()]) == ("mine", [mine])


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


def test_a_run_has_its_name_also_where_it_is_the_folder_that_one_is_in(run, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(run)
    assert shell("encode", ".", folder / "dull" / "00.wav", "--out", tmp_path / "codes") == 0
    about = next((tmp_path / "codes").rglob("*.json"))
    assert json.loads(about.read_text())["run"] == "tiny"
    assert shell("evaluate", ".", "--part", "valid") == 0
    assert "tiny, valid part" in capsys.readouterr().out
    assert load(".").name == "tiny"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--temperature", 0.5], "no temperature and no layers"),
        (["--vary-layer", 1], "no temperature and no layers"),
        (["--nucleus", 0.5], "--nucleus is for models"),
        (["--out", "{there}"], "add --overwrite"),
        (["--label", "instrument=flute"], "is not known"),
    ],
)
def test_nothing_is_fitted_for_what_is_refused(run, tmp_path, capsys, more, said):
    """To fit a second stage takes longest of all."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "sample001.wav").touch()
    more = [str(word).format(there=there) for word in more]
    bare = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("second-stage-*"))
    assert shell("sample", bare, "--second-stage", "mixture", "--out", tmp_path / "s", *more) == 2
    assert said in (err := capsys.readouterr().err)
    assert "fitting" not in err
    assert not list(bare.glob("second-stage-*"))


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
    path = run / "second-stage-mixture.safetensors"
    kept = path.read_bytes()
    path.write_bytes(kept[:-20])
    assert shell("sample", run, "--second-stage", "mixture", "--out", tmp_path / "d") == 1
    assert "is damaged" in (said := capsys.readouterr().err)
    assert "remove it, and it is fitted anew" in said
    fit_second_stage(MixtureStageConfig(components=2), torch.randn(100, 5)).save(path)
    assert shell("sample", run, "--second-stage", "mixture", "--out", tmp_path / "d") == 1
    assert "has 5 dimensions, the model 3: it is of another run" in capsys.readouterr().err
    path.write_bytes(kept)
    assert shell("sample", run, "--second-stage", "mixtur", "--out", tmp_path / "d") == 2
    assert "did you mean 'mixture'" in capsys.readouterr().err
    assert shell("sample", run, "--second-stage", "mixture", "--temperature", 0.5, "--out", tmp_path / "d") == 2
    assert "no temperature" in capsys.readouterr().err


@pytest.mark.parametrize(("over", "said"), [(1.0001, ""), (2.0, ", turned down by 6.0 dB")])
def test_a_turn_of_no_tenth_of_a_dB_is_not_told(tmp_path, over, said):
    wave = torch.full((1, RATE), over * 10 ** (-1 / 20))
    target = tmp_path / "w.wav"
    assert write(target, wave, Waveform(WaveformConfig(sample_rate=RATE)), Making()) == f"{target}: 1.00 s{said}"


def test_what_is_not_finite_is_not_written_and_says_why(run, tmp_path, capsys):
    far = tmp_path / "far.json"
    far.write_text(json.dumps({"format": 1, "dim": 3, "path": {"kind": "line", "a": [0, 0, 0], "b": [9e5, 9e5, -9e5]}}))
    codes = np.full((3, 4), 1e6, np.float32)
    np.save(tmp_path / "codes.npy", codes)
    assert shell("walk", run, "--path", far, "--seconds", 0.1, "--out", tmp_path / "w.wav") == 1
    assert "not finite so far from the corpus" in capsys.readouterr().err
    assert not (tmp_path / "w.wav").exists()


def test_refine_writes_the_passes_and_what_was_measured(run, folder, tmp_path, capsys):
    given, out = folder / "dull" / "02.wav", tmp_path / "refined.wav"
    assert shell("refine", run, given, "--out", out, "--steps", 2, "--manner", "level") == 0, capsys.readouterr().err
    wave, rate = soundfile.read(out)
    assert rate == RATE
    assert len(wave) > RATE // 2
    measured = json.loads(out.with_suffix(".json").read_text())
    assert len(measured["passes"]) == 2
    assert len(measured["usual_held"]) == 2
    assert "passes in the corpus's 5 to 95 % range, of 2" in capsys.readouterr().out
    passes = tmp_path / "takes.v2"
    passes.mkdir()
    assert shell("refine", run, given, "--out", passes, "--steps", 2, "--temperature", 0.5, "--seed", 3) == 0
    assert {p.name for p in passes.iterdir()} == {"pass001.wav", "pass002.wav", "refined.wav", "refined.json"}
    for file in (out, *passes.glob("*.wav")):
        wave, _ = soundfile.read(file)
        assert wave[0] == wave[-1] == 0, f"{file.name} begins or ends with a click"
    assert shell("refine", run, given, "--out", out, "--steps", 2) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert shell("refine", run, given, "--out", tmp_path / "x.wav", "--manner", "driftt") == 2
    assert "driftt" in capsys.readouterr().err
