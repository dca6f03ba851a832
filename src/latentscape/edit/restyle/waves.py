r"""Restyling by what a trained WaveNet hears: codes are looked for whose activations have the style's statistics.

Letters: c channels, n samples, h hidden values (the residual stream) of every second layer of the run's net.

Both sounds are brought to the run's rate and to one level, and coded. The search begins, as with others, with the
content whose levels have been given the style's distribution (:mod:`.beginning`), holds on to its activations, and goes
down the loss of :mod:`latentscape.nets.rescoring` in one of the ways of :mod:`.descent`. Channels, and pieces of 4 s
that overlap, are searched for themselves. What lies above the band of the run is left as the search found it: the
content with the style's ranks.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.edit.restyle.codes import fitted
from latentscape.edit.restyle.descent import WAYS, Search
from latentscape.edit.restyle.engine import (
    Each,
    Restyled,
    Wish,
    finished,
    joined,
    pieces,
    restyle,
    style_for,
)
from latentscape.edit.restyle.methods import Method, method_of
from latentscape.edit.restyle.sounds import LEVEL
from latentscape.instrument.labels import Labels, context_of
from latentscape.instrument.waves import Waves
from latentscape.models.autoregressive import WaveNetConditional
from latentscape.nets.rescoring import Target, hidden_of, statistics, target_of
from latentscape.nets.wavenet import WaveNet
from latentscape.signal import audio

PIECE_SECONDS = 4.0
CARRIED = Method("the content, its levels ranked as the style's", evaluations=0)


def listened(depth: int) -> tuple[int, ...]:
    """Return the layers of a net that are listened to: every second, the last among them."""
    return tuple(range(2 - depth % 2, depth + 1, 2))


def restyle_waves(
    waves: Waves,
    content: Float[np.ndarray, "c n"] | None,
    style: Float[np.ndarray, "d m"],
    sample_rate: int,
    wish: Wish,
    *,
    seconds: float | None = None,
    labels: Labels | None = None,
    each: Each | None = None,
) -> Restyled:
    """Restyle a sound by the activations of a WaveNet.

    Args:
        waves: the run.
        content: full scale 1; ``None`` makes the style's texture out of noise.
        style: at the same rate.
        sample_rate: Hz, of both.
        wish: the way, and all that counts for other methods.
        seconds: length of a texture.
        labels: told to the net.
        each: told of the progress.

    Raises:
        UsageError: the run reads no mu-law codes, or is no WaveNet; the way has no likelihood.
        DataError: a sound can't be used.
    """
    conditional = _conditional(waves)
    net, rate = conditional.net, waves.representation.sample_rate
    way = wish.way or next(iter(WAYS))
    if wish.likelihood and way != "descent":
        raise UsageError(f"--likelihood got {wish.likelihood:g}, but --way {way} knows no likelihood; take descent")
    if content is not None and wish.strength == 0:
        return restyle(content, style, sample_rate, wish, method=CARRIED, each=each)
    whole = restyle(
        content, style, sample_rate, replace(wish, evaluations=None, content=None), seconds=seconds, method=CARRIED
    ).wave
    begun = audio.resample(whole.astype(np.float32), sample_rate, rate)
    gains = LEVEL / np.sqrt((begun**2).mean(1) + 1e-18)
    with torch.no_grad():
        context = context_of(labels, waves.vocabulary, 1, torch.device("cpu"))
        told = conditional.heard(None, context, 1).told
    layers = listened(len(net.layers))
    goal = audio.resample(style_for(style, content, sample_rate).mean(0, keepdims=True), sample_rate, rate)
    goal *= LEVEL / np.sqrt((goal**2).mean() + 1e-18)
    with torch.no_grad():
        target = target_of(net, _codes(waves, goal), told, layers)
    content_weight = method_of(wish.method).content if wish.content is None else wish.content
    target = replace(target, content=0.0 if content is None else content_weight, likelihood=wish.likelihood)
    rounds = wish.evaluations or method_of(wish.method).evaluations
    spans = pieces(begun.shape[1], rate, 1, PIECE_SECONDS)
    work = [(channel, span) for channel in range(len(begun)) for span in spans]
    losses: list[float] = []
    made: list[Tensor] = []
    for number, (channel, (low, high)) in enumerate(work):
        codes = _codes(waves, gains[channel] * begun[channel : channel + 1, low:high])
        search = Search(net, codes, target, told, rounds, wish.seed + number)
        search = replace(search, target=_aimed(search, wish.strength, texture=content is None))

        def so_far(codes: Tensor, number: int = number, gain: float = gains[channel]) -> np.ndarray:
            first = number - number % len(spans)
            whole = joined([*made[first:number], _wave(waves, codes) / gain], spans[: number - first + 1])
            return audio.resample(whole.numpy(), rate, sample_rate)

        if each is not None:
            search = replace(search, each=_telling(each, so_far, number, len(work)))
        found = WAYS[way](search)
        losses.extend(found.losses)
        made.append(_wave(waves, found.codes) / gains[channel])
    rows = [joined(made[start : start + len(spans)], spans) for start in range(0, len(made), len(spans))]
    changed = audio.resample(torch.cat(rows).numpy() - begun, rate, sample_rate)
    wave = whole + np.stack([fitted(row, whole.shape[1]) for row in changed])
    return finished(wave, content, style, sample_rate, tuple(losses))


def _conditional(waves: Waves) -> WaveNetConditional:
    """Return a copy of what the run makes sound by: the search computes in float32 on the processor."""
    conditional = waves.model.conditional
    net = conditional.net
    if not isinstance(net, WaveNet) or not net.levels or conditional.output.kind != "categorical":
        raise UsageError(f"{waves.name} is no WaveNet over mu-law codes; `--recipe wavenet` trains one")
    return deepcopy(conditional).to("cpu", torch.float32).eval().requires_grad_(False)


def _codes(waves: Waves, wave: np.ndarray) -> Tensor:
    return waves.representation.analyse(torch.from_numpy(np.ascontiguousarray(wave, np.float32))[None])[0, 0]


def _wave(waves: Waves, codes: Tensor) -> Float[Tensor, "1 n"]:
    return waves.representation.synthesise(codes[None, None], len(codes))[0]


def _aimed(search: Search, strength: float, *, texture: bool) -> Target:
    """Return the target with what is held on to, and a share of the way towards the style."""
    target = search.target
    with torch.no_grad():
        _, hidden, _ = hidden_of(search.net, search.net.table[search.codes], search.told, max(target.layers))
        features = target.features([h[1:] for h in hidden])
    if strength < 1 and not texture:
        gram, mean = statistics(features)
        gram, mean = torch.lerp(gram, target.gram, strength), torch.lerp(mean, target.mean, strength)
        target = replace(target, gram=gram, mean=mean)
    return replace(target, goal=features) if target.content else target


def _telling(
    each: Each, so_far: Callable[[Tensor], np.ndarray], number: int, count: int
) -> Callable[[float, float, Tensor], None]:
    def told(share: float, loss: float, codes: Tensor) -> None:
        each((number + share) / count, loss, lambda: so_far(codes))

    return told
