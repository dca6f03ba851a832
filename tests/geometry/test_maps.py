import math

import pytest
import torch
from surfaces import (
    ball,
    ball_distance,
    ball_points,
    half_plane,
    half_plane_distance,
    half_plane_points,
    members,
    sphere,
    sphere_distance,
    sphere_points,
)

from latentscape.core.errors import UsageError
from latentscape.geometry.manifold import PullBack, Riemannian
from latentscape.geometry.maps import distance, exponential, frechet_mean, logarithm, shoot, transport

SPHERE, PLANE, BALL = PullBack(sphere, 2), Riemannian(half_plane, 2), Riemannian(ball, 3)


def test_exponential_on_the_sphere():
    z, v = sphere_points(6, 5), 0.4 * torch.randn(6, 2, dtype=torch.float64)
    place = sphere(z)
    pushed = (SPHERE.jacobian(z) @ v[..., None])[..., 0]
    speed = pushed.norm(dim=1, keepdim=True)
    expected = speed.cos() * place + speed.sin() * pushed / speed
    torch.testing.assert_close(sphere(exponential(SPHERE, z, v, steps=12)), expected, atol=1e-6, rtol=0)


def test_exponential_in_the_half_plane_goes_up_exponentially():
    z, v = torch.tensor([[0.3, 0.5]], dtype=torch.float64), torch.tensor([[0.0, 0.75]], dtype=torch.float64)
    expected = torch.tensor([[0.3, 0.5 * math.exp(1.5)]], dtype=torch.float64)
    torch.testing.assert_close(exponential(PLANE, z, v, steps=24), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", members())
def test_exponential_undoes_logarithm(name):
    manifold, points = members()[name]
    a, b = points[:3], 0.6 * points[:3] + 0.4 * points[3:6]
    v = logarithm(manifold, a, b)
    torch.testing.assert_close(exponential(manifold, a, v, steps=12), b, atol=3e-3, rtol=3e-3)
    torch.testing.assert_close(manifold.norm(a, v), distance(manifold, a, b), rtol=1e-6, atol=0)


def test_a_shot_geodesic_has_constant_speed():
    manifold, points = members()["mlp"]
    way = shoot(manifold, points, 0.3 * points.flip(1), steps=12)
    speed = manifold.chords(way).norm(dim=2)
    assert float((speed.std(1) / speed.mean(1)).max()) < 1e-2


@pytest.mark.parametrize(
    ("manifold", "points", "known"),
    [
        (SPHERE, sphere_points, sphere_distance),
        (PLANE, half_plane_points, half_plane_distance),
        (BALL, lambda n, seed: ball_points(n, 3, seed), ball_distance),
    ],
)
def test_distances(manifold, points, known):
    a, b = points(5, 1), points(5, 2)
    torch.testing.assert_close(distance(manifold, a, b), known(a, b), rtol=1e-3, atol=0)


def test_transport_round_a_circle_of_latitude_turns_by_the_area_enclosed():
    colatitude = 1.0
    time = torch.linspace(0, 2 * math.pi, 33, dtype=torch.float64)
    points = torch.stack((time, torch.full_like(time, colatitude)), 1)[None]
    w = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    carried = transport(SPHERE, points, w)
    torch.testing.assert_close(
        SPHERE.norm(points[:, -1], carried), torch.ones(1, dtype=torch.float64), atol=1e-4, rtol=0
    )
    angle = math.atan2(float(carried[0, 0]) * math.sin(colatitude), float(carried[0, 1]))
    turned = -2 * math.pi * math.cos(colatitude)
    assert math.cos(angle - turned) == pytest.approx(1, abs=1e-5)


def test_transport_keeps_lengths_and_angles_and_a_geodesic_its_velocity():
    a, b = half_plane_points(4, 7), half_plane_points(4, 8)
    v = logarithm(PLANE, a, b, segments=64)
    way = shoot(PLANE, a, v, steps=24)
    w = torch.randn(4, 2, dtype=torch.float64)
    there, carried = transport(PLANE, way, v), transport(PLANE, way, w)
    for one, other in ((v, v), (v, w), (w, w)):
        before = torch.einsum("ni,nij,nj->n", one, PLANE.metric(a), other)
        ends = [there if vector is v else carried for vector in (one, other)]
        after = torch.einsum("ni,nij,nj->n", ends[0], PLANE.metric(way[:, -1]), ends[1])
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    ahead = exponential(PLANE, way[:, -1], there * 1e-3, steps=2)
    torch.testing.assert_close(ahead, exponential(PLANE, a, 1.001 * v, steps=24), atol=1e-4, rtol=1e-3)


def test_frechet_mean_of_a_symmetric_set():
    points = torch.tensor([[-0.5, 1.2], [0.5, 1.2], [0.0, 1.2]], dtype=torch.float64)
    found = frechet_mean(SPHERE, points, tolerance=1e-4, segments=16)
    assert found.converged
    assert abs(float(found.point[0])) < 1e-4
    expected = float(sphere_distance(found.point.expand(3, 2), points).square().mean())
    assert found.variance == pytest.approx(expected, rel=1e-3)
    for nearby in torch.eye(2, dtype=torch.float64) * 0.05:
        for at in (found.point + nearby, found.point - nearby):
            assert float(sphere_distance(at.expand(3, 2), points).square().mean()) > expected


def test_frechet_mean_with_weights_lies_on_the_way():
    a, b = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([[0.0, math.e]], dtype=torch.float64)
    found = frechet_mean(PLANE, torch.cat((a, b)), torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(found.point, torch.tensor([0.0, math.exp(0.25)], dtype=torch.float64), atol=1e-3, rtol=0)
    alone = frechet_mean(PLANE, a)
    assert alone.converged
    assert alone.variance == 0
    torch.testing.assert_close(alone.point, a[0])


def test_frechet_mean_reports_what_it_did_not_reach():
    found = frechet_mean(PLANE, half_plane_points(4, 3), tolerance=0.0, rounds=1, segments=8)
    assert not found.converged
    assert found.rounds <= 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: exponential(SPHERE, torch.zeros(1, 3), torch.zeros(1, 3)), r"\[1, 3\]"),
        (lambda: exponential(SPHERE, torch.zeros(1, 2), torch.zeros(1, 2), steps=0), "0 steps"),
        (lambda: transport(SPHERE, torch.zeros(1, 1, 2), torch.zeros(1, 2)), "0 steps"),
        (lambda: frechet_mean(SPHERE, torch.zeros(0, 2)), "0 points"),
        (lambda: frechet_mean(SPHERE, torch.zeros(2, 2), torch.tensor([1.0, -1.0])), "not all zero"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()
