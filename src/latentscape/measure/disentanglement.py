r"""Interpretability of codes: whether single latents stand for single known factors.

Letters: n items, d latents :math:`z_j`, m factors :math:`v_k` (numbers, or words for classes). All four lie between 0
and 1, and 1 is best. Balanced accuracies are scaled so that guessing gives 0.

* ``mig``, mutual information gap (Chen et al. 2018, eq. 6): :math:`\frac1m \sum_k \frac{1}{H(v_k)} (I(z_{j_k}; v_k) -
  \max_{j \ne j_k} I(z_j; v_k))`, the best latent's lead over the second. Numbers are cut into equally full bins, about
  :math:`n^{1/3}` of them (2 to 20): the plug-in estimate of I exceeds the truth by about :math:`(b - 1)(c - 1) / 2n`
  nats for b and c bins
* ``dci_disentanglement``, ``dci_completeness``, ``dci_informativeness`` (Eastwood and Williams 2018): a forest of trees
  predicts each factor from all latents; :math:`R_{jk}` is the importance of latent j for factor k.
  :math:`D_j = 1 - H_m(R_{j\cdot} / \sum_k R_{jk})`, weighted by the latent's share of all importance: does a latent
  serve one factor? :math:`C_k = 1 - H_d(R_{\cdot k} / \sum_j R_{jk})`: is a factor served by one latent? (entropies
  with base m and d). Informativeness: how well factors are predicted of items that a tree has not seen (out of
  bag), R^2 of numbers and balanced accuracy of classes, not below 0
* ``sap``, separated attribute predictability (Kumar et al. 2018): the lead of the best single latent over the second in
  predicting a factor: R^2 of a straight line for numbers, balanced accuracy of thresholds (as many as classes need, a
  tree) for classes
* ``factor_vae`` (Kim and Mnih 2018): of items that share one factor's value (or bin), the latent that varies least, in
  its own deviation, is noted; the score is how often the factor is told from that latent by majority vote, on fresh
  draws. Chance is 1 / m

MIG, SAP and FactorVAE look at latents one by one: rotating the codes changes them, as it changes what a slider does.
A latent that does not vary is left out of all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream, seed_of
from latentscape.measure.measure import Number

Factor = Sequence[float] | Sequence[str]
"""A number or a word for every item."""
LEAST_ITEMS = 20
TREES = 60
BATCH = 16
VOTES = 600
_BINS = (2, 20)


def disentanglement(codes: Float[Tensor, "n d"], factors: Mapping[str, Factor], *, seed: int = 0) -> dict[str, Number]:
    """Return the measures of the module by name; a function of its arguments.

    Args:
        codes: one an item.
        factors: by name; a factor that is the same for all items tells nothing and is left out.
        seed: of forests and draws.

    Raises:
        DataError: fewer than 20 items, values that are not as many or not finite, or no factor that varies.
    """
    z = codes.detach().cpu().double().numpy()
    n = len(z)
    if n < LEAST_ITEMS or not np.isfinite(z).all():
        raise DataError(f"disentanglement got codes {list(z.shape)}, expected at least {LEAST_ITEMS} items, all finite")
    columns = {name: _column(name, values, n) for name, values in factors.items()}
    columns = {name: values for name, values in columns.items() if len(np.unique(values)) > 1}
    spread = z.std(0)
    z = z[:, spread > 1e-6 * spread.max(initial=0.0)]
    if not columns or not z.shape[1]:
        raise DataError(
            f"disentanglement got factors {sorted(factors)}, expected one that varies, and a latent that does"
        )
    z = (z - z.mean(0)) / z.std(0)
    bins = int(np.clip(round(n ** (1 / 3)), *_BINS))
    binned = {name: _binned(values, bins) for name, values in columns.items()}
    numbers = {
        "mig": _mig(z, list(binned.values()), bins),
        **_dci(z, list(columns.values()), seed),
        "sap": _sap(z, list(columns.values())),
        "factor_vae": _factor_vae(z, list(binned.values()), seed),
    }
    return {name: Number(float(value), "") for name, value in numbers.items()}


def _column(name: str, values: Factor, n: int) -> np.ndarray:
    column = np.asarray(values)
    words = column.dtype.kind not in "fiub"
    column = np.asarray([str(value) for value in values]) if words else column.astype(np.float64)
    if len(column) != n or (not words and not np.isfinite(column).all()):
        raise DataError(f"disentanglement: factor '{name}' has {len(column)} values for {n} items, or some not finite")
    return column


def _is_class(column: np.ndarray) -> bool:
    return column.dtype.kind not in "f"


def _binned(column: np.ndarray, bins: int) -> np.ndarray:
    """Return the class of every value ``[n]``; numbers go by their ranks into equally full bins, unless they are few.

    Equal numbers share their mean rank, and so a bin: one that most items have leaves the others to bins of their own.
    """
    distinct, codes, often = np.unique(column, return_inverse=True, return_counts=True)
    if _is_class(column) or len(distinct) <= bins:
        return codes
    rank = (often.cumsum() - often / 2) / len(column)
    return np.unique((rank * bins).astype(int)[codes], return_inverse=True)[1]


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mutual information of two classifications of the same items, nats."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _mig(z: np.ndarray, factors: list[np.ndarray], bins: int) -> float:
    latents = [_binned(column, bins) for column in z.T]
    gaps = []
    for factor in factors:
        shared = sorted((_information(latent, factor) for latent in latents), reverse=True)
        gaps.append((shared[0] - (shared[1] if len(shared) > 1 else 0.0)) / _information(factor, factor))
    return float(np.mean(gaps))


def _dci(z: np.ndarray, factors: list[np.ndarray], seed: int) -> dict[str, float]:
    importance = np.zeros((z.shape[1], len(factors)))
    told = []
    for k, factor in enumerate(factors):
        importance[:, k], score = _forest(z, factor, seed_of(seed, "forest", k) % 2**31)
        told.append(score)
    total = importance.sum()
    served = importance.sum(1) / total if total > 0 else np.zeros(len(importance))
    completeness = [_concentration(column) for column in importance.T]
    return {
        "dci_disentanglement": float(served @ [_concentration(row) for row in importance]),
        "dci_completeness": float(np.mean(completeness)),
        "dci_informativeness": float(np.mean(told)),
    }


def _concentration(weights: np.ndarray) -> float:
    """Return one minus the entropy of weights over that of equal ones; 0 where there is nothing to weigh."""
    total = weights.sum()
    if total <= 0:
        return 0.0
    if len(weights) == 1:
        return 1.0
    p = weights[weights > 0] / total
    return float(1 + (p * np.log(p)).sum() / np.log(len(weights)))


def _forest(z: np.ndarray, factor: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Return the importance of every latent ``[d]``, in units of what is predicted, and the score out of bag."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind: Any = RandomForestClassifier if _is_class(factor) else RandomForestRegressor
    settings = {"max_features": None, "min_samples_leaf": 2, "oob_score": True, "random_state": seed, "n_jobs": 1}
    forest = kind(TREES, **settings).fit(z, factor)
    if not _is_class(factor):
        return forest.feature_importances_, max(0.0, _explained(factor, forest.oob_prediction_))
    found = forest.classes_[forest.oob_decision_function_.argmax(1)]
    return forest.feature_importances_, max(0.0, _above_chance(factor, found))


def _explained(truth: np.ndarray, found: np.ndarray) -> float:
    """Return R^2 of a prediction."""
    return float(1 - ((truth - found) ** 2).mean() / truth.var())


def _above_chance(factor: np.ndarray, found: np.ndarray) -> float:
    """Return the balanced accuracy, so scaled that guessing gives 0 and knowing gives 1."""
    right = [float((found[factor == value] == value).mean()) for value in np.unique(factor)]
    return (float(np.mean(right)) - 1 / len(right)) / (1 - 1 / len(right))


def _sap(z: np.ndarray, factors: list[np.ndarray]) -> float:
    gaps = []
    for factor in factors:
        scores = sorted((_alone(column, factor) for column in z.T), reverse=True)
        gaps.append(scores[0] - (scores[1] if len(scores) > 1 else 0.0))
    return float(np.mean(gaps))


def _alone(latent: np.ndarray, factor: np.ndarray) -> float:
    """Return how well one latent predicts a factor: R^2 of a line, or balanced accuracy of thresholds."""
    if not _is_class(factor):
        return float(np.corrcoef(latent, factor)[0, 1] ** 2)
    from sklearn.tree import DecisionTreeClassifier

    classes = len(np.unique(factor))
    tree: Any = DecisionTreeClassifier(max_leaf_nodes=classes, class_weight="balanced", random_state=0)
    return _above_chance(factor, tree.fit(latent[:, None], factor).predict(latent[:, None]))


def _factor_vae(z: np.ndarray, factors: list[np.ndarray], seed: int) -> float:
    stream = numpy_stream(seed, "votes")
    groups = [[np.flatnonzero(factor == value) for value in np.unique(factor)] for factor in factors]
    groups = [[rows for rows in one if len(rows) > 1] for one in groups]
    usable = [k for k, one in enumerate(groups) if one]
    if not usable:
        return 0.0
    table = np.zeros((2, z.shape[1], len(factors)))
    for part in range(2):
        for vote in range(VOTES):
            k = usable[vote % len(usable)]
            rows = groups[k][stream.integers(len(groups[k]))]
            chosen = stream.choice(rows, BATCH)
            table[part, z[chosen].var(0).argmin(), k] += 1
    learnt = table[0].argmax(1)
    return float(table[1][np.arange(z.shape[1]), learnt].sum() / VOTES)
