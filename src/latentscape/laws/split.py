"""The laws of a split."""

from itertools import combinations

from latentscape.data.corpus import ImageCorpus, SoundCorpus
from latentscape.data.split import ALIASES, PARTS, Part, PartName, Split, group_names, restore


def check_split(split: Split, corpus: SoundCorpus | ImageCorpus, gap: int = 0) -> None:
    """Check that parts are not empty, disjoint in sound and by the declared group, and that the manifest tells them.

    Args:
        split: of the corpus.
        corpus: the clips or images.
        gap: samples that must lie between stretches of one recording in different parts.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    manifest = split.manifest(corpus)
    assert manifest["group"] == split.group, "the manifest does not name the group"
    again = restore(manifest, corpus)
    for name in PARTS:
        mine, theirs = split.parts[name], again.parts[name]
        assert len(mine) > 0, f"the {name} part is empty"
        same = all((a == b).all() for a, b in zip((mine.rows, mine.starts, mine.frames), _table(theirs), strict=True))
        assert same, f"the manifest gives another {name} part"
    for one, other in combinations(PARTS, 2):
        _check_apart(split, corpus, one, other, gap)


def _table(part: Part) -> tuple:
    return part.rows, part.starts, part.frames


def _check_apart(split: Split, corpus: SoundCorpus | ImageCorpus, one: PartName, other: PartName, gap: int) -> None:
    left, right = split.parts[one], split.parts[other]
    if split.group == "block":
        for row, start, frames in zip(*_table(left), strict=True):
            for row_2, start_2, frames_2 in zip(*_table(right), strict=True):
                apart = max(start, start_2) - min(start + frames, start_2 + frames_2)
                assert row != row_2 or apart >= gap, f"{one} and {other} lie {apart} samples apart, expected {gap}"
        return
    shared = set(left.rows.tolist()) & set(right.rows.tolist())
    assert not shared, f"{one} and {other} share rows {sorted(shared)[:3]}"
    column, _, key = split.group.rpartition(", ")
    if key == "split column" or (column and (one != "train" or _named(corpus, other))):
        return  # the column has the last word; only what was drawn from its training part was drawn by group
    groups = group_names(corpus, key)
    names = {groups[row] for row in left.rows} & {groups[row] for row in right.rows}
    assert not names, f"{one} and {other} share the {key} {sorted(names)[:3]}"


def _named(corpus: SoundCorpus | ImageCorpus, part: PartName) -> bool:
    columns = corpus.columns if isinstance(corpus, ImageCorpus) else corpus.clips.columns
    return part in {ALIASES.get(value.lower()) for value in columns["split"].values}
