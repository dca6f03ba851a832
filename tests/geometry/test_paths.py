import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.core.errors import ConfigError
from latentscape.geometry.paths import (
    Circle,
    Diagonal,
    Drift,
    Grid,
    Line,
    Lissajous,
    Moved,
    Polyline,
    RandomWalk,
    Recorded,
    Retimed,
    Sequence,
    Sphere,
    Spiral,
    Spline,
    Traversal,
    path_from_json,
    slerp,
)
from latentscape.laws.path import check_pace, check_path, check_record

CENTRE = (0.5, -1.0, 0.25, 2.0)
FIVE = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).tolist()
COURSE = torch.randn(40, 3, generator=torch.Generator().manual_seed(3)).cumsum(0).tolist()
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
    "drift": (Drift(centre=CENTRE, steps=40, memory=5, seed=3, scale=(1, 2, 3, 0.5)), None, None),
    "drift on axes": (Drift(centre=CENTRE, steps=1, axes=((1, 1, 0, 0), 2)), None, None),
    "lissajous": (Lissajous(centre=CENTRE, radius=(1, 2)), CENTRE, CENTRE),
    "lissajous of three": (
        Lissajous(centre=CENTRE, axes=(0, 1, 3), radius=2, frequencies=(1, 2, 0.5), phases=(0.25, 0, 0.25)),
        (2.5, -1, 0.25, 4),
        (2.5, -1, 0.25, 0),
    ),
    "polyline": (Polyline(points=FIVE), FIVE[0], FIVE[-1]),
    "polyline in time": (Polyline(points=FIVE, times=(0, 0.1, 0.5, 0.6, 1)), FIVE[0], FIVE[-1]),
    "a point": (Polyline(points=FIVE[:1]), FIVE[0], FIVE[0]),
    "recorded": (Recorded(points=COURSE, seconds=1.5, name="a.wav"), COURSE[0], COURSE[-1]),
    "spline": (Spline(points=FIVE), FIVE[0], FIVE[-1]),
    "closed spline": (Spline(points=FIVE, closed=True), FIVE[0], FIVE[0]),
    "spline of two": (Spline(points=FIVE[:2], knots="uniform"), FIVE[0], FIVE[1]),
    "spline of one": (Spline(points=(FIVE[0], FIVE[0])), FIVE[0], FIVE[0]),
    "moved": (
        Moved(path=Polyline(points=FIVE), by=(1, 2, 3)),
        [a + b for a, b in zip(FIVE[0], (1, 2, 3), strict=True)],
        None,
    ),
    "moved on": (Moved(path=Line(a=(0, 0), b=(1, 1)), by=(0, 1), until=(2, 0)), (0, 1), (3, 1)),
    "retimed": (
        Retimed(path=Circle(centre=CENTRE, radius=2), times=((0, 0), (0.2, 0.7), (0.5, 0.8), (1, 1))),
        None,
        None,
    ),
    "part of a path": (Retimed(path=Line(a=(0,), b=(8,)), times=((0, 0.25), (0.5, 0.5), (1, 0.5))), (2,), (4,)),
    "corners retimed": (
        Retimed(path=Polyline(points=FIVE), times=((0, 0), (0.3, 0.25), (0.4, 0.8), (1, 1))),
        FIVE[0],
        FIVE[-1],
    ),
    "sequence": (Sequence(paths=(Line(a=(0, 0), b=(1, 0)), Circle(centre=(3, 0), radius=1))), (0, 0), (4, 0)),
    "loop of all": (
        Sequence(
            paths=(
                Moved(path=Spline(points=FIVE), by=FIVE[1]),
                Retimed(path=Recorded(points=COURSE), times=((0, 0), (0.4, 0.5), (1, 1))),
            ),
            durations=(1, 2),
            loop=True,
        ),
        None,
        [a + b for a, b in zip(FIVE[0], FIVE[1], strict=True)],
    ),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_laws(name):
    path, start, end = MEMBERS[name]
    check_path(path, start=start and torch.tensor(start), end=end and torch.tensor(end))


@pytest.mark.parametrize("name", MEMBERS)
def test_records(name):
    check_record(MEMBERS[name][0])


@pytest.mark.parametrize("name", sorted(set(MEMBERS) - {"nowhere", "a point", "spline of one"}))
def test_constant_speed(name):
    check_pace(MEMBERS[name][0])


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


@pytest.mark.parametrize("short", [1e-1, 1e-3, 1e-4, 1e-5, 2e-6])
def test_a_great_circle_of_almost_opposite_vectors_keeps_its_radius_in_float32(short):
    """``short`` of half a turn, what is left of the end at right angles to the beginning is mostly rounding."""
    a, across = torch.linalg.qr(torch.randn(16, 2, dtype=torch.float64))[0].T
    b = (math.sin(short) * across - math.cos(short) * a).float()
    z = slerp(a.float().expand(101, -1), b.expand(101, -1), torch.linspace(0, 1, 101))
    assert torch.allclose(z.norm(dim=1), torch.ones(101), atol=1e-6)
    assert torch.allclose(z[-1], b, atol=1e-6)


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


@pytest.mark.parametrize("low", [1e-3, 1e-9, 1e-20])
def test_a_grid_of_rows_far_shorter_than_the_way_between_them_ends_in_its_corner(low):
    grid = Grid(centre=(0, 0), low=(0, 0), high=(low, 1e5), rows=3)
    torch.testing.assert_close(grid.end, torch.tensor([low, 1e5]))
    torch.testing.assert_close(grid.evaluate(torch.tensor([0.5])), torch.tensor([[low / 2, 5e4]]))


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
        ({"kind": "random_walk", "centre": [0] * 1000, "steps": 100_000}, "steps times axes at most 10,000,000"),
        ({"kind": "drift", "centre": [0], "memory": 0}, "memory: got 0"),
        ({"kind": "circle", "centre": [0, 0], "radius": 1e300}, "radius: got 1e"),
        ({"kind": "line", "a": [0], "b": [1e300]}, "b.0: got 1e"),
        ({"kind": "line", "a": [0], "b": [float("nan")]}, "b.0: got nan"),
        ({"kind": "grid", "centre": [0, 0], "low": [-1, -1], "high": [1, 1], "rows": 10**9}, "rows: got 1000000000"),
        ({"kind": "lissajous", "centre": [0, 0], "radius": 1, "frequencies": [1]}, "a frequency for each of 2 axes"),
        ({"kind": "polyline", "points": []}, "points: got"),
        ({"kind": "polyline", "points": [[0], [1, 2]]}, "point 0 has 1 and point 1 2"),
        ({"kind": "polyline", "points": [[0]] * 100_001}, "points: got"),
        ({"kind": "polyline", "points": [[0], [1]], "times": [0, 0.5]}, "times that ascend from 0 to 1"),
        ({"kind": "polyline", "points": [[0], [1]], "times": [0]}, "a time for each"),
        ({"kind": "spline", "points": [[0], [1]], "knot": "chord"}, "'knot'; did you mean 'knots'"),
        ({"kind": "moved", "path": {"kind": "line", "a": [0], "b": [1]}, "by": [0, 0]}, "by of width 1"),
        (
            {"kind": "moved", "path": {"kind": "lime", "a": [0], "b": [1]}, "by": [0]},
            "path.kind: 'lime' is not known; did you mean 'line'",
        ),
        ({"kind": "moved", "path": {"kind": "line", "a": [0], "c": [1]}, "by": [0]}, "path.b' is missing|key 'path.c'"),
        (
            {"kind": "retimed", "path": {"kind": "line", "a": [0], "b": [1]}, "times": [[0, 0], [0.5, 1]]},
            "times from 0 to 1",
        ),
        (
            {"kind": "retimed", "path": {"kind": "line", "a": [0], "b": [1]}, "times": [[0, 0], [0.5, 1], [1, 0.5]]},
            "times in order",
        ),
        ({"kind": "sequence", "paths": []}, "paths: got"),
        (
            {
                "kind": "sequence",
                "paths": [{"kind": "line", "a": [0], "b": [1]}, {"kind": "line", "a": [0, 0], "b": [1, 1]}],
            },
            "one width",
        ),
        (
            {"kind": "sequence", "paths": [{"kind": "line", "a": [0], "b": [1]}], "durations": [1, 2]},
            "a duration for each",
        ),
        ({"kind": "sequence", "paths": 2 * [{"kind": "polyline", "points": [[0]] * 60_000}]}, "100,000 points in all"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        path_from_json(values)
    assert "\n" not in str(caught.value)
