r"""Do two samples come from one law? The unbiased kernel statistic, its null distribution and its bootstrap.

Letters: a ``[n, f]`` and b ``[m, f]`` samples of two laws, K the kernel's matrix ``[n + m, n + m]`` of the pooled
sample with its blocks :math:`K_{aa}, K_{ab}, K_{bb}`, w and v weights (how often a point is drawn) with sums W and V.

.. math:: \mathrm{MMD}^2 = \frac{w^\top K_{aa} w - \sum_i w_i^2 K_{ii}}{W^2 - \sum_i w_i^2}
          + \frac{v^\top K_{bb} v - \sum_i v_i^2 K_{ii}}{V^2 - \sum_i v_i^2} - \frac{2\, w^\top K_{ab} v}{W V}

With w = v = 1 it is eq. 3 of Gretton et al. 2012; with counts it is a bootstrap replicate that leaves out the pairs of
a point with its own copy, so that its mean over resamples is the statistic itself. Unbiased, hence negative half of
the time where both laws agree; never clamped. One matrix serves the statistic, all replicates and all permutations:
they are products with matrices of weights.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import seed_of, torch_stream
from latentscape.dist.kernels import Kernel, Rbf, squared_distances
from latentscape.measure.estimate import REPLICATES, Estimate, counts

LIMIT = 2000
"""Rows of a sample that a kernel statistic looks at: evenly spaced ones where there are more."""

_ROWS = 64
"""Of a matrix, at a time: they stay in the cache."""


def checked(name: str, sample: Tensor, least: int = 1) -> Float[Tensor, "n f"]:
    """Return a sample as rows of doubles.

    Raises:
        DataError: it has fewer than ``least`` rows, no values in a row, or a value that is not finite.
    """
    if sample.ndim < 2 or len(sample) < least or not sample.numel():
        raise DataError(f"{name} got a sample of shape {list(sample.shape)}, expected at least {least} rows [n, f]")
    rows = sample.detach().flatten(1).double()
    if not torch.isfinite(rows).all():
        raise DataError(f"{name} got a sample of shape {list(sample.shape)} that holds NaN or infinity")
    return rows


def pair(name: str, a: Tensor, b: Tensor, *, equal: bool = False, least: int = 2) -> tuple[Tensor, Tensor]:
    """Return two samples as rows of doubles on the device of the first.

    Raises:
        DataError: one can't be used, their widths differ, or, where a statistic's bias depends on them (``equal``),
            their counts do.
    """
    first, second = checked(name, a, least), checked(name, b, least).to(a.device)
    if first.shape[1] != second.shape[1]:
        raise DataError(f"{name} got rows of {first.shape[1]} and {second.shape[1]} values, expected as many")
    if equal and len(first) != len(second):
        raise DataError(
            f"{name} got {len(first)} and {len(second)} items, expected equal counts: its bias depends on them"
        )
    return first, second


def thin(sample: Float[Tensor, "n f"], limit: int) -> Float[Tensor, "m f"]:
    """Return all rows, or ``limit`` evenly spaced ones where there are more."""
    n = len(sample)
    return sample if n <= limit else sample[torch.arange(limit, device=sample.device) * n // limit]


def radial_gram(points: Float[Tensor, "n f"], kernel: Kernel) -> Float[Tensor, "n n"]:
    """Return the matrix of a kernel of distances."""
    gram, dim = squared_distances(points), points.shape[1]
    if isinstance(kernel, Rbf) and kernel.bandwidth == "median":
        return kernel(gram, dim)  # the median is of the whole matrix
    for rows in gram.split(_ROWS):  # in place: a kernel of many scales would fill the memory with whole matrices
        rows.copy_(kernel(rows, dim))
    return gram


def polynomial_gram(points: Float[Tensor, "n f"]) -> Float[Tensor, "n n"]:
    r"""Return the matrix of :math:`(x^\top y / f + 1)^3` (Binkowski et al. 2018, section 4)."""
    return (points @ points.T / points.shape[1] + 1) ** 3


def mmd2_weighted(gram: Float[Tensor, "N N"], w: Float[Tensor, "r n"], v: Float[Tensor, "r m"]) -> Float[Tensor, " r"]:
    """Return the statistic for each row of weights; ``N = n + m``, those of a first."""
    n = w.shape[1]
    cross = ((w @ gram[:n, n:]) * v).sum(1) / (w.sum(1) * v.sum(1))
    return _within(gram[:n, :n], w) + _within(gram[n:, n:], v) - 2 * cross


def _within(gram: Tensor, w: Tensor) -> Tensor:
    pairs = ((w @ gram) * w).sum(1) - w.square() @ gram.diagonal()
    return pairs / (w.sum(1).square() - w.square().sum(1))


def mmd2_permuted(gram: Float[Tensor, "N N"], n: int, permutations: int, seed: int = 0) -> Float[Tensor, " p"]:
    """Return the statistic with the pooled sample dealt anew into n points and the rest: its law where both agree."""
    total = len(gram)
    order = torch.rand(permutations, total, generator=torch_stream("permutation", total, seed)).argsort(1)
    w = torch.zeros(permutations, total, dtype=gram.dtype)
    w = w.scatter_(1, order[:, :n], 1.0).to(gram.device)
    product, column, m = w @ gram, gram.sum(0), total - n
    # the rest has weights 1 - w, so that everything follows from w K and the sums of K
    aa = (product * w).sum(1)
    ab = w @ column - aa
    bb = column.sum() - aa - 2 * ab
    trace = w @ gram.diagonal()
    return (aa - trace) / (n * (n - 1)) + (bb - gram.trace() + trace) / (m * (m - 1)) - 2 * ab / (n * m)


def mmd2_estimate(gram: Float[Tensor, "N N"], n: int, *, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """Return the statistic with its bootstrap: both samples are resampled, independently of each other.

    Where both laws agree, the spread of the replicates is larger than that of the statistic (by up to the root of 3):
    the interval then errs on the wide side. The p-value of a permutation test is exact there. A resample that is one
    point again and again has no pairs, and is left out: with three points one in nine is.
    """
    m = len(gram) - n
    ones = torch.ones(1, n + m, dtype=gram.dtype, device=gram.device)
    w, v = resampled_counts(n, m, replicates, seed, gram)
    value = mmd2_weighted(gram, ones[:, :n], ones[:, n:])
    again = mmd2_weighted(gram, w, v)
    return Estimate(float(value), "", tuple(again[again.isfinite()].tolist()))


def resampled_counts(n: int, m: int, replicates: int, seed: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the counts of two independent resamples ``[r, n]`` and ``[r, m]``, of the type and device of ``like``."""
    first, second = counts(n, replicates, seed), counts(m, replicates, seed_of("second", seed))
    return first.to(like), second.to(like)


def moments(
    rows: Float[Tensor, "n f"], weights: Float[Tensor, " n"] | None = None
) -> tuple[Float[Tensor, " f"], Float[Tensor, "f f"]]:
    """Return mean and covariance (divided by n - 1) of rows, each counted as often as its weight says."""
    total = len(rows) if weights is None else weights.sum()
    weighted = rows if weights is None else rows * weights[:, None]
    mean = weighted.sum(0) / total
    centred = rows - mean
    covariance = centred.T @ (centred if weights is None else centred * weights[:, None])
    return mean, covariance / (total - 1)
