r"""Paths that wander: random, but functions of their seed, Gaussian with one spread at every time.

Letters: c centre, p seeded standard normal points, s scale, a correlation of neighbours, m memory in steps.

* random walk, smooth: :math:`c + s \sum_k w_k(t)\,p_k / \sqrt{\sum_k w_k(t)^2}`, w uniform cubic B-splines. The root
  keeps the variance of every coordinate at its scale squared at every t (a plain spline through the points loses a
  third of it between them), so that the walk keeps the radius that a normal prior has.
* drift: the Ornstein-Uhlenbeck process :math:`dz = -z\,dt / m + \sqrt{2 / m}\,dW` at whole steps, where it is exactly

  .. math:: z_{k+1} = a z_k + \sqrt{1 - a^2}\,p_{k+1}, \qquad a = e^{-1/m}, \qquad z_0 = p_0,

  with straight ways between steps, divided by :math:`\sqrt{(1-x)^2 + x^2 + 2 a x (1-x)}` (x from 0 to 1 in a step)
  so that the variance is the same there, too. It is always pulled back to the centre and turns at every step: restless.

A longer walk of the same seed begins with the shorter one, travelled in more time.

Source: Gillespie 1996, Exact numerical simulation of the Ornstein-Uhlenbeck process, eq. 1.9.
"""

import math
from functools import cached_property
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentscape.core.random import numpy_stream
from latentscape.geometry.record import (
    MOST_POINTS,
    MOST_VALUES,
    Axis,
    PathRecord,
    Value,
    Vector,
    along_axes,
    count_axes,
    one_each,
)


class Wandering(PathRecord):
    """What both share: ``scale`` is the standard deviation along each of the ``axes`` (default: all coordinates)."""

    centre: Vector
    scale: Vector | Value = 1.0
    axes: tuple[Axis, ...] | None = Field(default=None, min_length=1)
    steps: int = Field(ge=1, le=MOST_POINTS)
    seed: int = 0

    def check(self) -> None:
        """The axes lie in the space, there is a scale for each, and the steps are not too many to be drawn."""
        width = count_axes(self.axes, self.dim)
        one_each(self.scale, width, "scale")
        if self.steps * width > MOST_VALUES:
            raise ValueError(f"steps times axes at most {MOST_VALUES:,}, but they are {self.steps:,} and {width:,}")

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.centre)

    def _draws(self, rows: int, purpose: str) -> Tensor:
        width = count_axes(self.axes, self.dim)
        return torch.from_numpy(numpy_stream(self.seed, purpose).standard_normal((rows, width)))

    def _placed(self, standard: Tensor) -> Tensor:
        """Turn offsets in standard units of each axis into points."""
        scale = standard.new_tensor(one_each(self.scale, count_axes(self.axes, self.dim), "scale"))
        return standard.new_tensor(self.centre) + along_axes(standard * scale, self.axes, self.dim)


class RandomWalk(Wandering):
    """A smooth random walk, twice continuously differentiable.

    ``steps`` is how many independent places it passes. With ``loop`` it ends where it began.
    """

    kind: Literal["random_walk"] = "random_walk"
    steps: int = Field(default=8, ge=1, le=MOST_POINTS)
    loop: bool = False

    def check(self) -> None:
        """The fields fit, and a loop is long enough to close smoothly."""
        super().check()
        if self.loop and self.steps < 4:
            raise ValueError(f"at least 4 steps in a loop, but steps is {self.steps}")

    @cached_property
    def points(self) -> Float[Tensor, "k a"]:
        """The seeded control points in standard units of each axis, float64."""
        return self._draws(self.steps if self.loop else self.steps + 3, "random walk")

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        place = t * self.steps
        first = place.detach().floor().clamp(0, self.steps - 1)
        x = place - first
        weights = torch.stack(((1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3), 1) / 6
        weights = weights / weights.square().sum(1, keepdim=True).sqrt()
        rows = (first.long()[:, None] + torch.arange(4, device=t.device)) % len(self.points)
        return self._placed((weights[:, None] @ self.points.to(t)[rows])[:, 0])


class Drift(Wandering):
    """An Ornstein-Uhlenbeck walk of ``steps`` steps, which forgets where it was over ``memory`` of them."""

    kind: Literal["drift"] = "drift"
    steps: int = Field(default=256, ge=1, le=MOST_POINTS)
    memory: float = Field(default=16.0, gt=0, le=MOST_POINTS)

    @cached_property
    def points(self) -> Float[Tensor, "k a"]:
        """The process at whole steps, in standard units of each axis, float64."""
        draws = self._draws(self.steps + 1, "drift")
        for before, after in pairwise(draws):
            after.mul_(math.sqrt(1 - self._correlation**2)).add_(before, alpha=self._correlation)
        return draws

    @property
    def breaks(self) -> tuple[float, ...]:
        """The times of the steps."""
        return tuple((torch.arange(1, self.steps, dtype=torch.float64) / self.steps).tolist())

    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""
        place = t * self.steps
        first = place.detach().floor().clamp(0, self.steps - 1)
        x = (place - first)[:, None]
        points, row = self.points.to(t), first.long()
        norm = ((1 - x) ** 2 + x**2 + 2 * self._correlation * x * (1 - x)).sqrt()
        return self._placed(torch.lerp(points[row], points[row + 1], x) / norm)

    @property
    def _correlation(self) -> float:
        return math.exp(-1 / self.memory)
