import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from soundfiles import RATE, noise, put

from latentscape.core.errors import StorageError
from latentscape.data import cache as module
from latentscape.data import survey
from latentscape.data.cache import cache_root
from latentscape.data.corpus import SourceOptions
from latentscape.data.sources import open_source


def waves(corpus):
    return {clip.name: np.array(corpus.wave(clip)) for clip in corpus.clips}


def same(left, right):
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


@pytest.fixture
def decoded(monkeypatch):
    """Count the files that are decoded."""
    names = []
    real = survey.decode

    def counting(path, *rest, **options):
        names.append(Path(path).name)
        return real(path, *rest, **options)

    monkeypatch.setattr(survey, "decode", counting)
    return names


def test_a_second_opening_decodes_nothing(folder, decoded):
    root = folder()
    first = open_source(str(root))
    assert len(decoded) == 12
    seen = []
    second = open_source(str(root), progress=lambda done, total: seen.append((done, total)))
    assert len(decoded) == 12
    assert seen == [(12, 12)]
    assert first.digest == second.digest
    assert same(waves(first), waves(second))
    with pytest.raises(ValueError, match="read-only"):
        second.wave(second.clips[0])[0, 0] = 1


def test_progress_counts_to_the_end(folder):
    seen = []
    open_source(str(folder(5)), progress=lambda done, total: seen.append((done, total)))
    assert sorted(seen) == [(done, 5) for done in range(6)]


def test_a_changed_file_costs_one_shard_and_settings_make_another_cache(folder, decoded, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 30_000)
    root = folder()
    before = waves(open_source(str(root)))
    shards = len(list((cache_root() / "sound").glob("*.f32")))
    assert shards > 2
    decoded.clear()
    put(root / "03.wav", noise("new"))
    after = waves(open_source(str(root)))
    assert "03.wav" in decoded
    assert len(decoded) < 12
    assert not np.array_equal(before.pop("03"), after.pop("03"))
    assert same(before, after)
    decoded.clear()
    open_source(str(root), SourceOptions(sample_rate=4000))
    assert len(decoded) == 12


@pytest.mark.parametrize("damage", ["flip", "cut", "table", "no table", "no sound"])
def test_a_damaged_shard_is_built_again(folder, decoded, damage):
    root = folder(4)
    good = waves(open_source(str(root)))
    shard = next((cache_root() / "sound").glob("*.f32"))
    table = shard.with_suffix(".json")
    match damage:
        case "flip":
            data = bytearray(shard.read_bytes())
            data[1000] ^= 255
            shard.write_bytes(data)
        case "cut":
            shard.write_bytes(shard.read_bytes()[:-8])
        case "table":
            table.write_text("{")
        case "no table":
            table.unlink()
        case "no sound":
            shard.unlink()
    decoded.clear()
    assert same(waves(open_source(str(root))), good)
    assert decoded


def test_a_lost_record_costs_a_check_and_no_decoding(folder, decoded):
    root = folder(4)
    open_source(str(root))
    (cache_root() / "sound" / "seen.json").write_text("nonsense")
    decoded.clear()
    open_source(str(root))
    assert not decoded


def test_a_shard_that_vanishes_later_is_one_clear_error(folder):
    corpus = open_source(str(folder(2)))
    for shard in corpus.store.shards:
        shard.unlink()
    with pytest.raises(StorageError, match="open the source again"):
        corpus.wave(corpus.clips[0])


class FullDisk:
    """A file that takes so many writes and no more."""

    def __init__(self, path, writes):
        self.file, self.left = path.open("wb"), writes

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.file.close()

    def write(self, data):
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left -= 1
        return self.file.write(data)


@pytest.mark.parametrize("writes", [0, 1, 3])
def test_a_full_disk_leaves_nothing_half_written(folder, monkeypatch, writes):
    root = folder(4)

    def fake(path, mode="r", **options):
        return FullDisk(Path(path), writes) if "w" in mode else Path(path).open(mode, **options)

    monkeypatch.setattr(module, "open", fake, raising=False)
    with pytest.raises(StorageError, match="No space left on device") as error:
        open_source(str(root))
    assert "\n" not in str(error.value)
    assert not [path for path in (cache_root() / "sound").iterdir() if path.is_file()]


def test_a_shard_that_another_run_finished_is_taken(folder, monkeypatch):
    root = folder(4)
    real = module._write

    def raced(*rest):
        real(*rest)
        raise StorageError("could not write: the file is mapped by another process")

    monkeypatch.setattr(module, "_write", raced)
    assert waves(open_source(str(root))).keys() == {"00", "01", "02", "03"}


def test_a_disk_without_room_is_refused_before_work(folder, monkeypatch, decoded):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: _Usage)
    with pytest.raises(StorageError, match=r"0\.0 GB free, the decoded cache needs about .* LATENTSCAPE_CACHE"):
        open_source(str(folder(3)))
    assert not decoded


class _Usage:
    free = 10


def test_a_cache_folder_that_is_a_file(folder, monkeypatch, tmp_path):
    (tmp_path / "occupied").write_text("x")
    monkeypatch.setenv("LATENTSCAPE_CACHE", str(tmp_path / "occupied"))
    with pytest.raises(StorageError, match="could not write"):
        open_source(str(folder(1)))


def test_old_temporary_files_are_swept(folder):
    base = cache_root() / "sound"
    base.mkdir(parents=True)
    for name, age in ((".old.f32", 2 * 86_400), (".new.f32", 10)):
        (base / name).write_text("x")
        os.utime(base / name, (time.time() - age,) * 2)
    open_source(str(folder(1)))
    assert not (base / ".old.f32").exists()
    assert (base / ".new.f32").exists()


def test_two_runs_at_once_agree(folder, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 30_000)
    root = folder(20)
    found, errors = [], []

    def run():
        try:
            found.append(waves(open_source(str(root))))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all(same(one, found[0]) for one in found)
    assert same(found[0], waves(open_source(str(root))))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_run_leaves_a_cache_that_works(folder, monkeypatch):
    root = folder(30, seconds=2)
    script = (
        "import sys, time\n"
        "from latentscape.data import cache, survey\n"
        "cache.SHARD_BYTES = 100_000\n"
        "real = survey.decode\n"
        "def slow(*rest, **options):\n"
        "    time.sleep(0.2)\n"
        "    return real(*rest, **options)\n"
        "survey.decode = slow\n"
        "from latentscape.data.sources import open_source\n"
        "open_source(sys.argv[1], progress=lambda done, total: print(done, flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 10:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list((cache_root() / "sound").glob(".*"))  # it was killed in the middle of a shard
    monkeypatch.setattr(module, "SHARD_BYTES", 100_000)
    corpus = open_source(str(root))
    for name, wave in waves(corpus).items():
        np.testing.assert_allclose(wave, noise(f"{name}.wav", seconds=2), atol=1e-4)


def test_a_long_file_takes_little_memory(tmp_path):
    """Ten minutes at 48 kHz are 115 MB as float32; reading them in blocks needs a small part of that."""
    import tracemalloc

    import soundfile

    block = noise("long", seconds=10, rate=48_000)[0]
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 48_000, 1, "PCM_U8") as file:
        for _ in range(60):
            file.write(block)
    tracemalloc.start()
    corpus = open_source(str(tmp_path), SourceOptions(sample_rate=8000))
    clip = corpus.clips[0]
    assert clip.frames == 600 * 8000
    corpus.wave(clip, 1_000_000, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_the_cache_folder(monkeypatch):
    monkeypatch.setenv("LATENTSCAPE_CACHE", "~/somewhere")
    assert cache_root() == Path.home() / "somewhere"
    monkeypatch.delenv("LATENTSCAPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_root() == Path("/xdg/latentscape")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_root() == Path.home() / "Library" / "Caches" / "latentscape"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_root() == Path("/local/latentscape/cache")


def test_what_was_probed_is_not_read_again(folder, monkeypatch):
    from latentscape.data import scan

    root = folder(3)
    open_source(str(root))
    monkeypatch.setattr(scan, "probe", None)
    open_source(str(root))
    assert open_source(str(root)).sample_rate == RATE
