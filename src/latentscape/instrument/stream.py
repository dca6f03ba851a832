"""Sound from features that arrive piece by piece, in long segments; memory stays bounded.

Letters: f features a frame, t frames, c channels, n samples, rho correlation of two sounds where they overlap.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from latentscape.signal.representation import Quality, Representation

SEGMENT_SECONDS = 60.0
MARGIN_SECONDS = 2.0
FADE_SECONDS = 0.1
EDGE_SECONDS = 0.01
LOOP_SECONDS = 0.25


def whole_sound(
    representation: Representation, features: Iterator[Tensor], samples: int, quality: Quality
) -> Iterator[Tensor]:
    """Yield sound ``[c, n]``, ``samples`` in all, each segment synthesised as a whole.

    A sound under two minutes is one segment. In a longer one, segments of a minute see 2 s of their neighbours, and are
    cross-faded where they meet (see :func:`crossfade`).
    """
    hop, total = representation.hop, representation.frames(samples)
    length = max(1, round(SEGMENT_SECONDS * representation.frame_rate))
    margin = max(1, round(MARGIN_SECONDS * representation.frame_rate))
    fade = round(FADE_SECONDS * representation.sample_rate / 2)
    count = max(1, total // length)
    held, first = None, 0
    tail: Tensor | None = None
    for segment in range(count):
        last = segment == count - 1
        low = max(0, segment * length - margin)
        high = total if last else (segment + 1) * length + margin
        while held is None or first + held.shape[1] < high:
            piece = next(features)
            held = piece if held is None else torch.cat((held, piece), 1)
        held, first = held[:, low - first :], low
        size = samples - low * hop if last else (high - low) * hop
        wave = representation.synthesise(held[None, :, : high - low], size, quality=quality)[0].cpu()
        if tail is not None:
            begin = (segment * length - low) * hop - fade
            yield crossfade(tail, wave[:, begin : begin + 2 * fade])
            wave, low_sample = wave[:, begin + 2 * fade :], low * hop + begin + 2 * fade
        else:
            low_sample = 0
        if last:
            yield wave
            return
        seam = (segment + 1) * length * hop - low_sample
        yield wave[:, : seam - fade]
        tail = wave[:, seam - fade : seam + fade]


def crossfade(before: Tensor, after: Tensor) -> Tensor:
    r"""Fade from one sound to another, both ``[c, n]``, at constant power.

    With w from 0 to 1, the mix :math:`(1 - w) a + w b` is divided by
    :math:`\sqrt{(1-w)^2 + w^2 + 2 \rho w (1-w)}`: nothing for equal sounds (which are kept), and the equal-power fade
    for unrelated ones, whose phases a recovery has drawn differently.
    """
    n = before.shape[-1]
    w = (torch.arange(n, device=before.device) + 0.5) / max(1, n)
    power = (before.square().sum() * after.square().sum()).sqrt()
    rho = ((before * after).sum() / power.clamp_min(1e-30)).clamp(0, 1)
    return ((1 - w) * before + w * after) / ((1 - w) ** 2 + w**2 + 2 * rho * w * (1 - w)).sqrt()


def looped(wave: Tensor, samples: int) -> Tensor:
    """Return the first ``samples`` of a sound ``[c, n]`` so that they go on at their begin where they end.

    The sound is longer than that, and what it says after them fades into their begin.
    """
    fade = min(wave.shape[-1] - samples, samples)
    begin = crossfade(wave[..., samples : samples + fade], wave[..., :fade])
    return torch.cat([begin, wave[..., fade:samples]], -1)


def fades(samples: int, fade: int) -> Tensor:
    """Return a gain ``[samples]`` that rises from 0 and falls to it by half cosines over ``fade`` samples."""
    place = torch.arange(samples, dtype=torch.float32)
    edge = torch.minimum(place, samples - 1 - place) / max(1, min(fade, samples // 2))
    return torch.sin(0.5 * torch.pi * edge.clamp(0, 1)).square()


def softened(waves: Tensor, sample_rate: int, seconds: float = EDGE_SECONDS) -> Tensor:
    """Return sounds ``[..., samples]`` that begin and end in silence, by fades (10 ms): a held sound would click."""
    return waves * fades(waves.shape[-1], round(seconds * sample_rate)).to(waves)


def blocks_of(waves: Iterator[Tensor], block: int) -> Iterator[Tensor]:
    """Cut a stream of sound into blocks of ``block`` samples; the last one may be shorter."""
    held: list[Tensor] = []
    size = 0
    for wave in waves:
        held.append(wave)
        size += wave.shape[-1]
        if size < block:
            continue
        joined = torch.cat(held, -1)
        full = size - size % block
        yield from joined[:, :full].split(block, -1)
        held, size = [joined[:, full:]], size - full
    if size:
        yield torch.cat(held, -1)
