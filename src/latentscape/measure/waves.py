r"""Likelihood of waves: what a sample costs under a model without latents.

Letters: x windows ``[b, 1, n]``, m present samples, K levels.

* bits a sample: :math:`-\sum \log_2 p(x_t \mid x_{<t}, c) / m`, over all windows; a window begins without a past, so
  that its first samples cost more: it is an upper bound of what whole sounds cost, the closer the longer the window.
  One that follows on another begins with the state which that left, where a model carries one
* unigram bits: the same of the law that takes every sample for itself, :math:`p(x_t) = (n_{x_t} + 1) / (n + K)`, counts
  of training windows: what any model of time must be below
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.dist.conditional import Context
from latentscape.measure.measure import Number
from latentscape.measure.recordings import KEPT, recordings, summed
from latentscape.measure.use import NATS, Costs
from latentscape.models.autoregressive import PRESENT, Autoregressive
from latentscape.models.bounds import evaluating
from latentscape.models.memory import Memory

Batches = Iterable[tuple[Tensor, Context]]


def wave_likelihood(model: Autoregressive, batches: Batches) -> dict[str, Number]:
    """Return distortion (nats a window), bits a sample, and its standard error over recordings.

    Raises:
        DataError: there is no window.
    """
    own, recording = wave_costs(model, batches)
    return {
        "distortion": Number(float(own.distortion.mean()), "nats"),
        "bits_per_sample": Number(own.bits(own.distortion), "bits"),
        "bits_per_sample_error": Number(own.error(own.distortion, recording), "bits"),
    }


def wave_costs(model: Autoregressive, batches: Batches) -> tuple[Costs, Int[Tensor, " n"]]:
    """Return what each window costs, and the number of the recording that it is cut from.

    Raises:
        DataError: there is no window.
    """
    costs: list[Tensor] = []
    counts: list[Tensor] = []
    told: list[tuple[int, Context]] = []
    memory = Memory()
    with evaluating(model):
        for x, context in batches:
            terms = model.terms(x, memory.recall(context))
            memory.keep(terms.after)
            costs.append(terms.distortion[0].double().cpu())
            told.append((len(x), {name: context[name].cpu() for name in KEPT if name in context}))
            present = context.get(PRESENT)
            counts.append(torch.full((len(x),), float(x[0].numel())) if present is None else present.sum(1).cpu())
    if not costs:
        raise DataError("wave_likelihood got no batches, expected at least one window")
    cost, count = torch.cat(costs), torch.cat(counts).double()
    return Costs(cost, cost.new_zeros(0, len(cost)), count, cost.new_zeros(0)), recordings(told)


def by_recording(own: Costs, recording: Int[Tensor, " n"]) -> dict[int, tuple[float, float]]:
    """Return recording -> nats, and samples that were asked for."""
    nats, values = (summed(of, recording).tolist() for of in (own.distortion, own.values))
    return {number: (a, b) for number, a, b in zip(recording.unique().tolist(), nats, values, strict=True)}


def costs_more(
    own: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]]
) -> tuple[float, float, int] | None:
    """Return how many bits a sample more the recordings that two models were asked for cost the one than the other.

    What is hard to tell is so for both: the difference is far more certain than either cost.

    Args:
        own: recording -> nats and samples, of the one.
        other: likewise, of the other.

    Returns:
        The difference, its standard error over recordings, and their number; ``None`` for fewer than two.
    """
    both = sorted(own.keys() & other.keys())
    if len(both) < 2:
        return None
    a, b = (np.array([costs[name] for name in both], dtype=float).T for costs in (own, other))
    means = [nats.sum() / samples.sum() for nats, samples in (a, b)]
    apart = [(nats - samples * mean) / samples.sum() for (nats, samples), mean in zip((a, b), means, strict=True)]
    error = (apart[0] - apart[1]).std(ddof=1) * len(both) ** 0.5
    return float(means[0] - means[1]) / NATS, float(error) / NATS, len(both)


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
