r"""Kullback-Leibler divergences in closed form, registered with ``torch.distributions.kl_divergence``.

Letters: q, p with locations m_q, m_p and scales s_q, s_p; :math:`\delta = m_q - m_p`. All in nats.

Every pair of diagonal families has a row below, a value's divergence; an event's is the sum. A divergence that is
infinite because q has mass where p has none is +inf, not an error.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, kl_divergence, register_kl

from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import _ROUNDING, Diagonal, DiagonalLaplace, DiagonalNormal, DiagonalUniform
from latentscape.dist.sphere import PowerSpherical, SphereUniform, Spherical

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _normal_normal(q: Diagonal, p: Diagonal) -> Tensor:
    if p.unit:
        return 0.5 * (q.scale.square() + q.loc.square() - 1) - q.log_scale
    variance = q.scale.square() + (q.loc - p.loc).square()
    return 0.5 * (variance / p.scale.square() - 1) + p.log_scale - q.log_scale


def _normal_laplace(q: Diagonal, p: Diagonal) -> Tensor:
    t = (q.loc - p.loc) / (q.scale * math.sqrt(2))
    distance = q.scale * (math.sqrt(2 / math.pi) * torch.exp(-t.square()) + math.sqrt(2) * t * torch.erf(t))
    return distance / p.scale + p.log_scale + math.log(2) - q.log_scale - 0.5 - _HALF_LOG_2PI


def _laplace_normal(q: Diagonal, p: Diagonal) -> Tensor:
    variance = 2 * q.scale.square() + (q.loc - p.loc).square()
    return 0.5 * variance / p.scale.square() + p.log_scale + _HALF_LOG_2PI - q.log_scale - 1 - math.log(2)


def _laplace_laplace(q: Diagonal, p: Diagonal) -> Tensor:
    delta = (q.loc - p.loc).abs()
    return (q.scale * torch.exp(-delta / q.scale) + delta) / p.scale - 1 + p.log_scale - q.log_scale


def _uniform_normal(q: Diagonal, p: Diagonal) -> Tensor:
    variance = q.scale.square() / 3 + (q.loc - p.loc).square()
    return 0.5 * variance / p.scale.square() + p.log_scale + _HALF_LOG_2PI - q.log_scale - math.log(2)


def _uniform_laplace(q: Diagonal, p: Diagonal) -> Tensor:
    delta = (q.loc - p.loc).abs()
    distance = torch.where(delta >= q.scale, delta, (delta.square() + q.scale.square()) / (2 * q.scale))
    return distance / p.scale + p.log_scale - q.log_scale


def _uniform_uniform(q: Diagonal, p: Diagonal) -> Tensor:
    rounding = _ROUNDING * (p.scale + p.loc.abs())
    inside = (q.loc - p.loc).abs() + q.scale <= p.scale + rounding
    return torch.where(inside, p.log_scale - q.log_scale, torch.inf)


def _infinite(q: Diagonal, p: Diagonal) -> Tensor:
    return torch.full_like(q.loc + p.loc, torch.inf)


_PAIRS: dict[tuple[type[Diagonal], type[Diagonal]], Callable[[Diagonal, Diagonal], Tensor]] = {
    (DiagonalNormal, DiagonalNormal): _normal_normal,
    (DiagonalNormal, DiagonalLaplace): _normal_laplace,
    (DiagonalNormal, DiagonalUniform): _infinite,
    (DiagonalLaplace, DiagonalNormal): _laplace_normal,
    (DiagonalLaplace, DiagonalLaplace): _laplace_laplace,
    (DiagonalLaplace, DiagonalUniform): _infinite,
    (DiagonalUniform, DiagonalNormal): _uniform_normal,
    (DiagonalUniform, DiagonalLaplace): _uniform_laplace,
    (DiagonalUniform, DiagonalUniform): _uniform_uniform,
}


@register_kl(Diagonal, Diagonal)
def _kl_diagonal(q: Diagonal, p: Diagonal) -> Tensor:
    return q.sum_event(_PAIRS[type(q), type(p)](q, p))


@register_kl(Delta, Distribution)
def _kl_delta(q: Delta, p: Distribution) -> Tensor:
    return q.point.new_full(torch.broadcast_shapes(q.batch_shape, p.batch_shape), torch.inf)


@register_kl(MultivariateNormal, DiagonalNormal)
def _kl_full_diagonal(q: MultivariateNormal, p: DiagonalNormal) -> Tensor:
    root = q.scale_tril / p.scale.broadcast_to(p.loc.shape).unsqueeze(-1)
    shift = (q.loc - p.loc) / p.scale
    log_volume = q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1) - p.sum_event(p.log_scale)
    return 0.5 * (root.square().sum((-2, -1)) + shift.square().sum(-1) - q.event_shape[0]) - log_volume


@register_kl(PowerSpherical, SphereUniform)
def _kl_spherical_uniform(q: PowerSpherical, p: SphereUniform) -> Tensor:
    return p.entropy() - q.entropy()  # log p is constant on the sphere


@register_kl(Diagonal, SphereUniform)
def _kl_off_the_sphere(q: Diagonal, p: SphereUniform) -> Tensor:
    return q.loc.new_full(q.batch_shape, torch.inf)


def rate_per_value(q: Distribution, p: Distribution) -> Tensor | None:
    """Return KL(q || p) of every latent value, ``[*batch, *event]`` in nats; they sum to the rate.

    ``None`` where q or p does not factorise over the event: then only the whole has a rate.
    """
    if isinstance(q, Diagonal) and isinstance(p, Diagonal):
        rate = _PAIRS[type(q), type(p)](q, p)
        return rate.broadcast_to(torch.broadcast_shapes(rate.shape, q.loc.shape))
    return None


def log_ratio_per_value(q: Distribution, p: Distribution, z: Tensor) -> Tensor | None:
    """Return log q(z_i) - log p(z_i) of every latent value, nats: one sample of its rate, and ``None`` as above."""
    if isinstance(q, Diagonal) and isinstance(p, Diagonal):
        return q.parts().log_prob(z) - p.parts().log_prob(z)
    return None


def why_infinite(q: Distribution, p: Distribution) -> str | None:
    """Return why KL(q || p) is infinite whatever the parameters, in a few words; ``None`` where it can be finite."""
    if isinstance(q, Delta):
        return "its encoder is deterministic"
    if isinstance(p, DiagonalUniform) and isinstance(q, Diagonal) and not isinstance(q, DiagonalUniform):
        return "its posterior has mass outside the box of its uniform prior"
    if isinstance(p, Spherical) and not isinstance(q, Spherical):
        return "its posterior has mass off the sphere of its hypersphere prior (take posterior 'spherical')"
    if isinstance(q, Spherical) and not isinstance(p, Spherical):
        return "its posterior lies on a sphere, to which its prior gives no mass"
    return None


__all__ = ["kl_divergence", "log_ratio_per_value", "rate_per_value", "why_infinite"]
