r"""Laws on a hypersphere: uniform, and Power Spherical around a direction.

Letters: d latent width, :math:`r = \sqrt d` radius, x a point with :math:`\|x\| = r`, mu a unit vector, kappa >= 0
concentration, t the cosine between x and mu, :math:`A_d = 2 \pi^{d/2} / \Gamma(d/2)` the area of the unit sphere.

Densities are with respect to area on the sphere of radius r. With that radius every coordinate of the uniform law has
variance 1, as of a standard normal, so kernels and walks need no change.

.. math:: p_{\text{uniform}}(x) = \frac{1}{A_d\, r^{d-1}}, \qquad
          p_{\text{PS}}(x) = \frac{(1 + t)^\kappa}{N_\kappa\, r^{d-1}}, \qquad
          N_\kappa = 2^{\alpha + \beta} \pi^\beta \frac{\Gamma(\alpha)}{\Gamma(\alpha + \beta)}, \quad
          \alpha = \beta + \kappa,\; \beta = \tfrac{d-1}{2}

(De Cao and Aziz 2020, eqs. 6 to 9). The entropy and the divergence from the uniform law are closed (ibid., eqs. 17
and 18):

.. math:: H = \log N_\kappa - \kappa \big(\log 2 + \psi(\alpha) - \psi(\alpha + \beta)\big) + (d - 1) \log r, \qquad
          \mathrm{KL}(\text{PS} \,\|\, \text{uniform}) = \log A_d + (d - 1) \log r - H.

**Draws.** (1 + t) / 2 is Beta(alpha, beta) and the direction of the rest is uniform. Let :math:`G \sim
\mathrm{Gamma}(\alpha)` and n a standard normal vector in the plane at right angles to mu, so that
:math:`|n|^2 / 2 \sim \mathrm{Gamma}(\beta)`. Then

.. math:: x = r\, \frac{(G - |n|^2/2)\, \mu + \sqrt{2 G}\, n}{G + |n|^2/2}

is on the sphere and has just that law: no rotation of a pole is needed, and gradients reach mu (through n, a projected
normal vector) and kappa (through G; Figurnov et al. 2018).
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Context, Prior
from latentscape.dist.precision import doubled

_ROUNDING = 1e-3
"""Relative distance from the sphere up to which a point counts as on it."""


class Sphere(constraints.Constraint):
    """The sphere of a radius around 0."""

    event_dim = 1

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def check(self, value: Tensor) -> Tensor:
        """Return whether points ``[..., d]`` are on it, up to rounding."""
        return (torch.linalg.vector_norm(value, dim=-1) / self.radius - 1).abs() <= _ROUNDING


def log_area(dim: int, radius: float = 1.0) -> float:
    """Return the log of the area of the sphere of a radius in ``dim`` dimensions."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2) + (dim - 1) * math.log(radius)


class Spherical(Distribution):
    """A law on the sphere of radius sqrt(d) in d dimensions."""

    arg_constraints: dict[str, Any] = {}

    @property
    def dim(self) -> int:
        """The d."""
        return self.event_shape[0]

    @property
    def radius(self) -> float:
        """The r."""
        return math.sqrt(self.dim)

    @property
    def support(self) -> Sphere:  # pyrefly: ignore
        """The sphere."""
        return Sphere(self.radius)


class SphereUniform(Spherical):
    """The uniform law; batch shape ``()``.

    Args:
        like: ``[d]``, whose device and type draws have.
    """

    def __init__(self, like: Float[Tensor, " d"]) -> None:
        self.like = like
        super().__init__(torch.Size(), like.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Zero: the middle of the ball, not a point of the sphere."""
        return torch.zeros_like(self.like)

    @property
    def variance(self) -> Tensor:
        """One in every coordinate."""
        return torch.ones_like(self.like)

    def entropy(self) -> Tensor:
        """Return the log of the area."""
        return self.like.new_full((), log_area(self.dim, self.radius))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return minus the log of the area for points on the sphere, -inf elsewhere, ``[...]``."""
        return torch.where(self.support.check(value), -self.entropy(), -torch.inf)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``[*sample_shape, d]``."""
        shape = torch.Size(sample_shape) + self.event_shape
        return on_sphere(torch.randn(shape, dtype=self.like.dtype, device=self.like.device))

    def sample_at(self, temperature: float, sample_shape: Any = ()) -> Tensor:
        """Draw as ever, since no point is likelier than another; at temperature 0 the point (1, ..., 1)."""
        if temperature == 0:
            return torch.ones_like(self.like).expand(*sample_shape, -1)
        return self.sample(sample_shape)


class PowerSpherical(Spherical):
    """See the module.

    Args:
        loc: mu, unit vectors ``[*batch, d]``.
        concentration: kappa, ``[*batch]``.
    """

    has_rsample = True

    def __init__(self, loc: Float[Tensor, "*b d"], concentration: Float[Tensor, "*b"]) -> None:
        self.loc, self.concentration = loc, concentration
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mode(self) -> Tensor:
        """The point of the sphere in direction mu."""
        return self.radius * self.loc

    @property
    def mean(self) -> Tensor:
        """Inside the ball: the mode times the mean cosine."""
        return self.mode * self._cosine()[0].unsqueeze(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of every coordinate."""
        first, second = (moment.unsqueeze(-1) for moment in self._cosine())
        across = (1 - second) / (self.dim - 1)
        square = self.loc.square()
        return self.radius**2 * (across * (1 - square) + (second - first.square()) * square)

    def _cosine(self) -> tuple[Tensor, Tensor]:
        """Return the mean of t and of t^2, ``[*batch]``."""
        beta = (self.dim - 1) / 2
        alpha = beta + self.concentration
        share = alpha / (alpha + beta)
        spread = share * (1 - share) / (alpha + beta + 1)
        first = 2 * share - 1
        return first, 4 * spread + first.square()

    def _log_normaliser(self) -> Tensor:
        """Return log N, ``[*batch]``, in double precision: its two largest terms all but cancel."""
        beta = (self.dim - 1) / 2
        alpha = beta + doubled(self.concentration)
        ratio = torch.lgamma(alpha) - torch.lgamma(alpha + beta)
        return (alpha + beta) * math.log(2) + beta * math.log(math.pi) + ratio

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density in nats, ``[..., *batch]``; -inf off the sphere."""
        # 1 + t = 2 - |x / r - mu|^2 / 2, without the loss of digits that t near 1 has.
        apart = (value / self.radius - self.loc).square().sum(-1)
        shape = torch.log1p((-apart / 4).clamp_min(torch.finfo(apart.dtype).eps - 1)) + math.log(2)
        found = doubled(self.concentration) * shape - self._log_normaliser() - (self.dim - 1) * math.log(self.radius)
        return torch.where(self.support.check(value), found.to(self.loc.dtype), -torch.inf)

    def entropy(self) -> Tensor:
        """Return the differential entropy on the sphere, ``[*batch]``, nats."""
        beta, kappa = (self.dim - 1) / 2, doubled(self.concentration)
        alpha = beta + kappa
        inner = math.log(2) + torch.digamma(alpha) - torch.digamma(alpha + beta)
        found = self._log_normaliser() - kappa * inner + (self.dim - 1) * math.log(self.radius)
        return found.to(self.loc.dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``[*sample_shape, *batch, d]`` with gradients to mu and kappa."""
        shape = torch.Size(sample_shape) + self.loc.shape
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        noise = noise - (noise * self.loc).sum(-1, keepdim=True) * self.loc
        along = torch._standard_gamma((self.concentration + (self.dim - 1) / 2).expand(shape[:-1])).unsqueeze(-1)
        across = 0.5 * noise.square().sum(-1, keepdim=True)
        return self.radius * ((along - across) * self.loc + (2 * along).sqrt() * noise) / (along + across)


def on_sphere(direction: Tensor) -> Tensor:
    """Return the points ``[..., d]`` of the sphere of radius sqrt(d) in the given directions."""
    return math.sqrt(direction.shape[-1]) * torch.nn.functional.normalize(direction, dim=-1)


class SpherePriorConfig(Record):
    """Uniform on the sphere of radius sqrt(d)."""

    kind: Literal["hypersphere"] = "hypersphere"


class SpherePrior(Prior):
    """See the module."""

    like: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2:
            raise ConfigError(
                f"prior 'hypersphere' got {dim} latent, expected at least 2: in 1 there are but two points"
            )
        self.register_buffer("like", torch.zeros(dim), persistent=False)

    def forward(self, given: Distribution | None = None, context: Context = {}) -> SphereUniform:
        """Return p(z)."""
        return SphereUniform(self.like)
