r"""Iterative refinement: a sound goes through a model, what comes out goes through again, and all passes are joined.

Letters: k pass, x_k the windows of pass k's sound, q(z | x) recognition with mean m(x), T temperature of its draw, e(z)
the mean of p(x | z) and n its noise's weight, mu and S mean and principal deviations of the corpus's codes, a the share
of a code that is drawn anew, g a gain, eps standard normal, one for all windows of a pass.

.. math::
    z_k &= m(x_{k-1}) + T\,(\tilde z - m(x_{k-1})), \quad \tilde z \sim q(z \mid x_{k-1}) \\
    z_k &\leftarrow \mu + \sqrt{1 - a^2}\,(z_k - \mu) + a\, S \varepsilon \\
    \text{heard: } y_k &= g\, e(z_k), \qquad
    \text{fed back: } x_k = g\,\bigl(e(z_k) + n\,(\tilde x - e(z_k))\bigr), \quad \tilde x \sim p(x \mid z_k)

With T = n = a = 0 and g = 1 a pass is the map of means, which contracts: a mean is quieter than what it is the mean of,
so every pass is quieter and all end alike. With T = n = 1 it is the pseudo-Gibbs chain of the model (Rezende et al.
2014, section 6), whose passes have the spread that the model gives to sounds. The share a is a step of a stationary
walk in the corpus's own spread, which undoes what m(e(z)) contracts. The gain g keeps the level of the sound that was
given (its root mean square, in every pass).

A walk strays. A pass may be drawn several times: the first is taken that lies in the corpus's usual range (level,
centroid, flatness; :class:`latentscape.measure.refinement.Usual`) and is far enough from the pass before, else the one
that comes nearest to that. So the chain is the same walk, conditioned on what the corpus sounds like.

A decoder that draws sample after sample (:mod:`latentscape.instrument.streamed`) has no mean to hear: what it draws is
heard and fed back, in every manner, and n does nothing.

The passes are joined in phase (:mod:`latentscape.instrument.aligned`), overlapping by 1 s, at most half of the sound.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError, nearest
from latentscape.core.random import seed_of, seeded
from latentscape.dist.conditional import point
from latentscape.instrument.aligned import AlignedJoiner
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels
from latentscape.instrument.stream import whole_sound
from latentscape.instrument.streamed import Streamed
from latentscape.measure.refinement import Heard, Usual, hear, spectral_step
from latentscape.models.bounds import evaluating
from latentscape.signal.representation import Quality

_OVERLAP_SECONDS = 1.0
_SILENT = 1e-6
_LOUDEST_GAIN = 1e3


@dataclass(frozen=True)
class Manner:
    """What happens in a pass (the module has the equations).

    Attributes:
        temperature: T, of the draw of the code; 0 is its mean.
        noise: n, of the decoder's noise in what is fed back; it is not heard.
        drift: a, share of the code that is drawn anew from the corpus's spread, 0 to 1.
        level: ``match`` keeps the level, ``free`` leaves it as it comes.
        tries: how often a pass is drawn at most.
        step: log-spectral distance from the pass before (dB) that a pass is drawn again for.
    """

    temperature: float = 0.0
    noise: float = 0.0
    drift: float = 0.0
    level: str = "match"
    tries: int = 1
    step: float = 0.0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and self.noise >= 0 and 0 <= self.drift <= 1):
            raise UsageError(
                f"refine got temperature {self.temperature:g}, noise {self.noise:g} and drift {self.drift:g}, expected "
                "at least 0, and a drift of at most 1"
            )
        if self.tries < 1 or not self.step >= 0:
            raise UsageError(f"refine got {self.tries} tries and a step of {self.step:g} dB, expected at least 1 and 0")
        if self.level not in ("match", "free"):
            raise UsageError(f"refine got level '{self.level}'{nearest(self.level, ('match', 'free'))}")


MANNERS = {
    "mean": Manner(level="free"),
    "level": Manner(),
    "sample": Manner(temperature=1.0),
    "gibbs": Manner(temperature=1.0, noise=1.0),
    "drift": Manner(temperature=1.0, drift=0.6),
    "roam": Manner(temperature=1.0, drift=0.6, tries=8, step=3.0),
}
"""Manners by name: ``mean`` is the journal's."""


def manner_of(name: str, **changes: float | None) -> Manner:
    """Return a manner by name, with what is not ``None`` changed.

    Raises:
        UsageError: there is no such manner, or a value is out of bounds.
    """
    if name not in MANNERS:
        raise UsageError(f"--manner got '{name}'{nearest(name, MANNERS)}")
    return replace(MANNERS[name], **{key: value for key, value in changes.items() if value is not None})  # pyrefly: ignore


@dataclass(frozen=True)
class Pass:
    """What was heard in a pass.

    Attributes:
        heard: level and spectrum.
        moved: log-spectral distance to the pass before (of the first: to the sound that was given), dB.
        spread: distance of the codes from the mean code of the corpus, in its own spread; 1 for a typical sound.
        gain: that kept the level, dB.
    """

    heard: Heard
    moved: float
    spread: float
    gain: float


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined sound.

    Attributes:
        wave: all passes joined, ``[c, n]``.
        given: what the sound was.
        passes: in order.
    """

    wave: Tensor
    given: Heard
    passes: tuple[Pass, ...]

    @property
    def drift(self) -> float:
        """The greatest difference of a pass's level from that of the first, dB."""
        levels = [one.heard.level for one in self.passes]
        return max(abs(level - levels[0]) for level in levels)

    @property
    def least_step(self) -> float:
        """The least log-spectral distance between successive passes, dB; NaN where there is one pass alone."""
        return min((one.moved for one in self.passes[1:]), default=float("nan"))

    def lines(self) -> list[str]:
        """Say how it went."""
        first, last = self.passes[0].heard, self.passes[-1].heard
        lines = [
            f"{len(self.passes)} passes: level {first.level:.1f} to {last.level:.1f} dBFS (at most {self.drift:.2f} dB "
            f"from the first), centroid {first.centroid:.0f} to {last.centroid:.0f} Hz, "
            f"flatness {first.flatness:.1f} to {last.flatness:.1f} dB",
        ]
        if len(self.passes) > 1:
            lines.append(f"successive passes are at least {self.least_step:.1f} dB apart (log-spectral distance)")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        rows = [
            {**asdict(one.heard), "moved": one.moved, "spread": one.spread, "gain": one.gain} for one in self.passes
        ]
        whole = {"drift": self.drift, "least_step": self.least_step}
        return {"given": _plain(asdict(self.given)), **_plain(whole), "passes": [_plain(row) for row in rows]}


def refine(
    instrument: Instrument,
    wave: Float[Tensor, "c n"],
    steps: int,
    manner: Manner = MANNERS["roam"],
    *,
    seed: int = 0,
    labels: Labels | None = None,
    quality: Quality = "fast",
    within: Usual | None = None,
    each: Callable[[int, Float[Tensor, "c n"]], None] = lambda step, wave: None,
) -> Refined:
    """Send a sound through a model ``steps`` times, each time what came out before.

    Args:
        instrument: of a run of sound.
        wave: at the representation's rate; shorter than a window, it is followed by silence.
        steps: passes.
        manner: what happens in each.
        seed: of what is drawn.
        labels: told to the model throughout.
        quality: of the phase recovery.
        within: what is usual in the corpus, which a manner of several tries keeps to.
        each: gets every pass, from 1, and its sound as long as the one given.

    Raises:
        UsageError: the run makes images, there is no pass to make, or noise is asked of a likelihood that nothing
            trained.
        DataError: the sound is silent, or holds NaN.
    """
    sound = instrument.representation
    if sound is None:
        raise UsageError(f"this run {instrument.name} makes images, not sound, and can't be refined")
    if steps < 1:
        raise UsageError(f"refine got {steps} steps, expected at least 1")
    if not isinstance(instrument, Streamed):
        instrument = instrument.joined("fade")  # within a pass every window has its place in time
    if manner.noise and not isinstance(instrument, Streamed) and not _has_noise(instrument):
        raise UsageError(
            f"refine got noise {manner.noise:g}, but {instrument.name} was trained by spectra alone "
            "(objective.distortion: 0): its likelihood's noise means nothing; leave it out, or take --manner sample"
        )
    samples = max(wave.shape[1], instrument.window.length if sound.hop == 1 else wave.shape[1])
    fed = torch.nn.functional.pad(wave, (0, samples - wave.shape[1]))
    wanted = _level(fed)
    if not wanted > _SILENT:
        raise DataError("refine got a silent sound, expected one with a level to keep")
    given = hear(fed, sound.sample_rate)
    overlap = min(samples // 2, round(_OVERLAP_SECONDS * sound.sample_rate))
    joiner = AlignedJoiner(samples, samples - overlap, sound.sample_rate)
    chain = _Chain(instrument, manner, samples, wanted, seed, labels, quality, within)
    joined: list[Tensor] = []
    passes: list[Pass] = []
    before = fed
    for step in range(1, steps + 1):
        made = chain.step(step, fed, before)
        each(step, made.heard)
        joined.append(joiner.push(made.heard[None]))
        passes.append(made.what)
        fed, before = made.fed, made.heard
    rest = joiner.flush()
    return Refined(torch.cat(joined if rest is None else [*joined, rest], -1), given, tuple(passes))


@dataclass(frozen=True, eq=False)
class _Made:
    """A pass: what is heard of it, what is fed back, and what was measured."""

    heard: Float[Tensor, "c n"]
    fed: Float[Tensor, "c n"]
    what: Pass


@dataclass(frozen=True, eq=False)
class _Chain:
    """What all passes have in common: ``level`` is the root mean square to keep."""

    instrument: Instrument
    manner: Manner
    samples: int
    level: float
    seed: int
    labels: Labels | None
    quality: Quality
    within: Usual | None

    def step(self, number: int, fed: Tensor, before: Tensor) -> _Made:
        """Return the next pass: the first try that is as wanted, else the one that comes nearest."""
        best, least = self._made(number, 0, fed, before), math.inf
        for attempt in range(self.manner.tries):
            made = best if attempt == 0 else self._made(number, attempt, fed, before)
            fault = self._fault(made.what)
            if fault < least:
                best, least = made, fault
            if fault == 0:
                break
        return best

    def _made(self, number: int, attempt: int, fed: Tensor, before: Tensor) -> _Made:
        player, noisy = self.instrument, None
        with evaluating(player.model), seeded("refine", self.seed, number, attempt, device=player.device):
            z = _codes(player, fed, self.manner, self.labels)
            if isinstance(player, Streamed):
                player = player.drawn(player.manner, seed_of("refine", self.seed, number, attempt))
            elif self.manner.noise:
                noisy = _noisy(player, z, self.manner.noise, self.labels)
        heard = player.placed(z, self.samples, quality=self.quality, labels=self.labels)
        gain = 1.0
        if self.manner.level == "match":
            gain = min(_LOUDEST_GAIN, self.level / max(_level(heard), _SILENT))
        heard = gain * heard
        assert player.representation is not None
        rate = player.representation.sample_rate
        moved = spectral_step(before, heard, rate)
        what = Pass(hear(heard, rate), moved, _spread(player, z), 20 * math.log10(gain))
        fed = heard if noisy is None else gain * _sounded(player, noisy, self.samples, self.quality)
        return _Made(heard, fed, what)

    def _fault(self, what: Pass) -> float:
        """Return how far a pass is from being usual and from having moved; 0 where it is both."""
        short = max(0.0, 1 - what.moved / self.manner.step) if self.manner.step else 0.0
        return short + (0.0 if self.within is None else self.within.excess(what.heard))


def _has_noise(instrument: Instrument) -> bool:
    """Return whether the likelihood had a part in training; else its scale is of phases that nobody sought."""
    return instrument.config.get("objective", {}).get("distortion", 1.0) > 0


def _codes(instrument: Instrument, wave: Tensor, manner: Manner, labels: Labels | None) -> Float[Tensor, "m d"]:
    """Return the codes of a pass."""
    mean = instrument.encode(wave, labels)
    z = mean
    if manner.temperature:
        x = instrument.windows(wave)
        drawn = []
        for rows in x.split(64):
            layers = instrument.model.infer(rows.to(instrument.device), instrument.context(labels, len(rows)))
            drawn.append(torch.cat([layer.z[0].flatten(1) for layer in layers], 1).cpu())
        z = mean + manner.temperature * (torch.cat(drawn) - mean)
    if manner.drift:
        chart = instrument.chart
        innovation = (torch.randn(len(chart.spread)) * chart.spread) @ chart.axes
        z = chart.mean + (1 - manner.drift**2) ** 0.5 * (z - chart.mean) + manner.drift * innovation
    return z


def _noisy(instrument: Instrument, z: Tensor, noise: float, labels: Labels | None) -> Sequence[Tensor]:
    """Return the windows that are fed back, with a weight of the decoder's noise."""
    windows = []
    for rows in z.split(64):
        context = instrument.context(labels, len(rows))
        p = instrument.model.decode(instrument.unpack(rows.to(instrument.device, torch.float32)), context)
        mean = point(p).float()
        windows.append(mean + noise * (p.sample().float() - mean))
    return windows


def _sounded(instrument: Instrument, windows: Sequence[Tensor], samples: int, quality: Quality) -> Tensor:
    """Return the sound of windows that have their place in time."""
    assert instrument.representation is not None
    joiner = instrument.joiner(moving=False)
    features = [joiner.push(part) for part in windows]
    rest = joiner.flush()
    whole = instrument.legal(torch.cat(features if rest is None else [*features, rest], 1))
    return torch.cat(list(whole_sound(instrument.representation, iter((whole,)), samples, quality)), -1)


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _level(wave: Tensor) -> float:
    return float(wave.double().square().mean().sqrt())


def _spread(instrument: Instrument, z: Tensor) -> float:
    chart = instrument.chart
    return float((z - chart.mean).square().sum(1).mean().sqrt() / chart.spread.square().sum().sqrt().clamp_min(1e-20))
