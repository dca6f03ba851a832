r"""Likelihood of waves: what a sample costs under a model without latents.

Letters: x windows ``[b, 1, n]``, m present samples, K levels.

* bits a sample: :math:`-\sum \log_2 p(x_t \mid x_{<t}, c) / m`, over all windows; a window begins without a past, so
  that its first samples cost more: it is an upper bound of what whole sounds cost, the closer the longer the window.
  One that follows on another begins with the state which that left, where a model carries one
* unigram bits: the same of the law that takes every sample for itself, :math:`p(x_t) = (n_{x_t} + 1) / (n + K)`, counts
  of training windows: what any model of time must be below
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.dist.conditional import Context
from latentscape.measure.measure import Number
from latentscape.measure.use import Costs, sounds
from latentscape.models.autoregressive import PRESENT, Autoregressive
from latentscape.models.bounds import evaluating
from latentscape.models.memory import PLACE, Memory

Batches = Iterable[tuple[Tensor, Context]]


def wave_likelihood(model: Autoregressive, batches: Batches) -> dict[str, Number]:
    """Return distortion (nats a window), bits a sample, and its standard error.

    The error is over windows, or over sounds where windows that follow on one another are of one.

    Raises:
        DataError: there is no window.
    """
    costs: list[Tensor] = []
    counts: list[Tensor] = []
    places: list[tuple[int, Tensor | None]] = []
    memory = Memory()
    with evaluating(model):
        for x, context in batches:
            terms = model.terms(x, memory.recall(context))
            memory.keep(terms.after)
            costs.append(terms.distortion[0].double().cpu())
            places.append((len(x), context.get(PLACE)))
            present = context.get(PRESENT)
            counts.append(torch.full((len(x),), float(x[0].numel())) if present is None else present.sum(1).cpu())
    if not costs:
        raise DataError("wave_likelihood got no batches, expected at least one window")
    cost, count = torch.cat(costs), torch.cat(counts).double()
    own = Costs(cost, cost.new_zeros(0, len(cost)), count, cost.new_zeros(0))
    return {
        "distortion": Number(float(cost.mean()), "nats"),
        "bits_per_sample": Number(own.bits(cost), "bits"),
        "bits_per_sample_error": Number(own.error(cost, sounds(places)[1]), "bits"),
    }


def unigram(train: Iterable[Tensor], part: Iterable[Tensor], levels: int) -> dict[str, Number]:
    """Return the unigram bits of codes of a part, counted on training codes.

    Raises:
        DataError: there is no code.
    """
    counts, own = (
        sum((torch.bincount(x.flatten().cpu(), minlength=levels) for x in xs), torch.zeros(levels)).double()
        for xs in (train, part)
    )
    if not own.sum():
        raise DataError("unigram got no codes, expected at least one window")
    law = (counts + 1) / (counts.sum() + levels)
    return {"unigram_bits": Number(-float((own * law.log2()).sum() / own.sum()), "bits")}
