r"""Variation of windows after analysis: two of them mixed, stretches hidden; drawn first, then applied.

Letters: b rows, f features, t frames, s share of a window's partner.

* mixing (Zhang et al. 2018): :math:`x = (1 - s) x_1 + s x_2` and the same of their weights of labels, with s from a
  beta distribution of both parameters ``mix``, halved about 1/2 so that the first window always counts most. Features
  in dB are mixed as they are: what is heard is the geometric mean of two spectra, which costs nothing and serves as
  well
* hiding (Park et al. 2019): a stretch of up to ``hide_features`` of the features, and one of up to ``hide_frames`` of
  the frames, are set to the mean of the window
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.random import Key, numpy_stream


class BlendConfig(Record):
    """What is varied; the defaults vary nothing.

    Attributes:
        mix: parameter of the beta distribution; 0 mixes nothing.
        hide_features: the greatest part of the features that is hidden.
        hide_frames: the greatest part of the frames that is hidden.
    """

    mix: float = Field(default=0.0, ge=0)
    hide_features: float = Field(default=0.0, ge=0, lt=1)
    hide_frames: float = Field(default=0.0, ge=0, lt=1)

    @property
    def still(self) -> bool:
        """Whether windows stay as they are."""
        return not (self.mix or self.hide_features or self.hide_frames)


@dataclass(frozen=True)
class Blend:
    """A draw for a batch.

    Attributes:
        share: s of each row.
        features: first and last (excluded) of the features that are hidden, ``[b, 2]``.
        frames: likewise of the frames.
    """

    share: Float[Tensor, " b"]
    features: Int[Tensor, "b 2"]
    frames: Int[Tensor, "b 2"]


def draw_blend(config: BlendConfig, rows: slice, event_shape: tuple[int, int], *keys: Key) -> Blend:
    """Draw for rows of a batch from the stream that the keys name; a row's draw does not depend on the others asked."""
    share = torch.zeros(rows.stop)
    if config.mix:
        drawn = numpy_stream("mix", *keys).beta(config.mix, config.mix, size=rows.stop)
        share = torch.from_numpy(drawn.clip(max=1 - drawn)).float()
    stretches = []
    parts = (config.hide_features, config.hide_frames)
    for name, size, part in zip(("features", "frames"), event_shape, parts, strict=True):
        place = torch.from_numpy(numpy_stream("hide", name, *keys).uniform(size=(rows.stop, 2)))
        length = (place[:, 0] * (int(part * size) + 1)).long()
        first = (place[:, 1] * (size - length + 1)).long()
        stretches.append(torch.stack((first, first + length), 1)[rows])
    return Blend(share[rows], *stretches)


def apply_blend(
    drawn: Blend,
    x: Float[Tensor, "b f t"],
    labels: dict[str, Tensor],
    partner: Float[Tensor, "b f t"] | None,
    partners: dict[str, Tensor],
) -> tuple[Float[Tensor, "b f t"], dict[str, Tensor]]:
    """Return windows and weights of labels, mixed with their partners' and partly hidden."""
    if partner is not None:
        x = torch.lerp(x, partner, drawn.share[:, None, None])
        labels = {name: torch.lerp(value, partners[name], drawn.share[:, None]) for name, value in labels.items()}
    mean = x.mean((1, 2), keepdim=True)
    for axis, span in ((1, drawn.features), (2, drawn.frames)):
        place = torch.arange(x.shape[axis])
        hidden = (place >= span[:, :1]) & (place < span[:, 1:])
        x = torch.where(hidden[:, :, None] if axis == 1 else hidden[:, None, :], mean, x)
    return x, labels
