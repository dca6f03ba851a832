r"""How samples of a model compare with real items, in any features: a judge's, or the data themselves.

Letters: a ``[n, f]`` features of samples, b of real items, :math:`\mu` mean and S covariance of each, c classes.

* Frechet distance (Dowson and Landau 1982; of features, Heusel et al. 2017, eq. 6), in squared units of the features:

  .. math:: \|\mu_a - \mu_b\|^2 + \mathrm{tr}(S_a + S_b) - 2\, \mathrm{tr} (S_a S_b)^{1/2}

  Zero for equal moments, lower is better. It is biased upward, the more the fewer the items: counts must be equal, and
  only distances at the same count compare. Ours is not an FID: the features are our own.
* kernel distance (Binkowski et al. 2018): unbiased squared maximum mean discrepancy with the kernel
  :math:`(x^\top y / f + 1)^3`; sound at any count, negative half of the time where both agree
* classifier score (Salimans et al. 2016, section 4): :math:`\exp E_x \mathrm{KL}(p(c | x) \| p(c))`, between 1 and the
  number of classes, higher is better; the value of real items is the ceiling
* nearest-neighbour ratio: mean Euclidean distance of a sample to the nearest training item, over that of a held-out
  item. About 1 for samples like held-out items, far below 1 for memorised ones.

The Frechet distance of resampled items is larger than that of the items, by about the bias at their count, and the
classifier score smaller. So their replicates are moved to have their mean at the value: their spread is the doubt about
the number *at this count*.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.dist.kernels import Kernel, Rbf, RbfConfig
from latentscape.measure.estimate import REPLICATES, Estimate, counts, recentred
from latentscape.measure.neighbours import nearest
from latentscape.measure.twosample import (
    LIMIT,
    checked,
    mmd2_estimate,
    moments,
    pair,
    polynomial_gram,
    radial_gram,
    resampled_counts,
    thin,
)

Moments = tuple[Tensor, Tensor]


def frechet(a: Float[Tensor, "n f"], b: Float[Tensor, "m _"]) -> float:
    """Return the Frechet distance of two samples, in squared units of the features.

    Raises:
        DataError: the counts differ (both are named), the widths do, there are fewer than two items, or a value is not
            finite.
    """
    first, second = pair("frechet", a, b, equal=True)
    return frechet_of_moments(moments(first), moments(second))


def frechet_of_moments(a: Moments, b: Moments) -> float:
    r"""Return the Frechet distance of two normal laws, each given by mean ``[f]`` and covariance ``[f, f]``.

    With :math:`S = L L^\top`, the trace of :math:`(S_a S_b)^{1/2}` is the sum of the singular values of
    :math:`L_a^\top L_b`: no square root of a matrix that is not symmetric, and singular covariances do no harm.
    """
    (mean_a, covariance_a), (mean_b, covariance_b) = a, b
    cross = torch.linalg.svdvals(_root(covariance_a).T @ _root(covariance_b)).sum()
    distance = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * cross
    return float(distance)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()


def frechet_estimate(
    a: Float[Tensor, "n f"], b: Float[Tensor, "m _"], *, replicates: int = 20, unit: str = "", seed: int = 0
) -> Estimate:
    """Return :func:`frechet` with its bootstrap, of samples and real items (see the module on its replicates).

    Args:
        a: features of samples.
        b: features of as many real items.
        replicates: each costs as much as the distance.
        unit: of the squared features.
        seed: of the resamples.

    Raises:
        DataError: as :func:`frechet`.
    """
    first, second = pair("frechet", a, b, equal=True)
    value = frechet_of_moments(moments(first), moments(second))
    weights = zip(*resampled_counts(len(first), len(second), replicates, seed, first), strict=True)
    again = [frechet_of_moments(moments(first, w), moments(second, v)) for w, v in weights]
    return recentred(value, unit, again)


def kernel_distance(
    a: Float[Tensor, "n ..."],
    b: Float[Tensor, "m ..."],
    kernel: Kernel | None = None,
    *,
    limit: int = LIMIT,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Return the kernel distance of two samples, a pure number; may be negative.

    Args:
        a: features of samples.
        b: features of real items; counts may differ.
        kernel: of distances; default the polynomial one.
        limit: of more rows than this, so many evenly spaced ones are taken, on either side.
        replicates: of the bootstrap.
        seed: of the resamples.

    Raises:
        DataError: fewer than two rows, other widths, or values that are not finite.
    """
    first, second = (thin(rows, limit) for rows in pair("kernel_distance", a, b))
    pooled = torch.cat([first, second])
    gram = polynomial_gram(pooled) if kernel is None else radial_gram(pooled, kernel)
    return mmd2_estimate(gram, len(first), replicates=replicates, seed=seed)


def data_mmd(
    samples: Float[Tensor, "n ..."],
    real: Float[Tensor, "m ..."],
    *,
    limit: int = LIMIT,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Estimate:
    """Return the unbiased squared MMD in the data domain, a pure number: RBF kernel, the median distance its width.

    Arguments and errors as for :func:`kernel_distance`.
    """
    kernel = Rbf(RbfConfig(bandwidth="median"))
    return kernel_distance(samples, real, kernel, limit=limit, replicates=replicates, seed=seed)


def classifier_score(probabilities: Float[Tensor, "n c"], *, replicates: int = REPLICATES, seed: int = 0) -> Estimate:
    """Return the classifier score, a pure number between 1 and c, over all samples at once (no splits).

    Args:
        probabilities: p(class | x), a row a sample.
        replicates: of the bootstrap.
        seed: of the resamples.

    Raises:
        DataError: a row is no distribution.
    """
    rows = checked("classifier_score", probabilities)
    if rows.min() < 0 or (rows.sum(1) - 1).abs().max() > 1e-3:
        raise DataError(f"classifier_score got rows of [{rows.min():.3g}, {rows.max():.3g}], expected probabilities")
    rows = rows / rows.sum(1, keepdim=True)
    n = len(rows)
    negentropy = torch.xlogy(rows, rows).sum(1)
    weights = torch.cat([torch.ones(1, n).double(), counts(n, replicates, seed)]).to(rows) / n
    mean = weights @ rows
    scores = (weights @ negentropy - torch.xlogy(mean, mean).sum(1)).exp().tolist()
    return recentred(scores[0], "", scores[1:])


def nearest_training(
    samples: Float[Tensor, "n ..."],
    train: Float[Tensor, "m ..."],
    held: Float[Tensor, "h ..."],
    *,
    unit: str = "",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Return ``nearest_samples`` and ``nearest_held`` (mean distances) and ``nearest_ratio``, a pure number.

    A resample that drew only such held-out items as are training items has no ratio, and is left out of it.

    Args:
        samples: of the model.
        train: what it was trained on.
        held: what it has not seen.
        unit: of the values of an item.
        replicates: of the bootstrap.
        seed: of the resamples.

    Raises:
        DataError: the widths differ, a part is empty, values are not finite, or every held-out item is a training item.
    """
    from_samples, from_held = (_to_training(part, train) for part in (samples, held))
    n, m = len(from_samples), len(from_held)
    if not from_held.any():
        raise DataError("nearest_training got held-out items that are all training items, expected unseen ones")
    w, v = resampled_counts(n, m, replicates, seed, from_samples)
    near, far = w @ from_samples / n, v @ from_held / m
    unseen = far > 0
    value, reference = float(from_samples.mean()), float(from_held.mean())
    return {
        "nearest_samples": Estimate(value, unit, tuple(near.tolist())),
        "nearest_held": Estimate(reference, unit, tuple(far.tolist())),
        "nearest_ratio": Estimate(value / reference, "", tuple((near[unseen] / far[unseen]).tolist())),
    }


def _to_training(part: Tensor, train: Tensor) -> Float[Tensor, " n"]:
    if part.shape[1:] != train.shape[1:] or not part.numel() or not train.numel():
        arrived = f"{list(part.shape)} and {list(train.shape)}"
        raise DataError(f"nearest_training got items of shapes {arrived}, expected some of one shape on both sides")
    if not torch.isfinite(part).all() or not torch.isfinite(train).all():
        raise DataError("nearest_training got items that hold NaN or infinity")
    return nearest(part.detach().flatten(1), train.detach().flatten(1).to(part.device))[:, 0].cpu()
