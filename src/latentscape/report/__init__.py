"""Pictures and self-contained pages: what a run or a benchmark shows, from plain arrays and words.

:mod:`~latentscape.report.pictures` draws PNGs; :func:`write_page` writes a :class:`Page` as one HTML file.
"""

from latentscape.report.items import (
    Commands,
    Compare,
    Gallery,
    Item,
    Map,
    Page,
    Picture,
    Relief,
    Section,
    Sound,
    Table,
    Text,
)
from latentscape.report.page import Written, write_page

__all__ = [
    "Commands",
    "Compare",
    "Gallery",
    "Item",
    "Map",
    "Page",
    "Picture",
    "Relief",
    "Section",
    "Sound",
    "Table",
    "Text",
    "Written",
    "write_page",
]
