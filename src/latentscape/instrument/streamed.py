"""An instrument whose decoder draws sample after sample: every sound is one stream, and windows lie end to end.

Letters: c channels, n samples, T frames, m windows, d latent width (all layers, packed).

There is no mean of p(x | z) to join windows of. So windows are not joined at all: the code glides from one to the next
while the decoder goes on drawing, each sample told those before it. What is drawn is a function of the points, of
``seed`` and of ``manner``. Images are drawn one by one, by the same seed.

Live (:mod:`latentscape.instrument.drawn`) a path is evaluated once a piece of the glide, and points that come one a
window are glided between as ever: without a slow sequence, this is the same sound, bit for bit.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.random import seed_of, seeded
from latentscape.dist.conditional import point
from latentscape.geometry.path import Path
from latentscape.instrument.drawn import DrawnVoice
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels
from latentscape.instrument.stream import softened
from latentscape.models.autoregressive import PRESENT
from latentscape.models.bounds import evaluating
from latentscape.models.second_stage import SecondStage
from latentscape.models.streaming import Decoder
from latentscape.models.vlae import GLIDE, Vlae
from latentscape.nets.wavenet_sampler import Manner
from latentscape.registry import Joining
from latentscape.signal.representation import Quality


class Streamed(Instrument):
    """See the module; arguments as of :class:`Instrument`.

    Attributes:
        manner: how samples are drawn.
        seed: of the draws.
    """

    model: Vlae  # pyrefly: ignore[bad-override-mutable-attribute]
    manner: Manner = Manner()
    seed: int = 0

    def drawn(self, manner: Manner, seed: int = 0) -> "Streamed":
        """Return the same instrument with another manner and seed of drawing.

        Raises:
            UsageError: a strength where the code was never withheld in training.
        """
        if manner.strength != 1 and not self.model.strengthens:
            raise UsageError(
                f"a strength of {manner.strength:g} leads away from having no code, which {self.name or 'this run'} "
                "never met; train it with --set model.latent_dropout=0.1"
            )
        other = copy.copy(self)
        other.manner, other.seed = manner, seed
        return other

    def _join_by(self, joining: Joining, overlap: float | None) -> None:
        self.joining: Joining = "plain"
        self.step = self.window.length

    def joined(self, joining: Joining | None = None, overlap: float | None = None) -> "Instrument":
        """Return itself.

        Raises:
            UsageError: another joining was asked for.
        """
        if joining not in (None, "plain") or overlap is not None:
            raise UsageError(f"{self.name or 'this run'} draws one sound from end to end; leave the joining out")
        return self

    def encode(self, given: Num[Tensor, "..."], labels: Labels | None = None) -> Float[Tensor, "m d"]:
        """Return the posterior means of a sound's windows (silence beyond its end counts for nothing), or of images."""
        if self.representation is None:
            return super().encode(given, labels)
        x = self.windows(given)
        place = torch.arange(len(x) * self.window.length).reshape(len(x), -1)
        present = (place < self.representation.frames(given.shape[1])).float()
        codes = []
        with evaluating(self.model):
            for rows, sound in zip(x.split(self.model.rows), present.split(self.model.rows), strict=True):
                context = {**self.context(labels, len(rows)), PRESENT: sound.to(self.device)}
                codes.append(self._pack(self.model.encode(rows.to(self.device), context)).cpu())
        return torch.cat(codes)

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
        """Return n draws (see :meth:`Instrument.sample`): the code of the whole is held, its slow sequence goes on."""
        same = self.drawn(self.manner, seed)
        slow = None if self.representation is None else self.model.config.slow
        if slow is None or stage is not None or vary is not None:
            way = {"seed": seed, "temperature": temperature, "vary": vary, "labels": labels, "quality": quality}
            return super(Streamed, same).sample(n, seconds, **way, stage=stage)
        samples = round(seconds * self._sound().sample_rate)
        windows = max(1, -(-samples // self.window.length))
        warmth = [float(temperature)] * 2 if isinstance(temperature, int | float) else [float(t) for t in temperature]
        z = self._draw(n, labels, seed, warmth)[:, : self.model.config.latent].to(self.device)
        with evaluating(self.model), seeded("slow", seed, device=self.device):
            s = self.model.slow(z, windows * self.window.length // slow.hop, warmth[1])
        waves = []
        for number, (g, course) in enumerate(zip(z, s, strict=True)):
            steps = course.unflatten(1, (windows, -1)).movedim(0, 1).flatten(1)
            points = torch.cat([g.expand(windows, -1), steps], 1).cpu()
            waves.append(same._apart(number).render(points, seconds, labels=labels))
        return softened(torch.stack(waves), self._sound().sample_rate)

    def _apart(self, number: int) -> Instrument:
        """Return one with draws of its own: what a code leaves open, several sounds must not have in common."""
        return self.drawn(self.manner, seed_of(self.seed, "sound", number)) if number else self

    def _features(
        self, source: Callable[[int, int], Tensor], count: int, labels: Labels | None, *, moving: bool = True
    ) -> Iterator[Tensor]:
        z = self.unpack(source(0, count).to(self.device, torch.float32))
        told = {name: value.expand(count) for name, value in self.context(labels, 1).items()}
        samples = count * self.window.length
        with evaluating(self.model):
            pieces = list(self.model.stream(z, samples, told, seed=self.seed, manner=self.manner))
        yield self.legal(torch.cat(pieces, 1))

    @cached_property
    def decoder(self) -> Decoder:
        """What live voices draw by, made ready once."""
        return Decoder(self.model)

    def voice(self, labels: Labels | None = None) -> DrawnVoice:
        """Return a live voice at its begin; it takes a point every :data:`latentscape.models.vlae.GLIDE` samples."""
        return DrawnVoice(self, labels, decoder=self.decoder, seed=self.seed, manner=self.manner)

    def _live_count(self, samples: int) -> int:
        return -(-samples // GLIDE)

    def _plan(self, points: Path | Tensor, seconds: float | None) -> tuple[int, Callable[[int], Callable]]:
        samples, source = super()._plan(points, seconds)
        if seconds is not None or isinstance(points, Path):
            return samples, source

        def pieces(low: int, high: int) -> Tensor:
            g, nearest = self.model.glide(points[:, : self.model.config.latent], low, high)
            return torch.cat([g, points[nearest, self.model.config.latent :]], 1)

        return samples, lambda count: source(count) if count == len(points) else pieces

    def _events(self, source: Callable[[int, int], Tensor], count: int, labels: Labels | None) -> Iterator[Tensor]:
        """Yield draws of p(x | z), ``[rows, *event]``, each a function of the seed and its place."""
        size = self.model.rows
        context = self.context(labels, 1)
        for low in range(0, count, size):
            z = source(low, min(count, low + size)).to(self.device, torch.float32)
            told = {name: value.expand(len(z)) for name, value in context.items()}
            with evaluating(self.model), seeded("events", self.seed, low, device=self.device):
                yield point(self.model.decode(self.unpack(z), told))


def redrawn(instrument: Instrument, manner: Manner, seed: int = 0) -> Instrument:
    """Return an instrument with another manner and seed of drawing; see :meth:`Streamed.drawn`.

    Raises:
        UsageError: it does not draw sample after sample.
    """
    if not isinstance(instrument, Streamed):
        raise UsageError(
            f"--draw is for models that draw sample after sample and for --vocoder; {instrument.name or 'this run'} "
            "makes a window at once"
        )
    return instrument.drawn(manner, seed)
