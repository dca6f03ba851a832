r"""The hierarchy's way across a gap: patches of frames that a conditional model completes from what is around them.

Letters: L level of a bin (dB), T frames of a patch, g hidden frames, M what the model decodes of all of a patch,
l and r the borders, w(k) from 0 to 1 between them, R residual.

A patch is asked for with a quarter of its frames known on either side, so :math:`T / 2` hidden frames are filled at
once. A longer gap is first narrowed: from either border in turn a patch that begins (ends) with a quarter of known
frames and knows nothing else is completed, and the quarter next to the border is kept as known; so a gap of any length
is filled, and the last patch joins both sides. What the model does not reproduce of the known frames next to either
border of its hidden stretch is carried across, as in :mod:`latentscape.edit.latent`:

.. math:: L[k] = M[k] + (1 - w)\, R_l + w\, R_r, \qquad R_i = \bar L_i - \bar M_i

The likeliest answer has every layer at its mean; drawn ones draw them all.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentscape.core.random import seed_of, seeded
from latentscape.dist.conditional import point
from latentscape.dist.masked import Masked
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.hole import Filler
from latentscape.edit.spectral import NEAR_FRAMES, Around, Spectral
from latentscape.instrument.labels import Labels
from latentscape.models.hierarchy import Hierarchy, masked
from latentscape.signal.stft import Magnitudes

if TYPE_CHECKING:
    from latentscape.instrument.instrument import Instrument


class Completed(Spectral):
    """A conditional hierarchy over patches of frames.

    Args:
        instrument: the run.
        model: its model.
        sound: its representation.
        provisional: what fills the gap before the model does.
        labels: told to the model.
        temperature: of every layer's draws.
    """

    name = "hierarchy"

    def __init__(
        self,
        instrument: "Instrument",
        model: Hierarchy,
        sound: Magnitudes,
        provisional: Filler = CopyContext(),
        labels: Labels | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(instrument, sound, provisional, labels, temperature)
        self.model = model
        self.length = instrument.window.length
        self.margin = max(1, self.length // 4)

    def levels(self, around: Around, seed: int | None) -> Float[Tensor, "r t m"]:
        """Return the levels of the frames, completed patch by patch."""
        features = self.sound.analyse(around.wave[None])[0]
        count = features.shape[1]
        short = max(0, self.length - count)  # frames that a sound shorter than a patch lacks: they are hidden, too
        told = torch.nn.functional.pad(features, (0, short))
        known = torch.nn.functional.pad(around.whole, (0, short))
        low = 0 if around.left is None else around.left + 1
        high = len(known) if around.right is None else around.right
        both = around.left is not None and around.right is not None
        at_once = self.length - (2 if both else 1) * self.margin
        forward, step = around.left is not None, 0
        while high - low > at_once:  # narrow it, from either side in turn
            start = low - self.margin if forward else high + self.margin - self.length
            near = slice(low, low + self.margin) if forward else slice(high - self.margin, high)
            self._complete(told, known, start, near, seed, step)
            low, high = (near.stop, high) if forward else (low, near.start)
            forward, step = forward ^ both, step + 1
        self._complete(told, known, (low + high - self.length) // 2, slice(low, high), seed, step)
        return self.level(self.sound.magnitude(told[None, :, :count]))

    def _complete(
        self,
        told: Float[Tensor, "f t"],
        known: Bool[Tensor, " t"],
        start: int,
        wanted: slice,
        seed: int | None,
        step: int,
    ) -> None:
        """Complete the patch that begins at a frame (moved inside the sound), and take the wanted frames for known."""
        start = min(max(0, start), len(known) - self.length)
        patch = slice(start, start + self.length)
        made = self._answer(told[:, patch], known[patch], seed, step)
        frames = torch.arange(start, start + self.length, dtype=torch.float32)
        sides = known[patch] & (frames < wanted.start), known[patch] & (frames >= wanted.stop)
        ends = []
        for near in (frames[sides[0]].flip(0)[:NEAR_FRAMES], frames[sides[1]][:NEAR_FRAMES]):
            if len(near):
                weight = torch.linspace(1, 0, len(near) + 1)[:-1]
                weight = weight / weight.sum()
                lost = told[:, near.long()] - made[:, near.long() - start]
                ends.append(((lost * weight).sum(1), float((near * weight).sum())))
        if ends:
            (r0, t0), (r1, t1) = ends[0], ends[-1]
            share = ((frames - t0) / max(1.0, t1 - t0)).clamp(0, 1)
            made = self.instrument.legal(made + torch.lerp(r0[:, None], r1[:, None], share))
        told[:, wanted] = made[:, wanted.start - start : wanted.stop - start]
        known[wanted] = True

    def _answer(
        self, told: Float[Tensor, "f n"], known: Bool[Tensor, " n"], seed: int | None, step: int
    ) -> Float[Tensor, "f n"]:
        """Return what the model decodes of all of a patch."""
        patch = told[None].to(self.instrument.device)
        mask = known.to(patch).expand_as(patch)
        context = {**self.instrument.context(self.labels, 1), **masked(patch, mask)}
        temperature = (0.0 if seed is None else self.temperature,) * len(self.model.latent_shapes)
        with torch.no_grad(), seeded(seed_of("complete", seed or 0, step), device=patch.device):
            found = self.model.decode(self.model.generate(1, context, temperature=temperature), context)
        assert isinstance(found, Masked)
        return point(found.base)[0].cpu()


def completed_filler(instrument: "Instrument", labels: Labels | None = None) -> Completed | None:
    """Return the filler of a run of a conditional hierarchy over patches of frames; ``None`` for other runs."""
    model, sound = instrument.model, instrument.representation
    if not isinstance(model, Hierarchy) or not model.config.conditional or not isinstance(sound, Magnitudes):
        return None
    return Completed(instrument, model, sound, labels=labels) if instrument.window.length >= 4 else None
