"""Memory does not grow with the corpus: not with the number of its clips, and not with its minutes."""

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from latentscape.core import heap
from latentscape.data.cache import Store
from latentscape.data.corpus import Clips, Column, SoundCorpus, Texts
from latentscape.data.examples import DataConfig
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import Part, split_corpus, undivided
from latentscape.registry import Window
from latentscape.signal.stft import LogStft, LogStftConfig

RATE = 8000
GLIBC = pytest.mark.skipif(heap._mallopt() is None, reason="another allocator than glibc's")


def corpus_of(folder: Path, clips: int, frames: int) -> SoundCorpus:
    """Return clips that share their samples, all of one shard."""
    sound = folder / "shard.f32"
    np.random.default_rng(0).standard_normal(frames).astype("<f4").tofile(sound)
    names = [f"{number:06d}" for number in range(clips)]
    columns = {
        "midi": Column.of([str(40 + number % 40) for number in range(clips)]),
        "instrument": Column.of([f"instrument {number % 7}" for number in range(clips)]),
    }
    every = np.full(clips, frames), np.full(clips, -1)
    table = Clips(Texts(names), Texts(f"{folder}/{name}.wav" for name in names), *every, columns, RATE)
    store = Store((sound,), np.zeros(clips, np.int32), np.zeros(clips, np.int64))
    return SoundCorpus("many", folder, RATE, table, (), (), (), "digest", store)


def peak(work) -> int:
    """Return the most bytes that work takes."""
    gc.collect()
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def anonymous() -> float:
    """Return this process's anonymous memory, MB."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def test_a_clip_costs_few_bytes(tmp_path):
    """What is asked of a part of 6000 clips takes less than 150 bytes each; as records they would take 700."""
    corpus = corpus_of(tmp_path, 6000, 400)
    split, representation = undivided(corpus), LogStft(LogStftConfig(sample_rate=RATE, window=64, hop=16))
    config = DataConfig(pool_seconds=1, slabs=2, steps_per_slab=4, statistics_seconds=1)
    with SoundExamples(corpus, split, representation, Window(), config, seed=0) as examples:
        asked = {
            "split": lambda: split_corpus(corpus),
            "batch": lambda: examples.batch(0, 8),
            "units": examples.units,
            "held": lambda: list(examples.held("train", 8, 8)),
            "count": lambda: examples.count("train"),
            "clips": lambda: list(split.clips(corpus, "train", 8)),
            "pieces": lambda: list(examples.pieces("train", 7.0, 8)),
        }
        asked["held"]()  # the first time maps the shard
        assert {name: round(each) for name, work in asked.items() if (each := peak(work) / 6000) > 150} == {}


@GLIBC
def test_minutes_leave_no_gaps(tmp_path):
    """Twenty pieces of a minute take no more than two: what an analysis drops goes back to the system."""
    corpus = corpus_of(tmp_path, 1, 20 * 60 * RATE)
    representation = LogStft(LogStftConfig(sample_rate=RATE, window=1024, hop=128))
    examples = SoundExamples(corpus, undivided(corpus), representation, Window(), seed=0)
    kept, seen = [], []
    for number, clip in enumerate(examples.pieces("train", 60.0)):
        kept.append(examples.features(clip)[:, :17].clone())
        seen += [anonymous()] if number else []
    assert len(seen) == 19
    assert max(seen) - seen[0] < 20


@GLIBC
def test_passing_arrays_go_back():
    """Between arrays of 2 MB that are dropped small ones are kept: no gap stays."""
    with heap.passing():
        before = anonymous()
        pairs = [(torch.ones(2**19), torch.ones(2**14)) for _ in range(20)]
        kept = [small for _, small in pairs]
        del pairs
        assert anonymous() - before < 5
        assert len(kept) == 20
        with heap.passing():
            pass
        assert heap._inside[0] == 1
    assert heap._inside[0] == 0


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(heap, "_mallopt", lambda: None)
    with heap.passing():
        assert heap._inside[0] == 0
    monkeypatch.undo()
    heap._mallopt.cache_clear()
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert heap._mallopt() is None
    monkeypatch.undo()
    heap._mallopt.cache_clear()


def test_part_is_cut_and_thinned_out():
    part = Part(np.array([3, 4]), np.array([10, 0]), np.array([25, 4]))
    cut = part.cut(10)
    assert cut.rows.tolist() == [3, 3, 3, 4]
    assert cut.starts.tolist() == [10, 20, 30, 0]
    assert cut.frames.tolist() == [10, 10, 5, 4]
    assert cut.some(2).starts.tolist() == [10, 30]
    assert len(cut.some(9)) == 4
