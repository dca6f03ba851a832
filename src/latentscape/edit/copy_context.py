r"""Copying the context: the stretch of the known sound whose surroundings fit those of the gap best.

Letters: x known sound, g samples missing, B samples compared at either border, o the place of a copy, :math:`x_L` the
last B samples before the gap and :math:`x_R` the first B after it.

.. math:: o^* = \arg\min_o \; \lVert x[o - B, o) - x_L \rVert^2 + \lVert x[o + g, o + g + B) - x_R \rVert^2

for all o at once by FFT. Where nothing known is as long as the gap, each side is carried on by itself: what follows the
best match of its last B samples is joined on, again and again, and the two are cross-faded.
"""

import numpy as np

from latentscape.edit.hole import Filler, Hole, cross_fade

BORDER_SECONDS = 0.03
CONTEXT_SECONDS = 5.0
FADE_SECONDS = 0.01


def mismatch(x: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the squared distance of ``template [c, B]`` from every stretch of ``x [c, n]``, ``[n - B + 1]``."""
    length = template.shape[1]
    if x.shape[1] < length:
        return np.empty(0)
    from scipy.signal import fftconvolve  # takes more than a second

    running = np.concatenate(([0.0], np.cumsum((x**2).sum(0))))
    common = fftconvolve(x, template[:, ::-1], mode="valid", axes=1).sum(0)
    return running[length:] - running[:-length] - 2 * common + (template**2).sum()


def best_copy(hole: Hole, border: int) -> np.ndarray | None:
    """Return the stretch ``[c, g]`` of one side that fits best between the borders; ``None`` where none is as long."""
    before, after = hole.left[:, -border:], hole.right[:, :border]
    found: list[tuple[float, np.ndarray]] = []
    for side in (hole.left, hole.right):
        places = side.shape[1] - hole.count - before.shape[1] - after.shape[1] + 1
        if places < 1:
            continue
        cost = np.zeros(places)
        if before.shape[1]:
            cost += mismatch(side, before)[:places]
        if after.shape[1]:
            cost += mismatch(side, after)[-places:]
        place = int(cost.argmin())
        start = place + before.shape[1]
        found.append((float(cost[place]), side[:, start : start + hole.count]))
    return min(found, key=lambda item: item[0])[1] if found else None


def carry_on(side: np.ndarray, count: int, border: int, fade: int) -> np.ndarray:
    """Return ``[c, count]`` samples that follow ``side [c, n]``, pieced together from itself."""
    border = max(1, min(border, side.shape[1] // 4))
    fade = min(fade, border)
    whole, end = side, side.shape[1]
    while whole.shape[1] - end < count:
        # half of the side may follow a match, lest the pieces become a buzz
        last = max(border + 1, side.shape[1] - max(fade, side.shape[1] // 3))
        place = int(mismatch(side[:, :last], whole[:, -border:]).argmin()) + border
        joined = cross_fade(whole[:, -fade:], side[:, place - fade : place])
        piece = side[:, place:] if place < side.shape[1] else side
        # the faded end of the side itself is known and stays; later joins lie in the gap
        if whole.shape[1] - fade >= end:
            whole = np.concatenate((whole[:, :-fade], joined, piece), 1)
        else:
            whole = np.concatenate((whole, piece), 1)
    return whole[:, end : end + count]


class CopyContext(Filler):
    """The best-matching stretch of the context, the same place for all channels.

    Args:
        border_seconds: what is compared on either side, s.
        context_seconds: how far away a copy may come from, s.
    """

    name = "copy"

    def __init__(self, border_seconds: float = BORDER_SECONDS, context_seconds: float = CONTEXT_SECONDS) -> None:
        self.border_seconds = border_seconds
        self.context_seconds = context_seconds

    def fill(self, hole: Hole, seed: int | None = None) -> np.ndarray:
        """Return the copy; it has one answer, whatever the seed."""
        hole = hole.within(self.context_seconds)
        border = max(1, round(self.border_seconds * hole.rate))
        found = best_copy(hole, border)
        if found is not None:
            return found
        fade = max(1, round(FADE_SECONDS * hole.rate))
        sides = [
            carry_on(side, hole.count, border, fade)[:, ::step]
            for side, step in ((hole.left, 1), (hole.right[:, ::-1], -1))
            if side.shape[1]
        ]
        return sides[0] if len(sides) == 1 else cross_fade(*sides)
