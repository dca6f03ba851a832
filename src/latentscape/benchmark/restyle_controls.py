r"""Controls at equal content similarity: how near to the style they come, for what is left of the content.

Letters: q content similarity, s style distance (:mod:`latentscape.measure.style`); g what a control is set to.

A control is a family: content and style together, the style g dB over the content; the content filtered towards the
style's mean spectrum, the filter's gains in dB times g. Its points (q, s) at several g, g = 0 of the filter being the
content itself (1, 1), are joined by straight lines, and

.. math:: s_\text{control}(q) = \min \{ s' : (q', s') \text{ on the lines}, \; q' \ge q \}

is the nearest to the style that it comes with at least q of the content left. A method's (q, s) counts on a pair where
:math:`s < s_\text{control}(q)` for both controls.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from latentscape.benchmark.restyle_pairs import CONTROLS, Pair, Sounds, sounds_of
from latentscape.core.storage import load_object, save_json
from latentscape.measure.style import RandomListener, content_similarity, heard, style_distance

SETTINGS = {"added": (-24, -16, -10, -5, 0, 5, 10, 16, 24), "filtered": (0.25, 0.5, 0.75, 1, 1.25, 1.5)}
Curve = Sequence[Sequence[float]]
"""(g, q, s) in the order of g."""


def curves_of(sounds: Sounds) -> dict[str, list[list[float]]]:
    """Return the points of both controls."""
    assert sounds.content is not None
    rate, listener = sounds.sample_rate, RandomListener()
    content, style = (heard(_tensor(one), rate) for one in (sounds.content, sounds.style))
    found = {}
    for name, settings in SETTINGS.items():
        points = [[-np.inf, 1.0, 1.0]] if name == "added" else [[0.0, 1.0, 1.0]]
        for g in settings:
            y = heard(_tensor(CONTROLS[name](sounds.content, sounds.style, rate, g)), rate)
            points.append([g, content_similarity(y, content).mean, style_distance(y, content, style, listener)])
        found[name] = points
    return found


def kept_curves(out: Path, pair: Pair, clips: Path) -> dict[str, list[list[float]]]:
    """Return the points of both controls of a pair, from OUT's file if they are there."""
    place = place_of_curves(out, pair)
    settings = json.loads(json.dumps(SETTINGS))
    if place.exists() and (kept := load_object(place, ("settings", "curves")))["settings"] == settings:
        return kept["curves"]
    curves = {
        name: [[max(-99.0, g), q, s] for g, q, s in points]
        for name, points in curves_of(sounds_of(clips, pair)).items()
    }
    save_json(place, {"settings": SETTINGS, "curves": curves})
    return curves


def place_of_curves(out: Path, pair: Pair) -> Path:
    """Return the file of a pair's points."""
    return out / "controls" / f"{pair.name}.json"


def nearest_with(curve: Curve, content: float) -> float:
    """Return the least style distance on the lines with at least so much of the content; infinity if there is none."""
    best = np.inf
    for (_, q, s), (_, q2, s2) in pairwise(curve):
        for share in (0.0, 1.0, (content - q) / (q2 - q) if q2 != q else 0.0):
            if 0 <= share <= 1 and q + share * (q2 - q) >= content - 1e-9:
                best = min(best, s + share * (s2 - s))
    return float(best)


def counts(style: float, content: float, curves: Mapping[str, Curve]) -> bool:
    """Return whether a restyled sound is nearer to the style than both controls with as much of the content."""
    return all(style < nearest_with(curve, content) for curve in curves.values())


def _tensor(wave: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
