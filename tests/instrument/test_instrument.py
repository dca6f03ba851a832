import math

import pytest
import torch
from identity_model import Identity

from latentscape.core.errors import DataError, UsageError
from latentscape.geometry.paths import Circle, Line
from latentscape.geometry.travel import Rounds, join
from latentscape.instrument import stream
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.instrument.timing import stretch
from latentscape.measure.seams import seam_course, seam_energy
from latentscape.registry import Window
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

RATE = 8000
LOG = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
WAVE = Waveform(WaveformConfig(sample_rate=RATE))
EXACT = Stft(StftConfig(sample_rate=RATE, window=256, hop=64))


def tone(seconds=0.3, frequency=440.0):
    time = torch.arange(round(seconds * RATE)) / RATE
    return 0.5 * (torch.sin(2 * torch.pi * frequency * time) + 0.5 * torch.sin(4.1 * torch.pi * frequency * time))[None]


def instrument(representation=LOG, window=Window(), chart=None, **options):
    model = Identity(window.event_shape(representation.frame_size), **options)
    vocabulary = {"family": ("bell", "reed")} if options.get("label") else {}
    return Instrument(model, representation, window, vocabulary, chart)


def snr(reference, estimate):
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum()))


@pytest.mark.parametrize("window", [Window(), Window(length=8, hop=8), Window(length=5, hop=1)], ids=str)
@pytest.mark.parametrize("layers", [1, 2])
def test_decode_undoes_encode_in_features(window, layers):
    player = instrument(window=window, layers=layers).model.train() and instrument(window=window, layers=layers)
    wave = tone()
    z = player.encode(wave)
    features = LOG.analyse(wave[None])[0]
    assert z.shape[1] == player.dim
    decoded = player.decode(z)
    torch.testing.assert_close(decoded[:, : features.shape[1]], features, atol=1e-3, rtol=0)
    assert (decoded[:, features.shape[1] :] == LOG.floor).all()


def test_encode_is_the_posterior_mean_in_evaluation_and_leaves_the_model_training():
    player = instrument()
    player.model.train()
    z = player.encode(tone())
    torch.testing.assert_close(z, (LOG.analyse(tone()[None])[0].T + 30) / 10)
    assert player.model.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("representation", "window", "least"),
    [(EXACT, Window(), 80), (EXACT, Window(length=4, hop=4), 80), (WAVE, Window(length=400, hop=400), 80)],
)
def test_reconstruction_of_an_exact_model_is_the_round_trip(representation, window, least):
    wave = tone()
    again = instrument(representation, window).reconstruct(wave)
    assert again.shape == wave.shape
    assert snr(wave, again) > least


def test_codes_come_back_as_codes():
    mulaw = MuLaw(MuLawConfig(sample_rate=RATE))
    player = instrument(mulaw, Window(length=100, hop=100))
    wave = tone(0.1)
    assert torch.equal(player.reconstruct(wave), mulaw.synthesise(mulaw.analyse(wave[None]))[0])
    assert player.decode(player.encode(wave)).dtype == torch.int64


@pytest.mark.parametrize("quality", ["live", "fast", "best"])
def test_render_has_the_asked_length_and_follows_the_path(quality):
    wave = tone()
    player = instrument()
    z = player.encode(wave)
    a, b = z[10], z[20]
    path = Line(a=a.tolist(), b=b.tolist())
    made = player.render(path, 0.2503, quality=quality)
    assert made.shape == (1, 2002)
    t = torch.linspace(0, 1, LOG.frames(2002))
    features = (path.evaluate(t) * 10 - 30).T.clamp_min(-80)
    torch.testing.assert_close(made, LOG.synthesise(features[None], 2002, quality=quality)[0], atol=1e-4, rtol=0)


def test_blocks_are_the_live_render(monkeypatch):
    monkeypatch.setattr("latentscape.instrument.space._VALUES_AT_ONCE", 1000)
    player = instrument(window=Window(length=4, hop=2))
    z = player.encode(tone())
    for points in (z, Line(a=z[3].tolist(), b=z[9].tolist())):
        whole = player.render(points, 0.4, quality="live")
        blocks = list(player.blocks(points, 0.4, 500))
        assert [block.shape[1] for block in blocks] == [500] * 6 + [200]
        torch.testing.assert_close(torch.cat(blocks, 1), whole, atol=1e-6, rtol=0)
    features = player.decode(stretch(z, 24))
    expected = LOG.synthesise(features[None, :, :50], 3200, quality="live")[0]
    torch.testing.assert_close(player.render(z, 0.4, quality="live"), expected, atol=1e-4, rtol=0)


def test_pieces_of_any_size_give_one_sound(monkeypatch):
    player = instrument(window=Window(length=4, hop=2))
    path = Circle(centre=[0.0] * player.dim, radius=2.0)
    whole = player.render(path, 0.5, quality="fast")
    monkeypatch.setattr("latentscape.instrument.space._VALUES_AT_ONCE", 3000)
    torch.testing.assert_close(player.render(path, 0.5, quality="fast"), whole, atol=1e-4, rtol=0)


def test_long_renders_are_cut_and_joined_without_seams(monkeypatch):
    monkeypatch.setattr(stream, "SEGMENT_SECONDS", 0.5)
    monkeypatch.setattr(stream, "MARGIN_SECONDS", 0.2)
    wave = tone(2.2303)
    exact = instrument(EXACT)
    again = exact.reconstruct(wave)
    assert again.shape == wave.shape
    assert snr(wave, again) > 80
    levels = instrument(LOG)
    made = levels.reconstruct(wave, quality="fast")
    assert made.shape == wave.shape
    every = round(0.5 * LOG.frame_rate) * LOG.hop
    assert seam_energy(made, every, reach=100).value < 3
    energy = made[:, 400:-400].square().unfold(1, 400, 100).mean(-1)
    assert 10 * math.log10(energy.max() / energy.min()) < 3


def test_crossfade_keeps_equals_and_power():
    a, b = torch.randn(2, 1, 20000)
    torch.testing.assert_close(stream.crossfade(a, a), a)
    middle = stream.crossfade(a, b)[:, 8000:12000]
    assert float(middle.square().mean()) == pytest.approx(1, abs=0.1)


def test_a_crossfade_is_where_its_sounds_are():
    a, b = torch.ones(2, 1, 8, device="meta")  # no accelerator is needed to see what is left on the processor
    assert stream.crossfade(a, b).device == a.device


def test_points_are_held_or_spread():
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 2.0]])
    torch.testing.assert_close(
        stretch(z, 5), torch.tensor([[0.0, 0.0], [0.5, 1.0], [1.0, 2.0], [2.0, 2.0], [3.0, 2.0]])
    )
    assert torch.equal(stretch(z[:1], 3), z[:1].expand(3, -1))
    player = instrument(EXACT)
    points = player.encode(tone())
    assert player.render(points).shape == (1, len(points) * 64)


def test_labels_reach_the_model_as_codes():
    player = instrument(label="family")
    z = torch.zeros(3, player.dim)
    unknown, reed = player.decode(z), player.decode(z, {"family": "reed"})
    torch.testing.assert_close(reed - unknown, torch.full_like(reed, 10.0))
    assert all(told["family"].dtype == torch.int64 for told in player.model.told)
    with pytest.raises(UsageError, match="did you mean 'reed'"):
        player.decode(z, {"family": "reeds"})
    with pytest.raises(UsageError, match="did you mean 'family'"):
        player.encode(tone(), {"famly": "reed"})


def test_samples_are_a_function_of_the_seed_and_fade():
    player = instrument(WAVE, Window(length=64, hop=64), scale=0.3, shift=0.0)
    before = torch.random.get_rng_state()
    waves = player.sample(2, 0.5, seed=1)
    assert waves.shape == (2, 1, 4000)
    assert torch.equal(waves, player.sample(2, 0.5, seed=1))
    assert not torch.equal(waves, player.sample(2, 0.5, seed=2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (waves[..., 0] == 0).all()
    assert (waves[..., -1].abs() < 1e-6).all()
    assert waves[..., 100:-100].std() > 0.1
    assert player.sample(1, 0.5, temperature=0.0).abs().max() < 1e-6
    with pytest.raises(UsageError, match="0 samples"):
        player.sample(0)
    with pytest.raises(UsageError, match="got 1 temperatures, the model has 2"):
        instrument(layers=2).sample(1, 0.5, temperature=(1.0,), vary=2)


def test_morph_begins_as_one_and_ends_as_the_other():
    player = instrument(EXACT, scale=1.0, shift=0.0)
    a, b = tone(0.3, 440.0), tone(0.3, 600.0)
    for kind in ("line", "sphere"):
        assert snr(a, player.morph(a, b, kind=kind, weight=0.0)) > 60
        assert snr(b, player.morph(a, b, kind=kind, weight=1.0)) > 60
    half = player.morph(a, b, weight=0.5)
    assert snr((a + b) / 2, half) > 60  # the exact transform is linear
    moving = player.morph(a, b)
    share = torch.linspace(0, 1, moving.shape[1])
    assert snr((1 - share) * a + share * b, moving) > 20
    longer = player.morph(a, b[:, :1000], 0.5, between="means")
    assert longer.shape == (1, 4000)
    means = [player.encode(wave).mean(0) for wave in (a, b[:, :1000])]
    expected = player.render(Line(a=means[0].tolist(), b=means[1].tolist()), 0.5)
    torch.testing.assert_close(longer, expected, atol=1e-4, rtol=0)


def test_range_centre_and_walk_come_from_the_map():
    codes = torch.randn(300, LOG.frame_size)
    chart = latent_map(codes)
    player = instrument(chart=chart)
    assert player.range(3) == (float(chart.low[3]), float(chart.high[3]))
    assert torch.equal(player.centre, chart.mean)
    assert player.walk("circle").dim == player.dim
    with pytest.raises(UsageError, match="axis 999"):
        player.range(999)
    prior = instrument(WAVE, Window(length=8, hop=8))
    torch.testing.assert_close(prior.chart.deviation, torch.ones(8), atol=0.1, rtol=0)


def test_images():
    model = Identity((1, 4, 4), scale=2.0, shift=0.5)
    player = Instrument(model, name="digits")
    images = torch.rand(7, 1, 4, 4)
    z = player.encode(images)
    assert z.shape == (7, 16)
    torch.testing.assert_close(player.decode(z), images)
    assert player.sample(3).shape == (3, 1, 4, 4)
    grid = player.grid(3, 5)
    assert grid.shape == (3, 5, 1, 4, 4)
    y = player.chart.project(player.encode(grid.flatten(0, 1))) / player.chart.spread[:2]
    torch.testing.assert_close(y[[0, 4, 14]], torch.tensor([[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0]]), atol=1e-3, rtol=0)
    with pytest.raises(UsageError, match="images, not sound"):
        player.render(z)
    with pytest.raises(DataError, match=r"\[3, 4\]"):
        player.encode(torch.rand(7, 3, 4))


def test_what_needs_the_whole_sound_is_not_played_live():
    nsgt = LogNsgt(LogNsgtConfig(sample_rate=RATE, low_hz=200.0, bins_per_octave=6))
    player = instrument(nsgt)
    points = torch.zeros(1, player.dim)
    with pytest.raises(UsageError, match="can't be played live"):
        list(player.blocks(points, 0.1, 100))
    assert player.render(points, 0.1, quality="live").shape == (1, 800)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p.encode(torch.zeros(2, 100)), DataError, "2, 100"),
        (lambda p: p.encode(torch.zeros(100)), DataError, r"expected \[1, n\]"),
        (lambda p: p.encode(torch.full((1, 100), math.nan)), DataError, "NaN"),
        (lambda p: p.decode(torch.zeros(3, 4)), UsageError, r"\[3, 4\], expected \[n >= 1, 129\]"),
        (lambda p: p.render(torch.zeros(0, 129)), UsageError, "points"),
        (lambda p: p.render(Line(a=[0.0], b=[1.0]), 1.0), UsageError, "1 dimensions, expected 129"),
        (lambda p: p.render(Circle(centre=[0.0] * 129, radius=1.0)), UsageError, "give seconds"),
        (lambda p: p.render(torch.zeros(1, 129), 0.0), UsageError, "0.0 seconds"),
        (lambda p: p.render(torch.zeros(1, 129), math.inf), UsageError, "inf seconds"),
        (lambda p: p.blocks(torch.zeros(1, 129), 1.0, 0), UsageError, "block of 0"),
        (lambda p: p.sample(1, 0.1, temperature=(1.0, 0.5), vary=1), UsageError, "got 2 temperatures, the model has 1"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(instrument())


def test_frames_slower_than_a_segment_still_give_sound():
    slow = LogStft(LogStftConfig(sample_rate=1, window=1024, hop=256))
    features = torch.zeros(slow.frame_size, slow.frames(8))
    (wave,) = stream.whole_sound(slow, iter([features]), 8, "fast")
    assert wave.shape == (1, 8)


@pytest.mark.parametrize("window", [Window(), Window(length=8, hop=4)], ids=str)
def test_a_loop_has_no_join_where_it_begins_again(window):
    player = instrument(window=window)
    a, b = (player.encode(tone(1.0, frequency))[20] for frequency in (300.0, 420.0))
    there, back = Line(a=a.tolist(), b=b.tolist()), Line(a=b.tolist(), b=a.tolist())
    path = join((there, back), (1.0, 1.0))
    whole = player.render(Rounds(path, 4.0), 4.0)
    plain, looped = (make(path, 1.0).repeat(1, 4) for make in (player.render, player.loop))
    assert looped.shape == whole.shape
    flux, level = (
        [float(seam_course(wave, RATE, (1.0, 2.0, 3.0))[name].value) for wave in (whole, looped, plain)]
        for name in ("seam_flux", "seam_level")
    )
    assert level[1] == pytest.approx(level[0], abs=1.0)
    assert flux[1] < flux[0] + 3.0 < flux[2] - 3.0
    assert player.loop(path, 0.01).shape == (1, round(0.01 * RATE))  # shorter than a window
    with pytest.raises(UsageError, match=r"line ends .* from where it begins, expected a path that closes"):
        player.loop(there, 1.0)
