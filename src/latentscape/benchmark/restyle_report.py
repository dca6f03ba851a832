"""The report of the benchmark of restyling: every sentence is computed from the cells, every cell is heard and seen."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from latentscape import __version__
from latentscape.benchmark.restyle import CONTROLS, PAIRS, Pair, place_of, sounds_of
from latentscape.core.errors import UsageError
from latentscape.core.storage import load_object, save_text
from latentscape.edit.restyle.methods import METHODS
from latentscape.report import Compare, Item, Page, Picture, Section, Sound, Table, Text, write_page
from latentscape.report.markdown import markdown
from latentscape.report.pictures import waveform_and_spectrogram
from latentscape.signal import audio

BUDGET = 30_000_000
STYLE, CONTENT, NOISE = 0.3, 0.5, 3.0
"""What a method shall reach: style distance at most, content similarity at least, flatness over the style's at most."""
ORDER = (*CONTROLS, "other half", *METHODS)

Row = Mapping[str, Any]
Cells = Mapping[Pair, Mapping[str, Row]]


def write_restyle_report(out: Path, clips: Path, pairs: Sequence[Pair] = PAIRS) -> Path:
    """Write ``index.html`` and ``report.md`` of what is there; return the page's path.

    Raises:
        UsageError: there is nothing.
    """
    cells = {pair: found for pair in pairs if (found := _found(out, pair))}
    if not cells:
        raise UsageError(f"{out} holds no benchmark of restyling")
    page = compose(cells, out, clips)
    save_text(out / "report.md", markdown(page))
    write_page(page, out / "index.html", budget=BUDGET)
    return out / "index.html"


def _found(out: Path, pair: Pair) -> dict[str, Row]:
    places = {name: place_of(out, pair, name) for name in ORDER}
    return {name: load_object(place, ("asked",)) for name, place in places.items() if place.exists()}


def compose(cells: Cells, out: Path, clips: Path) -> Page:
    """Return the page."""
    plain = {pair: rows for pair, rows in cells.items() if pair.content and not pair.chain}
    chained = {pair: rows for pair, rows in cells.items() if pair.chain}
    textures = {pair: rows for pair, rows in cells.items() if not pair.content}
    sections = [
        Section("The answer", tuple(answer(plain))),
        Section("Pairs of sounds", tuple(_pairs(plain, out, clips))),
        Section(
            "A known chain",
            tuple(_pairs(chained, out, clips)),
            "The style is another speaker through a band-pass, drive and a room. Error in effect: distance of mel "
            "levels to the content through the same chain; 1 where nothing was done, 0 for the truth.",
        ),
        Section(
            "Textures",
            tuple(_pairs(textures, out, clips)),
            "No content: made of noise and of the first half of a recording. Style distances to that half and to the "
            "other one, which nobody has seen; white noise has 1.",
        ),
        Section("What is measured", (Text(MEASURED),)),
    ]
    return Page(
        "Restyling: methods and controls",
        "One sound goes the way of the content and sounds like the style. Conclusions are computed from the tables.",
        ((str(len(plain)), "pairs"), (str(len({name for rows in cells.values() for name in rows})), "ways")),
        tuple(section for section in sections if section.items),
        f"latentscape {__version__}",
    )


MEASURED = (
    "Style distance: Frechet distance to the style over that of the content to the style, heard by a random "
    "two-dimensional net that has no part in any method; 1 is the content, 0 the style. Content similarity: mean "
    "correlation of onsets, of pitch where both are voiced, and of the levels of 20 bands. Flatness: over the style's, "
    "dB. Seconds: of the processor, for the whole sound."
)


def met(row: Row) -> bool:
    """Return whether a cell reaches all three targets."""
    return row["style"]["random"] <= STYLE and row["content"] >= CONTENT and abs(row["noisier"]) <= NOISE


def answer(plain: Cells) -> Iterator[Item]:
    """Yield what it comes to."""
    rows = {name: [found[name] for found in plain.values() if name in found] for name in ORDER}
    rows = {name: [row for row in found if "error" not in row] for name, found in rows.items()}
    rows = {name: found for name, found in rows.items() if found}
    if not rows:
        return
    means = {
        name: [fmean(_style(row) for row in found), fmean(row["content"] for row in found)]
        for name, found in rows.items()
    }
    good = [name for name in rows if name in METHODS and means[name][0] <= STYLE and means[name][1] >= CONTENT]
    yield Text(
        f"{len(good)} methods reach a mean style distance of {STYLE:g} or less at a mean content similarity of "
        f"{CONTENT:g} or more" + (f": {', '.join(good)}." if good else "."),
        "key",
    )
    table = []
    for name, found in rows.items():
        controls = [
            [pair[control] for control in CONTROLS if control in pair] for pair in plain.values() if name in pair
        ]
        mine = [pair[name] for pair in plain.values() if name in pair]
        beaten = sum(
            "error" not in row and all(_style(row) < _style(control) for control in others)
            for row, others in zip(mine, controls, strict=True)
        )
        table.append(
            (
                name,
                f"{means[name][0]:.2f}",
                f"{means[name][1]:.2f}",
                f"{fmean(abs(row['noisier']) for row in found):.1f}",
                f"{sum(abs(row['noisier']) <= NOISE for row in found)} of {len(mine)}",
                f"{sum(map(met, found))} of {len(mine)}",
                "" if name in CONTROLS else f"{beaten} of {len(mine)}",
                f"{fmean(row['cpu_seconds'] for row in found):.0f}",
            )
        )
    columns = ("way", "style", "content", "flatness off (dB)", f"within {NOISE:g} dB", "all three met")
    columns = (*columns, "style nearer than both controls", "seconds")
    yield Table("Means over pairs", columns, tuple(table), numeric=(1, 2, 3, 4, 5, 6, 7))


def _style(row: Row) -> float:
    return row["style"]["random"]


def _pairs(cells: Cells, out: Path, clips: Path) -> Iterator[Item]:
    for pair, rows in cells.items():
        yield _table(pair, rows)
        sounds = sounds_of(clips, pair)
        given = {"content": sounds.content, "style": sounds.style, "true effect": sounds.truth}
        waves = {name: wave for name, wave in given.items() if wave is not None}
        files = {name: place_of(out, pair, name).with_suffix(".wav") for name in rows if "error" not in rows[name]}
        made = {name: audio.read(file)[0] for name, file in files.items() if file.exists()}
        shown = (waves | {name: made[name] for name in _best(rows) if name in made}).items()
        picture = waveform_and_spectrogram(dict(shown), sounds.sample_rate)
        heard = [Sound(name, wave, sounds.sample_rate) for name, wave in waves.items()]
        heard += [
            Sound(name, wave, sounds.sample_rate, file=files[name].relative_to(out).as_posix())
            for name, wave in made.items()
        ]
        yield Compare(pair.title, tuple(heard))
        file = f"pictures/{pair.name}.png"
        (out / "pictures").mkdir(exist_ok=True)
        (out / file).write_bytes(picture)
        yield Picture(pair.title, picture, file=file)


def _best(rows: Mapping[str, Row]) -> list[str]:
    """Return the method nearest to the style, those that keep enough of the content first."""
    made = [name for name in rows if name in METHODS and "error" not in rows[name]]
    return sorted(made, key=lambda name: (rows[name].get("content", 1.0) < CONTENT, _style(rows[name])))[:1]


def _table(pair: Pair, rows: Mapping[str, Row]) -> Table:
    keys = {"style": "style"}
    keys |= {"content": "content"} if pair.content else {"other": "unseen half"}
    keys |= {"effect": "error in effect", "as_true": "likeness to the truth"} if pair.chain else {}
    keys |= {"noisier": "flatness (dB)", "cpu_seconds": "seconds"}
    lines = []
    for name, row in rows.items():
        if "error" in row:
            lines.append((f"{name}: {row['error']}", *("" for _ in keys)))
            continue
        values = {**row, "style": _style(row)}
        forms = {"noisier": "+.1f", "cpu_seconds": ".0f"}
        lines.append((name, *(format(values[key], forms.get(key, ".2f")) for key in keys)))
    best = {
        (line, 0) for line, name in enumerate(rows) if pair.content and "error" not in rows[name] and met(rows[name])
    }
    caption = "All three targets met: set off." if pair.content and not pair.chain else ""
    columns = ("way", *keys.values())
    return Table(
        pair.title, columns, tuple(lines), caption, numeric=tuple(range(1, len(columns))), best=frozenset(best)
    )
