r"""One wave of a lossy auto-encoder that is drawn while its point moves, piece by piece, without an end.

Letters: k the number of a piece of :data:`latentscape.models.vlae.GLIDE` samples, n the first of its samples, g_k and
s_k the point's code of the whole and slow sequence (``w`` numbers a step, ``m`` steps a window), H samples a step.

A piece is drawn told g_k; step j of what is heard is

.. math:: y_j = \begin{cases} s_{k'}[j \bmod m] & j < \lfloor n / H \rfloor, \text{ k' the last piece that met it} \\
                            s_k[j \bmod m] & \text{from the step on that sounds} \end{cases}

The slow sequence of a point is thus a course that goes round, a window long, in step with the wave; what lies ahead
(the WaveNet hears up to two steps of it) is taken to be as the point says now. A point that stays sounds as its windows
end to end do. Past samples, the slow steps heard and the number of the next draw are the whole state.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from latentscape.dist.conditional import Latents
from latentscape.models.autoregressive import WaveNetConditional
from latentscape.models.vlae import GLIDE, Vlae
from latentscape.nets.wavenet_sampler import Heard, Manner, Sampler, Storage, uniforms

AROUND = 2
"""Steps of a series to either side that a sample's value of it depends on: widened over three, then interpolated."""


class Decoder:
    """The decoder of a model, made ready for drawing one wave, once for each storage of its weights.

    Args:
        model: a lossy auto-encoder of waves; what it learns afterwards is not heard.
    """

    def __init__(self, model: Vlae) -> None:
        assert isinstance(model.decoder, WaveNetConditional)
        self.model, self.law = model, model.decoder
        self._samplers: dict[Storage, Sampler] = {}

    def sampler(self, storage: Storage) -> Sampler:
        """Return the network with its weights stored so."""
        if storage not in self._samplers:
            self._samplers[storage] = Sampler(self.law.net, self.law.output, storage)
        return self._samplers[storage]


class Wave:
    """See the module.

    Args:
        decoder: what draws.
        seed: of the draws.
        manner: of drawing.

    Attributes:
        samples: how many were drawn.
    """

    def __init__(self, decoder: Decoder, *, seed: int = 0, manner: Manner = Manner()) -> None:
        self.decoder, self.seed, self.samples = decoder, seed, 0
        with torch.no_grad():
            bare = decoder.law.told_of(None, {}, 1).cpu()
        self._part = decoder.sampler("float32").part(range(1), Heard(bare, None, bare), manner)
        self._heard: list[Tensor] = []  # the last slow steps before the one that sounds

    def copy(self) -> "Wave":
        """Return a wave that goes on from here by itself: equal points give equal samples, bit for bit."""
        twin = copy.copy(self)
        twin._part, twin._heard = self._part.copy(), self._heard.copy()
        return twin

    def push(self, z: Latents, context: Mapping[str, Tensor] = {}, storage: Storage = "float32") -> Num[Tensor, "1 n"]:
        """Return the samples that are drawn at a point, in the units of x.

        Args:
            z: the point, ``[1, ...]`` a layer.
            context: labels that are told, ``[1]`` each.
            storage: of the weights that this piece is drawn by; the past is the same for all.
        """
        law, part = self.decoder.law, self._part
        with torch.no_grad():
            part.tell(law.told_of(z[0], context, 1).cpu())
        part.packed = self.decoder.sampler(storage).packed
        if len(z) > 1:
            self._hear(z[1][0].detach().cpu())
        values = np.zeros((1, GLIDE), np.float32)
        part.advance(values, 0, uniforms(self.seed, range(1), GLIDE, self.samples), False)
        self.samples += GLIDE
        return law.restore(torch.from_numpy(values))

    def _hear(self, course: Num[Tensor, "w m"]) -> None:
        """Let the next piece hear the steps around it: those before as they were, the others of this course."""
        slow = self.decoder.model.config.slow
        assert slow is not None
        now, last = self.samples // slow.hop, (self.samples + GLIDE - 1) // slow.hop
        ahead = [course[:, step % course.shape[1]] for step in range(now, last + AROUND + 1)]
        steps = [*self._heard, *ahead]
        self._part.hear(torch.stack(steps, 1).unsqueeze(0), now - len(self._heard))
        over = (self.samples + GLIDE) // slow.hop - now
        self._heard = [*self._heard, *ahead[:over]][-AROUND:]
