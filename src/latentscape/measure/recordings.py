r"""How certain a mean over windows is, when windows of one recording are alike.

Letters: n windows, :math:`a_i` what is summed up of each (nats), :math:`b_i` what it is divided by (samples, or 1), g
recordings, :math:`m = \sum_i a_i / \sum_i b_i`. Recordings, not windows, are what was drawn, so that the error is that
of a ratio over clusters (Cochran 1977, chapters 6 and 9A):

.. math:: e = \frac{1}{\sum_i b_i} \sqrt{\frac{g}{g - 1} \sum_{r=1}^{g} \Big(\sum_{i \in r} a_i - m b_i\Big)^2}
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.dist.conditional import Context
from latentscape.models.memory import PLACE, RECORDING

KEPT = (PLACE, RECORDING)
"""What of a context says where its items come from."""


def sounds(batches: Iterable[tuple[int, Int[Tensor, " b"] | None]]) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """Return the first item of every stretch, and the number of the stretch that each item is a window of.

    Windows that a model goes through with the state of the one before are of one stretch, and so told one thing
    throughout; any other item is one by itself.

    Args:
        batches: how many items, and their ``place`` in the context where they have one.
    """
    found: list[Tensor] = []
    start = 0
    for count, place in batches:
        item = torch.arange(start, start + count)
        if place is not None and found and len(found[-1]) == count:
            item = torch.where(place.cpu() > 0, found[-1], item)
        found.append(item)
        start += count
    return torch.cat(found).unique(return_inverse=True)


def recordings(batches: Sequence[tuple[int, Context]]) -> Int[Tensor, " n"]:
    """Return the number of the recording that each item is cut from; of its stretch, where no more is known.

    Args:
        batches: how many items, and their context, or :data:`KEPT` of it.
    """
    if batches and all(RECORDING in context for _, context in batches):
        return torch.cat([context[RECORDING].cpu() for _, context in batches])
    return sounds([(count, context.get(PLACE)) for count, context in batches])[1]


def summed(values: Float[Tensor, " n"], recording: Int[Tensor, " n"]) -> Float[Tensor, " g"]:
    """Return the sum over every recording, by rising number."""
    numbers, place = recording.unique(return_inverse=True)
    return values.new_zeros(len(numbers)).index_add(0, place, values)


def error_of_mean(
    values: Float[Tensor, " n"],
    recording: Int[Tensor, " n"] | None = None,
    weights: Float[Tensor, " n"] | None = None,
) -> float:
    """Return the standard error of sum of values over sum of weights; see the module.

    Args:
        values: :math:`a_i`.
        recording: of every item; ``None``: each is one by itself, as they are taken to be where all are of one.
        weights: :math:`b_i`; ``None`` is 1 each.

    Returns:
        The error; 0 for a single item, which has no spread, and NaN where a value is not finite.
    """
    weights = torch.ones_like(values) if weights is None else weights
    apart = values - weights * (values.sum() / weights.sum())
    if recording is not None and len(groups := summed(apart, recording)) > 1:
        apart = groups
    count = len(apart)
    return float((apart.square().sum() * count / (count - 1)).sqrt() / weights.sum()) if count > 1 else 0.0
