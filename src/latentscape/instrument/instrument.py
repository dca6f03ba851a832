r"""The Instrument: the space of a run, played: paths and points become sound of any length.

Letters: c channels, n samples, m windows, d latent width (all layers, packed).

.. math:: \text{path} \xrightarrow{\text{a point a frame}} z_{1..m} \xrightarrow{\text{decode, join}}
    \text{features} \xrightarrow{\text{synthesise}} \text{sound}

Everything is a function of arguments and seeds, and the model is left as it was.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry.path import Path
from latentscape.geometry.paths import PathRecord
from latentscape.geometry.travel import Rounds
from latentscape.instrument.axes import NamedAxis, Naming
from latentscape.instrument.labels import Labels
from latentscape.instrument.morphs import morphed
from latentscape.instrument.naming import name_axes
from latentscape.instrument.space import Space
from latentscape.instrument.stream import LOOP_SECONDS, blocks_of, looped, softened, whole_sound
from latentscape.instrument.timing import stretch, stretched
from latentscape.instrument.voice import Voice
from latentscape.instrument.walks import walk
from latentscape.instrument.windows import count_windows
from latentscape.models.second_stage import SecondStage
from latentscape.registry import Joining
from latentscape.signal.representation import Quality


class Instrument(Space):
    """A loaded run; arguments as of :class:`latentscape.instrument.space.Space`."""

    def joined(self, joining: Joining | None = None, overlap: float | None = None) -> "Instrument":
        """Return the same instrument with another joining of windows, or itself where nothing else is asked for.

        Args:
            joining: the way; ``None`` leaves it.
            overlap: the share of a window that the next one takes part in, in (0, 1); ``None`` leaves it to the run.

        Raises:
            UsageError: windows that are not of raw sound can't be brought into phase; windows end to end share nothing.
        """
        if overlap is None and joining in (None, self.joining):
            return self
        other, joining = copy.copy(self), joining or self.joining
        if overlap is None and joining != "plain":
            overlap = self.window.overlap
        other._join_by(joining, overlap)
        return other

    @cached_property
    def naming(self) -> Naming:
        """The named axes with all that is known of them: as the run holds them, or else principal ones, found now."""
        return self._naming or name_axes(self)

    @property
    def axes(self) -> tuple[NamedAxis, ...]:
        """The named axes, by falling deviation."""
        return self.naming.axes

    def walk(self, kind: str, **options: Any) -> PathRecord:
        """Return a path through the corpus; see :func:`latentscape.instrument.walks.walk`."""
        return walk(self, kind, **options)

    def render(
        self,
        points: Path | Float[Tensor, "m d"],
        seconds: float | None = None,
        *,
        quality: Quality = "best",
        labels: Labels | None = None,
    ) -> Float[Tensor, "c n"]:
        """Return the sound of a path, or of points one after the other, at any length.

        The path is evaluated once a frame (window step), so that frames follow it without seams.

        Args:
            points: a path, or points ``[m, d]``; one point is held, several are spread evenly over the time, the line
                between neighbours filling in.
            seconds: s; may be left out for points, which then come one a window.
            quality: of the phase recovery; ``live`` is what :meth:`blocks` plays.
            labels: told to the model throughout.

        Raises:
            UsageError: the points do not fit, the time is missing or not positive, a label is not known.
        """
        sound = self._sound()
        samples, source = self._plan(points, seconds)
        if quality == "live" and sound.live() is not None:
            waves = self._live(samples, source, labels)
        else:
            waves = whole_sound(sound, self._track(samples, source, labels), samples, quality)
        return torch.cat(list(waves), -1)

    def loop(
        self, path: Path, seconds: float, *, quality: Quality = "best", labels: Labels | None = None
    ) -> Float[Tensor, "c n"]:
        """Return the sound of one round of a closed path that goes on at its begin where it ends, for a sampler.

        A quarter of a second of the next round (of a short sound: as much as half of it) fades into the begin.

        Args:
            path: closed.
            seconds: s, of a round.
            quality: of the phase recovery.
            labels: told to the model throughout.

        Raises:
            UsageError: as :meth:`render`; or the path does not end where it begins.
        """
        sound = self._sound()
        samples = self._plan(path, seconds)[0]
        more = min(round(LOOP_SECONDS * sound.sample_rate), samples // 2)
        steps = self._count(samples + more) - 1
        rounds = Rounds(path, max(1.0, steps * self.step * sound.hop / samples))  # by the places of its windows
        wave = self.render(rounds, (samples + more) / sound.sample_rate, quality=quality, labels=labels)
        return looped(wave, samples)

    def blocks(
        self, points: Path | Float[Tensor, "m d"], seconds: float, block: int, *, labels: Labels | None = None
    ) -> Iterator[Float[Tensor, "c n"]]:
        """Yield the sound in blocks of ``block`` samples as a live synthesiser makes them: ``render(quality="live")``.

        Raises:
            UsageError: as :meth:`render`; or the representation can't be played live.
        """
        if block < 1:
            raise UsageError(f"got a block of {block} samples, expected at least 1")
        return blocks_of(self._live(*self._plan(points, seconds), labels), block)

    def voice(self, labels: Labels | None = None) -> Voice:
        """Return a live voice at its begin; see :mod:`latentscape.instrument.voice`, also for what is refused."""
        return Voice(self, labels)

    def reconstruct(
        self, wave: Float[Tensor, "c n"], *, quality: Quality = "best", labels: Labels | None = None
    ) -> Float[Tensor, "c n"]:
        """Return a sound as the model hears it: encoded, decoded, synthesised; of the same length."""
        return self.placed(self.encode(wave, labels), wave.shape[1], quality=quality, labels=labels)

    def placed(
        self, z: Float[Tensor, "m d"], samples: int, *, quality: Quality = "best", labels: Labels | None = None
    ) -> Float[Tensor, "c n"]:
        """Return the sound of windows that have their place in time, as those of :meth:`encode` do."""
        features = self._features(lambda low, high: z[low:high], len(z), labels, moving=False)
        return torch.cat(list(whole_sound(self._sound(), features, samples, quality)), -1)

    def sample(
        self,
        n: int = 1,
        seconds: float = 2.0,
        *,
        seed: int = 0,
        temperature: float | Sequence[float] = 1.0,
        vary: int | None = None,
        labels: Labels | None = None,
        quality: Quality = "best",
        stage: SecondStage | None = None,
    ) -> Num[Tensor, "..."]:
        """Return n draws of the prior, or of a second stage: sounds ``[n, c, samples]``, or images ``[n, *event]``.

        A point is one window. As a sound it is held for the whole time, with fades of 10 ms against clicks: a spectral
        frame gives a drone. For sounds that move, render ``walk("random_walk", seed=...)``.

        Args:
            n: draws.
            seconds: s, of sounds.
            seed: the draws are a function of the arguments.
            temperature: spread of the prior's draws, 0 its mean; one number, or one a layer of a hierarchy, top first.
            vary: the one layer, counted from 1 at the top, that is drawn; the others are at their means.
            labels: told to the model.
            quality: of the phase recovery.
            stage: a second stage to draw from.

        Raises:
            UsageError: ``n`` is below 1; there are not so many layers; or a second stage, which has no temperature, is
                given one.
        """
        if vary is not None:
            temperature = self._alone(vary, temperature)
        if stage is not None and temperature != 1:
            raise UsageError("a second stage has no temperature; leave one of the two out")
        z = self._draw(n, labels, seed, temperature) if stage is None else stage.sample(n, seed).cpu()
        if self.representation is None:
            return self.decode(z, labels)
        players = [self if vary is not None else self._apart(number) for number in range(n)]
        way: dict[str, Any] = {"quality": quality, "labels": labels}
        waves = torch.stack([one.render(row[None], seconds, **way) for one, row in zip(players, z, strict=True)])
        return softened(waves, self.representation.sample_rate)

    def morph(
        self,
        a: Float[Tensor, "c n"],
        b: Float[Tensor, "c m"],
        seconds: float | None = None,
        *,
        kind: str = "line",
        speed: str = "time",
        between: Literal["frames", "means"] = "frames",
        weight: float | None = None,
        layers: Sequence[int] | None = None,
        quality: Quality = "best",
        labels: Labels | None = None,
    ) -> Float[Tensor, "c k"]:
        """Return a sound that goes from one sound to another.

        Args:
            a: the sound it begins as.
            b: the sound it ends as.
            seconds: s; default: the longer of the two.
            kind: line, sphere (great circles about the mean code of the corpus) or geodesic (of the mean codes); see
                :func:`latentscape.instrument.morphs.morphed`.
            speed: time, latent, feature or perceived: what the way between the means is at constant speed in.
            between: ``frames`` stretches both to the same time and mixes them point by point, so that the courses of
                both are heard; ``means`` goes from the mean code of one to that of the other.
            weight: of ``b``, 0 to 1; default: it goes from 0 to 1 with time.
            layers: of a hierarchy, 1 the top, that alone go; default: all.
            quality: of the phase recovery.
            labels: told to the model throughout.
        """
        longer = max(a.shape[1], b.shape[1]) / self._sound().sample_rate
        codes = [self.encode(wave, labels) for wave in (a, b)]
        if between == "means":
            codes = [code.mean(0, keepdim=True) for code in codes]
        count = max(2, *(len(code) for code in codes))
        first, second = (stretch(code, count) for code in codes)
        mixed = morphed(self, first, second, kind, weight=weight, speed=speed, layers=layers, labels=labels)
        return self.render(mixed, longer if seconds is None else seconds, quality=quality, labels=labels)

    # parts

    def _apart(self, number: int) -> "Instrument":
        """Return the instrument of the sound of that number among several: itself, where a code says all of it."""
        return self

    def _plan(self, points: Path | Tensor, seconds: float | None) -> tuple[int, Callable[[int], Callable]]:
        """Return how many samples to make, and count -> (low, high) -> points, evaluated piece by piece."""
        sound = self._sound()
        if isinstance(points, Path):
            if points.dim != self.dim:
                raise UsageError(f"got a path in {points.dim} dimensions, expected {self.dim}")
        else:
            self._check_points(points)
        if seconds is None:
            if isinstance(points, Path):
                raise UsageError("a path has no length in time; give seconds")
            frames = (len(points) - 1) * self.step + self.window.length
            return frames * sound.hop, lambda count: lambda low, high: points[low:high]
        samples = round(seconds * sound.sample_rate) if math.isfinite(seconds) else 0
        if samples < 1:
            raise UsageError(f"got {seconds} seconds, expected more than 0")

        def source(count: int) -> Callable[[int, int], Tensor]:
            def piece(low: int, high: int) -> Tensor:
                # float64: at float32 the frames of an hour would be 2 % uneven
                t = torch.arange(low, high, dtype=torch.float64) / max(1, count - 1)
                return points.evaluate(t).float() if isinstance(points, Path) else stretched(points, t)

            return piece

        return samples, source

    def _live(self, samples: int, source: Callable[[int], Callable], labels: Labels | None) -> Iterator[Tensor]:
        voice, count = self.voice(labels), self._live_count(samples)
        points, size = source(count), self._rows_at_once()
        return voice.play((points(low, min(count, low + size)) for low in range(0, count, size)), samples)

    def _live_count(self, samples: int) -> int:
        return self._count(samples)

    def _count(self, samples: int) -> int:
        return count_windows(self._sound().frames(samples), self.window.length, self.step)

    def _track(self, samples: int, source: Callable[[int], Callable], labels: Labels | None) -> Iterator[Tensor]:
        count = self._count(samples)
        return self._features(source(count), count, labels)

    def _alone(self, vary: int, temperature: float | Sequence[float]) -> tuple[float, ...]:
        """Return the temperatures that let one layer vary."""
        layers = len(self.model.latent_shapes)
        if not 1 <= vary <= layers:
            raise UsageError(f"layer {vary} does not exist, expected 1 (top) to {layers}")
        every = [temperature] * layers if isinstance(temperature, int | float) else temperature
        return tuple(float(own) if layer == vary else 0.0 for layer, own in enumerate(every, 1))
