"""Surfaces with closed forms."""

import torch
from torch import Tensor, nn

from latentscape.geometry.manifold import Manifold, PullBack, Riemannian


def sphere(z: Tensor) -> Tensor:
    """Longitude and colatitude -> the unit sphere."""
    longitude, colatitude = z[:, 0], z[:, 1]
    return torch.stack((longitude.cos() * colatitude.sin(), longitude.sin() * colatitude.sin(), colatitude.cos()), 1)


def half_plane(z: Tensor) -> Tensor:
    """Poincare's half plane, y > 0."""
    height = torch.where(z[:, 1] > 0, z[:, 1], torch.nan)
    return height[:, None, None] ** -2 * torch.eye(2, dtype=z.dtype)


def ball(z: Tensor) -> Tensor:
    """Poincare's ball in any dimension."""
    room = 1 - z.square().sum(1)
    room = torch.where(room > 0, room, torch.nan)
    return (2 / room)[:, None, None] ** 2 * torch.eye(z.shape[1], dtype=z.dtype)


def mlp(d: int, width: int = 64, outputs: int = 80) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(d, width), nn.SiLU(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 1.6 * layer.in_features**-0.5)
    return net.requires_grad_(False)


def sphere_points(n: int, seed: int = 0) -> Tensor:
    draws = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return draws * torch.tensor([2.0, 2.0], dtype=torch.float64) + torch.tensor([0.0, 0.5], dtype=torch.float64)


def half_plane_points(n: int, seed: int = 0) -> Tensor:
    draws = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack((draws[:, 0], (0.7 * draws[:, 1]).exp()), 1)


def ball_points(n: int, d: int, seed: int = 0) -> Tensor:
    draws = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    radius = torch.rand(n, 1, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return 0.8 * radius * nn.functional.normalize(draws, dim=1)


def sphere_distance(a: Tensor, b: Tensor) -> Tensor:
    return (sphere(a) * sphere(b)).sum(1).clamp(-1, 1).acos()


def half_plane_distance(a: Tensor, b: Tensor) -> Tensor:
    return torch.acosh(1 + (a - b).square().sum(1) / (2 * a[:, 1] * b[:, 1]))


def ball_distance(a: Tensor, b: Tensor) -> Tensor:
    room = (1 - a.square().sum(1)) * (1 - b.square().sum(1))
    return torch.acosh(1 + 2 * (a - b).square().sum(1) / room)


def members() -> dict[str, tuple[Manifold, Tensor]]:
    net = mlp(3).double()
    return {
        "sphere": (PullBack(sphere, 2), sphere_points(7)),
        "mlp": (PullBack(net, 3), torch.randn(7, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)),
        "half plane": (Riemannian(half_plane, 2), half_plane_points(7)),
        "ball": (Riemannian(ball, 3), ball_points(7, 3)),
    }
