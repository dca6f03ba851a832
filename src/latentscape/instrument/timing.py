"""Polylines of points in time: a course of codes at other moments, or of another length."""

import torch
from jaxtyping import Float
from torch import Tensor


def stretched(points: Float[Tensor, "m d"], t: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Return the points at times ``t`` in [0, 1] of the polyline that takes each step in the same time."""
    place = t * (len(points) - 1)
    first = place.floor().long().clamp(0, max(0, len(points) - 2))
    second = (first + 1).clamp_max(len(points) - 1)
    return torch.lerp(points[first], points[second], (place - first)[:, None].to(points))


def stretch(points: Float[Tensor, "m d"], count: int) -> Float[Tensor, "count d"]:
    """Return ``count`` points spread evenly over the polyline's time, both ends among them."""
    return stretched(points, torch.linspace(0, 1, count, dtype=torch.float64))
