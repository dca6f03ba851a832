r"""How named axes are found: directions of the encoded corpus, chosen, travelled and named.

Letters as in :mod:`latentscape.instrument.axes`. Principal directions are the latent map's; independent ones are the
columns of the mixing matrix that FastICA (Hyvarinen and Oja 2000) finds in the whitened principal coordinates. Taken
all together, both kinds span the same space and explain the same; chosen is the kind whose *single* axes explain more:
the mean over descriptors of the best axis's R^2.

What an axis moves is measured by decoding: from base points of the corpus, the coordinate t goes from -2 to +2
deviations, all others stay. An axis is named for the descriptor that it moves most reliably and furthest: the greatest
``|correlation| * |span| / deviation of y``, where the correlation is at least 1/2 and the span at least half a
deviation. It is turned so that this descriptor rises. The strongest axis of a descriptor has its plain name, the next
is ``brightness-2``, and what moves nothing is ``axis-7`` by its place.
"""

import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.random import numpy_stream
from latentscape.instrument.axes import Described, Directions, Effect, NamedAxis, Naming
from latentscape.instrument.decoded import UNITS, audible, described, silence_of
from latentscape.instrument.space import Space

MOST_AXES = 64
CORPUS = 3000
"""Codes of the corpus that are decoded."""
BASES = 24
"""Points from which every axis is travelled."""
REACH = 2.0
STEPS = 9
LEAST_STEPS = 5
LEAST_CORRELATION = 0.5
LEAST_SPAN = 0.5
QUANTILES = (0.01, 0.99)
_VALUES = 1 << 25


def name_axes(space: Space, codes: Float[Tensor, "n d"] | None = None, *, seed: int = 0) -> Naming:
    """Find and name the axes of a space; a function of its arguments.

    Args:
        space: of sounds or images.
        codes: of frames or windows of the corpus; without them, the map's clips and principal axes are what is known of
            the corpus, and directions are principal.
        seed: of the base points, and of FastICA's start.
    """
    chart = space.chart
    z = chart.clips if codes is None else codes
    z = z[torch.linspace(0, len(z) - 1, min(CORPUS, len(z))).round().long()].double().cpu().numpy()
    mean = chart.mean.double().numpy()
    candidates: dict[Directions, np.ndarray] = {"principal": chart.axes.double().numpy()}
    if codes is not None and (independent := _independent(z - mean, candidates["principal"], seed)) is not None:
        candidates["independent"] = independent
    values = described(space, torch.from_numpy(z).float())
    silence = silence_of(values)
    values = audible(values, silence)
    heard = np.flatnonzero(np.isfinite(values["loudness"])) if values else np.arange(0)
    known = {name: np.isfinite(value) for name, value in values.items()}
    values = {name: value for name, value in values.items() if known[name].sum() > 2 and np.ptp(value[known[name]]) > 0}
    shares = {kind: _shares(z - mean, basis, values) for kind, basis in candidates.items()}
    scores = {kind: float(share.max(0).mean()) if values else 0.0 for kind, share in shares.items()}
    kind = max(scores, key=lambda one: scores[one])  # the first, principal, where they are equal
    basis, share = candidates[kind], shares[kind]
    t = (z - mean) @ np.linalg.pinv(basis)
    spread = t.std(0) if codes is not None else chart.spread.double().numpy()
    ends = np.quantile(t, QUANTILES, axis=0) if codes is not None else np.array([[-2.326], [2.326]]) * spread
    order = np.argsort(-spread, kind="stable")
    basis, share, t, spread, ends = basis[order], share[order], t[:, order], spread[order], ends[:, order]
    correlation, span = _travel(space, z, heard, basis, t, spread, values, silence, seed)
    strength = _strength(correlation, span, values)
    axes = []
    for j, (name, named, turn) in enumerate(_names(correlation, span, strength, values)):
        effects = {}
        for i, one in sorted(enumerate(values), key=lambda pair: -strength[j, pair[0]]):
            rise = float(f"{turn * span[j, i]:.5g}")
            unit = UNITS[one].replace("dBFS", "dB")  # of a difference
            effects[one] = Effect(_rounded(turn * correlation[j, i]), rise, unit, _rounded(share[j, i]))
        low, high = sorted(turn * ends[:, j])
        explained = 0.0 if named is None else _rounded(share[j, named])
        direction = tuple((turn * basis[j]).tolist())
        axes.append(NamedAxis(name, direction, float(low), float(high), float(spread[j]), effects, explained))
    together = _together(t, values)
    descriptors = {
        name: Described(UNITS[name], float(np.nanmean(value)), float(np.nanstd(value)), _rounded(together[name]))
        for name, value in values.items()
    }
    return Naming(tuple(axes), tuple(mean.tolist()), kind, {**scores}, descriptors)


def _rounded(value: float) -> float:
    return round(float(value), 4) + 0.0  # no minus zero


def _independent(centred: np.ndarray, principal: np.ndarray, seed: int) -> np.ndarray | None:
    """Return unit directions ``[k, d]`` along which independent components move; ``None`` where there are none.

    Whitened are the principal coordinates that vary; the mixing matrix takes the components back to z.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    y = centred @ principal.T
    spread = y.std(0)
    kept = spread > 1e-3 * spread.max(initial=0.0)
    if kept.sum() < 2 or len(y) < 10 * kept.sum():
        return None
    white = y[:, kept] / spread[kept]
    ica = FastICA(whiten="unit-variance", random_state=seed, max_iter=400, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the directions it got to are judged like any others
        ica.fit(white)
    mixing = (ica.mixing_ * spread[kept][:, None]).T @ principal[kept]
    lengths = np.linalg.norm(mixing, axis=1, keepdims=True)
    if not np.isfinite(mixing).all() or (lengths <= 0).any():
        return None
    directions = mixing / lengths
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    return directions * np.sign(largest)


def _shares(centred: np.ndarray, basis: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return R^2 of every descriptor on every axis alone, ``[k, descriptors]``."""
    t = centred @ np.linalg.pinv(basis)
    shares = np.zeros((len(basis), len(values)))
    for i, value in enumerate(values.values()):
        known = np.isfinite(value)
        a, y = t[known] - t[known].mean(0), value[known] - value[known].mean()
        power = (a**2).sum(0) * (y**2).sum()
        shares[:, i] = np.where(power > 0, (a * y[:, None]).sum(0) ** 2 / np.where(power > 0, power, 1.0), 0.0)
    return shares


def _together(t: np.ndarray, values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return R^2 of every descriptor on all axes, corrected for their number (adjusted R^2)."""
    explained = {}
    for name, value in values.items():
        known = np.isfinite(value)
        rows, y = np.c_[np.ones(known.sum()), t[known]], value[known]
        rest = y - rows @ np.linalg.lstsq(rows, y, rcond=None)[0]
        free = len(y) - rows.shape[1]
        share = 1 - (rest @ rest / max(1, free)) / (y.var() * len(y) / (len(y) - 1)) if free > 0 else 0.0
        explained[name] = max(0.0, float(share))
    return explained


def _travel(
    space: Space,
    z: np.ndarray,
    heard: np.ndarray,
    basis: np.ndarray,
    t: np.ndarray,
    spread: np.ndarray,
    values: Mapping[str, np.ndarray],
    silence: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return correlation and span of every axis and descriptor ``[k, descriptors]``, from decoded traversals."""
    k = len(basis)
    shape = (k, len(values))
    if not values:
        return np.zeros(shape), np.zeros(shape)
    size = math.prod(space.model.event_shape)
    count = int(np.clip(_VALUES // (k * STEPS * size), 4, BASES))
    chosen = numpy_stream("axes", seed).permutation(heard)[:count]
    offsets = np.linspace(-REACH, REACH, STEPS)
    points = (
        z[chosen][None, :, None]
        + ((offsets * spread[:, None])[:, None, :, None] - t[chosen].T[:, :, None, None]) * basis[:, None, None]
    )  # [k, bases, steps, d]
    found = audible(described(space, torch.from_numpy(points.reshape(-1, z.shape[1])).float()), silence)
    correlation, span = np.zeros(shape), np.zeros(shape)
    for i, name in enumerate(values):
        y = found[name].reshape(k, len(chosen), STEPS)
        for j in range(k):
            pairs = [pair for pair in (_effect(offsets, row) for row in y[j]) if pair is not None]
            if 2 * len(pairs) >= len(chosen):  # what most traversals lack, such as a pitch, is not what the axis moves
                correlation[j, i], span[j, i] = np.mean(pairs, 0)
    return correlation, span


def _effect(offsets: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    """Return Spearman's correlation of a traversal and the rise of its regression line; ``None`` where it is silent."""
    from scipy.stats import rankdata

    known = np.isfinite(y)
    if known.sum() < LEAST_STEPS:
        return None
    x, y = offsets[known] - offsets[known].mean(), y[known]
    slope = float(x @ y / (x @ x))
    place, rank = rankdata(x), rankdata(y)
    place, rank = place - place.mean(), rank - rank.mean()
    length = float(np.sqrt((place @ place) * (rank @ rank)))
    return (float(place @ rank) / length if length else 0.0), 2 * REACH * slope


def _strength(correlation: np.ndarray, span: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how far and how reliably axes move descriptors ``[k, descriptors]``, in deviations of the corpus."""
    deviation = np.array([np.nanstd(value) for value in values.values()])
    return np.abs(correlation) * np.abs(span) / deviation


def _names(
    correlation: np.ndarray, span: np.ndarray, strength: np.ndarray, values: Mapping[str, np.ndarray]
) -> list[tuple[str, int | None, float]]:
    """Return for every axis its name, the place of its descriptor, and -1 where it has to be turned for it to rise."""
    deviation = np.array([np.nanstd(value) for value in values.values()])
    sure = (np.abs(correlation) >= LEAST_CORRELATION) & (np.abs(span) >= LEAST_SPAN * deviation)
    allowed = np.where(sure & (correlation * span > 0), strength, 0.0)
    found: list[tuple[str, int | None, float]] = [(f"axis-{j + 1}", None, 1.0) for j in range(len(strength))]
    for i, name in enumerate(values):
        mine = [j for j, row in enumerate(allowed) if row[i] > 0 and row.argmax() == i]
        for place, j in enumerate(sorted(mine, key=lambda j: -allowed[j, i]), 1):
            found[j] = (name if place == 1 else f"{name}-{place}", i, float(np.sign(correlation[j, i])))
    return found
