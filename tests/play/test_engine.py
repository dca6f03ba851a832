"""The engine: what is ordered is heard from the next block on, without clicks, and what is silent costs nothing."""

import numpy as np
import pytest
import torch
from small_run import DIM, HOP, RATE, make_instrument

from latentscape.geometry.paths import Circle, Line
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.voice import Voice
from latentscape.play import engine, limiter, sounding
from latentscape.play.engine import Player
from latentscape.play.limiter import CEILING
from latentscape.play.limits import REPORTS, Bucket
from latentscape.play.sounding import Sounding

FADE = round(sounding.FADE_SECONDS * RATE)


def heard(player, blocks):
    made = [player.render() for _ in range(blocks)]
    return np.concatenate([block.wave for block in made]), made


def playing(instrument, block=HOP, **options):
    player = Player(instrument, block, **options)
    player.load.worked = lambda work, sound: None  # a busy machine changes nothing here
    player._reports = Bucket(REPORTS, lambda: 0.0)
    player.submit(Sounding.play)
    return player


CIRCLE = Circle(centre=[0.0] * DIM, axes=[0, 1], radius=1.0)


@pytest.mark.parametrize("block", [64, 100, 512])
def test_a_path_sounds_as_it_is_rendered(instrument, block):
    count = 200
    player = playing(instrument, block)
    player.submit(lambda p: p.travel(CIRCLE, (count - 1) * HOP / RATE, False))
    wave, made = heard(player, (count - 6) * HOP // block)
    whole = instrument.render(CIRCLE, count * HOP / RATE, quality="live")[0].numpy()
    assert [b.first for b in made] == list(range(0, len(wave), block))
    assert np.array_equal(wave[FADE:, 0], whole[FADE : len(wave)])
    ramp = np.arange(1, FADE + 1) / FADE
    np.testing.assert_allclose(wave[:FADE, 0], whole[:FADE] * ramp, atol=1e-6)


def test_an_order_is_obeyed_by_the_next_block_and_told_of(instrument):
    players = [playing(instrument) for _ in range(2)]
    for player in players:
        player.submit(lambda p: p.go(torch.zeros(DIM)))
        heard(player, 20)
        player._reports = Bucket(REPORTS, lambda: 0.0)
    players[1].submit(lambda p: p.go(torch.full((DIM,), 2.0)), seq=7)
    (a, _), (b, made) = heard(players[0], 10), heard(players[1], 10)
    report = made[0].report
    assert (report.seq, report.sample) == (7, made[0].first)
    assert report.code.norm() > 0.5  # a third of the way, at once
    first = int(np.argmax(np.abs(a - b)[:, 0] > 1e-6))
    assert 0 < first <= 2 * HOP  # the voice looks ahead: the window begins with nothing
    assert len([block for block in made if block.report]) <= REPORTS.burst


def test_nothing_clicks(instrument):
    player = playing(instrument)
    heard(player, 30)
    steady, _ = heard(player, 100)
    player.submit(lambda p: p.go(torch.tensor([3.0, -2.0, 1.0, 0.5])))
    jumped, _ = heard(player, 100)
    assert np.abs(np.diff(jumped[:, 0])).max() < 3 * np.abs(np.diff(steady[:, 0])).max() + 0.05
    assert player.sounding.motion.next().tolist() == [3.0, -2.0, 1.0, 0.5]


def test_play_stop_play(instrument):
    player = Player(instrument, HOP)
    assert player.render() is None
    assert not player.wakes
    player.submit(Sounding.play)
    assert player.wakes
    first, _ = heard(player, 20)
    assert np.abs(first).max() > 1e-4
    player.submit(Sounding.stop)
    last = player.render()
    assert np.abs(last.wave[:FADE]).max() > 0
    assert not last.wave[FADE:].any()
    assert player.render() is None
    player.submit(Sounding.play)
    again = player.render()
    assert again.first == last.first + HOP
    assert again.wave.any()  # from the first block on: a new voice is primed


def test_keys_gate_and_tell_the_pitch(instrument, stage):
    player = playing(instrument)
    told = []
    pitch = lambda midi: told.append(midi) or stage.pitch(midi)  # noqa: E731
    player.submit(lambda p: p.set_keys(True))
    heard(player, 40)
    assert not heard(player, 5)[0].any()
    player.submit(lambda p: p.note(59, 1.0, pitch))
    assert heard(player, 1)[0].any()
    assert player.sounding.labels == {"midi": "60"}
    loud = np.abs(heard(player, 40)[0]).max()
    player.submit(lambda p: p.note(71, 0.5, pitch))
    assert heard(player, 40)[0].any()
    player.submit(lambda p: p.note(71, None, pitch))  # back to the key that is held
    heard(player, 1)
    assert told == [59, 71, 59]
    player.submit(lambda p: p.note(59, None, pitch))
    released, _ = heard(player, 20)
    assert 0 < np.abs(released).max() <= 1.2 * loud
    assert not heard(player, 3)[0].any()
    player.submit(lambda p: p.set_keys(False))
    assert heard(player, 2)[0].any()


def test_labels_change_the_sound_and_silence_makes_no_voice(instrument, monkeypatch):
    players = [playing(instrument) for _ in range(2)]
    for player in players:
        heard(player, 10)
    players[1].submit(lambda p: p.tell({"midi": "72"}))
    a, b = (heard(player, 20)[0] for player in players)
    assert np.abs(a - b).max() > 1e-4
    players[1].submit(lambda p: p.tell({"midi": None}))
    heard(players[1], 1)
    assert players[1].sounding.labels == {}
    players[0].submit(lambda p: p.set_keys(True))
    heard(players[0], 40)
    monkeypatch.setattr(Instrument, "voice", None)
    assert not heard(players[0], 5)[0].any()


def test_levels_and_offsets(instrument):
    players = [playing(instrument) for _ in range(2)]
    for player in players:
        heard(player, 20)
    players[1].submit(lambda p: p.set_level(0.5))
    a, b = (heard(player, 30)[0] for player in players)
    np.testing.assert_allclose(b[-640:], 0.5 * a[-640:], atol=1e-6)
    for name, offset in (("one", 1.0), ("two", 2.0), ("one", 0.5)):
        step = torch.full((DIM,), offset)
        players[0].submit(lambda p, name=name, step=step: p.shift(name, step))
        heard(players[0], 10)
    report = players[0].sounding._report(0, players[0].sounding.motion.next())
    torch.testing.assert_close(report.code - report.base, torch.full((DIM,), 2.5))
    torch.testing.assert_close(report.base, instrument.centre)


def test_what_is_too_loud_is_held_at_the_ceiling_without_a_click(instrument):
    """Twelve decibels too much, by the level: the same sound, quieter, and as it is again when the level comes back."""
    players = [playing(instrument) for _ in range(2)]
    for player in players:
        player.submit(lambda p: p.travel(CIRCLE, 1.0, True))
        heard(player, 20)
    peak = np.abs(heard(players[0], 30)[0]).max()
    heard(players[1], 30)
    players[1].submit(lambda p: p.set_level(4 * CEILING / float(peak)))
    (a, _), (b, _) = heard(players[0], 60), heard(players[1], 60)
    assert 0.8 * CEILING < np.abs(b).max() <= np.float32(CEILING)
    louder = np.abs(a[640:, 0]) > 0.1 * peak
    gain = 20 * np.log10(b[640:, 0][louder] / a[640:, 0][louder])
    assert np.ptp(gain) < 6
    players[1].submit(lambda p: p.set_level(1.0))
    seconds = 12 / limiter.RELEASE_DB + 0.5
    blocks = round(seconds * RATE / HOP)
    (a, _), (b, _) = heard(players[0], blocks), heard(players[1], blocks)
    assert np.array_equal(a[-HOP:], b[-HOP:])


def test_sound_that_is_not_finite_is_left_out(instrument):
    player = playing(instrument)
    heard(player, 10)
    player.submit(lambda p: p.go(torch.full((DIM,), 1e6), 0.0))
    wave, _ = heard(player, 10)
    assert np.isfinite(wave).all()
    assert np.abs(wave).max() <= CEILING
    player.submit(lambda p: p.go(torch.zeros(DIM), 0.0))
    heard(player, 10)
    assert heard(player, 10)[0].any()


def test_a_voice_that_fails_is_begun_anew(instrument, monkeypatch):
    player = playing(instrument)
    heard(player, 5)
    push = Voice.push
    monkeypatch.setattr(Voice, "push", lambda *a, **o: push(*a, **o) * float("nan"))
    wave, made = heard(player, 3)
    assert not wave.any()
    assert "not finite" in made[0].errors[0]
    monkeypatch.undo()
    assert heard(player, 5)[0].any()


def test_an_order_that_fails_says_so_and_nothing_else_stops(instrument):
    player = playing(instrument)
    player.submit(lambda p: p.tell({"midi": "61"}))
    _, made = heard(player, 3)
    assert any("61" in error for error in made[0].errors)
    player.submit(lambda p: p.tell({"midi": "60"}))
    assert heard(player, 5)[0].any()


def test_too_many_orders(instrument, monkeypatch):
    monkeypatch.setattr(engine, "MOST_ORDERS", 3)
    player = Player(instrument)
    for _ in range(3):
        player.submit(Sounding.play)
    with pytest.raises(engine.UsageError, match="slow down"):
        player.submit(Sounding.play)


def test_a_model_without_pitch_is_only_gated():
    player = playing(make_instrument(condition=()))
    player.submit(lambda p: p.set_keys(True))
    heard(player, 30)
    player.submit(lambda p: p.note(60, 0.7, lambda midi: {}))
    assert heard(player, 5)[0].any()


def test_a_light_quality_decodes_half_and_sounds_close(instrument, monkeypatch):
    decoded = []
    decode = Voice._decode
    monkeypatch.setattr(Voice, "_decode", lambda self, z: decoded.append(1) or decode(self, z))
    line = Line(a=[-0.5] * DIM, b=[0.5] * DIM)
    waves = []
    for level in (0, 1):
        decoded.clear()
        player = playing(instrument)
        player.load.level = level
        player.submit(lambda p: p.travel(line, 2.0, False))
        waves.append(heard(player, 200)[0])
        assert len(decoded) == pytest.approx(200 / (1 + level), abs=5)
    power = [float((wave[1000:] ** 2).mean()) for wave in waves]
    assert power[1] == pytest.approx(power[0], rel=0.2)
