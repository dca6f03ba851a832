"""Charts of a benchmark: measures with their error bars, effects with their intervals, learning curves, cost.

Error bars are 95 % of what is not known of a mean: bootstrap over test items and scatter over seeds together
(:mod:`latentscape.benchmark.findings`). Colours are those of :mod:`latentscape.report.style`; in every chart of a
source a family keeps its own, and its marker.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.findings import Effect, scatter, summary
from latentscape.benchmark.results import Results
from latentscape.benchmark.wording import title
from latentscape.report.style import LIGHT, Theme, category, grid, png, shape, styled

WIDTH = 5.6
CURVES = {"distortion": "NLL of x given z (nats)", "rate": "rate (nats)", "mmd": "MMD² of a batch"}
"""Validation figures whose course is drawn, where several families log them."""
SPAN = 30.0
LINE = 28


def labelled(measure: str) -> str:
    """Return the name of a measure with its unit, as on an axis."""
    entry = CATALOGUE[measure]
    return title(measure) + (f" ({entry.unit})" if entry.unit else "")


def measures_chart(results: Results, source: str, measures: Sequence[str], *, theme: Theme = LIGHT) -> bytes:
    """Draw a panel a measure: a dot a family with its error bar, and real held-out data as a line."""
    families = results.families(source)
    across = min(2, len(measures))
    down = -(-len(measures) // across)
    with styled(theme):
        height = 0.62 + 0.23 * len(families)
        figure = Figure(figsize=(WIDTH if across > 1 else 4.2, 0.1 + down * height), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, measure in zip(panels.flat, measures, strict=False):
            _dots(axes, results, source, families, measure)
        for axes in panels[:, 0]:
            axes.set_yticks(range(len(families)), families, fontsize=8.5)
        panels[0, 0].set_ylim(len(families) - 0.4, -0.6)
        for axes in list(panels.flat)[len(measures) :]:
            axes.set_visible(False)
        return png(figure)


def _dots(axes: Axes, results: Results, source: str, families: Sequence[str], measure: str) -> None:
    values = []
    for row, family in enumerate(families):
        noise = scatter(results, source, family, measure)
        found = summary(results.of(family, source), measure, noise)
        if found is not None:
            bar = found.half or 0.0
            style = {"color": category(row), "marker": shape(row), "ms": 5.5, "lw": 1.6, "capsize": 2.5}
            axes.errorbar(found.mean, row, xerr=bar or None, **style)  # pyrefly: ignore
            values += [found.mean]
    ceiling = results.ceilings.get(source, {}).get(measure)
    if ceiling is not None:
        axes.axvline(ceiling.value, color=axes.xaxis.label.get_color(), lw=1, ls=(0, (4, 3)))
        values.append(ceiling.value)
    if min(values, default=0) > 0 and max(values) > SPAN * min(values):
        _logarithmic(axes, "x")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    arrow = {"lower": " ←", "higher": " →", "none": ""}[CATALOGUE[measure].better]
    axes.set_title(fill(labelled(measure) + arrow, LINE), fontsize=9, pad=5)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="both")
    axes.set_axisbelow(True)


def _logarithmic(axes: Axes, which: str) -> None:
    """Give an axis a logarithmic scale with plain numbers."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(numticks=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def effects_chart(found: Sequence[Effect], families: Sequence[str], *, theme: Theme = LIGHT) -> bytes:
    """Draw the effects of one axis: change and interval of each level and family, and the line of no effect."""
    levels = list(dict.fromkeys(effect.value for effect in found))
    measure = found[0].measure
    with styled(theme):
        figure = Figure(figsize=(WIDTH, 0.95 + 0.27 * len(found) + 0.12 * len(levels)), layout="constrained")
        axes = figure.subplots()
        row, ticks = 0.0, []
        for level in levels:
            for effect in (effect for effect in found if effect.value == level):
                index = families.index(effect.family)
                delta = effect.difference
                bars = delta.half or None
                faint = 1.0 if delta.sign else 0.45
                style = {"color": category(index), "marker": shape(index), "ms": 6.5, "lw": 2.2, "capsize": 3}
                axes.errorbar(delta.value, row, xerr=bars, alpha=faint, **style)  # pyrefly: ignore
                ticks.append((row, f"{level} · {effect.family}"))
                row += 1.0
            row += 0.5
        axes.axvline(0, color=theme.ink, lw=1)
        axes.set_yticks([place for place, _ in ticks], [word for _, word in ticks], fontsize=8.5)
        axes.set_ylim(row - 0.6, -0.7)
        axes.set_xlabel(f"change in {labelled(measure)}", fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        grid(axes, "x")
        return png(figure)


def curves_of(folder: Path) -> dict[str, np.ndarray]:
    """Return the validation curves of a run: name -> ``[n, 2]`` of step and value; none where it kept no figures."""
    path = folder / "metrics.jsonl"
    rows: list[Mapping[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the last line of a run that was killed
            continue
    found = {}
    for name in CURVES:
        points = [(row["step"], row[name]) for row in rows if row.get("part") == "valid" and row.get(name) is not None]
        if len(points) > 1:
            found[name] = np.array(points, dtype=float)
    return found


def learning_chart(curves: Mapping[str, Sequence[Mapping[str, np.ndarray]]], *, theme: Theme = LIGHT) -> bytes:
    """Draw validation curves, a line a family (mean over seeds) in a band from the least to the greatest seed.

    Args:
        curves: family -> a mapping of curves (as of :func:`curves_of`) for each seed; a family without any keeps its
            colour.
        theme: paper and ink.
    """
    shown = [name for name in CURVES if sum(any(name in one for one in seeds) for seeds in curves.values()) > 1]
    shown = shown or [name for name in CURVES if any(name in one for seeds in curves.values() for one in seeds)][:1]
    with styled(theme):
        figure = Figure(figsize=(2 * WIDTH, 3.1 if len(shown) < 3 else 2.9), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, max(1, len(shown))))
        for axes, name in zip(panels, shown, strict=False):
            ends, starts = [], []
            for index, seeds in enumerate(curves.values()):
                rows = [one[name] for one in seeds if name in one]
                if not rows:
                    continue
                last = min(row[-1, 0] for row in rows)
                steps = np.unique(np.concatenate([row[:, 0] for row in rows]))
                steps = steps[(steps >= max(row[0, 0] for row in rows)) & (steps <= last)]
                values = np.stack([np.interp(steps, *row.T) for row in rows])
                dashes = ("-", "--", ":")[index // 8 % 3]
                axes.plot(steps, values.mean(0), color=category(index), ls=dashes, lw=1.8, label=list(curves)[index])
                axes.fill_between(steps, values.min(0), values.max(0), color=category(index), alpha=0.18, lw=0)
                ends += values.mean(0)[len(steps) // 8 :].tolist()
                starts.append(values.min())
            low, high = min(starts, default=0), float(np.quantile(ends, 0.98)) if ends else 1.0
            if high > low:
                axes.set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
            axes.set_title(CURVES[name], fontsize=10)
            axes.set_xlabel("training step", fontsize=9)
            axes.tick_params(labelsize=8)
            grid(axes)
        handles = {label: one for axes in panels for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        if handles:
            figure.legend(handles.values(), handles, loc="outside right center", fontsize=8.5)
        return png(figure)


def cost_chart(results: Results, source: str, measure: str, *, theme: Theme = LIGHT) -> bytes:
    """Draw a measure against training time, a dot a family."""
    with styled(theme):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        for index, family in enumerate(results.families(source)):
            cells = results.of(family, source)
            cost, found = summary(cells, "seconds_train"), summary(cells, measure)
            if cost is not None and found is not None:
                axes.errorbar(
                    cost.mean, found.mean, xerr=cost.sd, yerr=found.sd, color=category(index), marker=shape(index),
                    ms=7, lw=1.2, ls="", label=family,
                )  # fmt: skip
        axes.set_xlabel("training time (s)")
        axes.set_ylabel(labelled(measure))
        low, high = axes.get_ylim()
        if low > 0 and high > SPAN * low:
            _logarithmic(axes, "y")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        grid(axes, "both")
        return png(figure)
