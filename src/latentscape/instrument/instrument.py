r"""The Instrument: a model that has learnt a corpus, its representation and its latent map, ready to be played.

Letters: c channels, n samples, f features a frame, T frames, m windows, d latent width (all layers, packed).

.. math::
    \text{sound} \xrightarrow{\text{analyse, cut}} x_{1..m} \xrightarrow{\text{posterior mean}} z_{1..m} \\
    z_{1..m} \xrightarrow{\text{mean of } p(x \mid z)} x_{1..m} \xrightarrow{\text{join, synthesise}} \text{sound}

Every frame (window length 1) has a point. Longer windows are half overlapped (or as they were cut for training, where
that overlaps more) and cross-faded; those of raw sound are moved into phase with one another where they follow a path
(:mod:`latentscape.instrument.aligned`), and put end to end where the joining is ``plain``. Everything is a function of
arguments and seeds, and the model is left as it was.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import seeded
from latentscape.dist.conditional import Context, Latents, point
from latentscape.geometry.path import Path
from latentscape.geometry.paths import PathRecord
from latentscape.instrument.aligned import AlignedJoiner
from latentscape.instrument.axes import NamedAxis, Naming, name_axes
from latentscape.instrument.labels import Labels, context_of
from latentscape.instrument.map import LatentMap, latent_map
from latentscape.instrument.morphs import morphed
from latentscape.instrument.stream import blocks_of, fades, whole_sound
from latentscape.instrument.timing import stretch, stretched
from latentscape.instrument.walks import walk
from latentscape.instrument.windows import Joiner, count_windows, cut
from latentscape.models.bounds import evaluating
from latentscape.models.model import LatentModel
from latentscape.models.second_stage import SecondStage
from latentscape.registry import Joining, Window
from latentscape.signal.representation import Quality, Representation
from latentscape.signal.waveform import Waveform

if TYPE_CHECKING:
    from latentscape.instrument.voice import Voice

FORMAT = 1
"""Format of run folders that this version writes, and the newest that it reads."""
FADE_SECONDS = 0.01
_VALUES_AT_ONCE = 1 << 22
_PRIOR_CODES = 2048


class Instrument:
    """A loaded run.

    Args:
        model: the latent model.
        representation: of its sounds; ``None`` for images.
        window: how x is cut from features.
        vocabulary: label -> its values; a label's code is the place of its value.
        chart: the latent map; ``None`` makes one of codes drawn from the prior.
        config: the run's whole configuration, for those who ask.
        name: of the run.
        naming: the named axes; ``None`` finds principal ones when they are asked for.
    """

    def __init__(
        self,
        model: LatentModel,
        representation: Representation | None = None,
        window: Window = Window(),
        vocabulary: Mapping[str, tuple[str, ...]] = {},
        chart: LatentMap | None = None,
        config: Mapping[str, Any] = {},
        name: str = "",
        naming: Naming | None = None,
    ) -> None:
        self.model = model
        self.representation = representation
        self.window = window
        self.vocabulary = vocabulary
        self.config = config
        self.name = name
        self.dim = sum(math.prod(shape) for shape in model.latent_shapes)
        self._join_by(window.join or ("aligned" if self._raw else "fade"))
        self._chart = chart
        self._naming = naming

    @classmethod
    def load(cls, run: File | str, device: str = "auto") -> "Instrument":
        """Return the instrument of a run folder; see :func:`latentscape.instrument.loading.load`."""
        from latentscape.instrument.loading import load

        return load(File(run), device)

    def joined(self, joining: Joining | None) -> "Instrument":
        """Return the same instrument with another joining of windows, or itself where that is ``None``.

        Raises:
            UsageError: windows that are not of raw sound can't be brought into phase.
        """
        if joining is None or joining == self.joining:
            return self
        other = copy.copy(self)
        other._join_by(joining)
        return other

    def _join_by(self, joining: Joining) -> None:
        if joining == "aligned" and not self._raw:
            raise UsageError(f"{self.name or 'this run'} has no raw windows to bring into phase; join by fade or plain")
        length = self.window.length
        self.joining: Joining = joining
        self.step = length if joining == "plain" else min(self.window.hop, max(1, length // 2))

    @property
    def _raw(self) -> bool:
        return isinstance(self.representation, Waveform) and self.window.length > 1

    def joiner(self, *, moving: bool = True) -> Joiner | AlignedJoiner:
        """Return what joins windows into features.

        Args:
            moving: whether windows may be moved against one another; not where each has its place in time.
        """
        if moving and self.joining == "aligned" and self.representation is not None:
            return AlignedJoiner(self.window.length, self.step, self.representation.sample_rate)
        return Joiner(self.window.length, self.step)

    def joins(self, samples: int) -> list[float]:
        """Return the times in s at which the windows of a sound of so many samples meet: the middles of their fades."""
        sound = self._sound()
        first = self.step + max(0, self.window.length - self.step) // 2
        return [place / sound.sample_rate for place in range(first * sound.hop, samples, self.step * sound.hop)]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    @cached_property
    def chart(self) -> LatentMap:
        """The latent map: of the corpus, or else of codes drawn from the prior."""
        return self._chart or latent_map(self._draw(_PRIOR_CODES, None, 0, 1.0))

    @cached_property
    def naming(self) -> Naming:
        """The named axes with all that is known of them: as the run holds them, or else found now."""
        return self._naming or name_axes(self)

    @property
    def axes(self) -> tuple[NamedAxis, ...]:
        """The named axes, by falling deviation."""
        return self.naming.axes

    @property
    def centre(self) -> Float[Tensor, " d"]:
        """The mean code of the corpus."""
        return self.chart.mean

    def range(self, axis: int) -> tuple[float, float]:
        """Return the 1 % and 99 % quantiles of the corpus's codes along a latent coordinate."""
        if not 0 <= axis < self.dim:
            raise UsageError(f"axis {axis} does not exist, expected 0 to {self.dim - 1}")
        return float(self.chart.low[axis]), float(self.chart.high[axis])

    def walk(self, kind: str, **options: Any) -> PathRecord:
        """Return a path through the corpus; see :func:`latentscape.instrument.walks.walk`."""
        return walk(self, kind, **options)

    # sound or arrays -> points

    def encode(self, given: Num[Tensor, "..."], labels: Labels | None = None) -> Float[Tensor, "m d"]:
        """Return the posterior means of a sound's windows, or of images.

        Args:
            given: a wave ``[c, n]`` at the representation's rate, or images ``[m, *event]``.
            labels: of the sound, for a model that is told them; those not given are unknown.

        Raises:
            DataError: the shape does not fit, or a value is not finite.
            UsageError: a label or value is not known.
        """
        x = self.windows(given)
        codes = []
        with evaluating(self.model):
            for rows in x.split(self._rows_at_once()):
                latents = self.model.encode(rows.to(self.device), self.context(labels, len(rows)))
                codes.append(self._pack(latents).cpu())
        return torch.cat(codes)

    def windows(self, given: Num[Tensor, "..."]) -> Num[Tensor, "m ..."]:
        """Return x: the windows that cover a wave ``[c, n]`` (silence beyond its end), or images as they are."""
        if self.representation is None:
            if given.shape[1:] != self.model.event_shape:
                raise DataError(f"got images of shape {list(given.shape[1:])}, expected {list(self.model.event_shape)}")
            return given
        if given.ndim != 2:
            raise DataError(f"got a wave of shape {list(given.shape)}, expected [{self.representation.channels}, n]")
        if not torch.isfinite(given).all():
            raise DataError("got a wave that holds NaN or infinity")
        features = self.representation.analyse(given[None])[0]
        silence = self.representation.analyse(torch.zeros(1, self.representation.channels, 1))[0, :, 0]
        return cut(features, self.window.length, self.step, silence.to(features.device))

    # points -> arrays or sound

    def decode(self, z: Float[Tensor, "m d"], labels: Labels | None = None) -> Num[Tensor, "..."]:
        """Return the means of p(x | z): features ``[f, T]`` with the windows joined, or images ``[m, *event]``.

        A label's value may be one for all points.
        """
        self._check_points(z)
        if self.representation is None:
            return torch.cat(list(self._events(lambda low, high: z[low:high], len(z), labels))).cpu()
        return torch.cat(list(self._features(lambda low, high: z[low:high], len(z), labels, moving=False)), 1).cpu()

    def events(self, z: Float[Tensor, "m d"], labels: Labels | None = None) -> Iterator[Num[Tensor, "b ..."]]:
        """Yield the means of p(x | z) as the model gives them, a bounded number at a time, on its device."""
        self._check_points(z)
        return self._events(lambda low, high: z[low:high], len(z), labels)

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

    def voice(self, labels: Labels | None = None) -> "Voice":
        """Return a live voice at its begin; see :mod:`latentscape.instrument.voice`, also for what is refused."""
        from latentscape.instrument.voice import Voice

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
        waves = torch.stack([self.render(row[None], seconds, quality=quality, labels=labels) for row in z])
        return waves * fades(waves.shape[-1], round(FADE_SECONDS * self.representation.sample_rate))

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

    def grid(self, rows: int, columns: int, *, reach: float = 2.0, labels: Labels | None = None) -> Num[Tensor, "..."]:
        """Return x decoded over the plane of the first two principal axes, ``[rows, columns, *event]``.

        Points go ``reach`` standard deviations of the corpus's codes to either side, the first axis along columns.
        """
        chart = self.chart
        x, y = torch.linspace(-reach, reach, columns), torch.linspace(-reach, reach, rows)
        plane = torch.stack((x.expand(rows, -1), y[:, None].expand(-1, columns)), -1)[..., : len(chart.spread)]
        z = chart.lift((plane * chart.spread[:2]).flatten(0, 1))
        events = torch.cat(list(self._events(lambda low, high: z[low:high], len(z), labels))).cpu()
        return events.reshape(rows, columns, *events.shape[1:])

    # parts

    def _sound(self) -> Representation:
        if self.representation is None:
            raise UsageError(f"this run {self.name} makes images, not sound; use encode, decode, sample or grid")
        return self.representation

    def _check_points(self, z: Tensor) -> None:
        if z.ndim != 2 or z.shape[1] != self.dim or not len(z):
            raise UsageError(f"got points {list(z.shape)}, expected [n >= 1, {self.dim}]")

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

    def _features(
        self, source: Callable[[int, int], Tensor], count: int, labels: Labels | None, *, moving: bool = True
    ) -> Iterator[Tensor]:
        """Yield joined features ``[f, t]``, a bounded number of frames at a time."""
        joiner = self.joiner(moving=moving)
        for events in self._events(source, count, labels):
            yield self.legal(joiner.push(events.float()))
        rest = joiner.flush()
        if rest is not None:
            yield self.legal(rest)

    def legal(self, features: Tensor) -> Tensor:
        """Return features that the representation can have: codes are whole, levels not under the floor."""
        sound = self._sound()
        if sound.dtype == torch.int64:
            return features.round().long()
        return features if sound.floor is None else features.clamp_min(sound.floor)

    def _events(self, source: Callable[[int, int], Tensor], count: int, labels: Labels | None) -> Iterator[Tensor]:
        """Yield the means of p(x | z), ``[rows, *event]``, a bounded number of values at a time."""
        size = self._rows_at_once()
        context = self.context(labels, 1)
        for low in range(0, count, size):
            z = source(low, min(count, low + size)).to(self.device, torch.float32)
            told = {name: value.expand(len(z)) for name, value in context.items()}
            with evaluating(self.model):
                events = point(self.model.decode(self.unpack(z), told))
            yield events

    def _rows_at_once(self) -> int:
        return max(1, _VALUES_AT_ONCE // max(self.dim, math.prod(self.model.event_shape)))

    def context(self, labels: Labels | None, rows: int) -> Context:
        """Return labels as codes for ``rows`` items; those not given are unknown."""
        return context_of(labels, self.vocabulary, rows, self.device)

    def _alone(self, vary: int, temperature: float | Sequence[float]) -> tuple[float, ...]:
        """Return the temperatures that let one layer vary."""
        layers = len(self.model.latent_shapes)
        if not 1 <= vary <= layers:
            raise UsageError(f"layer {vary} does not exist, expected 1 (top) to {layers}")
        every = [temperature] * layers if isinstance(temperature, int | float) else temperature
        return tuple(float(own) if layer == vary else 0.0 for layer, own in enumerate(every, 1))

    def _draw(self, n: int, labels: Labels | None, seed: int, temperature: float | Sequence[float]) -> Tensor:
        if n < 1:
            raise UsageError(f"got {n} samples, expected at least 1")
        layers = len(self.model.latent_shapes)
        one = isinstance(temperature, int | float)
        warmth = [float(temperature)] * layers if one else [float(t) for t in temperature]
        if len(warmth) != layers:
            raise UsageError(f"got {len(warmth)} temperatures, the model has {layers} layers, top first")
        warmth = [] if all(t == 1 for t in warmth) else warmth
        with evaluating(self.model), seeded("sample", seed, device=self.device):
            latents = self.model.generate(n, self.context(labels, n), temperature=warmth)
        return self._pack(latents).cpu()

    def _pack(self, latents: Latents) -> Tensor:
        return torch.cat([z.flatten(1) for z in latents], 1)

    def unpack(self, z: Float[Tensor, "m d"]) -> Latents:
        """Return packed points as the model's layers."""
        shapes = self.model.latent_shapes
        parts = z.split([math.prod(shape) for shape in shapes], 1)
        return tuple(part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True))
