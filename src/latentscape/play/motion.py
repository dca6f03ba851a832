r"""Where the point is: it stays, follows, or travels; what is told anew is glided to, so that nothing jumps.

Letters: d latent width, k the number of the point (one a window step), g the target, o offsets, r what is left of the
last jump, n steps of a glide.

.. math:: z_k = g_k + o + r \, (1 - j / n), \qquad j \text{ steps since the jump}

so that a path is followed exactly once the glide to it is over, and z goes on without a jump whatever is told.
"""

import copy
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.geometry.path import Path

GLIDE = 0.03
"""s in which a jump is glided over unless told."""
AHEAD = 32
"""Points of a path that are evaluated at a time."""
CLOSED = 1e-3
"""A path whose ends are this close, as a share of its extent, is closed: no glide where it begins again."""
PLACES = 38
"""That tell a path's extent: a figure of sines goes through its middle at halves and quarters, not at 37ths."""

Loop = bool | Literal["bounce"]


class Journey:
    """A path travelled in time, a point a step."""

    def __init__(self, path: Path, seconds: float, loop: Loop, step_seconds: float, pace: float = 1.0) -> None:
        self.path, self.loop = path, loop
        self._natural = step_seconds / seconds
        self._start, self._count, self._pace = 0.0, 0, pace
        points = path.evaluate(torch.linspace(0, 1, PLACES, dtype=torch.float64))
        extent = float((points - points.mean(0)).norm(dim=1).max())
        self.closed = float((points[-1] - points[0]).norm()) <= CLOSED * extent
        self._points: list[Tensor] = []

    @property
    def share(self) -> float:
        """Where on the path the next point is, 0 to 1."""
        return self._place(self._count)

    @property
    def begins_again(self) -> bool:
        """Whether the next point lies beyond an end that the one before had not passed, and the path starts anew."""
        return self.loop is True and self._count > 0 and self._turn(self._count) != self._turn(self._count - 1)

    def copy(self) -> "Journey":
        """Return one that goes on from here by itself."""
        twin = copy.copy(self)
        twin._points = self._points.copy()
        return twin

    def set_pace(self, pace: float) -> None:
        """Go on so many times as fast from here (0 stays)."""
        self._start, self._count, self._pace = self._raw(self._count), 0, pace
        self._points = []

    def next(self) -> Float[Tensor, " d"]:
        """Return the next point."""
        if not self._points:
            places = [self._place(self._count + ahead) for ahead in range(AHEAD)]
            self._points = list(self.path.evaluate(torch.tensor(places, dtype=torch.float64)).float().flip(0))
        self._count += 1
        return self._points.pop()

    def _place(self, count: int) -> float:
        place = self._raw(count)
        if self.loop == "bounce":
            return 1.0 - abs(1.0 - place % 2.0)
        return place % 1.0 if self.loop else min(max(place, 0.0), 1.0)

    def _raw(self, count: int) -> float:
        """Return how often the path has been gone; a product, since a sum would drift away from the path."""
        place = self._start + count * self._natural * self._pace
        return place if self.loop else min(max(place, 0.0), 1.0)

    def _turn(self, count: int) -> int:
        return math.floor(self._raw(count))


class Motion:
    """The point that is heard.

    Attributes:
        step_seconds: s of a step.
        offset: o, added to whatever plays.
        hold: stay where it is.
    """

    def __init__(self, start: Float[Tensor, " d"], step_seconds: float) -> None:
        self.step_seconds = step_seconds
        self.offset = torch.zeros_like(start)
        self.hold = False
        self._pace = 1.0
        self._target = start
        self._journey: Journey | None = None
        self._last = start
        self._rest, self._steps, self._left, self._jumped = torch.zeros_like(start), 1, 0, False

    def copy(self) -> "Motion":
        """Return one that goes on from here by itself."""
        twin = copy.copy(self)
        twin._journey = None if self._journey is None else self._journey.copy()
        return twin

    @property
    def share(self) -> float | None:
        """Where on its path the point is; ``None`` where it follows none."""
        return None if self._journey is None else self._journey.share

    def go(self, code: Float[Tensor, " d"], glide: float) -> None:
        """Go to a point within ``glide`` s, and stay there."""
        self._journey, self._target = None, code
        self._bridge(glide)

    def travel(self, path: Path, seconds: float, loop: Loop, glide: float) -> None:
        """Travel a path from its begin: once, round and round (``True``), or there and back again (``"bounce"``)."""
        self._journey = Journey(path, seconds, loop, self.step_seconds, self._pace)
        self._bridge(glide)

    def set_pace(self, pace: float) -> None:
        """Travel so many times as fast."""
        self._pace = pace
        if self._journey is not None:
            self._journey.set_pace(pace)

    def shift(self, offset: Float[Tensor, " d"], glide: float) -> None:
        """Add another offset to whatever plays."""
        self.offset = offset
        self._bridge(glide)

    def settle(self) -> None:
        """Forget the glide: nothing is heard, so nothing can jump."""
        self._left, self._jumped = 0, False

    def next(self) -> Float[Tensor, " d"]:
        """Return the next point."""
        journey = self._journey
        if journey is not None and not self.hold:
            if journey.begins_again and not journey.closed:
                self._bridge(GLIDE)
            self._target = journey.next()
        goal = self._target + self.offset
        if self._jumped:
            self._rest, self._jumped = self._last - goal, False
        if self._left > 0:
            self._left -= 1
            goal = goal + self._rest * (self._left / self._steps)
        self._last = goal
        return goal

    def _bridge(self, glide: float) -> None:
        """From the next point on, lead over from where the point was."""
        self._steps = self._left = max(1, math.ceil(glide / self.step_seconds))
        self._jumped = True
