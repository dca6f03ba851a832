r"""What a latent model does with a part of the data: its bound, its likelihood, and which latents it uses.

Letters: x item, z code, d its width, q(z | x) posterior, p(z) prior, n items, K importance samples.

* distortion :math:`-\log p(x \mid z)`, rate :math:`\mathrm{KL}(q \| p)`, both nats an item; ELBO is minus their sum
* rate of a dimension: its part of the rate, averaged over items. A latent is *active* above 0.05 nat.
* active units (Burda et al. 2016): dimensions where the variance over x of the posterior mean exceeds 0.01. It takes
  the scale of z for granted and misleads in hierarchies and without a prior of unit variance: quote active latents.
* negative log-likelihood: minus the importance-weighted bound with K samples (an upper bound of it in expectation)
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import seed_of, seeded
from latentscape.dist.conditional import Context, point
from latentscape.measure.measure import Number
from latentscape.measure.recordings import KEPT, error_of_mean, recordings
from latentscape.models.bounds import evaluating, iw_bound
from latentscape.models.model import LatentModel, Layer, Model

ACTIVE_NATS = 0.05
ACTIVE_VARIANCE = 0.01

Batches = Iterable[tuple[Tensor, Context]]


@dataclass(frozen=True)
class Examination:
    """What :func:`examine` saw; means over items.

    Attributes:
        items: n.
        distortion: nats an item.
        rate: nats an item; +inf for a deterministic encoder.
        elbo_error: standard error of the ELBO, nats, over recordings where items are windows of them.
        dimension_rate: nats a dimension ``[d]``, layers one after the other; ``None`` where there is no finite rate.
        mean_variance: variance over items of the posterior mean ``[d]``.
        squared_error: of x against its reconstruction from the posterior mean, a value, in squared units of x; where a
            mask says what was seen, of the hidden values alone.
    """

    items: int
    distortion: float
    rate: float
    elbo_error: float
    dimension_rate: Float[Tensor, " d"] | None
    mean_variance: Float[Tensor, " d"]
    squared_error: float

    @property
    def active(self) -> int | None:
        """Number of latents with a rate above 0.05 nat; ``None`` where they have no rate."""
        return None if self.dimension_rate is None else int((self.dimension_rate > ACTIVE_NATS).sum())

    def numbers(self) -> dict[str, Number]:
        """Return everything finite as named numbers."""
        numbers = {
            "distortion": Number(self.distortion, "nats"),
            "rate": Number(self.rate, "nats"),
            "elbo": Number(-self.distortion - self.rate, "nats"),
            "elbo_error": Number(self.elbo_error, "nats"),
            "squared_error": Number(self.squared_error, ""),
            "latents": Number(float(len(self.mean_variance)), ""),
            "active_units": Number(float((self.mean_variance > ACTIVE_VARIANCE).sum()), ""),
        }
        if self.active is not None:
            numbers["active_latents"] = Number(float(self.active), "")
        return {name: number for name, number in numbers.items() if math.isfinite(number.value)}


def examine(model: LatentModel, batches: Batches, *, seed: int = 0) -> Examination:
    """Return what a model does with the items of some batches ``(x, context)``; a function of the seed.

    Raises:
        DataError: there is no item.
    """
    rows: list[tuple[Tensor, ...]] = []
    told: list[tuple[int, Context]] = []
    with evaluating(model):
        for index, (x, context) in enumerate(batches):
            told.append((len(x), {name: context[name] for name in KEPT if name in context}))
            with seeded("examine", seed, index, device=x.device):
                terms = model.terms(x, context)
            code = model.encode(x, context)
            if model.sequential:  # there is no mean to compare with x
                error = x.new_full((len(x),), math.nan, dtype=torch.float64)
            else:
                error = _error(point(model.decode(code, context)), x, context.get("mask"))
            means = torch.cat([z.flatten(1) for z in code], 1)
            rates = torch.cat([dimension_rate(layer) for layer in terms.layers], 1)
            row = (terms.distortion[0], torch.stack([rate[0] for rate in terms.rate]).sum(0), error, means, rates)
            rows.append(tuple(value.cpu().double() for value in row))
    if not rows:
        raise DataError("examine got no batches, expected at least one item")
    distortion, rate, error, means, rates = (torch.cat(column) for column in zip(*rows, strict=True))
    dimension = rates.mean(0)
    return Examination(
        items=len(rate),
        distortion=float(distortion.mean()),
        rate=float(rate.mean()),
        elbo_error=error_of_mean(distortion + rate, recordings(told)),
        dimension_rate=dimension.float() if torch.isfinite(dimension).all() else None,
        mean_variance=means.var(0, correction=0).float(),
        squared_error=float(error.mean()),
    )


def _error(made: Tensor, x: Tensor, seen: Tensor | None) -> Float[Tensor, " b"]:
    apart = (made - x).float().flatten(1).square()
    if seen is None:
        return apart.mean(1)
    hidden = 1.0 - seen.float().flatten(1)  # what was seen is returned as it is, at no error
    return (apart * hidden).sum(1) / hidden.sum(1).clamp_min(1.0)


def dimension_rate(layer: Layer) -> Float[Tensor, "b d"]:
    """Return the rate of every dimension of a layer, nats.

    In closed form where posterior and prior factorise: the dimensions then sum to the rate. Where one of them does not,
    the rate has no parts, and each dimension is given the divergence of the normal distributions that have the marginal
    means and variances (NaN where those are unknown, +inf for a deterministic encoder).
    """
    rate = layer.rate_per_value()
    rate = _marginal_rate(layer) if rate is None else rate
    return rate.expand(*layer.z.shape)[0].flatten(1)


def _marginal_rate(layer: Layer) -> Tensor:
    q, p = layer.q, layer.p
    try:
        ratio = q.variance / p.variance
        return 0.5 * (ratio + (q.mean - p.mean).square() / p.variance - 1 - ratio.log())
    except NotImplementedError:
        return layer.z.new_full(q.batch_shape + q.event_shape, math.nan)


def evaluate_model(model: LatentModel, batches: Batches, *, seed: int = 0) -> dict[str, Number]:
    """Return distortion, rate, ELBO, squared error and the use of latents as named numbers (see the module)."""
    return examine(model, batches, seed=seed).numbers()


def negative_log_likelihood(
    model: Model, batches: Batches, samples: int = 1000, *, chunk: int = 2000, seed: int = 0
) -> dict[str, Number]:
    """Return minus the importance-weighted bound: mean over items, and its error over recordings, nats an item.

    Args:
        model: any model with finite rates.
        batches: ``(x, context)``.
        samples: K; every item gets exactly so many.
        chunk: rows (items times samples) decoded at a time.
        seed: of the draws.

    Raises:
        DataError: there is no item.
        LikelihoodError: the model's rates are absent or infinite; it is named, with the reason.
    """
    parts: list[Tensor] = []
    told: list[tuple[int, Context]] = []
    for index, (x, context) in enumerate(batches):
        parts.append(-iw_bound(model, x, context, samples, chunk, seed=seed_of(seed, index)).cpu())
        told.append((len(x), {name: context[name] for name in KEPT if name in context}))
    if not parts:
        raise DataError("negative_log_likelihood got no batches, expected at least one item")
    values = torch.cat(parts)
    error, name = error_of_mean(values, recordings(told)), f"nll_{samples}"
    return {name: Number(float(values.mean()), "nats"), f"{name}_error": Number(error, "nats")}
