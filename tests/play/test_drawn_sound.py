"""A decoder that draws, played: the live render, replaced where orders come, and refused where it can't keep up."""

import numpy as np
import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.geometry.paths import Circle
from latentscape.instrument.drawn import DrawnVoice
from latentscape.models.vlae import GLIDE
from latentscape.play import sounding
from latentscape.play.engine import Player
from latentscape.play.envelope import Ramp
from latentscape.play.limiter import CEILING
from latentscape.play.limits import REPORTS, Bucket
from latentscape.play.load import Load
from latentscape.play.sounding import Sounding
from latentscape.play.stage import Stage
from streamed_run import RATE, streamed

FADE = round(sounding.FADE_SECONDS * RATE)
QUIET = 0.3  # what is drawn at random weights is loud; the limiter is to do nothing


class Free(Load):
    """Always at ease."""

    def worked(self, work, sound):
        """Nothing is too much."""


@pytest.fixture(scope="module", params=["codes", "slow-quick"])
def instrument(request):
    return streamed(request.param)


def playing(instrument, block):
    player = Player(instrument, block)
    player.load = Free()
    player._reports = Bucket(REPORTS, lambda: 0.0)
    player.sounding._level = Ramp(QUIET)
    player.submit(Sounding.play)
    circle = Circle(centre=[0.0] * instrument.dim, axes=[0, 1], radius=1.5)
    player.submit(lambda s: s.travel(circle, 19 * GLIDE / RATE, False))
    return player, circle


def joined(blocks):
    """Return the wave that a listener has in the end."""
    wave = np.zeros(0, np.float32)
    for block in blocks:
        assert block.first <= len(wave)
        wave = np.concatenate((wave[: block.first], block.wave[:, 0]))
    return wave


@pytest.mark.parametrize("block", [100, 256])
def test_a_path_sounds_as_it_is_rendered(instrument, block):
    player, circle = playing(instrument, block)
    wave = joined([player.render() for _ in range(19 * GLIDE // block)])
    whole = instrument.render(circle, 20 * GLIDE / RATE, quality="live")[0].numpy()
    assert np.abs(wave).max() < CEILING
    assert np.array_equal(wave[FADE:], (whole * np.float32(QUIET))[FADE : len(wave)])


def test_orders_replace_what_lies_ready_by_the_same_draws(instrument):
    away = torch.full((instrument.dim,), 1.5)
    (late, _), (soon, _) = playing(instrument, 100), playing(instrument, 100)
    kept = [late.render() for _ in range(14)]
    plain = joined(kept)
    for order in (lambda s: s.go(away), lambda s: s.tell({"voice": "high"})):
        late.submit(order)
    kept += [late.render(895 if number == 0 else None) for number in range(8)]
    assert kept[14].first == 900
    expected = [soon.render() for _ in range(9)]
    for order in (lambda s: s.go(away), lambda s: s.tell({"voice": "high"})):
        soon.submit(order)
    expected += [soon.render() for _ in range(8)]
    assert np.array_equal(joined(kept), joined(expected))
    assert not np.array_equal(joined(kept)[: len(plain)], plain)


def test_a_stage_says_how_it_keeps_up_and_refuses_what_can_not(monkeypatch):
    instrument = streamed("codes")
    paces = {}
    monkeypatch.setattr(DrawnVoice, "pace", lambda self, every=1: paces[every])
    for full, light, level, notice in (
        (5.0, 9.0, 0, ""),
        (0.9, 1.6, 1, ""),
        (1.1, 1.2, 1, "This machine draws the sound 1.2 times as fast as it is heard: it may stutter"),
        (1.1, 0.8, 1, "This machine draws the sound 1.1 times as fast"),
    ):
        paces.update({1: full, 2: light})
        stage = Stage(instrument)
        assert stage.level == level
        assert stage.notice.startswith(notice)
        assert bool(stage.notice) == bool(notice)
        assert stage.facts()["notice"] == stage.notice
        assert stage.facts()["step_seconds"] == GLIDE / RATE
    paces.update({1: 0.5, 2: 0.8})
    with pytest.raises(
        UsageError, match=r"lossy can't be played live here: this machine draws 0.8 s of its sound a sec"
    ):
        Stage(instrument)
