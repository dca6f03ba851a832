r"""Windows that follow one another over as many steps, for models that carry a state.

Letters: b rows, k windows a stretch, L the length of a window.

A stretch is a window k times as long, drawn as any window is; the batch of step s holds part s mod k of the stretches
of draw :math:`\lfloor s / k \rfloor`. So a batch stays a pure function of (seed, s), and what a row hears over k steps
is one sound. ``place`` in the context is s mod k: where it is 0 a sound begins, elsewhere it goes on
(:mod:`latentscape.models.memory`).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentscape.data.examples import Batch, Examples
from latentscape.data.split import PartName
from latentscape.models.autoregressive import PRESENT
from latentscape.models.memory import PLACE


class Consecutive(Examples):
    """Stretches, given part by part; held-out ones, too.

    Args:
        stretches: what draws them.
        parts: windows a stretch, k; divides their length.
    """

    def __init__(self, stretches: Examples, parts: int) -> None:
        self.stretches, self.parts = stretches, parts
        *shape, length = stretches.event_shape
        self.event_shape = (*shape, length // parts)
        self.vocabulary, self.seed, self.config = stretches.vocabulary, stretches.seed, stretches.config
        self._last: tuple[tuple[int, ...], Batch] | None = None

    def units(self) -> tuple[Tensor, Tensor]:
        """Return mean and scale of x; see :class:`Examples`."""
        return self.stretches.units()

    def batch(self, step: int, size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Return a training batch; see :class:`Examples`."""
        draw, place = divmod(step, self.parts)
        key = (draw, size, rank, world)
        if self._last is None or self._last[0] != key:
            self._last = key, self.stretches.batch(draw, size, rank=rank, world=world)
        return self._part(*self._last[1], place)

    def _part(self, x: Tensor, context: dict[str, Tensor], place: int) -> Batch:
        length = self.event_shape[-1]
        cut = slice(place * length, (place + 1) * length)
        context = context | {PLACE: torch.full((len(x),), place)}
        if PRESENT in context:
            context[PRESENT] = context[PRESENT][..., cut]
        return x[..., cut], context

    def held(self, part: PartName, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield the windows of a part, stretches of as many rows as a batch has side by side; see :class:`Examples`."""
        whole = None if limit is None else max(1, limit // self.parts)
        for x, context in self.stretches.held(part, size, whole):
            for place in range(self.parts):
                yield self._part(x, context, place)

    def count(self, part: PartName) -> int:
        """Return how many windows a part has."""
        return self.parts * self.stretches.count(part)

    def describe(self) -> str:
        """Say which data these are; see :class:`Examples`."""
        return self.stretches.describe()

    def close(self) -> None:
        """Stop what works in the background."""
        self.stretches.close()
