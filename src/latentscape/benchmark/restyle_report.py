"""The report of the benchmark of restyling: every sentence is computed from the cells, every cell is heard and seen."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from latentscape import __version__
from latentscape.benchmark.restyle import SEEDS, place_of
from latentscape.benchmark.restyle_controls import Curve, counts, nearest_with, place_of_curves
from latentscape.benchmark.restyle_pairs import CONTROLS, PAIRS, TUNING, Pair, sounds_of
from latentscape.benchmark.wording import counted
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
Cells = Mapping[Pair, Mapping[str, Sequence[Row]]]
"""Of each pair, what every way came to, seed by seed."""
Curves = Mapping[Pair, Mapping[str, Curve]]


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


def _found(out: Path, pair: Pair) -> dict[str, list[Row]]:
    places = {name: [place_of(out, pair, name, seed) for seed in SEEDS] for name in ORDER}
    rows = {name: [load_object(one, ("asked",)) for one in found if one.exists()] for name, found in places.items()}
    return {name: [*found] for name, found in rows.items() if found}


def _curves(out: Path, pairs: Iterable[Pair]) -> dict[Pair, Mapping[str, Curve]]:
    places = {pair: place_of_curves(out, pair) for pair in pairs}
    return {pair: load_object(place, ("curves",))["curves"] for pair, place in places.items() if place.exists()}


def compose(cells: Cells, out: Path, clips: Path) -> Page:
    """Return the page."""
    plain = {pair: rows for pair, rows in cells.items() if pair.content and not pair.chain and pair not in TUNING}
    tuned = {pair: rows for pair, rows in cells.items() if pair in TUNING}
    chained = {pair: rows for pair, rows in cells.items() if pair.chain}
    textures = {pair: rows for pair, rows in cells.items() if not pair.content}
    sections = [
        Section("The answer", tuple(answer(plain, _curves(out, plain)))),
        Section("Pairs of sounds", tuple(_pairs(plain, out, clips))),
        Section(
            "Pairs that settings were chosen by",
            (*answer(tuned, _curves(out, tuned)), *_pairs(tuned, out, clips)),
            "They say less of the methods than those above.",
        ),
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
    "dB. Seconds: of the processor, for the whole sound. Means over seeds 0 and 1 of methods that draw; heard "
    "and seen is seed 0. Frames in which a sound is silent do not enter style distances."
)


def met(row: Row) -> bool:
    """Return whether a cell reaches all three targets."""
    return row["style"]["random"] <= STYLE and row["content"] >= CONTENT and abs(row["noisier"]) <= NOISE


def answer(plain: Cells, curves: Curves) -> Iterator[Item]:
    """Yield what it comes to."""
    rows = {
        name: {pair: good for pair, found in plain.items() if (good := _good(found.get(name, ())))} for name in ORDER
    }
    rows = {name: found for name, found in rows.items() if found}
    if not rows:
        return
    every = {name: [row for good in found.values() for row in good] for name, found in rows.items()}
    means = {
        name: [fmean(_style(row) for row in found), fmean(row["content"] for row in found)]
        for name, found in every.items()
    }
    good = [name for name in rows if name in METHODS and means[name][0] <= STYLE and means[name][1] >= CONTENT]
    yield Text(
        f"{len(good)} {'method reaches' if len(good) == 1 else 'methods reach'} a mean style distance of {STYLE:g} or "
        "less at a mean content similarity of "
        f"{CONTENT:g} or more" + (f": {', '.join(good)}." if good else "."),
        "key",
    )
    beaten = {
        name: sum(
            all(counts(_style(row), row["content"], curves[pair]) for row in found)
            for pair, found in pairs.items()
            if pair in curves
        )
        for name, pairs in rows.items()
        if name in METHODS
    }
    if beaten and curves:
        said = ", ".join(f"{name} on {beaten[name]}" for name in sorted(beaten, key=lambda one: -beaten[one]))
        yield Text(
            f"A method counts on a pair where it is nearer to the style than both controls at its own content "
            f"similarity, at every seed. Of {counted(len(curves), 'pair')}: {said}.",
            "key",
        )
    table = []
    for name, found in every.items():
        tried = sum(name in pairs for pairs in plain.values())
        table.append(
            (
                name,
                f"{means[name][0]:.2f}",
                f"{means[name][1]:.2f}",
                f"{fmean(abs(row['noisier']) for row in found):.1f}",
                f"{_share(rows[name], lambda row: abs(row['noisier']) <= NOISE)} of {tried}",
                f"{_share(rows[name], met)} of {tried}",
                "" if name in CONTROLS else f"{beaten[name]} of {sum(pair in curves for pair in rows[name])}",
                f"{fmean(row['cpu_seconds'] for row in found):.0f}",
            )
        )
    columns = ("way", "style", "content", "flatness off (dB)", f"within {NOISE:g} dB", "all three met")
    columns = (*columns, "counts", "seconds")
    yield Table("Means over pairs and seeds", columns, tuple(table), numeric=(1, 2, 3, 4, 5, 6, 7))
    yield from _against(rows, curves)


def _against(rows: Mapping[str, Mapping[Pair, Sequence[Row]]], curves: Curves) -> Iterator[Item]:
    """Yield, pair by pair, the style of every method beside that of both controls at its content similarity."""
    names = [name for name in rows if name in METHODS]
    lines = []
    for pair, curve in curves.items():
        cells = []
        for name in names:
            if not (found := rows[name].get(pair)):
                cells.append("")
                continue
            style, content = fmean(map(_style, found)), fmean(row["content"] for row in found)
            control = " / ".join(_number(nearest_with(curve[one], content)) for one in CONTROLS)
            cells.append(f"{style:.2f} ({control})")
        lines.append((pair.title, *cells))
    if lines and names:
        caption = f"Style distance, in brackets that of {' / '.join(CONTROLS)} with as much of the content."
        yield Table(
            "Controls at equal content similarity", ("pair", *names), tuple(lines), caption,
            numeric=tuple(range(1, len(names) + 1)),
        )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "–"


def _good(found: Sequence[Row]) -> list[Row]:
    return [row for row in found if "error" not in row]


def _share(pairs: Mapping[Pair, Sequence[Row]], holds: Callable[[Row], bool]) -> int:
    """Return on how many pairs something holds at every seed."""
    return sum(all(map(holds, found)) for found in pairs.values())


def _style(row: Row) -> float:
    return row["style"]["random"]


def _pairs(cells: Cells, out: Path, clips: Path) -> Iterator[Item]:
    for pair, seeds in cells.items():
        yield _table(pair, seeds)
        rows = {name: found[0] for name, found in seeds.items()}
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


def _table(pair: Pair, rows: Mapping[str, Sequence[Row]]) -> Table:
    keys = {"style": "style"}
    keys |= {"content": "content"} if pair.content else {"other": "unseen half"}
    keys |= {"effect": "error in effect", "as_true": "likeness to the truth"} if pair.chain else {}
    keys |= {"noisier": "flatness (dB)", "cpu_seconds": "seconds"}
    forms = {"noisier": "+.1f", "cpu_seconds": ".0f"}
    lines = []
    for name, found in rows.items():
        if not (good := _good(found)):
            lines.append((f"{name}: {found[0]['error']}", *("" for _ in keys)))
            continue
        values = [{**row, "style": _style(row)} for row in good]
        lines.append((name, *(format(fmean(one[key] for one in values), forms.get(key, ".2f")) for key in keys)))
    plain = pair.content and not pair.chain
    best = {
        (line, 0)
        for line, found in enumerate(rows.values())
        if plain and (good := _good(found)) and all(map(met, good))
    }
    caption = "All three targets met: set off." if plain else ""
    columns = ("way", *keys.values())
    return Table(
        pair.title, columns, tuple(lines), caption, numeric=tuple(range(1, len(columns))), best=frozenset(best)
    )
