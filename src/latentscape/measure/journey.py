r"""How a sound that travels through a latent space fares: pure measures on waves and codes.

Sounds are measured as curves (:mod:`latentscape.measure.curves`), 50 frames a second at one common rate.

Letters: t frames, :math:`\Delta` the time between two (20 ms), S seconds, D descriptors, :math:`y_k[t]` a descriptor in
the unit of :data:`DESCRIPTORS`, :math:`\sigma_k` its deviation over the frames of the corpus, :math:`q_p` its quantiles
there, :math:`L[t, b]` mel levels in dBFS, z codes, :math:`\lambda` the spread of the corpus's codes (the root of their
total variance: no rotation, unit or idle latent changes it).

.. math::
    \text{range}_{p} &= \mathrm{mean}_k\ \frac{|[\min \tilde y_k, \max \tilde y_k] \cap [q_p, q_{1-p}]|}
        {q_{1-p} - q_p} \\
    \text{variation} &= \mathrm{mean}_k\ \frac{\mathrm{mean}_t |y_k[t] - y_k[t-1]|}{\sigma_k \Delta}, \qquad
    \text{spectral variation} = \frac1\Delta \mathrm{mean}_t \sqrt{\mathrm{mean}_b (L[t, b] - L[t-1, b])^2} \\
    \text{length} &= \frac1\lambda \sum_i \lVert z_i - z_{i-1} \rVert

with :math:`\tilde y` the curve after a median over three frames (a single frame reaches nothing). Both variations are
given a second, and, times S over length, per unit of latent length.

*Between two sounds.* Curves are averaged over steps of 0.1 s, :math:`\bar y[i]`. Of descriptors whose ends differ by
more than half a deviation, the mean of

.. math:: \text{monotonicity} = \pm \text{Spearman}(\bar y, i), \qquad
          \text{directness} = \frac{|\bar y[\text{last}] - \bar y[\text{first}]|}{\sum_i |\bar y[i] - \bar y[i-1]|}

(the sign that of the change, so 1 is a course that never turns back; directness is 1 less the share of the total
variation that is excess).

*Pitch jumps.* Voiced frames 0.1 s apart whose pitches differ by more than a semitone: as a share of all such pairs; and
how many a second, pairs within 0.1 s of one another being one jump. (So is a glide of over 10 semitones a second.)

*Distance from the data*: of each decoded frame (or code) to its k nearest of the corpus, the mean; its median over the
path, over the median of held-out items. 1 is as near as unheard sounds of the same kind.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.measure.curves import DESCRIPTORS, STEP, TIMBRE, Curves, curves_of, steps
from latentscape.measure.measure import CEILING_DB, Number
from latentscape.measure.neighbours import nearest
from latentscape.measure.seams import seam_at, seam_course

APART = 5
"""Frames between the two of a pair: about a window, so that one with both pitches in it hides no jump."""
SEMITONES = 1.0
ENDS = 0.5
"""Deviations by which the ends of a curve must differ to have a direction."""
DEFINED = 0.8
"""Share of the steps that must have a descriptor for it to have a course."""
REACH = 0.05
"""Seconds on either side of a corner."""
NOTICED = {"loudness": 1.0, "centroid": 0.05, "bandwidth": 0.1, "flatness": 1.0, "pitch": 0.1}
"""About what can be noticed of each: a descriptor that deviates by less over a corpus does not vary there."""


@dataclass(frozen=True)
class Spread:
    """How a descriptor lies in a corpus: quantiles 5, 25, 50, 75 and 95 %, and deviation, in its unit."""

    low: float
    lower: float
    median: float
    upper: float
    high: float
    deviation: float
    unit: str


@dataclass(frozen=True)
class CorpusStatistics:
    """What paths are measured against; stored beside every result.

    Attributes:
        descriptors: name -> how it lies in the corpus; those that it has nowhere, or that do not vary, are absent.
        latent_spread: lambda, latent units; 1 where no codes were given.
        sounds: how many it was computed of.
        seconds: of sound.
    """

    descriptors: Mapping[str, Spread]
    latent_spread: float
    sounds: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CorpusStatistics":
        """Return what :meth:`to_json` gave.

        Raises:
            DataError: the record is of another form.
        """
        try:
            found = {name: Spread(**spread) for name, spread in values["descriptors"].items()}
            sounds, seconds = int(values["sounds"]), float(values["seconds"])
            return cls(found, float(values["latent_spread"]), sounds, seconds)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"corpus statistics were read from {values!r:.100}, expected descriptors") from error


# ------------------------------------------------------------------------------------------------------------- corpus


def statistics(sounds: Sequence[Curves], codes: Float[Tensor, "n d"] | None = None) -> CorpusStatistics:
    """Return the statistics of a corpus.

    Args:
        sounds: of the corpus; each frame weighs the same.
        codes: of its frames or windows.

    Raises:
        DataError: there is no sound that sounds.
    """
    found = {}
    for name, unit in DESCRIPTORS.items():
        values = np.concatenate([np.zeros(0), *(sound.values[name] for sound in sounds)])
        values = values[np.isfinite(values)]
        if len(values) > 1 and values.std() >= NOTICED[name]:
            quantiles = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
            found[name] = Spread(*quantiles, deviation=float(values.std()), unit=unit)
    if not found:
        raise DataError(f"the statistics of a corpus got {len(sounds)} sounds, none of which sounds or varies")
    spread = 1.0 if codes is None else float(codes.double().var(0, correction=0).sum().sqrt()) or 1.0
    return CorpusStatistics(found, spread, len(sounds), sum(sound.seconds for sound in sounds))


class Neighbourhood:
    """Items of a corpus, and how far from them held-out items lie.

    Args:
        points: of the corpus, ``[m, f]``.
        held: held-out items ``[n, f]``.
        count: k nearest that a distance is the mean over.

    Raises:
        DataError: fewer points than neighbours, or no held-out item.
    """

    def __init__(self, points: Float[Tensor, "m f"], held: Float[Tensor, "n f"], count: int = 1) -> None:
        if len(points) < count or not len(held):
            raise DataError(
                f"a neighbourhood got {len(points)} points and {len(held)} held-out items, expected at least "
                f"{count} and 1"
            )
        self.points, self.count = points, count
        self.own = float(self.distances(held).median())

    def distances(self, items: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Return the mean distance of each item to its k nearest points."""
        return nearest(items.to(self.points), self.points, self.count).mean(1)

    def ratio(self, items: Float[Tensor, "n f"]) -> Number | None:
        """Return the median distance over that of held-out items; ``None`` where these are points of the corpus."""
        return Number(float(self.distances(items).median()) / self.own, "") if self.own > 0 else None


# ----------------------------------------------------------------------------------------------------------- measures


def journey(
    wave: Float[Tensor, "c n"],
    sample_rate: int,
    *,
    corpus: CorpusStatistics,
    codes: Float[Tensor, "m d"] | None = None,
    joins: Sequence[float] = (),
    corners: Sequence[float] = (),
    between: bool = False,
) -> dict[str, Number]:
    """Return every measure of one sound that applies to it; what does not apply is absent.

    Args:
        wave: the sound of a path.
        sample_rate: Hz.
        corpus: what it is measured against.
        codes: z along the path, dense enough that chords are the path.
        joins: times, s, at which pieces of the wave were joined.
        corners: times, s, at which the path turns sharply.
        between: the path goes from one sound to another.

    Raises:
        DataError: the wave is too short, or not finite.
    """
    return journey_of(
        curves_of(wave, sample_rate),
        corpus,
        codes=codes,
        corners=corners,
        between=between,
    ) | seams(wave, sample_rate, joins)


def journey_of(
    curves: Curves,
    corpus: CorpusStatistics,
    *,
    codes: Float[Tensor, "m d"] | None = None,
    corners: Sequence[float] = (),
    between: bool = False,
) -> dict[str, Number]:
    """Return :func:`journey` of curves that are known; seams, which need the wave, excepted."""
    numbers = coverage(curves, corpus) | variation(curves, corpus) | pitch_jumps(curves)
    numbers["sounding"] = Number(float(curves.sounding.mean()), "")
    if codes is not None:
        length = float(codes.double().diff(dim=0).norm(dim=1).sum()) / corpus.latent_spread
        numbers["length"] = Number(length, "spreads")
        for name in ("variation", "spectral_variation"):
            if name in numbers and length > 0:
                unit = numbers[name].unit.replace("/s", "/spread")
                numbers[f"{name}_length"] = Number(numbers[name].value * curves.seconds / length, unit)
    if between:
        numbers |= course(curves, corpus)
    if corners:
        numbers |= corner_flux(curves, corners)
    return numbers


def coverage(curves: Curves, corpus: CorpusStatistics) -> dict[str, Number]:
    """Return ``range_iqr`` and ``range_90``, and the latter of each descriptor: shares of the corpus's range."""
    halves, whole = [], {}
    for name, spread in corpus.descriptors.items():
        values = curves.values[name][np.isfinite(curves.values[name])]
        if len(values):
            values = np.median(sliding_window_view(np.pad(values, 1, "edge"), 3), axis=1)
        halves.append(_share(values, spread.lower, spread.upper))
        whole[f"range_90_{name}"] = Number(_share(values, spread.low, spread.high), "")
    means = {"range_iqr": float(np.mean(halves)), "range_90": float(np.mean([one.value for one in whole.values()]))}
    return {name: Number(value, "") for name, value in means.items()} | whole


def _share(values: np.ndarray, low: float, high: float) -> float:
    if not len(values):
        return 0.0
    if not high > low:  # a descriptor with outliers only
        return float(values.min() <= low <= values.max())
    return max(0.0, min(high, float(values.max())) - max(low, float(values.min()))) / (high - low)


def variation(curves: Curves, corpus: CorpusStatistics) -> dict[str, Number]:
    """Return ``variation`` (deviations/s) and ``spectral_variation`` (dB/s)."""
    numbers = {}
    rates = []
    for name in TIMBRE:
        moves = np.abs(np.diff(curves.values[name]))
        moves = moves[np.isfinite(moves)]
        if name in corpus.descriptors and len(moves):
            rates.append(moves.mean() / corpus.descriptors[name].deviation / STEP)
    if rates:
        numbers["variation"] = Number(float(np.mean(rates)), "deviations/s")
    both = curves.sounding[1:] & curves.sounding[:-1]
    if both.any():
        flux = np.sqrt(np.square(np.diff(curves.levels, axis=0)).mean(1))[both].mean()
        numbers["spectral_variation"] = Number(float(flux) / STEP, "dB/s")
    return numbers


def course(curves: Curves, corpus: CorpusStatistics) -> dict[str, Number]:
    """Return ``monotonicity`` and ``directness`` of a path between two sounds; absent where no end differs."""
    ranks, shares = [], []
    for name, spread in corpus.descriptors.items():
        along = steps(curves.values[name])
        defined = np.isfinite(along)
        if len(along) < 3 or defined.mean() < DEFINED:
            continue
        along = along[defined]
        change = along[-1] - along[0]
        if abs(change) <= ENDS * spread.deviation:
            continue
        ranks.append(float(np.sign(change)) * spearman(along, np.arange(len(along))))
        shares.append(abs(change) / np.abs(np.diff(along)).sum())
    if not ranks:
        return {}
    means = {"monotonicity": np.mean(ranks), "directness": np.mean(shares)}
    return {name: Number(float(value), "") for name, value in means.items()}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of ranks, ties averaged; 0 where one of them is constant."""
    from scipy.stats import rankdata  # takes seconds to import

    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def pitch_jumps(curves: Curves) -> dict[str, Number]:
    """Return ``voiced`` (share of sounding frames), ``pitch_jumps`` (share of pairs) and ``pitch_jumps_rate`` (1/s)."""
    pitch = curves.values["pitch"]
    voiced = int(np.isfinite(pitch).sum())
    numbers = {"voiced": Number(voiced / max(1, int(curves.sounding.sum())), "")}
    moves = np.abs(pitch[APART:] - pitch[:-APART])
    pairs = int(np.isfinite(moves).sum())
    jumping = np.flatnonzero(moves > SEMITONES)
    if pairs:
        numbers["pitch_jumps"] = Number(len(jumping) / pairs, "")
    jumps = int((np.diff(jumping, prepend=-2 * APART) > APART).sum())  # those that overlap are one
    return numbers | {"pitch_jumps_rate": Number(jumps / (len(pitch) * STEP), "1/s")}


def corner_flux(curves: Curves, corners: Sequence[float]) -> dict[str, Number]:
    """Return ``corner``: energy of the change of levels within 50 ms of a corner over that elsewhere, dB."""
    energy = np.square(np.diff(curves.levels, axis=0)).mean(1)
    middle = (curves.times[1:] + curves.times[:-1]) / 2
    near = (np.abs(middle[:, None] - np.asarray(corners)) <= REACH).any(1)
    if near.all() or not near.any():
        return {}
    within, elsewhere = energy[near].mean(), energy[~near].mean()
    ratio = 10 * np.log10(max(within, 1e-20) / max(elsewhere, 1e-20))
    return {"corner": Number(float(np.clip(ratio, -CEILING_DB, CEILING_DB)), "dB")}


def seams(wave: Float[Tensor, "c n"], sample_rate: int, joins: Sequence[float]) -> dict[str, Number]:
    """Return ``seam``, ``seam_level`` and ``seam_flux`` in dB, see :mod:`latentscape.measure.seams`.

    Each is absent where there is no join, or nothing beside the joins.
    """
    numbers: dict[str, Number] = {}
    with suppress(DataError):
        numbers["seam"] = seam_at(wave, [round(time * sample_rate) for time in joins])
    with suppress(DataError):
        numbers |= seam_course(wave, sample_rate, joins)
    return numbers


def correlations(
    coordinates: Float[Tensor, "t k"], curves: Curves, names: Sequence[str] = tuple(DESCRIPTORS)
) -> dict[str, tuple[float, ...]]:
    """Return Spearman's correlation of each descriptor with each coordinate of the codes at the same frames.

    Args:
        coordinates: at ``curves.times``.
        curves: of the sound.
        names: of descriptors; those with fewer than eight frames are left out.

    Raises:
        DataError: the counts differ.
    """
    if len(coordinates) != len(curves.times):
        raise DataError(f"correlations got {len(coordinates)} codes for {len(curves.times)} frames")
    found = {}
    for name in names:
        defined = np.isfinite(curves.values[name])
        if defined.sum() >= 8:
            columns = coordinates.detach().cpu().double().numpy()[defined].T
            found[name] = tuple(spearman(column, curves.values[name][defined]) for column in columns)
    return found
