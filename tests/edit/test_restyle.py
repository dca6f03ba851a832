"""Restyling: laws of places and nets, and what comes out of small sounds."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from identity_model_of_edit import Halved

from latentscape.core.errors import DataError, UsageError
from latentscape.edit.restyle.beginning import begin
from latentscape.edit.restyle.codes import restyle_codes
from latentscape.edit.restyle.engine import (
    Wish,
    bordered,
    extended,
    joined,
    pieces,
    restyle,
    style_for,
)
from latentscape.edit.restyle.loudness import levelled, loudness
from latentscape.edit.restyle.methods import METHODS
from latentscape.edit.restyle.networks import Bins, Scales, Trained, WideConvolution, resampled
from latentscape.edit.restyle.objective import Objective, Weights
from latentscape.edit.restyle.optimise import minimise
from latentscape.edit.restyle.sounds import LEVEL, PLACES, Spectrum
from latentscape.edit.restyle.statistics import STATISTICS
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.measure.silence import silent_share
from latentscape.registry import Window
from latentscape.signal.audio import PEAK_LIMIT
from latentscape.signal.stft import LogStft, LogStftConfig

RATE = 8000


def voice(seconds: float = 1.0, pitch: float = 180.0, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 6)) * (0.05 + 0.2 * (np.sin(14 * t) > 0))
    return np.stack([wave * (1 + c) / channels for c in range(channels)])


def rain(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=round(seconds * RATE) + 1)
    return 0.05 * np.diff(drawn)[None]


@pytest.fixture(scope="module")
def spectrum() -> Spectrum:
    return Spectrum(RATE)


@pytest.fixture(scope="module")
def frames() -> Instrument:
    """Frames as they are, but quieter."""
    sound = LogStft(LogStftConfig(sample_rate=RATE, window=256, hop=64))
    chart = latent_map(torch.randn(50, sound.frame_size, generator=torch.Generator().manual_seed(0)))
    return Instrument(Halved((sound.frame_size,)), sound, Window(length=1, hop=1), chart=chart)


@pytest.fixture(scope="module")
def wave() -> torch.Tensor:
    found = torch.from_numpy(voice(0.5)).float()
    return LEVEL * found / found.square().mean().sqrt()


@pytest.mark.parametrize("name", PLACES)
def test_every_place_begins_with_the_levels_and_has_slopes(name, spectrum, wave):
    found = spectrum.analyse(wave)
    place = PLACES[name](spectrum, wave.shape[1], found)
    variable = place.begin(spectrum.levels(found.abs())).requires_grad_(True)
    assert torch.allclose(place.finish(variable.detach()), wave, atol=2e-3)
    assert torch.allclose(place.wave(variable), wave, atol=2e-3)
    assert torch.allclose(place.magnitude(variable), found.abs(), atol=2e-3)
    (place.wave(variable).square().sum() + place.magnitude(variable).sum()).backward()
    assert torch.isfinite(variable.grad).all()
    assert float(variable.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", ["random-cnn", "texture", "transport"])
def test_a_sound_begins_and_ends_no_louder_than_it_goes_on(name):
    """What the first and last frames alone see is as bounded as all else."""
    for length in (7937, 8000, 8100):
        content = np.pad(voice()[:, : length - 3000], ((0, 0), (0, 3000)))  # silent in the end
        wave = restyle(content, rain(), RATE, Wish(name, evaluations=None if name == "transport" else 12)).wave[0]
        assert wave.shape == (length,)
        assert np.abs(wave[-64:]).max() < np.abs(wave[256:-256]).max()
        assert np.abs(wave[:64]).max() < np.abs(wave[256:-256]).max()


@pytest.mark.parametrize(("first", "risen"), [(1.0, False), (0.05, True), (None, True)])
def test_a_sound_ends_in_silence_and_begins_as_its_content_does(first, risen):
    wave, fade = np.ones((2, 3000)), round(0.003 * RATE)
    content = None if first is None else np.concatenate((np.full((2, fade), first), np.ones((2, 3000 - fade))), 1)
    found = bordered(wave, content, RATE)
    inner = slice(fade if risen else 0, 3000 - fade)
    assert np.array_equal(found[:, inner], wave[:, inner])
    assert found[0, -1] == 0
    assert (found[0, 0] == 0) == risen
    assert np.abs(np.diff(found)).max() < 2 / fade


@pytest.mark.parametrize("lead", [0, RATE // 10])
def test_only_an_attack_begins_at_once(lead):
    content = np.pad(np.random.default_rng(0).normal(size=(1, 6000)) * 0.1, ((0, 0), (lead, 0)))
    made = restyle(content, rain(), RATE, Wish("transport")).wave
    assert np.abs(made[:, -1]).max() < 1e-12
    assert (np.abs(made[:, 0]).max() < 1e-12) == bool(lead)


@pytest.mark.parametrize("n", [RATE // 4, 5000])
def test_a_sound_goes_on_beyond_its_ends(n, spectrum):
    wave = torch.arange(float(n))[None]
    found, margin = extended(wave, spectrum.window, spectrum.hop)
    hop = spectrum.hop
    assert margin == spectrum.window
    assert found.shape == (1, n + 2 * margin)
    assert torch.equal(found[:, margin + hop : margin + n - hop], wave[:, hop : n - hop])
    assert torch.equal(found[:, :margin], wave[:, margin : 2 * margin])
    assert torch.equal(found[:, n + margin :], wave[:, n - 2 * margin : n - margin])
    assert float(found[0, margin]) == 2 * margin  # goes over from what is before
    assert float(found[0, margin + hop - 1]) == hop - 1


def test_levels_are_undone_and_bands_see_all_bins(spectrum):
    magnitude = torch.logspace(-5, 0, spectrum.grid.bins)[None, None]
    again = spectrum.magnitude(spectrum.levels(magnitude))
    assert torch.allclose(again, magnitude, rtol=0.02, atol=1e-5)
    assert (spectrum.triangles.sum(1) > 0).all()


@pytest.mark.parametrize("net", [Bins(), WideConvolution(7, 5, 0.0, 1.0, 0), Scales(RATE, 3, shapes=((9, 3), (3, 5)))])
def test_nets_hear_rows_as_one_set_and_slopes_agree_with_differences(net, spectrum, wave):
    place = PLACES["plain samples"](spectrum, wave.shape[1])
    one, two = net(place, wave), net(place, wave.repeat(2, 1))
    for a, b in zip(one, two, strict=True):
        assert b.shape == (a.shape[0], 2 * a.shape[1], a.shape[2])
        assert torch.allclose(b[:, : a.shape[1]], a, atol=1e-5)
    variable = wave.clone().requires_grad_(True)
    sum(layer.square().mean() for layer in net(place, variable)).backward()
    step = 0.02 * wave
    up, down = (sum(layer.square().mean() for layer in net(place, wave + s * step)) for s in (1, -1))
    assert float(up - down) / 2 == pytest.approx(float((variable.grad * step).sum()), rel=0.05)


def test_a_trained_net_hears_at_its_own_rate(spectrum, wave):
    seen = []

    def hear(given):
        seen.append(given.shape)
        return [(cut := given[:, 0].unfold(1, 10, 10).mT), cut[:, None].repeat(1, 3, 1, 1)]

    layers = Trained(hear, RATE, RATE // 2)(PLACES["plain samples"](spectrum, wave.shape[1]), wave)
    assert seen == [(1, 1, wave.shape[1] // 2)]
    assert [tuple(layer.shape) for layer in layers] == [(1, 200, 10), (10, 200, 3)]


def test_resampling_keeps_a_tone():
    tone = torch.sin(2 * torch.pi * 50 * torch.arange(800).double() / 800)[None]
    assert torch.allclose(resampled(tone, 800, 400), tone[:, ::2], atol=1e-5)
    assert torch.allclose(resampled(resampled(tone, 800, 1600), 1600, 800), tone, atol=1e-5)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_loss_is_nothing_at_the_style_itself_and_holds_the_content(statistic, spectrum, wave):
    place, net = PLACES["plain samples"](spectrum, wave.shape[1]), WideConvolution(6, 5, 3.0, 1.0, 0)
    kind = STATISTICS[statistic]
    target = [kind.of(layer) for layer in net(place, wave)]
    objective = Objective(place, net, kind, Weights(0.5), target, wave)
    assert float(objective(wave)) == pytest.approx(0, abs=1e-2)
    terms = objective.terms(0.3 * wave)
    assert min(float(value) for value in terms.values()) > 1e-4


def test_minimise_finds_the_least_and_spends_what_it_may():
    goal = torch.linspace(-1, 1, 5)
    seen = []
    for optimiser in ("lbfgs", "adam"):
        found = minimise(
            lambda x: (x - goal).square().sum() + (x - goal).pow(4).sum(),
            torch.zeros(5),
            60,
            optimiser=optimiser,
            rate=0.1,
            each=lambda count, loss, x: seen.append(count),
        )
        assert torch.allclose(found.variable, goal, atol=0.05)
        assert len(found.losses) <= 60
    assert max(seen) <= 60
    assert minimise(lambda x: x.sum(), goal, 0).losses == ()


def test_beginnings(spectrum):
    levels, style = torch.rand(1, 60, 5) * 3, torch.rand(1, 80, 5) + torch.arange(5.0)
    assert torch.equal(begin(levels, style, "content"), levels)
    mean = begin(levels, style, "mean")
    assert mean[0].mean(0)[1:] == pytest.approx(style[0].mean(0)[1:], abs=0.2)
    ranks, carried = begin(levels, style, "ranks"), begin(levels, style, "transport")
    for one in (ranks, carried):
        assert one[0].std(0) == pytest.approx(style[0].std(0), rel=0.05)
        assert one[0].median(0).values == pytest.approx(style[0].median(0).values, abs=0.05)
        assert (one[0] <= style[0].amax(0) + 1e-5).all()
    assert torch.equal(ranks[0].argsort(0), levels[0].argsort(0))
    assert not torch.equal(carried[0].argsort(0), levels[0].argsort(0))
    half = begin(levels, style, "mean", 0.5)
    assert torch.allclose(half, ((levels + mean) / 2), atol=0.3)


def test_pieces_cover_and_join_at_constant_power():
    assert pieces(RATE, RATE, 64) == [(0, RATE)]
    spans = pieces(50 * RATE, RATE, 64)
    assert spans[0][0] == 0
    assert spans[-1][1] == 50 * RATE
    assert all(low % 64 == 0 and high - low <= 20.5 * RATE for low, high in spans)
    assert all(a[1] - b[0] >= 0.99 * RATE for a, b in pairwise(spans))
    same = torch.randn(2, 50 * RATE, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(joined([same[:, low:high] for low, high in spans], spans), same, atol=1e-5)
    others = [torch.randn(1, high - low, generator=torch.Generator().manual_seed(low)) for low, high in spans]
    power = joined(others, spans)[0].square().unfold(0, 2000, 2000).mean(1)
    assert float(power.min()) > 0.8


def test_loudness_is_that_of_bs1770_and_is_met_without_clipping():
    t = np.arange(48000) / 48000
    sine = np.sin(2 * np.pi * 997 * t)[None]
    quiet, down = levelled(sine, 0.01 * sine, 48000)
    assert (np.abs(quiet).max(), down) == (pytest.approx(0.01, rel=1e-3), 0.0)
    click = np.zeros((1, 48000))
    click[0, 1000] = 1.0
    loud, down = levelled(click, sine, 48000)
    assert np.abs(loud).max() == pytest.approx(PEAK_LIMIT)
    assert down > 10


def tone(rate: int, seconds: float, level: float = 0.0) -> np.ndarray:
    """Return a sine of 997 Hz whose loudness is ``level`` - 3.01 LUFS."""
    return 10 ** (level / 20) * np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)[None]


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_sine_of_997_hz_at_full_scale_in_one_channel_has_minus_3_lufs(rate):
    sine = tone(rate, 3.0)
    assert loudness(sine, rate) == pytest.approx(-3.01, abs=0.01)
    assert loudness(np.concatenate([sine, 0 * sine]), rate) == pytest.approx(-3.01, abs=0.01)
    assert loudness(np.concatenate([sine, sine]), rate) == pytest.approx(0.0, abs=0.01)
    assert loudness(0.01 * sine, rate) == pytest.approx(-43.01, abs=0.01)
    assert loudness(sine[:, : rate // 4], rate) == pytest.approx(-3.01, abs=0.1), "shorter than a block"


def test_silence_beside_a_sound_does_not_make_it_quieter():
    sine, silence = tone(48000, 5.0, -20.0), np.zeros((1, 10 * 48000))
    # blocks that are half or more in the pause pass the gate: 75, 50, 25 % of three blocks at each end of the tone
    shares = np.array([1.0] * 47 + [0.25, 0.5, 0.75])
    expected = -23.01 + 10 * np.log10(shares.mean())
    assert loudness(np.concatenate([sine, silence], 1), 48000) == pytest.approx(expected, abs=0.01)
    assert loudness(np.concatenate([silence, sine], 1), 48000) == pytest.approx(expected, abs=0.01)
    assert loudness(silence, 48000) < -190


def test_gates_are_those_of_bs1770():
    """Cases 2 to 5 of EBU Tech 3341's table, with tones of 997 Hz in two channels; then the first gate."""

    def of(*parts: tuple[float, float]) -> float:
        wave = np.concatenate([tone(48000, seconds, level) for level, seconds in parts], 1)
        return loudness(np.concatenate([wave, wave]), 48000)

    assert of((-33.0, 20)) == pytest.approx(-33.0, abs=0.02)
    assert of((-36.0, 10), (-23.0, 60), (-36.0, 10)) == pytest.approx(-23.0, abs=0.1)
    assert of((-72.0, 10), (-36.0, 10), (-23.0, 60), (-36.0, 10), (-72.0, 10)) == pytest.approx(-23.0, abs=0.1)
    assert of((-26.0, 20), (-20.0, 20.1), (-26.0, 20)) == pytest.approx(-23.0, abs=0.1)
    assert of((-64.0, 10), (-71.0, 10)) == pytest.approx(-64.0, abs=0.1), "within 10 LU, but under -70"
    assert of((-80.0, 5)) == pytest.approx(-80.0, abs=0.02), "nothing passes: the whole counts"


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.recipe])
def test_every_method_without_a_run_nears_the_style(name):
    small = replace(
        METHODS[name], filters=min(METHODS[name].filters, 24), evaluations=min(METHODS[name].evaluations, 8)
    )
    content, style = voice(), rain()
    found = restyle(content, style, RATE, Wish(name), method=small)
    assert found.wave.shape == content.shape
    assert np.isfinite(found.wave).all()
    assert np.abs(found.wave).max() <= PEAK_LIMIT + 1e-6
    assert not found.losses or min(found.losses) < 0.7 * found.losses[0]
    spectra = [np.abs(np.fft.rfft(one[0])) ** 2 for one in (found.wave, content, style)]
    high = [power[len(power) // 2 :].sum() / power.sum() for power in spectra]
    assert abs(high[0] - high[2]) < 0.6 * abs(high[1] - high[2])
    assert abs(float(found.wave.mean())) < 1e-3
    again = restyle(content, style, RATE, Wish(name), method=small)
    assert np.array_equal(found.wave, again.wave)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.recipe])
def test_strength_nought_is_the_content(name):
    content, told = voice(channels=2), []
    found = restyle(content, rain(), RATE, Wish(name, strength=0.0), each=lambda *given: told.append(given))
    np.testing.assert_array_equal(found.wave, content)
    assert (found.losses, found.turned_down) == ((), 0.0)
    assert told[0][0] == 1.0
    np.testing.assert_array_equal(told[0][2](), content)
    loud = restyle(8 * content, rain(), RATE, Wish(name, strength=0.0))
    assert np.abs(loud.wave).max() == pytest.approx(PEAK_LIMIT)
    assert loud.turned_down > 0
    with pytest.raises(DataError, match="silent"):
        restyle(content, np.zeros((1, RATE)), RATE, Wish(name, strength=0.0))


def test_a_little_strength_keeps_the_content_and_stereo_stays():
    content = voice(channels=2)
    small = replace(METHODS["random-cnn"], filters=16, evaluations=5)
    told = []
    kept = restyle(
        content,
        rain(),
        RATE,
        Wish(strength=1e-6),
        method=small,
        each=lambda share, loss, preview: told.append((share, preview().shape)),
    )
    until = content.shape[1] - round(0.003 * RATE)  # the end fades out
    assert np.corrcoef(kept.wave[0, :until], content[0, :until])[0, 1] > 0.98
    assert np.std(kept.wave[1]) / np.std(kept.wave[0]) == pytest.approx(2, rel=0.05)
    assert told[-1] == (1.0, content.shape)


def test_a_preview_holds_all_that_is_made_so_far():
    seconds: list[float] = []
    small = replace(METHODS["random-cnn"], filters=4, evaluations=1)
    restyle(voice(30.0), rain(), RATE, Wish(), method=small, each=lambda *a: seconds.append(a[2]().shape[1] / RATE))
    assert seconds[0] == pytest.approx(15.5, abs=0.2)
    assert seconds[-1] == 30


def test_a_texture_has_the_length_asked_for_and_the_styles_spectrum():
    style = rain()
    small = replace(METHODS["random-cnn"], filters=16, evaluations=5)
    found = restyle(None, style, RATE, Wish(seed=3), seconds=0.7, method=small)
    assert found.wave.shape == (1, 5600)
    spectra = [np.abs(np.fft.rfft(one[0, :4096])) ** 2 for one in (found.wave, style)]
    shares = [power[: len(power) // 2].sum() / power.sum() for power in spectra]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


@pytest.mark.parametrize(
    ("content", "style", "words"),
    [
        (np.zeros((1, RATE)), rain(), "content that is silent"),
        (voice(), np.zeros((1, RATE)), "style that is silent"),
        (voice(), rain(0.1), r"style of 0\.100 s"),
        (voice()[:, :10], rain(), r"content of 0\.00"),
        (np.full((1, RATE), np.nan), rain(), "NaN"),
        (voice(), np.full((1, RATE), np.nan), "NaN"),
    ],
    ids=["silent content", "silent style", "short style", "short content", "NaN in content", "NaN in style"],
)
def test_unusable_sounds_are_refused(content, style, words, frames):
    with pytest.raises(DataError, match=words):
        restyle(content, style, RATE)
    with pytest.raises(DataError, match=words):
        restyle_codes(frames, content, style, RATE)


@pytest.mark.parametrize("seconds", [0.0, 0.01, float("nan")])
def test_a_texture_too_short_to_be_one_is_refused(seconds):
    with pytest.raises(UsageError, match=r"expected at least 0\.25 s"):
        restyle(None, rain(), RATE, seconds=seconds)


@pytest.mark.parametrize(
    "wish", [{"method": "taggr"}, {"strength": 1.5}, {"content": -1.0}, {"evaluations": 0}, {"content": float("nan")}]
)
def test_wishes_that_make_no_sense_are_refused(wish):
    with pytest.raises(UsageError):
        Wish(**wish)


def test_what_is_not_searched_or_not_offered_is_said():
    with pytest.raises(UsageError, match="searches nothing"):
        restyle(voice(), rain(), RATE, Wish("transport", evaluations=3))
    for words, wish in {
        "--method wavenet": {"way": "descent"},
        "at least 0": {"method": "wavenet", "likelihood": -1.0},
        "did you mean": {"method": "wavenet", "way": "langevine"},
    }.items():
        with pytest.raises(UsageError, match=words):
            Wish(**wish)
    with pytest.raises(UsageError, match=r"restyle\.waves"):
        restyle(voice(), rain(), RATE, Wish("wavenet"))


def test_a_styles_pauses_are_its_contents_affair():
    broken = rain(2.0) * (np.arange(2 * RATE) % RATE < RATE // 2)
    steady, halting = rain(2.0, seed=1), voice(2.0) * (np.arange(2 * RATE) % RATE < RATE // 2)
    assert silent_share(style_for(broken, steady, RATE), RATE) < 0.1
    assert silent_share(style_for(broken, halting, RATE), RATE) == pytest.approx(0.5, abs=0.05)
    assert style_for(broken, None, RATE) is broken
    assert silent_share(restyle(steady, broken, RATE, Wish("transport")).wave, RATE) < 0.1


def test_a_trained_net_must_be_handed_over():
    with pytest.raises(UsageError, match="tagger"):
        restyle(voice(), rain(), RATE, Wish("tagger"))
    with pytest.raises(UsageError, match="codes"):
        restyle(voice(), rain(), RATE, Wish("latent"))
