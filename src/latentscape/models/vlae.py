r"""The variational lossy auto-encoder (Chen et al. 2017): a code, and a decoder that writes texture by itself.

Letters: x a wave ``[b, 1, n]`` or an image ``[b, c, h, w]``, c what is told of it, g the code of the whole item
``[b, d]``, s a slow sequence of codes ``[b, w, m]``, one every H samples.

.. math:: p(x, g, s \mid c) = p(g)\; p(s \mid g)\; \prod_i p(x_i \mid x_{i-R} \dots x_{i-1}, g, s, c)

The decoder is autoregressive, a WaveNet or a PixelCNN, but sees R values of the past only: what lies further back
it can't know unless the code says so. What the code costs (the rate) is worth paying for that, and no more: texture
within R stays in the decoder, so that R chooses what the code is about.

* q(g | x, c), q(s | x, c): normal, from one reading of the whole item (:mod:`latentscape.nets.ear` for waves).
* p(g): any prior on all reals, a flow unless told; it does what an autoregressive posterior would (ibid., 3.2).
* p(s | g): normal step by step, told g and the steps before by a recurrent net, or N(0, 1).

The rate of s is :math:`\sum_t \mathrm{KL}(q(s_t \mid x) \,\|\, p(s_t \mid s_{<t}, g))` at one draw of s and g:
unbiased, and exact in each step. As points, g and s lie side by side: ``[b, d + w m]``.

``latent_dropout`` withholds g and s from the decoder for a share of training rows. Then the same decoder is also the
one without a code, at the same R (:meth:`Vlae.without`), and the code can be strengthened when sampling. Half of these
rows are told no labels either.

**Sound** of any length is one stream (:meth:`Vlae.stream`): g glides from window to window, s goes on, and the WaveNet
never stops.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.distributions import Distribution

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, UsageError
from latentscape.dist.conditional import Context, Latents
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.flow import FlowPriorConfig
from latentscape.dist.likelihood import Likelihood
from latentscape.dist.mixture import VampPriorConfig
from latentscape.dist.priors import PriorConfig, UniformPriorConfig, build_prior
from latentscape.dist.sphere import SpherePriorConfig
from latentscape.dist.units import Affine
from latentscape.models.autoencoder import full_precision
from latentscape.models.autoregressive import (
    PRESENT,
    SERIES,
    AutoregressiveConfig,
    SeriesConfig,
    WaveLawConfig,
    WaveNetConditional,
)
from latentscape.models.labels import Labels, draw_hidden, hide, told_of
from latentscape.models.model import LatentModel, Layer, Terms, generate_flat, repeat_context
from latentscape.models.pixels import PixelConditional, PixelLawConfig
from latentscape.models.stage import normal
from latentscape.nets.build import build_reader, build_writer
from latentscape.nets.conv import ConvConfig
from latentscape.nets.ear import Ear, EarConfig
from latentscape.nets.mlp import MlpConfig
from latentscape.nets.wavenet import WaveNetConfig
from latentscape.nets.wavenet_sampler import Manner

GLIDE = 256
"""Samples for which g is held while it glides."""
SHORT = WaveLawConfig(net=WaveNetConfig(dilations=(1, 2, 4, 8, 16, 32)))


class SlowConfig(Record):
    """A slow sequence of codes.

    Attributes:
        width: of a step.
        hop: samples from step to step.
        prior: told by the steps before, or N(0, 1).
        hidden: width of the recurrent net.
    """

    width: PositiveInt = 4
    hop: PositiveInt = 512
    prior: Literal["autoregressive", "normal"] = "autoregressive"
    hidden: PositiveInt = 64


class VlaeConfig(Record):
    """What :class:`Vlae` is made of.

    Attributes:
        latent: width of the code of the whole item.
        slow: a slow sequence beside it (waves only).
        encoder: what reads x; a ``ear`` for long waves, and for a slow sequence.
        decoder: law of x, whose reach is what the code need not say.
        writer: makes the map that a PixelCNN hears of the code.
        prior: p(g).
        condition: names of labels that encoder and decoder are told.
        embedding: width of each label's embedding.
        condition_dropout: share of the training rows whose labels are withheld; of several, each also by itself.
        latent_dropout: share of the training rows whose code is withheld from the decoder.
    """

    kind: Literal["vlae"] = "vlae"
    latent: PositiveInt = 16
    slow: SlowConfig | None = None
    encoder: Annotated[EarConfig | MlpConfig | ConvConfig, Field(discriminator="kind")] = EarConfig()
    decoder: Annotated[WaveLawConfig | PixelLawConfig, Field(discriminator="kind")] = SHORT
    writer: Annotated[MlpConfig | ConvConfig, Field(discriminator="kind")] = ConvConfig(channels=(32, 64))
    prior: PriorConfig = FlowPriorConfig(layers=4, width=64)
    condition: tuple[str, ...] = ()
    embedding: PositiveInt = 16
    condition_dropout: float = Field(0.1, ge=0, lt=1)
    latent_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "VlaeConfig":
        if isinstance(self.prior, UniformPriorConfig | SpherePriorConfig | VampPriorConfig):
            raise ValueError(f"a prior on all reals that needs no made-up items ('{self.prior.kind}' is not)")
        waves = isinstance(self.decoder, WaveLawConfig)
        if waves and isinstance(self.encoder, EarConfig) and self.slow and self.slow.hop % self.encoder.hop:
            raise ValueError(f"slow.hop a multiple of encoder.hop (got {self.slow.hop} and {self.encoder.hop})")
        if self.slow and not (waves and isinstance(self.encoder, EarConfig)):
            raise ValueError("a decoder 'wavenet' and an encoder 'ear' beside a slow sequence")
        if not waves and isinstance(self.encoder, EarConfig):
            raise ValueError("an encoder 'conv' or 'mlp' for images")
        return self


def _sound(present: Float[Tensor, "b n"] | None) -> Float[Tensor, "b n"] | None:
    """Return 1 up to the last sample that counts: a lead-in is not asked for, but it is sound and is read."""
    return None if present is None else present.flip(1).cummax(1).values.flip(1)


class SlowPrior(nn.Module):
    """p(s | g): a recurrent net begun by g, told each step what the one before was."""

    def __init__(self, config: SlowConfig, latent: int) -> None:
        super().__init__()
        self.width = config.width
        self.begin = nn.Linear(latent, config.hidden)
        self.cell = nn.GRU(config.width, config.hidden, batch_first=True)
        self.tell = nn.Linear(config.hidden, 2 * config.width)
        with torch.no_grad():
            self.tell.weight.mul_(0.1)
            self.tell.bias.zero_()

    def forward(self, s: Float[Tensor, "b w m"], g: Float[Tensor, "b d"]) -> DiagonalNormal:
        """Return the law of every step given those before it, all at once."""
        past = nn.functional.pad(s, (1, 0))[:, :, :-1].transpose(1, 2)
        h, _ = self.cell(past, torch.tanh(self.begin(g)).unsqueeze(0))
        return normal(self.tell(h).transpose(1, 2))

    def sample(self, g: Float[Tensor, "b d"], steps: int, temperature: float = 1.0) -> Float[Tensor, "b w m"]:
        """Draw a sequence of any length, step by step; the draws follow torch's global stream."""
        h = torch.tanh(self.begin(g)).unsqueeze(0)
        drawn = [g.new_zeros(len(g), self.width)]
        for _ in range(steps):
            out, h = self.cell(drawn[-1].unsqueeze(1), h)
            p = normal(self.tell(out).transpose(1, 2))
            drawn.append((p.loc + temperature * p.scale * torch.randn_like(p.loc))[:, :, 0])
        return torch.stack(drawn[1:], dim=2)


class Vlae(LatentModel):
    """See the module.

    Args:
        config: what it is made of.
        event_shape: of x.
        vocabulary: number of values of every label.
        units: mean and scale of x.

    Raises:
        ConfigError: parts that don't fit each other or the data.
    """

    sequential = True

    def __init__(
        self,
        config: VlaeConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.event_shape = config, tuple(event_shape)
        if isinstance(config.decoder, WaveLawConfig):
            self.glance, self.rows = 400_000, 16
        mean, scale = (float(one.double().mean()) for one in units) if units is not None else (0.0, 1.0)
        self.latent_shapes = ((config.latent,),)
        self.slow_prior = None
        if isinstance(config.decoder, PixelLawConfig):
            pixels = PixelConditional(config.decoder, self.event_shape, (mean, scale))
            told = Labels(config.condition, vocabulary, config.embedding)
            inputs = config.latent + told.width
            self.writer = build_writer(config.writer, inputs, (1, *self.event_shape[1:]), config.decoder.heard, 0)
            self.decoder: PixelConditional | WaveNetConditional = pixels
            self.decoder_labels = told
        else:
            self.decoder = self._wave_decoder(config.decoder, vocabulary, Affine((1,), mean, scale))
        self.prior = build_prior(config.prior, config.latent)
        labels = Labels(config.condition, vocabulary, config.embedding)
        self.labels = labels
        steps = 2 * config.slow.width if config.slow else 0
        if isinstance(config.encoder, EarConfig):
            every = config.slow.hop if config.slow else 0
            self.encoder: nn.Module = Ear(config.encoder, labels.width, 2 * config.latent, steps, every)
        else:
            self.encoder = build_reader(config.encoder, self.event_shape, labels.width, 2 * config.latent)

    def _wave_decoder(self, law: WaveLawConfig, vocabulary: Mapping[str, int], units: Affine) -> WaveNetConditional:
        config, shape = self.config, self.event_shape
        if len(shape) != 2 or shape[0] != 1:
            raise ConfigError(
                f"model vlae with a wavenet: x has shape {shape} an item, expected (1, samples): take representation "
                "'mulaw' or 'waveform' with one channel, and a window of several samples"
            )
        series, slow = None, config.slow
        if slow is not None:
            if shape[1] % slow.hop:
                raise ConfigError(f"model.slow.hop: {slow.hop} samples do not divide a window of {shape[1]}")
            series = SeriesConfig(channels=slow.width, hop=slow.hop)
            self.latent_shapes = ((config.latent,), (slow.width, shape[1] // slow.hop))
            self.slow_prior = SlowPrior(slow, config.latent) if slow.prior == "autoregressive" else None
        own = {"condition": config.condition, "embedding": config.embedding, "series": series}
        whole = AutoregressiveConfig(**{name: getattr(law, name) for name in type(law).model_fields}, **own)
        return WaveNetConditional(whole, shape[1], vocabulary, units, config.latent)

    @property
    def likelihood(self) -> Likelihood:
        """The law of one value of x."""
        return self.decoder.likelihood

    @property
    def reach(self) -> int:
        """Values of the past (samples, or rows of pixels) that the decoder sees, R."""
        if isinstance(self.decoder, WaveNetConditional):
            return self.decoder.net.receptive_field
        return self.decoder.config.net.reach

    @property
    def strengthens(self) -> bool:
        """Whether a strength other than 1 means something: it leads away from having no code, which was learnt."""
        return bool(self.config.latent_dropout)

    @property
    def learns_prior(self) -> bool:
        """Whether p(g) or p(s | g) is learnt."""
        return self.prior.learnt or self.slow_prior is not None

    # ---------------------------------------------------------------------------------------------------- recognition

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return distortion and rates; in training, labels or the code are withheld from some rows."""
        context, bare = self._withheld(context, len(x), x.device) if self.training else (context, None)
        layers = self.infer(x, context, samples=samples)
        z = tuple(layer.z.flatten(0, 1) for layer in layers)
        if bare is not None:
            hidden = bare.repeat(samples)
            z = tuple(one.masked_fill(hidden.reshape(-1, *[1] * (one.ndim - 1)), math.nan) for one in z)
        likelihood = self.decode(z, repeat_context(context, samples))
        target = x if samples == 1 else x.expand(samples, *x.shape).flatten(0, 1)
        distortion = -likelihood.log_prob(target).reshape(samples, -1)
        return Terms(distortion, tuple(layer.rate(exact) for layer in layers), layers, likelihood)

    def _withheld(self, context: Context, rows: int, device: torch.device) -> tuple[Context, Bool[Tensor, " b"] | None]:
        """Return what the rows are told, and from which the code is withheld.

        Half of those that have no code are told no labels either: that is what a strength leads away from, and drawn
        independently it would be met by a row in a hundred.
        """
        config = self.config
        labels = told_of(context, dict.fromkeys(config.condition, -1))
        bare = torch.rand(rows, device=device) < config.latent_dropout if config.latent_dropout else None
        if not labels or not config.condition_dropout:
            return context, bare
        hidden = draw_hidden(rows, len(labels), config.condition_dropout, device)
        if bare is not None:
            hidden = hidden | (bare & (torch.rand(rows, device=device) < 0.5))[:, None]
        return hide(context, labels, hidden), bare

    def infer(self, x: Tensor, context: Context = {}, *, samples: int = 1, mean: bool = False) -> tuple[Layer, ...]:
        """Return the layer of g, and that of s where there is one."""
        rows, k = len(x), 1 if mean else samples
        told = self.labels(context, rows) if self.labels.names else None
        values = self._standard(x)
        if isinstance(self.encoder, Ear):
            raw, slow = self.encoder(values[:, 0], told, _sound(context.get(PRESENT)))
        else:
            raw, slow = self.encoder(values, told), None
        laws = [normal(one) for one in (raw, slow) if one is not None]
        drawn = [q.loc.unsqueeze(0) if mean else q.rsample((k,)) for q in laws]
        layers = [Layer(drawn[0], laws[0], self.prior(None, context))]
        for q, s in zip(laws[1:], drawn[1:], strict=True):
            layers.append(Layer(s, q, self._slow_law(s, drawn[0])))
        return tuple(layers)

    def _slow_law(self, s: Float[Tensor, "k b w m"], g: Float[Tensor, "k b d"]) -> DiagonalNormal:
        """Return p(s | g) with every step told those of s before it."""
        if self.slow_prior is None:
            zero = s.new_zeros(s.shape[2:])
            return DiagonalNormal(zero, zero + 1, 2, unit=True)
        p = self.slow_prior(s.flatten(0, 1), g.flatten(0, 1))
        loc, scale, log_scale = (one.unflatten(0, s.shape[:2]) for one in (p.loc, p.scale, p.log_scale))
        return DiagonalNormal(loc, scale, 2, log_scale=log_scale)

    def _standard(self, x: Tensor) -> Tensor:
        units = self.likelihood.units
        return units.standardise(x.to(units.mean.dtype))

    # ----------------------------------------------------------------------------------------------------- generation

    def generate(
        self, n: int, context: Context = {}, *, clamp: Sequence[Tensor | None] = (), temperature: Sequence[float] = ()
    ) -> Latents:
        """Draw n codes; see :func:`latentscape.models.model.generate_flat` for one layer.

        Raises:
            UsageError: more layers are named than there are, or a clamp does not fit.
        """
        count, named = len(self.latent_shapes), max(len(clamp), len(temperature))
        if named > count:
            raise UsageError(f"got {named} layers to clamp or temper, the model has {count}")
        g = generate_flat(self.prior(None, context), n, clamp[:1], temperature[:1])[0]
        if count == 1:
            return (g,)
        if len(clamp) > 1 and clamp[1] is not None:
            zero = g.new_zeros(self.latent_shapes[1])
            return g, *generate_flat(DiagonalNormal(zero, zero + 1, 2), n, clamp[1:], ())
        return g, self.slow(g, self.latent_shapes[1][1], temperature[1] if len(temperature) > 1 else 1.0)

    def slow(self, g: Float[Tensor, "b d"], steps: int, temperature: float = 1.0) -> Float[Tensor, "b w m"]:
        """Draw a slow sequence of any length for the codes of whole items."""
        assert self.config.slow is not None
        if self.slow_prior is None:
            return temperature * torch.randn(len(g), self.config.slow.width, steps, device=g.device)
        return self.slow_prior.sample(g, steps, temperature)

    def decode(self, z: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c), batch ``[b]``; rows of z that are NaN stand for no code."""
        if isinstance(self.decoder, WaveNetConditional):
            return self.decoder(z[0], self._heard(z, context))
        known = z[0].isfinite().all(1, keepdim=True)
        parts = [z[0].nan_to_num(0.0)]
        if self.decoder_labels.names:
            parts.append(self.decoder_labels(context, len(known)))
        c, (height, width) = self.config.decoder.heard, self.event_shape[1:]  # type: ignore[union-attr]
        heard = self.writer(torch.cat(parts, dim=1)).reshape(-1, c, height, width)
        return self.decoder(full_precision(heard * known[:, :, None, None]), context)

    def _heard(self, z: Latents, context: Context) -> Context:
        return {**context, SERIES: z[1]} if len(z) > 1 else context

    def without(self, rows: int) -> Latents:
        """Return what stands for no code."""
        like = next(self.parameters())
        return tuple(like.new_full((rows, *shape), math.nan) for shape in self.latent_shapes)

    def stream(
        self, z: Latents, samples: int, context: Context = {}, *, seed: int = 0, manner: Manner = Manner()
    ) -> Iterator[Tensor]:
        """Yield one wave piece by piece, ``[1, k]``, as its code changes from window to window.

        Args:
            z: codes of windows end to end, ``[m, ...]``.
            samples: of the wave; what lies beyond the last window keeps its code.
            context: what is told of each of the m windows.
            seed: of the draws.
            manner: of drawing.
        """
        decoder = self.decoder
        assert isinstance(decoder, WaveNetConditional)
        g, nearest = self.glide(z[0], 0, -(-samples // GLIDE))
        told = {name: value[nearest] for name, value in context.items() if name in self.config.condition}
        series = None
        if len(z) > 1:
            series = z[1].movedim(0, 1).flatten(1).unsqueeze(0)
            steps = -(-samples // self.config.slow.hop)  # type: ignore[union-attr]
            series = torch.cat([series, series[:, :, -1:].expand(-1, -1, max(0, steps - series.shape[2]))], 2)
        with torch.no_grad():
            rows, bare = decoder.told_of(g, told, len(g)), decoder.told_of(None, {}, 1)
        return decoder.stream(samples, rows, GLIDE, series, bare, seed=seed, manner=manner)

    def glide(self, g: Float[Tensor, "m d"], low: int, high: int) -> tuple[Float[Tensor, "k d"], Tensor]:
        """Return what pieces ``low`` to ``high`` of a wave are told of windows end to end, and the window of each."""
        middles = (torch.arange(low, high, device=g.device) * GLIDE + GLIDE / 2) / self.event_shape[1]
        place = (middles - 0.5).clamp(0, len(g) - 1)
        first = place.floor().long()
        second = (first + 1).clamp_max(len(g) - 1)
        return torch.lerp(g[first], g[second], (place - first).unsqueeze(1)), place.round().long()

    # -------------------------------------------------------------------------------------------------------- the rest

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch that the likelihood can't describe, or label codes outside the vocabulary.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        waves = isinstance(self.decoder, WaveNetConditional)
        self.likelihood.check(x.reshape(-1, 1) if waves else x.movedim(1, 3).flatten(0, 2)[..., None, None])
        self.labels.check(context)
