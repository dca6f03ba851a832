r"""What a geodesic is good for: exponential and logarithm, parallel transport, distances and means.

Letters: n points, d latent width, v velocity, w a vector carried along, s steps, G metric, Gamma the connection
(:mod:`latentscape.geometry.manifold`).

* exponential: where the geodesic :math:`\ddot z = -\Gamma[\dot z, \dot z]` from z with velocity v is after time 1,
  by the classical Runge-Kutta method in s steps
* logarithm: the velocity at a of the geodesic to b that :func:`~latentscape.geometry.geodesic.geodesics` finds,
  :math:`\lVert v \rVert_G` its length
* transport: :math:`\dot w = -\Gamma[\dot z, w]` along the cubic spline through a curve's points, likewise; lengths and
  angles are kept
* Frechet mean: the point of least mean squared distance, by :math:`m \leftarrow \exp_m(\operatorname{mean}\,\log_m
  z_i)` (Karcher 1977; Pennec 2006, section 4.6), shortened where the distances would grow
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry.geodesic import geodesics
from latentscape.geometry.manifold import Manifold

_HALVINGS = 5


@torch.no_grad()
def exponential(
    manifold: Manifold, z: Float[Tensor, "n d"], v: Float[Tensor, "n d"], *, steps: int = 32
) -> Float[Tensor, "n d"]:
    """Return where the geodesics from ``z`` with velocities ``v`` are after time 1.

    Raises:
        UsageError: shapes or steps don't fit.
    """
    return shoot(manifold, z, v, steps=steps)[:, -1]


@torch.no_grad()
def shoot(
    manifold: Manifold, z: Float[Tensor, "n d"], v: Float[Tensor, "n d"], *, steps: int = 32
) -> Float[Tensor, "n m d"]:
    """Return the points of the geodesics from ``z`` with velocities ``v`` after every 1 / ``steps`` of time."""
    _check(manifold, z, v, steps)

    def slope(_: float, state: Tensor) -> Tensor:
        at, velocity = state.unbind(1)
        return torch.stack((velocity, -manifold.connection(at, velocity, velocity)), 1)

    return _integrate(slope, torch.stack((z, v), 1), steps)[:, :, 0]


@torch.no_grad()
def logarithm(
    manifold: Manifold, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], **options: Any
) -> Float[Tensor, "n d"]:
    """Return the velocities at ``a`` of the geodesics that reach ``b`` after time 1.

    Args:
        manifold: where.
        a: where they begin.
        b: where they end.
        **options: of :func:`latentscape.geometry.geodesic.geodesics`.
    """
    found = geodesics(manifold, a, b, **options)
    velocity = _Curve(found.points).velocity(0.0)
    size = manifold.norm(a, velocity)
    share = torch.where(size > 0, found.length / size.clamp_min(torch.finfo(size.dtype).tiny), 0)
    return velocity * share[:, None]


@torch.no_grad()
def transport(
    manifold: Manifold, points: Float[Tensor, "n m d"], w: Float[Tensor, "n d"], *, steps: int | None = None
) -> Float[Tensor, "n d"]:
    """Return vectors carried in parallel from the first to the last point of any curves.

    Args:
        manifold: where.
        points: along each curve, evenly in time, at least two.
        w: vectors at the first points.
        steps: default: one a segment.

    Raises:
        UsageError: shapes or steps don't fit.
    """
    steps = points.shape[1] - 1 if steps is None else steps
    _check(manifold, points[:, 0], w, steps)
    curve = _Curve(points)

    def slope(time: float, state: Tensor) -> Tensor:
        return -manifold.connection(curve.point(time), curve.velocity(time), state)

    return _integrate(slope, w, steps)[:, -1]


def distance(
    manifold: Manifold, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], **options: Any
) -> Float[Tensor, " n"]:
    """Return the lengths of the geodesics from each ``a`` to its ``b``; options of ``geodesics``."""
    return geodesics(manifold, a, b, **options).length


@dataclass(frozen=True)
class FrechetMean:
    """The mean of points on a manifold.

    Attributes:
        point: the mean, ``[d]``.
        variance: mean squared distance to it.
        rounds: how often it was moved.
        converged: whether the last move asked for was shorter than the tolerance.
    """

    point: Float[Tensor, " d"]
    variance: float
    rounds: int
    converged: bool


@torch.no_grad()
def frechet_mean(
    manifold: Manifold,
    points: Float[Tensor, "n d"],
    weights: Float[Tensor, " n"] | None = None,
    *,
    tolerance: float = 1e-3,
    rounds: int = 20,
    **options: Any,
) -> FrechetMean:
    """Return the point of least (weighted) mean squared distance from points.

    Args:
        manifold: where.
        points: at least one.
        weights: not negative, not all zero; default: equal.
        tolerance: length of the last move, as a share of the root of the variance.
        rounds: moves at most.
        **options: of :func:`latentscape.geometry.geodesic.geodesics`.

    Raises:
        UsageError: there is no point, or the weights don't fit.
    """
    share = torch.ones_like(points[:, 0]) if weights is None else weights.to(points)
    if not len(points) or len(share) != len(points) or not bool((share >= 0).all()) or not float(share.sum()) > 0:
        raise UsageError(f"a mean got {len(points)} points and {len(share)} weights, expected one each, not all zero")
    share = share / share.sum()

    def tangents(mean: Tensor) -> tuple[Tensor, float]:
        logs = logarithm(manifold, mean.expand_as(points), points, **options)
        return (share @ logs)[None], float(share @ manifold.norm(mean.expand_as(points), logs).square())

    mean = (share @ points)[None]
    move, variance = tangents(mean)
    for turn in range(rounds):
        if float(manifold.norm(mean, move)) <= tolerance * variance**0.5:
            return FrechetMean(mean[0], variance, turn, True)
        for _ in range(_HALVINGS):
            there = exponential(manifold, mean, move)
            move_there, variance_there = tangents(there)
            if variance_there < variance:
                break
            move = move / 2
        else:
            return FrechetMean(mean[0], variance, turn, False)
        mean, move, variance = there, move_there, variance_there
    return FrechetMean(mean[0], variance, rounds, False)


class _Curve:
    """Cubic splines through points ``[n, m, d]`` that are evenly apart in time 0 to 1."""

    def __init__(self, points: Tensor) -> None:
        from scipy.interpolate import CubicSpline  # as in geodesic

        self._like = points
        times = torch.linspace(0, 1, points.shape[1], dtype=torch.float64).numpy()
        self._spline = CubicSpline(times, points.detach().cpu().double().numpy(), axis=1)

    def point(self, time: float) -> Tensor:
        return torch.from_numpy(self._spline(time)).to(self._like)

    def velocity(self, time: float) -> Tensor:
        return torch.from_numpy(self._spline(time, 1)).to(self._like)


def _integrate(slope: Callable[[float, Tensor], Tensor], state: Tensor, steps: int) -> Tensor:
    """Return the states after 0 ... ``steps`` steps of the classical Runge-Kutta method over time 0 to 1."""
    h = 1 / steps
    states = [state]
    for i in range(steps):
        time = i * h
        first = slope(time, state)
        second = slope(time + h / 2, state + h / 2 * first)
        third = slope(time + h / 2, state + h / 2 * second)
        fourth = slope(time + h, state + h * third)
        state = state + h / 6 * (first + 2 * second + 2 * third + fourth)
        states.append(state)
    return torch.stack(states, 1)


def _check(manifold: Manifold, z: Tensor, v: Tensor, steps: int) -> None:
    if z.shape != v.shape or z.shape[1] != manifold.dim or steps < 1:
        raise UsageError(
            f"got points {list(z.shape)}, vectors {list(v.shape)} and {steps} steps, "
            f"expected [n, {manifold.dim}] twice and at least 1"
        )
