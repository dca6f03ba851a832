"""What a page is made of: small frozen records, typed, without markup.

A :class:`Page` holds sections, a :class:`Section` items in order, an item is one of the records below.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Num


@dataclass(frozen=True)
class Text:
    """Paragraphs, separated by empty lines; ``good`` and ``warning`` set a verdict off, ``key`` what it comes to.

    A plain text stands beside a picture that follows it.
    """

    text: str
    tone: Literal["plain", "good", "warning", "key"] = "plain"
    title: str = ""


@dataclass(frozen=True)
class Sound:
    """A sound to play.

    Attributes:
        title: its name.
        wave: full scale is 1; scaled down where its peak passes full scale.
        sample_rate: Hz.
        caption: one sentence about it.
        file: where it lies, relative to the page, to be linked; empty for nowhere.
    """

    title: str
    wave: Float[np.ndarray, "c n"]
    sample_rate: int
    caption: str = ""
    file: str = ""


@dataclass(frozen=True)
class Compare:
    """Sounds beside each other, such as an original and its reconstruction; the listener switches in mid-play.

    Where the loudest passes full scale all are scaled down alike.
    """

    title: str
    sounds: tuple[Sound, ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG picture, and optionally the same on dark paper; ``file`` is where it lies, relative to the page."""

    title: str
    image: bytes
    caption: str = ""
    dark: bytes = b""
    file: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures of one kind beside each other, as many in a row as there is room for; ``wide`` ones hold small print."""

    title: str
    pictures: tuple[Picture, ...]
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """Cells are shown as they are given; columns of numbers are set to the right.

    Attributes:
        title: of the table.
        columns: their heads.
        rows: the cells.
        caption: one sentence.
        numeric: columns of words that are to be set as numbers, such as ``"1.2 ± 0.1"``.
        best: cells (row, column) that are set off.
        near: cells that are set off a little less.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    caption: str = ""
    numeric: tuple[int, ...] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    near: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Commands:
    """Lines to type, with a button that copies them."""

    title: str
    lines: tuple[str, ...]
    caption: str = ""

    @classmethod
    def of(cls, title: str, *commands: Sequence[str]) -> "Commands":
        """Return commands given word by word, quoted so that a shell reads names with spaces as they are."""
        return cls(title, tuple(map(shlex.join, commands)))


@dataclass(frozen=True, eq=False)
class Relief:
    """What a map's ground is like: a number at every crossing of a grid, drawn as contours behind the dots.

    Attributes:
        name: with its unit.
        values: from the bottom row up; NaN where nothing is known.
        low: place of the first column and row.
        high: place of the last column and row.
    """

    name: str
    values: Float[np.ndarray, "rows columns"]
    low: tuple[float, float]
    high: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Map:
    """Dots in the plane, coloured by a label; a dot with a sound plays when it is clicked.

    Attributes:
        title: of the map.
        points: places of the n dots.
        names: of the dots.
        labels: a word or a number for each dot.
        label: what the labels are, with a unit where they are numbers.
        test: which dots the model has not seen in training (drawn hollow); empty for none.
        sounds: n sounds, None where a dot has none; empty for none at all.
        caption: one sentence.
        colourings: further labels by name that the reader can choose as colours, a word or number for each dot.
        reliefs: of which the reader can choose one to lie behind the dots.
        layouts: further places of the dots by name.
        layout: what the first places are called, where there are further ones.
    """

    title: str
    points: Num[np.ndarray, "n 2"]
    names: tuple[str, ...]
    labels: Sequence[str | int | float]
    label: str = ""
    test: tuple[bool, ...] = ()
    sounds: tuple[Sound | None, ...] = ()
    caption: str = ""
    colourings: Mapping[str, Sequence[str | int | float]] = field(default_factory=dict)
    reliefs: tuple[Relief, ...] = ()
    layouts: Mapping[str, Num[np.ndarray, "n 2"]] = field(default_factory=dict)
    layout: str = ""


Item = Text | Sound | Compare | Picture | Gallery | Table | Commands | Map


@dataclass(frozen=True)
class Section:
    """A heading and what stands beneath it."""

    title: str
    items: tuple[Item, ...]
    intro: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: its heading.
        lead: one or two sentences under it.
        facts: the summary card: (figure, what it is), such as ``("14 of 16", "latent dimensions in use")``.
        sections: in order.
        footer: one line at the end, such as the version that made it.
    """

    title: str
    lead: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[Section, ...] = ()
    footer: str = ""
