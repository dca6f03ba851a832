"""The Measure: validate, metric, evaluate; what comes out are named numbers with units.

A measure compares an estimate with a reference. On identity it gives its ``ideal``: zero, or a stated ceiling or floor
where the mathematics would give infinity (JSON has none, and a float32 wave knows no better).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from latentscape.core.errors import DataError

CEILING_DB = 200.0
"""Ratios in dB are kept between minus and plus this: more than float32 can tell."""


@dataclass(frozen=True)
class Number:
    """A measured value and its unit (``""`` for a pure number)."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:.4g} {self.unit}".rstrip()


Numbers = Mapping[str, Number]


class Measure(ABC):
    """A comparison of an estimate with a reference, both of one shape.

    Attributes:
        name: key of the number in tables.
        unit: of the number.
        ideal: what identity gives.
        takes: what reference and estimate are, with their shape.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    ideal: ClassVar[float]
    takes: ClassVar[str] = "wave [c, n]"

    def validate(self, reference: Tensor, estimate: Tensor) -> None:
        """Refuse what can't be compared.

        Raises:
            DataError: the shapes differ, there is nothing in them, or a value is not finite.
        """
        if reference.shape != estimate.shape or not reference.numel():
            arrived = f"shapes {list(reference.shape)} and {list(estimate.shape)}"
            raise DataError(f"{self.name} got {arrived}, expected two {self.takes} of one shape, not empty")
        for role, value in (("reference", reference), ("estimate", estimate)):
            if not torch.isfinite(value).all():
                raise DataError(f"{self.name} got a {role} that holds NaN or infinity")

    @abstractmethod
    def metric(self, reference: Tensor, estimate: Tensor) -> float:
        """Return the number for valid arguments."""

    def evaluate(self, reference: Tensor, estimate: Tensor) -> dict[str, Number]:
        """Validate, then return the number under its name."""
        self.validate(reference, estimate)
        return {self.name: Number(self.metric(reference, estimate), self.unit)}


def average(rows: Sequence[Numbers]) -> dict[str, Number]:
    """Return the mean of each number over rows (such as clips), every row weighing the same.

    Raises:
        DataError: there are no rows, or they do not hold the same names and units.
    """
    units = [{name: number.unit for name, number in row.items()} for row in rows]
    if not rows or any(other != units[0] for other in units):
        raise DataError(f"average got rows of {units[:2]}, expected at least one, all with the same names and units")
    return {name: Number(sum(row[name].value for row in rows) / len(rows), unit) for name, unit in units[0].items()}
