"""Conclusions in words: every sentence is computed from the records of :mod:`latentscape.benchmark.findings`.

A sentence that the numbers don't carry is not written: with one seed, a missing family or no bootstrap it says so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from latentscape.benchmark.catalogue import CATALOGUE
from latentscape.benchmark.findings import (
    GROUPS,
    Agreement,
    Difference,
    Effect,
    Ranking,
    agreements,
    between,
    effects,
    improves,
    interaction,
    ranking,
    recommend,
    summary,
    within,
)
from latentscape.benchmark.results import Results

SECOND_STAGES = {"frechet_mixture": "a mixture", "frechet_flow": "a flow"}
ERRORS = ("mse", "lsd_sound", "mss", "distortion")
"""What reconstruction is judged by in a sentence: the first that is there."""
PLAIN_VAE = "VAE"
WORTH = 2.0
"""A level is worth switching on where it is better beyond the noise at no more than so many times the training time."""


def decimals(error: float) -> int:
    """Return how many decimals show two digits of an error (one of an error that begins with 95 or more)."""
    if error <= 0 or not math.isfinite(error):
        return 3
    return max(0, 1 - math.floor(math.log10(error)))


def number(value: float, error: float | None = None) -> str:
    """Return a number with as many digits as its error warrants, else with four; a minus sign is one."""
    if error:
        return fixed(value, decimals(error))
    whole = value == round(value) and abs(value) >= 1000
    return signed(f"{value:,.0f}" if whole else f"{value:.4g}")


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals."""
    return signed(f"{value:.{min(9, digits)}f}")


def signed(text: str) -> str:
    """Return a number's text with a minus for a hyphen, and none before zero."""
    return text.replace("-", "\u2212") if float(text.replace(",", "")) != 0 else text.lstrip("-")


def with_unit(measure: str, text: str) -> str:
    """Return a number with the unit of its measure."""
    return f"{text} {CATALOGUE[measure].unit}".rstrip()


def change(delta: Difference, measure: str = "") -> str:
    """Return a difference with its sign and interval, such as ``-0.013 [-0.015, -0.011] nats``."""
    sign = "+" if delta.value > 0 else ""
    text = f"{sign}{number(delta.value, delta.half)}"
    if delta.half is not None:
        low, high = (number(delta.value + side * delta.half, delta.half) for side in (-1, 1))
        text += f" [{low}, {high}]"
    return with_unit(measure, text) if measure else text


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as words: ``a``, ``a and b``, ``a, b and c``."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def counted(count: int, word: str) -> str:
    """Return a count and its word: ``1 cell``, ``2 cells``."""
    return f"{count} {word}" + ("" if count == 1 else "s")


def title(measure: str) -> str:
    """Return what a measure is called within a sentence."""
    return CATALOGUE[measure].title.replace("^2", "²")


# ----------------------------------------------------------------------------------------------------------- the answer


def answer(results: Results, against: Results | None = None) -> list[str]:
    """Return what the benchmark comes to: at most five sentences."""
    source = results.first
    overall = ranking(results, source)
    if overall is None:
        done = counted(len(results.families(source)), "family").replace("familys", "families")
        return [f"Nothing can be ranked yet: {done} on {source} with measures that all share."]
    lines = [overall_sentence(results, source, overall), groups_sentence(results, source)]
    lines += claim_in_short(claims(results, source))
    lines += verdicts_sentence(results)
    if against is not None:
        lines += agreement_in_short(results, against)
    else:
        lines += stages_sentence(results, source)
    return lines[:5]


def overall_sentence(results: Results, source: str, found: Ranking) -> str:
    """Say which family is best over all groups, which can't be told from it, and which is recommended."""
    ranks = f"mean rank {found.ranks[found.best]:.1f} of {len(found.ranks)}"
    chosen = recommend(results, source, found)
    others = [family for family in found.alike if family != found.best]
    text = f"Over {len(found.measures)} measures on {source}, {found.best} is best ({ranks})"
    text += f"; {listed(others)} can't be told from it" if others else ", beyond the noise"
    if chosen == found.best:
        return f"{text}. It is the model to start from."
    return f"{text}. Of these, {chosen} is the one to start from, since it trains faster."


def groups_sentence(results: Results, source: str) -> str:
    """Say which family is best in each group of measures."""
    parts = []
    for group in GROUPS:
        found = ranking(results, source, (group,))
        if found is not None:
            rest = len(found.alike) - 1
            alike = f" ({counted(rest, 'other')} within the noise)" if rest else ""
            parts.append(f"by {group} {found.best}{alike}")
    return f"Group by group: {', '.join(parts)}."


def verdicts_sentence(results: Results) -> list[str]:
    """Count the verdicts on the written expectations, and name the largest effect."""
    found = effects(results)
    if not found:
        return []
    counts = {verdict: sum(e.verdict == verdict for e in found) for verdict in dict.fromkeys(e.verdict for e in found)}
    order = [
        verdict
        for verdict in ("as expected", "not as expected", "no effect beyond the noise", "not known")
        if verdict in counts
    ]
    words = listed([f"{counts[verdict]} {verdict}" for verdict in order])
    text = f"Of {counted(len(found), 'change')} to single settings, {words} came out"
    text = text.replace(" came out", "") if len(order) > 1 else text
    helped = [e for e in found if improves(e.difference, e.measure) and (e.cost is None or e.cost <= WORTH)]
    text += " on the measure that was written down beforehand."
    if helped:
        worth = [f"{setting(results, e)} for {e.family} ({title(e.measure)} {change(e.difference)})" for e in helped]
        more = f" (and {len(worth) - 3} more)" if len(worth) > 3 else ""
        text += f" Worth their cost: {listed(worth[:3])}{more}."
    return [text]


def setting(results: Results, effect: Effect) -> str:
    """Return the name of a level in a sentence."""
    return f"{results.grid.axes[effect.axis].title}: {effect.value}"


# ------------------------------------------------------------------------------------------------- the paper's claims


@dataclass(frozen=True)
class Claim:
    """A claim of Tolstikhin et al. (2018): the Wasserstein auto-encoder is better than the VAE in some measure.

    Attributes:
        family: the Wasserstein auto-encoder.
        what: what it is said to be better in.
        measure: by which that is judged.
        difference: it less the VAE, at equal nets and budget.
    """

    family: str
    what: str
    measure: str
    difference: Difference

    @property
    def outcome(self) -> str:
        """Whether it holds here."""
        if self.difference.half is None:
            return "not known"
        if self.difference.sign == 0:
            return "no difference beyond the noise"
        return "holds" if improves(self.difference, self.measure) else "the opposite holds"


def claims(results: Results, source: str) -> tuple[Claim, ...]:
    """Return every claim on every Wasserstein auto-encoder of the grid, judged by the numbers."""
    families = results.families(source)
    if PLAIN_VAE not in families:
        return ()
    found = []
    for family in (name for name in families if name.upper().startswith("WAE")):
        error = next((name for name in ERRORS if between(results, source, family, PLAIN_VAE, name)), "mse")
        measures = {"reconstruction": error, "match to the prior": "mmd", "samples": "frechet"}
        measures |= {f"samples with {stage}": name for name, stage in SECOND_STAGES.items()}
        for what, measure in measures.items():
            delta = between(results, source, family, PLAIN_VAE, measure)
            found += [] if delta is None else [Claim(family, what, measure, delta)]
    return tuple(found)


def matches(results: Results, source: str, family: str) -> str:
    """Say whether a family passes the test that codes and prior are of one distribution."""
    p = summary(results.of(family, source), "mmd_p")
    if p is None:
        return ""
    said = "p < 0.01" if p.mean < 0.01 else f"p = {p.mean:.2f}"
    return f"{family} {'passes' if p.mean > 0.05 else 'fails'} ({said})"


def claim_in_short(found: Sequence[Claim]) -> list[str]:
    """Say in one sentence how each Wasserstein auto-encoder stands to the VAE."""
    words = {"holds": "better", "the opposite holds": "worse", "no difference beyond the noise": "no different"}
    families: dict[str, list[str]] = {}
    for family in dict.fromkeys(claim.family for claim in found):
        outcome = {
            word: [claim.what for claim in found if claim.family == family and claim.outcome == name]
            for name, word in words.items()
        }
        said = "; ".join(f"{word} in {listed(names)}" for word, names in outcome.items() if names)
        families.setdefault(said, []).append(family)
    parts = [f"{listed(names)} {'is' if len(names) == 1 else 'are'} {said}" for said, names in families.items() if said]
    return [f"Against the VAE with equal nets and budget, {'. '.join(parts)}."] if parts else []


# ------------------------------------------------------------------------------------------------------ second stages


def stages_sentence(results: Results, source: str) -> list[str]:
    """Say what a density that is learnt on the codes does to samples."""
    parts = []
    for measure, stage in SECOND_STAGES.items():
        gains = {f: within(results, source, f, measure, "frechet") for f in results.families(source)}
        known = {family: delta for family, delta in gains.items() if delta is not None and delta.second > 0}
        if known:
            better = sum(improves(delta, measure) for delta in known.values())
            shares = sorted(delta.first / delta.second - 1 for delta in known.values())
            middle = shares[len(shares) // 2] if len(shares) % 2 else sum(shares[len(shares) // 2 - 1 :][:2]) / 2
            direction = "lowers" if middle < 0 else "raises"
            parts.append(
                f"{stage} on the codes {direction} the Frechet distance by {abs(middle):.0%} (median of "
                f"{counted(len(known), 'family').replace('familys', 'families')}, {better} of them beyond the noise)"
            )
    return [f"Second stage: {'; '.join(parts)}."] if parts else []


# --------------------------------------------------------------------------------------------------------------- axes


def finding(results: Results, axis: str, found: Sequence[Effect]) -> str:
    """Say what was found of an axis: each level, each family, and whose the effect is."""
    config = results.grid.axes[axis]
    lines = []
    for value in config.values:
        mine = [effect for effect in found if effect.axis == axis and effect.value == value]
        if mine:
            parts = [f"{effect.family} {change(effect.difference)}, {effect.verdict}" for effect in mine]
            whose = attribution(results, mine)
            lines.append(f"{value}: {'; '.join(parts)}.{f' {whose}' if whose else ''}")
    if not lines:
        return "Not run yet."
    if any(not effect.difference.seeds for effect in found if effect.axis == axis):
        lines.append("No seed was repeated: the noise of training is not in these intervals.")
    return " ".join(lines)


def attribution(results: Results, mine: Sequence[Effect]) -> str:
    """Say whose the effect of a level is, where it was looked for in several families."""
    if len(mine) < 2 or any(effect.difference.half is None for effect in mine):
        return ""
    shown = [effect for effect in mine if effect.difference.sign]
    rest = [effect for effect in mine if not effect.difference.sign]
    if not shown:
        return f"{'Neither' if len(mine) == 2 else 'None'} shows an effect beyond the noise."
    ways = {sign: [e.family for e in shown if e.difference.sign == sign] for sign in (-1, 1)}
    if ways[-1] and ways[1]:
        return f"The effect is opposite: lower for {listed(ways[-1])}, higher for {listed(ways[1])}."
    whose = listed([effect.family for effect in shown])
    if not rest:
        return f"The effect is common to {'both' if len(mine) == 2 else 'all'}: {whose}."
    apart = [interaction(results, a.axis, a.value, a.family, b.family, a.measure) for a in shown for b in rest]
    text = f"The effect is {whose}'s alone"
    if any(delta is None or delta.sign == 0 for delta in apart):
        others = f"{listed([e.family for e in rest])} {'differs' if len(rest) == 1 else 'differ'}"
        text = f"The effect shows in {whose} only, but whether {others} in it can't be told"
    return f"{text}."


# ---------------------------------------------------------------------------------------------------------- agreement


def agreement_in_short(results: Results, other: Results) -> list[str]:
    """Say in one sentence whether two benchmarks rank alike."""
    found = agreements((results, results.first), (other, other.first))
    if not found:
        return [f"Too few families are shared with {other.grid.title} to compare rankings."]
    return [f"Do {results.grid.suite} and {other.grid.suite} rank alike? {' '.join(map(agreement_sentence, found))}"]


def agreement_sentence(found: Agreement) -> str:
    """Say whether two rankings agree."""
    if math.isnan(found.tau):
        return f"By {found.what}: not defined, one side ranks all alike."
    return f"By {found.what}: tau {number(found.tau, 0.1)} {bounds(found)}, {found.word}."


def bounds(found: Agreement) -> str:
    """Return the interval of tau."""
    return f"[{number(found.low, 0.1)}, {number(found.high, 0.1)}]"
