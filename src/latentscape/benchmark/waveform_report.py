"""The report of the benchmark of waves: one table, computed sentences, and every member heard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentscape import __version__
from latentscape.benchmark.grid import slug
from latentscape.benchmark.waveform import found_cells
from latentscape.core.storage import load_object, save_text
from latentscape.measure.waves import costs_more
from latentscape.report import Item, Page, Section, Sound, Table, Text, write_page
from latentscape.report.markdown import markdown
from latentscape.signal import audio

BUDGET = 30_000_000
HEARD = 3
"""Draws of every member on the page."""
LIKELIHOOD = ("bits_per_sample", "unigram_bits", "parameters", "minutes")
DRAWS = ("frechet", "kernel", "deficit", "lsd_sound_model")
WALKS = ("diagonal_centroid", "diagonal_loudness", "circle_centroid", "circle_loudness")
SEAMS = ("diagonal_seam_level", "diagonal_seam_flux", "circle_seam_level", "circle_seam_flux")
LOWER = {"bits_per_sample", "frechet", "kernel", "lsd_sound_model"}
TITLES = {
    "bits_per_sample": "bits a sample",
    "unigram_bits": "single samples",
    "parameters": "weights",
    "minutes": "minutes",
    "frechet": "Frechet",
    "kernel": "kernel",
    "deficit": "high-band deficit, dB",
    "lsd_sound_model": "LSD, dB",
    "diagonal_centroid": "diagonal: centroid",
    "diagonal_loudness": "loudness",
    "circle_centroid": "circle: centroid",
    "circle_loudness": "loudness",
    "diagonal_seam_level": "diagonal: level, dB",
    "diagonal_seam_flux": "flux, dB",
    "circle_seam_level": "circle: level, dB",
    "circle_seam_flux": "flux, dB",
}
Cell = Mapping[str, Any]


def write_waveform_report(out: Path) -> Path:
    """Write ``index.html`` and ``report.md`` of what is there; return the page's path.

    Raises:
        UsageError: there is nothing.
    """
    cells = found_cells(out)
    page = compose(cells, load_object(out / "grid.json", ("title", "source")), out)
    save_text(out / "report.md", markdown(page))
    write_page(page, out / "index.html", budget=BUDGET)
    return out / "index.html"


def compose(cells: Sequence[Cell], grid: Mapping[str, Any], out: Path) -> Page:
    """Return the page."""
    limits = grid.get("ceilings", {})
    sections = [
        Section("The answer", tuple(_answers(cells, limits))),
        Section("Likelihood", (_table(cells, LIKELIHOOD, "of held-out sound"),)),
        Section("Draws", (_table(cells, DRAWS, "against held-out sounds", limits),)),
        Section(
            "Walks", (_table(cells, WALKS, "share of the corpus's 5 to 95 % range"), _table(cells, SEAMS, "seams"))
        ),
        Section("Heard", tuple(item for cell in cells for item in _heard(out, cell))),
    ]
    return Page(
        grid["title"],
        f"Trained and measured on {grid['source']}; conclusions are computed from the tables.",
        ((str(len(cells)), "models"),),
        tuple(Section(one.title, items, one.intro) for one in sections if (items := _filled(one.items))),
        f"latentscape {__version__}",
    )


def _filled(items: Sequence[Item]) -> tuple[Item, ...]:
    return tuple(item for item in items if not isinstance(item, Table) or item.rows)


def _table(cells: Sequence[Cell], names: Sequence[str], title: str, limits: Mapping[str, float] = {}) -> Table:
    """Return the rows that have one of the numbers, and the columns that have one of the rows."""
    rows = [cell for cell in cells if any(name in cell["numbers"] for name in names)]
    columns = [name for name in names if any(name in cell["numbers"] for cell in rows)]
    body = [(cell["name"], *(_shown(name, cell["numbers"].get(name)) for name in columns)) for cell in rows]
    best = set()
    for place, name in enumerate(columns, 1):
        known = [(cell["numbers"][name], row) for row, cell in enumerate(rows) if name in cell["numbers"]]
        if name in LOWER and len(known) > 1:
            best.add((min(known)[1], place))
    if limits and any(name in limits for name in columns):
        body.append(("held-out sounds", *(_shown(name, limits.get(name)) for name in columns)))
    heads = ("model", *(TITLES[name] for name in columns))
    return Table(title, heads, tuple(body), numeric=tuple(range(1, len(heads))), best=frozenset(best))


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if name == "parameters" else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _answers(cells: Sequence[Cell], limits: Mapping[str, float]) -> list[Item]:
    """Return a sentence for every question that the cells can answer."""
    lines = []
    priced = sorted(
        (cell for cell in cells if _has(cell, "bits_per_sample")), key=lambda cell: cell["numbers"]["bits_per_sample"]
    )
    if priced:
        row = ", ".join(f"{cell['name']} {cell['numbers']['bits_per_sample']:.2f}" for cell in priced)
        lines.append(f"A held-out sample costs least under {priced[0]['name']} (bits: {row}).")
        beside = [line for cell in priced[1:] if (line := _dearer(cell, priced[0]))]
        if beside:
            lines.append(f"On the recordings that {priced[0]['name']} was asked for, too: {', '.join(beside)}.")
    near = sorted((cell["numbers"]["frechet"], cell["name"]) for cell in cells if _has(cell, "frechet"))
    if near:
        beside = f"; other held-out sounds have {limits['frechet']:.3g}" if "frechet" in limits else ""
        row = ", ".join(f"{name} {value:.3g}" for value, name in near)
        lines.append(f"Draws come nearest to the corpus from {near[0][1]} (Frechet distance: {row}{beside}).")
    wide = sorted(
        (-cell["numbers"]["diagonal_centroid"], cell["name"]) for cell in cells if _has(cell, "diagonal_centroid")
    )
    if wide:
        row = ", ".join(f"{name} {-100 * value:.0f} %" for value, name in wide)
        lines.append(f"The diagonal goes through this much of the corpus's range of centroid: {row}.")
    return [Text("\n\n".join(lines), "key")] if lines else []


def _dearer(cell: Cell, best: Cell) -> str:
    """Say what the same recordings cost more than under the best."""
    found = costs_more(cell.get("costs", {}), best.get("costs", {}))
    if found is None:
        return ""
    more, error, count = found
    doubt = "" if abs(more) > 2 * error else ", which is not told apart"
    return f"{cell['name']} {more:+.3f} ({error:.3f}; {count} recordings{doubt})"


def _has(cell: Cell, name: str) -> bool:
    return name in cell["numbers"]


def _heard(out: Path, cell: Cell) -> list[Item]:
    folder = out / "sounds" / slug(cell["name"])
    paths = [*sorted(folder.glob("sample*.wav"))[:HEARD], *sorted(folder.glob("[cd]i*.wav"))]
    items: list[Item] = []
    for path in paths:
        wave, rate = audio.read(path)
        items.append(Sound(f"{cell['name']}, {path.stem}", wave, rate, "", path.relative_to(out).as_posix()))
    return items
