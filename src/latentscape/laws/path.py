"""The laws of a path: it meets its ends, has no jumps, its velocity is its derivative, travel has constant speed.

And of those that are records: as JSON they come back equal, and at a pace of their own they keep to it.
"""

import json

import torch
from torch import Tensor

from latentscape.geometry.pace import Along, retimed
from latentscape.geometry.path import Path
from latentscape.geometry.paths import path_from_json
from latentscape.geometry.record import PathRecord
from latentscape.geometry.travel import travel

_FINE = 16


def check_path(path: Path, *, start: Tensor | None = None, end: Tensor | None = None) -> None:
    """Hold a path to its laws.

    Args:
        path: any path.
        start: the point ``[d]`` it declares to begin at, if it declares one.
        end: the point ``[d]`` it declares to end at, likewise.

    Raises:
        AssertionError: a law is broken; the message names it and the size of the breach.
    """
    t = torch.linspace(0, 1, 257, dtype=torch.float64)
    points = path.evaluate(t)
    assert points.shape == (257, path.dim), f"{len(t)} times gave {tuple(points.shape)}, expected (257, {path.dim})"
    assert points.dtype == t.dtype, f"float64 times gave {points.dtype}"
    assert torch.isfinite(points).all(), "a point is not finite"
    scale = max(1.0, float(points.abs().max()))
    _check_ends(path, start, end, scale)
    _check_velocity(path, scale)
    _check_jumps(path, scale)
    _check_travel(path)


def check_record(path: PathRecord) -> None:
    """Hold a path that is a record to what records promise.

    Raises:
        AssertionError: it does not come back from JSON, or not equal.
    """
    again = path_from_json(json.loads(json.dumps(path.to_json(), allow_nan=False)))
    assert again == path, f"{type(path).__name__} came back from JSON as another path"
    t = torch.linspace(0, 1, 65, dtype=torch.float64)
    assert torch.equal(again.evaluate(t), path.evaluate(t)), "the path that came back has other points"
    assert next(iter(path.to_json())) == "kind", "its JSON does not begin with its kind"


def check_pace(path: PathRecord, along: Along | None = None, tolerance: float = 0.02) -> None:
    """Hold a path to constant speed once it is retimed, on the same curve.

    Args:
        path: any record.
        along: where distance is measured; ``None`` is latent space.
        tolerance: largest departure of a step of 1/400 of the time from the mean step, as a share of it; steps beside
            corners are left out.

    Raises:
        AssertionError: the speed is not constant, or the path begins or ends elsewhere.
    """
    steady = retimed(path, along)
    u = torch.linspace(0, 1, 400 * _FINE + 1, dtype=torch.float64)
    for end in (0, -1):
        miss = float((steady.evaluate(u)[end] - path.evaluate(u)[end]).norm())
        assert miss <= 1e-9 * max(1.0, path.length()), f"retimed, an end is missed by {miss:.2e}"
    points = steady.evaluate(u)
    seen = points if along is None else along(points.float()).double()
    steps = seen.flatten(1).diff(dim=0).norm(dim=1).unflatten(0, (-1, _FINE)).sum(1)
    corners = torch.tensor(steady.breaks, dtype=u.dtype)
    whole = torch.ones(len(steps), dtype=torch.bool)
    if len(corners):
        middles = (torch.arange(400, dtype=u.dtype) + 0.5) / 400
        whole = (middles[:, None] - corners).abs().min(1).values > 1.5 / 400
    mean = steps[whole].mean()
    worst = float((steps[whole] / mean - 1).abs().max())
    assert worst <= tolerance, f"at constant speed a step strays by {worst:.2%} from the mean, allowed {tolerance:.2%}"


def _check_ends(path: Path, start: Tensor | None, end: Tensor | None, scale: float) -> None:
    both = path.evaluate(torch.tensor([0.0, 1.0]))
    assert both.dtype == torch.float32, f"float32 times gave {both.dtype}"
    for name, got, declared in (("start", path.start, start), ("end", path.end, end)):
        at = both[0 if name == "start" else 1]
        assert torch.equal(got, at), f"{name} is {got.tolist()}, but the path there is {at.tolist()}"
        if declared is not None:
            miss = float((got - declared.to(got)).norm())
            assert miss <= 1e-5 * scale, f"the {name} is missed by {miss:.2e}"


def _check_velocity(path: Path, scale: float) -> None:
    step = 1e-6
    t = torch.linspace(0.0173, 0.9871, 61, dtype=torch.float64)
    corners = torch.tensor(path.breaks, dtype=t.dtype)
    if len(corners):
        t = t[(t[:, None] - corners).abs().min(1).values > 2 * step]
    velocity = path.velocity(t)
    difference = (path.evaluate(t + step) - path.evaluate(t - step)) / (2 * step)
    error = float((velocity - difference).abs().max())
    allowed = 1e-4 * max(scale, float(velocity.abs().max()))
    assert error <= allowed, f"velocity misses finite differences by {error:.2e}, allowed {allowed:.2e}"


def _check_jumps(path: Path, scale: float) -> None:
    at = torch.cat((torch.linspace(0, 1, 513, dtype=torch.float64), torch.tensor(path.breaks, dtype=torch.float64)))
    step = 1e-7
    low, high = (at - step).clamp(0, 1), (at + step).clamp(0, 1)
    jump = float((path.evaluate(high) - path.evaluate(low)).norm(dim=1).max())
    fastest = float(torch.cat((path.velocity(low), path.velocity(high))).norm(dim=1).max())
    assert jump <= 2.5 * step * fastest + 1e-12 * scale, f"a jump of {jump:.2e} latent units"


def _check_travel(path: Path) -> None:
    length = path.length()
    if length == 0:
        return
    steady = travel(path)
    u = torch.linspace(0, 1, 513, dtype=torch.float64)
    corners = torch.tensor(steady.breaks, dtype=u.dtype)
    u = torch.cat((u, corners)).unique()
    points = steady.evaluate(u)
    assert float((points[0] - path.evaluate(u[:1])[0]).norm()) <= 1e-6 * length, "travel begins elsewhere"
    assert float((points[-1] - path.evaluate(u[-1:])[0]).norm()) <= 1e-6 * length, "travel ends elsewhere"
    middles = (u[1:] + u[:-1]) / 2
    speed = steady.velocity(middles).norm(dim=1)
    assert torch.allclose(speed, torch.full_like(speed, length), rtol=1e-5), "travel's declared speed is not constant"
    near = 1e-5
    inner = middles[(u[1:] - u[:-1]) > 4 * near]
    moved = (steady.evaluate(inner + near) - steady.evaluate(inner - near)).norm(dim=1) / (2 * near)
    worst = float((moved / length - 1).abs().max())
    assert worst <= 2e-3, f"travel's speed strays by {worst:.2e} of its mean"
