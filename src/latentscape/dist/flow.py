r"""RealNVP: a normalising flow of coupling layers as a prior (Dinh, Sohl-Dickstein and Bengio 2017).

Letters: z latent, :math:`\varepsilon` base noise, both ``[d]``; g the flow from z to :math:`\varepsilon`; a, b the
halves of a layer's input; r, t what a small net makes of a; c bound of a log-scale.

.. math:: \log p(z) = \log N(g(z); 0, I) + \log \left| \det \frac{\partial g}{\partial z} \right|

A layer permutes its input (fixed, drawn once), leaves a as it is and maps, with :math:`s = c \tanh(r / c)`,

.. math:: b' = b \odot e^{s(a)} + t(a), \qquad \log \left| \det \right| = \sum_i s_i(a), \qquad
          b = (b' - t(a)) \odot e^{-s(a)}

(ibid., eqs. 4 to 8), so the inverse is exact and costs the same. The nets' last layers begin near zero, and the
permutations of all layers end in the order that they began with: g begins near the identity, and training as with the
normal prior.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.core.random import torch_stream
from latentscape.dist.conditional import Context, Prior

_START = 1e-3
"""Deviation of the last layers' weights, times the root of their inputs; exact zeros would let no gradient through."""
_MOMENT_DRAWS = 4096


class Coupling(nn.Module):
    """One layer; see the module."""

    order: Tensor

    def __init__(self, order: Int[Tensor, " d"], width: int, bound: float) -> None:
        super().__init__()
        self.kept = len(order) // 2
        self.bound = bound
        self.register_buffer("order", order)
        moved = len(order) - self.kept
        self.net = nn.Sequential(
            nn.Linear(self.kept, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * moved)
        )
        with torch.no_grad():
            linear = [layer for layer in self.net if isinstance(layer, nn.Linear)]
            for layer, gain in zip(linear, (2**0.5, 2**0.5, _START), strict=True):
                layer.weight.normal_(0, gain * layer.in_features**-0.5)
                layer.bias.zero_()

    def _terms(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and t, ``[n, d - d // 2]`` each."""
        r, t = self.net(a).to(a.dtype).chunk(2, dim=1)
        return self.bound * torch.tanh(r / self.bound), t

    def forward(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """Return one layer nearer to the noise, and the log-determinant."""
        a, b = z.index_select(1, self.order).tensor_split((self.kept,), dim=1)
        s, t = self._terms(a)
        return torch.cat([a, torch.addcmul(t, b, s.exp())], 1), s.sum(1)

    def inverse(self, e: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Undo :meth:`forward`."""
        a, b = e.tensor_split((self.kept,), dim=1)
        s, t = self._terms(a)
        return torch.cat([a, (b - t) * torch.exp(-s)], 1).index_select(1, self.order.argsort())


class Flow(nn.Module):
    """g, as a stack of coupling layers.

    Args:
        dim: d, at least 2.
        layers: of coupling.
        width: of the hidden layers of their nets.
        bound: c.
    """

    last: Tensor

    def __init__(self, dim: int, layers: int, width: int, bound: float = 2.0) -> None:
        super().__init__()
        if dim < 2:
            raise ConfigError(f"a flow got {dim} dimension, expected at least 2: a half tells the other what to do")
        self.dim = dim
        orders = _orders(dim, layers)
        self.couplings = nn.ModuleList(Coupling(order, width, bound) for order in orders)
        place = torch.arange(dim)
        for order in orders:
            place = place[order]
        self.register_buffer("last", place.argsort())

    def forward(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """Return the noise and the log-determinant of its derivative by z."""
        total = z.new_zeros(len(z))
        for coupling in self.couplings:
            z, log_det = coupling(z)
            total = total + log_det
        return z.index_select(1, self.last), total

    def inverse(self, e: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return z of the noise."""
        z = e.index_select(1, self.last.argsort())
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            z = coupling.inverse(z)
        return z


def _orders(dim: int, layers: int) -> list[Tensor]:
    """Return each layer's permutation: at random, and every second one swaps the halves, so that none stays unmoved."""
    orders = []
    for layer in range(layers):
        if layer % 2:
            orders.append(torch.arange(dim).roll(-(dim // 2)))
        else:
            orders.append(torch.randperm(dim, generator=torch_stream("flow", dim, layer)))
    return orders


class FlowDistribution(Distribution):
    """The law of ``flow.inverse(noise)``; batch shape ``()``, event shape ``[d]``."""

    arg_constraints: dict[str, Any] = {}
    has_rsample = True

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        super().__init__(torch.Size(), torch.Size((flow.dim,)), validate_args=False)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """All reals."""
        return constraints.independent(constraints.real, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of ``[..., d]``, ``[...]``, nats."""
        noise, log_det = self.flow(value.reshape(-1, self.flow.dim))
        constant = 0.5 * math.log(2 * math.pi) * self.flow.dim
        return (log_det - 0.5 * noise.square().sum(1) - constant).reshape(value.shape[:-1])

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``[*sample_shape, d]`` with gradients to the flow."""
        return self.sample_at(1.0, sample_shape)

    def sample_at(self, temperature: float, sample_shape: Any = ()) -> Tensor:
        """Draw with the base noise times ``temperature``; at 0 the image of its centre."""
        like = next(self.flow.parameters())
        noise = torch.randn(*sample_shape, self.flow.dim, dtype=like.dtype, device=like.device)
        return self.flow.inverse(temperature * noise.reshape(-1, self.flow.dim)).reshape(noise.shape)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Estimated from 4,096 draws, the same ones every time."""
        return self._draws().mean(0)

    @property
    def variance(self) -> Float[Tensor, " d"]:
        """Estimated like :attr:`mean`."""
        return self._draws().var(0)

    def _draws(self) -> Tensor:
        noise = torch.randn(_MOMENT_DRAWS, self.flow.dim, generator=torch_stream("moments"))
        return self.flow.inverse(noise.to(next(self.flow.parameters())))


class FlowPriorConfig(Record):
    """RealNVP.

    Attributes:
        layers: of coupling.
        width: of the hidden layers of their nets.
    """

    kind: Literal["flow"] = "flow"
    layers: int = Field(6, ge=1)
    width: int = Field(128, ge=1)


class FlowPrior(Prior):
    """See the module."""

    def __init__(self, config: FlowPriorConfig, dim: int) -> None:
        super().__init__()
        self.flow = Flow(dim, config.layers, config.width)

    def forward(self, given: Distribution | None = None, context: Context = {}) -> FlowDistribution:
        """Return p(z)."""
        return FlowDistribution(self.flow)
