"""The tables of a benchmark's report: a number as ``mean ± deviation over seeds``, the best marked, real data below.

A cell that can't be told from the best (:func:`latentscape.benchmark.findings.between`) is marked a little less.
"""

import math
from collections.abc import Sequence

from latentscape.benchmark.catalogue import CATALOGUE, Entry
from latentscape.benchmark.findings import (
    COST,
    GROUPS,
    Agreement,
    Effect,
    Summary,
    between,
    effect_on,
    improves,
    ranking,
    recommend,
    summary,
    within,
)
from latentscape.benchmark.results import Results
from latentscape.benchmark.wording import (
    SECOND_STAGES,
    Claim,
    bounds,
    change,
    counted,
    decimals,
    fixed,
    listed,
    number,
    title,
)
from latentscape.report.items import Table

NONE = "–"
"""A number that a family does not have."""
KEY = ("mse", "lsd_sound", "nll_iw", "mmd", "frechet")
"""What an axis is looked at in, beside the measure of its expectation."""
SMALL = 0.1
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def scale_of(values: Sequence[float]) -> int:
    """Return the power of ten that a column is shown in: 0, or -3, -6 ... where all its values are small."""
    sizes = sorted(abs(value) for value in values if value)
    if not sizes or sizes[-1] >= SMALL:
        return 0
    return 3 * math.floor(math.log10(sizes[len(sizes) // 2]) / 3)


def head(entry: Entry, power: int) -> str:
    """Return the head of a column: what it is, its scale and unit, and which way is better."""
    scale = f"×10{str(power).translate(_RAISED)}" if power else ""
    unit = " ".join(part for part in (scale, entry.unit) if part)
    way = {"lower": " ↓", "higher": " ↑", "none": ""}[entry.better]
    return f"{entry.title.replace('^2', '²')}{f' ({unit})' if unit else ''}{way}"


def shown(found: Summary, power: int = 0, places: int | None = None) -> str:
    """Return mean and deviation, to ``places`` decimals of the column.

    A finer deviation keeps one digit, but for one that is mere rounding: six digits of a mean are enough.
    """
    scale = 10.0**-power
    if not (found.sd or found.error):
        return number(found.mean * scale)
    own = decimals((found.sd or found.error or 0.0) * scale)
    digits = own if places is None else max(places, own - 1)
    if found.mean:
        digits = max(0, min(digits, 5 - math.floor(math.log10(abs(found.mean * scale)))))
    spread = "" if found.sd is None else f" ± {fixed(found.sd * scale, digits)}"
    return fixed(found.mean * scale, digits) + spread


def places_of(column: Sequence[Summary], power: int) -> int | None:
    """Return the decimals that suit a column: those of the middle one of its deviations (or errors)."""
    errors = sorted(error for one in column if (error := one.sd or one.error))
    return decimals(errors[len(errors) // 2] * 10.0**-power) if errors else None


def family_table(results: Results, source: str, group: str) -> Table | None:
    """Return families by the measures of a group, and what real held-out data reach; ``None`` where there is none."""
    families = results.families(source)
    table = {
        name: {family: summary(results.of(family, source), name) for family in families}
        for name in results.measures(group)
    }
    table = {name: column for name, column in table.items() if any(column.values())}
    if not table:
        return None
    ceilings = results.ceilings.get(source, {})
    columns, cells, best, near = [], [], set(), set()
    for place, (name, column) in enumerate(table.items(), 1):
        values = {family: found.mean for family, found in column.items() if found is not None}
        ceiling = ceilings.get(name)
        power = scale_of([*values.values(), *([ceiling.value] if ceiling else [])])
        columns.append(head(CATALOGUE[name], power))
        places = places_of([found for found in column.values() if found is not None], power)
        cells.append([NONE if found is None else shown(found, power, places) for found in column.values()])
        cells[-1].append(shown(Summary(ceiling.value, None, 1, ceiling.error), power) if ceiling else "")
        marks = _marks(results, source, name, values)
        best |= {(families.index(family), place) for family in marks[0]}
        near |= {(families.index(family), place) for family in marks[1]}
    seeds = [len(results.of(family, source)) for family in families]
    usual = max(seeds)
    names = [f if n == usual else f"{f} ({counted(n, 'seed')})" for f, n in zip(families, seeds, strict=True)]
    rows = list(zip([*names, "real held-out data"], *cells, strict=True))
    if not any(row[-1] for row in cells):
        rows.pop()
    spread = f"Mean ± standard deviation over {usual} seeds" if usual > 1 else "One seed"
    caption = f"{spread}. Set off: the best of a column; underlined: what can't be told from it."
    numeric = tuple(range(1, len(columns) + 1))
    marks = (frozenset(best), frozenset(near))
    return Table(f"{group}, {source}", ("family", *columns), tuple(rows), caption, numeric, *marks)


def _marks(results: Results, source: str, name: str, values: dict[str, float]) -> tuple[list[str], list[str]]:
    """Return the best families of a column, and those that can't be told from them; none where they don't compare."""
    better = CATALOGUE[name].better
    if better == "none" or len(values) < 2 or not results.grid.compares(list(values), name):
        return [], []
    extreme = (min if better == "lower" else max)(values.values())
    best = [family for family, value in values.items() if value == extreme]
    rest = [family for family in values if family not in best]
    deltas = {family: between(results, source, family, best[0], name) for family in rest}
    near = [family for family, delta in deltas.items() if delta and delta.half is not None and not delta.sign]
    return best, near


def axis_table(results: Results, axis: str, found: Sequence[Effect]) -> Table:
    """Return the levels of an axis: change in the expected measure, cost, verdict, and the key measures."""
    config = results.grid.axes[axis]
    extra = [name for name in KEY if name != config.measure and name in results.measures()]
    rows = []
    for effect in found:
        delta = effect.difference
        rows.append(
            (
                effect.value,
                effect.family,
                f"{number(delta.second, delta.half)} → {number(delta.first, delta.half)}",
                change(delta),
                config.expected(effect.value),
                effect.verdict,
                NONE if effect.cost is None else f"{effect.cost:.2f}",
                *(_beside(results, axis, effect, name) for name in extra),
            )
        )
    unit = CATALOGUE[config.measure].unit
    columns = (
        f"level (reference: {config.reference})",
        "family",
        f"{title(config.measure)}{f' ({unit})' if unit else ''}",
        "change [95 %]",
        "expected",
        "verdict",
        "time ×",
        *(head(CATALOGUE[name], 0) for name in extra),
    )
    numeric = (2, 3, 6, *range(7, 7 + len(extra)))
    apart = [title(name) for name in extra if not all(config.compares(level, name) for level in config.values)]
    caption = f"Values of {' and '.join(apart)} can't be compared between data or likelihoods." if apart else ""
    return Table(f"{config.title}: values", columns, tuple(rows), caption, numeric)


def _beside(results: Results, axis: str, effect: Effect, name: str) -> str:
    delta = effect_on(results, axis, effect.value, effect.family, name)
    if delta is None:
        return NONE
    judged = delta.sign and results.grid.axes[axis].compares(effect.value, name)
    word = "" if not judged else " better" if improves(delta, name) else " worse"
    return number(delta.first, delta.half) + word


def overview_table(results: Results, found: Sequence[Effect]) -> Table:
    """Return every effect in a row: what was expected, what came out, and at what cost."""
    rows = tuple(
        (
            results.grid.axes[effect.axis].title,
            effect.value,
            effect.family,
            f"{title(effect.measure)} {results.grid.axes[effect.axis].expected(effect.value)}",
            change(effect.difference),
            effect.verdict,
            NONE if effect.cost is None else f"{effect.cost:.2f}",
        )
        for effect in found
    )
    columns = ("setting", "level", "family", "expected", "change [95 %]", "verdict", "time ×")
    return Table("expectation and finding", columns, rows, "", (4, 6))


def ranking_table(results: Results, source: str) -> Table | None:
    """Return the mean rank of every family in each group of measures and over all."""
    overall = ranking(results, source)
    if overall is None:
        return None
    groups = {group: found for group in GROUPS if (found := ranking(results, source, (group,))) is not None}
    rows = tuple(
        (family, f"{overall.ranks[family]:.2f}", *(f"{found.ranks[family]:.2f}" for found in groups.values()))
        for family in overall.ranks
    )
    best, near = set(), set()
    for column, found in enumerate((overall, *groups.values()), 1):
        for row, family in enumerate(overall.ranks):
            if found.ranks[family] == min(found.ranks.values()):
                best.add((row, column))
            elif family in found.alike:
                near.add((row, column))
    heads = (f"{group} ({len(found.measures)})" for group, found in groups.items())
    caption = (
        "Mean rank, 1 the best; in brackets how many measures count: those with a better direction that all families "
        "have and compare by. Over all: every group weighs the same. Underlined: can't be told from the best (95 % "
        "bootstrap over test items and seeds)."
    )
    numeric = tuple(range(1, len(groups) + 2))
    marks = (frozenset(best), frozenset(near))
    return Table(f"mean ranks, {source}", ("family", "over all", *heads), rows, caption, numeric, *marks)


def recommendation_table(results: Results, source: str) -> Table:
    """Return which family to start from, for each purpose."""
    rows = []
    for purpose, groups in {"everything": GROUPS, **{group: (group,) for group in GROUPS}}.items():
        found = ranking(results, source, groups)
        if found is not None:
            rows.append((purpose, recommend(results, source, found), listed(found.alike)))
    caption = (
        "Rule: rank families by their mean rank; take all that can't be told from the best; of those, the best ranked "
        f"whose training takes at most {COST} times as long as the quickest one's."
    )
    return Table(f"reference models, {source}", ("for", "start from", "can't be told apart"), tuple(rows), caption)


def claims_table(found: Sequence[Claim], source: str) -> Table:
    """Return the claims for the Wasserstein auto-encoder, and whether they hold."""
    rows = []
    for claim in found:
        delta = claim.difference
        values = (number(delta.first, delta.half), number(delta.second, delta.half))
        by = head(CATALOGUE[claim.measure], 0)
        rows.append((claim.family, claim.what, by, *values, change(delta), claim.outcome))
    columns = ("family", "claim: better in", "by", "its value", "VAE", "difference [95 %]", "outcome")
    return Table(f"Wasserstein against variational, {source}", columns, tuple(rows), "", (3, 4, 5))


def stages_table(results: Results, source: str) -> Table | None:
    """Return the Frechet distance with the prior and with each second stage."""
    stages = [name for name in SECOND_STAGES if name in results.measures()]
    rows = []
    for family in results.families(source):
        gains = [within(results, source, family, name, "frechet") for name in stages]
        plain = summary(results.of(family, source), "frechet")
        if plain is not None and any(gains):
            cells = [shown(plain)]
            for gain in gains:
                cells += [NONE, NONE] if gain is None else [number(gain.first, gain.half), change(gain)]
            rows.append((family, *cells))
    if not rows:
        return None
    columns = [part for name in stages for part in (SECOND_STAGES[name].removeprefix("a "), "change [95 %]")]
    caption = "Frechet distance (lower is better) with z from the prior, and from a density learnt on training codes."
    numeric = tuple(range(1, len(columns) + 2))
    return Table(f"second stages, {source}", ("family", "prior", *columns), tuple(rows), caption, numeric)


def agreement_table(found: Sequence[Agreement], name: str) -> Table:
    """Return Kendall's tau of each comparison."""
    rows = []
    for one in found:
        known = not math.isnan(one.tau)
        tau, interval = (number(one.tau, 0.1), bounds(one)) if known else (NONE, NONE)
        rows.append((one.what, tau, interval, len(one.families), one.word))
    caption = (
        "Kendall's tau-b of the mean ranks of the families that both have: 1 ranks the same, −1 the other way round. "
        "Interval: 95 % over test items and seeds."
    )
    return Table(name, ("by", "tau", "interval", "families", "they rank"), tuple(rows), caption, (1, 2))
