r"""A measured number with the doubt about it: an Estimate holds a value and its bootstrap replicates.

Letters: n items, r replicates, :math:`T(x_1..x_n)` a statistic, :math:`T_i = T(x_{j_{i1}} .. x_{j_{in}})` its value
on n items drawn with replacement (Efron and Tibshirani 1993, chapters 6 and 13).

* error: standard deviation of the replicates
* interval: between their quantiles :math:`(1 \mp \text{level}) / 2` (the percentile interval)

The indices j depend on (n, seed) alone. So replicate i of two models that were measured on the same n items saw the
same items, and the differences of replicates, one by one, are a paired bootstrap of the difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import torch_stream

REPLICATES = 200
"""As many as a statistic gets unless it is costly."""


@dataclass(frozen=True)
class Estimate:
    """A measured value, its unit and its bootstrap.

    Attributes:
        value: of the statistic on all items.
        unit: of the value, ``""`` for a pure number.
        replicates: the statistic on resampled items; ``()`` where it has none.
    """

    value: float
    unit: str
    replicates: tuple[float, ...] = ()

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return the percentile interval; ``None`` with fewer than two replicates.

        Raises:
            UsageError: ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise UsageError(f"interval got a level of {level}, expected more than 0 and less than 1, such as 0.95")
        if len(self.replicates) < 2:
            return None
        low, high = np.quantile(np.asarray(self.replicates), [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    @property
    def error(self) -> float | None:
        """Standard error: the deviation of the replicates; ``None`` with fewer than two."""
        return float(np.std(self.replicates, ddof=1)) if len(self.replicates) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """Return ``{"value", "unit", "replicates"}``, for JSON."""
        return {"value": self.value, "unit": self.unit, "replicates": list(self.replicates)}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> "Estimate":
        """Return what :meth:`to_json` wrote.

        Raises:
            DataError: the record is of another form.
        """
        try:
            return Estimate(
                float(record["value"]), str(record["unit"]), tuple(float(r) for r in record.get("replicates", ()))
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"an estimate was read from {record!r:.100}, expected value, unit and replicates"
            ) from error

    def __str__(self) -> str:
        doubt = "" if self.error is None else f" ± {self.error:.2g}"
        return f"{self.value:.4g}{doubt} {self.unit}".rstrip()


def resamples(n: int, replicates: int = REPLICATES, seed: int = 0) -> Int[Tensor, "r n"]:
    """Return indices of n items drawn with replacement, a row a replicate: a function of (n, seed) on every machine.

    Fewer replicates are the first rows of more.

    Raises:
        DataError: there is no item.
    """
    if n < 1:
        raise DataError(f"resamples got {n} items, expected at least one")
    return torch.randint(n, (replicates, n), generator=torch_stream("bootstrap", n, seed))


def counts(n: int, replicates: int = REPLICATES, seed: int = 0) -> Float[Tensor, "r n"]:
    """Return how often :func:`resamples` drew each item (double): a statistic with weights is then a matrix product."""
    drawn = resamples(n, replicates, seed)
    return torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(1).double().expand_as(drawn))


def mean_of(values: Float[Tensor, " n"], unit: str, *, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """Return the mean over items, with its bootstrap (none for a single item).

    Args:
        values: one an item.
        unit: of the values.
        replicates: r.
        seed: of the resamples.

    Raises:
        DataError: there is no value, or one is not finite.
    """
    values = values.detach().cpu().double()
    if not len(values) or not torch.isfinite(values).all():
        bad = int((~torch.isfinite(values)).sum())
        raise DataError(f"mean_of got {len(values)} values, {bad} of them NaN or infinite, expected some, all finite")
    if len(values) == 1:
        return Estimate(float(values[0]), unit)
    means = counts(len(values), replicates, seed) @ values / len(values)
    return Estimate(float(values.mean()), unit, tuple(means.tolist()))


def recentred(value: float, unit: str, replicates: Sequence[float]) -> Estimate:
    """Return an estimate whose replicates are moved to have their mean at the value.

    For a statistic with a bias that grows as items get fewer, such as a distance that is never negative: resampled
    items are fewer different ones, so the replicates lie off the value by about its own bias.
    """
    shift = value - sum(replicates) / max(1, len(replicates))
    return Estimate(value, unit, tuple(replicate + shift for replicate in replicates))
