"""The live voice of a decoder that draws sample after sample.

A point stands for a piece of the glide, :data:`latentscape.models.vlae.GLIDE` samples, which are drawn when it comes:
nothing is held back. The sound is a function of the points, of the labels, and of the instrument's seed and manner.
What a point drives, and what a copy goes on from, is said in :mod:`latentscape.models.streaming`.

``every`` above 1, where the machine is too slow, makes nothing sparser: weights are read as bfloat16, half as many
bytes, and the same state goes on.
"""

import time

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.instrument.labels import Labels
from latentscape.instrument.space import Space
from latentscape.instrument.voice import Voice
from latentscape.models.streaming import Decoder, Wave
from latentscape.models.vlae import GLIDE
from latentscape.nets.wavenet_sampler import Manner

TRIES = 12
"""Pieces that are drawn to learn how quick the machine is; the quickest counts, others wait for other programs."""


class DrawnVoice(Voice):
    """See the module.

    Args:
        space: whose codes are drawn from.
        labels: told to the model until a push tells others.
        decoder: of the space's model, made ready.
        seed: of the draws.
        manner: of the draws.
    """

    def __init__(
        self, space: Space, labels: Labels | None = None, *, decoder: Decoder, seed: int = 0, manner: Manner = Manner()
    ) -> None:
        super().__init__(space, labels)
        self.hop = GLIDE
        self._wave = Wave(decoder, seed=seed, manner=manner)

    def copy(self) -> "DrawnVoice":
        """Return one that goes on from here by itself: equal points give equal sound, bit for bit."""
        twin = super().copy()
        assert isinstance(twin, DrawnVoice)
        twin._wave = self._wave.copy()
        return twin

    def flush(self) -> Float[Tensor, "c n"]:
        """Return nothing: all that was pushed came out."""
        return self._live.flush(self._state)[0]

    def pace(self, every: int = 1) -> float:
        """Return how many times as fast as it is heard the sound is drawn here, at the middle of the corpus."""
        voice, point = self.copy(), self.space.centre.float()[None]
        voice.push(point, every=every)  # compiles, and packs the weights
        times = []
        for _ in range(TRIES):
            begun = time.perf_counter()
            voice.push(point, every=every)
            times.append(time.perf_counter() - begun)
        return GLIDE / self._sound.sample_rate / min(times)

    def _advance(self, points: Tensor, every: int) -> list[Tensor]:
        storage = "float32" if every == 1 else "bfloat16"
        layers = (self.space.unpack(point) for point in points.to(self._device, torch.float32).split(1))
        return [self._synthesise(self._wave.push(z, self._context, storage)) for z in layers]
