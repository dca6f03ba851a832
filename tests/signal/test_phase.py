"""Phase recovery: against known phases, plain Python, librosa, and its own live form."""

import itertools
import math
import threading

import numpy as np
import pytest
import torch

from latentscape.core import compiled
from latentscape.signal import pghi, phase
from latentscape.signal.frames import Frames
from latentscape.signal.stft import LogStft, LogStftConfig

GRID = Frames(512, 128)


def tone(n=8000, rate=8000):
    """A glide with a vibrato over a decaying chord."""
    time = torch.arange(n, dtype=torch.float64) / rate
    glide = torch.sin(2 * torch.pi * (400 * time + 300 * time**2))
    chord = sum(torch.sin(2 * torch.pi * f * time + f) for f in (1210, 1530, 2222)) * torch.exp(-2 * time)
    return (0.2 * glide + 0.1 * chord)[None].float()


def convergence(magnitude, spectrum, n):
    return phase.spectral_convergence(magnitude, GRID.analyse(GRID.synthesise(spectrum, n)).abs())


def test_spectral_convergence_is_the_ratio_of_norms():
    target = torch.tensor([3.0, 4.0])
    assert phase.spectral_convergence(target, target) == -math.inf
    assert phase.spectral_convergence(target, torch.zeros(2)) == pytest.approx(0)
    assert phase.spectral_convergence(target, target + torch.tensor([0.3, 0.4])) == pytest.approx(-20)
    assert phase.spectral_convergence(torch.zeros(2), target) == math.inf


def test_gradients_of_a_sine_and_of_a_click_are_theirs():
    """A sine's phase turns with its frequency; a click's falls along the bins with its distance from the frame."""
    over_time, over_frequency = pghi.gains(512, 128)
    frequency = 20.3
    sine = torch.cos(2 * torch.pi * frequency * torch.arange(8000) / 512)[None]
    s = GRID.analyse(sine).abs().clamp(min=1e-6).log()[0].numpy()
    for m in (20, 21):
        step = pghi._over_time.py_func(s, 30, m, 128, over_time)
        assert step == pytest.approx(2 * math.pi * frequency * 128 / 512, abs=0.15)
    click = torch.zeros(1, 8000)
    click[0, 30 * 128 + 40] = 1
    s = GRID.analyse(click).abs().clamp(min=1e-6).log()[0].numpy()
    step = pghi._over_frequency.py_func(s, 30, 50, over_frequency)
    assert step == pytest.approx(-2 * math.pi * 40 / 512, rel=0.15)


def test_heap_integration_finds_a_phase_far_better_than_chance():
    wave = tone()
    magnitude = GRID.analyse(wave).abs()
    found = phase.heap_integration(magnitude, 512, 128, 1e-4)
    torch.testing.assert_close(found.abs(), magnitude, rtol=1e-5, atol=1e-6)
    chance = torch.polar(magnitude, 2 * torch.pi * torch.rand(magnitude.shape))
    assert convergence(magnitude, found, 8000) < -20
    assert convergence(magnitude, chance, 8000) > -6


def test_griffin_lim_improves_step_by_step():
    wave = tone(8001)
    magnitude = GRID.analyse(wave).abs()

    def refine(start, iterations, momentum=phase.MOMENTUM):
        return phase.griffin_lim(
            magnitude, start, GRID.analyse, lambda c: GRID.synthesise(c, 8001), iterations, momentum
        )

    start = phase.heap_integration(magnitude, 512, 128, 1e-4)
    assert torch.equal(refine(start, 0).abs() > 0, magnitude > 0)
    steps = [convergence(magnitude, refine(start, n), 8001) for n in (0, 2, 20)]
    assert steps[1] < steps[0] - 1
    assert steps[2] < steps[1] - 1


def test_griffin_lim_is_the_papers_algorithm():
    """Algorithm 2 of Perraudin et al. in double precision, by numpy (of noise: no bin is near 0)."""
    magnitude = GRID.analyse(torch.randn(1, 3001)).abs()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    target = magnitude[0].double().numpy()

    def project(spectrum):
        total, norm = np.zeros(512 + 128 * len(spectrum)), np.zeros(512 + 128 * len(spectrum))
        for k, frame in enumerate(np.fft.irfft(spectrum) * hann):
            total[128 * k : 128 * k + 512] += frame
            norm[128 * k : 128 * k + 512] += hann**2
        wave = np.where(norm > 1e-12, total / np.maximum(norm, 1e-12), 0)
        wave[:256] = wave[256 + 3001 :] = 0
        return np.array([np.fft.rfft(wave[128 * k : 128 * k + 512] * hann) for k in range(len(spectrum))])

    for momentum in (0.0, 0.99):
        before = t = target.astype(complex)
        for step in range(4):
            c = project(target * np.exp(1j * np.angle(t)))
            t = c if step == 0 else c + momentum * (c - before)
            before = c
        zero = torch.ones_like(magnitude, dtype=torch.complex64)
        ours = phase.griffin_lim(magnitude, zero, GRID.analyse, lambda c: GRID.synthesise(c, 3001), 4, momentum)
        np.testing.assert_allclose(ours[0].numpy(), target * np.exp(1j * np.angle(t)), atol=0.02)


def test_the_first_and_last_bin_are_real_and_phases_count_from_the_centre():
    angles = np.tile(np.array([2.0, 1.0, -0.5, 4.0, 7.5]), (1, 2, 1))
    kept = angles.copy()
    found = phase.with_phase(torch.ones(1, 2, 5), angles)[0, 1]
    expected = torch.tensor([-1, -np.exp(1j), np.exp(-0.5j), -np.exp(4j), 1])
    torch.testing.assert_close(found, expected.to(torch.complex64), atol=1e-6, rtol=0)
    assert np.array_equal(angles, kept)


def test_silence_gets_a_phase_without_a_nan():
    magnitude = torch.zeros(2, 5, 257)
    found = phase.heap_integration(magnitude, 512, 128, 1e-4)
    assert torch.equal(found, torch.zeros_like(found))
    assert torch.isfinite(phase.impose(magnitude + 1, torch.zeros_like(found)).real).all()


def test_every_loud_bin_gets_its_phase_by_trapezoids_from_a_neighbour():
    s = np.random.default_rng(0).normal(0, 1, (1, 6, 9)).astype(np.float32)
    found = pghi.recover(s, 16, 4, tolerance=100.0)[0]
    over_time, over_frequency = pghi.gains(16, 4)
    loudest = np.unravel_index(s[0].argmax(), s[0].shape)
    assert found[loudest] == 0
    for n, m in itertools.product(range(6), range(9)):
        if (n, m) == loudest:
            continue
        gaps = []
        for k, j in ((n - 1, m), (n + 1, m)):
            if 0 <= k < 6:
                ends = [pghi._over_time.py_func(s[0], i, m, 4, over_time) for i in (n, k)]
                gaps.append(found[n, m] - found[k, j] - 0.5 * sum(ends) * (n - k))
        for k, j in ((n, m - 1), (n, m + 1)):
            if 0 <= j < 9:
                ends = [pghi._over_frequency.py_func(s[0], n, i, over_frequency) for i in (m, j)]
                gaps.append(found[n, m] - found[k, j] - 0.5 * sum(ends) * (m - j))
        assert min(abs(gap) for gap in gaps) < 1e-6


def plain(monkeypatch):
    """Run the kernels as Python."""
    kernels = ("_push", "_pop", "_over_time", "_over_frequency", "_is_peak", "_in_lobe")
    for name in (*kernels, "find_seeds", "integrate_all", "integrate_causal"):
        monkeypatch.setattr(pghi, name, getattr(pghi, name).py_func)


def test_compiled_kernels_are_the_plain_ones(monkeypatch):
    rng = np.random.default_rng(0)
    s = rng.normal(0, 3, (2, 12, 17)).astype(np.float32)
    s[1, :, 5:] = np.round(s[1, :, 5:])  # plateaus
    before = rng.uniform(0, 6, (2, 17))
    run = [
        lambda: pghi.recover(s, 32, 8, 4.0),
        lambda: pghi.recover_causal(s, before, 0, 32, 8, 4.0, last=True)[0],
        lambda: pghi.recover_causal(s, before, 5, 32, 8, 4.0, last=False)[0],
    ]
    expected = [function() for function in run]
    plain(monkeypatch)
    for function, wanted in zip(run, expected, strict=True):
        np.testing.assert_allclose(function(), wanted, atol=1e-4)  # numpy keeps more in float32


def test_the_heap_sorts(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 50, 200).astype(np.float32)  # with ties
    for push, pop in ((pghi._push, pghi._pop), (pghi._push.py_func, pghi._pop.py_func)):
        keys, items = np.empty(200, np.float32), np.empty(200, np.int32)
        for size, value in enumerate(values):
            push(keys, items, size, value, size)
        order = [pop(keys, items, size) for size in range(200, 0, -1)]
        assert sorted(order) == list(range(200))
        assert (np.diff(values[order]) <= 0).all()


def test_the_chance_phase_is_even_and_a_function_of_frame_and_bin():
    found = np.array([[pghi._chance(n, m) for m in range(257)] for n in range(40)])
    assert 0 <= found.min() < found.max() < 2 * math.pi
    counts = np.histogram(found, 16, (0, 2 * math.pi))[0]
    assert abs(counts / counts.mean() - 1).max() < 0.15
    assert len(np.unique(found)) == found.size
    assert abs(np.corrcoef(found[:-1].ravel(), found[1:].ravel())[0, 1]) < 0.05


def test_quiet_bins_get_the_chance_phase():
    s = np.full((1, 4, 9), -50, np.float32)
    s[0, 2, 3] = 0
    found = pghi.recover(s, 16, 4, tolerance=5.0)[0]
    assert found[2, 3] == 0
    assert found[1, 7] == pghi._chance(1, 7)
    live, _ = pghi.recover_causal(s[:, 1:], np.zeros((1, 9)), 2, 16, 4, 5.0, last=False)
    assert live.shape == (1, 1, 9)
    assert live[0, 0, 7] == pghi._chance(2, 7)


def test_rows_on_threads_are_the_rows_alone():
    s = np.random.default_rng(0).normal(0, 3, (5, 20, 33)).astype(np.float32)
    alone = np.concatenate([pghi.recover(row[None], 64, 16, 7.0) for row in s])
    assert np.array_equal(pghi.recover(s, 64, 16, 7.0, threads=4), alone)
    names = set()
    compiled.each_row(lambda row: names.add(threading.current_thread().name), 3, 2)
    assert "MainThread" not in names


def test_live_sees_one_frame_ahead_and_no_more():
    """Frames that differ only from frame k on give the same sound up to what frame k - 1 settles without frame k."""
    view = LogStft(LogStftConfig(sample_rate=8000, window=512, hop=128))
    features = view.analyse(tone(40 * 128)[None])
    other = features.clone()
    other[..., 21:] = view.analyse(0.2 * torch.randn(1, 1, 40 * 128))[..., 21:]
    waves = [view.synthesise(f, quality="live") for f in (features, other)]
    same = 20 * 128 - 256  # frames 0..19 have their phases from frames 0..20
    assert torch.equal(waves[0][..., :same], waves[1][..., :same])
    assert not torch.allclose(waves[0][..., same + 128 : same + 512], waves[1][..., same + 128 : same + 512])


def test_live_is_nearly_as_good_as_the_whole():
    view = LogStft(LogStftConfig(sample_rate=8000, window=512, hop=128))
    features = view.analyse(tone()[None])
    target = view.magnitude(features)

    def again(quality):
        return view.magnitude(view.analyse(view.synthesise(features, 8000, quality=quality)))

    found = {quality: phase.spectral_convergence(target, again(quality)) for quality in ("live", "fast", "best")}
    assert found["live"] < -18
    assert found["best"] < found["fast"] - 3


def crest(wave):
    """Return how far the peak lies over the root mean square, dB."""
    return 20 * math.log10(wave.abs().max() / wave.square().mean().sqrt())


def after(view, frames, sound):
    """Return live sound from where ``frames`` of silence end."""
    silence = torch.full_like(sound[..., :1], view.floor).expand(-1, -1, frames)
    return view.synthesise(torch.cat((silence, sound), -1), quality="live")[0, 0, frames * view.hop :]


@pytest.mark.parametrize("silent", [0, 12])
def test_live_sound_does_not_begin_as_pulses(silent):
    """What a model decodes of noise is smooth and lasts: integrated along frequency alone, it begins as pulses."""
    view = LogStft(LogStftConfig(sample_rate=22050, window=1024, hop=256))
    noise = view.analyse(0.05 * torch.randn(1, 1, 22050, generator=torch.Generator().manual_seed(0)))[..., 4:-4]
    made = after(view, silent, noise.mean(-1, keepdim=True).expand(-1, -1, 80))
    assert crest(made[:2048]) < 15
    assert made[:2048].abs().max() < 1.5 * made[10240:].abs().max()


@pytest.mark.parametrize("silent", [0, 12])
def test_live_partials_begin_whole(silent):
    """The bins of a partial begin together: random phases within its lobe would be heard frames long."""
    view = LogStft(LogStftConfig(sample_rate=22050, window=1024, hop=256))
    time = torch.arange(22050, dtype=torch.float64) / 22050
    glide = 0.2 * torch.sin(2 * torch.pi * (300 * time + 800 * time**2)).float()
    features = view.analyse(glide[None, None])[..., 20:60]
    made = after(view, silent, features)
    found = phase.spectral_convergence(
        view.magnitude(features)[:, 2:10], view.magnitude(view.analyse(made[None, None]))[:, 2:10]
    )
    assert found < -32


def test_a_push_leaves_the_state_it_was_given():
    view = LogStft(LogStftConfig(sample_rate=8000, window=512, hop=128))
    features = view.analyse(tone(3000)[None])
    live = view.live()
    _, state = live.push(features[..., :9], live.initial())
    first, _ = live.push(features[..., 9:], state)
    again, _ = live.push(features[..., 9:], state)
    assert torch.equal(first, again)
