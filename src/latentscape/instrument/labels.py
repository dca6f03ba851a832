"""Labels as people give them: names and values, turned into the codes that a model was trained with."""

from collections.abc import Mapping, Sequence

import torch

from latentscape.core.errors import UsageError, nearest
from latentscape.dist.conditional import Context

Labels = Mapping[str, str | int | float]
"""Label -> value. A number may be written as it likes: ``60``, ``"60"`` and ``"60.0"`` are one value."""


def context_of(
    labels: Labels | None, vocabulary: Mapping[str, tuple[str, ...]], rows: int, device: torch.device
) -> Context:
    """Return the codes of labels for ``rows`` items; a label that is not given is unknown (-1).

    Raises:
        UsageError: a label or a value is not known; the nearest ones are offered.
    """
    told = labels or {}
    for name in told:
        if name not in vocabulary:
            why = nearest(name, vocabulary) or "; this model takes none, one trained with `model.condition` does"
            raise UsageError(f"label '{name}' is not known{why}")
    codes = {name: code_of(name, told[name], values) if name in told else -1 for name, values in vocabulary.items()}
    return {name: torch.full((rows,), code, device=device) for name, code in codes.items()}


def code_of(name: str, value: str | int | float, values: Sequence[str]) -> int:
    """Return the place of a label's value among those that a model knows.

    Raises:
        UsageError: it is not among them.
    """
    text = str(value)
    if text in values:
        return list(values).index(text)
    numbers, asked = [_number(known) for known in values], _number(text)
    known = [number for number in numbers if number is not None]
    if asked is None or not known or len(known) < len(numbers):
        raise UsageError(f"label {name}: '{text}' is not known{nearest(text, values)}")
    if asked in known:
        return known.index(asked)
    close = sorted(known, key=lambda number: abs(number - asked))[:3]
    raise UsageError(f"label {name}: {text} is not known; nearest: {', '.join(f'{number:g}' for number in close)}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
