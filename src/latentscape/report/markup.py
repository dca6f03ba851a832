"""From a :class:`~latentscape.report.items.Page` to the text of its HTML file.

Every word that comes from outside passes :func:`escape`. Only this module writes tags.
"""

import html
import re
from dataclasses import replace
from functools import cache
from heapq import nlargest
from importlib.resources import files
from string import Template
from urllib.parse import quote

import numpy as np

from latentscape.core.errors import DataError
from latentscape.report.items import Commands, Compare, Gallery, Item, Map, Page, Picture, Section, Sound, Table, Text
from latentscape.report.media import Budget, data_uri, flac, ridges, strip
from latentscape.report.plane import MOST_DOTS, Plane, draw_map, views

TONES = {"good": "Good", "warning": "Worth a look", "key": "In short"}
PLAY = '<svg viewBox="0 0 24 24" aria-hidden="true"><path class="on" d="M8 5l11 7-11 7z"/><path class="off" d="M7 5h4v14H7zm6 0h4v14h-4z"/></svg>'  # noqa: E501
WIDE = 6
"""A table of more columns is set smaller."""
SHORT = 18
"""Words of so many characters are not broken in a table of numbers."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def escape(text: object) -> str:
    """Return text that is safe between tags and in quoted attributes; what HTML can't hold is shown as a box."""
    return html.escape(_CONTROL.sub("\ufffd", str(text)), quote=True)


def render(page: Page, budget: int, map_sounds: int) -> tuple[str, int, list[str]]:
    """Return the page's HTML, how many sounds it holds and what was left out."""
    resources = {name: _resource(name) for name in ("page.html", "page.css", "page.js")}
    purse = Budget(budget - sum(map(len, resources.values())))
    places = [(s, i) for s, section in enumerate(page.sections) for i in range(len(section.items))]
    # maps come last: their many small sounds take what the players leave
    places.sort(key=lambda place: isinstance(page.sections[place[0]].items[place[1]], Map))
    fixed = {p: _fixed(page.sections[p[0]].items[p[1]]) for p in places}
    frame = (
        resources["page.html"],
        _header(page),
        _contents(page),
        [_heading(s, x) for s, x in enumerate(page.sections)],
    )
    purse.left -= sum(len(text.encode()) for text in fixed.values())
    purse.left -= sum(_frame(item) for section in page.sections for item in section.items)
    purse.left -= len((frame[1] + frame[2] + "".join(frame[3]) + escape(page.footer) * 2).encode()) + 1000
    done = {}
    for place in places:
        item = page.sections[place[0]].items[place[1]]
        done[place] = fixed[place] or _media(item, f"item-{place[0]}-{place[1]}", purse, map_sounds)
    sections = []
    for s, section in enumerate(page.sections):
        body = "\n".join(done[s, i] for i in range(len(section.items)))
        sections.append(
            f'<section aria-labelledby="section-{s}">\n{frame[3][s]}\n<div class="items">{body}</div>\n</section>'
        )
    text = Template(frame[0]).substitute(
        title=escape(page.title),
        style=resources["page.css"],
        script=resources["page.js"],
        header=frame[1],
        contents=frame[2],
        sections="\n".join(sections),
        footer=escape(page.footer),
    )
    return text, purse.sounds, purse.left_out


@cache
def _resource(name: str) -> str:
    return files("latentscape.report").joinpath(name).read_text(encoding="utf-8")


def _header(page: Page) -> str:
    sounds = [item for section in page.sections for item in section.items if isinstance(item, Sound | Compare)]
    first = next((item if isinstance(item, Sound) else item.sounds[0] for item in sounds), None)
    landscape = ""
    if first is not None and 0 not in first.wave.shape and np.isfinite(first.wave).all():
        paths = "".join(f'<path d="{d}"/>' for d in ridges(first.wave, first.sample_rate))
        landscape = (
            f'<svg class="landscape" viewBox="0 0 600 200" preserveAspectRatio="none" aria-hidden="true">{paths}</svg>'
        )
    facts = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in page.facts)
    card = f'<dl class="facts">{facts}</dl>' if facts else ""
    return f"{landscape}<h1>{escape(page.title)}</h1>{_paragraphs(page.lead, 'lead')}{card}"


def _contents(page: Page) -> str:
    links = "".join(f'<li><a href="#section-{s}">{escape(x.title)}</a></li>' for s, x in enumerate(page.sections))
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(page.sections) > 2 else ""


def _heading(index: int, section: Section) -> str:
    return f'<h2 id="section-{index}">{escape(section.title)}</h2>{_paragraphs(section.intro, "intro")}'


def _paragraphs(text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    parts = [part.strip() for part in text.split("\n\n")]
    return "".join(f"<p{name}>{escape(part)}</p>" for part in parts if part)


def _caption(title: str, caption: str) -> str:
    parts = (f"<strong>{escape(title)}</strong>" if title else "") + (
        f" <span>{escape(caption)}</span>" if caption else ""
    )
    return f"<figcaption>{parts}</figcaption>" if parts else ""


def _fixed(item: Item) -> str:
    """The items that are words only, and always find room."""
    match item:
        case Text():
            tag = TONES.get(item.tone)
            mark = f'<span class="tag">{tag}</span>' if tag else ""
            title = f"<h3>{escape(item.title)}</h3>" if item.title else ""
            return f'<div class="text {item.tone}">{mark}{title}{_paragraphs(item.text)}</div>'
        case Table():
            return _table(item)
        case Commands():
            lines = escape("\n".join(item.lines))
            copy = '<button type="button" class="copy" hidden>Copy</button>'
            caption = _caption(item.title, item.caption)
            return f'<figure class="commands">{caption}<pre tabindex="0">{lines}</pre>{copy}</figure>'
    return ""


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise DataError(
                f"page: table '{table.title}' has {len(table.columns)} columns, but a row of {len(row)} cells"
            )
    numeric = [
        c in table.numeric or all(isinstance(row[c], int | float) for row in table.rows)
        for c in range(len(table.columns))
    ]
    kinds = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(_cell(table, (r, c), kind) for c, kind in enumerate(kinds)) + "</tr>"
        for r in range(len(table.rows))
    )
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    label = escape(table.title or "table")
    kind = "table" + (" figures" if table.numeric else "") + (" wide" if len(table.columns) > WIDE else "")
    return f'<figure class="{kind}">{_caption(table.title, table.caption)}<div class="scroll" tabindex="0" role="region" aria-label="{label}">{body}</div></figure>'  # noqa: E501


def _cell(table: Table, place: tuple[int, int], kind: str) -> str:
    text = escape(table.rows[place[0]][place[1]])
    if table.numeric and not kind and len(text) <= SHORT:
        kind = ' class="short"'
    mark = "b" if place in table.best else "i" if place in table.near else ""
    return f"<td{kind}>{f'<{mark}>{text}</{mark}>' if mark else text}</td>"


def _frame(item: Item) -> int:
    """Bytes of the tags and words around an item's media, whether those find room or not; rather too many."""
    match item:
        case Sound():
            return 1500 + 24 * len(item.title + item.caption + item.file)
        case Compare():
            return 600 + 12 * len(item.title + item.caption) + sum(map(_frame, item.sounds))
        case Picture():
            return 600 + 24 * len(item.title + item.caption)
        case Gallery():
            return 600 + 12 * len(item.title + item.caption) + sum(map(_frame, item.pictures))
        case Map():
            each = (
                320 + 6 * len(f"{name}{label}{item.label}")
                for name, label in zip(item.names, item.labels, strict=False)
            )
            dots = sum(nlargest(MOST_DOTS, each))  # more are not drawn
            return 3000 + 24 * len(item.title + item.caption) + dots
    return 0


def _media(item: Item, key: str, purse: Budget, map_sounds: int) -> str:
    match item:
        case Picture():
            return _picture(item, purse)
        case Gallery():
            inside = "".join(_picture(picture, purse) for picture in item.pictures)
            caption, kind = _caption(item.title, item.caption), "side broad" if item.wide else "side"
            return f'<figure class="gallery">{caption}<div class="{kind}">{inside}</div></figure>'
        case Sound():
            return _player(item, purse)
        case Compare():
            peak = max((float(np.abs(sound.wave).max(initial=0.0)) for sound in item.sounds), default=0.0)
            players = "".join(_player(sound, purse, peak) for sound in item.sounds)  # all on one scale
            hint = '<p class="hint">Press play on the other while one plays: it goes on from the same place.</p>'
            caption = _caption(item.title, item.caption)
            return f'<figure class="compare">{caption}<div class="beside">{players}</div>{hint if len(item.sounds) > 1 else ""}</figure>'  # noqa: E501
        case Map():
            return _map(item, key, purse, map_sounds)
    raise AssertionError(f"no markup for {type(item).__name__}")


def _picture(picture: Picture, purse: Budget) -> str:
    light = data_uri("image/png", picture.image)
    dark = data_uri("image/png", picture.dark) if picture.dark else ""
    if not purse.take(len(light) + len(dark)):
        purse.left_out.append(picture.title)
        return f'<figure class="picture missing">{_caption(picture.title, "Left out: the page is full.")}</figure>'
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">' if dark else ""
    alt = escape(". ".join(part for part in (picture.title, picture.caption) if part))
    image = f'<picture>{source}<img src="{light}" alt="{alt}"></picture>'
    return (
        f'<figure class="picture{" both" if dark else ""}">{image}{_caption(picture.title, picture.caption)}</figure>'
    )


def _player(sound: Sound, purse: Budget, peak: float = 0.0) -> str:
    audio = data_uri("audio/flac", flac(sound, peak))
    image = data_uri("image/png", strip(sound.wave, sound.sample_rate, peak))
    seconds = sound.wave.shape[1] / sound.sample_rate
    title = escape(sound.title)
    link = (
        f'<a class="file" href="{escape(quote(sound.file))}">{escape(sound.file.rpartition("/")[2])}</a>'
        if sound.file
        else ""
    )
    if not purse.take(len(audio) + len(image)):
        purse.left_out.append(sound.title)
        where = f"Its file: {link}" if link else ""
        return f'<figure class="player missing">{_caption(sound.title, sound.caption)}<p>{seconds:.1f} s, not in this page, which is full. {where}</p></figure>'  # noqa: E501
    purse.sounds += 1
    top = f"{sound.sample_rate / 2000:.3g} kHz"
    return (
        f'<figure class="player" data-seconds="{seconds:.4f}">'
        f'<div class="strip"><img src="{image}" alt="Waveform and spectrogram of {title}">'
        f'<span class="axis">{top}</span><span class="head"></span><input type="range" class="seek" min="0" '
        f'max="{seconds:.4f}" step="any" value="0" aria-label="Position in {title}" hidden></div>'
        f'<div class="bar"><button type="button" class="play" aria-label="Play {title}" aria-pressed="false" hidden>'
        f"{PLAY}</button>{_caption(sound.title, sound.caption)}"
        f'<span class="time">{_clock(0.0)}\u2009/\u2009{_clock(seconds)}</span></div>'
        f'<audio controls preload="metadata" src="{audio}"></audio>'
        f"{link}</figure>"
    )


def _clock(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def _map(item: Map, key: str, purse: Budget, map_sounds: int) -> str:
    plane = Plane.of(item)
    drawing = draw_map(item, plane, key, escape)
    choices = views(item, plane, escape)
    flat = draw_map(replace(item, reliefs=()), plane, key, escape) if item.reliefs else drawing
    wanted = len(choices) + len(drawing.encode()) - len(flat.encode())
    if wanted and not purse.take(wanted):
        drawing, choices = flat, ""
        purse.left_out.append(f"{item.title}: what can be chosen of it")
    controls = _controls(item, key) if choices else ""
    held: dict[int, str] = {}
    with_sound = [index for index in plane.spread if item.sounds and item.sounds[index] is not None]
    for index in with_sound[:map_sounds]:
        sound = item.sounds[index]
        data = data_uri("audio/flac", flac(sound)) if sound is not None else ""
        if not purse.take(len(data) + 16):
            break
        held[index] = data
    purse.sounds += len(held)
    if len(held) < len(with_sound):
        purse.left_out.append(f"{item.title}: {len(with_sound) - len(held)} of {len(with_sound)} sounds")
    sounds = ",".join(f'"{index}":"{data}"' for index, data in held.items())
    hint = ""
    if held:
        some = " Dots with sound are the brighter ones." if len(held) < len(plane.spread) else ""
        hint = f"Click a dot to hear it; with the keyboard, arrows go from dot to dot and Enter plays.{some}"
    return (
        f'<figure class="map{" some" if 0 < len(held) < len(plane.spread) else ""}" id="{key}">'
        f"{_caption(item.title, item.caption)}{controls}{drawing}"
        f'<p class="said" role="status" aria-live="polite">{hint}</p>'
        f'<script type="application/json">{{{sounds}}}</script>'
        + (f'<script type="application/json" class="views">{choices}</script>' if choices else "")
        + "</figure>"
    )


def _controls(item: Map, key: str) -> str:
    """Return the selects of a map: its colours, what lies behind the dots, and their places."""
    menus = {
        "colour": ("Colour", [name or "one colour" for name in (item.label, *item.colourings)]),
        "relief": ("Ground", ["none", *(relief.name for relief in item.reliefs)]),
        "layout": ("Places", [item.layout or "map", *item.layouts]),
    }
    parts = [
        f'<label for="{key}-{kind}">{title}<select id="{key}-{kind}" class="{kind}">'
        + "".join(f'<option value="{place}">{escape(name)}</option>' for place, name in enumerate(names))
        + "</select></label>"
        for kind, (title, names) in menus.items()
        if len(names) > 1
    ]
    return f'<div class="controls" hidden>{"".join(parts)}</div>'
