"""The laws of a manifold: its steps, metric, matrix and connection agree; of geodesics: never longer than the line."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.geometry.geodesic import Geodesics, geodesics, measure
from latentscape.geometry.manifold import Manifold


@torch.no_grad()
def check_manifold(manifold: Manifold, points: Float[Tensor, "n d"]) -> None:
    """Hold a manifold to its laws at some points.

    Args:
        manifold: any.
        points: float64, where it is defined, with a margin of 1e-3.

    Raises:
        AssertionError: a law is broken; the message names it and the size of the breach.
    """
    assert points.dtype == torch.float64, f"laws are checked in float64, got {points.dtype}"
    generator = torch.Generator().manual_seed(0)
    v, w = (torch.randn(points.shape, generator=generator, dtype=points.dtype) for _ in range(2))
    metric = manifold.metric(points)
    assert metric.shape == (*points.shape, manifold.dim), f"the metric has shape {list(metric.shape)}"
    _close("the metric is not symmetric", metric, metric.mT, 1e-9)
    least = float(torch.linalg.eigvalsh(metric).min())
    assert least >= -1e-9 * float(metric.abs().max()), f"the metric has an eigenvalue of {least:.2e}"

    small = 1e-4
    ahead, back = points + small / 2 * v, points - small / 2 * v
    squared = manifold.step(back, ahead).square().sum(1) / small**2
    _close("a small step's squared length is not v'Gv", squared, manifold.norm(points, v).square(), 1e-4)
    _close(
        "a step is not as long as its way back", manifold.step(ahead, back).norm(dim=1), small * squared.sqrt(), 1e-6
    )
    assert float(manifold.step(points, points).abs().max()) == 0, "a step to the same place has a length"

    _check_connection(manifold, points, v, w)
    _check_matrix(manifold, points, v)


@torch.no_grad()
def check_geodesics(manifold: Manifold, a: Float[Tensor, "p d"], b: Float[Tensor, "p d"], found: Geodesics) -> None:
    """Hold solved geodesics to their laws.

    Args:
        manifold: where they were solved.
        a: where each begins.
        b: where each ends.
        found: the answer.

    Raises:
        AssertionError: a law is broken.
    """
    assert torch.equal(found.points[:, 0], a), "a geodesic does not begin where it was told"
    assert torch.equal(found.points[:, -1], b), "a geodesic does not end where it was told"
    energy, length = measure(manifold, found.points)
    _close("the energy given is not that of the curve", found.energy, energy, 1e-5)
    _close("the length given is not that of the curve", found.length, length, 1e-5)
    assert bool((found.length.square() <= found.energy * (1 + 1e-5)).all()), "a squared length above the energy"
    line = torch.tensor([name == "line" for name in found.began], device=a.device)
    assert bool((found.energy <= found.energy_line).all()), "a geodesic of more energy than the line"
    assert bool((found.length <= found.length_line)[line].all()), "a geodesic longer than the line it began as"
    segments = found.points.shape[1] - 1
    again = geodesics(manifold, b, a, segments=segments)
    both = found.converged & again.converged & line
    gap = float((found.energy / again.energy.clamp_min(1e-30) - 1).abs()[both].max()) if bool(both.any()) else 0.0
    assert gap <= 0.05, f"the way back differs in energy by {gap:.1%}"


def _check_connection(manifold: Manifold, z: Tensor, v: Tensor, w: Tensor) -> None:
    straight = manifold.connection(z, v, w)
    _close("the connection is not symmetric", straight, manifold.connection(z, w, v), 1e-6)
    _close("the connection is not linear", manifold.connection(z, 2 * v, w), 2 * straight, 1e-6)
    # compatible with the metric: D_v <w, w> = 2 <w, Gamma(v, w)>
    small = 1e-5
    slope = (manifold.norm(z + small * v, w).square() - manifold.norm(z - small * v, w).square()) / (2 * small)
    told = 2 * torch.einsum("ni,nij,nj->n", w, manifold.metric(z), straight)
    _close("transport would not keep lengths", told, slope, 1e-4)


def _check_matrix(manifold: Manifold, points: Tensor, v: Tensor) -> None:
    """The Gauss-Newton matrix's quadratic form is the squared change of the residuals, to first order."""
    t = torch.linspace(0, 1, 6, dtype=points.dtype)[None, :, None]
    curve = points[:, None] + 1e-2 * t * v[:, None]
    inner = torch.randn(len(points), 4, manifold.dim, generator=torch.Generator().manual_seed(1), dtype=points.dtype)
    diagonal, above = manifold.matrix(curve)
    form = torch.einsum("pki,pkij,pkj->p", inner, diagonal, inner)
    form = form + 2 * torch.einsum("pki,pkij,pkj->p", inner[:, :-1], above, inner[:, 1:])
    small = 1e-6
    moved = torch.nn.functional.pad(small * inner, (0, 0, 1, 1))
    change = (manifold.chords(curve + moved) - manifold.chords(curve - moved)) / (2 * small)
    _close("the Gauss-Newton matrix is not J'J of the residuals", form, change.square().sum((1, 2)), 1e-4)


def _close(law: str, got: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = float(expected.abs().max().clamp_min(1e-12))
    error = float((got - expected).abs().max()) / scale
    assert error <= tolerance, f"{law}: {error:.2e} of the largest value, allowed {tolerance:.0e}"
