r"""Objectives: how the terms of a model become one number to minimise.

Letters: D distortion and R_l rate of layer l (nats an item, averaged over samples and batch), beta the rate's weight.

Numbers logged, the same name wherever the meaning is the same:

==============  ====================================================================================================
``distortion``  nats an item, :math:`-\log p(x \mid z, c)`
``rate``        nats an item, sum over layers; absent where it is infinite by construction
``rate_l``      nats an item, layer l counted from 1 at the top; where there are several
``elbo``        nats an item, :math:`-(D + \sum_l R_l)`: never weighted, never with free bits
``beta``        the weight of the rate at this step, dimensionless; of its top layer, where layers warm up apart
``mmd``         unbiased squared MMD between codes and prior; may be negative
==============  ====================================================================================================
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.distributed import gather_rows, mean_over_processes
from latentscape.core.errors import ConfigError
from latentscape.core.random import seeded
from latentscape.dist.conditional import Context, Prior
from latentscape.dist.divergences import why_infinite
from latentscape.dist.kernels import ImqConfig, KernelConfig, build_kernel, mmd2
from latentscape.models.model import LatentModel, Layer, Loss, Model, Objective, Terms

Number = TypeVar("Number", int, float)


class ElboConfig(Record):
    """VAE (``beta`` 1) and beta-VAE (Higgins et al. 2017).

    Attributes:
        beta: weight of the rate; one number, or one a layer, top first. A layer far too dear (1000) is not used, so one
            net can be compared with itself without some of its layers.
        warmup: steps over which beta rises linearly from 0; one number, or one a layer, top first.
        free_bits: nats of rate that are free (Kingma et al. 2016, eq. 15): below this, the batch mean of the rate of a
            latent dimension, or layer, is not pushed further down. One number, or one a layer, top first. Where
            the rate does not factorise (a flow as prior, say), so many a dimension are free of the layer's as a whole.
        free_bits_per: what ``free_bits`` counts for.
        samples: draws of z an item.
    """

    kind: Literal["elbo"] = "elbo"
    beta: NonNegativeFloat | tuple[NonNegativeFloat, ...] = 1.0
    warmup: NonNegativeInt | tuple[NonNegativeInt, ...] = 0
    free_bits: NonNegativeFloat | tuple[NonNegativeFloat, ...] = 0.0
    free_bits_per: Literal["dimension", "layer"] = "dimension"
    samples: int = Field(1, ge=1)


class ReconstructionConfig(Record):
    """Autoencoder: the distortion alone."""

    kind: Literal["reconstruction"] = "reconstruction"


class WaeMmdConfig(Record):
    """Wasserstein autoencoder with MMD penalty (Tolstikhin et al. 2018, algorithm 2).

    ``weight`` is in nats of distortion. The authors minimise 0.05 |x - x'|^2 + 10 MMD^2 on MNIST with this kernel:
    against the distortion of a Gaussian of fixed scale 1, |x - x'|^2 / 2, that is a weight of 100.

    Attributes:
        weight: of the squared MMD.
        kernel: multi-scale inverse multiquadratic, or RBF.
        warmup: steps over which the weight rises linearly from 0.
    """

    kind: Literal["wae_mmd"] = "wae_mmd"
    weight: float = Field(100.0, ge=0)
    kernel: KernelConfig = ImqConfig()
    warmup: int = Field(0, ge=0)


def ramp(step: int, warmup: int) -> float:
    """Return the share of a weight in force at ``step``: 0 at step 0, 1 from step ``warmup`` on."""
    return 1.0 if step >= warmup else step / warmup


def refuse_learnt_prior(model: Model | None, objective: str) -> None:
    """Refuse a learnt prior where the objective knows nothing of its density: it would stay as it began.

    Raises:
        ConfigError: the model's prior has parameters.
    """
    if isinstance(model, LatentModel) and model.learns_prior:
        prior = getattr(model, "prior", None)
        prior = type(prior if isinstance(prior, Prior) and prior.learnt else model).__name__
        raise ConfigError(
            f"objective '{objective}' can't train the prior ({prior} is learnt by its density): take "
            "objective 'elbo', or a prior that is not learnt (normal, laplace, uniform, hypersphere)"
        )


def need_latents(model: Model | None, objective: str) -> None:
    """Refuse a model that has no codes to compare with a prior.

    Raises:
        ConfigError: it has no latents.
    """
    if model is not None and not isinstance(model, LatentModel):
        raise ConfigError(
            f"objective '{objective}' compares codes with a prior, but {type(model).__name__} has no latents"
        )


def describe(distortion: Tensor, rates: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the unweighted numbers that every objective logs (the module lists them).

    Args:
        distortion: the batch's mean.
        rates: the batch's mean of every layer; none where they are infinite.
    """
    log = {"distortion": distortion.detach()}
    if len(rates) > 1:
        log |= {f"rate_{index}": rate.detach() for index, rate in enumerate(rates, start=1)}
    if rates:
        log["rate"] = sum(rates[1:], start=rates[0]).detach()
        log["elbo"] = -(log["distortion"] + log["rate"])
    return log


def finite_rates(terms: Terms) -> list[Tensor]:
    """Return the batch's mean rate of every layer, ``[]`` each; none where one is infinite by construction."""
    if any(why_infinite(layer.q, layer.p) for layer in terms.layers):
        return []
    return [rate.mean() for rate in terms.rate]


class Elbo(Objective):
    """Minimises D + beta sum_l R_l; see :class:`ElboConfig`.

    Attributes:
        distortion: the weight of D; 1 unless what is derived from this says otherwise.
    """

    distortion: float = 1.0

    def __init__(self, config: ElboConfig, model: Model | None = None) -> None:
        """Take the model's number of layers for what is told one by one.

        Raises:
            ConfigError: other numbers of layers were told.
        """
        super().__init__()
        self.config = config
        self.samples = config.samples
        layers = len(model.latent_shapes) if isinstance(model, LatentModel) else 1
        self.beta = _per_layer(config.beta, layers, "beta")
        self.warmup = _per_layer(config.warmup, layers, "warmup")
        self.free_bits = _per_layer(config.free_bits, layers, "free_bits")

    def forward(self, model: Model, terms: Terms, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss and its parts.

        Raises:
            ConfigError: the model's rate is infinite by construction.
        """
        for layer in terms.layers:
            if reason := why_infinite(layer.q, layer.p):
                raise ConfigError(f"objective 'elbo' needs a finite rate, but the model's is infinite: {reason}")
        distortion, rates = terms.distortion.mean(), [rate.mean() for rate in terms.rate]
        betas = [beta * ramp(step, warmup) for beta, warmup in zip(self.beta, self.warmup, strict=True)]
        total = self.distortion * distortion
        for rate, layer, beta, free in zip(rates, terms.layers, betas, self.free_bits, strict=False):
            total = total + beta * (self._free(rate, layer, free) if free else rate)
        return Loss(total, describe(distortion, rates) | {"beta": distortion.new_full((), betas[0])})

    def _free(self, rate: Tensor, layer: Layer, free: float) -> Tensor:
        """Return a layer's rate with its free part lifted off the gradient, ``[]``.

        A rate that does not factorise is that of all dimensions together, and so are the nats that are free.
        """
        each = self.config.free_bits_per == "dimension"
        values = layer.rate_per_value() if each else None
        if values is None:
            return mean_over_processes(rate).clamp_min(free * (layer.q.event_shape.numel() if each else 1))
        mean = mean_over_processes(values.flatten(0, values.ndim - 1 - len(layer.q.event_shape)).mean(0))
        return mean.clamp_min(free).sum()


def _per_layer(value: Number | tuple[Number, ...], layers: int, name: str) -> tuple[Number, ...]:
    """Return a number for every layer.

    Raises:
        ConfigError: some were told, for another number of layers.
    """
    told = value if isinstance(value, tuple) else (value,) * max(1, layers)
    if len(told) != max(1, layers):
        raise ConfigError(f"objective.{name}: got {len(told)} numbers for {layers} layers, expected one a layer")
    return told


class Reconstruction(Objective):
    """Minimises D."""

    def __init__(self, config: ReconstructionConfig, model: Model | None = None) -> None:
        super().__init__()
        refuse_learnt_prior(model, config.kind)
        self.config = config

    def forward(self, model: Model, terms: Terms, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss and its parts."""
        distortion = terms.distortion.mean()
        return Loss(distortion, describe(distortion, finite_rates(terms)))


class WaeMmd(Objective):
    """Minimises D + weight MMD^2(codes, prior); see :class:`WaeMmdConfig`."""

    def __init__(self, config: WaeMmdConfig, model: Model | None = None) -> None:
        super().__init__()
        need_latents(model, config.kind)
        refuse_learnt_prior(model, config.kind)
        self.config = config
        self.kernel = build_kernel(config.kernel)

    def forward(self, model: Model, terms: Terms, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss and its parts."""
        assert isinstance(model, LatentModel)
        penalty = mmd2(*codes_and_draws(model, terms, context, "wae_mmd", step), self.kernel)
        weight = self.config.weight * ramp(step, self.config.warmup)
        distortion = terms.distortion.mean()
        log = describe(distortion, finite_rates(terms)) | {"mmd": penalty.detach()}
        return Loss(distortion + weight * penalty, log)


def codes_and_draws(
    model: LatentModel, terms: Terms, context: Context, purpose: str, step: int
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Return the batch's codes, packed, and as many draws of the prior without gradients.

    Codes of all processes count as one batch, and every process draws the same sample of the prior, a function of the
    purpose and the step: so what is made of both is one process's, however many share the batch.
    """
    codes = gather_rows(pack(tuple(layer.z.flatten(0, 1) for layer in terms.layers)))
    told = {name: gather_rows(value) for name, value in context.items()}
    samples = terms.distortion.shape[0]
    with torch.no_grad(), seeded(purpose, step, device=codes.device):
        told = {name: value.repeat(samples, *[1] * (value.ndim - 1)) for name, value in told.items()}
        draws = pack(model.generate(codes.shape[0], told))
    return codes, draws.to(codes.dtype)


def pack(latents: tuple[Tensor, ...]) -> Tensor:
    """Join the layers of latents into one point an item, ``[b, d]``."""
    return torch.cat([layer.flatten(1) for layer in latents], dim=1)
