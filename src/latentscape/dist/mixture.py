r"""Mixtures of diagonal normals as priors: learnt freely, or tied to the encoder (VampPrior).

Letters: K components, :math:`w_k` weights (they sum to 1), :math:`m_k` means and :math:`s_k` deviations ``[d]``, u_k
pseudo-inputs (made-up items x), q the encoder.

.. math:: p(z) = \sum_{k=1}^K w_k\, N(z; m_k, \operatorname{diag} s_k^2)

* ``mixture``: w, m and s are parameters.
* ``vamp`` (Tomczak and Welling 2018, eq. 10): the k-th component is :math:`q(z \mid u_k)`, so the prior moves with the
  encoder and resembles the average posterior, which is what the best prior of a VAE is (ibid., eq. 7). Learnt are the
  u_k, in standardised units so that one learning rate suits data of any unit, and, where asked, the weights.

No divergence from a normal to a mixture has a closed form, so the rate is sampled, :math:`\log q(z) - \log p(z)`. The
log-density of all components is one product of matrices,

.. math:: \log N(z; m_k, s_k) = \big[z^2, z\big] \cdot \big[-\tfrac12 s_k^{-2},\; m_k s_k^{-2}\big]
          - \tfrac12 \textstyle\sum (m_k / s_k)^2 - \sum \log s_k - \tfrac d2 \log 2\pi,

in double precision, since the square is taken apart and narrow components would lose it in single precision.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from latentscape.core.precision import without_autocast
from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.core.random import torch_stream
from latentscape.dist.conditional import Context, Prior
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.precision import doubled
from latentscape.dist.units import Affine

_ROWS = 8192
"""Rows whose densities under all components are held at once, where no gradient needs them."""
_JITTER = 0.01
"""Standardised noise on pseudo-inputs taken from data: equal ones would have equal gradients and never part."""


class GaussianMixture(Distribution):
    """See the module; batch shape ``()``, event shape ``[d]``.

    Args:
        logits: ``[K]``, log weights up to a constant.
        loc: m, ``[K, d]``.
        scale: s, ``[K, d]``.
        log_scale: log of ``scale``, where it is known already.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        logits: Float[Tensor, " k"],
        loc: Float[Tensor, "k d"],
        scale: Float[Tensor, "k d"],
        log_scale: Float[Tensor, "k d"] | None = None,
    ) -> None:
        self.logits, self.loc, self.scale = logits, loc, scale
        self.log_scale = scale.log() if log_scale is None else log_scale
        super().__init__(torch.Size(), loc.shape[1:], validate_args=False)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """All reals."""
        return constraints.independent(constraints.real, 1)

    @property
    def weights(self) -> Float[Tensor, " k"]:
        """The w."""
        return self.logits.softmax(0)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Sum of w m."""
        return self.weights @ self.loc

    @property
    def variance(self) -> Float[Tensor, " d"]:
        """Variance of every coordinate: within components and between them."""
        return self.weights @ (self.scale.square() + (self.loc - self.mean).square())

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of ``[..., d]``, ``[...]``, nats."""
        rows = value.reshape(-1, value.shape[-1])
        loc, log_scale = doubled(self.loc), doubled(self.log_scale)
        narrow = torch.exp(-2 * log_scale)
        table = torch.cat([-0.5 * narrow, loc * narrow], 1).T
        constant = 0.5 * math.log(2 * math.pi) * loc.shape[1]
        offset = (
            doubled(self.logits).log_softmax(0) - log_scale.sum(1) - 0.5 * (loc.square() * narrow).sum(1) - constant
        )
        parts = (rows,) if torch.is_grad_enabled() else rows.split(_ROWS)
        with without_autocast(value.device):
            found = [self._fold(doubled(part), table, offset).to(value.dtype) for part in parts]
        return torch.cat(found).reshape(value.shape[:-1])

    def _fold(self, rows: Tensor, table: Tensor, offset: Tensor) -> Tensor:
        joint = torch.addmm(offset, torch.cat([rows.square(), rows], 1), table)
        # The differences between components are right to many digits by now, and single precision folds them faster.
        return joint.to(self.loc.dtype).logsumexp(1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``[*sample_shape, d]``."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            # The inverse of the weights' distribution function, since a uniform draw can be shared between processes.
            steps = self.weights.cumsum(0)[:-1].contiguous()
            chosen = torch.searchsorted(steps, torch.rand(shape, dtype=steps.dtype, device=steps.device), right=True)
            noise = torch.randn(shape + self.event_shape, dtype=self.loc.dtype, device=self.loc.device)
            return torch.addcmul(self.loc[chosen], noise, self.scale[chosen])

    def sample_at(self, temperature: float, sample_shape: Any = ()) -> Tensor:
        """Draw with weights to the power 1 / temperature and deviations times temperature; at 0 the likeliest mean."""
        if temperature == 0:
            return self.loc[self.logits.argmax()].expand(*sample_shape, *self.event_shape)
        cooler = GaussianMixture(self.logits.log_softmax(0) / temperature, self.loc, self.scale * temperature)
        return cooler.sample(sample_shape)


class MixturePriorConfig(Record):
    """A mixture of normals with learnt weights, means and deviations.

    Attributes:
        components: K.
        spread: deviation of the means at the start; the components' own is such that a coordinate has variance 1.
    """

    kind: Literal["mixture"] = "mixture"
    components: int = Field(100, ge=1)
    spread: float = Field(0.7, gt=0, lt=1)


class MixturePrior(Prior):
    """See the module."""

    def __init__(self, config: MixturePriorConfig, dim: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(config.components))
        self.loc = nn.Parameter(config.spread * torch.randn(config.components, dim))
        self.log_scale = nn.Parameter(torch.full((config.components, dim), 0.5 * math.log(1 - config.spread**2)))

    def forward(self, given: Distribution | None = None, context: Context = {}) -> GaussianMixture:
        """Return p(z)."""
        return GaussianMixture(self.logits, self.loc, self.log_scale.exp(), self.log_scale)


class VampPriorConfig(Record):
    """The encoder's own mixture over learnt pseudo-inputs; needs the ``gaussian`` posterior.

    Attributes:
        components: K; the encoder reads so many more items a step.
        weights: ``uniform`` as in the paper, or ``learnt``.
    """

    kind: Literal["vamp"] = "vamp"
    components: int = Field(100, ge=1)
    weights: Literal["uniform", "learnt"] = "uniform"


class VampPrior(Prior):
    """See the module. The encoder is not held here: its q of the pseudo-inputs is handed to each call."""

    logits: Tensor

    def __init__(self, config: VampPriorConfig, units: Affine) -> None:
        super().__init__()
        self.units = units
        self.standardised = nn.Parameter(torch.randn(config.components, *units.mean.shape))
        logits = torch.zeros(config.components)
        if config.weights == "learnt":
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)

    @property
    def pseudo_inputs(self) -> Tensor:
        """The u, ``[K, *event]`` in the units of x."""
        return self.units.restore(self.standardised)

    def prime(self, x: Tensor) -> None:
        """Start from items of the data, repeated where there are fewer than K, with a little noise."""
        with torch.no_grad():
            rows = self.units.standardise(x)[torch.arange(len(self.standardised), device=x.device) % len(x)]
            noise = torch.randn(rows.shape, generator=torch_stream("prime"))
            self.standardised.copy_(rows + _JITTER * noise.to(rows))

    def forward(self, given: Distribution | None = None, context: Context = {}) -> GaussianMixture:
        """Return the mixture of ``given``, q(z | u) with batch ``[K]``.

        Raises:
            ConfigError: ``given`` is no diagonal normal of K items.
        """
        expected = self.standardised.shape[:1]
        if not isinstance(given, DiagonalNormal) or given.batch_shape != expected:
            arrived = "nothing" if given is None else f"{type(given).__name__} of batch {tuple(given.batch_shape)}"
            raise ConfigError(f"a 'vamp' prior got {arrived}, expected the encoder's normals of its {len(self.logits)} "
                              "pseudo-inputs")  # fmt: skip
        return GaussianMixture(self.logits, given.loc, given.scale, given.log_scale)
