"""Figures: named numbers with units, and what they are of."""

from dataclasses import dataclass

from latentscape.measure.measure import Number


@dataclass(frozen=True)
class Figures:
    """Named numbers with units, and what they are of."""

    about: str
    numbers: dict[str, Number]

    def lines(self) -> list[str]:
        """Return a line a number."""
        return [self.about, *(f"  {name:24} {number}" for name, number in self.numbers.items())]

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        numbers = {name: {"value": n.value, "unit": n.unit} for name, n in self.numbers.items()}
        return {"about": self.about, "numbers": numbers}
