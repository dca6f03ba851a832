"""One look for every picture: colours that colour-blind eyes can tell apart, and figures without global state.

Figures are made with matplotlib's objects (never pyplot), so pictures can be drawn in any thread and leave nothing
behind. A :class:`Theme` is paper and ink; the colours of data are the same on both.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

CATEGORIES = ("#3f6fb5", "#d9622b", "#1f9e77", "#b5478f", "#b58900", "#2f93b5", "#7a6a5a", "#8466c9")
"""Colours of categories, in order; distinct under the common kinds of colour blindness and 3:1 on both papers."""
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "p")
"""Markers of categories in order: colour is never the only difference."""
SPECTRUM = "magma"
"""Colour map of spectrograms."""
CONTINUOUS = "viridis"
"""Colour map of numbers."""
DENSITY = 144  # dots an inch: 1.5 a CSS pixel at the sizes used here


@dataclass(frozen=True)
class Theme:
    """Paper and ink, as CSS colours."""

    paper: str
    ink: str
    faint: str
    grid: str


LIGHT = Theme(paper="#ffffff", ink="#23202b", faint="#6a6573", grid="#e7e3dc")
DARK = Theme(paper="#1d1b24", ink="#ece8f1", faint="#a7a0b3", grid="#35313f")


def category(index: int) -> str:
    """Colour of category ``index``; after the eighth they repeat, with another marker."""
    return CATEGORIES[index % len(CATEGORIES)]


def shape(index: int) -> str:
    """Marker of category ``index``; every round of the colours shifts the markers by one."""
    return SHAPES[(index + index // len(CATEGORIES)) % len(SHAPES)]


def continuous(values: np.ndarray) -> list[str]:
    """Return a CSS colour for each value: least to greatest over :data:`CONTINUOUS`; unknown (NaN) is grey."""
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 1.0)
    share = (values - low) / (high - low if high > low else 1.0)
    rows = (colormaps[CONTINUOUS](np.where(known, share, 0.0))[:, :3] * 255).round().astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" if k else "#99949f" for (r, g, b), k in zip(rows, known, strict=True)]


def settings(theme: Theme) -> dict[str, Any]:
    """Return the matplotlib settings of a theme."""
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib, so pictures are the same everywhere
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "axes.linewidth": 0.8,
        "axes.facecolor": theme.paper,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "axes.unicode_minus": True,
        "figure.facecolor": theme.paper,
        "figure.edgecolor": theme.paper,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "lines.solid_capstyle": "round",
        "svg.hashsalt": "latentscape",
        "text.color": theme.ink,
        "text.parse_math": False,  # names of sounds may hold dollar signs
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
    }


def grid(axes: Axes, axis: str = "y") -> None:
    """Draw light lines behind the data across one axis (``x``, ``y`` or ``both``)."""
    axes.grid(visible=True, axis=axis)  # pyrefly: ignore
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG."""
    out = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png", dpi=DENSITY, metadata={"Software": None})
    return out.getvalue()


def svg(figure: Figure) -> str:
    """Return the figure as SVG text, without dates, so that the same figure gives the same text."""
    out = BytesIO()
    FigureCanvasSVG(figure)
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().decode("utf-8")


def styled(theme: Theme) -> Any:
    """Return a context in which figures made and saved have the theme's look."""
    return rc_context(settings(theme))
