r"""Masks: which part of an item is hidden, to be filled in by a model that is told the rest.

Letters: m 1 where a value is seen and 0 where it is hidden, of x's shape ``[*event]``; h, w the two last axes of x (the
only one counts as w); r a draw of the uniform law on [0, 1).

Every mask is one box over h and w, hidden or seen, the same for all channels: so an item's mask is four numbers and a
bit, drawn from the stream of (seed, step) in training, and in held-out parts from that of the item's place.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.random import Key, torch_stream


class QuadrantsMaskConfig(Record):
    """So many quadrants are seen, one of the numbers an item: the lower left, all of the left, all but the upper right.

    Those of Pyro's example of a conditional VAE. ``turned``: mirrored left to right, and top to bottom, by chance.
    """

    kind: Literal["quadrants"] = "quadrants"
    seen: tuple[Literal[1, 2, 3], ...] = Field((1, 2, 3), min_length=1)
    turned: bool = False


class CentreMaskConfig(Record):
    """A box in the middle is hidden; ``share`` of each axis, at least one value."""

    kind: Literal["centre"] = "centre"
    share: float = Field(0.5, gt=0, le=1)


class _SpanConfig(Record):
    least: float = Field(0.2, ge=0, le=1)
    most: float = Field(0.6, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> "_SpanConfig":
        if self.least > self.most:
            raise ValueError("a least share that is not above most")
        return self


class BoxMaskConfig(_SpanConfig):
    """A box anywhere is hidden, each side from ``least`` to ``most`` of its axis."""

    kind: Literal["box"] = "box"


class GapMaskConfig(_SpanConfig):
    """A gap in time is hidden: all of h, from ``least`` to ``most`` of w, anywhere, at its start and end too."""

    kind: Literal["gap"] = "gap"


class AllMaskConfig(Record):
    """Everything is hidden: a model that sees this, too, can also draw from nothing."""

    kind: Literal["all"] = "all"


MaskConfig = Annotated[
    QuadrantsMaskConfig | CentreMaskConfig | BoxMaskConfig | GapMaskConfig | AllMaskConfig, Field(discriminator="kind")
]


_BLOCK = 4096
"""Items that share a random stream."""


def draw_masks(
    configs: Sequence[MaskConfig], event_shape: tuple[int, ...], rows: slice, *keys: Key
) -> Bool[Tensor, "b ..."]:
    """Return masks ``[b, *event]``, true where seen; each item draws one of the kinds, evenly.

    The mask of an item is a function of its row and the other arguments, whatever rows are asked for.

    Args:
        configs: kinds of mask, at least one.
        event_shape: of x.
        rows: places of the items, from ``start`` to ``stop``.
        keys: of the random stream.
    """
    draws = _draws(rows.start, rows.stop, *keys)
    size = (event_shape[-2] if len(event_shape) > 1 else 1, event_shape[-1])
    boxes = torch.stack([_boxes(config, draws, size) for config in configs])
    chosen = boxes[(draws[:, 0] * len(configs)).long(), torch.arange(len(draws))]
    across = _inside(chosen[:, 0], chosen[:, 1], size[0])[:, :, None]
    along = _inside(chosen[:, 2], chosen[:, 3], size[1])[:, None]
    seen = (across & along) ^ (chosen[:, 4] < 0.5)[:, None, None]
    seen = seen.reshape(len(draws), *[1] * (len(event_shape) - 2), *size[2 - min(2, len(event_shape)) :])
    return seen.expand(len(draws), *event_shape)


def _draws(start: int, stop: int, *keys: Key) -> Float[Tensor, "b 8"]:
    """Return eight draws of r for every row."""
    first = start // _BLOCK
    blocks = range(first, max(first, (stop - 1) // _BLOCK) + 1)
    draws = torch.cat([torch.rand(_BLOCK, 8, generator=torch_stream("mask", *keys, block)) for block in blocks])
    return draws[start - first * _BLOCK : stop - first * _BLOCK]


def _inside(low: Tensor, high: Tensor, size: int) -> Bool[Tensor, "b n"]:
    place = torch.arange(size)
    return (place >= low[:, None]) & (place < high[:, None])


def _boxes(config: MaskConfig, draws: Float[Tensor, "b 8"], size: tuple[int, int]) -> Float[Tensor, "b 5"]:
    """Return low and high along h, low and high along w, and 1 where the box is what is seen."""
    h, w = size
    rows = len(draws)
    match config:
        case QuadrantsMaskConfig():
            seen = torch.tensor(config.seen)[(draws[:, 1] * len(config.seen)).long()]
            # one box a number: the lower left is seen, the left is seen, the upper right is hidden
            table = torch.tensor([[h // 2, h, 0, w // 2, 1], [0, h, 0, w // 2, 1], [0, h // 2, w // 2, w, 0]])
            boxes = table[seen - 1].float()
            if config.turned:
                boxes = _mirrored(boxes, 0, h, draws[:, 2] < 0.5)
                boxes = _mirrored(boxes, 2, w, draws[:, 3] < 0.5)
            return boxes
        case CentreMaskConfig():
            sides = [max(1, round(config.share * n)) for n in size]
            box = [end for n, side in zip(size, sides, strict=True) for end in ((n - side) // 2, (n + side) // 2)]
            return torch.tensor([*box, 0]).float().expand(rows, 5)
        case BoxMaskConfig():
            return torch.cat(
                [_span(config, draws[:, 4:6], h), _span(config, draws[:, 6:8], w), torch.zeros(rows, 1)], 1
            )
        case GapMaskConfig():
            whole = torch.tensor([0.0, h]).expand(rows, 2)
            return torch.cat([whole, _span(config, draws[:, 6:8], w), torch.zeros(rows, 1)], 1)
        case AllMaskConfig():
            return torch.tensor([0.0, h, 0, w, 0]).expand(rows, 5)


def _span(config: BoxMaskConfig | GapMaskConfig, draws: Float[Tensor, "b 2"], size: int) -> Float[Tensor, "b 2"]:
    """Return low and high of a stretch of an axis: its length is drawn, then its place, evenly; at least 1 long."""
    shares = config.least + (config.most - config.least) * draws[:, 0]
    length = (shares * size).round().clamp(1, size)
    low = (draws[:, 1] * (size - length + 1)).floor()
    return torch.stack([low, low + length], 1)


def _mirrored(boxes: Tensor, axis: int, size: int, where: Tensor) -> Tensor:
    turned = boxes.clone()
    turned[:, axis], turned[:, axis + 1] = size - boxes[:, axis + 1], size - boxes[:, axis]
    return torch.where(where[:, None], turned, boxes)
