r"""The discretised logistic mixture: a law of ordered levels, such as grey values or audio codes.

Letters: L levels, x_k = low + k (high - low) / (L - 1) the k-th, u data scaled to [-1, 1], h = 1 / (L - 1) half a step,
K components of weight w_j, mean m_j and scale s_j, :math:`\sigma` the logistic function.

.. math:: P(u) = \sum_j w_j \Bigl[ \sigma\Bigl(\frac{u + h - m_j}{s_j}\Bigr)
                 - \sigma\Bigl(\frac{u - h - m_j}{s_j}\Bigr) \Bigr]

(Salimans et al. 2017, eq. 2), where the interval of the lowest level is open to minus infinity and that of the highest
to plus infinity, so that the masses sum to one. Values are independent given the parameters: every channel of an image
has a mixture of its own (PixelCNN++ couples the three of a colour by a linear regression, which is not done here).

**In float32.** With :math:`a = (u + h - m)/s`, :math:`b = (u - h - m)/s` and :math:`d = a - b = 2h/s`,

.. math:: \log [\sigma(a) - \sigma(b)] = \log \sigma(a) + \log \sigma(-b) + \log(1 - e^{-d})

holds exactly, and no term of it cancels or overflows, however far in the tail. (PixelCNN++ takes the difference, and
the density times 2h where it is below 1e-5.) Scales are at least an eighth of half a step, where a component in the
middle of a level holds 99.93 % of its mass there: a decoder gains nothing by less. They are at most e^5 times half the
range, which is level throughout.
"""

import math
from functools import cached_property
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, constraints

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.dist.likelihood import Likelihood
from latentscape.dist.units import Affine

_LEAST = 1 / 8
"""Scales are at least this part of half a step."""
_MOST = 5.0
"""The greatest log scale."""
_EXACT = 64
"""Levels up to which the mean is summed; of more it is taken of the mixture before it is rounded to levels."""
_OFF_GRID = 0.01
"""Part of a step that a value may lie off its level, by rounding."""
_OPEN = 1e30
"""Where an interval that is open ends; no scale brings it near 1, none makes it infinite."""


class LogisticMixtureConfig(Record):
    """Discretised logistic mixture; x lies on ``levels`` values spread evenly from ``low`` to ``high``.

    Grey images of 8 bits are ``levels: 256`` between 0 and 1 (the defaults); 17-level digits ``levels: 17``; mu-law
    codes ``levels: 256, low: 0, high: 255``.

    Attributes:
        components: of the mixture, K.
        levels: values that x can have, L.
        low: the least of them.
        high: the greatest.
    """

    kind: Literal["logistic_mixture"] = "logistic_mixture"
    components: int = Field(5, ge=1)
    levels: int = Field(256, ge=2)
    low: float = 0.0
    high: float = 1.0


class _Levels(constraints.Constraint):
    """The values that x can have."""

    is_discrete = True

    def __init__(self, config: LogisticMixtureConfig) -> None:
        self.config = config

    def check(self, value: Tensor) -> Tensor:
        """Return where a value is one of them."""
        place = place_of(value, self.config)
        inside = (place > -_OFF_GRID) & (place < self.config.levels - 1 + _OFF_GRID)
        return inside & ((place - place.round()).abs() <= _OFF_GRID)


def place_of(x: Tensor, config: LogisticMixtureConfig) -> Tensor:
    """Return the place of every value on the scale of levels, 0 to L - 1, float64."""
    return (x.double() - config.low) * ((config.levels - 1) / (config.high - config.low))


class DiscretisedLogistics(Distribution):
    """The law of the module, independent over an event.

    Args:
        logits: of the weights, ``[*batch, K, *event]``.
        means: m, likewise.
        log_scales: log s, likewise.
        config: levels and their range.
        event_dim: number of axes in the event.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self, logits: Tensor, means: Tensor, log_scales: Tensor, config: LogisticMixtureConfig, event_dim: int
    ) -> None:
        self._axis = -1 - event_dim
        self.logits = logits
        self.means, self.log_scales, self.config = means, log_scales, config
        self.half = 1 / (config.levels - 1)
        shape = logits.shape
        super().__init__(shape[: self._axis], shape[len(shape) - event_dim :], validate_args=False)

    @cached_property
    def log_weights(self) -> Tensor:
        """Log w, ``[*batch, K, *event]``: a pass over memory that a law whose parts are asked for is spared."""
        return self.logits.log_softmax(self._axis)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """The levels."""
        return constraints.independent(_Levels(self.config), len(self.event_shape))

    def _sum(self, value: Tensor) -> Tensor:
        return value.flatten(value.ndim - len(self.event_shape)).sum(-1) if self.event_shape else value

    def _log_masses(self, level: Tensor) -> Tensor:
        """Return the log mass of every value by itself; ``level [..., *batch, *event]`` counts from 0."""
        event = self.event_shape
        shape = torch.broadcast_shapes(level.shape, self.batch_shape + event)
        lead = len(shape) - len(event)
        rows = (shape[:1] if lead else torch.Size()).numel()

        def flat(part: Tensor) -> Float[Tensor, "b k n"]:
            whole = part.expand(*shape[:lead], -1, *event).movedim(lead, min(lead, 1))
            return whole.reshape(rows, part.shape[self._axis], -1)

        parts = flat(self.log_weights), flat(self.means), flat(self.log_scales)
        masses = _LogMass.apply(*parts, level.expand(shape).reshape(rows, -1), self.config.levels)
        return cast("Tensor", masses).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log mass, ``[..., *batch]``, nats an item; a value counts as its nearest level."""
        level = place_of(value, self.config).round().clamp(0, self.config.levels - 1)
        return self._sum(self._log_masses(level.to(self.means.dtype)))

    def _value(self, u: Tensor) -> Tensor:
        """Return u, in [-1, 1], in the units of x."""
        return self.config.low + (self.config.high - self.config.low) * (u + 1) / 2

    def masses(self) -> Float[Tensor, "..."]:
        """Return the mass of every level for every value, ``[L, *batch, *event]``; memory and time grow with L."""
        shape = self.batch_shape + self.event_shape
        levels = range(self.config.levels)
        return torch.stack([self._log_masses(self.means.new_full(shape, level)) for level in levels]).exp()

    @property
    def mean(self) -> Tensor:
        r"""The mean of every value.

        Up to 64 levels it is summed over them. Of more it is that of the mixture cut off at both ends, before it is
        rounded to levels, :math:`-1 + \sum_j w_j s_j [\operatorname{sp}(\tfrac{m_j + 1}{s_j})
        - \operatorname{sp}(\tfrac{m_j - 1}{s_j})]` with sp the softplus: less than half a step off, and far less where
        scales exceed a step.
        """
        if self.config.levels <= _EXACT:
            levels = torch.linspace(-1, 1, self.config.levels, dtype=self.means.dtype, device=self.means.device)
            return self._value(torch.tensordot(levels, self.masses(), 1))
        scale = self.log_scales.exp()
        up, down = ((self.means + end) / scale for end in (1, -1))
        # softplus(up) - softplus(down) = relu(up) - relu(down) + small terms, each of which is exact
        rest = F.softplus(-up.abs()) - F.softplus(-down.abs())
        inner = (self.means + 1).relu() - (self.means - 1).relu() + scale * rest
        return self._value((self.log_weights.exp() * inner).sum(self._axis) - 1)

    def parts(self) -> "DiscretisedLogistics":
        """Return every value by itself: batch ``[*batch, *event]``, event ``()``."""
        own = (self.logits, self.means, self.log_scales)
        logits, means, scales = (part.movedim(self._axis, -1) for part in own)
        return DiscretisedLogistics(logits, means, scales, self.config, 0)

    def at(self, places: Int[Tensor, "b m"]) -> "DiscretisedLogistics":
        """Return some values of every item, batch ``[b]``, event ``[m]``; places are those of the flattened event."""
        own = (self.logits, self.means, self.log_scales)
        logits, means, scales = (
            part.expand(*self.batch_shape, -1, *self.event_shape)
            .flatten(2)
            .gather(2, places.unsqueeze(1).expand(-1, part.shape[self._axis], -1))
            for part in own
        )
        return DiscretisedLogistics(logits, means, scales, self.config, 1)

    def entropy(self) -> Float[Tensor, "..."]:
        """Return the entropy, ``[*batch]``, nats, summed over all levels."""
        masses = self.masses()
        return self._sum(-torch.xlogy(masses, masses).sum(0))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draw ``[*sample_shape, *batch, *event]``: a component, a logistic variable, its nearest level."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.log_weights.shape
            gumbel = -torch.log(-torch.log(_uniform(shape, self.means)))
            chosen = (self.log_weights + gumbel).argmax(self._axis, keepdim=True)
            mean, log_scale = (
                part.expand(shape).gather(self._axis, chosen).squeeze(self._axis)
                for part in (self.means, self.log_scales)
            )
            u = mean + log_scale.exp() * torch.logit(_uniform(mean.shape, mean))
            level = ((u + 1) / (2 * self.half)).round().clamp(0, self.config.levels - 1)
            return self._value(2 * self.half * level - 1)


def _uniform(shape: torch.Size, like: Tensor) -> Tensor:
    """Draw from (0, 1), both ends left out."""
    tiny = torch.finfo(like.dtype).tiny
    return torch.rand(shape, dtype=like.dtype, device=like.device).clamp(tiny, 1 - torch.finfo(like.dtype).eps / 2)


class _LogMass(torch.autograd.Function):
    r"""log P of levels ``[b, n]`` under mixtures ``[b, K, n]``, and its slopes on the way, in blocks that a cache holds.

    With :math:`r_j` the share of component j in P and a, b, d of the module,

    .. math:: \frac{\partial \log P}{\partial \log w_j} = r_j, \qquad
              \frac{\partial \log P}{\partial m_j} = \frac{r_j}{s_j} [\sigma(b) - \sigma(-a)], \qquad
              \frac{\partial \log P}{\partial \log s_j} = r_j \Bigl[b\,\sigma(b) - a\,\sigma(-a) - \frac{d}{e^d - 1}\Bigr]

    Step by step, as autograd would, it takes 1.7 times as long (100 images of 784 values, five components, one core).
    """

    @staticmethod
    def forward(  # pyrefly: ignore
        ctx: Any, log_weights: Tensor, means: Tensor, log_scales: Tensor, level: Tensor, levels: int
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        masses = torch.empty_like(level)
        slopes = [torch.empty_like(one) for one in (log_weights, means, log_scales)] if wanted else []
        step = _rows(log_weights)
        for low in range(0, len(level), step):
            block = slice(low, low + step)
            parts = log_weights[block], means[block], log_scales[block]
            masses[block] = _log_mass(*parts, level[block], levels, [slope[block] for slope in slopes])
        ctx.save_for_backward(*slopes)
        return masses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore
        return *(slope * grad.unsqueeze(1) for slope in ctx.saved_tensors), None, None


def _rows(parts: Tensor) -> int:
    """Return so many rows a block that the numbers of each part are 256 kB; on an accelerator all at once."""
    return max(1, 2**16 // max(1, parts[0].numel()) if parts.device.type == "cpu" else len(parts))


def _log_mass(
    log_weights: Tensor, means: Tensor, log_scales: Tensor, level: Tensor, levels: int, slopes: list[Tensor]
) -> Tensor:
    """Return log P ``[b, n]``; write its three slopes, where they are wanted."""
    half = 1 / (levels - 1)
    u = 2 * half * level - 1
    upper = (u + half).masked_fill(level >= levels - 1, _OPEN).unsqueeze(1)
    lower = (u - half).masked_fill(level <= 0, -_OPEN).unsqueeze(1)
    closed = ((level > 0) & (level < levels - 1)).to(u.dtype).unsqueeze(1)
    slope = (-log_scales).exp()
    a, b, d = (upper - means).mul_(slope), (lower - means).mul_(slope), 2 * half * slope
    mass = _log_one_less_exp(d).mul_(closed).add_(F.logsigmoid(a)).add_(F.logsigmoid(-b)).add_(log_weights)
    whole = torch.logsumexp(mass, 1)
    if slopes:
        weights, centres, scales = slopes
        torch.exp(mass.sub_(whole.unsqueeze(1)), out=weights)
        above, below = torch.sigmoid(-a), torch.sigmoid(b)
        torch.sub(below, above, out=centres).mul_(slope).mul_(weights)
        torch.mul(below, b, out=scales).sub_(above.mul_(a)).sub_((d / d.expm1()).mul_(closed)).mul_(weights)
    return whole


def _log_one_less_exp(d: Tensor) -> Tensor:
    """Return log(1 - e^(-d)), to the last digits for small d as well."""
    return torch.expm1(-d).neg_().log_()


class LogisticMixture(Likelihood):
    """A decoder's mixture for every value (see the module).

    Raw numbers of a value are K logits, K means and K log scales; where they are zero, the components stand side by
    side over the range, each as wide as its share of it.
    """

    centres: Tensor

    def __init__(
        self, config: LogisticMixtureConfig, event_shape: tuple[int, ...], units: Affine | None = None
    ) -> None:
        if config.high <= config.low:
            raise ConfigError(f"likelihood.high: got {config.high:g}, expected more than low = {config.low:g}")
        middle, half = (config.high + config.low) / 2, (config.high - config.low) / 2
        super().__init__(event_shape, Affine(event_shape, middle, half))
        self.config = config
        self.channels = 3 * config.components
        places = (2 * torch.arange(config.components) + 1) / config.components - 1
        self.register_buffer("centres", places.reshape(-1, *[1] * len(event_shape)), persistent=False)
        self.least = math.log(_LEAST / (config.levels - 1))

    def forward(self, raw: Tensor) -> DiscretisedLogistics:
        """Turn raw outputs ``[b, outputs]`` into p(x)."""
        k = self.config.components
        logits, means, scales = raw.reshape(-1, 3, k, *self.event_shape).unbind(1)
        start = -math.log(k) - self.least
        log_scales = (self.least + F.softplus(scales + start)).clamp_max(_MOST)
        return DiscretisedLogistics(logits, self.centres + means, log_scales, self.config, len(self.event_shape))

    def _reason(self, x: Tensor) -> str | None:
        config = self.config
        step = (config.high - config.low) / (config.levels - 1)
        grid = f"{config.levels} values between {config.low:g} and {config.high:g}"
        place = place_of(x, config)
        if place.min() < -_OFF_GRID or place.max() > config.levels - 1 + _OFF_GRID:
            return f"a logistic_mixture likelihood was told of {grid}; give it the levels, low and high of the data"
        off = (place - place.round()).abs() > _OFF_GRID
        if bool(off.any()):
            share = 100 * float(off.float().mean())
            return (
                f"a logistic_mixture likelihood needs {grid}, {step:.6g} apart ({share:.0f} % lie off them): "
                "set its levels to those of the data, or use 'gaussian' for real numbers"
            )
        return None
