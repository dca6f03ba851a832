r"""Paths through given points: corners, a spline, the course of a recorded sound.

Letters: :math:`p_0 ... p_n` points, :math:`\tau_0 ... \tau_n` the times at which they are met, d latent width.

* polyline: straight from point to point, at even times or given ones
* recorded: a polyline of the codes of a sound, one a step
* spline: the curve of least :math:`\int \lVert\ddot z\rVert^2` through the points: a cubic between neighbours, twice
  continuously differentiable. Open, its second derivative is zero at both ends (natural); closed, it is periodic. Times
  are centripetal, :math:`\tau_{k+1} - \tau_k \propto \lVert p_{k+1} - p_k \rVert^{1/2}`, which keeps it from swinging
  out where points are unevenly far apart (Lee 1989); uniform (exponent 0) and chord (1) are there, too.
"""

from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from latentscape.geometry.record import FARTHEST, MOST_POINTS, PathRecord, Points, matrix

_EXPONENTS = {"uniform": 0.0, "centripetal": 0.5, "chord": 1.0}
_SAME = 1e-9


class _Through(PathRecord):
    """What paths through points share."""

    points: Points

    def check(self) -> None:
        """The points have one width."""
        _ = self.matrix

    @cached_property
    def matrix(self) -> Float[Tensor, "n d"]:
        """The points, float64."""
        return matrix(self.points)

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.points[0])

    @property
    def size(self) -> int:
        """How many points it holds."""
        return len(self.points)


class _Straight(_Through):
    """Straight from point to point; a single point is rested on.

    ``times`` are those of the points, ascending from 0 to 1; left out, they are even.
    """

    times: tuple[float, ...] | None = Field(default=None, max_length=MOST_POINTS)

    def check(self) -> None:
        """The points have one width; there is a time for each, in order."""
        super().check()
        if self.times is None:
            return
        if len(self.times) != len(self.points) or len(self.times) < 2:
            raise ValueError(f"a time for each of at least two points, but {len(self.times)} for {len(self.points)}")
        steps = torch.tensor(self.times, dtype=torch.float64).diff()
        if self.times[0] != 0 or self.times[-1] != 1 or not (steps > 0).all():
            raise ValueError(f"times that ascend from 0 to 1, but they go from {self.times[0]} to {self.times[-1]}")

    @cached_property
    def knots(self) -> Float[Tensor, " n"]:
        """The times of all points, float64."""
        even = torch.linspace(0, 1, len(self.points), dtype=torch.float64)
        return even if self.times is None else torch.tensor(self.times, dtype=torch.float64)

    @property
    def breaks(self) -> tuple[float, ...]:
        """The times of the points between the ends."""
        return tuple(self.knots[1:-1].tolist())

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        points = self.matrix.to(t.device)
        if len(points) == 1:
            return (points + 0 * t[:, None]).to(t)
        low, share = gone(self.knots, t)
        return torch.lerp(points[low], points[low + 1], share[:, None]).to(t)


class Polyline(_Straight):
    """Straight from point to point, at even times or (``times``, ascending from 0 to 1) given ones."""

    kind: Literal["polyline"] = "polyline"


class Recorded(_Straight):
    """The course of a recorded sound: its codes, one a step; ``seconds`` is how long it took, ``name`` what it was."""

    kind: Literal["recorded"] = "recorded"
    seconds: float | None = Field(default=None, gt=0, le=FARTHEST)
    name: str = Field(default="", max_length=1000)


class Spline(_Through):
    """A smooth curve through the points, or with ``closed`` through all of them and back to the first.

    Neighbours that are equal are one point. ``knots`` says how the time between two of them depends on their distance.
    """

    kind: Literal["spline"] = "spline"
    closed: bool = False
    knots: Literal["centripetal", "uniform", "chord"] = "centripetal"

    @cached_property
    def times(self) -> Float[Tensor, " k"]:
        """The times of the different points (closed: the first once more at the end), float64."""
        return self._pieces[0]

    @cached_property
    def _pieces(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "4 j d"]]:
        """Times, and the coefficients of each piece by falling powers of the time since it began."""
        points = self.matrix.numpy()
        if self.closed:
            points = np.concatenate((points, points[:1]))
        gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        apart = gaps > _SAME * max(1e-300, gaps.sum())
        points, gaps = points[np.concatenate(([True], apart))], gaps[apart]
        if not len(gaps):  # one point, at rest
            still = np.zeros((4, 1, self.dim))
            still[3] = points
            return torch.tensor([0.0, 1.0], dtype=torch.float64), torch.from_numpy(still)
        if self.closed:
            points[-1] = points[0]
        from scipy.interpolate import CubicSpline

        times = np.concatenate(([0.0], np.cumsum(gaps ** _EXPONENTS[self.knots])))
        times /= times[-1]
        cubic = CubicSpline(times, points, bc_type="periodic" if self.closed else "natural")
        return torch.from_numpy(times), torch.from_numpy(np.ascontiguousarray(cubic.c))

    @property
    def panels(self) -> tuple[float, ...]:
        """The times at which one cubic gives way to the next."""
        return tuple(self.times[1:-1].tolist())

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        times, coefficients = (value.to(t.device) for value in self._pieces)
        low, since, _ = locate(times, t)
        cubic, square, slope, origin = coefficients[:, low]
        x = since[:, None]
        return (origin + x * (slope + x * (square + x * cubic))).to(t)


def locate(
    times: Float[Tensor, " k"], t: Float[Tensor, " n"]
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return in which piece between ascending ``times`` each ``t`` lies, the time since its beginning, and its length.

    In float64, in which neighbouring times are told apart that float32 would take for one.
    """
    times, t = times.to(t.device), t.double()
    low = (torch.searchsorted(times, t.detach().contiguous(), right=True) - 1).clamp(0, len(times) - 2)
    return low, t - times[low], times[low + 1] - times[low]


def gone(times: Float[Tensor, " k"], t: Float[Tensor, " n"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return in which piece between ``times`` each ``t`` lies, and which share of it has gone by, float64.

    A piece that takes no time is at its end.
    """
    low, since, lasting = locate(times, t)
    return low, torch.where(lasting > 0, since / lasting, 1.0)
