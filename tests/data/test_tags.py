"""Tags: cells, synonyms, MagnaTagATune and ESC-50 in their official layouts, folds, leakage, weights, blends."""

import csv
import json

import numpy as np
import pytest
import torch
from soundfiles import noise, put

from latentscape.core.errors import ConfigError, DataError
from latentscape.data.blend import BlendConfig, apply_blend, draw_blend
from latentscape.data.corpus import Column, SourceOptions
from latentscape.data.examples import DataConfig
from latentscape.data.leakage import leak, leakage
from latentscape.data.magnatagatune import facts_of, part_of
from latentscape.data.marks import Marks
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import SplitConfig, split_corpus
from latentscape.data.tags import TagOptions, cell_of, commonest, merged, tags_of
from latentscape.registry import Window
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

TAGS = ("rock", "guitar", "guitars", "calm")


@pytest.fixture
def tree(tmp_path):
    """A MagnaTagATune of 16 folders: three clips of a track each, an artist across the train-test border."""
    rows, number = [], 0
    for folder in "0123456789abcdef":
        artist = "anna" if folder in "af" else f"artist_{folder}"
        for begin in (0, 29, 58):
            path = f"{folder}/{artist}-album_of_{folder}-01-song-{begin}-{begin + 29}.mp3"
            # the audio was converted, and lies in another folder
            put(tmp_path / "mtat" / "audio" / path.replace(".mp3", ".wav"), noise(path, seconds=0.1))
            there = [int(folder < "8"), int(begin == 0), int(begin == 29), 0]
            rows.append([str(number), *map(str, there), path])
            number += 1
    rows.append(["99", "1", "0", "0", "0", "f/lost-clip-01-song-0-29.mp3"])
    with open(tmp_path / "mtat" / "annotations_final.csv", "w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerows([["clip_id", *TAGS, "mp3_path"], *rows])
    (tmp_path / "synonyms.json").write_text(json.dumps([["guitar", "guitars"]]))
    return tmp_path / "mtat"


def test_cells():
    assert tags_of("a; b;a") == ("a", "b")
    assert tags_of(";") == ()
    assert tags_of("") is tags_of(None) is None
    assert tags_of(cell_of(())) == ()
    assert merged({"x": ("guitars", "guitar", "rock")}, [["guitar", "guitars"]]) == {"x": ("guitar", "rock")}
    assert commonest([("a", "b"), ("b",), ("c",)], 2) == ["b", "a"]


def test_magnatagatune_by_folder(tree):
    corpus = open_source(str(tree))
    assert len(corpus.clips) == 48
    assert "names 1 clips that the folder lacks" in " ".join(corpus.notes)
    clip = next(one for one in corpus.clips if "/a/anna" in one.name and one.name.endswith("-29-58"))
    assert clip.labels == {
        "tags": "guitars", "split": "train", "artist": "anna", "album": "anna-album_of_a",
        "track": "anna-album_of_a-01-song",
    }  # fmt: skip
    split = split_corpus(corpus)
    assert split.group == "split column"
    assert {part: len(rows) for part, rows in split.parts.items()} == {"train": 36, "valid": 3, "test": 9}
    found = leakage(corpus, split)
    assert (found["track"].clips, found["album"].clips) == (0, 0)
    assert found["artist"].clips == found["artist"].values == pytest.approx(1 / 3)


def test_the_random_split_of_2016_leaks_tracks(tree):
    corpus = open_source(str(tree))
    config = SplitConfig(given=False, by="file", test=0.2, valid=0.05)
    split = split_corpus(corpus, config=config)
    assert [len(split.parts[part]) for part in ("train", "valid", "test")] == [36, 2, 10]
    assert leakage(corpus, split)["track"].clips > 0.5
    kept = split_corpus(corpus, config=SplitConfig(given=False))
    assert leakage(corpus, kept)["track"].clips == 0
    assert leak(["a", "b"], ["b", "b", "c"]).clips == pytest.approx(2 / 3)
    assert leak(["a"], []).clips == 0


def test_merging_and_leaving_out(tree):
    tags = TagOptions(merge=str(tree.parent / "synonyms.json"), most=1)
    corpus = open_source(str(tree), SourceOptions(tags=tags))
    column = corpus.clips.columns["tags"]
    assert set(column.values) == {";", "guitar"}  # 32 clips of the merged guitar, 24 of rock
    unmerged = open_source(str(tree), SourceOptions(tags=TagOptions(most=1)))
    assert set(unmerged.clips.columns["tags"].values) == {";", "rock"}
    cleaned = open_source(str(tree), SourceOptions(tags=tags.model_copy(update={"untagged": False})))
    assert len(cleaned.clips) == 32
    assert "16 of 48 files have none of the tags" in " ".join(cleaned.notes)
    assert len({one.digest for one in (corpus, unmerged, cleaned)}) == 3
    with pytest.raises(DataError, match="no file has 'genre'"):
        open_source(str(tree), SourceOptions(tags=TagOptions(label="genre")))
    (tree.parent / "synonyms.json").write_text('[["guitar", "guitars"], ["guitars", "rock"]]')
    with pytest.raises(DataError, match="'guitars' is in 2 lists"):
        open_source(str(tree), SourceOptions(tags=tags))
    (tree.parent / "synonyms.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="a list of lists of words"):
        open_source(str(tree), SourceOptions(tags=tags))


def test_esc50_and_its_folds(tmp_path):
    root = tmp_path / "ESC-50"
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for number in range(20):
        name = f"{number % 5 + 1}-{number // 2}-A-{number % 2}.wav"
        put(root / "audio" / name, noise(name, seconds=0.1))
        lines.append(f"{name},{number % 5 + 1},{number % 2},{('dog', 'rain')[number % 2]},True,{number // 2},A")
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join([*lines, "9-lost-A-1.wav,1,1,rain,True,9,A"]))
    corpus = open_source(str(root))
    assert set(corpus.clips.columns) == {"tag", "fold", "src_file", "take", "esc10"}
    assert "'audio/9-lost-A-1.wav', which the folder lacks" in " ".join(corpus.notes)
    tested = []
    for fold in range(1, 6):
        split = split_corpus(corpus, config=SplitConfig(fold=fold))
        assert split.group == f"fold {fold}, src_file"
        parts = [set(part.rows.tolist()) for part in split.parts.values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 20
        assert {corpus.clips[row].labels["fold"] for row in parts[2]} == {float(fold)}
        tested += parts[2]
    assert sorted(tested) == list(range(20))
    with pytest.raises(ConfigError, match=r"data.split.fold: got '6'"):
        split_corpus(corpus, config=SplitConfig(fold="6"))
    with pytest.raises(ConfigError, match="has no label 'speaker'"):
        split_corpus(corpus, config=SplitConfig(given=False, by="speaker"))
    bare = open_source(str(root / "audio"))
    with pytest.raises(ConfigError, match="has no label 'fold'"):
        split_corpus(bare, config=SplitConfig(fold="1"))


def test_weights_of_labels():
    column = Column.of(["a;b", "b", ";", None, "c"])
    marks = Marks({"tags": column}, torch.tensor([0, 1, 2, 3]), ("tags",))
    assert marks.vocabulary == {"tags": ("a", "b")}
    found = marks.of(torch.arange(5))["tags"]
    assert found[[0, 1, 2, 4]].tolist() == [[1, 1], [0, 1], [0, 0], [0, 0]]
    assert bool(found[3].isnan().all())
    with pytest.raises(ConfigError, match="no label 'tag'; did you mean 'tags'"):
        Marks({"tags": column}, torch.tensor([0]), ("tag",))


def test_a_blend_is_drawn_then_applied():
    config = BlendConfig(mix=0.4, hide_features=0.5, hide_frames=0.3)
    whole = draw_blend(config, slice(0, 64), (8, 20), 0, 1)
    half = draw_blend(config, slice(32, 64), (8, 20), 0, 1)
    assert torch.equal(whole.share[32:], half.share)
    assert torch.equal(whole.frames[32:], half.frames)
    assert 0 <= float(whole.share.min()) <= float(whole.share.max()) <= 0.5
    length = whole.features[:, 1] - whole.features[:, 0]
    assert int(length.min()) == 0
    assert int(length.max()) == 4
    assert int(whole.frames[:, 1].max()) <= 20
    x, y = torch.randn(64, 8, 20), torch.eye(2).repeat(32, 1)
    other = {"tag": y.flip(1)}
    mixed, told = apply_blend(whole, x, {"tag": y}, x + 1, other)
    torch.testing.assert_close(told["tag"].sum(1), torch.ones(64))
    torch.testing.assert_close(told["tag"][:, 0], torch.where(y[:, 0] > 0, 1 - whole.share, whole.share))
    plain = x + whole.share[:, None, None]
    row = int(length.argmax())
    first, last = whole.features[row].tolist()
    hidden = mixed[row, first:last]
    torch.testing.assert_close(hidden[:, 0], plain[row].mean().expand(last - first))
    kept = torch.isclose(mixed, plain)
    assert 0.5 < float(kept.float().mean()) < 1
    assert BlendConfig().still
    assert not BlendConfig(hide_frames=0.1).still


def test_batches_of_mixed_windows_are_functions_of_their_step(tree):
    corpus = open_source(str(tree))
    split = split_corpus(corpus)
    mel = LogMel(LogMelConfig(sample_rate=8000, window=256, hop=64, bands=8))
    config = DataConfig(blend=BlendConfig(mix=0.5, hide_frames=0.2), augment={"roll": True, "gain_db": (-6, 6)})
    options = {"seed": 0, "marks": ("tags",)}
    with SoundExamples(corpus, split, mel, Window(length=6, hop=3), config, **options) as examples:
        assert examples.vocabulary == {"tags": ("guitar", "guitars", "rock")}
        x, told = examples.batch(3, 16)
        halves = [examples.batch(3, 16, rank=rank, world=2) for rank in range(2)]
        assert torch.equal(x, torch.cat([half[0] for half in halves]))
        assert torch.equal(told["tags"], torch.cat([half[1]["tags"] for half in halves]))
        assert bool(((told["tags"] > 0) & (told["tags"] < 1)).any())
        held = [told["tags"] for _, told in examples.held("test", 16)]
        assert set(torch.cat(held).flatten().tolist()) <= {0.0, 1.0}
    with pytest.raises(ConfigError, match=r"data.blend.mix: sounds that are told artist"):
        SoundExamples(corpus, split, mel, Window(length=6, hop=3), config, seed=0, conditions=("artist",))


def test_a_rolled_sound_is_the_same_sound(tree):
    corpus = open_source(str(tree))
    wave = Waveform(WaveformConfig(sample_rate=8000))
    config = DataConfig(augment={"roll": True, "offset": False}, slabs=1)
    window = Window(length=800, hop=800)
    with SoundExamples(corpus, split_corpus(corpus), wave, window, config, seed=0, marks=("tags",)) as examples:
        x, _ = examples.batch(0, 4)
    for one in x[:, 0].numpy():
        sums = {round(float(np.abs(corpus.wave(clip)).sum()), 2) for clip in corpus.clips}
        assert round(float(np.abs(one).sum()), 2) in sums


def test_the_real_label_tables(real_data):
    """The official parts, and what two protocols leak, from the tables themselves."""
    folder = real_data / "mtat_labels"
    if not folder.exists():
        pytest.skip("no label tables")
    paths = {"train": (folder / "train_list.txt").read_text().splitlines()}
    for part in ("valid", "test"):
        paths[part] = [line.partition(",")[0] for line in (folder / f"{part}.csv").read_text().splitlines()[1:]]
    assert {part: len(rows) for part, rows in paths.items()} == {"train": 15244, "valid": 1529, "test": 4332}
    assert all(part_of(path[0]) == part for part, rows in paths.items() for path in rows)
    rows = [(part, facts_of(path)) for part, some in paths.items() for path in some]
    assert all({"track", "album", "artist"} <= set(facts) for _, facts in rows)
    by_folder = {
        name: leak(*([facts[name] for part, facts in rows if part == side] for side in ("train", "test")))
        for name in ("track", "album", "artist")
    }
    assert by_folder["track"].clips == by_folder["album"].clips == 0
    assert 0.5 < by_folder["artist"].clips < 0.7
    order = np.random.default_rng(0).permutation(len(rows))
    heard, tested = (([rows[i][1]["track"] for i in some]) for some in (order[1055:], order[:1055]))
    assert leak(heard, tested).clips > 0.95
