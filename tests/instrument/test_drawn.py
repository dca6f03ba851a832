"""The voice of a decoder that draws: the live render, bit for bit, however points are cut; copies; the slow course."""

import numpy as np
import pytest
import torch

from latentscape.core.errors import UsageError
from latentscape.geometry.paths import Line
from latentscape.instrument.drawn import DrawnVoice
from latentscape.models.vlae import GLIDE
from latentscape.nets.wavenet_sampler import Manner, uniforms
from streamed_run import KINDS, LATENT, RATE, streamed

SLOW = sorted(kind for kind in KINDS if "slow" in kind)
PLAIN = sorted(set(KINDS) - set(SLOW))
HIGH = {"voice": "high"}


@pytest.fixture(scope="module")
def players():
    return {kind: streamed(kind) for kind in sorted(KINDS)}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_pushes_are_the_live_render_and_its_blocks(players, kind):
    player = players[kind]
    points = torch.randn(10, player.dim)
    samples = 10 * GLIDE
    whole = player.render(points, samples / RATE, quality="live", labels=HIGH)
    for cuts in ([10], [1] * 10, [3, 0, 5, 2]):
        voice = player.voice(HIGH)
        waves = [voice.push(piece) for piece in points.split(cuts)]
        assert [wave.shape[1] for wave in waves] == [GLIDE * cut for cut in cuts]  # all that was drawn comes out
        assert voice.flush().shape[1] == 0
        assert voice.samples == samples
        assert torch.equal(torch.cat(waves, 1), whole)
    blocks = list(player.blocks(points, samples / RATE, 77, labels=HIGH))
    assert torch.equal(torch.cat(blocks, 1), whole)
    shorter = player.render(points, (samples - 100) / RATE, quality="live", labels=HIGH)
    assert torch.equal(shorter[:, :GLIDE], whole[:, :GLIDE])
    assert shorter.shape[1] == samples - 100
    assert not torch.equal(whole, player.render(points, samples / RATE, quality="live"))
    assert not torch.equal(whole, player.drawn(Manner(), 1).render(points, samples / RATE, quality="live", labels=HIGH))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_several_sounds_have_no_draws_in_common(players, kind):
    """What the code leaves open is drawn for each, so that draws of one code are different sounds."""
    player = players[kind]
    first, second = player.sample(2, 0.2, seed=5, temperature=0.0, labels=HIGH)[:, 0].numpy()
    inner = slice(RATE // 50, -RATE // 50)  # within the fades
    assert abs(np.corrcoef(first[inner], second[inner])[0, 1]) < 0.5
    assert np.array_equal(first, player.sample(1, 0.2, seed=5, temperature=0.0, labels=HIGH)[0, 0])
    varied = player.sample(2, 0.2, seed=5, temperature=0.0, vary=1, labels=HIGH)
    assert torch.equal(varied[0], varied[1])  # where one layer is heard alone, nothing else differs


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_copy_goes_on_as_its_original_and_leaves_it_alone(players, kind):
    player = players[kind]
    points = torch.randn(12, player.dim)
    whole, voice = player.voice(), player.voice()
    expected = torch.cat([whole.push(points[:5]), whole.push(points[5:], HIGH)], 1)
    begin = voice.push(points[:5])
    twins = [voice.copy() for _ in range(2)]
    other = twins[0].push(-points[5:], every=2)
    later = twins[1].push(points[5:8], HIGH)
    third = twins[1].copy()
    rest = [each.push(points[8:]) for each in (twins[1], third)]
    assert torch.equal(torch.cat([begin, voice.push(points[5:], HIGH)], 1), expected)
    for end in rest:
        assert torch.equal(torch.cat([begin, later, end], 1), expected)
    assert not torch.equal(other, later)
    assert twins[0].samples == voice.samples == twins[1].samples == 12 * GLIDE


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_point_changes_nothing_before_it_and_is_heard_at_once(players, kind):
    player = players[kind]
    points = torch.randn(8, player.dim)
    changed = points.clone()
    changed[4] += 2
    waves = [player.voice().push(one) for one in (points, changed)]
    assert torch.equal(*(wave[:, : 4 * GLIDE] for wave in waves))
    assert not torch.equal(*(wave[:, 4 * GLIDE : 5 * GLIDE] for wave in waves))


@pytest.mark.parametrize("kind", PLAIN)
def test_without_a_slow_sequence_live_is_the_render(players, kind):
    """Both glide alike: between windows, or along what the glide gave."""
    player = players[kind]
    points = torch.randn(5, player.dim)
    best = player.render(points, labels=HIGH)
    assert torch.equal(player.render(points, quality="live", labels=HIGH), best)
    line = Line(a=points[0].tolist(), b=points[1].tolist())
    pieces = line.evaluate(torch.linspace(0, 1, 4, dtype=torch.float64)).float()
    assert torch.equal(player.render(line, 0.1, quality="live"), player.voice().push(pieces)[:, :800])


@pytest.mark.parametrize("kind", SLOW)
def test_a_point_that_stays_is_windows_end_to_end(players, kind):
    player = players[kind]
    held = torch.randn(1, player.dim).expand(4, -1)
    best, live = player.render(held), player.render(held, quality="live")
    far = 2 * KINDS[kind]["hop"]  # the end of the render is the end of what is heard
    assert torch.equal(live[:, :-far], best[:, :-far])
    assert not torch.equal(best, player.render(-held))
    g = torch.cat([held[:, :LATENT], torch.randn(1, player.dim - LATENT).expand(4, -1)], 1)
    assert not torch.equal(live, player.render(g, quality="live"))  # the slow part is heard


@pytest.mark.parametrize("kind", SLOW)
def test_what_is_heard_live_is_the_past_as_it_was_and_the_course_of_the_point_now(players, kind):
    player, hop = players[kind], KINDS[kind]["hop"]
    steps = KINDS[kind]["length"] // hop
    points = torch.randn(9, player.dim)
    voice = player.voice()
    past, net = [], voice._wave.decoder.sampler("float32").net
    hold = net.upsampler.hold
    for piece, point in enumerate(points):
        start, end = piece * GLIDE, (piece + 1) * GLIDE
        course = player.unpack(point[None])[1][0]
        past = past[: start // hop]  # a step that sounds still is the point's
        series = [*past, *(course[:, step % steps] for step in range(len(past), end // hop + 5))]
        voice.push(point[None])
        part = voice._wave._part
        low, high = start // hold, end // hold
        heard = part.series[:, low - part.begin : high - part.begin]
        assert torch.allclose(heard, net.listen(torch.stack(series, 1)[None], end)[:, low:high], atol=1e-6)
        past = series[: -(-end // hop)]


def test_a_lighter_quality_reads_other_weights_and_goes_on(players):
    """The state is that of the full quality: given the same samples, the laws are as close as bfloat16 is."""
    player = players["slow-uneven"]
    points = torch.randn(6, player.dim)
    voice = player.voice()
    voice.push(points[:3])
    light = voice.copy()
    assert light.push(points[3:5], every=2).shape[1] == 2 * GLIDE
    assert light._wave._part.packed is player.decoder.sampler("bfloat16").packed
    assert light.push(points[5:]).shape[1] == GLIDE
    assert light._wave._part.packed is player.decoder.sampler("float32").packed
    laws = []
    for storage in ("float32", "bfloat16"):
        part = voice._wave._part.copy()
        part.packed = player.decoder.sampler(storage).packed
        values = np.full((1, 40), 3, np.float32)
        laws.append(part.advance(values, 40, uniforms(0, range(1), 40), True)[0])
    assert 0 < np.abs(laws[1] - laws[0]).max() < 0.05 * np.abs(laws[0]).max()


def test_the_pace_is_that_of_the_machine(players):
    voice = players["codes"].voice()
    assert isinstance(voice, DrawnVoice)
    assert voice.pace() > 0
    assert voice.pace(2) > 0
    assert voice.samples == 0
    assert torch.equal(voice.push(torch.zeros(1, 3)), players["codes"].voice().push(torch.zeros(1, 3)))


def test_what_is_not_known_is_refused(players):
    with pytest.raises(UsageError, match="not known"):
        players["codes"].voice({"voice": "middle"})
