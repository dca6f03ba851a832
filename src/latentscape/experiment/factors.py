"""Known factors of a run's corpus, and how its latents stand for them.

Codes are those of clips: the means of their frames' codes, as the latent map holds them (training and test clips).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch

from latentscape.instrument.map import LatentMap
from latentscape.measure.disentanglement import LEAST_ITEMS, Factor, disentanglement
from latentscape.measure.measure import Number

NUMBERS = (("midi", "pitch"), ("brightness",), ("inharmonicity",), ("noisiness",), ("attack",), ("velocity",))
"""Labels that are known as numbers: those of the synthetic tones and of notes; of several names the first is taken."""
CLASSES = (("instrument", "family"), ("dynamics3", "dynamics"))
LOGARITHMIC = ("attack",)
KNOWN = 0.9
"""Share of clips that need a value for a label to count."""


def factor_figures(chart: LatentMap) -> dict[str, Number]:
    """Return MIG, DCI, SAP and FactorVAE of clips, and how many factors they are of; nothing for fewer than two."""
    rows, factors = known_factors(chart.labels, len(chart.clips))
    if len(factors) < 2 or len(rows) < LEAST_ITEMS or not bool((chart.clips.std(0) > 0).any()):
        return {}
    found = disentanglement(chart.clips[torch.tensor(rows)], factors)
    return {"known_factors": Number(float(len(factors)), ""), **found}


def known_factors(labels: Mapping[str, tuple[str, ...]], clips: int) -> tuple[list[int], dict[str, Factor]]:
    """Return the clips that have all known factors, and these by name; those that do not vary are left out."""
    columns: dict[str, list[Any]] = {}
    for names, read in [(names, _number) for names in NUMBERS] + [(names, _word) for names in CLASSES]:
        for name in names:
            column = [read(value) for value in labels.get(name, ())]
            if sum(value is not None for value in column) >= KNOWN * clips > 0:
                columns[name] = column
                break
    rows = [row for row in range(clips) if all(column[row] is not None for column in columns.values())]
    factors: dict[str, Factor] = {}
    for name, column in columns.items():
        values = [column[row] for row in rows]
        if name in LOGARITHMIC and all(value > 0 for value in values):
            values = [math.log10(value) for value in values]
        if len(set(values)) > 1:
            factors[name] = values
    return rows, factors


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _word(text: str) -> str | None:
    return text or None
