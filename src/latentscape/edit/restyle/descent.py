r"""Ways to look for codes whose activations in a WaveNet have a style's statistics.

Letters: n samples, x codes, E the net's table ``[256, r]``, J the loss
(:mod:`latentscape.nets.rescoring`), s share of the search that is over.

* *joint*, what the report of 2016 tried: the one-hot input is taken for a matrix P ``[n, 256]`` of numbers, the net
  sees P E, Adam goes down J(P), and the argmax of each row is taken in the end. Rows are not held to be one-hot, and
  what the argmax of all of them is worth together nobody has asked.
* *relaxed*: P is a softmax of scores over a temperature that falls from 1 to 1/20, so that it ends nearly one-hot.
* *straight-through*: the net sees E at the rounded codes; slopes are those of the line between neighbouring rows of E
  (Bengio, Leonard, Courville 2013).
* *langevin*: codes are real numbers, E is a line between neighbouring codes;
  :math:`x \leftarrow x - \epsilon_s \hat g + \sigma_s \xi` with normal :math:`\xi`, :math:`\sigma_s` from half a code
  to nothing, :math:`\hat g` the slope over the root of its mean square so far (annealed Langevin dynamics as in Jayaram
  and Thickstun 2021, preconditioned as in Li et al. 2016).
* *descent*: codes all the way. Blocks of samples are visited in random order, and each takes one of a few changes or
  none, by their exact change of J: single samples by a few codes either way (and to what the net itself finds
  likeliest, where J holds its likelihood), runs of samples by a grain, a windowed sine of random pitch and phase, since
  one sample can't move a low frequency. At a temperature that falls to nothing the choice is a draw (Geman, Geman
  1984), in the last third it is the best.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.core.random import numpy_stream, torch_stream
from latentscape.nets.rescoring import Rescoring, Target, hidden_of
from latentscape.nets.wavenet import WaveNet

BLOCKS = (128, 32, 8, 1)
"""Samples that change at once, one size a round."""
CANDIDATES = 4
VISITED = 32
"""Of so many places one is visited a round."""
OWN = 2
WARMEST = 0.03
"""Temperature that a descent begins at, in units of J a sample."""
RATES = {"joint": 3e-4, "relaxed": 0.2, "straight-through": 0.5, "langevin": 0.5}
"""Steps: of one-hot entries, scores, and codes."""
NOISE = 0.5

Told = Callable[[float, float, Int[Tensor, " n"]], None]
"""Told the share of the search that is over, the loss, and the codes as they are."""


@dataclass(frozen=True, eq=False)
class Search:
    """What is looked for.

    Attributes:
        net: reads codes; without gradients, on the processor.
        codes: where it begins.
        target: of the loss.
        told: what the net is told of the sound.
        rounds: evaluations of the slope, or rounds over all samples.
        seed: of all draws.
        each: told of every round.
    """

    net: WaveNet
    codes: Int[Tensor, " n"]
    target: Target
    told: Float[Tensor, "1 e"] | None = None
    rounds: int = 60
    seed: int = 0
    each: Told = lambda share, loss, codes: None

    def loss(self, inputs: Float[Tensor, "n r"]) -> Tensor:
        """Return J but for the likelihood of what the first layer sees, with gradients."""
        _, hidden, _ = hidden_of(self.net, inputs, self.told, max(self.target.layers))
        return self.target.loss(self.target.features([h[1:] for h in hidden]))


@dataclass(frozen=True, eq=False)
class Found:
    """What was found.

    Attributes:
        codes: of the ways by slopes the best of the last fifth of the rounds; of the joint gradient and the descent
            the last.
        losses: of every round, of what the net saw: real numbers, or codes.
    """

    codes: Int[Tensor, " n"]
    losses: tuple[float, ...]


def descent(search: Search) -> Found:
    """Return codes found by coordinate descent with exact rescoring; see the module."""
    kept = Rescoring(search.net, search.codes, search.target, search.told)
    drawn = numpy_stream("descent", search.seed)
    n = len(search.codes)
    loudness = float(_levels(search.codes, search.net.levels).square().mean().sqrt())
    losses: list[float] = []
    for number in range(search.rounds):
        share = number / search.rounds
        block = min(BLOCKS[number % len(BLOCKS)], n)
        temperature = WARMEST * max(0.0, 1 - 1.5 * share) ** 2
        places = drawn.permutation(n)[: max(1, n // VISITED)]
        shape = len(places), CANDIDATES
        if block == 1:
            steps, grains = np.rint(drawn.normal(size=shape) * 8 / (1 + 8 * share)).astype(np.int64), None
        else:
            steps, grains = np.zeros(shape, np.int64), _grains(drawn, *shape, block, loudness)
        kept.sweep(places, steps, grains, drawn.random(len(places)), temperature, OWN)
        kept.refresh()
        losses.append(kept.loss)
        search.each((number + 1) / search.rounds, losses[-1], kept.codes)
    return Found(kept.codes, tuple(losses))


def _grains(drawn: np.random.Generator, places: int, choices: int, block: int, loudness: float) -> np.ndarray:
    """Return windowed sines, in pairs of opposite sign; half a period fits a block at least."""
    half = places, choices // 2, 1
    frequency = np.exp(drawn.uniform(np.log(0.5 / block), np.log(0.45), half))
    size = loudness * 10 ** drawn.uniform(-1.5, 0.0, half)
    phase = drawn.uniform(0, 2 * np.pi, half)
    t = np.arange(block)
    grain = size * np.sin(2 * np.pi * frequency * t + phase) * np.hanning(block + 2)[1:-1]
    return np.concatenate((grain, -grain), 1).astype(np.float32)


def _levels(codes: Int[Tensor, " n"], levels: int) -> Float[Tensor, " n"]:
    pressed = 2 * codes / (levels - 1) - 1
    return pressed.sign() * torch.expm1(pressed.abs() * np.log(levels)) / (levels - 1)


def joint(search: Search) -> Found:
    """Return the argmax of a one-hot matrix that was taken for real numbers."""
    whole = torch.nn.functional.one_hot(search.codes, search.net.levels).float()
    table = search.net.table[:-1]
    return _by_slope(search, whole, lambda p, share: p @ table, lambda p: p.argmax(1), "joint", best=False)


def relaxed(search: Search) -> Found:
    """Return codes of a softmax whose temperature falls."""
    table = search.net.table[:-1]
    away = torch.arange(search.net.levels)[None] - search.codes[:, None]
    scores = -away.square() / 18.0

    def seen(p: Tensor, share: float) -> Tensor:
        return (p * 20**share).softmax(1) @ table

    return _by_slope(search, scores, seen, lambda p: p.argmax(1), "relaxed")


def straight_through(search: Search) -> Found:
    """Return rounded codes whose slopes are those of a line."""

    def seen(x: Tensor, share: float) -> Tensor:
        line = _on_the_line(search.net, x)
        return line + (search.net.table[_rounded(search.net, x)] - line).detach()

    return _by_slope(search, search.codes.float(), seen, lambda x: _rounded(search.net, x), "straight-through")


def langevin(search: Search) -> Found:
    """Return codes found as real numbers, by slopes and noise that dies away."""
    return _by_slope(
        search,
        search.codes.float(),
        lambda x, share: _on_the_line(search.net, x),
        lambda x: _rounded(search.net, x),
        "langevin",
        noise=NOISE,
    )


def _rounded(net: WaveNet, x: Tensor) -> Int[Tensor, " n"]:
    return x.detach().round().clamp(0, net.levels - 1).long()


def _on_the_line(net: WaveNet, x: Tensor) -> Float[Tensor, "n r"]:
    """Return rows of the table for real codes, with slopes."""
    inside = x.clamp(0, net.levels - 1)
    low = inside.detach().floor().clamp_max(net.levels - 2).long()
    return torch.lerp(net.table[low], net.table[low + 1], (inside - low)[:, None])


def _by_slope(
    search: Search,
    start: Tensor,
    seen: Callable[[Tensor, float], Tensor],
    read: Callable[[Tensor], Tensor],
    name: str,
    *,
    noise: float = 0.0,
    best: bool = True,
) -> Found:
    """Go down J by Adam; return what is read of the variable where the codes that are read had the least loss."""
    variable = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([variable], RATES[name])
    drawn = torch_stream("langevin", search.seed)
    losses: list[float] = []
    least, kept = float("inf"), search.codes
    for number in range(search.rounds):
        share = number / search.rounds
        adam.param_groups[0]["lr"] = RATES[name] * (1 - 0.9 * share)
        adam.zero_grad()
        loss = search.loss(seen(variable, share))
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
        if noise:
            with torch.no_grad():
                variable += noise * max(0.0, 1 - 1.25 * share) ** 2 * torch.randn(variable.shape, generator=drawn)
        codes = read(variable)
        last = number == search.rounds - 1
        if last or (best and number >= 0.8 * search.rounds):
            with torch.no_grad():
                found = float(search.loss(search.net.table[codes]))
            if not best or found < least:
                least, kept = found, codes
        search.each((number + 1) / search.rounds, losses[-1], codes)
    return Found(kept, tuple(losses))


WAYS: Mapping[str, Callable[[Search], Found]] = {
    "descent": descent,
    "straight-through": straight_through,
    "langevin": langevin,
    "relaxed": relaxed,
    "joint": joint,
}
