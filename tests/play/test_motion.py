"""Motion follows paths exactly, glides over what is told anew; gains, load and bounds do as they say."""

import numpy as np
import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.geometry.paths import Circle, Line, Lissajous
from latentscape.play import limits, load
from latentscape.play.envelope import Ramp
from latentscape.play.limits import Bucket, Rate, read_json
from latentscape.play.load import Load
from latentscape.play.motion import GLIDE, Motion

STEP = 0.01
LINE = Line(a=[0.0, 0.0], b=[1.0, -1.0])
CIRCLE = Circle(centre=[0.0, 0.0], axes=[0, 1], radius=1.0)


def walked(motion, count):
    return torch.stack([motion.next() for _ in range(count)])


def expected(path, places):
    return path.evaluate(torch.as_tensor(places, dtype=torch.float64)).float()


def test_a_path_is_met_exactly_after_the_glide_and_held_at_its_end():
    motion = Motion(torch.tensor([5.0, 5.0]), STEP)
    motion.next()
    motion.travel(LINE, 1.0, False, GLIDE)
    points = walked(motion, 130)
    places = np.minimum(np.arange(130) * STEP, 1.0)
    steps = round(GLIDE / STEP)
    assert torch.equal(points[steps:], expected(LINE, places)[steps:])
    jump = torch.diff(torch.cat((torch.tensor([[5.0, 5.0]]), points)), dim=0).norm(dim=1).max()
    assert jump < 1.05 * 50**0.5 / steps
    assert motion.share == 1.0


def test_loops_bounces_and_pace():
    for path, loop, places in (
        (CIRCLE, True, np.arange(250) * STEP % 1),
        (LINE, "bounce", 1 - np.abs(1 - np.arange(250) * STEP % 2)),
    ):
        motion = Motion(torch.zeros(2), STEP)
        motion.travel(path, 1.0, loop, 0.0)
        assert torch.allclose(walked(motion, 250), expected(path, places), atol=1e-6)
    motion = Motion(torch.zeros(2), STEP)
    motion.travel(LINE, 1.0, True, 0.0)
    points = walked(motion, 105)
    assert points.diff(dim=0).norm(dim=1).max() < 0.5  # an open loop glides back to its begin
    assert torch.allclose(points[104], expected(LINE, [0.04])[0], atol=1e-6)
    motion.set_pace(2.0)
    walked(motion, 10)
    assert motion.share == pytest.approx(0.25)
    motion.set_pace(-1.0)
    walked(motion, 10)
    assert motion.share == pytest.approx(0.15)
    motion.set_pace(0.0)
    assert torch.equal(walked(motion, 3)[0], walked(motion, 3)[2])
    motion.set_pace(1.0)
    motion.hold = True
    assert torch.equal(walked(motion, 3)[0], walked(motion, 3)[2])
    motion.hold = False
    walked(motion, 10)
    assert motion.share == pytest.approx(0.25)


def test_offsets_and_silence():
    motion = Motion(torch.zeros(2), STEP)
    motion.shift(torch.tensor([0.0, 3.0]), GLIDE)
    torch.testing.assert_close(walked(motion, 3), torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]))
    motion.go(torch.tensor([9.0, 0.0]), 1.0)
    motion.settle()  # nothing is heard: at once
    assert motion.next().tolist() == [9.0, 3.0]
    assert motion.share is None


def test_ramps():
    ramp = Ramp(0.0)
    assert ramp.silent
    ramp.to(1.0, 4)
    assert ramp.take(3).tolist() == [0.25, 0.5, 0.75]
    assert ramp.take(3).tolist() == [1.0, 1.0, 1.0]
    assert ramp.take(5) == 1.0
    ramp.to(0.0, 2)
    assert ramp.take(2).tolist() == [0.5, 0.0]
    assert ramp.silent


def test_load_gives_up_quality_at_once_and_comes_back_slowly():
    state = Load()
    for _ in range(200):
        state.worked(0.001, 0.01)
    assert (state.level, state.every) == (0, 1)
    for _ in range(80):
        state.worked(0.012, 0.01)
    assert (state.level, state.every) == (2, 2)
    back = 0
    while state.level:
        state.worked(0.001, 0.01)
        back += 1
    assert 2 * load.PATIENCE_SECONDS < back * 0.01 < 2 * load.MOST_PATIENCE_SECONDS
    for _ in range(100):
        state.worked(0.001, 0.01)
    state.starved()
    assert state.level == 0  # not for lack of time
    for _ in range(100):
        state.worked(0.005, 0.01)
    state.starved()
    assert state.level == 1


def test_buckets():
    now = [0.0]
    bucket = Bucket(Rate(10, 5), lambda: now[0])
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    now[0] = 0.25
    assert [bucket.take(2), bucket.take(1)] == [True, False]
    now[0] = 0.45
    assert not bucket.take(1, keep=2)
    assert bucket.take(1, keep=1)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", "nul", '{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe{}",
     '{"a":' + "9" * 5000 + "}"],
)  # fmt: skip
def test_json_that_can_do_harm(text):
    with pytest.raises(UsageError, match="message"):
        read_json(text)


def test_json():
    assert read_json('{"a": [1, 2.5]}') == {"a": [1, 2.5]}
    assert limits.MESSAGE_BYTES > 2000 * 64 * 12


def test_a_figure_that_crosses_its_begin_half_way_is_closed():
    """Sines are at their centre at the begin, in the middle and at the end."""
    figure = Lissajous(centre=[0.6, -0.4], axes=[0, 1], radius=[2.0, 1.0])
    motion = Motion(figure.start.float(), 0.01)
    motion.travel(figure, 1.0, True, 0.0)
    points = torch.stack([motion.next() for _ in range(300)])
    expected = figure.evaluate(torch.arange(300, dtype=torch.float64) % 100 / 100).float()
    torch.testing.assert_close(points[1:], expected[1:], atol=1e-5, rtol=0)
