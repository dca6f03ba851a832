r"""The live voice: points go in one after the other, the sound that is settled by then comes out.

Letters: m points (one a window step), d latent width, f features a frame, c channels, n samples, l latency.

.. math:: z_k \xrightarrow{\text{mean of } p(x \mid z)} x_k \xrightarrow{\text{join}} F \xrightarrow{\text{causal
          synthesis}} \text{sound}

Every point is decoded, joined and synthesised by itself, so that the sound is the same, bit for bit, however points
are cut into pushes: matrix products of another number of rows round differently, and phases that are integrated from
loud bins to quieter ones turn a last bit into another order. ``Instrument.render(..., quality="live")`` is a voice.

The samples that have come out before point k is pushed are those that do not depend on it; the next one may.
"""

import copy
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.dist.conditional import point
from latentscape.instrument.labels import Labels
from latentscape.instrument.space import Space
from latentscape.models.bounds import evaluating


class Voice:
    """One sound that an instrument plays live; its phase is continuous whatever points and labels come.

    Attributes:
        samples: how many have come out so far.
        hop: samples that a point stands for (window step times hop of the representation).
    """

    def __init__(self, space: Space, labels: Labels | None = None) -> None:
        """Begin at silence.

        Args:
            space: whose model and representation make the sound.
            labels: told to the model until a push tells others.

        Raises:
            UsageError: a run of images, a representation that needs the whole sound, or a label that is not known.
        """
        sound = space.representation
        if sound is None:
            raise UsageError(f"this run {space.name} makes images, not sound, and can't be played")
        live = sound.live()
        if live is None:
            raise UsageError(f"{type(sound).__name__} needs the whole sound and can't be played live; use render")
        self.space = space
        self.samples = 0
        self.hop = space.step * sound.hop
        self._sound, self._live = sound, live
        self._device = space.device
        self._state = live.initial(1)
        self._joiner = space.joiner()
        self._context = space.context(labels, 1)
        self._event: Tensor | None = None

    def push(
        self, points: Float[Tensor, "m d"], labels: Labels | None = None, *, every: int = 1
    ) -> Float[Tensor, "c n"]:
        """Take the next points; return the samples that are settled by now (there may be none).

        Args:
            points: one a window step.
            labels: told to the model from here on; ``None`` leaves what it was told before.
            every: decode only each ``every``-th point (and the last); x of those between is interpolated. Cheaper,
                and for a slow walk close to the same.

        Raises:
            UsageError: a label or value is not known.
        """
        if labels is not None:
            self._context = self.space.context(labels, 1)
        count = len(points)
        waves = [torch.zeros(self._sound.channels, 0)]
        for low in range(0, count, every):
            waves += self._advance(points[low : low + every], every)
        wave = torch.cat(waves, -1)
        self.samples += wave.shape[-1]
        return wave

    def copy(self) -> "Voice":
        """Return one that goes on from here by itself: equal points give equal sound, bit for bit."""
        twin = copy.copy(self)
        twin._joiner = copy.copy(self._joiner)  # all that it holds is replaced, never written to
        return twin

    def flush(self) -> Float[Tensor, "c n"]:
        """Return what is left after the last point; the voice is over then."""
        rest = self._joiner.flush()
        waves = [] if rest is None else [self._synthesise(rest)]
        wave = torch.cat((*waves, self._live.flush(self._state)[0]), -1)
        self.samples += wave.shape[-1]
        return wave

    def play(self, points: Iterable[Float[Tensor, "m d"]], samples: int) -> Iterator[Float[Tensor, "c n"]]:
        """Yield the sound of points that come in pieces, cut to ``samples`` samples."""
        for piece in points:
            for row in piece.split(1):
                left = samples - self.samples
                yield self.push(row)[:, : max(0, left)]
        left = samples - self.samples
        yield self.flush()[:, : max(0, left)]

    def pace(self, every: int = 1) -> float | None:
        """Return how many times as fast as it is heard the sound is made here; ``None``: quick, no need to measure."""
        return None

    def _advance(self, points: Tensor, every: int) -> list[Tensor]:
        """Decode the last of the points, and interpolate up to it from the one before."""
        event = self._decode(points[-1:].to(self._device, torch.float32))
        before = event if self._event is None else self._event
        self._event = event
        count = len(points)
        events = [torch.lerp(before, event, (place + 1) / count) for place in range(count - 1)] + [event]
        return [self._synthesise(self._joiner.push(one)) for one in events]

    def _decode(self, z: Float[Tensor, "1 d"]) -> Tensor:
        model = self.space.model
        # going through all modules to set what is set already would take a third of a block's time
        with evaluating(model) if model.training else torch.no_grad():
            return point(model.decode(self.space.unpack(z), self._context)).float()

    def _synthesise(self, features: Tensor) -> Tensor:
        legal = self.space.legal(features).cpu()
        wave, self._state = self._live.push(legal[None], self._state)
        return wave[0]
