"""The same page as plain Markdown: words, tables, and links to the pictures and sounds that lie in files."""

import re
from urllib.parse import quote

from latentscape.report.items import Commands, Compare, Gallery, Item, Map, Page, Picture, Section, Sound, Table, Text

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~&"})
_LEADING = re.compile(r"^(\d*)([-+#=.)])(?=[-+#=\s]|$)")
"""What makes a heading, a line or an item of a list of the words that follow."""


def markdown(page: Page) -> str:
    """Return a page as Markdown; a picture or sound without a file, and a map, are named only."""
    parts = [f"# {plain(page.title)}", *_paragraphs(page.lead)]
    parts += ["\n".join(f"- {plain(name)}: **{plain(value)}**" for value, name in page.facts)]
    for section in page.sections:
        parts += _section(section)
    parts += ["---", plain(page.footer)] if page.footer else []
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _LEADING.sub(r"\1\\\2", " ".join(str(text).split()).translate(_SPECIAL))


def _section(section: Section) -> list[str]:
    parts = [f"## {plain(section.title)}", *_paragraphs(section.intro)]
    for item in section.items:
        parts += _item(item)
    return parts


def _paragraphs(text: str) -> list[str]:
    return [plain(part) for part in text.split("\n\n") if part.strip()]


def _head(title: str, caption: str) -> list[str]:
    return [part for part in (f"**{plain(title)}**" if title else "", plain(caption)) if part]


def _item(item: Item) -> list[str]:
    match item:
        case Text():
            return [*([f"### {plain(item.title)}"] if item.title else []), *_paragraphs(item.text)]
        case Table():
            return [*_head(item.title, item.caption), _table(item)]
        case Picture():
            return [_picture(item), *([plain(item.caption)] if item.caption else [])]
        case Gallery():
            return [*_head(item.title, item.caption), "\n".join(_picture(picture) for picture in item.pictures)]
        case Sound():
            return [_sound(item)]
        case Compare():
            return [*_head(item.title, item.caption), "\n".join(f"- {_sound(sound)}" for sound in item.sounds)]
        case Commands():
            return [*_head(item.title, item.caption), "\n".join(("```sh", *item.lines, "```"))]
        case Map():
            return _head(item.title, item.caption)


def _table(table: Table) -> str:
    numeric = [
        column in table.numeric or all(isinstance(row[column], int | float) for row in table.rows)
        for column in range(len(table.columns))
    ]
    lines = [table.columns, tuple("---:" if number else "---" for number in numeric)]
    rows = [tuple(_cell(table, (r, c), cell) for c, cell in enumerate(row)) for r, row in enumerate(table.rows)]
    lines = [tuple(plain(name) for name in lines[0]), lines[1], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(table: Table, place: tuple[int, int], cell: object) -> str:
    text = plain(cell)
    if place in table.best and text:
        return f"**{text}**"
    return f"*{text}*" if place in table.near and text else text


def _picture(picture: Picture) -> str:
    return f"![{plain(picture.title)}]({quote(picture.file)})" if picture.file else f"({plain(picture.title)})"


def _sound(sound: Sound) -> str:
    name = f"[{plain(sound.title)}]({quote(sound.file)})" if sound.file else plain(sound.title)
    return f"{name}: {plain(sound.caption)}" if sound.caption else name
