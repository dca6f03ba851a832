"""Filling in what is missing of a sound: every gap by a method, the rest returned as it is.

Gaps are filled from short to long; what has been filled counts as known for the next, what has not is no context.
``auto`` takes linear prediction for gaps below 100 ms and the model above, where a run that can is there; without one
it copies the context. An answer that peaks more than 6 dB above all that is known of the sound is turned down to
there; one of 100 ms and more to full scale, too, unless the sound goes beyond that. (Clipped peaks are short, and may.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from latentscape.core.errors import DataError, UsageError, nearest
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.gaps import Gap, known_of
from latentscape.edit.hole import Filler, Hole
from latentscape.edit.linear_prediction import LinearPrediction
from latentscape.edit.splice import splice, usual_bend
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels

LOUDER = 2.0
"""Times the peak of what is known that an answer may reach: an attack may be missing, but no blast."""
SHORT_SECONDS = 0.1
"""Below this, ``auto`` follows linear prediction."""
METHODS = ("auto", "linear", "copy", "latent", "hierarchy")
NEED_RUN = {
    "latent": "single spectral frames (log_stft or log_mel, window.length 1)",
    "hierarchy": "a conditional hierarchy over time",
}


@dataclass(frozen=True)
class Filled:
    """A sound with its gaps filled in.

    Attributes:
        wave: ``[c, n]`` float64; samples outside the gaps are those that were given.
        gaps: what was filled, in order.
        methods: by what, one a gap.
        gains: factors by which answers that were far too loud were turned down, one a gap; 1 for the others.
    """

    wave: np.ndarray
    gaps: tuple[Gap, ...]
    methods: tuple[str, ...]
    gains: tuple[float, ...]


def fillers(instrument: Instrument | None = None, labels: Labels | None = None) -> dict[str, Filler]:
    """Return the ways to fill a gap that are there, by name: those without a model, and what the run's model can do."""
    found: dict[str, Filler] = {filler.name: filler for filler in (LinearPrediction(), CopyContext())}
    if instrument is not None:
        for name, make in makers().items():
            filler = make(instrument, labels)
            if filler is not None:
                found[name] = filler
    return found


def makers() -> Mapping[str, Callable[[Instrument, Labels | None], Filler | None]]:
    """Return what makes a filler of a run, by name; it gives ``None`` where the run's model is of another kind."""
    from latentscape.edit.completed import completed_filler
    from latentscape.edit.latent import latent_filler

    return {"hierarchy": completed_filler, "latent": latent_filler}


def check_method(method: str, ways: Mapping[str, Filler]) -> None:
    """Refuse a method that is not known, or needs another run.

    Raises:
        UsageError: see above.
    """
    if method not in METHODS:
        raise UsageError(f"--method got '{method}'{nearest(method, METHODS)}")
    if method != "auto" and method not in ways:
        raise UsageError(f"--method {method} needs a run of {NEED_RUN[method]}; give its folder as RUN")


def choose(method: str, hole: Hole, ways: Mapping[str, Filler]) -> Filler:
    """Return the filler that a method means for one gap.

    Raises:
        UsageError: the method is not known, or needs a run that can.
    """
    check_method(method, ways)
    if method == "auto":
        if hole.seconds < SHORT_SECONDS:
            return ways["linear"]
        best = next((name for name in ("hierarchy", "latent") if name in ways and ways[name].can(hole)), "copy")
        return ways[best]
    return ways[method]


def inpaint(
    wave: np.ndarray,
    rate: int,
    gaps: Sequence[Gap],
    *,
    method: str = "auto",
    ways: Mapping[str, Filler] | None = None,
    seed: int | None = None,
    each: Callable[[int], None] = lambda done: None,
) -> Filled:
    """Fill gaps in.

    Args:
        wave: ``[c, n]``, full scale 1; what it holds inside the gaps is not looked at.
        rate: Hz.
        gaps: in order, none overlapping; the last may reach beyond the end, which makes the sound longer.
        method: auto, linear, copy, latent or hierarchy.
        ways: the fillers that are there, as :func:`fillers` gives them.
        seed: of a drawn answer; ``None`` is the likeliest.
        each: told after each gap how many are filled.

    Raises:
        DataError: a sample outside the gaps is not finite, or nothing is known.
        UsageError: the method is not known or not there.
    """
    ways = fillers() if ways is None else ways
    n = max([wave.shape[1], *(gap.end for gap in gaps)])
    known = known_of(gaps, n)
    whole = np.zeros((wave.shape[0], n))
    whole[:, : wave.shape[1]] = np.where(known[: wave.shape[1]], wave, 0.0)
    if not np.isfinite(whole).all():
        place = int(np.flatnonzero(~np.isfinite(whole).all(0))[0])
        raise DataError(f"the sound holds NaN or infinity at {place / rate:.4f} s, outside the gaps; give it as a gap")
    limits, peak = usual_bend(whole, known), float(np.abs(whole).max())
    picked: dict[Gap, tuple[str, float]] = {}
    for done, gap in enumerate(sorted(gaps, key=lambda gap: gap.count), start=1):
        # what is known without a break on either side
        low = _last(~known[: gap.start]) + 1
        high = gap.end + _first(~known[gap.end :])
        hole = Hole(whole[:, low : gap.start], whole[:, gap.end : high], gap.count, rate)
        filler = choose(method, hole, ways)
        filling = filler.fill(hole, seed)
        loudest = LOUDER * peak if hole.seconds < SHORT_SECONDS else min(LOUDER * peak, max(1.0, peak))
        gain = min(1.0, loudest / max(float(np.abs(filling).max()), 1e-12))
        whole[:, gap.start : gap.end] = splice(hole, gain * filling, limits)
        known[gap.start : gap.end] = True
        picked[gap] = filler.name, gain
        each(done)
    methods, gains = zip(*(picked[gap] for gap in gaps), strict=True) if gaps else ((), ())
    return Filled(whole, tuple(gaps), methods, gains)


def _last(marked: np.ndarray) -> int:
    """Return the last marked place, or -1."""
    places = np.flatnonzero(marked)
    return int(places[-1]) if len(places) else -1


def _first(marked: np.ndarray) -> int:
    """Return the first marked place, or the length."""
    places = np.flatnonzero(marked)
    return int(places[0]) if len(places) else len(marked)
