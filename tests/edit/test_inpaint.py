"""Filling in a sound, from arrays and from the shell: nothing outside the gaps changes, ever."""

import numpy as np
import pytest
import soundfile

from latentscape.cli import main
from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import numpy_stream
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.gaps import Gap
from latentscape.edit.hole import Filler
from latentscape.edit.inpaint import fillers, inpaint
from latentscape.edit.linear_prediction import LinearPrediction
from latentscape.edit.repair import Repair, repair

RATE = 8000


class Drawn(Filler):
    """Noise in the channels' level, and a note of the holes it saw."""

    name = "latent"
    draws = True

    def __init__(self):
        self.holes = []

    def can(self, hole):
        return hole.left.shape[1] > 100

    def fill(self, hole, seed=None):
        self.holes.append(hole)
        return 0.1 * numpy_stream("drawn", seed or 0).normal(size=(hole.channels, hole.count))


def tune(n=RATE, channels=1):
    t = np.arange(n) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 40 * c) * t) for c in range(channels)]) + 0.001


def ways():
    return {"linear": LinearPrediction(), "copy": CopyContext(), "latent": Drawn()}


def test_auto_takes_what_suits_the_length_and_what_is_there():
    gaps = [Gap(0, 1000), Gap(2000, 2700), Gap(4000, 5000)]
    found = inpaint(tune(), RATE, gaps, ways=ways())
    assert found.methods == ("copy", "linear", "latent")  # the first has too little on its left for this model
    assert inpaint(tune(), RATE, gaps).methods == ("copy", "linear", "copy")


@pytest.mark.parametrize(("peak", "loudest"), [(0.3, 0.6), (0.8, 1.0), (3.0, 3.0)])
def test_an_answer_far_louder_than_the_sound_is_turned_down(monkeypatch, peak, loudest):
    monkeypatch.setattr(Drawn, "fill", lambda self, hole, seed=None: 50.0 * tune(hole.count))
    wave, gaps = peak / 0.301 * tune(), [Gap(2000, 3000)]
    found = inpaint(wave, RATE, gaps, method="latent", ways=ways())
    assert np.abs(found.wave[:, 2100:2900]).max() == pytest.approx(loudest, rel=0.01)
    assert found.gains == pytest.approx((loudest / (50 * 0.301),), rel=0.01)
    soft = inpaint(wave, RATE, gaps, method="copy", ways=ways())
    assert soft.gains == (1.0,)


def test_a_short_clipped_peak_may_rise_above_full_scale(monkeypatch):
    monkeypatch.setattr(Drawn, "fill", lambda self, hole, seed=None: 5.0 * tune(hole.count))
    gaps = [Gap(2000, 2100), Gap(4000, 5000)]
    found = inpaint(0.99 / 0.301 * tune(), RATE, gaps, method="latent", ways=ways())
    assert found.gains[0] == 1.0
    assert found.gains[1] < 0.7


def test_what_was_turned_down_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(CopyContext, "fill", lambda self, hole, seed=None: 20.0 * tune(hole.count))
    soundfile.write(tmp_path / "in.wav", tune()[0], RATE)
    (line,) = repair(tmp_path / "in.wav", tmp_path / "out.wav", Repair(gaps=("0.25:0.375",), method="copy"))
    assert line.endswith("filled 0.250-0.375 s by copy (too loud, turned down by 20.0 dB)")


def test_outside_the_gaps_every_sample_stays_and_damage_inside_is_not_looked_at():
    wave = tune(channels=2)
    wave[:, 3000:3100] = np.nan
    gaps = [Gap(3000, 3100), Gap(3200, 3300), Gap(RATE - 50, RATE + 400)]
    found = inpaint(wave, RATE, gaps)
    assert found.wave.shape == (2, RATE + 400)
    assert np.isfinite(found.wave).all()
    outside = np.ones(RATE, bool)
    for gap in gaps:
        outside[gap.start : gap.end] = False
    assert np.array_equal(found.wave[:, :RATE][:, outside], wave[:, outside])
    truth = tune(RATE + 400, 2)
    for gap in gaps:
        error = found.wave[:, gap.start : gap.end] - truth[:, gap.start : gap.end]
        assert np.abs(error).max() < 0.05
    with pytest.raises(DataError, match=r"NaN or infinity at 0.3750 s"):
        inpaint(wave, RATE, gaps[1:])


def test_short_gaps_come_first_and_then_are_context_but_open_gaps_are_not():
    used = ways()
    inpaint(tune(), RATE, [Gap(2000, 4000), Gap(4100, 4150), Gap(6000, 7000)], method="latent", ways=used)
    small, middle, long = used["latent"].holes
    assert (small.count, middle.count, long.count) == (50, 1000, 2000)
    assert small.left.shape[1] == 100
    assert middle.left.shape[1] == 2000
    assert middle.left[0, 149] != 0.0
    assert long.right.shape[1] == 4000


def test_methods_that_are_not_there_are_refused():
    for method, said in (
        ("latent", "needs a run of single"),
        ("hierarchy", "conditional hierarchy"),
        ("lin", "linear"),
    ):
        with pytest.raises(UsageError, match=said):
            inpaint(tune(), RATE, [Gap(10, 20)], method=method)
    assert set(fillers()) == {"linear", "copy"}
    with pytest.raises(DataError, match="whole sound is missing"):
        inpaint(tune(), RATE, [Gap(0, RATE)])


def shell(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in ("inpaint", *arguments)])
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out, out.err


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "my sound 🎺.flac"
    soundfile.write(path, tune(channels=2).T, RATE, subtype="PCM_24")
    return path


def test_the_shell_fills_gaps_of_all_sorts(sound, tmp_path, capsys):
    listed = tmp_path / "gaps.csv"
    listed.write_text("0.7,0.72\n")
    target = tmp_path / "out.flac"
    code, out, _ = shell(capsys, "-", sound, "--gap", "0.2:0.4", "--gap", ":0.02", "--gaps", listed, "-o", target)
    assert code == 0
    assert out == f"{target}: filled 0.000-0.020 s by linear, 0.200-0.400 s by copy, 0.700-0.720 s by linear\n"
    before, after = (soundfile.read(path, dtype="int32")[0] for path in (sound, target))
    info = soundfile.info(target)
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 2, "PCM_24")
    changed = np.flatnonzero((before != after).any(1))
    inside = np.concatenate([np.arange(0, 160), np.arange(1600, 3200), np.arange(5600, 5760)])
    assert np.isin(changed, inside).all()
    assert len(changed) > 200


def test_the_shell_finds_damage_and_says_where_there_is_none(sound, tmp_path, capsys):
    wave, _ = soundfile.read(sound)
    wave[3000:3100] = 0
    damaged = tmp_path / "damaged.wav"
    soundfile.write(damaged, wave, RATE, subtype="PCM_16")
    code, out, _ = shell(capsys, damaged, "--find", "silent", "-o", tmp_path / "folder")
    assert code == 0
    assert "found 1 silent" in out
    assert soundfile.read(tmp_path / "folder" / "damaged.wav")[0][3000:3100].std() > 0.1
    code, out, _ = shell(capsys, sound, "--find", "silent", "-o", tmp_path / "none.wav")
    assert code == 0
    assert "nothing to fill in" in out
    assert not (tmp_path / "none.wav").exists()


def test_mistakes_are_one_line_and_leave_nothing(sound, tmp_path, capsys):
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    out = tmp_path / "out.wav"
    gap = ("--gap", "0.2:0.4")
    for arguments, code, said in (
        ((sound, "-o", out), 2, "nothing to fill in; give --gap"),
        ((sound, "--gap", "2:3", "-o", out), 2, "the sound ends at 1.000 s"),
        ((sound, *gap, "-o", tmp_path / "out.ogg"), 2, "lossy"),
        ((sound, *gap, "-o", out, "--method", "magic"), 2, "--method got 'magic'"),
        ((sound, *gap, "-o", out, "--method", "latent"), 2, "needs a run"),
        ((sound, *gap, "-o", out, "--count", 2), 2, "is one file, expected a folder"),
        ((sound, *gap, "-o", tmp_path / "f", "--count", 2), 2, "copy has one answer only"),
        ((sound, *gap, "-o", text, "--overwrite", "--count", 2), 2, "expected a folder"),
        (("a", "b", sound, *gap, "-o", out), 2, r"got 3 arguments"),
        ((text, *gap, "-o", out), 1, "not sound"),
        ((tmp_path / "none", sound, *gap, "-o", out), 1, "none"),
        ((sound, "--find", "scratch", "-o", out), 2, "--find got 'scratch'"),
    ):
        got, _, err = shell(capsys, *arguments)
        assert got == code, err
        assert said in err
        assert err.count("\n") == 1
    assert not out.exists()
    assert not (tmp_path / "f").exists()


def test_answers_of_a_seed_are_the_same_and_the_first_is_the_likeliest(sound, tmp_path, monkeypatch):
    monkeypatch.setattr("latentscape.edit.repair.fillers", lambda instrument, labels: ways())
    what = Repair(gaps=("0.2:0.4",), count=3)
    assert what.seeds()[0] is None
    assert None not in Repair(seed=0, count=2).seeds()
    lines = repair(sound, tmp_path / "a", what)
    repair(sound, tmp_path / "b", what)
    assert len(lines) == 3
    names = [f"{sound.stem}-{number}.flac" for number in (1, 2, 3)]
    first = [soundfile.read(tmp_path / "a" / name)[0] for name in names]
    again = [soundfile.read(tmp_path / "b" / name)[0] for name in names]
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    assert not np.array_equal(first[1], first[2])
    with pytest.raises(UsageError, match="exists; add --overwrite"):
        repair(sound, tmp_path / "a", what)


def test_many_gaps_are_told_in_short(sound, tmp_path):
    what = Repair(gaps=[f"{0.1 * k:.1f}:{0.1 * k + 0.01:.2f}" for k in range(1, 9)])
    assert repair(sound, tmp_path / "a.wav", what)[-1].endswith("8 gaps filled: 8 by linear")


def test_one_hears_how_far_it_is(sound, tmp_path, monkeypatch):
    """Hundreds of gaps take minutes."""
    what = Repair(gaps=["0.1:0.11", "0.2:0.21", "0.3:0.31"])
    heard = []
    repair(sound, tmp_path / "a.wav", what, say=heard.append)
    assert heard == []
    monkeypatch.setattr("latentscape.edit.repair.SAY_SECONDS", 0.0)
    repair(sound, tmp_path / "b.wav", what, say=heard.append)
    assert heard == ["1 of 3 gaps filled", "2 of 3 gaps filled"]
