r"""The autoencoder with one stochastic layer: x <- z, with encoder, decoder, prior and likelihood as parts.

.. math:: p(x, z \mid c) = p(z)\, p(x \mid z, c), \qquad q(z \mid x, c)

Kingma and Welling 2014. What it is trained for (AE, VAE, beta-VAE, WAE-MMD) lies in the objective. The forms of q are
in :mod:`latentscape.models.posteriors`, the priors in :mod:`latentscape.dist.priors`. A VampPrior is the mixture of q
at its pseudo-inputs, which the encoder reads at every call, told no labels.

Conditions are labels: each has a learnt embedding, with a row for "unknown" (-1, or absent). Encoder and decoder are
told by ``concat``, embeddings joined to their inputs, or by ``film``, a scale and a shift of every hidden layer (Perez
et al. 2018). In training the labels of a share of the rows are withheld from both. Context keys that the model was not
built for are ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from latentscape.core.config import Record
from latentscape.dist.conditional import Context, Decoder, Encoder, Latents
from latentscape.dist.likelihoods import GaussianConfig, Likelihood, LikelihoodConfig, build_likelihood
from latentscape.dist.priors import NormalPriorConfig, PriorConfig, build_prior
from latentscape.dist.units import Affine
from latentscape.models.labels import Labels, withhold
from latentscape.models.model import LatentModel, Layer, Terms, generate_flat
from latentscape.models.posteriors import Form, Posterior, build_form, centre
from latentscape.nets.build import NetConfig, build_reader, build_writer
from latentscape.nets.mlp import MlpConfig


class AutoencoderConfig(Record):
    """What :class:`Autoencoder` is made of.

    Attributes:
        latent: width d of z.
        encoder: net that reads x.
        decoder: net that writes the parameters of p(x | z); widths from z to x (a ``conv`` is mirrored).
        posterior: form of q.
        prior: p(z).
        likelihood: p(x | parameters).
        condition: names of the labels that encoder and decoder are told.
        embedding: width of each label's embedding.
        condition_by: how they are told (the module says how).
        condition_dropout: share of the training rows whose labels are all withheld (of several, each also by itself),
            so that codes and sounds without labels, or with some of them, are possible.
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
    condition_by: Literal["concat", "film"] = "concat"
    condition_dropout: float = Field(0.1, ge=0, lt=1)


class NetEncoder(Encoder):
    """q(z | x, c) with a net that reads standardised x and the labels."""

    def __init__(self, config: AutoencoderConfig, units: Affine, labels: Labels, form: Form) -> None:
        super().__init__()
        self.units = units
        self.labels = labels
        self.form = form
        self.film = config.condition_by == "film"
        beside, within = (0, labels.width) if self.film else (labels.width, 0)
        self.net = build_reader(config.encoder, tuple(units.mean.shape), beside, form.outputs, within)

    def forward(self, given: Tensor, context: Context = {}) -> Distribution:
        """Return q(z | x, c), batch ``[b]``, event ``[d]``."""
        told = self.labels(context, given.shape[0]) if self.labels.names else None
        beside, within = (None, told) if self.film else (told, None)
        return self.form(full_precision(self.net(self.units.standardise(given), beside, within)))


class NetDecoder(Decoder):
    """p(x | z, c) with a net that writes the parameters of a likelihood."""

    def __init__(self, config: AutoencoderConfig, likelihood: Likelihood, labels: Labels) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.labels = labels
        self.film = config.condition_by == "film"
        beside, within = (0, labels.width) if self.film else (labels.width, 0)
        shape = (likelihood.event_shape, likelihood.channels, likelihood.items)
        self.net = build_writer(config.decoder, config.latent + beside, *shape, within)

    def forward(self, given: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c), batch ``[b]``, in the units of x."""
        z, told = given[0], None
        if self.labels.names:
            told = self.labels(context, z.shape[0])
            if not self.film:
                z, told = torch.cat([z, told], dim=1), None
        return self.likelihood(full_precision(self.net(z, told)))


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
        mean, scale = units if units is not None else (0.0, 1.0)
        likelihood = build_likelihood(config.likelihood, self.event_shape, Affine(self.event_shape, mean, scale))
        self.prior = build_prior(config.prior, config.latent, likelihood.units)
        form = build_form(config.posterior, config.latent, self.prior)
        encoder_labels, decoder_labels = (Labels(config.condition, vocabulary, config.embedding) for _ in range(2))
        self.encoder = NetEncoder(config, likelihood.units, encoder_labels, form)
        self.decoder = NetDecoder(config, likelihood, decoder_labels)

    @property
    def likelihood(self) -> Likelihood:
        """The decoder's likelihood."""
        return self.decoder.likelihood

    @property
    def units(self) -> Affine:
        """What maps x to standardised values; one object, of encoder and likelihood."""
        return self.likelihood.units

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return distortion and rate; in training, labels of some rows are withheld from encoder and decoder alike."""
        config = self.config
        if self.training and config.condition and config.condition_dropout:
            context = withhold(context, dict.fromkeys(config.condition, -1), len(x), config.condition_dropout, x.device)
        return super().terms(x, context, samples=samples, exact=exact)

    def infer(self, x: Tensor, context: Context = {}, *, samples: int = 1, mean: bool = False) -> tuple[Layer, ...]:
        """Return the one layer: ``samples`` draws of q, or its mean."""
        q = self.encoder(x, context)
        z = centre(q).unsqueeze(0) if mean else q.rsample((samples,))
        return (Layer(z, q, self._prior(context)),)

    def _prior(self, context: Context) -> Distribution:
        """Return p(z), handed q of the pseudo-inputs where it needs it."""
        inputs = self.prior.pseudo_inputs
        return self.prior(None if inputs is None else self.encoder(inputs, {}), context)

    def generate(
        self, n: int, context: Context = {}, *, clamp: Sequence[Tensor | None] = (), temperature: Sequence[float] = ()
    ) -> Latents:
        """Draw n latents of the prior; see :func:`latentscape.models.model.generate_flat`."""
        return generate_flat(self._prior(context), n, clamp, temperature)

    def decode(self, z: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c), batch ``[b]``."""
        return self.decoder(z, context)

    def observe(self, likelihood: Distribution, x: Tensor) -> Distribution:
        """Return the likelihood with an optimal scale set to its estimate (training only)."""
        return self.likelihood.observe(likelihood, x)

    @property
    def wants(self) -> int:
        """Items that :meth:`prime` can use: one a pseudo-input."""
        inputs = self.prior.pseudo_inputs
        return 0 if inputs is None else len(inputs)

    def prime(self, x: Tensor) -> None:
        """Start the prior's pseudo-inputs from data."""
        self.prior.prime(x)

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch that the likelihood can't describe, or label codes outside the vocabulary.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        self.likelihood.check(x)
        self.encoder.labels.check(context)
