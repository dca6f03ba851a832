"""Pictures of a run from plain arrays: each function returns a PNG.

Every axis has its unit, every picture the look of :mod:`latentscape.report.style`. Levels are dB below full scale.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from latentscape.core.errors import DataError
from latentscape.report.spectrum import FLOOR, envelope, spectrogram
from latentscape.report.style import CONTINUOUS, LIGHT, SPECTRUM, Theme, category, grid, png, shape, styled

WIDTH = 5.6  # inches: about a page's column, so that labels keep their size, and can still be read on a phone
GAP = 0.012  # of an image's width, on each side of it


def learning_curves(
    rows: Sequence[Mapping[str, float | int | str]], names: Mapping[str, str], *, theme: Theme = LIGHT
) -> bytes:
    """Draw how figures went while training.

    Args:
        rows: as in ``metrics.jsonl``: each with ``step``, ``part`` ("train" or "valid") and figures by name.
        names: which figures to draw, one panel each, and how to call them with their unit, such as
            ``{"distortion": "distortion (nats)"}``.
        theme: paper and ink.

    Raises:
        DataError: none of the rows has any of the figures.
    """
    shown = [name for name in names if any(name in row for row in rows)]
    if not shown:
        raise DataError(f"learning curves: none of {list(names)} is in the {len(rows)} rows of metrics")
    with styled(theme):
        figure = Figure(figsize=(WIDTH, 0.5 + 1.9 * len(shown)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        for axes, name in zip(panels, shown, strict=True):
            for index, (part, label) in enumerate((("train", "training"), ("valid", "validation"))):
                points = [(row["step"], row[name]) for row in rows if row.get("part") == part and name in row]
                if points:
                    step, value = np.array(points, dtype=float).T
                    style = {"lw": 1.4, "alpha": 0.75} if index == 0 else {"lw": 2.2}
                    one = {"marker": "o"} if len(step) == 1 else {}
                    axes.plot(step, value, color=category(index), label=label, **style, **one)
            axes.set_ylabel(names[name])
            grid(axes)
            _zoom(axes)
        panels[0].legend(loc="upper right", ncols=2)
        panels[-1].set_xlabel("training step")
        return png(figure)


def _zoom(axes: Axes) -> None:
    """Let a few wild steps leave the picture when they would press all others flat; where a curve ends is seen."""
    curves = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    curves = [curve[np.isfinite(curve)] for curve in curves]
    values = np.concatenate(curves)
    if len(values) > 20:
        low, high = np.quantile(values, [0.0, 0.97])
        high = max(high, *(curve[-1] for curve in curves if len(curve)))
        if values.max() - low > 3 * (high - low) > 0:
            axes.set_ylim(low - 0.06 * (high - low), high + 0.1 * (high - low))


def waveform_and_spectrogram(
    waves: Mapping[str, Float[np.ndarray, "c n"]], sample_rate: int, *, theme: Theme = LIGHT
) -> bytes:
    """Draw sounds side by side (an original beside its reconstruction): waveforms above spectrograms, on equal scales.

    Args:
        waves: title -> sound of any length.
        sample_rate: Hz.
        theme: paper and ink.
    """
    if not waves:
        raise DataError("waveform and spectrogram: there is no sound to draw")
    seconds = max(wave.shape[1] for wave in waves.values()) / sample_rate
    peak = max(1e-4, *(float(np.abs(wave).max()) for wave in waves.values()))
    levels = {title: spectrogram(wave, sample_rate, 480) for title, wave in waves.items()}
    top = max(float(level.max()) for level in levels.values())
    with styled(theme):
        figure = Figure(figsize=(max(WIDTH, 1 + 3.4 * len(waves)), 4.2), layout="constrained")
        panels = figure.subplots(2, len(waves), sharex=True, sharey="row", squeeze=False, height_ratios=(1, 2.4))
        picture = None
        for column, (title, wave) in enumerate(waves.items()):
            upper, lower = panels[:, column]
            low, high = envelope(wave, 900)
            t = np.linspace(0, wave.shape[1] / sample_rate, len(low))
            upper.fill_between(t, low, high, color=category(column), lw=0.6)
            upper.set_title(title)
            upper.set_ylim(-1.08 * peak, 1.08 * peak)
            picture = _show_levels(lower, levels[title], wave.shape[1] / sample_rate, sample_rate, top)
            lower.set_xlim(0, seconds)
            lower.set_xlabel("time (s)")
        panels[0, 0].set_ylabel("amplitude")
        panels[1, 0].set_ylabel("frequency (kHz)")
        bar = figure.colorbar(picture, ax=panels[1, :], label="level (dB)", pad=0.01)  # pyrefly: ignore
        bar.outline.set_visible(False)
        return png(figure)


def _show_levels(axes: Axes, levels: np.ndarray, seconds: float, sample_rate: int, top: float) -> object:
    axes.set_facecolor("#000004")
    axes.set_ylim(0, sample_rate / 2000)
    return axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, max(seconds, 1 / sample_rate), 0, sample_rate / 2000),
        cmap=SPECTRUM,
        vmin=max(FLOOR, top - 80),
        vmax=max(top, FLOOR + 1),
        interpolation="antialiased",
    )


def latent_map(
    points: Num[np.ndarray, "n 2"],
    labels: Sequence[str] | Num[np.ndarray, " n"],
    *,
    name: str = "",
    test: Sequence[bool] | None = None,
    axes_names: tuple[str, str] = ("first axis", "second axis"),
    theme: Theme = LIGHT,
) -> bytes:
    """Draw points of the latent map, coloured by a word (with a legend) or by a number (with a bar).

    Args:
        points: n places.
        labels: a word or a number for each.
        name: of the label, with its unit.
        test: which points the model has not seen in training; they are drawn hollow.
        axes_names: what the axes are.
        theme: paper and ink.
    """
    hollow = np.zeros(len(points), bool) if test is None else np.asarray(test, bool)
    with styled(theme):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.subplots()
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "fiu":
            values = labels.astype(float)
            finite = values[np.isfinite(values)]
            low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
            dots = None
            for part, marker, size in ((~hollow, "o", 30), (hollow, "D", 42)):
                if part.any() or marker == "o":
                    edge = theme.ink if marker == "D" else theme.paper
                    dots = axes.scatter(
                        *points[part].T, c=values[part], cmap=CONTINUOUS, vmin=low, vmax=high, s=size, marker=marker,
                        edgecolors=edge, linewidths=0.9 if marker == "D" else 0.4, plotnonfinite=True,
                        label="held out" if marker == "D" else "training",
                    )  # fmt: skip
            bar = figure.colorbar(dots, ax=axes, label=name, pad=0.02)  # pyrefly: ignore
            bar.outline.set_visible(False)
            if hollow.any():
                axes.legend(loc="upper left", bbox_to_anchor=(0, 1.09), ncols=2)
        else:
            words = [str(label) for label in labels]
            for index, word in enumerate(sorted(set(words))):
                mine = np.array([other == word for other in words])
                colour, marker = category(index), shape(index)
                axes.scatter(
                    *points[mine & ~hollow].T,
                    color=colour,
                    marker=marker,
                    s=32,
                    lw=0.4,
                    edgecolors=theme.paper,
                    label=word,
                )
                axes.scatter(
                    *points[mine & hollow].T, facecolors="none", edgecolors=colour, marker=marker, s=38, lw=1.5
                )
            if hollow.any():
                axes.scatter([], [], facecolors="none", edgecolors=theme.ink, s=38, lw=1.5, label="hollow: held out")
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=name or None)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        grid(axes, "both")
        return png(figure)


def rates(values: Num[np.ndarray, " d"], *, active: float = 0.05, theme: Theme = LIGHT) -> bytes:
    """Draw how many nats each latent dimension carries, greatest first; those below ``active`` nats are grey."""
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    used = int(np.sum(values > active))
    with styled(theme):
        figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
        axes = figure.subplots()
        colours = [category(2) if value > active else theme.faint for value in ranked]
        axes.bar(np.arange(len(ranked)), ranked, color=colours, width=0.78)
        axes.axhline(active, color=theme.ink, lw=1, ls=(0, (4, 3)))
        axes.set_title(f"{used} of {len(ranked)} dimensions carry more than {active:g} nat")
        if len(ranked) <= 32:
            axes.set_xticks(
                np.arange(len(ranked)), [str(index) for index in order], fontsize=9 if len(ranked) < 25 else 7
            )
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("latent dimension")
        axes.set_ylabel("rate (nats)")
        axes.margins(x=0.01)
        grid(axes)
        return png(figure)


def image_grid(
    images: Num[np.ndarray, "rows columns h w"] | Num[np.ndarray, "rows columns 3 h w"],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    theme: Theme = LIGHT,
) -> bytes:
    """Draw images in rows and columns (a traversal, originals above reconstructions); values 0 to 1, grey or RGB."""
    down, across, *_, height, width = images.shape
    with styled(theme):
        cell = min(0.9, WIDTH / across)
        figure = Figure(figsize=(across * cell + (1.2 if rows else 0.1), down * cell * height / width + 0.4))
        figure.set_layout_engine("constrained", w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
        axes = figure.subplots()  # one for all: each of its own would take longer to lay out than the rest together
        for row, column in np.ndindex(down, across):
            image = np.clip(images[row, column], 0, 1)
            image = image.transpose(1, 2, 0) if image.ndim == 3 else image
            place = (column + GAP, column + 1 - GAP, row + 1 - GAP, row + GAP)
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=place)
        axes.set(xlim=(0, across), ylim=(down, 0), aspect=height / width)
        axes.set_anchor("E")  # names of rows take the room that is left, and were cut where it was shared out
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=9, fontweight="bold")
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        return png(figure)


def walk(
    wave: Float[np.ndarray, "c n"],
    sample_rate: int,
    path: Num[np.ndarray, "steps 2"],
    points: Num[np.ndarray, "m 2"] | None = None,
    *,
    title: str = "",
    theme: Theme = LIGHT,
) -> bytes:
    """Draw the spectrogram of a walk, and beside it the way it took over the latent map.

    Args:
        wave: the sound of the walk.
        sample_rate: Hz.
        path: its places on the map in order.
        points: places of the corpus, drawn faintly beneath.
        title: of the picture.
        theme: paper and ink.
    """
    levels = spectrogram(wave, sample_rate, 900)
    with styled(theme):
        figure = Figure(figsize=(9.6, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3.2, 1))
        _show_levels(left, levels, wave.shape[1] / sample_rate, sample_rate, float(levels.max()))
        left.set_xlabel("time (s)")
        left.set_ylabel("frequency (kHz)")
        left.set_title(title)
        if points is not None:
            right.scatter(*points.T, color=theme.grid, s=9, lw=0)
        ends = np.linspace(0, 1, len(path))
        right.plot(*path.T, color=theme.faint, lw=0.8)
        right.scatter(*path.T, c=ends, cmap=CONTINUOUS, s=7, lw=0, zorder=3)
        right.annotate("start", path[0], xytext=(4, 4), textcoords="offset points", fontsize=8)
        right.set_title("the way", fontsize=10)
        right.xaxis.set_major_locator(MaxNLocator(4))
        right.set_aspect("equal", adjustable="datalim")
        grid(right, "both")
        return png(figure)
