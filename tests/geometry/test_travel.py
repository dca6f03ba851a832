import math

import numpy as np
import pytest
import torch
from scipy.special import ellipe

from latentscape.core.errors import UsageError
from latentscape.geometry.path import Path
from latentscape.geometry.paths import Circle, Grid, Line, Spiral
from latentscape.geometry.travel import Rounds, Travel, join, resample, travel
from latentscape.laws.path import check_path


class Eased(Path):
    """A line whose speed is zero at both ends and for its middle third."""

    dim = 2

    @property
    def breaks(self):
        return (1 / 3, 2 / 3)

    def evaluate(self, t):
        first, last = (3 * t).clamp(0, 1), (3 * t - 2).clamp(0, 1)
        s = (first**2 * (3 - 2 * first) + last**2 * (3 - 2 * last)) / 2
        return torch.stack((s, 2 * s), 1)


def test_lengths_meet_the_closed_forms():
    assert Line(a=(0, 0), b=(3, 4)).length() == pytest.approx(5, rel=1e-12)
    ellipse = Circle(centre=(0, 0), radius=(3.0, 1.0))
    assert ellipse.length() == pytest.approx(4 * 3 * ellipe(1 - 1 / 9), rel=1e-8)
    spiral = Spiral(centre=(0, 0), inner=0.0, outer=1.0, turns=2)
    turn = 4 * math.pi  # archimedean: (turn sqrt(1 + turn^2) + asinh turn) / (2 turn)
    assert spiral.length() == pytest.approx((turn * math.hypot(1, turn) + math.asinh(turn)) / (2 * turn), rel=1e-8)


@pytest.mark.parametrize(
    "path",
    [
        Circle(centre=(1, 2), radius=(3.0, 0.2)),
        Spiral(centre=(0, 0), outer=2.0),
        Grid(centre=(0, 0), low=(-1, -1), high=(1, 1)),
        Eased(),
    ],
    ids=lambda path: type(path).__name__,
)
def test_travel_obeys_the_laws(path):
    steady = travel(path)
    check_path(steady, start=path.start, end=path.end)
    assert steady.length() == pytest.approx(path.length(), rel=1e-6)
    assert travel(steady) is steady


def test_travel_is_where_numpy_finds_it():
    path = Circle(centre=(0, 0), radius=(3.0, 1.0))
    t = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    way = np.concatenate(([0], np.cumsum(path.evaluate(t).diff(dim=0).norm(dim=1).numpy())))
    u = np.linspace(0, 1, 41)
    expected = path.evaluate(torch.from_numpy(np.interp(u * way[-1], way, t.numpy())))
    torch.testing.assert_close(travel(path).evaluate(torch.from_numpy(u)), expected, atol=1e-6, rtol=0)


def test_resample_spaces_points_evenly():
    z = resample(Spiral(centre=(0, 0), inner=1.0, outer=1.2, turns=1), 200)
    steps = z.diff(dim=0).norm(dim=1)
    assert steps.std() / steps.mean() < 1e-3
    assert z.dtype == torch.float32


def test_a_path_that_stays_travels_nowhere():
    still = Line(a=(1, 1), b=(1, 1))
    assert travel(still) is still
    with pytest.raises(UsageError, match="length 0"):
        Travel(still)


def test_join_bridges_gaps():
    parts = [Line(a=(0, 0), b=(1, 0)), Line(a=(1, 2), b=(0, 2)), Circle(centre=(-1, 2), radius=1.0)]
    joined = join(parts)
    check_path(joined, start=torch.tensor([0.0, 0.0]), end=torch.tensor([0.0, 2.0]))
    assert joined.length() == pytest.approx(1 + 2 + 1 + 2 * math.pi, rel=1e-6)
    assert len(joined.breaks) == 3
    check_path(join([joined, joined], [1.0, 3.0]))


def test_join_keeps_durations_and_rests():
    rest, move = Line(a=(1, 1), b=(1, 1)), Line(a=(1, 1), b=(2, 2))
    joined = join([rest, move], [1.0, 3.0])
    z = joined.evaluate(torch.tensor([0.0, 0.25, 0.625]))
    torch.testing.assert_close(z, torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.5, 1.5]]))
    assert torch.equal(join([rest]).evaluate(torch.tensor([0.5])), torch.ones(1, 2))


@pytest.mark.parametrize("short", [1e-3, 1e-9, 1e-20])
def test_what_is_short_beside_the_others_is_met_to_its_end(short):
    path = join([Line(a=(0, 0), b=(1, 0)), Line(a=(1, 0), b=(1, short))])
    torch.testing.assert_close(path.end, torch.tensor([1.0, short if short > 1e-12 else 0.0]), rtol=1e-5, atol=0)
    assert path.length() == pytest.approx(1 + short)
    hasty = join([Line(a=(0, 0), b=(1, 0)), Line(a=(1, 0), b=(1, 2))], [1.0, short])
    assert hasty.length() == pytest.approx(3 if short > 1e-12 else 1, rel=1e-6)


@pytest.mark.parametrize(
    ("paths", "durations", "message"),
    [
        ([], None, "no path"),
        ([Line(a=(0,), b=(1,)), Line(a=(0, 0), b=(1, 1))], None, r"widths \[1, 2\]"),
        ([Line(a=(0,), b=(1,))], [0.0], "durations"),
        ([Line(a=(0,), b=(1,))], [1.0, 1.0], "durations"),
    ],
)
def test_what_cannot_be_joined(paths, durations, message):
    with pytest.raises(UsageError, match=message):
        join(paths, durations)


class Broken(Path):
    """Breaks one law, by name."""

    dim = 2

    def __init__(self, law):
        self.law = law

    def evaluate(self, t):
        z = torch.stack((t, t**2), 1)
        match self.law:
            case "jump":
                z = z + (t[:, None] > 0.5)
            case "finite":
                z = z / (t[:, None] != 0.25)
            case "dtype":
                z = z.float()
        return z

    def velocity(self, t):
        return super().velocity(t) * (1.01 if self.law == "velocity" else 1)


@pytest.mark.parametrize("law", ["jump", "finite", "dtype", "velocity", "end"])
def test_the_law_catches(law):
    with pytest.raises(AssertionError):
        check_path(Broken(law), end=torch.tensor([1.0, 2.0]) if law == "end" else None)


def test_a_closed_path_goes_round_and_round():
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    lines = [Line(a=a.tolist(), b=b.tolist()) for a, b in zip(corners, corners.roll(-1, 0), strict=True)]
    way = join(lines, [1.0, 1.0, 1.0])
    rounds = Rounds(way, 2.5)
    t = torch.linspace(0, 0.9, 50, dtype=torch.float64)
    torch.testing.assert_close(rounds.evaluate(t / 2.5), way.evaluate(t))
    torch.testing.assert_close(rounds.evaluate((1 + t) / 2.5), way.evaluate(t))
    assert rounds.breaks == pytest.approx([number / 7.5 for number in range(1, 8)])
    assert rounds.length() == pytest.approx(2 * way.length() + 1 + 2**0.5 / 2, rel=1e-6)
    with pytest.raises(UsageError, match=r"line ends 1\.4 from where it begins"):
        Rounds(Line(a=[1.0, 0.0], b=[0.0, 1.0]), 2.0)
