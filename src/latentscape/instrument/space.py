r"""The space of a run: points in and out of a model that has learnt a corpus, and where the corpus lies in it.

Letters: c channels, n samples, f features a frame, T frames, m windows, d latent width (all layers, packed).

.. math::
    \text{sound} \xrightarrow{\text{analyse, cut}} x_{1..m} \xrightarrow{\text{posterior mean}} z_{1..m}
    \xrightarrow{\text{mean of } p(x \mid z)} x_{1..m} \xrightarrow{\text{join}} \text{features}

Every frame (window length 1) has a point. Longer windows are half overlapped (or as they were cut for training, where
that overlaps more, or as ``window.overlap`` says) and cross-faded; those of raw sound are moved into phase with one
another where they follow a path (:mod:`latentscape.instrument.aligned`), and put end to end where the joining is
``plain``. Everything is a function of arguments and seeds, and the model is left as it was.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.core.random import seeded
from latentscape.dist.conditional import Context, Latents, point
from latentscape.instrument.aligned import AlignedJoiner
from latentscape.instrument.axes import NamedAxis, Naming
from latentscape.instrument.labels import Labels, context_of
from latentscape.instrument.map import LatentMap, latent_map
from latentscape.instrument.windows import Joiner, cut
from latentscape.models.bounds import evaluating
from latentscape.models.model import LatentModel
from latentscape.registry import Joining, Window
from latentscape.signal.representation import Representation
from latentscape.signal.waveform import Waveform

_VALUES_AT_ONCE = 1 << 22
_PRIOR_CODES = 2048


class Space:
    """A model, the representation of its sounds, and the latent map.

    Args:
        model: the latent model.
        representation: of its sounds; ``None`` for images.
        window: how x is cut from features.
        vocabulary: label -> its values; a label's code is the place of its value.
        chart: the latent map; ``None`` makes one of codes drawn from the prior.
        config: the run's whole configuration, for those who ask.
        name: of the run.
        naming: the named axes, where they are known.
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
        self._join_by(window.join or ("aligned" if self._raw else "fade"), window.overlap)
        self._chart = chart
        self._naming = naming

    def _join_by(self, joining: Joining, overlap: float | None) -> None:
        name, length = self.name or "this run", self.window.length
        if joining == "aligned" and not self._raw:
            raise UsageError(f"{name} has no raw windows to bring into phase; join by fade or plain")
        if overlap is not None and (joining == "plain" or length == 1):
            what = "windows put end to end" if length > 1 else "frames"
            raise UsageError(f"{name} was asked for an overlap of {overlap:g}, but {what} do not overlap")
        self.joining: Joining = joining
        if joining == "plain":
            self.step = length
        elif overlap is None:
            self.step = min(self.window.hop, max(1, length // 2))
        else:
            self.step = min(length, max(1, round((1 - overlap) * length)))

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

    @property
    def axes(self) -> tuple[NamedAxis, ...]:
        """The named axes that are known, by falling deviation."""
        return () if self._naming is None else self._naming.axes

    @property
    def centre(self) -> Float[Tensor, " d"]:
        """The mean code of the corpus."""
        return self.chart.mean

    def range(self, axis: int) -> tuple[float, float]:
        """Return the 1 % and 99 % quantiles of the corpus's codes along a latent coordinate."""
        if not 0 <= axis < self.dim:
            raise UsageError(f"axis {axis} does not exist, expected 0 to {self.dim - 1}")
        return float(self.chart.low[axis]), float(self.chart.high[axis])

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
