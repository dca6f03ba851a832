r"""The autoregressive model of a wave: p(x | c) as a product over samples, made by a WaveNet.

Letters: b rows, n samples, x_t codes or values ``[b, 1, n]``, e what is told, y what is heard.

.. math:: \log p(x \mid e, y) = \sum_{t=1}^{n} m_t \log p(x_t \mid x_1 \dots x_{t-1}, e, y)

The law of a sample is a likelihood of the dist room: categorical (mu-law codes), a mixture of discretised logistics, or
a normal law with a scale of its own. m is 1 but where ``present`` in the context is 0: what was padded is no sound, and
enters no loss. ``log_prob`` sees all samples at once; ``sample`` makes one after another
(:mod:`latentscape.nets.wavenet_sampler`).

**Conditions.** Labels are embedded side by side, -1 is unknown; a ``vector`` ``[b, e]`` in the context stands beside
them (NaN: unknown); both enter the gate of every layer. A ``series`` ``[b, c, m]`` is heard, one step every ``hop``
samples (NaN: unknown). In training all of it is withheld from a share of the rows, so that conditions can be
strengthened when sampling; each of several parts of a series is also withheld by itself, so that one can do without.

There are no latents: the distortion is the negative log-likelihood, nats an item; in bits a sample it is that divided
by n ln 2.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.distributions import Distribution, constraints

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, LikelihoodError, UsageError
from latentscape.dist.conditional import Conditional, Context
from latentscape.dist.likelihood import Likelihood
from latentscape.dist.likelihoods import CategoricalConfig, Codes, Continuous, GaussianConfig, build_likelihood
from latentscape.dist.logistic import LogisticMixture, LogisticMixtureConfig
from latentscape.dist.units import Affine
from latentscape.models.autoencoder import full_precision
from latentscape.models.labels import Labels, draw_hidden, hide, told_of
from latentscape.models.model import Model, Terms
from latentscape.nets.wavenet import WaveNet, WaveNetConfig
from latentscape.nets.wavenet_batch import BatchSampler, drawn
from latentscape.nets.wavenet_sampler import Heard, Manner, Output, Sampler, Sampling, Storage, uniforms

SampleLaw = Annotated[CategoricalConfig | LogisticMixtureConfig | GaussianConfig, Field(discriminator="kind")]
PRESENT, VECTOR, SERIES = "present", "vector", "series"
"""Names in the context: where x counts (1), and where it is padding or lead-in (0), ``[b, n]``; what is told; what is
heard."""
WITHHELD = "withheld.rows"
"""Name, in the context of a training step, of which conditions were withheld from which rows, ``[b, k]``."""


class SeriesConfig(Record):
    """A series that is heard: ``channels`` numbers every ``hop`` samples.

    Attributes:
        channels: of the series.
        hop: samples a step.
        parts: channels of each of its parts, where there are several: each may be unknown by itself.
    """

    channels: int = Field(ge=1)
    hop: int = Field(ge=1)
    parts: tuple[PositiveInt, ...] = ()


class WaveLawConfig(Record):
    """A WaveNet and the law of a sample.

    Attributes:
        net: sizes of the WaveNet.
        likelihood: law of a sample; a ``gaussian`` must have ``scale: element``.
        reads: whether the net sees codes through a table, or as values on a line.
        past_dropout: share of the past samples that training hides from the net, each for itself, so that it leans on
            what it is told.
        past_noise: deviation of the normal noise that training adds to the past, never to what is asked for, in levels
            of codes or deviations of values, so that a draw that went a little astray is gone on from (Jin et al.
            2018, FFTNet).
        past_own: share of the past samples, each for itself, in whose place training shows what the net itself draws
            there after the true past (parallel scheduled sampling, Duckworth et al. 2019), so that it learns to go on
            from its own errors, as great as they are. Costs a second pass.
    """

    kind: Literal["wavenet"] = "wavenet"
    net: WaveNetConfig = WaveNetConfig()
    likelihood: SampleLaw = CategoricalConfig()
    reads: Literal["codes", "values"] = "codes"
    past_dropout: float = Field(0.0, ge=0, lt=1)
    past_noise: float = Field(0.0, ge=0, allow_inf_nan=False)
    past_own: float = Field(0.0, ge=0, le=1)


class AutoregressiveConfig(WaveLawConfig):
    """What :class:`Autoregressive` is made of.

    Attributes:
        condition: names of the labels that it is told.
        embedding: width of each label's embedding.
        vector: width of a vector that it is told; 0 for none.
        series: what it hears.
        condition_dropout: share of the training rows from which all conditions are withheld; of several, each is also
            withheld by itself, from as large a share.
    """

    condition: tuple[str, ...] = ()
    embedding: int = Field(16, ge=1)
    vector: int = Field(0, ge=0)
    series: SeriesConfig | None = None
    condition_dropout: float = Field(0.1, ge=0, lt=1)


class WaveLaw(Distribution):
    """p(x | e, y), batch ``[b]``, event ``[1, n]``.

    Args:
        net: the conditional that made it.
        heard: conditions of the b rows.
        rows: b.
        n: samples.
        present: ``[b, n]``, or ``None``: all.

    Attributes:
        after: the state that the last values read left, of a network that carries one.
    """

    after: Mapping[str, Tensor] = {}
    arg_constraints: dict[str, Any] = {}

    def __init__(self, net: "WaveNetConditional", heard: Heard, rows: int, n: int, present: Tensor | None) -> None:
        self.net, self.heard, self.present = net, heard, present
        super().__init__(torch.Size((rows,)), torch.Size((1, n)), validate_args=False)

    @property
    def support(self) -> Any:  # pyrefly: ignore
        """That of one sample."""
        likelihood = self.net.likelihood
        raw = next(self.net.parameters()).new_zeros(1, likelihood.outputs)
        return constraints.independent(likelihood(raw).support, 1)

    @property
    def mean(self) -> Tensor:
        """None is known: its samples are."""
        raise NotImplementedError

    def raw(self, value: Tensor) -> Float[Tensor, "b n o"]:
        """Return the raw parameters of every sample's law, given those before it."""
        past = self.net.read(value)[:, 0]
        if self.net.training and self.net.config.past_own:
            draws = torch.rand(*past.shape, 2, device=past.device).clamp(1e-6, 1 - 1e-6)
            with torch.no_grad():
                made = drawn(self.given(past).flatten(0, 1), self.net.output, Manner(), draws.flatten(0, 1))
            made = self.net.read(self.net.restore(made).reshape(value.shape))[:, 0]
            own = torch.rand(past.shape, device=past.device) < self.net.config.past_own
            past = torch.where(own, made, past)
        return self.given(self.net.disturbed(past))

    def given(self, past: Tensor) -> Float[Tensor, "b n o"]:
        """Return the raw parameters of every sample's law, given what the net reads."""
        return full_precision(self.net.net(past, self.heard.told, self.heard.series))

    def log_probs(self, value: Tensor) -> Float[Tensor, "b n"]:
        """Return the log-density of every sample given those before it, nats; 0 where nothing is present."""
        raw = self.raw(value)
        law = self.net.likelihood(raw.flatten(0, 1))
        logs = law.log_prob(value.reshape(-1, 1)).reshape(raw.shape[:2])
        return logs if self.present is None else logs * self.present

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density ``[..., b]``, nats an item; ``value [..., b, 1, n]``."""
        if value.ndim > 3:
            return torch.stack([self.log_prob(one) for one in value])
        return self.log_probs(value).sum(1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draw ``[*sample_shape, b, 1, n]``; the draws follow torch's global stream."""
        count = torch.Size(sample_shape).numel()
        told, series = (
            None if one is None else one.repeat(count, *[1] * (one.ndim - 1))
            for one in (self.heard.told, self.heard.series)
        )
        heard = Heard(told, series, self.heard.bare)
        rows, (n,) = count * self.batch_shape[0], self.event_shape[1:]
        seed = int(torch.randint(2**62, ()))
        return self.net.draw(n, rows, heard, seed=seed).reshape(*sample_shape, *self.batch_shape, 1, n)


class WaveNetConditional(Conditional[Tensor | None]):
    """p(x | given, context), where ``given`` is a further vector ``[b, e]`` that is told, such as a latent code.

    Args:
        config: what it is made of.
        samples: n of the event.
        vocabulary: number of values of every label.
        units: mean and scale of a real-valued wave.
        given: width of the vector given; 0 for none.
    """

    def __init__(
        self,
        config: AutoregressiveConfig,
        samples: int,
        vocabulary: Mapping[str, int] = {},
        units: Affine | None = None,
        given: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.samples, self.given = config, samples, given
        self.likelihood = build_likelihood(config.likelihood, (1,), units or Affine((1,)))
        self.output = output_of(self.likelihood)
        if config.reads == "codes" and not self.output.levels:
            raise ConfigError("model.reads: got 'codes' for a gaussian likelihood, expected 'values'")
        self.labels = Labels(config.condition, vocabulary, config.embedding)
        self.net = self.build(self.output.levels if config.reads == "codes" else 0)

    def build(self, levels: int) -> Any:
        """Return the network that reads ``levels`` codes, or values (0)."""
        config, series = self.config, self.config.series
        heard = (series.channels, series.hop) if series else (0, 1)
        return WaveNet(config.net, self.likelihood.channels, levels, self.told, *heard)

    @property
    def told(self) -> int:
        """Numbers that tell of a whole item."""
        return self.labels.width + self.config.vector + self.given

    def sampler(self, storage: Storage, rows: int = 1) -> Sampling:
        """Return the network made ready for sampling: many streams on a GPU as a batch, else compiled.

        One stream is drawn on the processor wherever the model lies: a step is a hundred small kernels in a row, which
        a GPU gives no less time for one stream than for many. ``storage`` is of the compiled one.
        """
        if batched(next(self.parameters()).device, rows):
            return BatchSampler(self.net, self.output)
        return Sampler(self.net, self.output, storage)

    def forward(self, given: Tensor | None, context: Context = {}) -> WaveLaw:
        """Return p(x | given, context)."""
        rows = next((len(one) for one in (given, *context.values()) if one is not None), 1)
        return WaveLaw(self, self.heard(given, context, rows), rows, self.samples, context.get(PRESENT))

    def heard(self, given: Tensor | None, context: Context, rows: int) -> Heard:
        """Return what is told and heard of ``rows`` items, and what stands for nothing told."""
        series = context.get(SERIES) if self.config.series else None
        if not self.net.told:
            return Heard(None, series)
        return Heard(self.told_of(given, context, rows), series, self.told_of(None, {}, 1))

    def told_of(self, given: Tensor | None, context: Context, rows: int) -> Float[Tensor, "b e"]:
        """Return what is told of ``rows`` items side by side: labels, the vector, what is given; unknown where NaN."""
        like = next(self.parameters())
        parts = [self.labels(context, rows)] if self.labels.names else []
        for vector, width in ((context.get(VECTOR), self.config.vector), (given, self.given)):
            if width:
                parts.append(like.new_zeros(rows, width) if vector is None else vector.nan_to_num(0.0))
        return torch.cat(parts, dim=1)

    def read(self, x: Tensor) -> Tensor:
        """Return what the network reads of x: codes, or standardised values."""
        if self.net.levels:
            return self._levels(x).long()
        return self.likelihood.units.standardise(x)

    def disturbed(self, past: Tensor) -> Tensor:
        """Return past samples as training shows them: noisy, and a share unknown (as before the first, or the mean)."""
        if not self.training:
            return past
        if self.config.past_noise:
            noise = self.config.past_noise * torch.randn(past.shape, device=past.device)
            levels = self.net.levels
            past = (past + noise.round().long()).clamp(0, levels - 1) if levels else past + noise
        if self.config.past_dropout:
            hidden = torch.rand(past.shape, device=past.device) < self.config.past_dropout
            past = past.masked_fill(hidden, self.net.levels)
        return past

    def _levels(self, x: Tensor) -> Tensor:
        if isinstance(self.likelihood, LogisticMixture):
            config = self.likelihood.config
            return ((x - config.low) * ((config.levels - 1) / (config.high - config.low))).round()
        return x

    def draw(
        self,
        n: int,
        rows: int,
        heard: Heard = Heard(),
        *,
        seed: int = 0,
        manner: Manner = Manner(),
        prime: Tensor | None = None,
        threads: int = 1,
        storage: Storage = "float32",
    ) -> Tensor:
        """Return samples ``[rows, 1, n]`` in the units of x; ``prime [rows, 1, m]`` is how they begin.

        A function of its arguments and the weights; see :class:`latentscape.nets.wavenet_sampler.Sampler`.
        """
        begun = None
        if prime is not None:
            begun = (self._levels(prime) if self.output.levels else self.likelihood.units.standardise(prime))[:, 0]
        sampler = self.sampler(storage, rows)
        told = Heard(
            *(
                None if one is None else one.detach().to(sampler.device).float()
                for one in (heard.told, heard.series, heard.bare)
            )
        )
        values = sampler.sample(n, rows, seed=seed, heard=told, manner=manner, prime=begun, threads=threads)
        return self.restore(values.unsqueeze(1))

    def stream(
        self,
        n: int,
        told: Float[Tensor, "k e"],
        every: int,
        series: Float[Tensor, "1 c m"] | None = None,
        bare: Float[Tensor, "1 e"] | None = None,
        *,
        seed: int = 0,
        manner: Manner = Manner(),
        storage: Storage = "float32",
    ) -> Iterator[Tensor]:
        """Yield one sound piece by piece, ``[1, every]`` (the last may be shorter), while what is told changes.

        Args:
            n: samples.
            told: a row a piece.
            every: samples a piece.
            series: what is heard throughout.
            bare: what nothing told is told, for a strength.
            seed: of the draws.
            manner: of drawing.
            storage: of weights.
        """
        told = told.detach().cpu().float()
        series, bare = (None if one is None else one.detach().cpu().float() for one in (series, bare))
        streams = self.sampler(storage).open(1, Heard(told[:1], series, bare), manner)
        for piece, start in enumerate(range(0, n, every)):
            size = min(every, n - start)
            streams.tell(told[piece : piece + 1])
            values, _ = streams.advance(size, uniforms(seed, range(1), size, start))
            yield self.restore(values)

    def restore(self, values: Tensor) -> Tensor:
        """Return drawn values in the units of x, on the model's device."""
        values = values.to(next(self.parameters()).device)
        if isinstance(self.likelihood, Codes):
            return values.long()
        if isinstance(self.likelihood, LogisticMixture):
            config = self.likelihood.config
            return config.low + values * ((config.high - config.low) / (config.levels - 1))
        return self.likelihood.units.restore(values)


class Autoregressive(Model):
    """The model of the module.

    Args:
        config: what it is made of.
        event_shape: of x, ``(1, n)``.
        vocabulary: number of values of every label.
        units: mean and scale of a real-valued wave, one number each.

    Raises:
        ConfigError: x is no wave of one channel, or a label is not known.
    """

    glance = 400_000
    rows = 16
    makes = WaveNetConditional
    """What p(x) is made by."""

    def __init__(
        self,
        config: AutoregressiveConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        if len(event_shape) != 2 or event_shape[0] != 1:
            raise ConfigError(
                f"model {config.kind}: x has shape {event_shape} an item, expected (1, samples): take representation "
                "'mulaw' or 'waveform' with one channel, and a window of several samples"
            )
        self.config, self.event_shape = config, tuple(event_shape)
        mean, scale = (float(one.double().mean()) for one in units) if units is not None else (0.0, 1.0)
        self.conditional = self.makes(config, event_shape[1], vocabulary, Affine((1,), mean, scale))

    @property
    def receptive_field(self) -> int | None:
        """Samples before each that its law depends on; ``None`` where there is no end."""
        return self.conditional.net.receptive_field

    @property
    def strengthens(self) -> bool:
        """Whether a strength other than 1 means something: it leads away from being told nothing, which was learnt."""
        return bool(self.config.condition_dropout) or not (self.conditional.told or self.config.series)

    def law(self, context: Context, rows: int) -> WaveLaw:
        """Return p(x | context) of ``rows`` items."""
        conditional = self.conditional
        return WaveLaw(
            conditional, conditional.heard(None, context, rows), rows, conditional.samples, context.get(PRESENT)
        )

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return the negative log-likelihood, ``[k, b]`` (every one of the k rows the same); no rates."""
        if self.training and self.config.condition_dropout:
            context = self._withheld(context, len(x), x.device)
        law = self.law(context, len(x))
        distortion = -law.log_prob(x).expand(samples, -1)
        return Terms(distortion, (), (), law, law.after)

    def _withheld(self, context: Context, rows: int, device: torch.device) -> Context:
        share = self.config.condition_dropout
        unknown = {**dict.fromkeys(self.config.condition, -1), VECTOR: math.nan, SERIES: math.nan}
        told = told_of(context, unknown)
        hidden = self._hidden(context, rows, len(told), device)
        withheld = {**hide(context, told, hidden), **({WITHHELD: hidden} if told else {})}
        parts = self.config.series.parts if self.config.series else ()
        if len(parts) > 1 and SERIES in withheld:
            alone = torch.rand(rows, len(parts), device=device) < share
            channels = torch.repeat_interleave(alone, torch.tensor(parts, device=device), dim=1)
            withheld = {**withheld, SERIES: withheld[SERIES].masked_fill(channels.unsqueeze(2), math.nan)}
        return withheld

    def _hidden(self, context: Context, rows: int, things: int, device: torch.device) -> Bool[Tensor, "b k"]:
        """Return which conditions are withheld from which rows."""
        return draw_hidden(rows, things, self.config.condition_dropout, device)

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse data or conditions that the model can't describe.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        self.conditional.likelihood.check(x.reshape(-1, 1))
        self.conditional.labels.check(context)
        if self.config.series and SERIES in context:
            try:
                self.conditional.net.listen(context[SERIES].float(), x.shape[2])
            except UsageError as error:
                raise LikelihoodError(f"{error}") from error


def batched(device: torch.device, rows: int) -> bool:
    """Return whether so many streams of a model on a device are drawn there, as a batch."""
    return device.type == "cuda" and rows > 1


def output_of(likelihood: Likelihood) -> Output:
    """Return what the sampler must know of the law of one sample.

    Raises:
        ConfigError: it can't be drawn from one sample at a time.
    """
    if isinstance(likelihood, Codes):
        return Output("categorical", likelihood.levels)
    if isinstance(likelihood, LogisticMixture):
        return Output("logistic", likelihood.config.levels, (float(likelihood.config.components), likelihood.least))
    if isinstance(likelihood, Continuous) and likelihood.power == 2:
        config = likelihood.config
        if config.scale == "element" and config.lower is None:
            return Output("gaussian", 0, (likelihood.start, config.least))
    raise ConfigError(
        "model.likelihood: a wavenet needs 'categorical', 'logistic_mixture', or 'gaussian' with scale: element"
    )
