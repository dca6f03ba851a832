"""One layer of a hierarchy (see :mod:`latentscape.models.hierarchy`, whose letters these are)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from latentscape.dist.diagonal import DiagonalNormal
from latentscape.models.autoencoder import full_precision
from latentscape.nets.levels import Levels

Recognition = Literal["ladder", "factorised", "chained"]
Merge = Literal["shared", "precision"]
_STEEPEST = 5.0
"""Bound of a log scale, reached softly: nothing that a net says can make a density overflow."""


def normal(raw: Tensor) -> DiagonalNormal:
    """Return N(a, e^(2 b)) of raw numbers (a, b), b bounded softly."""
    mean, b = full_precision(raw).chunk(2, dim=1)
    log_scale = _STEEPEST * torch.tanh(b / _STEEPEST)
    return DiagonalNormal(mean, log_scale.exp(), raw.ndim - 1, log_scale=log_scale)


def tile(value: Tensor, rows: int) -> Tensor:
    """Return ``[b, ...]`` as ``[rows, ...]``, sample-major; as it is where it has so many."""
    return value if len(value) == rows else value.repeat(rows // len(value), *[1] * (value.ndim - 1))


@dataclass(frozen=True)
class Told:
    """A context as the model reads it.

    Attributes:
        planes: what was seen, standardised, and the mask; ``[b, *event]`` each.
        states: of every level, top first.
    """

    planes: list[Tensor]
    states: tuple[Tensor, ...]


class Stage(nn.Module):
    """One stochastic layer: its prior, its posterior, and the state above and below it.

    Args:
        levels: the nets that it is made of.
        level: which, 0 on top.
        z: its width.
        recognition: form of q.
        merge: how the ladder joins both ways.
        skip: keep the state from level to level.
        conditional: hear a context.
    """

    def __init__(
        self,
        levels: Levels,
        level: int,
        z: int,
        recognition: Recognition = "ladder",
        merge: Merge = "shared",
        skip: bool = True,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        width, top = levels.config.widths[level], level == 0
        self.map = levels.shape(level)
        flat = top and levels.dims > 0
        self.shape = (z,) if top else (z, *levels.sizes[level])
        self.skip = skip
        self.enter = None if top else levels.up(level - 1, width)
        self.context = levels.mix(width, width) if conditional else None
        told = not top or conditional

        def head() -> nn.Sequential:
            if flat:
                neck = nn.Flatten(), nn.Linear(torch.Size(self.map).numel(), 2 * z)
                return nn.Sequential(*levels.active(width), *neck)
            return nn.Sequential(*levels.active(width), levels.mix(width, 2 * z, 1, 0.5))

        self.prior = head() if told else None
        self.merges = recognition == "ladder" and told
        self.shared = self.merges and merge == "shared"
        self.join = levels.mix(2 * width, width) if self.shared else None
        self.posterior = nn.Sequential(*([levels.blocks(level)] if self.shared else []), *head())
        if flat:
            self.absorb: nn.Module = nn.Linear(z, torch.Size(self.map).numel())
        else:
            self.absorb = levels.mix(z, width)
        self.blocks = levels.blocks(level)
        self.embed = None
        if recognition == "chained" and not top:
            self.embed = levels.mix(z, width)

    def hear(self, told: Told | None, level: int) -> Tensor | None:
        """Return what the context says at this level."""
        return None if told is None or self.context is None else self.context(told.states[level])

    def above(self, h: Tensor | None, heard: Tensor | None) -> Tensor | None:
        """Return what is known before z is drawn: the state from above and the context; ``None``: nothing."""
        u = None if h is None or self.enter is None else self.enter(h)
        if u is None or heard is None:
            return heard if u is None else u
        return u + tile(heard, len(u))

    def infer(self, d: Tensor, u: Tensor | None, p: DiagonalNormal | None) -> DiagonalNormal:
        """Return q of one layer; u and p are read where the recognition model merges both ways."""
        if not self.merges or u is None or p is None:
            return normal(self.posterior(d))
        d = tile(d, len(u))
        if self.join is not None:
            step = normal(self.posterior(self.join(torch.cat([u, d], 1))))
            log_scale = p.log_scale + step.log_scale
            return DiagonalNormal(p.loc + p.scale * step.loc, log_scale.exp(), len(self.shape), log_scale=log_scale)
        own = normal(self.posterior(d))
        log_precision = torch.logaddexp(-2 * own.log_scale, -2 * p.log_scale)
        share = torch.sigmoid(2 * (p.log_scale - own.log_scale))
        log_scale = -0.5 * log_precision
        return DiagonalNormal(torch.lerp(p.loc, own.loc, share), log_scale.exp(), len(self.shape), log_scale=log_scale)

    def below(self, u: Tensor | None, heard: Tensor | None, z: Tensor) -> Tensor:
        """Return the state that the level below reads."""
        h, kept = self.absorb(z).reshape(-1, *self.map), u if self.skip else heard
        return self.blocks(h if kept is None else tile(kept, len(h)) + h)
