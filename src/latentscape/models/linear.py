r"""Probabilistic PCA: the linear-Gaussian model of which everything is known; the oracle for the rest.

Letters: n values of x, d latents, N items, W loadings ``[n, d]``, mu mean, s^2 noise variance,
:math:`M = W^\top W + s^2 I`.

.. math:: z \sim N(0, I), \quad x \mid z \sim N(W z + \mu, s^2 I), \quad x \sim N(\mu, W W^\top + s^2 I), \quad
          z \mid x \sim N(M^{-1} W^\top (x - \mu),\; s^2 M^{-1})

At the maximum of the likelihood, with eigenvalues :math:`\lambda_1 \ge \dots \ge \lambda_n` and eigenvectors U of the
covariance (Tipping and Bishop 1999, eqs. 7 and 8),

.. math:: s^2 = \frac{1}{n - d} \sum_{i > d} \lambda_i, \qquad W = U_d (\Lambda_d - s^2 I)^{1/2}.

The columns of that W are orthogonal, so M is diagonal there and a diagonal posterior is exact: a linear VAE can reach
the likelihood itself (Lucas et al. 2019).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, DataError, LikelihoodError
from latentscape.core.precision import without_autocast
from latentscape.dist.conditional import Context, Latents
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.models.model import LatentModel, Layer, Terms, generate_flat


class PpcaConfig(Record):
    """Probabilistic PCA with ``latent`` directions."""

    kind: Literal["ppca"] = "ppca"
    latent: int = Field(16, ge=1)


class Moments:
    """Count, mean and scatter of rows seen in parts, float64; its size does not depend on how many rows there were."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64)
        self.scatter = torch.zeros(width, width, dtype=torch.float64)

    def add(self, rows: Float[Tensor, "b n"]) -> None:
        """Take in further rows (Chan et al. 1983: parallel update about the parts' own means)."""
        rows = rows.detach().to("cpu", torch.float64)
        count, mean = rows.shape[0], rows.mean(0)
        shift = mean - self.mean
        total = self.count + count
        centred = rows - mean
        self.scatter += centred.T @ centred + torch.outer(shift, shift) * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def covariance(self) -> Float[Tensor, "n n"]:
        """Maximum-likelihood covariance (divided by the count)."""
        return self.scatter / self.count


class Ppca(LatentModel):
    """Probabilistic PCA over flattened x, in the units of x; conditions are ignored.

    :meth:`fit` is exact; the parameters can also be trained by gradient, as any model's.

    Args:
        config: the number of directions.
        event_shape: shape of one x.
        vocabulary: unused, as every model's builder takes it.
        units: mean and scale of x, to start a training by gradient from.
    """

    def __init__(
        self,
        config: PpcaConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.event_shape = tuple(event_shape)
        self.latent_shapes = ((config.latent,),)
        width = math.prod(self.event_shape)
        if config.latent >= width:
            raise ConfigError(f"model.latent: got {config.latent}, expected fewer than the {width} values of x")
        mean, scale = (torch.zeros(()), torch.ones(())) if units is None else units
        scale = scale.detach().broadcast_to(self.event_shape).flatten()
        self.mean = nn.Parameter(mean.detach().broadcast_to(self.event_shape).flatten().clone())
        self.loadings = nn.Parameter(torch.randn(width, config.latent) * (scale[:, None] * config.latent**-0.5))
        self.log_noise = nn.Parameter(scale.square().mean().sqrt().log())

    def fit(self, batches: Iterable[Tensor]) -> "Ppca":
        """Set the parameters to the maximum of the likelihood of all items ``[b, *event]``; one pass.

        Raises:
            DataError: no more items than latents, NaN among them, or no variance left for the noise.
        """
        width, d = self.mean.shape[0], self.config.latent
        moments = Moments(width)
        for batch in batches:
            if len(batch):
                moments.add(batch.flatten(1))
        if moments.count <= d:
            raise DataError(f"probabilistic PCA got {moments.count} items, expected more than its {d} latents")
        if not bool(moments.scatter.isfinite().all()):
            raise DataError("probabilistic PCA got NaN or infinity among its data")
        values, vectors = torch.linalg.eigh(moments.covariance)
        values, vectors = values.flip(0), vectors.flip(1)[:, :d]
        noise = values[d:].mean()
        if noise <= 1e-12 * values[0]:
            raise DataError(f"the data lie in {d} dimensions or fewer, so no noise is left; use fewer latents")
        largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
        loadings = vectors * largest.sign() * (values[:d] - noise).clamp_min(0).sqrt()
        with torch.no_grad():
            self.mean.copy_(moments.mean)
            self.loadings.copy_(loadings)
            self.log_noise.copy_(0.5 * noise.log())
        return self

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """Return the exact p(z | x)."""
        w, variance = self.loadings, (2 * self.log_noise).exp()
        m = w.T @ w + variance * torch.eye(self.config.latent, dtype=w.dtype, device=w.device)
        root = torch.linalg.cholesky(m)
        mean = torch.cholesky_solve(w.T @ (x.flatten(1).to(w.dtype) - self.mean).T, root).T
        scale = torch.linalg.cholesky(torch.cholesky_inverse(root) * variance)
        return MultivariateNormal(mean, scale_tril=scale, validate_args=False)

    def log_likelihood(self, x: Tensor) -> Float[Tensor, " b"]:
        """Return the exact log p(x), nats an item, in float64 (Woodbury's identity: costs d^3, not n^3)."""
        w, variance = self.loadings.double(), (2 * self.log_noise.double()).exp()
        n, d = w.shape
        m = w.T @ w + variance * torch.eye(d, dtype=w.dtype, device=w.device)
        root = torch.linalg.cholesky(m)
        centred = x.flatten(1).double() - self.mean.double()
        seen = torch.linalg.solve_triangular(root, w.T @ centred.T, upper=False)
        distance = (centred.square().sum(1) - seen.square().sum(0)) / variance
        volume = (n - d) * variance.log() + 2 * root.diagonal().log().sum()
        return -0.5 * (n * math.log(2 * math.pi) + volume + distance)

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return distortion and rate, in full precision even under autocast: all of it is products of matrices."""
        with without_autocast(x.device):
            return super().terms(x, context, samples=samples, exact=exact)

    def infer(self, x: Tensor, context: Context = {}, *, samples: int = 1, mean: bool = False) -> tuple[Layer, ...]:
        """Return the one layer, with the exact posterior."""
        q = self.posterior(x)
        return (Layer(q.mean.unsqueeze(0) if mean else q.rsample((samples,)), q, self._prior()),)

    def generate(
        self, n: int, context: Context = {}, *, clamp: Sequence[Tensor | None] = (), temperature: Sequence[float] = ()
    ) -> Latents:
        """Draw n latents, scaled by the temperature; or ``clamp``, as given."""
        return generate_flat(self._prior(), n, clamp, temperature)

    def decode(self, z: Latents, context: Context = {}) -> DiagonalNormal:
        """Return p(x | z), batch ``[b]``."""
        mean = torch.addmm(self.mean, z[0], self.loadings.T).reshape(-1, *self.event_shape)
        return DiagonalNormal(mean, self.log_noise.exp(), len(self.event_shape), log_scale=self.log_noise)

    def _prior(self) -> DiagonalNormal:
        zeros = self.loadings.new_zeros(self.config.latent)
        return DiagonalNormal(zeros, torch.ones_like(zeros), log_scale=zeros)


def linear_marginal(model: LatentModel, context: Context = {}) -> LowRankMultivariateNormal:
    """Return the exact p(x) over flattened x of a linear-Gaussian model with a standard normal prior.

    Loadings and noise are read off the decoder at z = 0 and at the unit vectors, so it does not matter how it is built.

    Raises:
        LikelihoodError: the decoder is not linear, or its noise depends on z.
    """
    (d,) = model.latent_shapes[0]
    device = next(model.parameters()).device
    corner = torch.eye(d, device=device)
    probes = torch.cat([torch.zeros(1, d, device=device), corner, 3 * corner[:1] - corner[-1:]])
    told = {name: value[:1].expand(len(probes), *value.shape[1:]) for name, value in context.items()}
    with torch.no_grad():
        p = model.decode((probes,), told)
        means, variances = p.mean.flatten(1).double(), p.variance.flatten(1).double()
    loadings = means[1 : d + 1] - means[0]
    expected = means[0] + 3 * loadings[0] - loadings[-1]
    if not torch.allclose(means[-1], expected, rtol=1e-3, atol=1e-4 * float(means.abs().max() + 1)):
        raise LikelihoodError(f"{type(model).__name__} is not linear, so its likelihood has no closed form")
    if not torch.allclose(variances, variances[:1].expand_as(variances), rtol=1e-4):
        raise LikelihoodError(f"{type(model).__name__}'s noise depends on z, so its likelihood has no closed form")
    return LowRankMultivariateNormal(means[0], loadings.T, variances[0], validate_args=False)
