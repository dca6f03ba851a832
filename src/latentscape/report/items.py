"""What a page is made of: small frozen records, typed, without markup.

A :class:`Page` holds sections, a :class:`Section` items in order, an item is one of the records below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Num


@dataclass(frozen=True)
class Text:
    """Paragraphs, separated by empty lines; ``good`` and ``warning`` set a verdict off."""

    text: str
    tone: Literal["plain", "good", "warning"] = "plain"


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
    """Sounds beside each other, such as an original and its reconstruction; the listener switches in mid-play."""

    title: str
    sounds: tuple[Sound, ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG picture, and optionally the same on dark paper."""

    title: str
    image: bytes
    caption: str = ""
    dark: bytes = b""


@dataclass(frozen=True)
class Table:
    """Cells are shown as they are given; columns of numbers are set to the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Commands:
    """Lines to type, with a button that copies them."""

    title: str
    lines: tuple[str, ...]
    caption: str = ""


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
    """

    title: str
    points: Num[np.ndarray, "n 2"]
    names: tuple[str, ...]
    labels: Sequence[str | int | float]
    label: str = ""
    test: tuple[bool, ...] = ()
    sounds: tuple[Sound | None, ...] = ()
    caption: str = ""


Item = Text | Sound | Compare | Picture | Table | Commands | Map


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
