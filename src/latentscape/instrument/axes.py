r"""Named axes: directions of the encoded corpus, and what is heard when a sound moves along them.

Letters: z codes ``[n, d]`` of the corpus with mean mu, k axes with unit directions :math:`v_j`, :math:`t_j` the
coordinate along an axis and :math:`\sigma_j` its deviation over the corpus, y a descriptor of the decoded sound.

.. math:: z = \mu + \sum_j t_j v_j, \qquad t = (z - \mu)\, V^+

Directions are *principal* (orthogonal, by falling variance) or *independent*: the columns of the mixing matrix that
FastICA (Hyvarinen and Oja 2000) finds in the whitened principal coordinates; they are not orthogonal, so coordinates
are read with the pseudo-inverse :math:`V^+`. Taken all together, both kinds span the same space and explain the same;
chosen is the kind whose *single* axes explain more: the mean over descriptors of the best axis's R^2.

What an axis moves is measured by decoding: from base points of the corpus, the coordinate t goes from -2 to +2
deviations, all others stay. An :class:`Effect` is the mean over base points of Spearman's correlation of t with y, the
mean rise of y's regression line from one end to the other, and R^2, the share of y's variance over the (decoded)
corpus that a straight line in t explains. An axis is named for the descriptor that it moves most reliably and furthest:
the greatest ``|correlation| * |span| / deviation of y``, where the correlation is at least 1/2 and the span at least
half a deviation. It is turned so that this descriptor rises. The strongest axis of a descriptor has its plain name, the
next is ``brightness-2``, and what moves nothing is ``axis-7`` by its place. Order: falling deviation. Everything is
written once, into ``axes.json``, and never changes after.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import StorageError
from latentscape.core.random import numpy_stream
from latentscape.core.storage import load_object, save_json
from latentscape.instrument.decoded import UNITS, audible, described, silence_of

if TYPE_CHECKING:
    from latentscape.instrument.instrument import Instrument

FORMAT = 1
FILE = "axes.json"
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

Directions = Literal["principal", "independent"]


@dataclass(frozen=True)
class Effect:
    """What an axis does to a descriptor.

    Attributes:
        correlation: of the coordinate with the descriptor along a traversal (Spearman's, mean over base points).
        span: rise of its regression line from two deviations below to two above, mean over base points.
        unit: of the span.
        explained: share of the descriptor's variance over the corpus that the axis alone explains, R^2.
    """

    correlation: float
    span: float
    unit: str
    explained: float


@dataclass(frozen=True)
class NamedAxis:
    """A direction with a name.

    Attributes:
        name: unique in its run; lower case, hyphenated.
        direction: a unit vector.
        low: 1 % quantile of the corpus's coordinates along it, from the mean.
        high: 99 % quantile.
        deviation: their standard deviation.
        moves: descriptor -> what the axis does to it, strongest first.
        explained: share of the variance over the corpus of the descriptor it is named for; 0 where it has no such name.
    """

    name: str
    direction: tuple[float, ...]
    low: float
    high: float
    deviation: float
    moves: Mapping[str, Effect]
    explained: float


@dataclass(frozen=True)
class Described:
    """A descriptor over the decoded corpus.

    Attributes:
        unit: of mean and deviation.
        mean: over the corpus.
        deviation: over the corpus.
        explained: share of its variance that all axes together explain, R^2 of the linear regression.
    """

    unit: str
    mean: float
    deviation: float
    explained: float


@dataclass(frozen=True)
class Naming:
    """The named axes of a run.

    Attributes:
        axes: by falling deviation.
        mean: mu, the point that coordinates are counted from.
        directions: which kind they are.
        scores: kind -> mean over descriptors of the best axis's R^2, by which the kind was chosen.
        descriptors: what the corpus is described by; empty for images.
    """

    axes: tuple[NamedAxis, ...]
    mean: tuple[float, ...]
    directions: Directions
    scores: Mapping[str, float]
    descriptors: Mapping[str, Described]

    def coordinates(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Return the coordinates of points along the axes, from the mean."""
        basis = torch.tensor([axis.direction for axis in self.axes], dtype=torch.float64, device=z.device)
        mean = torch.tensor(self.mean, dtype=torch.float64, device=z.device)
        return ((z.double() - mean) @ torch.linalg.pinv(basis)).to(z.dtype)

    def points(self, coordinates: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Return the points that have these coordinates, on the mean in what the axes do not span."""
        basis = torch.tensor([axis.direction for axis in self.axes], dtype=torch.float64, device=coordinates.device)
        mean = torch.tensor(self.mean, dtype=torch.float64, device=coordinates.device)
        return (mean + coordinates.double() @ basis).to(coordinates.dtype)

    def lines(self) -> list[str]:
        """Return a line an axis: its name, how far the corpus lies along it, and what it moves."""
        if not self.axes:
            return []
        width = max(len(axis.name) for axis in self.axes)
        lines = [f"named axes ({self.directions} directions; R2: share of the variance over the corpus):"]
        lines += [f"  {axis.name:{width}}  {axis.low:6.2f} to {axis.high:5.2f}  {moved(axis)}" for axis in self.axes]
        if self.descriptors:
            shares = ", ".join(f"{name} {one.explained:.2f}" for name, one in self.descriptors.items())
            lines.append(f"  all together explain: {shares}")
        return lines

    def save(self, run: File) -> None:
        """Write ``axes.json`` into a run folder."""
        save_json(run / FILE, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, run: File) -> "Naming":
        """Read the named axes of a run folder.

        Raises:
            StorageError: the file is missing, damaged or of a newer format.
        """
        path = run / FILE
        about = load_object(path)
        if about.pop("format", None) != FORMAT:
            raise StorageError(f"{path} has another format than {FORMAT}; a newer latentscape may have written it")
        try:
            axes = tuple(_axis(row) for row in about["axes"])
            descriptors = {name: Described(**row) for name, row in about["descriptors"].items()}
            mean = tuple(float(value) for value in about["mean"])
            found = cls(axes, mean, about["directions"], dict(about["scores"]), descriptors)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StorageError(f"{path} is damaged: its axes can't be read") from error
        names = [axis.name for axis in axes]
        if len(set(names)) < len(names) or any(len(axis.direction) != len(mean) for axis in axes):
            raise StorageError(f"{path} is damaged: names repeat, or directions are not of {len(mean)} values")
        return found


def moved(axis: NamedAxis, most: int = 3) -> str:
    """Return in words what an axis moves, strongest first."""
    parts = [
        f"{name} {_signed(effect.span)} {effect.unit}".rstrip() + f" (R2 {effect.explained:.2f})"
        for name, effect in list(axis.moves.items())[:most]
    ]
    return ", ".join(parts)


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"


def _axis(row: Mapping[str, Any]) -> NamedAxis:
    direction = tuple(float(value) for value in row["direction"])
    if not math.isclose(math.hypot(*direction), 1.0, abs_tol=1e-3):
        raise ValueError("a direction that is not of unit length")
    moves = {name: Effect(**effect) for name, effect in row["moves"].items()}
    low, high, deviation, explained = (float(row[name]) for name in ("low", "high", "deviation", "explained"))
    return NamedAxis(str(row["name"]), direction, low, high, deviation, moves, explained)


def name_axes(instrument: "Instrument", codes: Float[Tensor, "n d"] | None = None, *, seed: int = 0) -> Naming:
    """Find and name the axes of an instrument; a function of its arguments.

    Args:
        instrument: of sounds or images.
        codes: of frames or windows of the corpus; without them, the map's clips and principal axes are what is known of
            the corpus, and directions are principal.
        seed: of the base points, and of FastICA's start.
    """
    chart = instrument.chart
    z = chart.clips if codes is None else codes
    z = z[torch.linspace(0, len(z) - 1, min(CORPUS, len(z))).round().long()].double().cpu().numpy()
    mean = chart.mean.double().numpy()
    candidates: dict[Directions, np.ndarray] = {"principal": chart.axes.double().numpy()}
    if codes is not None and (independent := _independent(z - mean, candidates["principal"], seed)) is not None:
        candidates["independent"] = independent
    values = described(instrument, torch.from_numpy(z).float())
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
    correlation, span = _travel(instrument, z, heard, basis, t, spread, values, silence, seed)
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
    instrument: "Instrument",
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
    size = math.prod(instrument.model.event_shape)
    count = int(np.clip(_VALUES // (k * STEPS * size), 4, BASES))
    chosen = numpy_stream("axes", seed).permutation(heard)[:count]
    offsets = np.linspace(-REACH, REACH, STEPS)
    points = (
        z[chosen][None, :, None]
        + ((offsets * spread[:, None])[:, None, :, None] - t[chosen].T[:, :, None, None]) * basis[:, None, None]
    )  # [k, bases, steps, d]
    found = audible(described(instrument, torch.from_numpy(points.reshape(-1, z.shape[1])).float()), silence)
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
