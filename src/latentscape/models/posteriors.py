r"""Forms of the posterior q(z | x, c): what an encoder's raw numbers mean.

Letters: d latent width, raw numbers a and b.

* ``gaussian``: :math:`N(a, \operatorname{diag} e^{2 s})` with s = b up to 2 and, beyond it,
  :math:`s = 3 - e^{2 - b}`. Without a bound an input that the encoder has not seen the like of may have a scale of
  thousands: the rate, which grows with its square, then ends the training (docs/models.md).
* ``deterministic``: the point a, of infinite rate (an autoencoder, or a Wasserstein autoencoder's encoder); with a
  hypersphere as prior the point :math:`\sqrt d\, a / \|a\|` of it.
* ``uniform``: for a uniform prior on a box of centre o and half width r, the box of half width :math:`w r` around
  :math:`o + (1 - w) r \tanh a`, :math:`w = \sigma(b)`, which never leaves the prior's; its rate is
  :math:`-\sum \log w`.
* ``spherical``: for the hypersphere, the Power Spherical law around :math:`a / \|a\|` with concentration
  :math:`\kappa = 1 + d\, e^b`, b one number (see :mod:`latentscape.dist.sphere`). Without the 1, which costs about
  1 / (2 d) nats, all that a code does would vanish, and its gradients with it, once the rate has driven b down. Beyond
  11, :math:`12 - e^{11 - b}` stands in place of b, so that a code which went too far while its rate was cheap (a
  warm-up) finds back.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid, normalize

from latentscape.core.errors import ConfigError
from latentscape.core.limits import held_below
from latentscape.dist.conditional import Prior
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import DiagonalNormal, DiagonalUniform
from latentscape.dist.mixture import VampPrior
from latentscape.dist.sphere import PowerSpherical, SpherePrior, Spherical, on_sphere

Posterior = Literal["gaussian", "deterministic", "uniform", "spherical"]
_WIDE = 2.0
"""Where a log scale begins to be held back; it never reaches 1 more."""
_BLUNTEST = 1.0
"""Least concentration of the spherical form (as in De Cao and Aziz 2020)."""
_SHARPEST = 11.0
"""Where the spherical b begins to be held back; 1 more, which it never reaches, is where single precision could no
longer tell a draw from the mode."""


class Form(nn.Module, ABC):
    """Turns raw numbers ``[b, outputs]`` into q, batch ``[b]``, event ``[d]``."""

    outputs: int

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    @abstractmethod
    def forward(self, raw: Tensor) -> Distribution:
        """Return q."""


class Gaussian(Form):
    """See the module."""

    def __init__(self, dim: int) -> None:
        super().__init__(2 * dim)

    def forward(self, raw: Tensor) -> DiagonalNormal:
        """Return the normal."""
        mean, b = raw.chunk(2, dim=1)
        log_scale = held_below(b, _WIDE)
        return DiagonalNormal(mean, log_scale.exp(), log_scale=log_scale)


class Point(Form):
    """See the module."""

    def __init__(self, dim: int, *, spherical: bool) -> None:
        super().__init__(dim)
        self.spherical = spherical

    def forward(self, raw: Tensor) -> Delta:
        """Return the point mass."""
        return Delta(on_sphere(raw) if self.spherical else raw)


class Box(Form):
    """See the module."""

    centre: Tensor
    reach: Tensor

    def __init__(self, dim: int, box: DiagonalUniform) -> None:
        super().__init__(2 * dim)
        self.register_buffer("centre", box.loc, persistent=False)
        self.register_buffer("reach", box.scale, persistent=False)

    def forward(self, raw: Tensor) -> DiagonalUniform:
        """Return the box."""
        a, b = raw.chunk(2, dim=1)
        width = torch.sigmoid(b)
        centre = self.centre + (1 - width) * self.reach * torch.tanh(a)
        return DiagonalUniform(centre, width * self.reach, log_scale=logsigmoid(b) + self.reach.log())


class Cap(Form):
    """The spherical form; see the module."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim + 1)
        self.dim = dim

    def forward(self, raw: Tensor) -> PowerSpherical:
        """Return the Power Spherical law."""
        concentration = _BLUNTEST + self.dim * held_below(raw[:, self.dim], _SHARPEST).exp()
        return PowerSpherical(normalize(raw[:, : self.dim], dim=1), concentration)


def build_form(kind: Posterior, dim: int, prior: Prior) -> Form:
    """Return the form of a posterior of width ``dim`` beside a prior.

    Raises:
        ConfigError: they don't fit each other.
    """
    if isinstance(prior, VampPrior) and kind != "gaussian":
        raise ConfigError(f"model.posterior: prior.kind 'vamp' is a mixture of 'gaussian' posteriors, got '{kind}'")
    if prior.learnt and kind == "deterministic":
        raise ConfigError(
            f"model.posterior: beside 'deterministic' codes the rate is infinite, so nothing can train the prior "
            f"({type(prior).__name__}); take a prior that is not learnt, or a second stage after training"
        )
    match kind:
        case "gaussian":
            return Gaussian(dim)
        case "deterministic":
            return Point(dim, spherical=isinstance(prior, SpherePrior))
        case "uniform":
            box = None if prior.learnt else prior()
            if not isinstance(box, DiagonalUniform):
                raise ConfigError("model.posterior: 'uniform' needs prior.kind 'uniform', whose box it is cut from")
            return Box(dim, box)
        case "spherical":
            if not isinstance(prior, SpherePrior):
                raise ConfigError(
                    "model.posterior: 'spherical' needs prior.kind 'hypersphere', whose sphere it lies on"
                )
            return Cap(dim)


def centre(q: Distribution) -> Tensor:
    """Return the point that stands for q: its mean, or, on a sphere, its mode (the mean lies in the empty inside)."""
    return q.mode if isinstance(q, Spherical) else q.mean
