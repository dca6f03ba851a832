r"""The autoencoder with one stochastic layer: x <- z, with encoder, decoder, prior and likelihood as parts.

.. math:: p(x, z \mid c) = p(z)\, p(x \mid z, c), \qquad q(z \mid x, c)

Kingma and Welling 2014. What it is trained for (AE, VAE, beta-VAE, WAE-MMD) lies in the objective. The posterior q is

* ``gaussian``: :math:`N(\mu(x, c), \operatorname{diag} e^{2 \ell(x, c)})`,
* ``deterministic``: a point, of infinite rate (an autoencoder, or a Wasserstein autoencoder's encoder),
* ``uniform``: for a uniform prior on a box of centre o and half width r, the box of half width :math:`w r` around
  :math:`o + (1 - w) r \tanh a`, :math:`w = \sigma(a')`, which never leaves the prior's; its rate is
  :math:`-\sum \log w`.

Conditions are labels: each has a learnt embedding, with a row for "unknown" (-1, or absent), joined to the inputs of
encoder and decoder. Context keys that the model was not built for are ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, LikelihoodError, nearest
from latentscape.dist.conditional import Context, Decoder, Encoder, Latents
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import Diagonal, DiagonalNormal, DiagonalUniform
from latentscape.dist.likelihoods import GaussianConfig, Likelihood, LikelihoodConfig, build_likelihood
from latentscape.dist.priors import NormalPriorConfig, PriorConfig, UniformPriorConfig, build_prior
from latentscape.dist.units import Affine
from latentscape.models.model import LatentModel, Layer, generate_flat
from latentscape.nets.build import NetConfig, build_reader, build_writer
from latentscape.nets.mlp import MlpConfig

Posterior = Literal["gaussian", "deterministic", "uniform"]


class AutoencoderConfig(Record):
    """What :class:`Autoencoder` is made of.

    Attributes:
        latent: width d of z.
        encoder: net that reads x.
        decoder: net that writes the parameters of p(x | z); widths from z to x (a ``conv`` is mirrored).
        posterior: form of q (the module lists them).
        prior: p(z).
        likelihood: p(x | parameters).
        condition: names of the labels that encoder and decoder are told.
        embedding: width of each label's embedding.
    """

    kind: Literal["autoencoder"] = "autoencoder"
    latent: int = Field(16, ge=1)
    encoder: NetConfig = MlpConfig()
    decoder: NetConfig = MlpConfig()
    posterior: Posterior = "gaussian"
    prior: PriorConfig = NormalPriorConfig()
    likelihood: LikelihoodConfig = GaussianConfig()
    condition: tuple[str, ...] = ()
    embedding: int = Field(8, ge=1)


class Labels(nn.Module):
    """Embeddings of the labels that a model is told; row 0 of each table is "unknown"."""

    def __init__(self, names: tuple[str, ...], vocabulary: Mapping[str, int], width: int) -> None:
        super().__init__()
        for name in names:
            if name not in vocabulary:
                raise ConfigError(f"model.condition: the corpus has no label '{name}'{nearest(name, vocabulary)}")
        self.names = names
        self.sizes = tuple(vocabulary[name] for name in names)
        self.tables = nn.ModuleList(nn.Embedding(size + 1, width) for size in self.sizes)
        self.width = width * len(names)

    def forward(self, context: Context, rows: int) -> Tensor:
        """Return the embeddings side by side, ``[rows, e]``."""
        unknown = torch.full((rows,), -1, device=next(self.parameters()).device)
        parts = [table(context.get(name, unknown) + 1) for name, table in zip(self.names, self.tables, strict=True)]
        return torch.cat(parts, dim=1)

    def check(self, context: Context) -> None:
        """Refuse label codes that no table has."""
        for name, size in zip(self.names, self.sizes, strict=True):
            codes = context.get(name)
            if codes is not None and not bool(((codes >= -1) & (codes < size)).all()):
                span = f"{int(codes.min())} to {int(codes.max())}"
                raise LikelihoodError(f"label '{name}' has codes {span}, expected -1 to {size - 1}")


class NetEncoder(Encoder):
    """q(z | x, c) with a net that reads standardised x and the labels."""

    def __init__(self, config: AutoencoderConfig, units: Affine, labels: Labels, box: Diagonal | None) -> None:
        super().__init__()
        self.units = units
        self.labels = labels
        self.kind = config.posterior
        width = config.latent * (1 if self.kind == "deterministic" else 2)
        self.net = build_reader(config.encoder, tuple(units.mean.shape), labels.width, width)
        if box is not None:
            self.register_buffer("centre", box.loc, persistent=False)
            self.register_buffer("reach", box.scale, persistent=False)

    def forward(self, given: Tensor, context: Context = {}) -> Distribution:
        """Return q(z | x, c), batch ``[b]``, event ``[d]``."""
        told = self.labels(context, given.shape[0]) if self.labels.names else None
        raw = full_precision(self.net(self.units.standardise(given), told))
        match self.kind:
            case "deterministic":
                return Delta(raw)
            case "gaussian":
                mean, log_scale = raw.chunk(2, dim=1)
                return DiagonalNormal(mean, log_scale.exp(), log_scale=log_scale)
            case "uniform":
                a, b = raw.chunk(2, dim=1)
                width = torch.sigmoid(b)
                centre = self.centre + (1 - width) * self.reach * torch.tanh(a)
                return DiagonalUniform(centre, width * self.reach, log_scale=logsigmoid(b) + self.reach.log())


class NetDecoder(Decoder):
    """p(x | z, c) with a net that writes the parameters of a likelihood."""

    def __init__(self, config: AutoencoderConfig, likelihood: Likelihood, labels: Labels) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.labels = labels
        self.net = build_writer(
            config.decoder, config.latent + labels.width, likelihood.event_shape, likelihood.channels, likelihood.items
        )

    def forward(self, given: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c), batch ``[b]``, in the units of x."""
        z = given[0]
        if self.labels.names:
            z = torch.cat([z, self.labels(context, z.shape[0])], dim=1)
        return self.likelihood(full_precision(self.net(z)))


def full_precision(raw: Tensor) -> Tensor:
    """Return parameters of a distribution as float32 at least, whatever autocast made of them."""
    return raw.float() if raw.dtype in (torch.bfloat16, torch.float16) else raw


class Autoencoder(LatentModel):
    """The composition of an encoder, a decoder and a prior.

    Args:
        config: what it is made of.
        event_shape: shape of one x.
        vocabulary: number of values of every label.
        units: mean and scale of x, broadcastable to ``event_shape``; discrete likelihoods have their own.

    Raises:
        ConfigError: parts that don't fit each other or the data.
        DataError: units that don't fit.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.event_shape = tuple(event_shape)
        self.latent_shapes = ((config.latent,),)
        self.prior = build_prior(config.prior, config.latent)
        box = None
        if config.posterior == "uniform":
            if not isinstance(config.prior, UniformPriorConfig):
                raise ConfigError(f"model.posterior: 'uniform' needs prior.kind 'uniform', got '{config.prior.kind}'")
            box = self.prior()
        mean, scale = units if units is not None else (0.0, 1.0)
        likelihood = build_likelihood(config.likelihood, self.event_shape, Affine(self.event_shape, mean, scale))
        encoder_labels, decoder_labels = (Labels(config.condition, vocabulary, config.embedding) for _ in range(2))
        self.encoder = NetEncoder(config, likelihood.units, encoder_labels, box)
        self.decoder = NetDecoder(config, likelihood, decoder_labels)

    @property
    def likelihood(self) -> Likelihood:
        """The decoder's likelihood."""
        return self.decoder.likelihood

    @property
    def units(self) -> Affine:
        """What maps x to standardised values; one object, of encoder and likelihood."""
        return self.likelihood.units

    def infer(self, x: Tensor, context: Context = {}, *, samples: int = 1, mean: bool = False) -> tuple[Layer, ...]:
        """Return the one layer: ``samples`` draws of q, or its mean."""
        q = self.encoder(x, context)
        z = q.mean.unsqueeze(0) if mean else q.rsample((samples,))
        return (Layer(z, q, self.prior(None, context)),)

    def generate(
        self, n: int, context: Context = {}, *, clamp: Sequence[Tensor | None] = (), temperature: Sequence[float] = ()
    ) -> Latents:
        """Draw n latents of the prior; see :func:`latentscape.models.model.generate_flat`."""
        return generate_flat(self.prior(None, context), n, clamp, temperature)

    def decode(self, z: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c), batch ``[b]``."""
        return self.decoder(z, context)

    def observe(self, likelihood: Distribution, x: Tensor) -> Distribution:
        """Return the likelihood with an optimal scale set to its estimate (training only)."""
        return self.likelihood.observe(likelihood, x)

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch that the likelihood can't describe, or label codes outside the vocabulary.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        self.likelihood.check(x)
        self.encoder.labels.check(context)
