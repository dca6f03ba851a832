r"""Likelihoods p(x | parameters): how a decoder's raw output becomes a distribution in the units of x.

Letters: x data, m standardised mean, s standardised scale, ``mean`` and ``scale`` the units
(:class:`latentscape.dist.units.Affine`), D values an item.

.. math:: x = \text{mean} + \text{scale} \cdot (m + s \varepsilon), \qquad
          \log p(x) = \sum_i \log f(\varepsilon_i) - \log s_i - \log \text{scale}_i

with f normal or Laplace. The six choices of s:

=========  ===========================================================================================================
fixed      the configured ``value``
scalar     one learnt number
feature    one learnt number for every entry of x's leading axis (a frequency bin, a channel)
item       the decoder emits one number an item
element    the decoder emits one number for every value of x
optimal    the maximum-likelihood scale (sigma-VAE, Rybkin et al. 2021, eq. 6): the root mean square (normal) or mean
           absolute (Laplace) residual, over the whole batch in training, over a running average of batches afterwards
=========  ===========================================================================================================

Scales are in standardised units and never below ``least``, a stated bound (a decoder that fits one value exactly would
otherwise have unbounded density). With ``lower``, in the units of x, the mean stays above a floor that the data are
known to have: in standardised units :math:`m = l + \operatorname{softplus}(r - l)`, r the raw output, l the floor.
"""

import math
from typing import Annotated, Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Bernoulli, Categorical, Distribution, Independent
from torch.distributions.utils import lazy_property

from latentscape.core.config import Record
from latentscape.core.distributed import mean_over_processes
from latentscape.core.errors import ConfigError
from latentscape.dist.diagonal import Diagonal, DiagonalLaplace, DiagonalNormal
from latentscape.dist.likelihood import Likelihood
from latentscape.dist.logistic import LogisticMixture, LogisticMixtureConfig
from latentscape.dist.radial import Radial, RadialConfig
from latentscape.dist.units import Affine

Scale = Literal["fixed", "scalar", "feature", "item", "element", "optimal"]


class _ContinuousConfig(Record):
    scale: Scale = "optimal"
    value: float = Field(1.0, gt=0)
    """The fixed scale, or where a learnt one starts; in standardised units."""
    least: float = Field(1e-3, ge=0)
    """Bound of learnt and optimal scales; in standardised units."""
    lower: float | None = None
    """A floor of the data in the units of x, such as -80 (dB); the mean stays above it."""


class GaussianConfig(_ContinuousConfig):
    """Normal; ``scale`` is the standard deviation's form (the module lists them)."""

    kind: Literal["gaussian"] = "gaussian"


class LaplaceConfig(_ContinuousConfig):
    """Laplace; ``scale`` is the mean absolute deviation's form (the module lists them)."""

    kind: Literal["laplace"] = "laplace"


class BernoulliConfig(Record):
    """Independent bits; x is 0 or 1.

    Attributes:
        grey: x may be anything from 0 to 1. What is then called a likelihood is the cross-entropy of grey levels, which
            is the mean over the bits that they stand for and the density of nothing: for figures of peers that use it.
    """

    kind: Literal["bernoulli"] = "bernoulli"
    grey: bool = False


class CategoricalConfig(Record):
    """Independent codes, such as mu-law's 256; x is int64 in ``[0, levels)``."""

    kind: Literal["categorical"] = "categorical"
    levels: int = Field(256, ge=2)


LikelihoodConfig = Annotated[
    GaussianConfig | LaplaceConfig | RadialConfig | BernoulliConfig | CategoricalConfig | LogisticMixtureConfig,
    Field(discriminator="kind"),
]


class Continuous(Likelihood):
    """Normal or Laplace (see the module)."""

    running: Tensor
    batches: Tensor

    def __init__(self, config: GaussianConfig | LaplaceConfig, event_shape: tuple[int, ...], units: Affine) -> None:
        super().__init__(event_shape, units)
        self.config = config
        self.family: type[Diagonal] = DiagonalNormal if isinstance(config, GaussianConfig) else DiagonalLaplace
        self.power = 2 if isinstance(config, GaussianConfig) else 1
        self.channels = 2 if config.scale == "element" else 1
        self.items = 1 if config.scale == "item" else 0
        learnt = config.scale not in ("fixed", "optimal")
        excess = config.value - config.least
        if learnt and excess <= 0:
            raise ConfigError(f"likelihood.value: got {config.value:g}, expected more than least = {config.least:g}")
        # An emitted scale is softplus(raw + start) + least: the configured value where the raw output is 0.
        self.start = math.log(math.expm1(excess)) if learnt else 0.0
        match config.scale:
            case "scalar":
                self.log_excess = nn.Parameter(torch.full((), math.log(excess)))
            case "feature":
                shape = (event_shape[0], *[1] * (len(event_shape) - 1))
                self.log_excess = nn.Parameter(torch.full(shape, math.log(excess)))
            case "optimal":
                self.register_buffer("running", torch.tensor(config.value**self.power))
                self.register_buffer("batches", torch.tensor(0.0))

    def forward(self, raw: Tensor) -> Diagonal:
        """Turn raw outputs ``[b, outputs]`` into p(x) in the units of x."""
        values = math.prod(self.event_shape)
        m = (raw[:, :values] if raw.shape[1] > values else raw).reshape(-1, *self.event_shape)
        if self.config.lower is not None:
            low = (self.config.lower - self.units.mean) / self.units.scale
            m = low + F.softplus(m - low)
        return self.family(
            self.units.restore(m), self._scale(raw[:, values:]) * self.units.scale, len(self.event_shape)
        )

    def _scale(self, raw: Tensor) -> Tensor:
        """Return s, standardised, broadcastable to ``[b, *event]``; ``raw`` is what follows the means."""
        match self.config.scale:
            case "fixed":
                return self.units.scale.new_full((), self.config.value)
            case "scalar" | "feature":
                return self.log_excess.exp() + self.config.least
            case "item":
                return self._emitted(raw).reshape(-1, *[1] * len(self.event_shape))
            case "element":
                return self._emitted(raw).reshape(-1, *self.event_shape)
            case "optimal":
                return self._root(self.running)

    def _emitted(self, raw: Tensor) -> Tensor:
        return F.softplus(raw + self.start) + self.config.least

    def _root(self, moment: Tensor) -> Tensor:
        """Return the scale of a mean power of residuals, kept off zero by ``least``."""
        moment = moment + self.config.least**self.power
        return moment.sqrt() if self.power == 2 else moment

    def observe(self, p: Distribution, x: Tensor, hidden: Tensor | None = None) -> Distribution:
        r"""Set an optimal scale to its maximum-likelihood value on this batch, of all processes.

        The scale is held constant for the gradient: at its optimum, :math:`\partial \log p / \partial s = 0`, so the
        gradient of the batch's mean is the same (the envelope theorem). A running average is kept for evaluation;
        where no value counts there is nothing to estimate, and the scale is the running one.
        """
        if self.config.scale != "optimal" or not self.training:
            return p
        assert isinstance(p, Diagonal)
        with torch.no_grad():
            residual = (x - p.loc) / self.units.scale
            errors = residual.square() if self.power == 2 else residual.abs()
            share = torch.ones_like(self.running) if hidden is None else hidden.to(errors).mean()
            total = errors.mean() if hidden is None else errors.mul(hidden).mean()
            # Processes may count different numbers of values: the mean of their means would not be the maximum.
            total, share = mean_over_processes(torch.stack([total, share])).unbind()
            moment = torch.where(share > 0, total / share, self.running)
            self.batches += share > 0
            self.running.lerp_(moment, (1 / self.batches.clamp_min(1)).clamp_min(0.01))
        return p.rescaled(self._root(moment) * self.units.scale)

    def _reason(self, x: Tensor) -> str | None:
        name = self.config.kind
        if not x.is_floating_point():
            return (
                f"a {name} likelihood needs real numbers, since the density of codes means nothing; use 'categorical'"
            )
        if self.config.lower is not None and x.min() < self.config.lower - 1e-3:
            return f"the {name} likelihood was told that nothing lies below lower = {self.config.lower:g}"
        return None


class _Bits(Independent):
    """Independent Bernoulli variables whose density takes two passes over the batch fewer than torch's."""

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = torch.broadcast_tensors(self.base_dist.logits, value)
        loss = F.binary_cross_entropy_with_logits(logits, value, reduction="none")
        return -loss.flatten(value.ndim - len(self.event_shape)).sum(-1)


class Bits(Likelihood):
    """Independent Bernoulli variables; raw outputs are logits."""

    def __init__(self, config: BernoulliConfig, event_shape: tuple[int, ...], units: Affine | None = None) -> None:
        super().__init__(event_shape, Affine(event_shape, 0.5, 0.5))
        self.grey = config.grey

    def forward(self, raw: Tensor) -> Distribution:
        """Turn logits ``[b, outputs]`` into p(x)."""
        logits = raw.reshape(-1, *self.event_shape)
        return _Bits(Bernoulli(logits=logits, validate_args=False), len(self.event_shape), validate_args=False)

    def _reason(self, x: Tensor) -> str | None:
        if bool(((x == 0) | (x == 1)).all()):
            return None
        if self.grey:
            inside = bool(((x >= 0) & (x <= 1)).all())
            return None if inside else "a cross-entropy of grey levels needs values from 0 to 1"
        share = 100 * float(((x != 0) & (x != 1)).float().mean())
        return (
            f"a bernoulli likelihood needs every value to be 0 or 1 ({share:.0f} % are not): "
            "binarise images, and use 'gaussian' or 'laplace' for sound and grey levels"
        )


class _LogMass(torch.autograd.Function):
    """log p of codes ``[r]`` under logits ``[r, k]``, normalised on the way, in blocks that a cache holds.

    What torch does by itself (normalised logits, then a choice of them) goes six times over an array as large as the
    logits, which of a second of sound are 16 MB.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, codes: Tensor) -> Tensor:  # pyrefly: ignore
        ctx.save_for_backward(logits, codes)
        split = (_blocks(rows, logits.shape[1]) for rows in (logits, codes.unsqueeze(1)))
        logs = [block.log_softmax(1, _wide(block)).gather(1, code) for block, code in zip(*split, strict=True)]
        return torch.cat(logs).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore
        logits, codes = ctx.saved_tensors
        back = torch.empty_like(logits)
        split = (_blocks(rows, logits.shape[1]) for rows in (back, logits, codes.unsqueeze(1), grad.unsqueeze(1)))
        for out, block, code, slope in zip(*split, strict=True):
            out.copy_(block.softmax(1, _wide(block)).mul_(-slope).scatter_add_(1, code, slope))
        return back, None


def _blocks(rows: Tensor, k: int) -> tuple[Tensor, ...]:
    """Return so many rows a block that k numbers of each are 512 kB; on an accelerator all at once."""
    return rows.split(max(1, 2**17 // k if rows.device.type == "cpu" else len(rows)))


def _wide(logits: Tensor) -> torch.dtype:
    """Return float32 for what is narrower."""
    return torch.promote_types(logits.dtype, torch.float32)


class _Codes(Categorical):
    """A categorical without a mean (torch's is NaN): :func:`latentscape.dist.conditional.point` then takes its mode.

    Logits are normalised when they are asked for.
    """

    def __init__(self, raw: Tensor) -> None:
        self.raw = self._param = raw
        self._num_events = raw.shape[-1]
        Distribution.__init__(self, raw.shape[:-1], validate_args=False)

    @lazy_property
    def logits(self) -> Tensor:
        return self.raw.log_softmax(-1, _wide(self.raw))

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Codes":
        return _Codes(self.raw.expand(*batch_shape, self._num_events))

    def log_prob(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        raw = self.raw.expand(*shape, self._num_events).reshape(-1, self._num_events)
        return cast("Tensor", _LogMass.apply(raw, value.long().expand(shape).reshape(-1))).reshape(shape)


class Codes(Likelihood):
    """Independent categorical variables; networks see codes scaled to [-1, 1]."""

    def __init__(self, config: CategoricalConfig, event_shape: tuple[int, ...], units: Affine | None = None) -> None:
        half = (config.levels - 1) / 2
        super().__init__(event_shape, Affine(event_shape, half, half))
        self.levels = config.levels
        self.channels = config.levels

    def forward(self, raw: Tensor) -> Distribution:
        """Turn logits ``[b, outputs]``, levels before values, into p(x)."""
        logits = raw.reshape(-1, self.levels, *self.event_shape).movedim(1, -1)
        return Independent(_Codes(logits), len(self.event_shape), validate_args=False)

    def _reason(self, x: Tensor) -> str | None:
        if x.is_floating_point():
            return "a categorical likelihood needs int64 codes, such as those of the 'mulaw' representation"
        if x.min() < 0 or x.max() >= self.levels:
            return f"a categorical likelihood of {self.levels} levels needs codes from 0 to {self.levels - 1}"
        return None


_TABLE: dict[type[Record], type[Any]] = {
    GaussianConfig: Continuous,
    LaplaceConfig: Continuous,
    RadialConfig: Radial,
    BernoulliConfig: Bits,
    CategoricalConfig: Codes,
    LogisticMixtureConfig: LogisticMixture,
}


def build_likelihood(config: Record, event_shape: tuple[int, ...], units: Affine) -> Likelihood:
    """Return the likelihood that a record describes."""
    return _TABLE[type(config)](config, event_shape, units)
