r"""The hierarchy: several stochastic layers, each told by those above it, with three recognition models.

Letters: x data, c context, layers :math:`z_1` (top) to :math:`z_L` (bottom), h_l the state that carries what the layers
from the top to l said, d_l what x says at level l, on the way up.

.. math:: p(x, z \mid c) = p(z_1 \mid c) \prod_{l=2}^{L} p(z_l \mid z_{<l}, c)\; p(x \mid z, c)

with :math:`p(z_l \mid z_{<l})` a normal whose mean and scale are read from the state. With ``skip`` the state is kept
from level to level, so that every layer reaches x past those below; without, :math:`h_l` is made of :math:`z_l` alone
and the layers are a Markov chain.

Recognition models, :math:`q(z \mid x, c) =`

==============  =======================================================================================================
``factorised``  :math:`\prod_l q(z_l \mid x)`: bottom-up, all at once (PixelVAE, Gulrajani et al. 2017)
``chained``     :math:`q(z_L \mid x) \prod_{l<L} q(z_l \mid z_{l+1})`: bottom-up, from sample to sample
``ladder``      :math:`q(z_1 \mid x) \prod_{l>1} q(z_l \mid x, z_{<l})`: d_l on the way up without samples, then
                top-down (Sonderby et al. 2016)
==============  =======================================================================================================

The ladder merges d_l with the state in one of two ways. ``shared``: a block reads both, and tells mean and scale as
steps away from those of the prior, in units of its scale (Kingma et al. 2016; Vahdat and Kautz 2020, eq. 6).
``precision``: d_l tells a mean and a scale of its own, weighed with the prior's by their precisions (Sonderby et al.
2016, eq. 17 and 18).

In closed form a layer's rate is :math:`E\, \mathrm{KL}(q_l \,\|\, p_l)`. The chained model has none below the top,
since there p_l depends on layers that were drawn from z_l: its rates are samples of :math:`\log q_l - \log p_l`.

**Pixels** (images): p(x | z, c) is a product over pixels in raster order, made by a PixelCNN of short reach that hears
a map of the lowest state (PixelVAE, Gulrajani et al. 2017): what the reach can say need not be in z.

**Conditional** form: the context holds a ``mask``, 1 where x was seen, and ``known``, x there and 0 elsewhere. Both
enter prior, recognition model and decoder; the likelihood counts the hidden values only. Without a mask in the
context, nothing was seen.

The top layer is a vector. Further layers are vectors of dense levels, and maps ``[b, w, *size]`` of convolutional ones.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Num, Shaped
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.distributions import Distribution

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, LikelihoodError, UsageError
from latentscape.core.random import seeded
from latentscape.dist.conditional import Context, Latents, point
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.likelihoods import GaussianConfig, LikelihoodConfig, build_likelihood
from latentscape.dist.masked import Masked, parts
from latentscape.dist.mixture import VampPriorConfig
from latentscape.dist.priors import NormalPriorConfig, PriorConfig, UniformPriorConfig, build_prior
from latentscape.dist.sphere import SpherePriorConfig
from latentscape.dist.units import Affine
from latentscape.models.autoencoder import full_precision
from latentscape.models.model import LatentModel, Layer, Terms, generate_flat, repeat_context
from latentscape.models.pixels import PixelConditional, PixelLaw, PixelLawConfig, PixelsConfig
from latentscape.models.stage import Merge, Recognition, Stage, Told, normal
from latentscape.nets.levels import Climb, DenseLevelsConfig, Levels, LevelsConfig, Write

PIXEL_GLANCE, PIXEL_ROWS = 300_000, 256
"""What a validation looks at, and how many items at a time, where a PixelCNN sees every pixel."""


class HierarchyConfig(Record):
    """What :class:`Hierarchy` is made of.

    Attributes:
        latents: width of every layer, top first (channels, below the top of convolutional levels).
        levels: nets of both ways; as many widths as there are layers.
        recognition: form of q (the module says which).
        merge: how the ladder joins both ways.
        skip: keep the state from level to level.
        prior: of the top layer; with ``conditional`` it is a normal told by the context.
        likelihood: p(x | parameters); its values must be independent where ``conditional``.
        pixels: a PixelCNN that x is drawn by, one value's law being ``likelihood``; ``None``: values are independent.
        conditional: fill in what a mask hides.
    """

    kind: Literal["hierarchy"] = "hierarchy"
    latents: tuple[PositiveInt, ...] = Field((16, 24, 32), min_length=1)
    levels: LevelsConfig = DenseLevelsConfig()
    recognition: Recognition = "ladder"
    merge: Merge = "shared"
    skip: bool = True
    prior: PriorConfig = NormalPriorConfig()
    likelihood: LikelihoodConfig = GaussianConfig()
    pixels: PixelsConfig | None = None
    conditional: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "HierarchyConfig":
        if len(self.latents) != len(self.levels.widths):
            raise ValueError(f"as many levels.widths as latents ({len(self.latents)} layers)")
        if isinstance(self.prior, UniformPriorConfig | SpherePriorConfig):
            raise ValueError(f"a top prior on all reals, beside normal layers ('{self.prior.kind}' is not)")
        if self.conditional and not isinstance(self.prior, NormalPriorConfig):
            raise ValueError("prior.kind 'normal' where conditional, since the context tells its mean and scale")
        if isinstance(self.prior, VampPriorConfig) and self.recognition == "chained":
            raise ValueError("prior.kind 'vamp' reads q(z_1 | x), which 'chained' recognition does not have")
        return self


class Hierarchy(LatentModel):
    """See the module.

    Args:
        config: what it is made of.
        event_shape: shape of one x.
        vocabulary: number of values of every label; none is read.
        units: mean and scale of x, broadcastable to ``event_shape``; discrete likelihoods have their own.

    Raises:
        ConfigError: parts that don't fit each other or the data.
        DataError: units that don't fit.
    """

    def __init__(
        self,
        config: HierarchyConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.event_shape = tuple(event_shape)
        mean, scale = units if units is not None else (0.0, 1.0)
        self.pixels = None
        if config.pixels is None:
            units_of_x = Affine(self.event_shape, mean, scale)
            self.likelihood = build_likelihood(config.likelihood, self.event_shape, units_of_x)
            channels, items, planes = self.likelihood.channels, self.likelihood.items, None
        else:
            self.pixels = _pixels(config, config.pixels, self.event_shape, mean, scale)
            self.sequential, self.glance, self.rows = True, PIXEL_GLANCE, PIXEL_ROWS
            self.likelihood = self.pixels.likelihood
            channels, items, planes = config.pixels.heard, 0, 1
        one = self.likelihood.units
        self.prior = build_prior(config.prior, config.latents[0], Affine(self.event_shape, one.mean, one.scale))
        levels = Levels(config.levels, self.event_shape)
        self.stages = nn.ModuleList(
            Stage(levels, level, latent, config.recognition, config.merge, config.skip, config.conditional)
            for level, latent in enumerate(config.latents)
        )
        self.latent_shapes = tuple(stage.shape for stage in self._stages)
        self.climb = Climb(levels, 3 if config.conditional else 1)
        self.listen = Climb(levels, 2) if config.conditional else None
        self.write = Write(levels, channels, items, planes)
        if config.conditional and parts(self._blank()) is None:
            raise ConfigError(
                f"model.likelihood: '{config.likelihood.kind}' has one scale for all of an item, so no hidden values "
                "can be counted apart; take 'gaussian', 'laplace', 'bernoulli' or another of independent values"
            )

    @property
    def units(self) -> Affine:
        """What maps x to standardised values."""
        return self.likelihood.units

    @property
    def learns_prior(self) -> bool:
        """Every layer below the top has a learnt prior, and the top one where the context tells it."""
        return len(self.stages) > 1 or self.config.conditional or self.prior.learnt

    @property
    def _stages(self) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def _blank(self) -> Distribution:
        with torch.no_grad():
            return self.likelihood(torch.zeros(1, self.likelihood.outputs))

    # ---------------------------------------------------------------------------------------------------- the context

    def _told(self, context: Context, rows: int) -> Told | None:
        """Return what the context says; nothing for a model that is told nothing."""
        if self.listen is None:
            return None
        mask, known = self._seen(context, rows)
        planes = [self.units.standardise(known) * mask, mask]
        return Told(planes, self.listen(planes))

    def _seen(self, context: Context, rows: int) -> tuple[Tensor, Tensor]:
        """Return mask and known values as real numbers; nothing was seen where no mask is given."""
        mean = self.units.mean
        mask = context.get("mask")
        if mask is None:
            mask = mean.new_zeros(rows, *self.event_shape)
            return mask, mask
        return mask.to(mean.dtype), context["known"].to(mean.dtype)

    # ---------------------------------------------------------------------------------------------------- recognition

    def infer(self, x: Tensor, context: Context = {}, *, samples: int = 1, mean: bool = False) -> tuple[Layer, ...]:
        """Return the layers, sampled from q, or each at its mean given those that it depends on."""
        return self._infer(x, self._told(context, len(x)), context, samples, mean)[0]

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return distortion and rates, from one way down in place of two."""
        told = self._told(context, len(x))
        layers, h = self._infer(x, told, context, samples, False)
        rows = samples * len(x)
        target = x if samples == 1 else x.expand(samples, *x.shape).reshape(rows, *x.shape[1:])
        context = repeat_context(context, samples)
        likelihood = self._law(h, context, target)
        distortion = -likelihood.log_prob(target).reshape(samples, -1)
        return Terms(distortion, tuple(layer.rate(exact) for layer in layers), layers, likelihood)

    def _infer(
        self, x: Tensor, told: Told | None, context: Context, samples: int, mean: bool
    ) -> tuple[tuple[Layer, ...], Tensor]:
        """Return the layers and the lowest state."""
        planes = [self.units.standardise(x), *(told.planes if told is not None else [])]
        layers: list[Layer] = []

        def draw(q: DiagonalNormal) -> Tensor:
            """Return z as rows; a q of b rows is drawn from ``samples`` times."""
            if mean:
                return q.mean
            return q.rsample((samples,)).flatten(0, 1) if len(q.loc) == len(x) else q.rsample()

        ladder = self.config.recognition == "ladder"
        climbed = self._chain(planes, draw) if self.config.recognition == "chained" else None
        states = self.climb(planes) if climbed is None else ()

        def choose(level: int, stage: Stage, u: Tensor | None) -> Tensor:
            p = None if stage.prior is None or u is None else normal(stage.prior(u))
            if climbed is not None:
                q, z = climbed[level]
            else:
                q = stage.infer(states[level], u if ladder else None, p if ladder else None)
                z = draw(q)
            count = 1 if mean else samples
            law = self._top(context) if p is None else grouped(p, count, len(x))
            closed = climbed is None or level == 0
            layers.append(Layer(z.unflatten(0, (count, len(x))), grouped(q, count, len(x)), law, closed))
            return z

        h = self._descend(told, choose)
        return tuple(layers), h

    def _chain(
        self, planes: list[Tensor], draw: Callable[[DiagonalNormal], Tensor]
    ) -> list[tuple[DiagonalNormal, Tensor]]:
        """Return q and z of every layer, top first, drawn from the bottom up."""
        h = self.climb.read(planes)
        found: list[tuple[DiagonalNormal, Tensor]] = []
        for stage, step in zip(self._stages[::-1], list(self.climb.stages)[::-1], strict=True):
            q = stage.infer(step(h), None, None)
            z = draw(q)
            found.append((q, z))
            h = z if stage.embed is None else stage.embed(z)
        return found[::-1]

    def _descend(self, told: Told | None, choose: Callable[[int, Stage, Tensor | None], Tensor]) -> Tensor:
        """Go from the top to the bottom, ``choose`` telling each z, and return the lowest state."""
        h: Tensor | None = None
        for level, stage in enumerate(self._stages):
            heard = stage.hear(told, level)
            u = stage.above(h, heard)
            h = stage.below(u, heard, choose(level, stage, u))
        assert h is not None
        return h

    def _top(self, context: Context) -> Distribution:
        """Return p(z_1) of a model that is told nothing, handed q of the pseudo-inputs where it needs it."""
        inputs = self.prior.pseudo_inputs
        if inputs is None:
            return self.prior(None, context)
        state = self.climb([self.units.standardise(inputs)])[0]
        return self.prior(self._stages[0].infer(state, None, None), context)

    # ----------------------------------------------------------------------------------------------------- generation

    def generate(
        self, n: int, context: Context = {}, *, clamp: Sequence[Tensor | None] = (), temperature: Sequence[float] = ()
    ) -> Latents:
        """Draw n latents from the top down; see :func:`latentscape.models.model.generate_flat` for one layer.

        Raises:
            UsageError: more layers are named than there are, or a clamp does not fit.
        """
        if max(len(clamp), len(temperature)) > len(self.stages):
            raise UsageError(
                f"got {max(len(clamp), len(temperature))} layers to clamp or temper, the model has {len(self.stages)}"
            )
        latents: list[Tensor] = []

        def choose(level: int, stage: Stage, u: Tensor | None) -> Tensor:
            p = self._top(context) if stage.prior is None or u is None else normal(stage.prior(u))
            one = slice(level, level + 1)
            latents.extend(generate_flat(p, n, clamp[one], temperature[one]))
            return latents[-1]

        self._descend(self._told(context, n), choose)
        return tuple(latents)

    def decode(self, z: Latents, context: Context = {}) -> Distribution:
        """Return p(x | z, c), batch ``[b]``; of the hidden values alone where the model is conditional."""
        rows = len(z[0])
        return self._law(self._descend(self._told(context, rows), lambda level, stage, u: z[level]), context)

    def _law(self, h: Tensor, context: Context, x: Tensor | None = None) -> Distribution:
        """Return p(x | lowest state, c), with what it estimates from x in training."""
        raw = full_precision(self.write(h))
        seen = None if self.listen is None else self._seen(context, len(raw))
        if self.pixels is not None:
            return PixelLaw(self.pixels, raw.reshape(len(raw), -1, *self.event_shape[1:]), seen)
        likelihood = self.likelihood(raw)
        if x is not None:
            likelihood = self.likelihood.observe(likelihood, x, None if seen is None else ~seen[0].bool())
        return likelihood if seen is None else Masked(likelihood, *seen)

    def complete(
        self,
        x: Num[Tensor, "b ..."],
        mask: Shaped[Tensor, "b ..."],
        count: int = 1,
        *,
        temperature: Sequence[float] = (),
        seed: int = 0,
        pixels: bool = False,
    ) -> Num[Tensor, "k b ..."]:
        """Return ``count`` answers to what the mask hides: what was seen as it is, the rest filled in.

        Args:
            x: items; hidden values are never read.
            mask: 1 where x was seen.
            count: answers an item.
            temperature: of every layer, top first; ``()`` is 1.
            seed: the answers are a function of the arguments.
            pixels: draw every value from the likelihood, in place of its mean.

        Raises:
            UsageError: the model was not built to be told a mask; or there are no answers to give.
        """
        if self.listen is None:
            raise UsageError("this model was not trained to fill in: model.conditional is false")
        if count < 1:
            raise UsageError(f"got {count} answers, expected at least 1")
        context = repeat_context(masked(x, mask), count)
        with torch.no_grad(), seeded("complete", seed, device=x.device):
            z = self.generate(count * len(x), context, temperature=temperature)
            likelihood = self.decode(z, context)
            filled = likelihood.sample() if pixels else point(likelihood)
        return filled.unflatten(0, (count, len(x))).to(filled.dtype)

    # -------------------------------------------------------------------------------------------------------- the rest

    @property
    def wants(self) -> int:
        """Items that :meth:`prime` can use: one a pseudo-input."""
        inputs = self.prior.pseudo_inputs
        return 0 if inputs is None else len(inputs)

    def prime(self, x: Tensor) -> None:
        """Start the prior's pseudo-inputs from data."""
        self.prior.prime(x)

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch that the likelihood can't describe, or that lacks the mask that a conditional model is told.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        self.likelihood.check(x if self.pixels is None else x.movedim(1, 3).flatten(0, 2)[..., None, None])
        if self.listen is not None:
            for name in ("mask", "known"):
                if context.get(name) is None or context[name].shape != x.shape:
                    arrived = list(context[name].shape) if name in context else "none"
                    raise LikelihoodError(
                        f"a conditional model is told '{name}' of shape {list(x.shape)}, got {arrived}"
                    )


def _pixels(
    config: HierarchyConfig,
    pixels: PixelsConfig,
    event_shape: tuple[int, ...],
    mean: Tensor | float,
    scale: Tensor | float,
) -> PixelConditional:
    """Return the law of images pixel by pixel; its net hears numbers of one mean and one scale."""
    whole = PixelLawConfig(net=pixels.net, heard=pixels.heard, likelihood=config.likelihood)
    units = (float(torch.as_tensor(mean).double().mean()), float(torch.as_tensor(scale).double().mean()))
    return PixelConditional(whole, event_shape, units, "model.pixels")


def grouped(p: DiagonalNormal, samples: int, items: int) -> DiagonalNormal:
    """Return a law of ``samples * items`` rows with batch ``(samples, items)``; one of b rows as it is."""
    if len(p.loc) == items:
        return p
    loc, scale, log_scale = (part.unflatten(0, (samples, items)) for part in (p.loc, p.scale, p.log_scale))
    return DiagonalNormal(loc, scale, p.loc.ndim - 1, log_scale=log_scale)


def masked(x: Tensor, mask: Tensor) -> Context:
    """Return the context that tells which values of x were seen, and what they are."""
    return {"mask": mask, "known": torch.where(mask.bool(), x, torch.zeros_like(x))}
