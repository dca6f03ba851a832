r"""How well codes match the prior, and what the latents carry.

Letters: x item, z code of d values, q(z | x) posterior, p(z) prior, :math:`q(z) = \frac1N \sum_j q(z \mid x_j)`
aggregated posterior over N items, n of which are at hand.

* ``mmd``: unbiased squared maximum mean discrepancy between codes and draws of the prior, with a permutation test
* ``kl``: :math:`E_x \mathrm{KL}(q(z | x) \| p(z))`, the rate; it is the sum of the next two (Hoffman and Johnson 2016)
* ``mutual_information``: :math:`E_x E_{q(z | x)} \log q(z | x) / q(z)`, what a code tells of which of the N items it
  came from; at most log N
* ``marginal_kl``: :math:`\mathrm{KL}(q(z) \| p(z))`
* ``mutual_information_gaussian``: the same where q(z) is replaced by the normal law of its covariance S, whose entropy
  is the largest: :math:`\frac12 \log\det(2 \pi e S) + E \log q(z | x)`, an upper bound without the limit log N
* ``total_correlation``: :math:`\mathrm{KL}(q(z) \| \prod_j q(z_j))`, what the latents share
* ``total_correlation_gaussian``: that of the normal law with the covariance of the codes,
  :math:`-\frac12 \log \det \mathrm{corr}(z)` (Locatello et al. 2019)
* ``distortion_shuffled``: :math:`-\log p(x \mid z')` with z' the code of another item: no more than the distortion
  where the decoder ignores its latents

The density of the aggregated posterior at a code of item i is estimated with its own term weighted 1 / N and the n - 1
others sharing the rest (the stratified sampling of Chen et al. 2018, appendix C.2, averaged over orders; unbiased):

.. math:: \hat q(z_i) = \frac1N q(z_i \mid x_i) + \frac{N - 1}{N} \frac{1}{n - 1} \sum_{j \ne i} q(z_i \mid x_j)

With N = n, as by default, it is exact: the law is then that of the items at hand. As an estimate for the law that the
items come from it is good only while posteriors overlap. On normal laws with n = 2,000 the error of total correlation
and marginal KL is 0.1 nat where the mutual information stays 3 nats below log n, 0.3 at 2 nats; beyond, both grow like
the rate, whatever the latents share. So both are left out where it comes closer than 2 nats; the normal ones remain.
All in nats.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from latentscape.core.errors import DataError
from latentscape.core.random import seeded, torch_stream
from latentscape.dist.conditional import Context
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import Diagonal
from latentscape.dist.kernels import Kernel
from latentscape.measure.estimate import REPLICATES, Estimate, counts, mean_of, recentred
from latentscape.measure.latent import ACTIVE_NATS, Batches, dimension_rate
from latentscape.measure.twosample import LIMIT, mmd2_estimate, mmd2_permuted, moments, pair, radial_gram, thin
from latentscape.models.bounds import evaluating
from latentscape.models.model import LatentModel

OVERLAP = 2.0
"""Nats that the mutual information must stay below log n for numbers that need q(z) between the items."""
_CELLS = 2**22
"""Values of a block of the matrix [n, n, d]: 32 MB of doubles."""


def mmd_test(
    codes: Float[Tensor, "n d"],
    prior: Float[Tensor, "m _"],
    kernel: Kernel,
    *,
    nulls: int = 200,
    replicates: int = REPLICATES,
    limit: int = LIMIT,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return ``mmd`` (may be negative), ``mmd_null`` and ``mmd_p``, all pure numbers.

    The null law is that of permutations: codes and draws of the prior are pooled and dealt anew, which is exact at any
    count. ``mmd_null`` is its 95 % quantile, and ``mmd_p`` the share (1 + those at least as large) / (1 + nulls).

    Args:
        codes: one an item.
        prior: draws of the prior; as many are the best use of them.
        kernel: of :mod:`latentscape.dist.kernels`.
        nulls: permutations.
        replicates: bootstrap replicates of ``mmd``.
        limit: of more rows than this, so many evenly spaced ones are taken, on either side.
        seed: of permutations and resamples.

    Raises:
        DataError: fewer than two rows, other widths, or values that are not finite.
    """
    a, b = (thin(rows, limit) for rows in pair("mmd_test", codes, prior))
    gram = radial_gram(torch.cat([a, b]), kernel)
    estimate = mmd2_estimate(gram, len(a), replicates=replicates, seed=seed)
    null = mmd2_permuted(gram, len(a), nulls, seed)
    # what ties up to rounding counts as large: with constant codes every permutation gives the same number
    above = int((null >= estimate.value - 1e-12 * abs(estimate.value)).sum())
    return {
        "mmd": estimate,
        "mmd_null": Estimate(float(null.quantile(0.95)), ""),
        "mmd_p": Estimate((1 + above) / (1 + nulls), ""),
    }


def usage(
    model: LatentModel,
    batches: Batches,
    *,
    items: int = 2000,
    population: int | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return what a model's latents do, on one draw of the posterior an item; a function of the seed.

    ``distortion``, ``distortion_shuffled``, ``kl``, ``elbo``, ``kl_max`` (rate of the busiest dimension),
    ``active_latents`` (dimensions above 0.05 nat), ``total_correlation_gaussian``, ``mutual_information_gaussian``, and
    the numbers of :func:`information`. What does not apply is left out: a deterministic encoder keeps the distortions
    and ``total_correlation_gaussian``; a hierarchy whose lower posteriors follow the upper draws has no numbers of
    q(z); a single item has nothing to shuffle.

    Args:
        model: in any mode; it is left as it was.
        batches: ``(x, context)``; held in memory.
        items: of more than this, :func:`information` takes so many evenly spaced ones.
        population: N; default the items it takes.
        seed: of draws, shuffles and resamples.

    Raises:
        DataError: there is no item.
    """
    held = list(batches)
    n = sum(len(x) for x, _ in held)
    if not n:
        raise DataError("usage got no batches, expected at least one item")
    rows: list[dict[str, Tensor]] = []
    draws: list[tuple[Tensor, ...]] = []
    euclidean = True
    with evaluating(model):
        for index, (x, context) in enumerate(held):
            with seeded("usage", seed, index, device=x.device):
                terms = model.terms(x, context)
            layers = terms.layers
            draws.append(tuple(layer.z[0] for layer in layers))
            euclidean &= all(isinstance(layer.q, Diagonal | MultivariateNormal) for layer in layers)
            row = {
                "distortion": terms.distortion[0],
                "kl": torch.stack([rate[0] for rate in terms.rate]).sum(0),
                "dimensions": torch.cat([dimension_rate(layer) for layer in layers], 1),
                "codes": torch.cat([layer.z[0].flatten(1) for layer in layers], 1),
                "density": torch.stack([layer.q.log_prob(layer.z)[0] for layer in layers]).sum(0),
            }
            rows.append({name: value.double().cpu() for name, value in row.items()})
        shuffled = _shuffled(model, held, draws, seed) if n > 1 else None
    seen = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    found = {"distortion": mean_of(seen["distortion"], "nats", seed=seed)}
    if shuffled is not None:
        found["distortion_shuffled"] = mean_of(shuffled, "nats", seed=seed)
    if torch.isfinite(seen["kl"]).all():
        found["kl"] = mean_of(seen["kl"], "nats", seed=seed)
        found["elbo"] = mean_of(-seen["distortion"] - seen["kl"], "nats", seed=seed)
        if torch.isfinite(seen["dimensions"]).all():
            found |= _dimensions(seen["dimensions"], seed)
    found |= _gaussian(seen["codes"], seen["density"] if euclidean else None, seed)
    return found | information(model, held, items=items, population=population, seed=seed)


def _shuffled(model: LatentModel, held: Sequence[tuple[Tensor, Context]], draws: list, seed: int) -> Tensor:
    """Return the distortion of every item with the code of another, drawn from all items: batches may be alike."""
    codes = [torch.cat(layer) for layer in zip(*draws, strict=True)]
    order = torch.randperm(len(codes[0]), generator=torch_stream("shuffle", seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)  # one cycle through all items: nobody keeps its own
    parts, start = [], 0
    for x, context in held:
        rows = other[start : start + len(x)].to(codes[0].device)
        likelihood = model.decode(tuple(layer[rows] for layer in codes), context)
        parts.append(-likelihood.log_prob(x).double().cpu())
        start += len(x)
    return torch.cat(parts)


def _dimensions(rates: Float[Tensor, "n d"], seed: int) -> dict[str, Estimate]:
    weights = counts(len(rates), REPLICATES if len(rates) > 1 else 0, seed)
    means = torch.cat([rates.mean(0, keepdim=True), weights @ rates / len(rates)])
    busiest, active = means.amax(1).tolist(), (means > ACTIVE_NATS).sum(1).double().tolist()
    return {
        "kl_max": Estimate(busiest[0], "nats", tuple(busiest[1:])),
        "active_latents": Estimate(active[0], "", tuple(active[1:])),
    }


def _gaussian(codes: Float[Tensor, "n d"], density: Tensor | None, seed: int) -> dict[str, Estimate]:
    """Return the numbers of the normal law with the covariance of the codes, where it has a density.

    The covariance of resampled items is nearer to singular, so both are biased and their replicates moved.
    """
    n, d = codes.shape
    if n < 2 * d + 2:
        return {}  # a replicate then may have a singular covariance, and the number would be of noise
    volumes, correlations, entropies = [], [], []
    for weights in [torch.ones(n).double(), *counts(n, 50, seed)]:
        covariance = moments(codes, weights)[1]
        scale = covariance.diagonal().sqrt()
        correlations.append(-0.5 * torch.linalg.slogdet(covariance / scale.outer(scale))[1])
        volumes.append(scale.log().sum() - correlations[-1])
        entropies.append(math.nan if density is None else weights @ density / n)
    found = {"total_correlation_gaussian": torch.stack(correlations)}
    if density is not None:
        normal = torch.stack(volumes) + 0.5 * d * math.log(2 * math.pi * math.e)
        found["mutual_information_gaussian"] = normal + torch.stack(entropies)
    return {
        name: recentred(float(values[0]), "nats", values[1:].tolist())
        for name, values in found.items()
        if torch.isfinite(values).all()
    }


def information(
    model: LatentModel, batches: Batches, *, items: int = 2000, population: int | None = None, seed: int = 0
) -> dict[str, Estimate]:
    """Return ``mutual_information``, ``marginal_kl`` and ``total_correlation``, nats (see the module).

    The last two are left out where posteriors overlap too little, ``total_correlation`` also where the posterior does
    not factorise, everything where it is a point, follows the draw of a layer above, or there are fewer than two
    items. Replicates resample the items whose codes are averaged; the aggregated posterior stays.

    Args:
        model: in any mode; it is left as it was.
        batches: ``(x, context)``.
        items: n; of more, so many evenly spaced ones are taken.
        population: N, at least n; default n.
        seed: of the draws.

    Raises:
        DataError: N is smaller than n.
    """
    held = list(batches)
    total = sum(len(x) for x, _ in held)
    chosen = torch.arange(min(items, total)) * total // max(1, min(items, total))
    n, start = len(chosen), 0
    size = n if population is None else population
    if size < n:
        raise DataError(f"information got a population of {size} for {n} items, expected at least as many")
    posteriors: list[tuple[Distribution, ...]] = []
    draws: list[tuple[Tensor, ...]] = []
    prior: list[Tensor] = []
    with evaluating(model):
        for index, (x, context) in enumerate(held):
            rows = chosen[(chosen >= start) & (chosen < start + len(x))].to(x.device) - start
            start += len(x)
            if n < 2 or not len(rows):
                continue
            with seeded("information", seed, index, device=x.device):
                layers = model.infer(x[rows], {name: value[rows] for name, value in context.items()})
            if any(isinstance(layer.q, Delta) or layer.q.batch_shape != (len(rows),) for layer in layers):
                return {}
            posteriors.append(tuple(layer.q for layer in layers))
            draws.append(tuple(layer.z[0].double() for layer in layers))
            prior.append(torch.stack([layer.p.log_prob(layer.z)[0] for layer in layers]).sum(0).double())
        if not draws:
            return {}
        own, joint, parts = _aggregate(posteriors, [torch.cat(z) for z in zip(*draws, strict=True)], n, size)
    found = {"mutual_information": own - joint}
    if float(found["mutual_information"].mean()) < math.log(n) - OVERLAP:
        found["marginal_kl"] = joint - torch.cat(prior)
        if parts is not None:
            found["total_correlation"] = joint - parts
    return {name: mean_of(value, "nats", seed=seed) for name, value in found.items() if torch.isfinite(value).all()}


def _aggregate(
    posteriors: list[tuple[Distribution, ...]], codes: list[Tensor], n: int, size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return log q(z_i | x_i), log q(z_i) and, where all factorise, the sum over dimensions of log q(z_ij); ``[n]``."""
    factors = all(isinstance(q, Diagonal) for layers in posteriors for q in layers)
    width = sum(layer[0].numel() for layer in codes)
    rows = max(1, _CELLS // (n * width))
    device = codes[0].device
    own, joint, parts = [], [], []
    for start in range(0, n, rows):
        z = [layer[start : start + rows, None] for layer in codes]
        place = torch.arange(start, start + len(z[0]), device=device)
        weight = torch.full((len(place), n), math.log((size - 1) / size / (n - 1)), dtype=torch.float64, device=device)
        weight[place - start, place] = -math.log(size)
        if factors:
            each = torch.cat([_log_factors(layers, z) for layers in posteriors], 1)  # [rows, n, d]
            parts.append((each + weight[..., None]).logsumexp(1).sum(1))
            pairs = each.sum(2)
        else:
            pairs = torch.cat([_log_density(layers, z) for layers in posteriors], 1)  # [rows, n]
        own.append(pairs[place - start, place])
        joint.append((pairs + weight).logsumexp(1))
    return torch.cat(own), torch.cat(joint), torch.cat(parts) if factors else None


def _log_density(layers: tuple[Distribution, ...], z: list[Tensor]) -> Tensor:
    return torch.stack([q.log_prob(value) for q, value in zip(layers, z, strict=True)]).sum(0)


def _log_factors(layers: tuple[Distribution, ...], z: list[Tensor]) -> Tensor:
    parts = []
    for q, value in zip(layers, z, strict=True):
        assert isinstance(q, Diagonal)
        single = type(q)(q.loc.double(), q.scale.double().broadcast_to(q.loc.shape), 0)
        parts.append(single.log_prob(value).flatten(2))
    return torch.cat(parts, 2)
