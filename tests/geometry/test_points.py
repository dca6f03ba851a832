import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.geometry.paths import Polyline, Recorded, Spline
from latentscape.laws.path import check_path


def cloud(count=6, dim=3, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 2**31), st.booleans(), st.sampled_from(["centripetal", "uniform", "chord"]))  # fmt: skip
def test_a_spline_meets_its_points_and_bends_without_corners(count, dim, seed, closed, knots):
    points = cloud(count, dim, seed)
    path = Spline(points=points, closed=closed, knots=knots)
    met = path.evaluate(path.times)
    torch.testing.assert_close(met[:count], points, rtol=0, atol=1e-9)
    gaps = torch.cat((points, points[:1])).diff(dim=0).norm(dim=1)[: count if closed else count - 1]
    weights = gaps ** {"centripetal": 0.5, "uniform": 0.0, "chord": 1.0}[knots]
    torch.testing.assert_close(path.times.diff(), weights / weights.sum())
    acceleration = torch.func.jvp(path.velocity, (path.times,), (torch.ones_like(path.times),))[1]
    before = (path.times - 1e-9).clamp(0, 1)  # the piece on the other side
    left = torch.func.jvp(path.velocity, (before,), (torch.ones_like(before),))[1]
    size = 1 + float(acceleration.abs().max())
    assert (acceleration[1:-1] - left[1:-1]).abs().max() < 1e-4 * size if len(left) > 2 else True
    first, last = acceleration[0], left[-1]
    if closed:
        torch.testing.assert_close(
            path.velocity(path.times[:1]), path.velocity(path.times[-1:]), atol=1e-6 * size, rtol=0
        )
        assert (first - last).abs().max() < 1e-4 * size
    else:
        assert max(float(first.abs().max()), float(last.abs().max())) < 1e-4 * size


def test_a_spline_of_points_on_a_line_is_the_line():
    path = Spline(points=((0, 0), (1, 2), (3, 6)), knots="chord")
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    torch.testing.assert_close(path.evaluate(t), t[:, None] * torch.tensor([3.0, 6.0], dtype=torch.float64))


def test_a_closed_spline_of_a_circle_is_nearly_one():
    angle = torch.arange(12) * (torch.pi / 6)
    path = Spline(points=torch.stack((angle.cos(), angle.sin()), 1), closed=True)
    radius = path.evaluate(torch.linspace(0, 1, 500, dtype=torch.float64)).norm(dim=1)
    assert (radius - 1).abs().max() < 1e-3
    assert path.length() == pytest.approx(2 * np.pi, rel=1e-3)


def test_centripetal_knots_swing_out_less_than_uniform_ones():
    points = ((0.0, 0.0), (10.0, 0.0), (10.0, 0.1), (0.0, 0.1))
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    beyond = {
        knots: float(Spline(points=points, knots=knots).evaluate(t)[:, 0].max()) - 10
        for knots in ("uniform", "centripetal")
    }
    assert beyond["centripetal"] < 0.6 * beyond["uniform"], beyond


def test_neighbours_that_are_equal_are_one_point():
    a, b, c = cloud(3).tolist()
    assert (
        Spline(points=(a, a, b, b, b, c)).evaluate(torch.linspace(0, 1, 9)).tolist()
        == Spline(points=(a, b, c)).evaluate(torch.linspace(0, 1, 9)).tolist()
    )


def test_a_polyline_is_numpys():
    points, times = cloud(5, 2), (0.0, 0.3, 0.35, 0.9, 1.0)
    t = np.linspace(0, 1, 101)
    for path, knots in ((Polyline(points=points, times=times), times), (Recorded(points=points), np.linspace(0, 1, 5))):
        z = path.evaluate(torch.from_numpy(t)).numpy()
        np.testing.assert_allclose(
            z, np.stack([np.interp(t, knots, column) for column in points.T.numpy()], 1), atol=1e-12
        )
        assert path.length() == pytest.approx(float(points.diff(dim=0).norm(dim=1).sum()), rel=1e-9)


def test_times_that_float32_takes_for_one_do_no_harm():
    path = Polyline(points=((0,), (1,), (5,)), times=(0, 1 - 1e-12, 1))
    assert torch.equal(path.evaluate(torch.tensor([0.0, 1.0])), torch.tensor([[0.0], [5.0]]))
    check_path(Spline(points=torch.cat((cloud(4), cloud(4) + 1e-9))))


def test_a_hundred_thousand_points_are_a_path():
    points = cloud(100_000, 2).cumsum(0)
    torch.testing.assert_close(
        Polyline(points=points).evaluate(torch.linspace(0, 1, 100_000, dtype=torch.float64)), points, atol=1e-6, rtol=0
    )
    some = Polyline(points=points[:20_000])
    assert some.length() == pytest.approx(float(points[:20_000].diff(dim=0).norm(dim=1).sum()), rel=1e-9)
