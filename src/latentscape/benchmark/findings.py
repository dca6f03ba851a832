r"""From the cells of a benchmark to its conclusions: pure functions, nothing written by hand.

Letters: f families, s seeds, m measures, n_F seeds of family F, r replicates, B draws, :math:`\bar v` a mean of seeds.

*Scatter.* :math:`s_F^2` is the variance of a measure over the seeds of F, with :math:`n_F - 1` degrees of freedom. A
family with one seed borrows: its own of the first source, or else the mean of the variances of the families that have
several seeds, with all their degrees.

*Difference* of two groups of cells (a level and its reference, or two families):

.. math::
    \delta = \bar v_1 - \bar v_2, \qquad
    \sigma^2 = \underbrace{\operatorname{Var}_i(\bar v_{1,i} - \bar v_{2,i})}_{B} +
               \underbrace{s_1^2 / n_1 + s_2^2 / n_2}_{S_1 + S_2}, \qquad
    \delta \pm t_\nu\,\sigma

where i runs over bootstrap replicates, the same test items in both (a paired bootstrap), and :math:`\nu` are the
degrees of Welch and Satterthwaite, :math:`\sigma^4 / (B^2 / (r - 1) + S_1^2 / \nu_1 + S_2^2 / \nu_2)`. A level of an
axis has one seed and the scatter of its family: there :math:`S = s_F^2 (1 / n_1 + 1 / n_F)` is one term, as it is for
two families that borrow the same scatter. What the draw of samples adds is in both terms, so intervals are rather too
wide than too narrow. There is no correction for the number of comparisons: of twenty differences that are none, one is
expected to be taken for one.

*Ranks* are of means over seeds, 1 the best, ties averaged; those of a group of measures are averaged over those that
all families have and can be compared by (likelihoods only of one law of one kind of x). *Agreement* of two rankings is
Kendall's tau-b, its interval that between the quantiles of B draws. A draw moves every mean by one bootstrap
replicate's departure (the same items for all families) and by
:math:`\sum_s g_s (v_s - \bar v) / \sqrt{n (n - 1)} \cdot \sqrt{\nu / \chi^2_\nu}` with standard normal g, one a seed
and the same for all measures: a t variable of the scatter's size, that keeps how seeds move measures together. (To draw
three seeds again from three would be too sure of itself.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from scipy.stats import t as student

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.results import Result, Results
from latentscape.core.random import numpy_stream

GROUPS = ("reconstruction", "match", "samples", "sound")
"""Groups of measures that families are ranked by."""
DRAWS = 1000
LEVEL = 0.95
COST = 1.5
"""Of families that can't be told apart, one is recommended whose training takes at most this times the quickest's."""

Verdict = Literal["as expected", "not as expected", "no effect beyond the noise", "not known"]


@dataclass(frozen=True)
class Summary:
    """A measure of one family: mean and standard deviation over seeds.

    Attributes:
        mean: over seeds.
        sd: over seeds; ``None`` for one seed.
        n: seeds.
        error: what is not known of the mean: bootstrap and seeds together; ``None`` where there is neither.
        half: of its interval.
    """

    mean: float
    sd: float | None
    n: int
    error: float | None = None
    half: float | None = None


@dataclass(frozen=True)
class Scatter:
    """Variance of a measure over seeds, its degrees of freedom, and whether it is the family's own."""

    variance: float
    freedom: int
    own: bool


@dataclass(frozen=True)
class Difference:
    """The first group of cells less the second.

    Attributes:
        value: delta.
        half: half of its interval; ``None`` where nothing is known of the noise.
        first: mean of the first group.
        second: mean of the second.
        seeds: whether the noise of training is in the interval.
    """

    value: float
    half: float | None
    first: float
    second: float
    seeds: bool = True

    @property
    def sign(self) -> int:
        """-1 or 1 where the interval leaves 0 out, else 0."""
        return 0 if self.half is None or abs(self.value) <= self.half else 1 if self.value > 0 else -1


@dataclass(frozen=True)
class Effect:
    """What a level of an axis does to a family, in the measure that the expectation speaks of.

    Attributes:
        axis: its name.
        value: the level.
        family: whose.
        measure: of the difference.
        difference: level less reference.
        verdict: on the expectation.
        cost: training time over that of the reference; ``None`` where unknown.
    """

    axis: str
    value: str
    family: str
    measure: str
    difference: Difference
    verdict: Verdict
    cost: float | None


@dataclass(frozen=True)
class Ranking:
    """Families by mean rank.

    Attributes:
        ranks: family -> mean rank, 1 the best; best first.
        measures: what they were ranked by.
        alike: families whose mean rank can't be told from the best one's, the best among them.
    """

    ranks: Mapping[str, float]
    measures: tuple[str, ...]
    alike: tuple[str, ...]

    @property
    def best(self) -> str:
        """The family with the lowest mean rank."""
        return next(iter(self.ranks))


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of two rankings of the same families, with its interval; NaN where one ranks all alike."""

    what: str
    tau: float
    low: float
    high: float
    families: tuple[str, ...]

    @property
    def word(self) -> str:
        """How they rank."""
        if math.isnan(self.tau):
            return "not defined"
        return "alike" if self.low > 0 else "oppositely" if self.high < 0 else "can't be told"


# ------------------------------------------------------------------------------------------------ means, differences


def values_of(cells: Sequence[Result], measure: str) -> Float[np.ndarray, " s"]:
    """Return the values of the cells that have the measure."""
    return np.array([cell.numbers[measure].value for cell in cells if measure in cell.numbers])


def summary(cells: Sequence[Result], measure: str, noise: Scatter | None = None) -> Summary | None:
    """Return mean and deviation over the seeds of one family; ``None`` where no cell has the measure."""
    values = values_of(cells, measure)
    if not len(values):
        return None
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    if sd is not None and sd < 1e-9 * abs(values).max():  # of equal values: the rounding of their mean
        sd = 0.0
    departures = _departures(cells, measure)
    parts = [] if departures is None else [(float(departures.var(ddof=1)), len(departures) - 1)]
    parts += [] if noise is None else [(noise.variance / len(values), noise.freedom)]
    error = math.sqrt(sum(part for part, _ in parts)) if parts else None
    return Summary(float(values.mean()), sd, len(values), error, _half(parts) if parts else None)


def scatter(results: Results, source: str, family: str, measure: str) -> Scatter | None:
    """Return how much seeds matter: of the family on the source, or on the first one; else of all families there."""
    for place in dict.fromkeys((source, results.first)):
        own = values_of(results.of(family, place), measure)
        if len(own) > 1:
            return Scatter(float(own.var(ddof=1)), len(own) - 1, place == source)
    for place in dict.fromkeys((source, results.first)):
        several = [values_of(results.of(other, place), measure) for other in results.families(place)]
        several = [values for values in several if len(values) > 1]
        if several:
            freedom = sum(len(values) - 1 for values in several)
            squares = sum(float(values.var(ddof=1)) * (len(values) - 1) for values in several)
            return Scatter(squares / freedom, freedom, False)
    return None


def difference(
    first: Sequence[Result],
    second: Sequence[Result],
    measure: str,
    noise: tuple[Scatter | None, Scatter | None],
    other: str | None = None,
) -> Difference | None:
    """Return the first group's mean less the second's; ``None`` where one of them lacks the measure.

    Args:
        first: cells, a seed each.
        second: cells to compare with.
        measure: of the first.
        noise: the scatter over seeds of either; the same object where both have one scatter.
        other: measure of the second, where it is another (such as a sampler of the same cells).
    """
    other = other or measure
    one, two = values_of(first, measure), values_of(second, other)
    if not len(one) or not len(two):
        return None
    delta = float(one.mean() - two.mean())
    parts: list[tuple[float, float]] = []
    left, right = _departures(first, measure), _departures(second, other)
    if left is not None and right is not None:
        count = min(len(left), len(right))
        parts.append((float((left[:count] - right[:count]).var(ddof=1)), count - 1))
    a, b = noise
    if a is not None and a is b:
        parts.append((a.variance * (1 / len(one) + 1 / len(two)), a.freedom))
    else:
        parts += [(s.variance / n, s.freedom) for s, n in ((a, len(one)), (b, len(two))) if s is not None]
    seeds = a is not None and b is not None
    if not parts:
        return Difference(delta, None, float(one.mean()), float(two.mean()), False)
    return Difference(delta, _half(parts), float(one.mean()), float(two.mean()), seeds)


def _half(parts: Sequence[tuple[float, float]]) -> float:
    """Return half the interval of a sum of variances with their degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(student.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)


def _departures(cells: Sequence[Result], measure: str) -> Float[np.ndarray, " r"] | None:
    """Return the replicates of the mean over cells; ``None`` where a cell has none."""
    rows = [cell.numbers[measure].replicates for cell in cells if measure in cell.numbers]
    count = min((len(row) for row in rows), default=0)
    return np.mean([row[:count] for row in rows], axis=0) if count > 1 else None


def between(results: Results, source: str, first: str, second: str, measure: str) -> Difference | None:
    """Return one family less another, both as they are."""
    one, two = scatter(results, source, first, measure), scatter(results, source, second, measure)
    if one is not None and one == two and not one.own:  # both borrowed that of all families
        two = one
    return difference(results.of(first, source), results.of(second, source), measure, (one, two))


def within(results: Results, source: str, family: str, measure: str, other: str) -> Difference | None:
    """Return a measure less another one of the same cells, seed by seed (a second stage less the prior)."""
    cells = [cell for cell in results.of(family, source) if measure in cell.numbers and other in cell.numbers]
    gains = values_of(cells, measure) - values_of(cells, other)
    noise = Scatter(float(gains.var(ddof=1)), len(gains) - 1, True) if len(gains) > 1 else None
    # the scatter of the gains themselves: what a seed does to both cancels
    halved = noise and Scatter(noise.variance / 2, noise.freedom, True)
    return difference(cells, cells, measure, (halved, halved), other)


# ---------------------------------------------------------------------------------------------------- axes and levels


def effects(results: Results) -> tuple[Effect, ...]:
    """Return the effect of every finished level, axis by axis, on the measure that its expectation speaks of."""
    found = []
    for axis, config in results.grid.axes.items():
        for value in config.values:
            for family in config.families:
                delta = effect_on(results, axis, value, family, config.measure)
                if delta is not None:
                    cost = effect_on(results, axis, value, family, "seconds_train")
                    ratio = cost.first / cost.second if cost is not None and cost.second > 0 else None
                    verdict = judge(config.expected(value), delta)
                    found.append(Effect(axis, value, family, config.measure, delta, verdict, ratio))
    return tuple(found)


def effect_on(results: Results, axis: str, value: str, family: str, measure: str) -> Difference | None:
    """Return what a level does to a family in any measure: level less the family as it is."""
    noise = scatter(results, results.first, family, measure)
    return difference(results.of(family, None, axis, value), results.of(family), measure, (noise, noise))


def interaction(results: Results, axis: str, value: str, first: str, second: str, measure: str) -> Difference | None:
    """Return the effect of a level on one family less that on another, with the noise of both."""
    one, two = (effect_on(results, axis, value, family, measure) for family in (first, second))
    if one is None or two is None or one.half is None or two.half is None:
        return None
    return Difference(one.value - two.value, math.hypot(one.half, two.half), one.value, two.value)


def judge(expect: str, delta: Difference) -> Verdict:
    """Return the verdict on an expectation: ``lower``, ``higher`` or ``same`` than the reference."""
    if delta.half is None:
        return "not known"
    if expect == "same":
        return "not as expected" if delta.sign else "as expected"
    if delta.sign == 0:
        return "no effect beyond the noise"
    return "as expected" if delta.sign == (1 if expect == "higher" else -1) else "not as expected"


def improves(delta: Difference, measure: str) -> bool:
    """Whether a difference is for the better, beyond the noise."""
    return delta.sign == {"lower": -1, "higher": 1, "none": 2}[CATALOGUE[measure].better]


# --------------------------------------------------------------------------------------------------------- rankings


def ranked_measures(results: Results, source: str, families: Sequence[str], group: str) -> tuple[str, ...]:
    """Return the measures of a group, with a better direction, that all the families have and compare by."""
    return tuple(
        name
        for name in results.measures(group)
        if CATALOGUE[name].better != "none"
        and results.grid.compares(families, name)
        and all(len(values_of(results.of(family, source), name)) for family in families)
    )


def ranks_of(
    results: Results, source: str, families: Sequence[str], measures: Sequence[str], draws: int = 0, seed: int = 0
) -> Float[np.ndarray, "b f"]:
    """Return mean ranks over the measures: a row of the means alone, then ``draws`` rows of the bootstrap."""
    table = []
    for name in measures:
        values = _drawn(results, source, families, name, draws, seed)
        table.append(rankdata(-values if CATALOGUE[name].better == "higher" else values, axis=1))
    return np.mean(table, axis=0) if table else np.full((draws + 1, len(families)), np.nan)


def _drawn(
    results: Results, source: str, families: Sequence[str], measure: str, draws: int, seed: int
) -> Float[np.ndarray, "b f"]:
    """Return a measure of each family: its mean, then ``draws`` means with the noise of seeds and of test items."""
    share = numpy_stream(seed, "replicate").random(draws)  # the same for all families: the bootstrap is paired
    columns = []
    for family in families:
        cells = [cell for cell in results.of(family, source) if measure in cell.numbers]
        values = values_of(cells, measure)
        stream = numpy_stream(seed, "seeds", family)  # the same for all measures of a family, as its seeds are
        normal = stream.standard_normal((draws, len(values)))
        noise = scatter(results, source, family, measure)
        column = np.full(draws, values.mean())
        if noise is not None:
            own = normal @ (values - values.mean()) / math.sqrt(len(values) * max(1, len(values) - 1))
            moved = own if len(values) > 1 else normal[:, 0] * math.sqrt(noise.variance)
            column += moved * np.sqrt(noise.freedom / stream.chisquare(noise.freedom, draws))
        departures = _departures(cells, measure)
        if departures is not None:
            column += (departures - departures.mean())[(share * len(departures)).astype(int)]
        columns.append(np.concatenate(([values.mean()], column)))
    return np.stack(columns, 1)


def ranking(
    results: Results,
    source: str,
    groups: Sequence[str] = GROUPS,
    families: Sequence[str] | None = None,
    draws: int = DRAWS,
) -> Ranking | None:
    """Rank families by the mean over groups of their mean rank in each; ``None`` where nothing is shared."""
    families = tuple(families or results.families(source))
    chosen = {group: ranked_measures(results, source, families, group) for group in groups}
    chosen = {group: names for group, names in chosen.items() if names}
    if not chosen or len(families) < 2:
        return None
    score = np.mean([ranks_of(results, source, families, names, draws) for names in chosen.values()], axis=0)
    order = np.argsort(score[0], kind="stable")
    best = order[0]
    behind = np.quantile(score[1:] - score[1:, [best]], (1 - LEVEL) / 2, axis=0) if draws else score[0] - score[0, best]
    alike = tuple(families[index] for index in order if index == best or behind[index] <= 0)
    measures = tuple(name for names in chosen.values() for name in names)
    return Ranking({families[index]: float(score[0, index]) for index in order}, measures, alike)


def recommend(results: Results, source: str, found: Ranking) -> str:
    """Return the best-ranked of the families alike whose training takes at most :data:`COST` times the quickest's."""
    seconds = {}
    for family in found.alike:
        cost = summary(results.of(family, source), "seconds_train")
        seconds[family] = cost.mean if cost else 0.0
    quickest = min(seconds.values())
    return next(family for family in found.alike if seconds[family] <= COST * quickest)


def tau_b(first: Float[np.ndarray, "b f"], second: Float[np.ndarray, "b f"]) -> Float[np.ndarray, " b"]:
    r"""Return Kendall's tau-b of every row (NaN where one of them ranks all alike).

    :math:`\sum_{i<j} \mathrm{sgn}(a_i - a_j)\,\mathrm{sgn}(b_i - b_j) / \sqrt{n_a n_b}`, n the pairs not tied.
    """
    i, j = np.triu_indices(first.shape[1], 1)
    a, b = np.sign(first[:, i] - first[:, j]), np.sign(second[:, i] - second[:, j])
    pairs = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(pairs > 0, (a * b).sum(1) / np.where(pairs > 0, pairs, 1), np.nan)


def agreement(
    one: tuple[Results, str],
    two: tuple[Results, str],
    what: str,
    measures: tuple[Sequence[str], Sequence[str]],
    draws: int = DRAWS,
) -> Agreement | None:
    """Return how alike two benchmarks (or two sources of one) rank the families that both have.

    Args:
        one: a benchmark and its source.
        two: another.
        what: the name of the comparison.
        measures: by which either ranks.
        draws: B.

    Returns:
        ``None`` with fewer than three shared families, or where one side has no measure.
    """
    families = tuple(name for name in one[0].families(one[1]) if name in two[0].families(two[1]))
    kept = tuple(
        tuple(
            m
            for m in names
            if all(len(values_of(side[0].of(f, side[1]), m)) for f in families) and side[0].grid.compares(families, m)
        )
        for side, names in zip((one, two), measures, strict=True)
    )
    if len(families) < 3 or not all(kept):
        return None
    sides = [
        ranks_of(*side, families, names, draws, seed)
        for seed, side, names in zip((0, 1), (one, two), kept, strict=True)
    ]
    tau = tau_b(*sides)
    drawn = tau[np.isfinite(tau)]
    if not np.isfinite(tau[0]):
        return Agreement(what, math.nan, math.nan, math.nan, families)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Agreement(what, float(tau[0]), float(low), float(high), families)


def agreements(one: tuple[Results, str], two: tuple[Results, str], draws: int = DRAWS) -> tuple[Agreement, ...]:
    """Return the agreement for each group of measures that both have.

    Where only one of them measures sound, that is compared with the other's reconstruction.
    """
    pairs = {group: (group, group) for group in GROUPS}
    heard = [bool(_directed(side[0], "sound")) for side in (one, two)]
    if heard == [True, False]:
        pairs["sound here, reconstruction there"] = ("sound", "reconstruction")
    if heard == [False, True]:
        pairs["reconstruction here, sound there"] = ("reconstruction", "sound")
    found = []
    for what, (left, right) in pairs.items():
        result = agreement(one, two, what, (_directed(one[0], left), _directed(two[0], right)), draws)
        found += [result] if result is not None else []
    return tuple(found)


def _directed(results: Results, group: str) -> tuple[str, ...]:
    return tuple(name for name in results.measures(group) if CATALOGUE[name].better != "none")
