r"""The Manifold: a latent space with lengths of its own, and what its geodesics need to know.

Letters: n points z of width d, embedding f into m numbers, J its Jacobian ``[m, d]``, G metric ``[d, d]``, v and w
velocities, p curves.

A length comes from an embedding, :math:`\lVert f(b) - f(a) \rVert` for a small step, so that the metric is pulled back,
:math:`G = J^\top J` (Tosi et al. 2014; Arvanitidis et al. 2018, eq. 4), or from a metric alone,
:math:`\sqrt{(b - a)^\top G\,(b - a)}`, G the mean of those at the two Gauss points between. Either way a step has a
*residual*, whose squared norm is its squared length: the energy of a curve is a sum of squares, and its Gauss-Newton
matrix block tridiagonal.

A geodesic solves :math:`\ddot z = -\Gamma(z)[\dot z, \dot z]`, and a vector w is transported along a curve by
:math:`\dot w = -\Gamma(z)[\dot z, w]`, with

.. math::
    \Gamma[v, w] = G^{-1} J^\top D^2\!f[v, w] \quad\text{(embedding)}, \qquad
    \Gamma[v, w] = \tfrac12 G^{-1} \big( (D_v G)\,w + (D_w G)\,v - \nabla_z (v^\top G\,w) \big) \quad\text{(metric)};

both are the Levi-Civita connection (do Carmo 1992, ch. 2). Jacobians are taken by forward mode (``torch.func``), all d
directions at once. Where G has next to no extent in a direction (a latent that the decoder ignores), solving with it is
held up by 1e-6 of its mean eigenvalue (1e-12 in float64).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vjp, vmap

from latentscape.core.forward import jvp

_VALUES = {"cpu": 1 << 21}
"""Numbers of a block of Jacobians: 8 MB stay in a CPU's cache; elsewhere ..."""
_VALUES_ELSEWHERE = 1 << 26
_FEWEST = 32
"""Points of a block at least, so that matrix products stay tall."""
_GAUSS = (0.5 - 12**-0.5, 0.5 + 12**-0.5)


class Manifold(ABC):
    """Lengths over a latent space of width ``dim``."""

    dim: int

    @abstractmethod
    def step(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "n r"]:
        """Return residuals whose squared norms are the squared lengths of the small steps from ``a`` to ``b``."""

    @abstractmethod
    def metric(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
        """Return G."""

    @abstractmethod
    def connection(
        self, z: Float[Tensor, "n d"], v: Float[Tensor, "n d"], w: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        r"""Return :math:`\Gamma(z)[v, w]`, bilinear and symmetric in v and w."""

    def chords(self, points: Float[Tensor, "p n d"]) -> Float[Tensor, "p s r"]:
        """Return the residuals of the s = n - 1 steps along each curve."""
        return self.step(points[:, :-1].flatten(0, 1), points[:, 1:].flatten(0, 1)).unflatten(0, (len(points), -1))

    def norm(self, z: Float[Tensor, "n d"], v: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        r"""Return the length of ``v`` at ``z``, :math:`\sqrt{v^\top G v}`."""
        return torch.einsum("ni,nij,nj->n", v, self.metric(z), v).clamp_min(0).sqrt()

    def matrix(
        self, points: Float[Tensor, "p n d"], stride: int = 1
    ) -> tuple[Float[Tensor, "p k d d"], Float[Tensor, "p m d d"]]:
        r"""Return the Gauss-Newton matrix of half the sum of squared residuals, by the k = n - 2 inner points.

        With A and B the derivatives of a step's residual by where it begins and ends, the blocks on the diagonal are
        :math:`B_{i-1}^\top B_{i-1} + A_i^\top A_i`, those above it :math:`A_i^\top B_i`.

        Args:
            points: of curves, both ends among them.
            stride: every which point is worth derivatives of its own; a hint.
        """
        rows = max(1, self._at_once(points) // points.shape[1])
        parts = [self._blocks(part[:, :-1], part[:, 1:]) for part in points.split(rows)]
        diagonal, above = (torch.cat(part) for part in zip(*parts, strict=True))
        return diagonal, above

    def _blocks(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        low, high = a.flatten(0, 1), b.flatten(0, 1)
        begin = _jacobian(lambda at: self.step(at, high), low).unflatten(0, a.shape[:2])
        end = _jacobian(lambda at: self.step(low, at), high).unflatten(0, a.shape[:2])
        return _gram(end)[:, :-1] + _gram(begin)[:, 1:], (begin.mT @ end)[:, 1:-1]

    def _at_once(self, points: Tensor) -> int:
        """Return how many points' Jacobians to hold at a time."""
        one = points.flatten(0, -2)[:1]
        values = self.step(one, one).shape[1] * self.dim
        return max(_FEWEST, _VALUES.get(points.device.type, _VALUES_ELSEWHERE) // values)


class PullBack(Manifold):
    r"""The metric that an embedding pulls back, :math:`G = J^\top J`.

    Args:
        embedding: ``[n, d] -> [n, m]``, row by row, differentiable twice, any m.
        dim: d.
    """

    def __init__(self, embedding: Callable[[Tensor], Tensor], dim: int) -> None:
        self.embedding = embedding
        self.dim = dim

    def step(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return :math:`f(b) - f(a)`."""
        return self.embedding(b) - self.embedding(a)

    def chords(self, points: Float[Tensor, "p n d"]) -> Float[Tensor, "p s m"]:
        """Return the differences along each curve; every point is embedded once."""
        places = self.embedding(points.flatten(0, 1)).unflatten(0, points.shape[:2])
        return places[:, 1:] - places[:, :-1]

    def jacobian(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n m d"]:
        """Return J."""
        return _jacobian(self.embedding, z)

    def matrix(
        self, points: Float[Tensor, "p n d"], stride: int = 1
    ) -> tuple[Float[Tensor, "p k d d"], Float[Tensor, "p m d d"]]:
        r"""Return the Gauss-Newton matrix: :math:`2 J_i^\top J_i`, and above the diagonal :math:`-J_i^\top J_{i+1}`.

        J is taken at every ``stride``-th point, which must divide n - 1, and is linear in time between: all products
        are then sums of :math:`J_k^\top J_k` and :math:`J_k^\top J_{k+1}` at those points.
        """
        known = points[:, ::stride]
        own, following = [], []
        for rows in known.split(max(1, self._at_once(known) // known.shape[1])):
            jacobians = self.jacobian(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
            own.append(_gram(jacobians))
            following.append(jacobians[:, :-1].mT @ jacobians[:, 1:])
        first, second = torch.cat(own)[:, :-1, None], torch.cat(own)[:, 1:, None]
        mixed = torch.cat(following)[:, :, None]
        w = (torch.arange(stride).to(points) / stride)[:, None, None]
        v = w + 1 / stride
        here = (1 - w) ** 2 * first + w * (1 - w) * (mixed + mixed.mT) + w**2 * second
        ahead = (1 - w) * (1 - v) * first + (1 - w) * v * mixed + w * (1 - v) * mixed.mT + w * v * second
        return 2 * here.flatten(1, 2)[:, 1:], -ahead.flatten(1, 2)[:, 1:-1]

    def metric(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
        """Return G."""
        return torch.cat([_gram(self.jacobian(rows)) for rows in z.split(self._at_once(z))])

    def connection(
        self, z: Float[Tensor, "n d"], v: Float[Tensor, "n d"], w: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        r"""Return :math:`G^{-1} J^\top D^2 f[v, w]`."""
        z, v = z.contiguous(), v.contiguous()
        slope, back = vjp(lambda at: jvp(self.embedding, at, v)[1], z)[:2]
        # forward mode twice is not known for every activation; the transpose of the transpose is
        bend = vjp(lambda u: back(u)[0], torch.zeros_like(slope))[1](w)[0]
        return solve(self.metric(z), vjp(self.embedding, z)[1](bend)[0])


class Riemannian(Manifold):
    """A metric alone.

    Args:
        metric: ``[n, d] -> [n, d, d]``, positive definite, differentiable; NaN where it is not defined, and no curve
            goes there.
        dim: d.
    """

    def __init__(self, metric: Callable[[Tensor], Tensor], dim: int) -> None:
        self._metric = metric
        self.dim = dim

    def step(self, a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "n r"]:
        r"""Return :math:`F (b - a) / \sqrt 2` at both Gauss points, :math:`F^\top F = G` by Cholesky's method."""
        return torch.cat([self._half(torch.lerp(a, b, place), b - a) for place in _GAUSS], 1)

    def _half(self, z: Tensor, v: Tensor) -> Tensor:
        factor, failed = torch.linalg.cholesky_ex(self._metric(z))
        factor = torch.where(failed[:, None, None] == 0, factor, torch.nan)
        return (factor.mT @ v[..., None])[..., 0] / 2**0.5

    def metric(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
        """Return G."""
        return self._metric(z)

    def connection(
        self, z: Float[Tensor, "n d"], v: Float[Tensor, "n d"], w: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        r"""Return :math:`\Gamma(z)[v, w]` from the derivatives of G."""
        z, v, w = z.contiguous(), v.contiguous(), w.contiguous()
        metric, along_v = jvp(self._metric, z, v)
        along_w = jvp(self._metric, z, w)[1]
        product, back = vjp(lambda at: torch.einsum("ni,nij,nj->n", v, self._metric(at), w), z)[:2]
        slope = back(torch.ones_like(product))[0]
        turned = (along_v @ w[..., None] + along_w @ v[..., None])[..., 0]
        return solve(metric, (turned - slope) / 2)


def solve(metric: Float[Tensor, "n d d"], vector: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return :math:`G^{-1} v`, held up where G has next to no extent (the module says how)."""
    least = 1e-12 if metric.dtype == torch.float64 else 1e-6
    ridge = least * metric.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(torch.finfo(metric.dtype).tiny)
    held = metric + ridge[:, None, None] * torch.eye(metric.shape[-1], dtype=metric.dtype, device=metric.device)
    return torch.linalg.solve_ex(held, vector[..., None])[0][..., 0]


def _jacobian(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the Jacobians ``[n, r, d]`` of a function of rows ``[n, d] -> [n, r]``, all directions at once."""
    z = z.contiguous()  # forward mode refuses expanded tensors

    def column(direction: Tensor) -> Tensor:
        return jvp(function, z, direction.expand_as(z))[1]

    return vmap(column)(torch.eye(z.shape[1], dtype=z.dtype, device=z.device)).permute(1, 2, 0)


def _gram(jacobian: Tensor) -> Tensor:
    return jacobian.mT @ jacobian
