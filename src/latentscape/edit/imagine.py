r"""What a tagger believes a tag to be: sounds made so that it hears the tag in them, or that excite one unit.

Letters: w wave ``[1, n]``, X the short-time spectrum of what we began with, G gains ``[bands, times]`` in dB, k the
tag, J jittered hearings.

.. math:: \min_u\ -\frac1J \sum_j \log p(k \mid a_j(w)) + \lambda_s S + \lambda_v V

by Adam, at a fixed level (a tagger can't be persuaded by loudness). Where u is the wave itself, a net can be made to
believe anything by a wave that is noise to us. The priors leave less to move, and ask more of it:

* *gains*: the wave is :math:`w = \mathrm{STFT}^{-1}(X \cdot 10^{G / 20})` with G drawn linearly between a coarse grid,
  bands even on the mel scale: what was begun with (noise begins pink, as natural sounds are) is only made louder here
  and softer there, as wide and as slowly as an ear can tell
* *tilt*: :math:`S = \overline{G^2}`, so that the spectrum stays near the natural one that it began with
* *variation*: :math:`V = \overline{|G_{f, t+1} - G_{f, t}|} + \overline{|G_{f+1, t} - G_{f, t}|}`
* *jitter*: each hearing is of the wave turned by a draw of its time, at another level, with a little noise, through a
  smooth equaliser, so that only what survives this can be learnt (expectation over transformations, Athalye et al.
  2018)
* *manifold*: in place of a wave, the path z of an auto-encoder that sees sound as the tagger does is moved, with
  :math:`\frac{\lambda_z}{2} \overline{z^2}` in the spread of its corpus: only what the auto-encoder can say is said

Whether a sound is the tag or an illusion is for another tagger to say, one that took no part.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.random import torch_stream
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.tagging import Listener
from latentscape.measure.refinement import hear
from latentscape.models.bounds import evaluating
from latentscape.signal.frames import Frames

LEVEL = 0.05
"""Root mean square of every sound that is heard: -26 dBFS."""
_LOWEST = 50.0
_BANDS = 32
_TIMES = 12.0
"""Gains a second."""
_WINDOW, _HOP = 1024, 256
_TINY = 1e-12


@dataclass(frozen=True)
class Priors:
    """What keeps a sound natural.

    Attributes:
        gains: whether gains are moved, and not the wave.
        tilt: weight of S, per dB^2.
        variation: weight of V, per dB; of the change of codes, on a manifold.
        jitter: hearings a step, each varied; 0 hears the wave as it is.
        latent: weight of the codes' square, on a manifold.
    """

    gains: bool = True
    tilt: float = 5e-4
    variation: float = 0.02
    jitter: int = 4
    latent: float = 0.1


NONE = Priors(False, 0.0, 0.0, 0, 0.0)


@dataclass(frozen=True)
class Goal:
    """What is to be heard: a tag, or a unit of a layer.

    Attributes:
        tag: its name; empty for a unit.
        layer: name of a layer.
        unit: its channel.
    """

    tag: str = ""
    layer: str = ""
    unit: int = 0

    def of(self, listener: Listener, features: Float[Tensor, "b f t"]) -> Float[Tensor, " b"]:
        """Return what is to be made great: log p of the tag, or the unit's mean activation.

        Raises:
            UsageError: there is no such tag, layer or unit.
        """
        if self.tag:
            return log_scores(listener, features)[:, listener.place(self.tag)]
        return unit_of(listener.model.activations(features), self.layer, self.unit).flatten(1).mean(1)


def log_scores(listener: Listener, features: Float[Tensor, "b f t"]) -> Float[Tensor, "b k"]:
    """Return log p of every tag, the mean over segments."""
    segments = listener.segments(features)
    logits = listener.model.logits(segments.flatten(0, 1)).unflatten(0, segments.shape[:2])
    one = listener.model.config.law == "one"
    return (logits.log_softmax(-1) if one else torch.nn.functional.logsigmoid(logits)).mean(1)


def unit_of(activations: dict[str, Tensor], layer: str, unit: int) -> Tensor:
    """Return one channel of a layer, ``[b, t]`` or ``[b, f, t]``.

    Raises:
        UsageError: there is no such layer or unit.
    """
    if layer not in activations:
        raise UsageError(f"no layer '{layer}', expected one of {', '.join(activations)}")
    found = activations[layer]
    if not 0 <= unit < found.shape[1]:
        raise UsageError(f"layer {layer} has units 0 to {found.shape[1] - 1}, got {unit}")
    return found[:, unit]


@dataclass(frozen=True, eq=False)
class Imagined:
    """A sound that was imagined.

    Attributes:
        wave: ``[1, n]`` at the tagger's rate.
        score: of the goal, by the tagger itself: p of a tag, or the unit's mean activation.
        before: the same of what it began with.
        best: the tag that the tagger hears most.
        flatness: spectral flatness, dB (0 is white noise).
        curve: the goal at every step.
    """

    wave: Float[Tensor, "1 n"]
    score: float
    before: float
    best: str
    flatness: float
    curve: tuple[float, ...]


def imagine(
    listener: Listener,
    goals: Sequence[Goal],
    starts: Sequence[Float[Tensor, "1 n"] | None],
    *,
    seconds: float | None = None,
    priors: Priors = Priors(),
    manifold: Instrument | None = None,
    steps: int = 200,
    rate: float | None = None,
    seed: int = 0,
    each: Callable[[int], None] = lambda step: None,
) -> list[Imagined]:
    """Make a sound for every goal, all of them side by side.

    Args:
        listener: of a run that holds a tagger.
        goals: what to hear.
        starts: for each what it begins with, at the tagger's rate; ``None`` begins with noise.
        seconds: length, s; a segment of the tagger's unless told. A start is cut, or repeated.
        priors: what keeps them natural.
        manifold: an auto-encoder of the same representation, whose path is moved in place of the wave.
        steps: of Adam.
        rate: of Adam; what suits u unless told.
        seed: of noise and jitter.
        each: told every step that is done.

    Raises:
        UsageError: a goal is not known, the sound is too short or silent, or the auto-encoder sees sound otherwise.
    """
    if not goals or len(goals) != len(starts):
        raise UsageError(f"imagine got {len(goals)} goals and {len(starts)} sounds to begin with, expected one of each")
    n = listener.least if seconds is None else round(seconds * listener.sample_rate)
    if n < listener.least:
        least = listener.least / listener.sample_rate
        raise UsageError(f"imagine got {n / listener.sample_rate:g} s, expected at least the tagger's {least:g} s")
    stream = torch_stream("imagine", seed)
    colour = pink if priors.gains or manifold is not None else _white
    begun = torch.stack([_start(start, n, lambda u: colour(u, listener.sample_rate), stream) for start in starts])
    begun = begun.to(listener.device)
    canvas: Canvas = (
        PathCanvas(listener, begun, priors, manifold)
        if manifold is not None
        else (GainCanvas if priors.gains else WaveCanvas)(listener, begun, priors)
    )
    before = _scores(listener, goals, begun)
    adam = torch.optim.Adam([canvas.moved], lr=canvas.rate if rate is None else rate, betas=(0.9, 0.99))
    curves: list[list[float]] = []
    for step in range(steps):
        features = canvas.features(stream)
        goal = _reached(listener, goals, features)
        adam.zero_grad()
        (canvas.penalty() - goal).sum().backward()
        adam.step()
        curves.append(goal.detach().tolist())
        each(step + 1)
    with torch.no_grad():
        waves = canvas.waves()
    scores = _scores(listener, goals, waves)
    made = []
    for row, wave in enumerate(waves):
        best = listener.ranked(listener.hear(wave).scores, 1)[0][0]
        curve = tuple(values[row] for values in curves)
        flatness = hear(wave.cpu(), listener.sample_rate).flatness
        made.append(Imagined(wave.cpu(), scores[row], before[row], best, flatness, curve))
    return made


def _reached(listener: Listener, goals: Sequence[Goal], features: Float[Tensor, "r f t"]) -> Float[Tensor, " g"]:
    """Return every goal's value, the mean over its jittered hearings."""
    if all(goal.tag for goal in goals):  # one pass for all of them
        logs = log_scores(listener, features).unflatten(0, (-1, len(goals))).mean(0)
        return logs[range(len(goals)), [listener.place(goal.tag) for goal in goals]]
    found = features.unflatten(0, (-1, len(goals)))
    return torch.stack([goal.of(listener, found[:, row]).mean() for row, goal in enumerate(goals)])


def _scores(listener: Listener, goals: Sequence[Goal], waves: Float[Tensor, "g 1 n"]) -> list[float]:
    with torch.no_grad():
        heard = listener.scores(waves) if any(goal.tag for goal in goals) else waves
        found = [
            heard[row, listener.place(goal.tag)]
            if goal.tag
            else goal.of(listener, listener.features(waves[row : row + 1]))
            for row, goal in enumerate(goals)
        ]
    return [float(one) for one in found]


def _white(u: Tensor, rate: int) -> Tensor:
    return u


def _start(
    wave: Float[Tensor, "1 n"] | None, n: int, colour: Callable[[Tensor], Tensor], stream: torch.Generator
) -> Float[Tensor, "1 m"]:
    if wave is None:
        return levelled(colour(torch.randn(1, n, generator=stream)))
    if not float(wave.abs().max()) > 0:
        raise UsageError("imagine got a silent sound to begin with")
    return levelled(wave.mean(0, keepdim=True).repeat(1, -(-n // wave.shape[1]))[:, :n].float())


def levelled(wave: Float[Tensor, "... n"]) -> Float[Tensor, "... n"]:
    """Return waves at the level that all are heard at."""
    return wave * (LEVEL / wave.square().mean(-1, keepdim=True).add(_TINY).sqrt())


def pink(u: Float[Tensor, "... n"], rate: int) -> Float[Tensor, "... n"]:
    """Return white noise as pink noise: 3 dB softer from octave to octave above 50 Hz."""
    frequency = torch.fft.rfftfreq(u.shape[-1], 1 / rate, device=u.device).clamp_min(_LOWEST)
    return torch.fft.irfft(torch.fft.rfft(u) * (frequency / 1000) ** -0.5, n=u.shape[-1])


class Canvas:
    """What is moved, and how it sounds.

    Attributes:
        moved: u, which asks for gradients.
        rate: of Adam, in units of u.
    """

    moved: Tensor
    rate: float

    def features(self, stream: torch.Generator) -> Float[Tensor, "r f t"]:
        """Return what the tagger sees of all sounds, jittered hearings one after the other: rows (hearing, sound)."""
        raise NotImplementedError

    def penalty(self) -> Float[Tensor, " g"]:
        """Return what the priors ask of every sound."""
        raise NotImplementedError

    def waves(self) -> Float[Tensor, "g 1 n"]:
        """Return the sounds."""
        raise NotImplementedError


class WaveCanvas(Canvas):
    """The wave itself, in units of its level."""

    rate = 0.05

    def __init__(self, listener: Listener, begun: Float[Tensor, "g 1 n"], priors: Priors) -> None:
        self.listener, self.priors = listener, priors
        self.moved = (begun / LEVEL).clone().requires_grad_()

    def waves(self) -> Float[Tensor, "g 1 n"]:
        """Return the sounds at their level."""
        return levelled(self.moved)

    def features(self, stream: torch.Generator) -> Float[Tensor, "r f t"]:
        """Return features of the jittered waves."""
        waves, rate = self.waves(), self.listener.sample_rate
        if not self.priors.jitter:
            return self.listener.features(waves)
        heard = [jittered(wave, rate, stream) for _ in range(self.priors.jitter) for wave in waves]
        return self.listener.features(torch.stack(heard))

    def penalty(self) -> Float[Tensor, " g"]:
        """Return nothing: nothing is asked of a wave."""
        return self.moved.new_zeros(len(self.moved))


class GainCanvas(WaveCanvas):
    """Gains in dB on a coarse grid of bands and times, over the spectrum of what was begun with."""

    rate = 2.0

    def __init__(self, listener: Listener, begun: Float[Tensor, "g 1 n"], priors: Priors) -> None:
        super().__init__(listener, begun, priors)
        self.grid, self.samples = Frames(_WINDOW, _HOP), begun.shape[2]
        self.spectrum = self.grid.analyse(begun[:, 0])
        mel = (1 + self.grid.frequencies(listener.sample_rate, begun) / 700).log()
        self.place = mel / mel[-1] * (_BANDS - 1)
        times = max(2, round(self.samples / listener.sample_rate * _TIMES))
        self.moved = begun.new_zeros(len(begun), _BANDS, times, requires_grad=True)

    def waves(self) -> Float[Tensor, "g 1 n"]:
        """Return the sounds at their level."""
        frames = self.spectrum.shape[1]
        over = torch.nn.functional.interpolate(self.moved, frames, mode="linear", align_corners=True)
        below = self.place.long().clamp_max(_BANDS - 2)
        gains = torch.lerp(over[:, below], over[:, below + 1], (self.place - below)[None, :, None])
        spectrum = self.spectrum * (10 ** (gains / 20)).transpose(1, 2)
        return levelled(self.grid.synthesise(spectrum, self.samples)[:, None])

    def penalty(self) -> Float[Tensor, " g"]:
        """Return the weighted S and V."""
        return self.priors.tilt * self.moved.square().mean((1, 2)) + self.priors.variation * _variation(self.moved)


def _variation(values: Float[Tensor, "g f t"]) -> Float[Tensor, " g"]:
    return values.diff(dim=2).abs().mean((1, 2)) + values.diff(dim=1).abs().mean((1, 2))


def jittered(wave: Float[Tensor, "1 n"], rate: int, stream: torch.Generator) -> Float[Tensor, "1 n"]:
    """Return a wave turned in time, through a smooth equaliser of +-4 dB, at a level within 6 dB, with some noise."""
    n = wave.shape[1]
    draw = torch.rand(8, generator=stream)
    turned = wave.roll(int(draw[0] * n), 1)
    octaves = torch.fft.rfftfreq(n, 1 / rate).clamp_min(_LOWEST).div(_LOWEST).log2()
    ripple = sum(
        (draw[3 + i] * 2 - 1) * torch.cos(math.pi * (i + 1) * octaves / octaves[-1] + 2 * math.pi * draw[5 + i])
        for i in range(2)
    )
    gain = 10 ** ((12 * draw[1] - 6 + 2 * ripple) / 20)
    heard = torch.fft.irfft(torch.fft.rfft(turned) * gain.to(wave.device), n=n)
    noise = torch.randn(1, n, generator=stream) * LEVEL * 10 ** (-(20 + 20 * float(draw[2])) / 20)
    return heard + noise.to(wave.device)


class PathCanvas(Canvas):
    """The path of an auto-encoder that sees sound as the tagger does, in the spread of its corpus."""

    rate = 0.1

    def __init__(self, listener: Listener, begun: Float[Tensor, "g 1 n"], priors: Priors, manifold: Instrument) -> None:
        if manifold.representation is None or manifold.config["representation"] != listener.config["representation"]:
            raise UsageError(
                f"the auto-encoder {manifold.name} does not see sound as {listener.name} does: train it with the same "
                "representation"
            )
        self.listener, self.priors, self.manifold = listener, priors, manifold
        chart = manifold.chart
        self.mean, self.axes = chart.mean.to(listener.device), chart.axes.to(listener.device)
        self.spread = chart.spread.to(listener.device).clamp_min(_TINY)
        codes = torch.stack([manifold.encode(wave.cpu()) for wave in begun]).to(listener.device)
        self.moved = ((codes - self.mean) @ self.axes.T / self.spread).clone().requires_grad_()
        self.samples = begun.shape[2]

    def _decoded(self) -> Float[Tensor, "g f t"]:
        manifold = self.manifold
        z = self.mean + (self.moved * self.spread) @ self.axes
        rows = []
        for path in z:
            p = manifold.model.decode(manifold.unpack(path), manifold.context(None, len(path)))
            joiner = manifold.joiner(moving=False)
            parts = [joiner.push(p.mean), joiner.flush()]
            rows.append(torch.cat([part for part in parts if part is not None], 1))
        features = torch.stack(rows)
        frames = self.listener.representation.frames(self.samples)
        floor = self.listener.representation.floor
        features = features[..., :frames]
        return features if floor is None else features.clamp_min(floor)

    def features(self, stream: torch.Generator) -> Float[Tensor, "r f t"]:
        """Return features turned in time by a draw, as many times as there are hearings."""
        with _still(self.manifold):
            found = self._decoded()
        turns = torch.randint(found.shape[2], (self.priors.jitter,), generator=stream).tolist() or [0]
        return torch.cat([found.roll(turn, 2) for turn in turns])

    def penalty(self) -> Float[Tensor, " g"]:
        """Return the weighted square of the codes, and their change along the path."""
        change = self.moved.diff(dim=1).abs().mean((1, 2)) if self.moved.shape[1] > 1 else 0.0
        return self.priors.latent / 2 * self.moved.square().mean((1, 2)) + self.priors.variation * change

    def waves(self) -> Float[Tensor, "g 1 n"]:
        """Return the sound of the decoded path, its phase recovered."""
        with _still(self.manifold):
            features = self._decoded()
        return levelled(self.listener.representation.synthesise(features.cpu(), self.samples).to(self.listener.device))


def _still(manifold: Instrument) -> Any:
    manifold.model.requires_grad_(False).eval()
    return torch.enable_grad() if torch.is_grad_enabled() else evaluating(manifold.model)
