"""Marks: a label of several values at a time, as weights ``[b, K]`` of its values.

Letters: b rows, K values.

The values are those of the training part, sorted; a held-out sound that has others only is known to have none of these,
and one whose cell is empty is not known at all: a row of NaN. Cells are those of :mod:`latentscape.data.tags`.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.core.errors import ConfigError, nearest
from latentscape.data.corpus import Column
from latentscape.data.tags import tags_of


class Marks:
    """Weights of labels for rows of a corpus.

    Args:
        columns: labels of the corpus.
        rows: of the training part, whose values count.
        labels: the names of those wanted.

    Attributes:
        vocabulary: label -> values.

    Raises:
        ConfigError: the corpus lacks a label; the nearest ones are offered.
    """

    def __init__(self, columns: Mapping[str, Column], rows: Int[Tensor, " n"], labels: Sequence[str]) -> None:
        self.vocabulary: dict[str, tuple[str, ...]] = {}
        self._codes: dict[str, Tensor] = {}
        self._tables: dict[str, Tensor] = {}
        for label in labels:
            if label not in columns:
                raise ConfigError(f"the corpus has no label '{label}'{nearest(label, columns)}")
            column = columns[label]
            codes = torch.from_numpy(column.codes.astype("int64"))
            heard = codes[rows].unique().tolist()
            values = sorted({tag for code in heard if code >= 0 for tag in tags_of(column.values[code]) or ()})
            self.vocabulary[label] = tuple(values)
            cells = [tags_of(column.values[code]) for code in range(len(column.values))]
            self._tables[label] = torch.stack([*(weights(cell, values) for cell in cells), weights(None, values)])
            self._codes[label] = codes  # -1, unknown, reaches the table's last row

    def of(self, rows: Int[Tensor, " b"]) -> dict[str, Tensor]:
        """Return the weights of every label for rows of the corpus."""
        return {label: table[self._codes[label][rows]] for label, table in self._tables.items()}


def weights(tags: Sequence[str] | None, values: Sequence[str]) -> Float[Tensor, " k"]:
    """Return 1 for every value that is among the tags, else 0; NaN where nothing is known."""
    if tags is None:
        return torch.full((len(values),), torch.nan)
    return torch.tensor([float(value in tags) for value in values])
