"""Morphs: the points of a sound on its way to another one."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentscape.core.errors import UsageError, nearest
from latentscape.geometry.paths import PathRecord, Retimed, slerp
from latentscape.instrument.labels import Labels
from latentscape.instrument.space import Space
from latentscape.instrument.walks import leg, middle, paced

MORPHS = ("line", "sphere", "geodesic")
_EVEN = 4097


def coordinates(shapes: Sequence[tuple[int, ...]], layers: Sequence[int]) -> Bool[Tensor, " d"]:
    """Return which coordinates of a packed point are of the given layers, 1 the top.

    Raises:
        UsageError: a layer does not exist, or none is given.
    """
    for layer in layers:
        if not 1 <= layer <= len(shapes):
            raise UsageError(f"layer {layer} does not exist, expected 1 (top) to {len(shapes)}")
    if not layers:
        raise UsageError("got no layers, expected at least one")
    chosen = [torch.full((math.prod(shape),), number in layers) for number, shape in enumerate(shapes, 1)]
    return torch.cat(chosen)


def morphed(
    space: Space,
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "n d"],
    kind: str,
    *,
    weight: float | None = None,
    speed: str = "time",
    layers: Sequence[int] | None = None,
    labels: Labels | None = None,
) -> Float[Tensor, "n d"]:
    r"""Return the points of a morph from one course of codes to another of the same length, A and B.

    With w from 0 to 1 (or held at ``weight``) and :math:`\gamma` the path between the means of A and B,

    * line: :math:`(1 - w) A + w B`
    * sphere: along great circles about :func:`latentscape.instrument.walks.middle`, point by point
    * geodesic: :math:`\gamma(w) + (1 - w) (A - \bar A) + w (B - \bar B)`: the means go along the geodesic while the
      movements about them are cross-faded; with a straight :math:`\gamma` this is the line

    A ``speed`` other than time turns w so that :math:`\gamma` goes at constant speed in that distance. Where ``layers``
    of a hierarchy are named (1 the top), they alone go to those of B; the others stay A's.

    Raises:
        UsageError: the kind or speed is not known, or a layer does not exist.
    """
    if layers is not None:
        second = torch.where(coordinates(space.model.latent_shapes, layers), second, first)
    if kind not in MORPHS:
        raise UsageError(f"morph '{kind}' is not known{nearest(kind, MORPHS)}")
    low, high, centre = first.mean(0), second.mean(0), middle(space)
    path = leg(space, kind, low, high, {"labels": labels} if kind == "geodesic" else {})
    share = torch.linspace(0, 1, len(first), dtype=torch.float64)
    share = share if weight is None else torch.full_like(share, weight)
    turned = _turned(path, paced(space, path, speed, labels), share)
    w = turned.to(first)
    if kind == "line":
        return torch.lerp(first, second, w[:, None])
    if kind == "sphere":
        return centre + slerp(first - centre, second - centre, w)
    return path.evaluate(turned).to(first) + (1 - w[:, None]) * (first - low) + w[:, None] * (second - high)


def _turned(path: PathRecord, paced: PathRecord, share: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return when, in its own course of time, a path is where it is at ``share`` in another one."""
    if paced is path or not isinstance(paced, Retimed):
        return share
    inner = paced.time(share)
    if not isinstance(path, Retimed):
        return inner
    even = torch.linspace(0, 1, _EVEN, dtype=torch.float64)
    return torch.from_numpy(np.interp(inner.numpy(), path.time(even).numpy(), even.numpy()))
