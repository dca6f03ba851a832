"""The report of a benchmark: ``index.html``, one self-contained page, and ``report.md`` with the same words.

Every sentence and table is computed from the cells' records; pictures and sounds are those that the cells left. A cell
that is missing or failed is named, and everything else is shown without it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from latentscape import __version__
from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.charts import cost_chart, curves_of, effects_chart, learning_chart, measures_chart
from latentscape.benchmark.findings import GROUPS, agreements, effects
from latentscape.benchmark.results import Result, Results, load_results
from latentscape.benchmark.tables import (
    agreement_table,
    axis_table,
    claims_table,
    family_table,
    overview_table,
    ranking_table,
    recommendation_table,
    stages_table,
)
from latentscape.benchmark.wording import (
    agreement_sentence,
    answer,
    claim_in_short,
    claims,
    counted,
    finding,
    listed,
    matches,
    stages_sentence,
)
from latentscape.benchmark.wording import title as named
from latentscape.core.errors import StorageError
from latentscape.core.storage import load_object, save_bytes_to, save_text
from latentscape.report import Compare, Gallery, Item, Page, Picture, Section, Sound, Table, Text, write_page
from latentscape.report.markdown import markdown
from latentscape.report.style import DARK
from latentscape.signal import audio

BUDGET = 25_000_000
"""Bytes of the page; with sixty cells it takes about a fifth of them."""
SAMPLED = 2
COMPARED = 3
GALLERIES = {
    "samples": ("random samples", "Draws of the prior, decoded; the same seed for all."),
    "reconstructions": (
        "reconstructions of test items",
        "Originals above (sounds: left), reconstructions below (right).",
    ),
    "interpolations-line": (
        "interpolation, straight line",
        "From one test item to another (images: the items themselves at both ends).",
    ),
    "interpolations-sphere": ("interpolation, great circle", "The same ends, about the mean code."),
    "traversals": (
        "traversal of each axis",
        "Through the mean code, three deviations to either side; the axes along which codes vary most, most first.",
    ),
}
DOTS = (
    "Dots: means. Bars: 95 % of what is not known of them. Dashed: real held-out data. Arrows point to the better side."
)
MAPS = {"train": "latent map of training items", "test": "latent map of test items"}

Draw = Callable[..., bytes]


def write_report(out: Path, against: Path | None = None) -> Path:
    """Write ``index.html`` and ``report.md`` of a benchmark's folder, finished or not; return the page's path.

    Args:
        out: the benchmark's folder.
        against: the folder of another benchmark (notes beside images), whose ranking is compared.

    Raises:
        StorageError: a folder holds no benchmark, or it is damaged.
    """
    out = Path(out)
    results = load_results(out)
    page = compose(results, None if against is None else load_results(Path(against)))
    save_text(out / "report.md", markdown(page))
    write_page(page, out / "index.html", budget=BUDGET)
    return out / "index.html"


def compose(results: Results, other: Results | None = None) -> Page:
    """Return the whole page."""
    grid = results.grid
    asked, done, failed = len(results.planned), len(results.done), len(results.failed)
    sections = [
        Section("The answer", tuple(_answer(results, other))),
        Section("What was compared", (_compared(results),)),
        *(_families(results, source) for source in grid.sources if results.families(source)),
        *_wasserstein(results),
        *_settings(results),
        *_rankings(results, other),
        *_side_by_side(results),
        *_sounds(results),
        *_learning(results),
        Section("Cost", tuple(_cost(results))),
        Section("Failures", tuple(_failures(results))),
        Section("What is measured", (_definitions(results),), "Formulas and their tests: docs/measures.md."),
    ]
    seconds = sum(cell.numbers["seconds_train"].value for cell in results.done if "seconds_train" in cell.numbers)
    facts = [
        (f"{done} of {asked}", "cells finished" + (f", {failed} failed" if failed else "")),
        (str(len(grid.families)), "families"),
        (str(grid.seeds), "seeds a family" if grid.seeds > 1 else "seed"),
        (_clock(seconds), "of training, all cells"),
    ]
    return Page(
        title=grid.title,
        lead="The same data, nets, budget and measures for every family. All conclusions on this page are computed "
        "from its tables.",
        facts=tuple(facts),
        sections=tuple(section for section in sections if section.items),
        footer=f"latentscape {__version__}",
    )


def _answer(results: Results, other: Results | None) -> Iterator[Item]:
    yield Text("\n\n".join(answer(results, other)), "key")
    open_ends = []
    if results.missing:
        open_ends.append(
            f"The grid is not finished: {len(results.missing)} of {len(results.planned)} cells have not run."
        )
    if results.failed:
        open_ends.append(f"{counted(len(results.failed), 'cell')} failed, see below.")
    if results.grid.seeds < 2:
        open_ends.append("Every family ran with one seed: how much training itself varies is not known.")
    if open_ends:
        yield Text(" ".join(open_ends), "warning")
    table = recommendation_table(results, results.first)
    if table.rows:
        yield table


def _compared(results: Results) -> Table:
    grid = results.grid
    train = grid.base.get("train", {})
    steps = sorted({cell.steps for cell in results.done if cell.steps})
    taken = f"; taken were {steps[0]:,}" + (f" to {steps[-1]:,}" if len(steps) > 1 else "") if steps else ""
    budget = f"at most {grid.minutes:g} min a cell"
    if train.get("max_steps"):
        budget = f"{train['max_steps']:,} steps, {budget}"
    measuring = grid.measuring
    rows = [
        ("data", listed(list(dict.fromkeys(cell.data or cell.source for cell in results.done)) or list(grid.sources)))
    ]
    rows += [
        ("budget", budget + taken),
        ("families", ", ".join(grid.families)),
        ("seeds", f"{grid.seeds} of each family on {results.first}; 1 on other sources and at other levels"),
        ("settings varied", ", ".join(axis.title for axis in grid.axes.values()) or "none"),
        (
            "measured on",
            f"{measuring.items:,} held-out items; {measuring.samples:,} samples against as many real items",
        ),
    ]
    if measuring.importance_samples:
        likelihood = f"K = {measuring.importance_samples:,} on {measuring.likelihood_items:,} items"
        rows.append(("IW-NLL", likelihood))
    rows += _machine(results)
    return Table("", ("what", "value"), tuple(rows))


def _machine(results: Results) -> list[tuple[str, str]]:
    """Return where the cells ran, from their run records."""
    found: dict[str, None] = {}
    packages: dict[str, None] = {}
    for cell in results.done:
        try:
            facts: dict[str, Any] = load_object(results.folder(cell) / "run.json")
        except StorageError:
            continue
        parts = (
            facts.get("device"),
            facts.get("machine"),
            facts.get("threads") and counted(facts["threads"], "thread"),
        )
        found[", ".join(str(part) for part in parts if part)] = None
        versions = facts.get("packages") or {}
        packages[", ".join(f"{name} {versions[name]}" for name in ("latentscape", "torch") if name in versions)] = None
    rows = [("machine", "; ".join(filter(None, found))), ("packages", "; ".join(filter(None, packages)))]
    return [row for row in rows if row[1]]


def _families(results: Results, source: str) -> Section:
    items: list[Item] = []
    table = ranking_table(results, source)
    items += [] if table is None else [table]
    charts: list[Item] = []
    for group in (*GROUPS, "paths"):
        table = family_table(results, source, group)
        if table is None:
            continue
        items.append(table)
        here = {name for f in results.families(source) for cell in results.of(f, source) for name in cell.numbers}
        drawn = [name for name in results.measures(group) if name in here and CATALOGUE[name].better != "none"]
        if drawn:
            stem = f"measures-{group}-{_stem(source)}"
            title = f"{group}, {source}"
            charts.append(_chart(results, stem, title, measures_chart, results, source, drawn, caption=DOTS))
    data = next((cell.data for cell in results.done if cell.source == source and cell.data), source)
    return Section(f"Families on {source}", (*items, *charts), f"Data: {data}.")


def _wasserstein(results: Results) -> Iterator[Section]:
    items: list[Item] = []
    for source in results.grid.sources:
        found = claims(results, source)
        if found:
            tests = [said for family in results.families(source) if (said := matches(results, source, family))]
            passed = f"Are codes and prior one distribution? {listed(tests)}." if tests else ""
            items += [Text("\n\n".join([*claim_in_short(found), passed])), claims_table(found, source)]
        table = stages_table(results, source)
        items += [] if table is None else [Text(" ".join(stages_sentence(results, source))), table]
    if items:
        intro = (
            "Tolstikhin et al. (2018) claim that a Wasserstein auto-encoder reconstructs better and draws better "
            "samples than a VAE, since the codes of different items need not overlap. Nets and budget are equal here."
        )
        yield Section("Do the Wasserstein auto-encoder's promises hold?", tuple(items), intro)


def _settings(results: Results) -> Iterator[Section]:
    found = effects(results)
    if not found:
        return
    items: list[Item] = [overview_table(results, found)]
    for axis, config in results.grid.axes.items():
        mine = [effect for effect in found if effect.axis == axis]
        expected = f"Expected. {config.expectation}"
        if not mine:
            items.append(Text(f"{expected}\n\nFound. Not run yet.", title=config.title))
            continue
        families = tuple(results.grid.families)
        caption = "Change against the family as it is, with its 95 % interval; faint: no effect beyond the noise."
        stem = f"effect-{_stem(axis)}"
        items += [
            Text(f"{expected}\n\nFound. {finding(results, axis, mine)}", title=config.title),
            _chart(results, stem, f"{config.title}: effect", effects_chart, mine, families, caption=caption),
            axis_table(results, axis, mine),
        ]
        shown: list[tuple[str, Result]] = []
        for family in config.families:
            shown += [(f"{family}, {config.reference}", cell) for cell in results.of(family)[:1]]
            for value in config.values:
                shown += [(f"{family}, {value}", cell) for cell in results.of(family, None, axis, value)[:1]]
        pictures = _pictures(results, shown, "samples")
        wide = results.grid.suite == "notes"
        items += [Gallery(f"{config.title}: random samples", pictures, wide=wide)] if len(pictures) > 1 else []
    intro = (
        "One thing at a time is changed in a family, everything else left as it is. The interval holds the bootstrap "
        "over test items (paired: the same items) and the scatter over the family's seeds; time × is training time "
        "over that of the family as it is. With many comparisons, one in twenty that is none will look like one."
    )
    yield Section("What each setting does", tuple(items), intro)


def _rankings(results: Results, other: Results | None) -> Iterator[Section]:
    items: list[Item] = []
    first, *rest = results.grid.sources
    pairs = [(f"{first} against {source}", (results, first), (results, source)) for source in rest]
    if other is not None:
        name = f"{results.grid.suite} ({first}) against {other.grid.suite} ({other.first})"
        pairs.insert(0, (name, (results, first), (other, other.first)))
    for name, one, two in pairs:
        found = agreements(one, two)
        if found:
            items += [Text(" ".join(map(agreement_sentence, found))), agreement_table(found, name)]
        else:
            items.append(Text(f"{name}: fewer than three families are shared, or no measures."))
    if items:
        yield Section("Do they rank alike?", tuple(items))


# ------------------------------------------------------------------------------------------------- pictures and sounds


def _stem(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.rpartition("/")[2]).strip("-").lower()


def _chart(results: Results, stem: str, title: str, draw: Draw, *given: Any, caption: str = "") -> Picture:
    """Draw a chart on light and on dark paper; the light one is kept in the report's folder too."""
    light = draw(*given)
    file = f"pictures/{stem}.png"
    save_bytes_to(results.out / file, light)
    return Picture(title, light, caption, draw(*given, theme=DARK), file)


def _shown(results: Results, source: str) -> list[tuple[str, Result]]:
    """Return a finished cell of each family, the first seed that is there."""
    return [(family, results.of(family, source)[0]) for family in results.families(source)]


def _pictures(results: Results, cells: Sequence[tuple[str, Result]], stem: str) -> tuple[Picture, ...]:
    """Return the picture of one kind of each cell that has it."""
    found = []
    for title, cell in cells:
        path = results.folder(cell) / "pictures" / f"{stem}.png"
        if path.is_file():
            found.append(Picture(title, path.read_bytes(), file=path.relative_to(results.out).as_posix()))
    return tuple(found)


def _side_by_side(results: Results) -> Iterator[Section]:
    items: list[Item] = []
    wide = results.grid.suite == "notes"  # spectrograms have axes
    for source in results.grid.sources:
        cells = _shown(results, source)
        on = f", {source}" if len(results.grid.sources) > 1 else ""
        for stem, (title, caption) in GALLERIES.items():
            if source == results.first or stem in ("samples", "reconstructions"):
                pictures = _pictures(results, cells, stem)
                items += [Gallery(title + on, pictures, caption, wide)] if pictures else []
        for part, title in MAPS.items() if source == results.first else ():
            for stem in _map_stems(results, cells, part):
                by = stem.removeprefix(f"map-{part}").strip("-")
                caption = "Codes on the two principal axes of the training items' codes, equal scales, by class."
                name = f"{title}{f' by {by}' if by else ''}{on}"
                items.append(Gallery(name, _pictures(results, cells, stem), caption, wide=True))
    if items:
        yield Section("Side by side", tuple(items), "The first seed of every family.")


def _map_stems(results: Results, cells: Sequence[tuple[str, Result]], part: str) -> list[str]:
    names = {path.stem for _, cell in cells for path in (results.folder(cell) / "pictures").glob(f"map-{part}*.png")}
    return sorted(names)


def _sounds(results: Results) -> Iterator[Section]:
    cells = _shown(results, results.first)
    items: list[Item] = []
    for k in range(1, COMPARED + 1):
        original = next((s for _, cell in cells if (s := _sound(results, cell, f"original-{k}", "original"))), None)
        again = [s for family, cell in cells if (s := _sound(results, cell, f"reconstruction-{k}", family))]
        if original and again:
            items.append(Compare(f"test sound {k}, and how every family reconstructs it", (original, *again)))
    for k in range(1, SAMPLED + 1):
        drawn = tuple(s for family, cell in cells if (s := _sound(results, cell, f"sample-{k}", family)))
        items += [Compare(f"draw {k} of the prior, held", drawn)] if drawn else []
    walked = tuple(s for family, cell in cells if (s := _sound(results, cell, "walk", family)))
    items += (
        [Compare("a walk through the middle of the corpus", walked, "The same random walk for all.")] if walked else []
    )
    if items:
        yield Section("Sounds", tuple(items))


def _sound(results: Results, cell: Result, stem: str, title: str) -> Sound | None:
    path = results.folder(cell) / "sounds" / f"{stem}.wav"
    if not path.is_file():
        return None
    wave, rate = audio.read(path)
    return Sound(title, wave, rate, file=path.relative_to(results.out).as_posix())


# ------------------------------------------------------------------------------------------- curves, cost and the rest


def _learning(results: Results) -> Iterator[Section]:
    curves = {family: [curves_of(results.folder(cell)) for cell in results.of(family)] for family in results.families()}
    if any(one for seeds in curves.values() for one in seeds):
        caption = "Validation part; lines are means over seeds, bands go from the least to the greatest seed."
        picture = _chart(results, "learning-curves", "learning curves", learning_chart, curves, caption=caption)
        yield Section("How they learnt", (picture,))


def _cost(results: Results) -> Iterator[Item]:
    for source in results.grid.sources:
        table = family_table(results, source, "cost")
        if table is not None:
            yield table
    measure = next((name for name in ("frechet", "lsd_sound", "mse") if name in results.measures()), None)
    if measure is not None and "seconds_train" in results.measures() and results.families():
        title = f"{named(measure)} against training time"
        yield _chart(results, "cost", title, cost_chart, results, results.first, measure)


def _failures(results: Results) -> Iterator[Item]:
    if results.failed:
        rows = tuple((cell.name, cell.error or "no reason was left") for cell in results.failed)
        yield Table("cells that failed", ("cell", "reason"), rows)
    if results.missing:
        rows = tuple((cell.name,) for cell in results.missing)
        yield Table(
            "cells that have not run", ("cell",), rows, "Run the same command again: it goes on where it stopped."
        )
    if not results.failed and not results.missing:
        yield Text("No cell failed.")


def _definitions(results: Results) -> Table:
    ways = {"lower": "lower is better", "higher": "higher is better", "none": "neither"}
    rows = tuple(
        (named(name), CATALOGUE[name].unit, ways[CATALOGUE[name].better], CATALOGUE[name].doc)
        for name in results.measures()
    )
    caption = (
        "Ceiling (the row 'real held-out data' of the tables): the same number for real held-out data (samples), or "
        "for the inversion of the original's own features (sound)."
    )
    return Table("", ("measure", "unit", "better", "what it says"), rows, caption)


def _clock(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )
