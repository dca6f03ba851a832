"""Splits: training, validation and test parts that share no group, the same on every machine.

A *group* is what must not be heard in training before it is tested: all takes of a note, all of a speaker, a file.
Groups are ordered by a hash of (seed, group), so neither the order of files nor the machine matters. Ten of a hundred
groups test, ten validate, the rest train. A column ``split`` with two or more known values is obeyed instead.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int
from pydantic import Field, field_validator, model_validator

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, DataError, nearest
from latentscape.core.random import seed_of
from latentscape.data.corpus import Clip, Column, ImageCorpus, SoundCorpus

PartName = Literal["train", "valid", "test"]
PARTS: tuple[PartName, ...] = get_args(PartName)
ALIASES: dict[str, PartName] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
"""What a ``split`` column may say."""
RECORDINGS = ("track", "src_file")
"""Labels that say which recording a clip was cut from."""
BLOCKS = 10
"""A long recording is cut into this many blocks; one tests and one validates."""
LEAST_WINDOWS = 5
"""A recording is cut into blocks when each holds at least this many windows."""


class SplitConfig(Record):
    """How a corpus is divided.

    Attributes:
        fold: the value of the label ``fold`` whose clips are the test part; validation is drawn from the others. For
            runs over all folds of an official division.
        by: what no two parts may share, where they are drawn: labels joined by ``+``, or ``file``; ``None`` takes what
            the source says or its labels suggest.
        given: whether a column ``split`` is obeyed.
        test: share of the groups that are drawn for the test.
        valid: likewise for validation; both together below 1.
    """

    fold: str | None = None
    by: str | None = None
    given: bool = True
    test: float = Field(0.1, gt=0, lt=1)
    valid: float = Field(0.1, gt=0, lt=1)

    @field_validator("fold", mode="before")
    @classmethod
    def _text(cls, fold: Any) -> Any:
        return str(fold) if isinstance(fold, int | float) else fold

    @model_validator(mode="after")
    def _leaves_some(self) -> "SplitConfig":
        if self.test + self.valid >= 1:
            raise ValueError(f"test and valid together below 1, got {self.test:g} and {self.valid:g}")
        return self


@dataclass(frozen=True, eq=False)
class Part:
    """Stretches of clips, by columns.

    Attributes:
        rows: of the corpus's clips (or images).
        starts, frames: samples; zero for images.
    """

    rows: Int[np.ndarray, " m"]
    starts: Int[np.ndarray, " m"]
    frames: Int[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | Int[np.ndarray, " k"]) -> "Part":
        """Return some of the stretches."""
        return Part(self.rows[places], self.starts[places], self.frames[places])

    def some(self, most: int) -> "Part":
        """Return at most so many stretches, spread evenly."""
        return self[np.arange(most) * len(self) // most] if most < len(self) else self

    def cut(self, longest: int) -> "Part":
        """Return what is longer than so many samples in stretches of that length, the last one with what is left."""
        counts = np.maximum(1, -(-self.frames // longest))
        which = np.repeat(np.arange(len(self)), counts)
        begin = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) * longest
        return Part(self.rows[which], self.starts[which] + begin, np.minimum(longest, self.frames[which] - begin))

    def clips(self, corpus: SoundCorpus) -> Iterator[Clip]:
        """Yield the stretches as clips, each made when it is asked for: they take far more memory than the columns."""
        for row, start, frames in zip(self.rows.tolist(), self.starts.tolist(), self.frames.tolist(), strict=True):
            clip = corpus.clips[row]
            yield clip if (start, frames) == (0, clip.frames) else clip.part(start, frames)


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of a corpus.

    Attributes:
        group: what no two parts share, such as ``instrument+midi``, ``speaker``, ``file`` or ``block``. Where a column
            ``split`` is obeyed it is ``split column``, or ``split column, file`` where a part that the column lacks was
            drawn from the training part by file.
        seed: of the draw.
        parts: train, valid, test.
        notes: one line each on what a person should know.
    """

    group: str
    seed: int
    parts: Mapping[PartName, Part]
    notes: tuple[str, ...] = ()

    def clips(self, corpus: SoundCorpus, part: PartName, most: int | None = None) -> Iterator[Clip]:
        """Yield the clips of a part, or at most so many, spread evenly; of one that is used in stretches, each."""
        one = self.parts[part]
        return (one if most is None else one.some(most)).clips(corpus)

    def manifest(self, corpus: SoundCorpus | ImageCorpus) -> dict[str, Any]:
        """Return what JSON stores: the group key, the seed, and what is in each part."""
        if isinstance(corpus, ImageCorpus):
            parts: dict[str, list[Any]] = {name: part.rows.tolist() for name, part in self.parts.items()}
        else:
            parts = {name: [_entry(corpus, clip) for clip in self.clips(corpus, name)] for name in self.parts}
        return {
            "group": self.group,
            "seed": self.seed,
            "digest": corpus.digest,
            "notes": list(self.notes),
            "parts": parts,
        }


def _entry(corpus: SoundCorpus, clip: Clip) -> str | list[str | int]:
    name = corpus.clips.names[clip.row]
    return name if clip.name == name else [name, clip.start, clip.frames]


def restore(manifest: Mapping[str, Any], corpus: SoundCorpus | ImageCorpus) -> Split:
    """Return the split that a manifest describes; clips that came to the corpus later are in no part.

    Raises:
        DataError: the corpus lacks a clip that the manifest names.
    """
    parts: dict[PartName, Part] = {}
    if isinstance(corpus, ImageCorpus):
        for name in PARTS:
            rows = np.array(manifest["parts"][name], dtype=np.int64)
            if len(rows) and rows.max() >= len(corpus.images):
                raise DataError(f"the split names image {rows.max()}, but {corpus.name} has {len(corpus.images)}")
            parts[name] = _whole(rows, np.zeros(len(corpus.images), dtype=np.int64))
        return Split(manifest["group"], manifest["seed"], parts, tuple(manifest["notes"]))
    place = {name: row for row, name in enumerate(corpus.clips.names)}
    for name in PARTS:
        found: list[tuple[int, int, int]] = []
        for entry in manifest["parts"][name]:
            clip = entry if isinstance(entry, str) else entry[0]
            if clip not in place:
                raise DataError(f"the split names the clip '{clip}', which {corpus.name} lacks")
            row = place[clip]
            start, frames = (0, int(corpus.clips.frames[row])) if isinstance(entry, str) else entry[1:]
            found.append((row, start, frames))
        parts[name] = _part(found)
    return Split(manifest["group"], manifest["seed"], parts, tuple(manifest["notes"]))


def split_corpus(
    corpus: SoundCorpus | ImageCorpus,
    *,
    seed: int = 0,
    conditions: Sequence[str] = (),
    gap: int | None = None,
    config: SplitConfig = SplitConfig(),
) -> Split:
    """Divide a corpus.

    Args:
        corpus: of clips or images.
        seed: of the draw.
        conditions: labels that the model is given: a speaker that it must know can't be new to it in the test.
        gap: samples left out between blocks of a long recording, one window; ``None`` for one second.
        config: what is asked for.

    Raises:
        ConfigError: what is asked for is no label of the corpus, or no value of it.
    """
    images = isinstance(corpus, ImageCorpus)
    frames = np.zeros(len(corpus.images), dtype=np.int64) if images else corpus.clips.frames
    count = len(frames)
    key = _key(corpus, conditions) if config.by is None else _asked_key(corpus, config.by)
    groups = group_names(corpus, key)
    notes: list[str] = []
    given = _given(corpus, count, notes) if config.given else None
    if config.fold is not None:
        given = _fold(corpus, config.fold)
    if len(set(groups)) < 3 and len(set(group_names(corpus, "file"))) >= 3:
        notes.append(f"there are fewer than 3 groups by {key}, so the split is by file")
        key, groups = "file", group_names(corpus, "file")
    if given is not None:
        parts = _complete(given, groups, seed, notes, config)
        if config.fold is not None:
            return Split(f"fold {config.fold}, {key}", seed, _rows(parts, frames), tuple(notes))
        drawn = {"valid", "test"} - set(given)
        return Split("split column" + (f", {key}" if drawn else ""), seed, _rows(parts, frames), tuple(notes))
    if isinstance(corpus, SoundCorpus) and len(set(groups)) < 3:
        files = group_names(corpus, "file")
        blocks = _blocks(frames, files, corpus.sample_rate if gap is None else gap, seed)
        if blocks is not None:
            return Split("block", seed, blocks, ())
    if len(set(groups)) < 3:
        notes.append(
            f"too few groups to split ({len(set(groups))}, by {key}): validation and test hear the training sounds"
        )
        return Split(key, seed, _rows(dict.fromkeys(PARTS, np.arange(count)), frames), tuple(notes))
    return Split(key, seed, _rows(_draw(np.arange(count), groups, PARTS, seed, config), frames), tuple(notes))


def group_names(corpus: SoundCorpus | ImageCorpus, key: str) -> list[str]:
    """Return the group of each clip or image by a key: ``file``, ``image``, or labels joined by ``+``.

    Neither depends on where the corpus lies. A clip that lacks one of the labels is a group of its own file.
    """
    if isinstance(corpus, ImageCorpus):
        return [str(row) for row in range(len(corpus.images))]
    files = [os.path.relpath(path, corpus.root).replace(os.sep, "/") for path in corpus.clips.paths]
    if key == "file":
        return files
    columns = [corpus.clips.columns[label] for label in key.split("+")]
    groups = []
    for row, file in enumerate(files):
        texts = [column.text(row) for column in columns]
        groups.append(f"file={file}" if None in texts else "\x1f".join(str(text) for text in texts))
    return groups


def _key(corpus: SoundCorpus | ImageCorpus, conditions: Sequence[str]) -> str:
    """Return what groups the corpus: the source's own word, else what its labels suggest, else the file."""
    if isinstance(corpus, ImageCorpus):
        return "image"
    columns = corpus.clips.columns
    told = corpus.group == ("speaker",) and "speaker" in conditions
    if corpus.group and not told and all(label in columns for label in corpus.group):
        return "+".join(corpus.group)
    if "instrument" in columns and "midi" in columns:
        return "instrument+midi"
    for label in RECORDINGS:
        if label in columns:
            return label
    if "speaker" in columns and "speaker" not in conditions:
        return "speaker"
    return "utterance" if "speaker" in columns and "utterance" in columns else "file"


def _columns(corpus: SoundCorpus | ImageCorpus) -> Mapping[str, Column]:
    return corpus.columns if isinstance(corpus, ImageCorpus) else corpus.clips.columns


def _asked_key(corpus: SoundCorpus | ImageCorpus, key: str) -> str:
    own = "image" if isinstance(corpus, ImageCorpus) else "file"
    for label in () if key == own else key.split("+"):
        if label not in _columns(corpus):
            raise ConfigError(f"data.split.by: {corpus.name} has no label '{label}'{nearest(label, _columns(corpus))}")
    return key


def _fold(corpus: SoundCorpus | ImageCorpus, fold: str) -> list[PartName | None]:
    """Return the test part of a fold, the rest as training."""
    column = _columns(corpus).get("fold")
    if column is None:
        raise ConfigError(f"data.split.fold: {corpus.name} has no label 'fold'")
    if fold not in column.values:
        raise ConfigError(f"data.split.fold: got '{fold}'{nearest(fold, column.values)}")
    texts = (column.text(row) for row in range(len(column.codes)))
    return [None if text is None else "test" if text == fold else "train" for text in texts]


def _given(corpus: SoundCorpus | ImageCorpus, count: int, notes: list[str]) -> list[PartName | None] | None:
    """Return what the column ``split`` says of each row, or ``None`` where it says nothing useful."""
    column = _columns(corpus).get("split")
    if column is None:
        return None
    known = {ALIASES.get(value.lower()) for value in column.values} - {None}
    if len(column.values) < 2:
        return None
    if "train" not in known or len(known) < 2:
        notes.append(f"column 'split' says {', '.join(column.values[:5])}, not train, valid and test; it is not obeyed")
        return None
    given = [ALIASES.get((column.text(row) or "").lower()) for row in range(count)]
    unknown = sum(name is None for name in given)
    if unknown:
        notes.append(f"column 'split' says nothing known of {unknown} clips; they are in no part")
    return given


def _complete(
    given: Sequence[PartName | None], groups: Sequence[str], seed: int, notes: list[str], config: SplitConfig
) -> dict[PartName, np.ndarray]:
    """Take the parts that a column names, and draw the missing ones from its training part."""
    rows = {name: np.flatnonzero(np.array([one == name for one in given])) for name in PARTS}
    missing: list[PartName] = [name for name in PARTS[1:] if not len(rows[name])]
    if not missing:
        return rows
    train = rows["train"]
    if len({groups[row] for row in train.tolist()}) < len(missing) + 1:
        notes.append(f"the training part has too few groups to draw {' and '.join(missing)} from; they hear its sounds")
        return rows | dict.fromkeys(missing, train)
    return rows | _draw(train, groups, ("train", *missing), seed, config)


def _draw(
    rows: np.ndarray, groups: Sequence[str], names: Sequence[PartName], seed: int, config: SplitConfig
) -> dict[PartName, np.ndarray]:
    """Deal out rows by group: its share of the groups to each part but the first, which gets the rest, one at least."""
    order = sorted({groups[row] for row in rows.tolist()}, key=lambda group: (seed_of(seed, "split", group), group))
    shares: dict[PartName, float] = {"test": config.test, "valid": config.valid}
    owner: dict[str, PartName] = dict.fromkeys(order, names[0])
    first = 0
    for place in range(len(names) - 1, 0, -1):
        name = names[place]
        count = min(max(1, round(shares[name] * len(order))), len(order) - first - place)
        owner |= dict.fromkeys(order[first : first + count], name)
        first += count
    return {
        name: np.array([row for row in rows.tolist() if owner[groups[row]] == name], dtype=np.int64) for name in names
    }


def _blocks(frames: np.ndarray, files: Sequence[str], gap: int, seed: int) -> dict[PartName, Part] | None:
    """Cut recordings into contiguous blocks; where two parts meet, the earlier block ends a gap before.

    Channels of a file are cut alike: what one of them tests, no other may have told in training.
    """
    found: dict[PartName, list[tuple[int, int, int]]] = {name: [] for name in PARTS}
    first_row: dict[str, int] = {}
    for row, total in enumerate(frames.tolist()):
        size = total // BLOCKS
        if size < (LEAST_WINDOWS + 1) * gap or size < 1:
            return None
        same = first_row.setdefault(files[row], row)
        order = sorted(range(BLOCKS), key=lambda block: seed_of(seed, "block", same, block))
        owner: dict[int, PartName] = {order[0]: "test", order[1]: "valid"}
        first = 0
        for block in range(BLOCKS):
            part = owner.get(block, "train")
            if block + 1 < BLOCKS and owner.get(block + 1, "train") == part:
                continue
            last = block + 1 == BLOCKS
            stop = total if last else (block + 1) * size - gap
            found[part].append((row, first * size, stop - first * size))
            first = block + 1
    return {name: _part(pieces) for name, pieces in found.items()}


def _part(pieces: Sequence[tuple[int, int, int]]) -> Part:
    table = np.array(pieces, dtype=np.int64).reshape(-1, 3)
    return Part(table[:, 0], table[:, 1], table[:, 2])


def _whole(rows: np.ndarray, frames: np.ndarray) -> Part:
    return Part(rows, np.zeros(len(rows), dtype=np.int64), frames[rows])


def _rows(parts: Mapping[PartName, np.ndarray], frames: np.ndarray) -> dict[PartName, Part]:
    return {name: _whole(parts[name], frames) for name in PARTS}


def undivided(corpus: SoundCorpus | ImageCorpus) -> Split:
    """Return a corpus as it is: every part is all of it."""
    images = isinstance(corpus, ImageCorpus)
    count = len(corpus.images) if images else len(corpus.clips)
    frames = np.zeros(count, dtype=np.int64) if images else corpus.clips.frames
    return Split("none", 0, _rows({name: np.arange(count) for name in PARTS}, frames), ())
