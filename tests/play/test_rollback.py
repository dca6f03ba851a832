"""What lies ready is replaced where an order comes: by the same sound, up to the order."""

import numpy as np
import pytest
import torch
from small_run import DIM, HOP, RATE

from latentscape.core.errors import UsageError
from latentscape.geometry.paths import Circle
from latentscape.play.ear import FIRST_MARGIN, LEAST_MARGIN, MOST_MARGIN, TRUST_SECONDS, Ear
from latentscape.play.engine import Player
from latentscape.play.limits import REPORTS, Bucket
from latentscape.play.load import Load
from latentscape.play.sounding import Sounding

CIRCLE = Circle(centre=[0.0] * DIM, axes=[0, 1], radius=1.5)
AWAY = torch.tensor([2.0, -1.0, 0.5, 0.0])
ORDERS = {
    "go": lambda s: s.go(AWAY),
    "travel": lambda s: s.travel(CIRCLE, 0.3, True),
    "shift": lambda s: s.shift("one", AWAY),
    "tell": lambda s: s.tell({"midi": "72"}),
    "level": lambda s: s.set_level(0.3),
    "stop": Sounding.stop,
    "keys": lambda s: s.set_keys(True),
    "pace": lambda s: s.motion.set_pace(3.0),
}


class Free(Load):
    """Always at ease."""

    def worked(self, work, sound):
        """Nothing is too much."""


def playing(instrument, block=HOP):
    player = Player(instrument, block)
    player.load = Free()
    player._reports = Bucket(REPORTS, lambda: 0.0)
    player.submit(Sounding.play)
    player.submit(lambda s: s.travel(CIRCLE, 0.5, True))
    return player


def hear(player, blocks, free=None):
    """Return what is heard of so many more blocks, and of what they replace nothing."""
    made = [player.render(free if number == 0 else None) for number in range(blocks)]
    return [block for block in made if block is not None]


def joined(blocks):
    """Return the wave that a listener has in the end."""
    wave = np.zeros((0, 1), np.float32)
    for block in blocks:
        assert block.first <= len(wave)
        wave = np.concatenate((wave[: block.first], block.wave))
    return wave


@pytest.mark.parametrize("name", sorted(ORDERS))
@pytest.mark.parametrize("block", [HOP, 100])
def test_an_order_is_heard_where_it_can_be_as_if_nothing_had_been_ready(instrument, name, block):
    order = ORDERS[name]
    late, soon = playing(instrument, block), playing(instrument, block)
    before = hear(late, 14)
    late.submit(order, seq=3)
    free = 9 * block - 5
    after = hear(late, 8, free)
    assert after[0].first == 9 * block  # the first that begins where it may
    expected = hear(soon, 9)
    soon.submit(order, seq=3)
    expected += hear(soon, 8)
    assert np.array_equal(joined(before + after), joined(expected))
    assert after[0].report.seq == 3 or name in ("stop", "keys")


def test_orders_that_came_since_are_obeyed_again_where_they_were(instrument):
    heard, straight = playing(instrument), playing(instrument)
    kept = hear(heard, 10)
    wanted = hear(straight, 10)
    for number, name in enumerate(("tell", "shift", "level"), 1):
        heard.submit(ORDERS[name], seq=number)
        kept += hear(heard, 6)
        straight.submit(ORDERS[name], seq=number)
        wanted += hear(straight, 6)
    # at the block where "tell" was obeyed, before the last order: all of them there
    heard.submit(ORDERS["go"], seq=4)
    kept += hear(heard, 8, 10 * HOP)
    plain = playing(instrument)
    expected = hear(plain, 10)
    for number, name in enumerate(("tell", "shift", "level", "go"), 1):
        plain.submit(ORDERS[name], seq=number)
    expected += hear(plain, 8)
    assert np.array_equal(joined(kept), joined(expected))
    assert not np.array_equal(joined(wanted)[: 18 * HOP], joined(expected))


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_an_order_obeyed_too_late_is_heard_sooner_once_it_may_be(instrument, name):
    player = playing(instrument)
    kept = hear(player, 12)
    player.submit(ORDERS[name], seq=1)
    kept += hear(player, 1)  # too soon after another replacement: behind what lies ready
    assert player.outdated(8 * HOP)
    kept += hear(player, 1, 8 * HOP)
    assert kept[-1].first == 8 * HOP
    assert not player.outdated(8 * HOP)
    kept += hear(player, 4)
    plain = playing(instrument)
    expected = hear(plain, 8)
    plain.submit(ORDERS[name], seq=1)
    expected += hear(plain, 5)
    assert np.array_equal(joined(kept), joined(expected))


def test_nothing_is_replaced_without_an_order_or_where_all_is_heard(instrument):
    player = playing(instrument)
    hear(player, 10)
    assert not player.outdated(0)
    player.submit(ORDERS["go"])
    assert player.outdated(9 * HOP)
    assert not player.outdated(9 * HOP + 1)
    assert hear(player, 1, 9 * HOP + 1)[0].first == 10 * HOP


def test_a_busy_engine_replaces_nothing(instrument):
    player = playing(instrument)
    hear(player, 10)
    player.load.load = 0.6
    player.submit(ORDERS["go"])
    assert not player.outdated(0)
    assert hear(player, 1, 0)[0].first == 10 * HOP
    player.load.load = 0.4
    assert player.outdated(0)


def test_work_that_is_done_twice_counts_twice():
    once, twice = Load(), Load()
    for _ in range(200):
        once.worked(0.002, 0.01)
        twice.repeats(0.03)
        for _ in range(4):
            twice.worked(0.002, 0.01)
    assert once.load == pytest.approx(0.2, rel=1e-3)
    assert twice.load == pytest.approx(0.8, rel=1e-3)


def test_a_wrong_order_that_is_obeyed_again_stops_nothing(instrument):
    player = playing(instrument)
    hear(player, 10)
    player.submit(lambda s: s.tell({"midi": "61"}))
    assert player.render().errors
    player.submit(ORDERS["go"], seq=2)
    block = player.render(10 * HOP)
    assert block.first == 10 * HOP
    assert "61" in block.errors[0]
    assert player.sounding.seq == 2
    with pytest.raises(UsageError):
        player.sounding.tell({"midi": "61"})


def test_the_ear_hears_no_less_than_told_and_frees_no_more_than_may_be_left():
    ear = Ear(RATE, 0.0)
    told = 0
    for number in range(60):  # a listener that plays on, told with delays of 0 to 15 ms
        now = 0.02 * number
        told = round(RATE * now)
        ear.tell(told, 0, 0, now + 0.005 * (number % 4))
    late = now + 0.5
    assert ear.heard(now + 0.1) == pytest.approx(told + RATE * (0.1 - 0.015), abs=1)
    assert ear.heard(late) == pytest.approx(told + RATE * TRUST_SECONDS, abs=1)
    assert ear.free(now + 0.1) == pytest.approx(RATE * (now + 0.1 + ear.margin), abs=2)  # by the quickest
    assert ear.silence(late) == pytest.approx(late - now - 0.015)
    ear.tell(told, 0, 0, late)  # it stood still
    assert ear.free(late) == pytest.approx(told + RATE * ear.margin, abs=1)


def test_the_margin_grows_by_what_came_too_late_and_shrinks_again():
    ear = Ear(RATE, 0.0)
    assert ear.margin == FIRST_MARGIN
    assert not ear.tell(100, 0, 1, 0.02)
    assert ear.margin == 1.5 * FIRST_MARGIN
    assert ear.tell(200, 1, 1, 0.04)
    assert ear.margin < 1.5 * FIRST_MARGIN
    assert not ear.tell(300, 1, 1, 0.06)
    for late in range(2, 20):
        ear.tell(300 + late, 1, late, 0.06)
    assert ear.margin == MOST_MARGIN
    for number in range(3000):
        ear.tell(1000 + number, 1, 3, 0.1)  # a count that falls is no news
    assert ear.margin == LEAST_MARGIN
