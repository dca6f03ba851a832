import os
import shutil
import sys

import numpy as np
import pytest
import soundfile
from soundfiles import RATE, noise, put

from latentscape.core.errors import ConfigError, DataError, UsageError
from latentscape.data.corpus import SourceOptions
from latentscape.data.examine import examine
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus


def reasons(corpus):
    return {one.name: one.reason for one in corpus.left_out}


def test_a_folder_becomes_clips_with_the_samples_of_the_files(folder):
    root = folder(["kick/01.wav", "kick/02.wav", "snare/01.flac", "hat.ogg", "deep/er/01.aiff"])
    corpus = open_source(str(root))
    assert [clip.name for clip in corpus.clips] == ["deep/er/01", "hat", "kick/01", "kick/02", "snare/01"]
    for clip in corpus.clips:
        expected, _ = soundfile.read(clip.path, dtype="float32")
        np.testing.assert_array_equal(corpus.wave(clip)[0], expected)
    assert corpus.clips[2].labels == {"folder": "kick"}
    assert corpus.clips[0].labels == {"folder": "deep", "subfolder": "er"}
    assert "folder" not in corpus.clips[1].labels
    assert corpus.clips[-1] == corpus.clips[4]
    assert [clip.name for clip in corpus.clips[1:3]] == ["hat", "kick/01"]
    part = corpus.clips[2].part(100, 50)
    assert (part.name, part.seconds) == ("kick/01@100", 50 / RATE)
    np.testing.assert_array_equal(corpus.wave(part, 10), corpus.wave(corpus.clips[2])[:, 110:150])
    assert part.part(20, 10).name == "kick/01@120"


def test_a_piece_of_a_sound_keeps_an_own_at_sign(folder):
    corpus = open_source(str(folder(["note@440.wav", "note@880.wav"])))
    pieces = [clip.part(start, 50) for clip in corpus.clips for start in (0, 100)]
    assert [piece.name for piece in pieces] == ["note@440@0", "note@440@100", "note@880@0", "note@880@100"]
    assert pieces[1].part(10, 5).name == "note@440@110"


def test_names_in_any_script_are_kept(tmp_path):
    names = ["a b'c\"d", "звук", "音/鼓 🥁", "e\u0301"] if os.name == "posix" else ["a b'c", "звук", "音/鼓 🥁"]
    for name in names:
        put(tmp_path / "a folder's 🎻" / f"{name}.wav", noise(name))
    corpus = open_source(str(tmp_path / "a folder's 🎻"))
    assert sorted(clip.name for clip in corpus.clips) == sorted(names)


def test_equal_stems_keep_their_suffix(folder):
    names = [clip.name for clip in open_source(str(folder(["a.wav", "a.flac", "b.wav"]))).clips]
    assert names == ["a.flac", "a.wav", "b"]


def test_the_rate_is_the_commonest_unless_told(tmp_path):
    for number, rate in enumerate((8000, 8000, 16000)):
        t = np.arange(rate // 2) / rate
        put(tmp_path / f"{number}.wav", (0.3 * np.sin(2 * np.pi * (300 + 50 * number) * t))[None], rate)
    corpus = open_source(str(tmp_path))
    assert corpus.sample_rate == 8000
    assert [clip.frames for clip in corpus.clips] == [4000] * 3
    wave = corpus.wave(corpus.clips[2])[0]
    expected = 0.3 * np.sin(2 * np.pi * 400 * np.arange(4000) / 8000)
    assert np.abs(wave - expected)[200:-200].max() < 1e-3
    other = open_source(str(tmp_path), SourceOptions(sample_rate=11025))
    assert other.sample_rate == 11025
    assert other.digest != corpus.digest


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_a_file_of_a_sample_or_two_is_not_silent_at_another_rate(tmp_path, samples):
    for number in range(2):
        put(tmp_path / f"{number}.wav", noise(number))
    put(tmp_path / "short.wav", np.full((1, samples), 0.5, np.float32), rate=6 * RATE)
    corpus = open_source(str(tmp_path))
    assert corpus.left_out == ()
    short = corpus.clips[list(corpus.clips.names).index("short")]
    assert (short.frames, corpus.wave(short)[0, 0] > 0.01) == (1, True)


def test_channels_are_averaged_or_each_is_a_clip(tmp_path):
    wave = noise("stereo", channels=2)
    put(tmp_path / "stereo.wav", wave, subtype="FLOAT")
    put(tmp_path / "mono.wav", noise("mono"))
    mean = open_source(str(tmp_path))
    np.testing.assert_allclose(mean.wave(mean.clips[1])[0], wave.mean(axis=0), atol=1e-7)
    each = open_source(str(tmp_path), SourceOptions(channels="each"))
    assert [(clip.name, clip.channel) for clip in each.clips] == [("mono", 0), ("stereo#1", 0), ("stereo#2", 1)]
    np.testing.assert_array_equal(each.wave(each.clips[2])[0], wave[1])


@pytest.mark.parametrize("content", [[], ["notes.txt", "readme.md"]])
def test_a_folder_without_sound_is_one_line(tmp_path, content):
    for name in content:
        (tmp_path / name).write_text("words")
    with pytest.raises(DataError, match="no sound files there") as error:
        open_source(str(tmp_path))
    assert "\n" not in str(error.value)


def test_bad_files_are_left_out_with_a_reason_and_the_rest_is_used(folder):
    root = folder(["good.wav", "short.wav"])
    put(root / "tiny.wav", noise("tiny", seconds=0.01))
    (root / "zero.wav").write_bytes(b"")
    (root / "words.wav").write_text("this is not sound, whatever its name says")
    put(root / "silent.flac", np.zeros((1, 500), np.float32))
    put(root / "headonly.wav", np.zeros((1, 0), np.float32))
    shutil.copy(root / "good.wav", root / "copy.wav")
    for name, value in (("nan.wav", np.nan), ("inf.wav", np.inf)):
        wave = noise(name)
        wave[0, 800] = value
        put(root / name, wave, subtype="FLOAT")
    whole = (root / "short.wav").read_bytes()
    (root / "short.wav").write_bytes(whole[: len(whole) // 2])
    put(root / "named.flac", noise("named")).rename(root / "named.wav")
    corpus = open_source(str(root))
    assert {clip.name for clip in corpus.clips} == {"copy", "tiny", "short", "named"}
    assert reasons(corpus) == {
        "zero.wav": "is empty (0 bytes)",
        "words.wav": reasons(corpus)["words.wav"],
        "headonly.wav": reasons(corpus)["headonly.wav"],
        "silent.flac": "is silent",
        "good.wav": "is the same sound as 'copy.wav'",
        "nan.wav": "holds NaN or infinite samples (the first at 0.100 s)",
        "inf.wav": "holds NaN or infinite samples (the first at 0.100 s)",
    }
    assert "not sound" in reasons(corpus)["words.wav"]
    assert "no samples" in reasons(corpus)["headonly.wav"]
    assert [note for note in corpus.notes if note.startswith("'short.wav' is cut off: 0.12 s of 0.25 s")]
    assert "'named.wav' is named .wav but holds FLAC; what is there is used" in corpus.notes
    text = "\n".join(examine(str(root)).lines())
    for name in reasons(corpus):
        assert f"'{name}'" in text
    assert "2 clips below 0.5 s" not in text
    assert "4 clips below 0.5 s" in text


def test_a_header_that_promises_anything_costs_no_room(folder, monkeypatch):
    """Two terabytes of frames in a small file once made the whole folder too large for the disk."""
    root = folder(["a.aiff", "b.wav"])
    raw = bytearray((root / "a.aiff").read_bytes())
    at = raw.index(b"COMM") + 10
    raw[at : at + 4] = b"\xff" * 4
    (root / "a.aiff").write_bytes(raw)
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10**9))
    corpus = open_source(str(root))
    assert [clip.name for clip in corpus.clips] == ["a", "b"]
    assert any("'a.aiff' is cut off" in note for note in corpus.notes)


def test_a_sound_beyond_all_levels_is_left_out(folder):
    """Its energy is no number, which once kept the whole folder from being used."""
    root = folder(["a.wav"])
    put(root / "huge.wav", 1e37 * noise("huge"), subtype="FLOAT")
    put(root / "loud.wav", 1e9 * noise("loud"), subtype="FLOAT")
    corpus = open_source(str(root))
    assert [clip.name for clip in corpus.clips] == ["a", "loud"]
    assert reasons(corpus) == {"huge.wav": "holds samples beyond all levels (the first at 0.000 s)"}


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text, and pipes")
def test_a_name_that_is_no_text_and_a_pipe(folder):
    root = folder(["a.wav"])
    put(root / "b.wav", noise("bytes")).rename(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.wav"))
    os.mkfifo(root / "pipe.wav")
    for _ in range(2):  # decoded, and from the cache
        corpus = open_source(str(root))
        assert [clip.name for clip in corpus.clips] == ["a", "\udcff\udcfe"]
    np.testing.assert_allclose(corpus.wave(corpus.clips[1]), noise("bytes"), atol=1e-4)
    assert sum(len(part) for part in split_corpus(corpus).parts.values()) >= 2
    assert reasons(corpus) == {"pipe.wav": "is no file, but a pipe or a device"}


def test_a_truncated_flac_keeps_what_is_there(folder):
    root = folder(["a.wav"])
    path = put(root / "cut.flac", noise("cut", seconds=4))
    path.write_bytes(path.read_bytes()[:30000])
    corpus = open_source(str(root))
    clip = next(clip for clip in corpus.clips if clip.name == "cut")
    assert 0 < clip.frames < 4 * RATE
    np.testing.assert_allclose(corpus.wave(clip)[0], noise("cut", seconds=4)[0, : clip.frames], atol=1e-4)
    assert any("cut off" in note for note in corpus.notes)


def test_nothing_usable_is_one_line_that_names_the_first(tmp_path):
    put(tmp_path / "a.wav", np.zeros((1, 100), np.float32))
    with pytest.raises(DataError, match=r"none of 1 files can be used; the first, 'a.wav', is silent"):
        open_source(str(tmp_path))
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"'a.wav', is empty \(0 bytes\)"):
        open_source(str(tmp_path))


def test_192_khz_8_channels(tmp_path):
    wave = noise("wide", seconds=0.2, rate=192_000, channels=8)
    put(tmp_path / "wide.wav", wave, 192_000, "FLOAT")
    corpus = open_source(str(tmp_path), SourceOptions(sample_rate=44_100))
    assert corpus.clips[0].frames == pytest.approx(0.2 * 44_100, abs=2)
    found = examine(str(tmp_path))
    assert (found.rates, found.channels, found.sample_rate) == ({192_000: 1}, {8: 1}, 192_000)


def test_unreadable_permissions(folder, monkeypatch):
    root = folder(["open.wav", "locked.wav"])
    import builtins

    real = builtins.open

    def guarded(file, *rest, **options):
        if str(file).endswith("locked.wav"):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *rest, **options)

    monkeypatch.setattr(builtins, "open", guarded)
    corpus = open_source(str(root))
    assert reasons(corpus) == {"locked.wav": "can't be read: Permission denied"}
    assert corpus.left_out[0].kind == "unreadable"


def test_a_folder_that_may_not_be_looked_into_is_named(folder, monkeypatch):
    root = folder(["a.wav", "inner/b.wav"])
    scan = os.scandir

    def guarded(path):
        if os.path.basename(path) == "inner":  # a mode of 000 keeps root out of nothing
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=r"inner can't be read: Permission denied"):
        open_source(str(root))


def test_a_column_that_stands_twice_costs_a_line(folder):
    root = folder(["a.wav", "b.wav"])
    (root / "metadata.csv").write_text("path,take,take,room\na.wav,1,3,x\nb.wav,2,4,y\n")
    corpus = open_source(str(root))
    assert [clip.labels["take"] for clip in corpus.clips] == [3.0, 4.0]
    assert corpus.notes == ("metadata.csv has more than one column 'take'; the last one counts",)


def test_metadata_gives_labels_and_its_faults_a_line_each(folder):
    root = folder(["a.wav", "b.wav", "sub/c.wav", "d.wav"])
    (root / "metadata.csv").write_text(
        "path,instrument,midi\na.wav,flute,60\nb.wav,oboe,7\nb.wav,horn,62\nsub\\c.wav,flute,\nlost.wav,x,1\n,y,2\n",
        encoding="utf-8-sig",
    )
    corpus = open_source(str(root))
    labels = {clip.name: clip.labels for clip in corpus.clips}
    assert labels == {
        "a": {"instrument": "flute", "midi": 60.0},
        "b": {"instrument": "oboe", "midi": 7.0},
        "sub/c": {"instrument": "flute"},
        "d": {},
    }
    assert tuple(corpus.clips.columns["midi"].values) == ("7", "60")
    assert corpus.notes == (
        "metadata.csv names 'b.wav' more than once; the first row counts",
        "metadata.csv has 1 rows without a path; they are skipped",
        "metadata.csv names 'lost.wav', which the folder lacks",
        "metadata.csv does not name 1 of 4 files; they are used without its labels",
    )


@pytest.mark.parametrize(("text", "line"), [("file,x\na.wav,1\n", "no column 'path'"), ("", "it has none")])
def test_metadata_without_paths_costs_a_line_and_folders_label(folder, text, line):
    root = folder(["x/a.wav", "y/b.wav"])
    (root / "metadata.csv").write_text(text)
    corpus = open_source(str(root))
    assert line in corpus.notes[0]
    assert [clip.labels for clip in corpus.clips] == [{"folder": "x"}, {"folder": "y"}]


def test_metadata_that_is_no_text(folder):
    root = folder(["a.wav"])
    (root / "metadata.csv").write_bytes(b"path,instrument\na.wav,fl\xfbte\n")
    assert open_source(str(root)).notes == ("metadata.csv is no text in UTF-8 or UTF-16; its labels are not used",)


def test_a_pattern_labels_file_names(folder):
    root = folder(["flute_A4_pp.wav", "oboe_B#3_ff.wav", "odd.wav"])
    corpus = open_source(str(root), SourceOptions(pattern="{instrument}_{note}_{dynamics}"))
    assert corpus.clips[1].labels == {"instrument": "oboe", "note": "B#3", "dynamics": "ff"}
    assert corpus.clips[2].labels == {}
    assert "does not fit 1 of 3 names (first: 'odd.wav')" in corpus.notes[0]
    deep = folder(["ann/take 1.wav", "bob/take 2.wav"], root="deep")
    corpus = open_source(str(deep), SourceOptions(pattern="{speaker}/take {take}"))
    assert corpus.clips[1].labels == {"folder": "bob", "speaker": "bob", "take": 2.0}


@pytest.mark.parametrize("pattern", ["plain", "{a}_{a}", "{1a}"])
def test_a_pattern_without_names_is_refused(folder, pattern):
    with pytest.raises(ConfigError, match="pattern: got"):
        open_source(str(folder(1)), SourceOptions(pattern=pattern))


def test_file_lists(folder, tmp_path):
    root = folder(["a.wav", "b.wav", "c.wav"])
    (root / "list.txt").write_text("# some\na.wav\n\nb.wav\na.wav\nlost.wav\n")
    corpus = open_source(str(root / "list.txt"))
    assert [clip.name for clip in corpus.clips] == ["a", "b"]
    assert corpus.notes == ("list.txt names 1 files more than once",)
    assert reasons(corpus) == {"lost.wav": "can't be read: No such file or directory"}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "list.csv").write_text(f"path,kind\n../sounds/a.wav,x\n{root / 'c.wav'},y\n")
    corpus = open_source(str(tmp_path / "elsewhere" / "list.csv"))
    assert [(clip.name, clip.labels) for clip in corpus.clips] == [("a", {"kind": "x"}), ("c", {"kind": "y"})]
    (root / "bad.csv").write_text("file\na.wav\n")
    with pytest.raises(DataError, match="no column 'path'"):
        open_source(str(root / "bad.csv"))
    for bad in (b"a.wav\n\xff\xfe", b"a.wav\n\0\n"):
        (root / "bad.txt").write_bytes(bad)
        with pytest.raises(DataError, match=r"bad\.txt is no text in UTF-8 or UTF-16, expected a list of files"):
            open_source(str(root / "bad.txt"))


def test_lists_as_other_systems_write_them(folder, tmp_path):
    root = folder(["dull/one.wav", "bright/two.wav", "three.wav", "e\u0301.wav"])
    lines = ["dull\\one.wav", f'"{root / "bright" / "two.wav"}"', "three.wav", "\u00e9.wav", "none\\here.wav"]
    for encoding in ("utf-8-sig", "utf-16"):
        (root / "list.txt").write_text("\r\n".join(lines), encoding=encoding, newline="")
        corpus = open_source(str(root / "list.txt"))
        assert sorted(clip.name for clip in corpus.clips) == ["bright/two", "dull/one", "e\u0301", "three"]
        assert [one.name for one in corpus.left_out] == ["none\\here.wav"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_write_them(folder, separator, encoding):
    root = folder(["dull/one.wav", "bright/two.wav"])
    rows = [
        ("path", " instrument ", "take"),
        ("dull\\one.wav", '"flute, alto; old"', "1"),
        ("bright/two.wav", ' "oboe"', "2"),
    ]
    text = "\r\n".join(separator.join(row) for row in rows)
    (root / "metadata.csv").write_text(text, encoding=encoding, newline="")
    corpus = open_source(str(root))
    assert [clip.labels for clip in corpus.clips] == [
        {"instrument": "oboe", "take": 2.0},
        {"instrument": "flute, alto; old", "take": 1.0},
    ]
    assert corpus.notes == ()


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_links_to_folders_are_followed_once_and_never_back(folder, tmp_path):
    root = folder(["a/one.wav", "b/two.wav"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(root / "a" / "one.wav", elsewhere / "three.wav")
    wave, rate = soundfile.read(elsewhere / "three.wav")
    soundfile.write(elsewhere / "three.wav", 0.5 * wave, rate)
    for link, target in {
        "b/linked": elsewhere,
        "again": elsewhere,
        "a/up": root,
        "a/out": root.parent,
        "0": root / "b",
        "x.wav": root / "x.wav",
    }.items():
        (root / link).symlink_to(target)
    corpus = open_source(str(root))
    assert sorted(clip.name for clip in corpus.clips) == ["a/one", "again/three", "b/two"]
    assert [one.name for one in corpus.left_out] == ["x.wav"]


def test_one_file_is_a_source(folder):
    corpus = open_source(str(folder(2) / "01.wav"))
    assert [clip.name for clip in corpus.clips] == ["01"]


def test_wrong_sources_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"no folder, file or data set 'mnits'; did you mean 'mnist'"):
        open_source("mnits")
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(UsageError, match="neither a folder, a sound file, nor a list"):
        open_source(str(tmp_path / "a.pdf"))


def test_the_digest_follows_content_and_labels_not_place(folder, tmp_path):
    root = folder(["a/x.wav", "b/y.wav"])
    shutil.copytree(root, tmp_path / "moved")
    first, moved = open_source(str(root)), open_source(str(tmp_path / "moved"))
    assert first.digest == moved.digest
    (tmp_path / "moved" / "metadata.csv").write_text("path,k\na/x.wav,1\n")
    assert open_source(str(tmp_path / "moved")).digest != first.digest
    put(root / "a/x.wav", noise("changed", seconds=0.3))
    assert open_source(str(root)).digest != first.digest


def test_the_report(tmp_path):
    wave = np.ones((1, 4000), np.float32)
    wave[0, 2000:] = -0.5
    put(tmp_path / "a" / "loud.wav", wave)
    put(tmp_path / "b" / "soft.wav", 0.01 * noise("soft", seconds=1.0))
    put(tmp_path / "b" / "other.wav", noise("other", seconds=1.0, rate=4000), 4000)
    put(tmp_path / "b" / "third.wav", noise("third", seconds=1.0, channels=2))
    found = examine(str(tmp_path))
    assert (found.files, found.clips, found.sample_rate, found.rates) == (4, 4, 8000, {8000: 3, 4000: 1})
    assert found.clipped == ("a/loud.wav",)
    assert found.peak_db == pytest.approx(0, abs=0.01)
    assert found.seconds == pytest.approx(3.5, abs=0.01)
    assert found.labels == {"folder": 2}
    text = "\n".join(found.lines())
    assert "resampled: 1 file to 8000 Hz" in text
    assert "clipped: 1 file (used all the same), such as 'a/loud.wav'" in text
    assert "mixed: 1 file to one channel, the mean (or use --channels each)" in text
    assert found.to_json()["clips"] == 4
    assert "mixed" not in "\n".join(examine(str(tmp_path), SourceOptions(channels="each")).lines())


def test_many_left_out_files_are_counted(folder):
    root = folder(["good.wav"])
    for number in range(25):
        (root / f"bad{number}.wav").write_bytes(b"")
    lines = examine(str(root)).lines()
    assert "left out: 25 x unreadable" in lines
    assert lines[-1] == "  and 5 more"
