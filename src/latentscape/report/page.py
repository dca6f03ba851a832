"""The page: a :class:`~latentscape.report.items.Page` written as one file that needs nothing else.

The HTML file has its style, script, pictures and sounds inside. It loads nothing from anywhere (its content policy
forbids it), can be read on a phone, used with the keyboard and without a script, and follows the reader's choice of
light or dark.

Sounds are embedded as 16-bit FLAC until a budget of bytes is spent: pictures and players in the order of the page, then
the dots of the maps. What finds no room is named in its place, with a link to its file where it has one.
"""

from dataclasses import dataclass
from pathlib import Path

from latentscape.core.storage import save_text
from latentscape.report.items import Page
from latentscape.report.markup import render

BUDGET = 12_000_000
"""Bytes of a page, all in all."""
MAP_SOUNDS = 96
"""Most dots of a map that get a sound."""


@dataclass(frozen=True)
class Written:
    """What became of a page.

    Attributes:
        size: bytes of the file.
        sounds: how many sounds it holds.
        left_out: titles of the sounds and pictures that found no room, and of the maps with fewer sounds than dots, or
            without their choices of colours, ground and places.
    """

    size: int
    sounds: int
    left_out: tuple[str, ...] = ()


def write_page(page: Page, path: Path, *, budget: int = BUDGET, map_sounds: int = MAP_SOUNDS) -> Written:
    """Write the page as one self-contained file, atomically.

    Args:
        page: what to show.
        path: of the ``.html`` file.
        budget: most bytes of the file.
        map_sounds: most sounds a map gets, spread over it.

    Raises:
        DataError: a sound is empty or not finite, a table's rows don't fit its columns, or a map's parts don't fit.
        StorageError: the file could not be written.
    """
    text, sounds, left_out = render(page, budget, map_sounds)
    save_text(Path(path), text)
    return Written(len(text.encode("utf-8")), sounds, tuple(left_out))
