import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from latentscape.core.errors import UsageError
from latentscape.geometry.compound import monotone_slopes
from latentscape.geometry.pace import retimed, timed_like
from latentscape.geometry.paths import (
    Circle,
    Drift,
    Grid,
    Line,
    Lissajous,
    Moved,
    Polyline,
    Recorded,
    Retimed,
    Sequence,
    Spiral,
    Spline,
)
from latentscape.geometry.travel import Travel, join, travel
from latentscape.laws.path import check_pace, check_path

T = torch.linspace(0, 1, 101, dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 20), st.integers(0, 2**31))
def test_the_table_is_scipys_monotone_cubic(count, seed):
    stream = np.random.default_rng(seed)
    u, t = (np.concatenate(([0.0], np.cumsum(stream.random(count) + low))) for low in (0.05, 0.0))
    u, t = u / u[-1], t / t[-1]
    path = Retimed(path=Line(a=(0,), b=(1,)), times=tuple(zip(u.tolist(), t.tolist(), strict=True)))
    at = np.linspace(0, 1, 333)
    cubic = PchipInterpolator(u, t)
    np.testing.assert_allclose(path.time(torch.from_numpy(at)).numpy(), cubic(at), atol=1e-9)
    np.testing.assert_allclose(
        path.velocity(torch.from_numpy(at))[:, 0].numpy(), cubic(at, 1), atol=1e-6 * cubic(at, 1).max()
    )


def test_at_a_corner_the_pace_may_leap():
    u, t = torch.tensor([0.0, 0.2, 1.0]).double(), torch.tensor([0.0, 0.5, 1.0]).double()
    begin, end = monotone_slopes(u, t, torch.tensor([True]))
    torch.testing.assert_close(begin, torch.tensor([2.5, 0.625]).double())
    torch.testing.assert_close(end, begin)


def test_a_path_never_goes_back_in_time():
    times = ((0, 0), (0.1, 0.5), (0.2, 0.5), (0.9, 0.51), (1, 1))
    assert (
        Retimed(path=Line(a=(0,), b=(1,)), times=times).evaluate(torch.linspace(0, 1, 2000).double())[:, 0].diff() >= 0
    ).all()


def test_constant_latent_speed_is_what_travel_finds():
    for path in (
        Circle(centre=(0, 0), radius=(3.0, 0.5)),
        Spiral(centre=(0, 0), outer=2.0),
        Polyline(points=((0, 0), (1, 0), (1, 5))),
    ):
        torch.testing.assert_close(
            retimed(path).evaluate(T), travel(path).evaluate(T), atol=2e-5 * path.length(), rtol=0
        )


def test_corners_are_met_to_the_last_digit():
    path = Polyline(points=((0, 0), (1, 0), (1, 2)), times=(0.0, 0.777, 1.0))
    u = torch.linspace(0, 1, 97, dtype=torch.float64)
    expected = torch.stack(((3 * u).clamp_max(1), (3 * u - 1).clamp_min(0)), 1)
    torch.testing.assert_close(retimed(path).evaluate(u), expected, atol=1e-7, rtol=0)


def bent(z):
    return torch.stack((z[:, 0] ** 3, torch.sin(2 * z[:, 1]), z.square().sum(1)), 1)


@pytest.mark.parametrize(
    "path",
    [
        Lissajous(centre=(0.3, 0.1), radius=1.0),
        Circle(centre=(0, 0), radius=2.0),
        Spline(points=((0, 0), (1, 2), (2, -1), (0, -1)), closed=True),
        Grid(centre=(0, 0), low=(-1, -1), high=(1, 1), rows=3),
        Sequence(paths=(Line(a=(0, 0), b=(1, 0)), Line(a=(1, 1), b=(3, 1)))),
    ],
    ids=lambda path: type(path).__name__,
)
def test_constant_speed_in_another_distance(path):
    check_pace(path, bent, 0.08)  # bent stands still at places, where the hundredth of latent distance counts
    check_path(retimed(path, bent), start=path.start, end=path.end)


def test_where_distance_stands_still_the_path_goes_on():
    plateau = retimed(Line(a=(0.0,), b=(3.0,)), lambda z: (z - 1).clamp(0, 1))
    check_path(plateau)
    speed = plateau.velocity(torch.linspace(0, 1, 5001).double()).norm(dim=1)
    assert speed.max() < 150 * 3
    middle = plateau.evaluate(torch.tensor([0.05, 0.95]).double())[:, 0]
    assert (middle - torch.tensor([1.05, 1.95])).abs().max() < 0.05
    nowhere = retimed(Line(a=(0.0,), b=(3.0,)), lambda z: 0 * z)
    torch.testing.assert_close(nowhere.evaluate(T)[:, 0], 3 * T)
    still = retimed(Line(a=(1, 1), b=(1, 1)))
    assert torch.equal(still.evaluate(T), torch.ones(101, 2).double())


def test_what_is_retimed_forgets_its_old_times():
    once = retimed(Circle(centre=(0, 0), radius=(3.0, 0.5)))
    assert retimed(once).path == once.path
    part = Retimed(path=Line(a=(0,), b=(4,)), times=((0, 0.5), (1, 1)))
    assert retimed(part).start.tolist() == [2.0]


def test_what_is_no_record_or_not_finite_is_refused():
    with pytest.raises(UsageError, match="a Travel can't be saved"):
        retimed(Travel(Circle(centre=(0, 0), radius=1.0)))
    with pytest.raises(UsageError, match="not finite"):
        retimed(Line(a=(-1.0,), b=(1.0,)), torch.log)


def test_in_the_time_course_of_another():
    note = Recorded(points=((0,), (0,), (8,), (9,), (9,), (10,)))
    path = timed_like(Polyline(points=((0, 0), (1, 0), (1, 3))), note)
    check_path(path)
    way = torch.tensor([0.0, 0.0, 3.2, 3.6, 3.6, 4.0], dtype=torch.float64)
    z = path.evaluate(torch.linspace(0, 1, 6).double())
    torch.testing.assert_close(z, torch.stack((way.clamp_max(1), (way - 1).clamp_min(0)), 1), atol=1e-6, rtol=0)
    same = Lissajous(centre=(0, 0), radius=1.0)
    torch.testing.assert_close(timed_like(same, same).evaluate(T), same.evaluate(T), atol=1e-4, rtol=0)


def test_a_pace_that_would_make_too_large_a_path_is_refused_in_one_line():
    course = Recorded(points=[(float(k % 2),) for k in range(50_000)])
    with pytest.raises(UsageError, match=r"^a recorded of 50,000 points .* expected at most 100,000 and 16$"):
        retimed(course)
    with pytest.raises(UsageError, match=r"^a recorded of 50,000 points"):
        timed_like(course, Line(a=(0,), b=(1,)), knots=60_000)
    deep = Line(a=(0,), b=(1,))
    for _ in range(15):
        deep = Moved(path=deep, by=(0,))
    assert deep.depth == 16
    with pytest.raises(UsageError, match=r"^a moved of 0 points .* 17 deep"):
        retimed(deep)


def test_a_bridge_between_paths_that_reach_far_out_may_do_so_too():
    far = Sequence(paths=(Circle(centre=(1e6, 0), radius=1e6), Line(a=(0, 0), b=(0, 1))))
    torch.testing.assert_close(far.start, torch.tensor([2e6, 0.0]))
    torch.testing.assert_close(far.end, torch.tensor([0.0, 1.0]))


def test_moved_adds_and_a_sequence_joins():
    circle, line = Circle(centre=(0, 0), radius=1.0), Line(a=(3, 0), b=(3, 1))
    moved = Moved(path=circle, by=(1, 0), until=(0, 2))
    offset = torch.stack((1 - T, 2 * T), 1)
    torch.testing.assert_close(moved.evaluate(T), circle.evaluate(T) + offset)
    both = Sequence(paths=(circle, line), durations=(1.0, 3.0))
    torch.testing.assert_close(both.evaluate(T), join([circle, line], [1.0, 3.0]).evaluate(T))
    loop = Sequence(paths=(circle, line), loop=True)
    assert torch.equal(loop.start, loop.end)
    assert loop.length() == pytest.approx(2 * np.pi + 2 + 1 + np.hypot(2, 1), rel=1e-6)
    assert (loop.depth, loop.size) == (2, 0)


def test_a_drift_is_stationary_and_forgets():
    drift = Drift(centre=(1.0,) * 4000, steps=40, memory=8, seed=1, scale=2.0)
    half = torch.linspace(0, 1, 81, dtype=torch.float64)  # at the steps and half-way between
    z = drift.evaluate(half)
    for points in (z, drift.model_copy(update={"memory": 0.5}).evaluate(half)):
        torch.testing.assert_close(points.std(dim=1), torch.full((81,), 2.0).double(), rtol=0.06, atol=0)
    torch.testing.assert_close(z.mean(dim=1), torch.full((81,), 1.0).double(), rtol=0, atol=0.15)
    z = (z[::2] - 1) / 2
    for lag in (1, 4, 16):
        correlation = float((z[:-lag] * z[lag:]).mean())
        assert correlation == pytest.approx(np.exp(-lag / 8), abs=0.02)


def test_a_longer_drift_begins_with_the_shorter_one():
    short, long = (Drift(centre=(0.0, 0.0), steps=steps, seed=9) for steps in (50, 100))
    torch.testing.assert_close(short.evaluate(T), long.evaluate(T / 2))
