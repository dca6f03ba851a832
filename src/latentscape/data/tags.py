"""Tags: several values of a label in one cell of a table, separated by ``;``; synonyms merged, rare ones left out.

A cell that holds nothing but ``;`` says that none applies; an empty one says nothing. Merging comes before counting,
since it changes which tags are the commonest: figures of merged and unmerged tags are of two different tasks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from latentscape.core.config import Record
from latentscape.core.errors import DataError
from latentscape.core.storage import load_json
from latentscape.data.labels import Labels
from latentscape.data.scan import Listing

BETWEEN = ";"


class TagOptions(Record):
    """How a label of several values is read.

    Attributes:
        label: its name.
        merge: a JSON file of lists of synonyms; the first of each list stands for all of them.
        most: how many of the commonest tags, over all of the source, are kept.
        untagged: whether sounds without any of the tags that are kept are used.
    """

    label: str = "tags"
    merge: str | None = None
    most: int | None = Field(default=None, ge=1)
    untagged: bool = True


def tags_of(text: str | None) -> tuple[str, ...] | None:
    """Return the values in a cell, each once, in their order; ``None`` where nothing is known."""
    if not text:
        return None
    return tuple(dict.fromkeys(tag for tag in (piece.strip() for piece in text.split(BETWEEN)) if tag))


def cell_of(tags: Iterable[str]) -> str:
    """Return the cell that holds these values."""
    return BETWEEN.join(tags) or BETWEEN


def retag(listing: Listing, options: TagOptions) -> Listing:
    """Return a listing with its tags merged and the rare ones left out.

    Raises:
        DataError: the file of synonyms can't be read, no file has the label, or all of them are left out.
    """
    found = {file: tags_of(labels.get(options.label)) for file, labels in listing.labels.items()}
    tags = {file: own for file, own in found.items() if own is not None}
    if not tags:
        raise DataError(f"{listing.name}: source.tags.label: no file has '{options.label}'")
    if options.merge is not None:
        tags = merged(tags, synonyms(Path(options.merge).expanduser()))
    if options.most is not None:
        kept = set(commonest(tags.values(), options.most))
        tags = {file: tuple(tag for tag in own if tag in kept) for file, own in tags.items()}
    labels: dict[str, Labels] = dict(listing.labels)
    labels |= {file: {**listing.labels[file], options.label: cell_of(own)} for file, own in tags.items()}
    if options.untagged:
        return replace(listing, labels=labels)
    files = tuple(file for file in listing.files if tags.get(file))
    if not files:
        raise DataError(f"{listing.name}: no file has a tag that is kept")
    note = f"{len(listing.files) - len(files)} of {len(listing.files)} files have none of the tags; they are left out"
    return replace(listing, files=files, labels={file: labels[file] for file in files}, notes=(*listing.notes, note))


def merged(tags: Mapping[str, tuple[str, ...]], groups: Iterable[Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return tags with the first of its group in the place of every synonym, each once."""
    first = {synonym: group[0] for group in map(tuple, groups) for synonym in group}
    return {file: tuple(dict.fromkeys(first.get(tag, tag) for tag in own)) for file, own in tags.items()}


def commonest(tags: Iterable[tuple[str, ...]], most: int) -> list[str]:
    """Return the commonest tags, the commonest first; of equal ones the alphabet's first."""
    counts = Counter(tag for own in tags for tag in own)
    return sorted(counts, key=lambda tag: (-counts[tag], tag))[:most]


def synonyms(path: Path) -> list[list[str]]:
    """Read groups of synonyms.

    Raises:
        DataError: the file is not a JSON list of lists of words, or a word is in several lists.
    """
    groups = load_json(path)
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and group and all(isinstance(tag, str) for tag in group) for group in groups
    ):
        raise DataError(f"{path}: expected a list of lists of words")
    places = Counter(tag for group in groups for tag in set(group))
    if several := sorted(tag for tag, count in places.items() if count > 1):
        raise DataError(f"{path}: '{several[0]}' is in {places[several[0]]} lists, expected every word in one alone")
    return groups
