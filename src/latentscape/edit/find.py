r"""Finding damage: clicks, clipped stretches and drop-outs.

Letters: x sound, e residual of linear prediction of order p, :math:`\sigma` its deviation nearby, T threshold.

* clicks: :math:`|e[n]| > T \sigma[n]`, :math:`\sigma` being 1.4826 times the median of :math:`|e|` nearby. A click
  also leaves its echo in the p residuals after it, so the residual is also taken backward in time, and a place counts
  only where both stand out (Vaseghi and Rayner 1990; Godsill and Rayner 1998, chapter 5); marks closer than
  a millisecond are one click. What lasts longer than 4 ms is taken for an attack, no click.
* clipped: three samples or more in a row within 1/4096 of the greatest (or least) value of their channel, left at an
  edge of at least 1/512 of it (a smooth peak is left gently), twice at least. The whole stretch is unknown.
* silent: exact zeros (the same in all channels) of at least 2 ms between sound. Silence at either end is not damage.
"""

from typing import Literal

import numpy as np

from latentscape.core.errors import UsageError, nearest
from latentscape.edit.gaps import Gap, merge, runs
from latentscape.edit.linear_prediction import burg

Damage = Literal["clicks", "clipped", "silent", "all"]
KINDS: tuple[str, ...] = ("clicks", "clipped", "silent", "all")
ORDER = 32
THRESHOLD = 20.0
LONGEST_CLICK = 0.004
BLOCK_SECONDS = 0.1
SHORTEST_SILENCE = 0.002
_FLAT = 1 / 4096
_EDGE = 8 * _FLAT
_LEAST = 1e-5
_QUIET = 0.01
_FITS = 3
_WIDE = 9
_FEWEST = 3


def find_damage(x: np.ndarray, rate: int, kind: str = "all") -> dict[str, list[Gap]]:
    """Return what is damaged in ``x [c, n]``, by kind, each list in order.

    Args:
        x: samples, full scale 1.
        rate: Hz.
        kind: clicks, clipped, silent or all.

    Raises:
        UsageError: the kind is not known.
    """
    if kind not in KINDS:
        raise UsageError(f"--find got '{kind}'{nearest(kind, KINDS)}")
    finders = {"silent": find_silent, "clipped": find_clipped, "clicks": find_clicks}
    return {name: finder(x, rate) for name, finder in finders.items() if kind in (name, "all")}


def find_clicks(x: np.ndarray, rate: int) -> list[Gap]:
    """Return clicks of ``x [c, n]``, those of all channels together."""
    block = max(8 * ORDER, round(BLOCK_SECONDS * rate))
    marks = np.zeros(x.shape[1], bool)
    for channel in x:
        for start in range(0, len(channel), block):
            low, high = max(0, start - block // 2), min(len(channel), start + block + block // 2)
            piece = channel[low:high]
            if len(piece) <= 2 * ORDER:
                continue
            marks[start : start + block] |= _clicks(piece)[start - low : start - low + block]
    near = max(1, round(0.001 * rate))
    longest = round(LONGEST_CLICK * rate)
    joined = merge(runs(marks), near)
    # a mark is where prediction fails: the samples beside it may be hurt, too
    found = [Gap(max(0, gap.start - 2), min(x.shape[1], gap.end + 2)) for gap in joined if gap.count <= longest]
    return merge(found)


def _clicks(piece: np.ndarray) -> np.ndarray:
    """Return the places of ``piece [n]`` that neither its past nor its future predicts.

    The prediction is that of the undisturbed sound: what stands out is bridged by a line before it is fitted again.
    """
    places = np.arange(len(piece))
    marked = np.zeros(len(piece), bool)
    for _ in range(_FITS):
        clean = piece if not marked.any() else np.interp(places, places[~marked], piece[~marked])
        a = burg(clean, ORDER)
        both = np.ones(len(piece), bool)
        for step in (1, -1):
            residual = np.abs(np.convolve(a, piece[::step])[: len(piece)][::step])
            deviation = max(1.4826 * float(np.median(residual)), _LEAST)
            out = residual > THRESHOLD * deviation
            out[slice(0, ORDER) if step == 1 else slice(-ORDER, None)] = False
            both &= np.convolve(out, np.ones(_WIDE), "same") > 0.5
        if both.mean() > 0.2 or (both == marked).all():
            break
        marked = both
    return both


def find_clipped(x: np.ndarray, rate: int) -> list[Gap]:
    """Return flat peaks of ``x [c, n]`` at the greatest or least value of their channel."""
    del rate
    found: list[Gap] = []
    for channel in x:
        for side in (channel, -channel):
            ceiling = float(side.max(initial=0.0))
            if ceiling < _QUIET:
                continue
            # a smooth peak is flat as well, but leaves its height gently
            around = np.pad(side, 1, mode="edge")
            flat = [
                gap
                for gap in runs(side >= ceiling - _FLAT * ceiling, _FEWEST)
                if ceiling - (around[gap.start] + around[gap.end + 1]) / 2 > _EDGE * ceiling
            ]
            if len(flat) >= 2:
                found += flat
    return merge(found)


def find_silent(x: np.ndarray, rate: int) -> list[Gap]:
    """Return stretches of exact zeros in all channels of ``x [c, n]``, with sound on both sides."""
    still = runs((x == 0).all(0), max(2, round(SHORTEST_SILENCE * rate)))
    return [gap for gap in still if gap.start > 0 and gap.end < x.shape[1]]
