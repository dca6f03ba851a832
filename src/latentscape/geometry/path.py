r"""The Path: t in [0, 1] -> a point of latent space.

Letters: n points, d latent width (layers, or the steps of a sequence, are packed into one point, so a path knows
nothing of them), s(t) arc length from the start, L = s(1).

One abstract method, :math:`z(t)`; from it follow the velocity :math:`\dot z`, the length
:math:`L = \int_0^1 \lVert\dot z\rVert\,dt`, and (in :mod:`latentscape.geometry.travel`) travel at constant speed,
resampling and concatenation. Points come in the dtype and on the device of ``t``: asking in float64 gives float64.
"""

from abc import ABC, abstractmethod
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.forward import jvp

_ORDER = 8
_MOST_PANELS = 4096
_MOST_IN_ALL = 1 << 20
_AT_ONCE = 1 << 14


class Path(ABC):
    """A curve z(t), t in [0, 1], in d dimensions; continuous everywhere, smooth between its ``breaks``."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """The latent width d."""

    @property
    def breaks(self) -> tuple[float, ...]:
        """The times inside (0, 1), ascending, at which the velocity may jump (corners); none for a smooth path."""
        return ()

    @property
    def panels(self) -> tuple[float, ...]:
        """The times inside (0, 1), ascending, between which all derivatives are smooth; the breaks are among them."""
        return self.breaks

    @abstractmethod
    def evaluate(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the points at times ``t``."""

    def velocity(self, t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return dz/dt at times ``t``, by forward-mode differentiation of :meth:`evaluate`."""
        return jvp(self.evaluate, t, torch.ones_like(t))[1]

    @property
    def start(self) -> Float[Tensor, " d"]:
        """The first point, z(0), float32 on the CPU."""
        return self.evaluate(torch.zeros(1))[0]

    @property
    def end(self) -> Float[Tensor, " d"]:
        """The last point, z(1), float32 on the CPU."""
        return self.evaluate(torch.ones(1))[0]

    def length(self, tolerance: float = 1e-8) -> float:
        """Return L in latent units, to a relative ``tolerance`` (see :func:`arc_length`)."""
        return float(arc_length(self, tolerance)[1][-1])


def arc_length(path: Path, tolerance: float = 1e-8) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Return times (0 to 1, ascending, the path's panels among them) and the arc length s at each, float64 on the CPU.

    Composite Gauss-Legendre quadrature of the speed with 8 points a panel, on panels that never straddle one of the
    path's own; all are halved until L changes by less than ``tolerance * L`` (or there are 4,096 panels a piece).
    """
    edges = torch.tensor((0.0, *path.panels, 1.0), dtype=torch.float64)
    panels, before = 2, None
    while True:
        inner = torch.arange(panels, dtype=torch.float64) / panels
        times = (edges[:-1, None] + (edges[1:] - edges[:-1])[:, None] * inner).flatten()
        times = torch.cat((times, edges[-1:]))
        lengths = torch.cat((times.new_zeros(1), partial_lengths(path, times[:-1], times[1:]).cumsum(0)))
        settled = before is not None and abs(lengths[-1] - before) <= tolerance * lengths[-1]
        if settled or panels >= _MOST_PANELS or panels * len(edges) > _MOST_IN_ALL:
            return times, lengths
        before, panels = lengths[-1], panels * 2


def partial_lengths(path: Path, low: Float[Tensor, " m"], high: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Return the arc length between each pair of times, by one Gauss-Legendre panel of 8 points each."""
    if len(low) > _AT_ONCE:  # a path of many points would take gigabytes
        parts = zip(low.split(_AT_ONCE), high.split(_AT_ONCE), strict=True)
        return torch.cat([partial_lengths(path, *part) for part in parts])
    nodes, weights = (value.to(low) for value in _gauss_legendre())
    middle, half = (low + high) / 2, (high - low) / 2
    times = middle[:, None] + half[:, None] * nodes
    speed = path.velocity(times.flatten()).norm(dim=1).reshape(times.shape)
    return half * (speed * weights).sum(1)


@cache
def _gauss_legendre() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    return torch.from_numpy(nodes), torch.from_numpy(weights)
