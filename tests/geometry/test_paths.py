import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.errors import ConfigError
from latentscape.geometry.paths import (
    Circle,
    Diagonal,
    Grid,
    Line,
    RandomWalk,
    Sphere,
    Spiral,
    Traversal,
    path_from_json,
    slerp,
)
from latentscape.laws.path import check_path

CENTRE = (0.5, -1.0, 0.25, 2.0)
MEMBERS = {
    "line": (Line(a=(1, 2, 3, 4), b=(-1, 0, 2, 5)), (1, 2, 3, 4), (-1, 0, 2, 5)),
    "sphere": (Sphere(a=(1, 2, 0, 0), b=(-3, 0, 2, 1)), (1, 2, 0, 0), (-3, 0, 2, 1)),
    "sphere about": (Sphere(a=(1, 2, 0, 0), b=(-3, 0, 2, 1), centre=CENTRE), (1, 2, 0, 0), (-3, 0, 2, 1)),
    "opposite": (Sphere(a=(1, 2, 0, 0), b=(-2, -4, 0, 0)), (1, 2, 0, 0), (-2, -4, 0, 0)),
    "opposite 1-d": (Sphere(a=(1,), b=(-2,)), (1,), (-2,)),
    "from zero": (Sphere(a=(0, 0, 0), b=(1, 2, 3)), (0, 0, 0), (1, 2, 3)),
    "to zero": (Sphere(a=(1, 2, 3), b=(0, 0, 0)), (1, 2, 3), (0, 0, 0)),
    "nowhere": (Sphere(a=(0, 0), b=(0, 0)), (0, 0), (0, 0)),
    "traversal": (Traversal(centre=CENTRE, axis=2, low=-2, high=3), (0.5, -1, -1.75, 2), (0.5, -1, 3.25, 2)),
    "traversal along": (
        Traversal(centre=CENTRE, axis=(3, 0, 0, 4), low=-5, high=5),
        (-2.5, -1, 0.25, -2),
        (3.5, -1, 0.25, 6),
    ),
    "diagonal": (Diagonal(centre=CENTRE, low=-1, high=2), (-0.5, -2, -0.75, 1), (2.5, 1, 2.25, 4)),
    "diagonal of two": (
        Diagonal(centre=CENTRE, axes=(0, 3), low=(-1, -2), high=(1, 2)),
        (-0.5, -1, 0.25, 0),
        (1.5, -1, 0.25, 4),
    ),
    "grid": (
        Grid(centre=CENTRE, axes=(1, 3), low=(-1, -2), high=(1, 2), rows=3),
        (0.5, -2, 0.25, 0),
        (0.5, 0, 0.25, 4),
    ),
    "circle": (Circle(centre=CENTRE, radius=2.0), (2.5, -1, 0.25, 2), (2.5, -1, 0.25, 2)),
    "ellipse": (Circle(centre=CENTRE, radius=(2.0, 0.5), phase=0.25), (0.5, -0.5, 0.25, 2), (0.5, -0.5, 0.25, 2)),
    "any circle": (Circle(centre=CENTRE, radius=1.0, seed=7, turns=2.5), None, None),
    "spiral": (Spiral(centre=CENTRE, inner=1.0, outer=3.0, turns=2), (1.5, -1, 0.25, 2), (3.5, -1, 0.25, 2)),
    "walk": (RandomWalk(centre=CENTRE, steps=6, seed=3, scale=(1, 2, 3, 0.5)), None, None),
    "walk on axes": (RandomWalk(centre=CENTRE, steps=1, axes=((1, 1, 0, 0), 2), scale=(1, 2)), None, None),
    "loop": (RandomWalk(centre=CENTRE, steps=5, loop=True), None, None),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_laws(name):
    path, start, end = MEMBERS[name]
    check_path(path, start=start and torch.tensor(start), end=end and torch.tensor(end))


@pytest.mark.parametrize("name", MEMBERS)
def test_json_there_and_back(name):
    path = MEMBERS[name][0]
    again = path_from_json(json.loads(json.dumps(path.to_json())))
    assert again == path
    t = torch.linspace(0, 1, 9)
    assert torch.equal(again.evaluate(t), path.evaluate(t))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(0, 2**31), st.floats(0, 1))
def test_slerp_keeps_the_angle_and_the_norm(dim, seed, share):
    stream = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(5, dim, generator=stream, dtype=torch.float64) for _ in range(2))
    z = slerp(a, b, torch.full((5,), share, dtype=torch.float64))
    norms = torch.lerp(a.norm(dim=1), b.norm(dim=1), share)
    if dim > 1:
        torch.testing.assert_close(z.norm(dim=1), norms)
        cosine = torch.cosine_similarity(a, b).clamp(-1, 1)
        omega = torch.acos(cosine)[:, None]  # Shoemake 1985, written out with the sines
        classic = (
            torch.sin((1 - share) * omega) * a / a.norm(dim=1, keepdim=True)
            + torch.sin(share * omega) * b / b.norm(dim=1, keepdim=True)
        ) / torch.sin(omega)
        torch.testing.assert_close(z, classic * norms[:, None], rtol=1e-6, atol=1e-8)
    else:
        torch.testing.assert_close(z, torch.lerp(a, b, share))


def test_opposite_vectors_turn_and_never_cross_the_origin():
    z = Sphere(a=(1.0, 0.5), b=(-1.0, -0.5)).evaluate(torch.linspace(0, 1, 21))
    torch.testing.assert_close(z.norm(dim=1), torch.full((21,), math.hypot(1, 0.5)))


def test_a_random_plane_is_orthonormal_and_seeded():
    circle = Circle(centre=(0.0,) * 6, radius=2.0, seed=4)
    plane = torch.tensor(circle.plane)
    torch.testing.assert_close(plane @ plane.T, torch.eye(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(circle.length(), 4 * math.pi)
    assert circle.plane != Circle(centre=(0.0,) * 6, radius=2.0, seed=5).plane


def test_the_walk_is_stationary_and_normal():
    walk = RandomWalk(centre=(1.0,) * 4000, steps=2, seed=1, scale=2.0)
    z = walk.evaluate(torch.linspace(0, 1, 9))
    torch.testing.assert_close(z.std(dim=1), torch.full((9,), 2.0), rtol=0.06, atol=0)
    torch.testing.assert_close(z.mean(dim=1), torch.full((9,), 1.0), rtol=0, atol=0.15)


def test_a_longer_walk_begins_with_the_shorter_one():
    short, long = (RandomWalk(centre=(0.0, 0.0), steps=steps, seed=9) for steps in (5, 10))
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    torch.testing.assert_close(short.evaluate(t), long.evaluate(t / 2))
    assert not torch.equal(short.evaluate(t), RandomWalk(centre=(0.0, 0.0), steps=5, seed=8).evaluate(t))


def test_a_loop_closes_smoothly():
    loop = MEMBERS["loop"][0]
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for points in (loop.evaluate(ends), loop.velocity(ends)):
        torch.testing.assert_close(points[0], points[1])


def test_the_grid_visits_every_corner_to_and_fro():
    grid = Grid(centre=(0, 0), low=(-1, -1), high=(1, 1), rows=3)
    z = grid.evaluate(torch.tensor((0.0, *grid.breaks, 1.0)))
    expected = [(-1, -1), (1, -1), (1, 0), (-1, 0), (-1, 1), (1, 1)]
    torch.testing.assert_close(z, torch.tensor(expected, dtype=torch.float32))
    assert grid.length() == pytest.approx(8)


def test_tensors_are_taken_for_vectors():
    assert Line(a=torch.zeros(2), b=torch.ones(2)) == Line(a=(0, 0), b=(1, 1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "lin", "a": [0], "b": [1]}, "did you mean 'line'"),
        ({"kind": "line", "a": [0], "c": [1]}, "'b' is missing|unknown key"),
        ({"kind": "line", "a": [0], "b": [1, 2]}, "a has 1, b has 2"),
        ({"kind": "sphere", "a": [0], "b": [1], "centre": [1, 2]}, "centre has 2"),
        ({"kind": "traversal", "centre": [0, 0], "axis": 2, "low": 0, "high": 1}, "from 0 to 1, but axis is 2"),
        ({"kind": "traversal", "centre": [0, 0], "axis": [0, 0], "low": 0, "high": 1}, "length above 0"),
        ({"kind": "diagonal", "centre": [0, 0], "low": [0, 0, 0], "high": 1}, "low with one number or 2"),
        ({"kind": "grid", "centre": [0, 0], "low": [0, 0], "high": [0, 1]}, "extent along both axes"),
        ({"kind": "circle", "centre": [0], "radius": 1}, "at least 2 latent coordinates"),
        ({"kind": "random_walk", "centre": [0], "steps": 3, "loop": True}, "at least 4 steps"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        path_from_json(values)
    assert "\n" not in str(caught.value)
