"""Figures: named numbers with units, and what they are of."""

from dataclasses import dataclass, field

from latentscape.measure.measure import Number


@dataclass(frozen=True)
class Figures:
    """Named numbers with units, what they are of, and a line for each file that has no part in them."""

    about: str
    numbers: dict[str, Number]
    left_out: list[str] = field(default_factory=list, kw_only=True)

    def lines(self) -> list[str]:
        """Return a line a number."""
        return [self.about, *(f"  {name:24} {number}" for name, number in self.numbers.items()), *self.left_out]

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        numbers = {name: {"value": n.value, "unit": n.unit} for name, n in self.numbers.items()}
        plain: dict[str, object] = {"about": self.about, "numbers": numbers}
        return plain | ({"left_out": self.left_out} if self.left_out else {})
