"""The laws of a representation: see :func:`check_representation`."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from latentscape.core.random import torch_stream
from latentscape.signal.phase import spectral_convergence
from latentscape.signal.representation import Quality, Representation, widths


def sound(n: int, channels: int, sample_rate: int, row: int = 0) -> Tensor:
    """Return a loud test sound ``[1, c, n]``: a gliding harmonic tone that begins at once, fades, and some noise."""
    seconds = torch.arange(n, dtype=torch.float64) / sample_rate
    base = sample_rate / 100 * (1 + 0.13 * row)
    cycles = base * (seconds + 0.02 * torch.sin(2 * math.pi * seconds))
    tones = [torch.cos(2 * math.pi * k * cycles) / k for k in range(1, 12)]
    tone = 0.2 * torch.stack(tones).sum(dim=0) * torch.exp(-0.7 * seconds)
    noise = torch.randn(channels, n, generator=torch_stream("law", row), dtype=torch.float64)
    gain = torch.linspace(1.0, 0.8, channels, dtype=torch.float64)[:, None]
    return (gain * tone + 0.01 * noise)[None].float()


def lengths(representation: Representation) -> Iterator[int]:
    """Yield the lengths that a round trip is tried at, in samples."""
    hop = representation.hop
    window = getattr(getattr(representation, "grid", None), "window", 16 * hop)
    primes = (2, 3, 97, 997, 9973)
    yield from sorted({1, *primes, max(1, hop - 1), hop, hop + 1, window - 1, window, 3 * representation.sample_rate})


def error(representation: Representation, wave: Tensor, made: Tensor) -> float:
    """Return the error that ``round_trip`` declares, dB: a signal-to-noise ratio, or a spectral convergence."""
    if not representation.drops_phase:
        noise = torch.linalg.vector_norm((wave - made).double())
        return math.inf if noise == 0 else float(20 * torch.log10(torch.linalg.vector_norm(wave.double()) / noise))
    wanted, found = (10 ** (representation.analyse(w).double() / 20) for w in (wave, made))
    return spectral_convergence(wanted, found)


def check_representation(representation: Representation) -> None:
    """Hold a representation to its declarations.

    Round trip inside the declared error at lengths from 1 sample to 3 s; frames, shapes and dtype as declared; the
    input is left alone; rows of a batch don't touch each other; silence stays silent; blocks equal the whole where
    it is streamable; live sound, cut anywhere, equals quality ``live``; the spectrum, where there is one, sums to the
    power of the sound, and gradients through it are finite even in silence.

    Raises:
        AssertionError: the first law that is broken, with what was found.
    """
    name = type(representation).__name__
    rate = representation.sample_rate
    assert math.isclose(representation.frame_rate, rate / representation.hop), f"{name}: frame rate"
    for n in lengths(representation):
        wave = sound(n, representation.channels, rate)
        given = wave.clone()
        features = representation.analyse(wave)
        expected = (1, representation.frame_size, representation.frames(n))
        assert features.shape == expected, f"{name}, {n} samples: features {tuple(features.shape)}, declared {expected}"
        assert features.dtype == representation.dtype, f"{name}: {features.dtype}, declared {representation.dtype}"
        assert torch.isfinite(features.double()).all(), f"{name}, {n} samples: features are not finite"
        floor = representation.floor
        assert floor is None or features.min() >= floor - 1e-3, f"{name}, {n} samples: below the floor {floor}"
        kept = features.clone()
        made = representation.synthesise(features, n)
        assert torch.equal(wave, given), f"{name}, {n} samples: analysis changed its input"
        assert torch.equal(features, kept), f"{name}, {n} samples: synthesis changed its input"
        assert made.shape == wave.shape, f"{name}, {n} samples: wave {tuple(made.shape)}, expected {tuple(wave.shape)}"
        assert made.dtype == torch.float32, f"{name}: wave is {made.dtype}, expected float32"
        found = error(representation, wave, made)
        inside = (
            found <= representation.round_trip if representation.drops_phase else found >= representation.round_trip
        )
        assert inside, f"{name}, {n} samples: round trip {found:.1f} dB, declared {representation.round_trip} dB"
    _check_defaults(representation, name)
    _check_batch(representation, name)
    if representation.streamable:
        _check_blocks(representation, name)
    _check_live(representation, name)
    _check_spectrum(representation, name)


def _check_defaults(representation: Representation, name: str) -> None:
    n = 5 * representation.hop + 1
    silence = torch.zeros(1, representation.channels, n)
    features = representation.analyse(silence)
    whole = representation.synthesise(features)
    count = representation.frames(n) * representation.hop
    assert whole.shape[-1] == count, f"{name}: default length {whole.shape[-1]}, expected frames * hop = {count}"
    assert whole.abs().max() < 1e-3, f"{name}: silence came back at {whole.abs().max():.2g}"
    longer = representation.synthesise(features, count + 7)
    assert longer.shape[-1] == count + 7, f"{name}: a longer length gave {longer.shape[-1]}, expected {count + 7}"


def _check_batch(representation: Representation, name: str) -> None:
    n = 9 * representation.hop + 1000
    rows = [sound(n, representation.channels, representation.sample_rate, row) for row in range(3)]
    together = representation.analyse(torch.cat(rows))
    for row, wave in enumerate(rows):
        alone = representation.analyse(wave)
        far = (together[row : row + 1] - alone).abs().max()
        assert far <= 1e-3, f"{name}: row {row} of a batch differs by {far} from the row alone"
    for quality in ("live", "fast", "best"):
        waves = representation.synthesise(together, n, quality=quality)
        for row in range(3):
            alone = representation.synthesise(together[row : row + 1], n, quality=quality)
            far = (waves[row : row + 1] - alone).abs().max()
            assert far <= 1e-3, f"{name}: row {row} at quality {quality} differs by {far} from the row alone"
        again = representation.synthesise(together, n, quality=quality)
        assert torch.equal(again, waves), f"{name}: quality {quality} is not deterministic"


def _check_blocks(representation: Representation, name: str) -> None:
    n = 1000 * representation.hop
    wave = sound(n, representation.channels, representation.sample_rate)
    features = representation.analyse(wave)
    cut = 373 * representation.hop
    blocks = [representation.analyse(part) for part in (wave[..., :cut], wave[..., cut:])]
    assert torch.equal(torch.cat(blocks, dim=-1), features), f"{name}: analysed blocks differ from the whole"
    waves = [representation.synthesise(part) for part in blocks]
    assert torch.equal(torch.cat(waves, dim=-1), representation.synthesise(features)), (
        f"{name}: synthesised blocks differ from the whole"
    )


def _check_spectrum(representation: Representation, name: str) -> None:
    rate, channels = representation.sample_rate, representation.channels
    n = 32 * representation.hop + rate // 2
    noise = 0.1 * torch.randn(1, channels, n, generator=torch_stream("law", "spectrum"))
    sine = 0.5 * torch.cos(2 * math.pi * rate / 7.3 * torch.arange(n) / rate).expand(1, channels, n)
    for what, wave, allowed in (("noise", noise, 1.0), ("a sine", sine, 2.5), ("silence", 0 * sine, math.inf)):
        features = representation.analyse(wave)
        found = representation.spectrum(features)
        if found is None:
            return
        root, frequency = found
        wide = widths(frequency)
        assert root.shape[:2] == (1, len(frequency)), f"{name}: a spectrum of shape {tuple(root.shape)}"
        assert (frequency.diff() > 0).all(), f"{name}: frequencies of the spectrum do not ascend"
        assert frequency[0] >= 0, f"{name}: a frequency of the spectrum is negative"
        assert frequency[-1] <= rate / 2 * 1.001, f"{name}: a frequency of the spectrum is above half the rate"
        inner = root[..., root.shape[2] // 4 : max(1, root.shape[2] - root.shape[2] // 4)]
        power = float((inner.square() * wide[:, None]).sum(1).mean())
        off = 10 * math.log10(max(power, 1e-12) / max(float(wave.square().mean()), 1e-12))
        assert abs(off) <= allowed, f"{name}: the spectrum of {what} is {off:.1f} dB off its power"
        given = features.clone().requires_grad_()
        spectrum = representation.spectrum(given)
        assert spectrum is not None
        spectrum[0].sum().backward()
        assert given.grad is not None
        assert torch.isfinite(given.grad).all(), f"{name}: a gradient through the spectrum of {what} is not finite"


def _check_live(representation: Representation, name: str) -> None:
    live = representation.live()
    if live is None:
        return
    quality: Quality = "live"
    for frames in (1, 2, 23):
        n = frames * representation.hop
        rows = [sound(n, representation.channels, representation.sample_rate, row) for row in range(2)]
        features = representation.analyse(torch.cat(rows))
        offline = representation.synthesise(features, quality=quality)
        for cuts in ((frames,), (1,) * frames, (1, 2, 5, 1, 14)):
            state, made, start = live.initial(2), [], 0
            for size in cuts:
                if start == frames:
                    break
                sound_now, state = live.push(features[..., start : start + size], state)
                made.append(sound_now)
                start = min(start + size, frames)
                lag = start * representation.hop - sum(part.shape[-1] for part in made)
                assert lag <= live.latency, f"{name}: live sound lags {lag} samples, declared {live.latency}"
            made.append(live.flush(state))
            streamed = torch.cat(made, dim=-1)
            assert streamed.shape == offline.shape, f"{name}: streamed {streamed.shape[-1]} samples, expected {n}"
            far = (streamed - offline).abs().max()
            assert far <= 1e-5, f"{name}: streamed sound differs by {far} from quality live (pushes of {cuts})"
