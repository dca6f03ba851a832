r"""The Model: all that the training loop, the bounds and the tables need to know.

Letters: x data ``[b, *event]``, c context, z latents ``z_1..z_L`` from top to bottom, k importance samples.

* distortion: :math:`-\log p(x \mid z, c)`, nats an item
* rate of layer l: :math:`\mathrm{KL}(q_l \,\|\, p_l)` in closed form where it is known (``exact``), else the one-sample
  estimate :math:`\log q_l(z_l) - \log p_l(z_l)`

Terms are never weighted, averaged or clamped: every weight lives in an :class:`Objective`. The evidence lower bound is
``-(distortion + sum(rate))`` averaged over k; the importance-weighted bound (Burda et al. 2016, eq. 8) is
:math:`\log \frac1k \sum_k \exp(-\text{distortion}_k - \sum_l \text{rate}_{lk})` with ``exact=False``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from latentscape.core.errors import LikelihoodError, UsageError
from latentscape.dist.conditional import Context, Latents, Prior, point
from latentscape.dist.divergences import log_ratio_per_value, rate_per_value
from latentscape.models.memory import Memory


@dataclass(frozen=True)
class Layer:
    r"""One stochastic layer as recognition saw it.

    Attributes:
        z: the sample, ``[k, b, ...]``.
        q: recognition distribution; its batch shape broadcasts to ``(k, b)``: ``(b,)`` when no layer above enters it.
        p: prior of this layer, likewise, or ``(1,)``.
        closed: whether :math:`\mathrm{KL}(q \,\|\, p)` is the rate. It is not where layers above, which p depends on,
            were themselves drawn from this z (a recognition model that climbs from sample to sample).
    """

    z: Tensor
    q: Distribution
    p: Distribution
    closed: bool = True

    def rate(self, exact: bool) -> Tensor:
        """Return the rate ``[k, b]`` in nats (broadcast where the closed form does not depend on the sample)."""
        if exact and self.closed:
            try:
                rate = kl_divergence(self.q, self.p)
            except NotImplementedError:
                pass
            else:
                return rate.expand(self.z.shape[:2])
        return self.q.log_prob(self.z) - self.p.log_prob(self.z)

    def rate_per_value(self) -> Tensor | None:
        """Return the rate of every latent value, ``[*(k, b), *event]`` or fewer axes; they sum to the rate.

        ``None`` where q or p does not factorise.
        """
        return rate_per_value(self.q, self.p) if self.closed else log_ratio_per_value(self.q, self.p, self.z)


@dataclass(frozen=True)
class Terms:
    """What a model says of a batch: nats an item, never weighted, averaged or clamped.

    Attributes:
        distortion: ``[k, b]``.
        rate: one ``[k, b]`` a layer, top to bottom; ``()`` for a model without latents; +inf for a deterministic
            encoder.
        layers: as recognition saw them.
        likelihood: p(x | z, c) over ``k * b`` items.
        after: of a model of sequences, the state after each item, ``[b, ...]`` each (:mod:`latentscape.models.memory`).
    """

    distortion: Tensor
    rate: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    likelihood: Distribution
    after: Mapping[str, Tensor] = field(default_factory=dict)


class Model(nn.Module, ABC):
    """What the loop trains. ``event_shape``: x is ``[b, *event_shape]``."""

    event_shape: tuple[int, ...]
    glance: int = 12_000_000
    """Numbers of x that a validation between steps looks at, at most; fewer where each costs much."""
    carries: bool = False
    """Whether it goes on, in a window, from the state that the one before left (:mod:`latentscape.models.memory`)."""
    rows: int = 1024
    """Items that are measured at a time, at most: it bounds the memory of a net that is wide for every value of x."""

    @property
    def wants(self) -> int:
        """How many items :meth:`prime` can use."""
        return 0

    def prime(self, x: Tensor) -> None:
        """Set what begins from data to these training items ``[b, *event]``; nothing, for most models.

        A function of x alone, so that every process and every life of a run begins alike.
        """
        return

    @abstractmethod
    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return the terms of the bound for a batch."""

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch that this model can't describe; asked once, before training, not at every step.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        if tuple(x.shape[1:]) != self.event_shape:
            raise LikelihoodError(f"data have shape {tuple(x.shape[1:])} an item, the model expects {self.event_shape}")


class LatentModel(Model):
    """p(x, z | c) with recognition q(z | x, c). Terms, codes and reconstructions are derived from three methods."""

    latent_shapes: tuple[tuple[int, ...], ...]
    """Event shape of each layer, top to bottom."""
    sequential: bool = False
    """Whether p(x | z) is drawn value after value: it has no mean, and what is decoded is one of its draws."""

    @property
    def learns_prior(self) -> bool:
        """Whether training is to move p(z): it then needs an objective that knows its density."""
        prior = getattr(self, "prior", None)
        return isinstance(prior, Prior) and prior.learnt

    @abstractmethod
    def infer(self, x: Tensor, context: Context = {}, *, samples: int = 1, mean: bool = False) -> tuple[Layer, ...]:
        """Return the layers, sampled from q (or at its mean: then a layer below sees the mean above)."""

    @abstractmethod
    def generate(
        self, n: int, context: Context = {}, *, clamp: Sequence[Tensor | None] = (), temperature: Sequence[float] = ()
    ) -> Latents:
        """Draw ``n`` ancestral samples; hold a layer (``clamp``) or set its temperature (0 is its mean)."""

    @abstractmethod
    def decode(self, z: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c)."""

    def observe(self, likelihood: Distribution, x: Tensor) -> Distribution:
        """Return p(x | z, c) with what it estimates from the batch in training; as it is, for most likelihoods."""
        return likelihood

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return distortion and rate of every layer (see the module's equations)."""
        layers = self.infer(x, context, samples=samples)
        rows = layers[0].z.shape[0] * layers[0].z.shape[1]
        z = tuple(layer.z.reshape(rows, *layer.z.shape[2:]) for layer in layers)
        likelihood = self.decode(z, repeat_context(context, samples))
        target = x if samples == 1 else x.expand(samples, *x.shape).reshape(rows, *x.shape[1:])
        likelihood = self.observe(likelihood, target)
        distortion = -likelihood.log_prob(target).reshape(samples, -1)
        return Terms(distortion, tuple(layer.rate(exact) for layer in layers), layers, likelihood)

    def encode(self, x: Tensor, context: Context = {}) -> Latents:
        """Return the code of x: every layer at its posterior mean."""
        return tuple(layer.z[0] for layer in self.infer(x, context, mean=True))


def generate_flat(prior: Distribution, n: int, clamp: Sequence[Tensor | None], temperature: Sequence[float]) -> Latents:
    """Generate the latents of a model with one layer, or return ``clamp`` as given.

    A temperature other than 1 is what the prior makes of it (``sample_at``), else ``mean + temperature * (z - mean)``.

    Args:
        prior: batch shape ``()`` or ``(1,)`` or ``(n,)``.
        n: rows.
        clamp: nothing, or the one layer's latents ``[n, ...]`` or ``[1, ...]``, or ``None``.
        temperature: nothing, or the one layer's temperature (0 is the prior's mean).

    Raises:
        UsageError: more than one layer is named, or ``clamp`` does not fit.
    """
    if max(len(clamp), len(temperature)) > 1:
        raise UsageError(f"got {max(len(clamp), len(temperature))} layers to clamp or temper, the model has 1")
    held = clamp[0] if clamp else None
    if held is not None:
        if held.shape[1:] != prior.event_shape or held.shape[:1] not in ((1,), (n,)):
            raise UsageError(
                f"clamp has shape {tuple(held.shape)}, expected ({n}, {', '.join(map(str, prior.event_shape))})"
            )
        return (held.expand(n, *prior.event_shape),)
    warmth = temperature[0] if temperature else 1.0
    if warmth != 1.0 and hasattr(prior, "sample_at"):
        with torch.no_grad():
            return (prior.sample_at(warmth, (n,)),)
    z = prior.sample((n,)) if prior.batch_shape == () else prior.expand((n,)).sample()
    if warmth != 1.0:
        centre = point(prior)
        z = centre + warmth * (z - centre)
    return (z,)


def repeat_context(context: Context, samples: int) -> Context:
    """Tile a context of b rows to ``samples * b`` rows, sample-major like flattened latents."""
    if samples == 1:
        return context
    return {name: value.repeat(samples, *[1] * (value.ndim - 1)) for name, value in context.items()}


class Loss(NamedTuple):
    """An objective's answer. A NamedTuple, since Fabric rebuilds outputs and refuses frozen dataclasses.

    Attributes:
        total: what is minimised, ``[]``.
        log: detached scalars by name; each name's unit is documented with its objective.
    """

    total: Tensor
    log: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """How terms become one number to minimise. Every weight lives here and nowhere else.

    Attributes:
        samples: importance samples an item that it wants of the model's terms.
        steady: the number by which training and validation are compared, and progress is judged: ``loss`` itself,
            unless what is minimised is a game whose value says nothing.
    """

    samples: int = 1
    steady: str = "loss"

    @abstractmethod
    def forward(self, model: Model, terms: Terms, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss of a batch at a training step."""


class Step(nn.Module):
    """Model and objective as the one module that a training loop wraps, with what the last batch left in memory."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.memory = Memory()

    def forward(self, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss of a batch at a training step."""
        context = self.memory.recall(context)
        terms = self.model.terms(x, context, samples=self.objective.samples)
        self.memory.keep(terms.after)
        return self.objective(self.model, terms, x, context, step)
