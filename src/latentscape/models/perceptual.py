r"""Cures for the average sound: what a decoded window is judged by beside its likelihood.

Letters: x a raw window ``[b, c, n]``, y the mean of p(x | z) at the sampled z, S_w(x) magnitudes at resolution w (a
view handed in: this room knows nothing of sound), V their number, f the critic's logit of "a sound of the corpus",
:math:`\varphi_l` what its layer l sees, L its layers, s the softplus, a bar the mean over everything, of all processes
that share a batch.

A Gaussian's best mean is the average of all that the code leaves open: sound whose phase is open averages to silence.
Terms that don't see phase are added to alpha D + beta R, each with a weight in nats an item:

.. math::
    \text{spectral} &= \frac1V \sum_w \frac{\overline{|S_w(x) - S_w(y)|}}{\overline{S_w(x)}}
        + \overline{\left|\log(S_w(x) + \epsilon) - \log(S_w(y) + \epsilon)\right|} \\
    \text{octaves} &= \frac1V \sum_w \frac{\|B_w(x) - B_w(y)\|}{\|B_w(x)\|}
        + \overline{\left|\log B_w(x) - \log B_w(y)\right|}, \qquad
        B_w(x)_o^2 = \epsilon^2 + \sum_{f \in o} S_w(x)_f^2 \\
    \text{features} &= \frac1L \sum_l
        \frac{\overline{|\varphi_l(x) - \varphi_l(y)|}}{\overline{|\varphi_l(x)|}}, \qquad
    \text{adversary} = \overline{s(-f(y))}

(the first as in Engel et al. 2020, eq. 4, the linear part made independent of level; the last two are the
VAE-GAN of Larsen et al. 2016, its likelihood of features by their mean absolute distance). The critic minimises
:math:`\overline{s(-f(x))} + \overline{s(f(y))}` over its own weights only. Everything is one sum and one backward
pass: the model's terms see the critic's weights held, the critic's term sees y held
(see :mod:`latentscape.models.adversary`).

The octaves are the average sound's cure where the code leaves pitch open. What is best by absolute distance is the
median, and a tone that may be at many pitches is in each bin less often than not: every bin's median is silence. In its
octave o (bins 0, 1, 2 to 3, 4 to 7 and so on) it is whatever its pitch. The first of the two parts is a root of
squares (spectral convergence, Arik et al. 2019), best at the mean: what may come or not is not silent then, either.

Numbers logged beside those of :mod:`latentscape.models.objectives`, all unweighted:

===================  ==================================================================================================
``spectral``         dimensionless, see above; 0 for the same magnitudes
``octaves``          dimensionless, likewise; 0 for as much of every octave in every frame
``features``         dimensionless; 0 for what the critic can't tell at any layer
``adversary``        nats; log 2 = 0.693 where decoded windows can't be told from sounds
``critic``           nats, the critic's own loss; 2 log 2 = 1.386 likewise, 0 where it wins
===================  ==================================================================================================

In evaluation the loss is alpha D + beta R and the spectral term: a critic is no yardstick.

The weight alpha of the distortion (``distortion``) is 1 unless told. Where a decoder's phases are not the sound's
(:mod:`latentscape.nets.bank`), x and y are uncorrelated whatever z says, :math:`\|x - y\|^2 \approx \|x\|^2 + \|y\|^2`,
and D asks for silence alone: alpha = 0 then leaves the sound to what doesn't see phase. The likelihood stays a density:
an optimal scale is estimated from the residuals as ever, so that D and the bound are logged, and evaluated, as they
are; they are those of a model whose mean explains nothing, which is the truth.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from latentscape.core.config import Record
from latentscape.core.distributed import gather_rows, mean_over_processes
from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Context, point
from latentscape.models.model import Loss, Model, Terms
from latentscape.models.objectives import Elbo, ElboConfig, ramp
from latentscape.nets.conv import draw_weights

SILENCE = 1e-4
"""epsilon, -80 dB under a sine of full scale."""


class SpectralConfig(Record):
    """The multi-scale spectral term.

    Attributes:
        weight: nats an item.
        octaves: of the octaves' levels in it, 1 as much as all bins; 0 leaves them out.
        windows: resolutions in samples, even.
    """

    weight: float = Field(30_000.0, ge=0)
    octaves: float = Field(0.0, ge=0)
    windows: tuple[PositiveInt, ...] = Field((256, 1024, 4096), min_length=1)

    @field_validator("windows")
    @classmethod
    def _divisible(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if any(window % 4 for window in windows):
            raise ValueError("lengths that 4 divides")
        return windows


class WaveCriticConfig(Record):
    """The critic and the weights of what is made of it.

    Attributes:
        weight: of the adversary's term, nats an item.
        features: of the features' distance, nats an item.
        channels: of each strided convolution.
        kernel: their length, odd.
        stride: of each.
        warmup: steps over which both weights rise from 0; the critic learns meanwhile.
    """

    weight: float = Field(1000.0, ge=0)
    features: float = Field(10_000.0, ge=0)
    channels: tuple[PositiveInt, ...] = Field((16, 32, 64, 64), min_length=1)
    kernel: int = Field(15, ge=1)
    stride: int = Field(4, ge=1)
    warmup: int = Field(200, ge=0)


class PerceptualConfig(ElboConfig):
    """The bound of ``elbo`` with further terms (the module has the equations); each is off where it is ``None``.

    Attributes:
        distortion: alpha, the weight of the likelihood's distortion; 0 for a decoder whose phases are its own.
        spectral: what compares spectra.
        critic: what compares what a critic sees.
    """

    kind: Literal["perceptual"] = "perceptual"  # pyrefly: ignore
    distortion: float = Field(1.0, ge=0)
    spectral: SpectralConfig | None = None
    critic: WaveCriticConfig | None = None


class WaveCritic(nn.Module):
    """Strided convolutions over a standardised wave; the last one gives a logit every so many samples."""

    def __init__(self, config: WaveCriticConfig, channels: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for width in config.channels:
            conv = nn.Conv1d(channels, width, config.kernel, config.stride, padding=config.kernel // 2)
            stages.append(draw_weights(conv, 1))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.last = draw_weights(nn.Conv1d(channels, 1, 3, padding=1), 1, gain=0.5)

    def forward(self, wave: Float[Tensor, "b c n"]) -> list[Tensor]:
        """Return what every layer sees, the logits ``[b, 1, t]`` last."""
        seen = []
        for stage in self.stages:
            wave = nn.functional.leaky_relu(stage(wave), 0.2)
            seen.append(wave)
        return [*seen, self.last(wave)]


class Perceptual(Elbo):
    """Minimises alpha D + beta R and the terms of the module.

    Args:
        config: which terms, and their weights.
        model: whose x are raw windows.
        view: x ``[b, c, n]`` -> magnitudes, one tensor a resolution; needed for the spectral term.

    Raises:
        ConfigError: x is no raw window, nothing is asked for, or a learnt scale would never be trained.
    """

    def __init__(
        self, config: PerceptualConfig, model: Model, view: Callable[[Tensor], list[Tensor]] | None = None
    ) -> None:
        super().__init__(config, model)
        self.told = config
        self.view = view
        self.distortion = config.distortion
        if not (config.distortion or config.spectral or config.critic):
            raise ConfigError("objective.distortion: 0 leaves nothing to be learnt; take objective.spectral with it")
        scale = getattr(getattr(getattr(model, "likelihood", None), "config", None), "scale", "optimal")
        if not config.distortion and scale not in ("optimal", "fixed"):
            raise ConfigError(
                f"objective.distortion: 0 would leave the likelihood's learnt scale ('{scale}') as it began; take "
                "model.likelihood.scale 'optimal' (estimated) or 'fixed'"
            )
        if (config.spectral or config.critic) and len(model.event_shape) != 2:
            raise ConfigError(
                f"objective 'perceptual' listens to raw windows [c, n], but x has shape {tuple(model.event_shape)}: "
                "take representation 'waveform' with a window"
            )
        if config.spectral and view is None:
            raise ConfigError("objective.spectral needs a view of the wave; build the objective by the registry")
        self.critic = WaveCritic(config.critic, model.event_shape[0]) if config.critic else None
        if config.critic:
            self.steady = "spectral" if config.spectral and not config.distortion else "distortion"

    def forward(self, model: Model, terms: Terms, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss and its parts; in evaluation without the critic's."""
        total, log = super().forward(model, terms, x, context, step)
        if self.told.spectral is None and self.critic is None:
            return Loss(total, log)
        made = point(terms.likelihood).float()
        x = x.float().repeat(len(made) // len(x), 1, 1)
        if self.told.spectral is not None:
            assert self.view is not None
            spectra = self.view(x), self.view(made)
            spectral = spectral_distance(*spectra)
            total, log = total + self.told.spectral.weight * spectral, log | {"spectral": spectral.detach()}
            if self.told.spectral.octaves:
                octaves = octave_distance(*spectra)
                total = total + self.told.spectral.weight * self.told.spectral.octaves * octaves
                log |= {"octaves": octaves.detach()}
        if self.told.critic is not None and self.critic is not None:
            scale = mean_over_processes(x.detach().square().mean()).sqrt().clamp_min(1e-8)
            features, adversary, critic = self._contest(self.critic, x / scale, made / scale)
            log |= {"features": features.detach(), "adversary": adversary.detach(), "critic": critic.detach()}
            if self.training:
                share = ramp(step, self.told.critic.warmup)
                asked = self.told.critic.features * features + self.told.critic.weight * adversary
                total = total + share * asked + critic
        return Loss(total, log)

    def _contest(self, critic: WaveCritic, x: Tensor, made: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features' distance, the adversary's loss and the critic's own."""
        held = {name: parameter.detach() for name, parameter in critic.named_parameters()}
        *wanted, _ = [seen.detach() for seen in functional_call(critic, held, (x,))]
        *found, value = functional_call(critic, held, (made,))
        apart = [
            (a - b).abs().mean() / mean_over_processes(a.abs().mean()).clamp_min(1e-8)
            for a, b in zip(wanted, found, strict=True)
        ]
        true, false = critic(x)[-1].float(), critic(made.detach())[-1].float()
        adversary, own = softplus(-value.float()).mean(), softplus(-true).mean() + softplus(false).mean()
        return torch.stack(apart).mean(), adversary, own


def spectral_distance(wanted: list[Tensor], found: list[Tensor]) -> Float[Tensor, ""]:
    """Return the spectral term of magnitudes, one pair a resolution (see the module)."""
    apart = [
        (a - b).abs().mean() / mean_over_processes(a.mean()).clamp_min(SILENCE)
        + ((a + SILENCE).log() - (b + SILENCE).log()).abs().mean()
        for a, b in zip(wanted, found, strict=True)
    ]
    return torch.stack(apart).mean()


def octave_distance(wanted: list[Tensor], found: list[Tensor]) -> Float[Tensor, ""]:
    """Return the distance of how much there is in every octave, of the same magnitudes (see the module)."""
    apart = []
    for x, y in zip(wanted, found, strict=True):
        a, b = octaves_of(x), octaves_of(y)
        apart.append(_norm(a - b) / _norm(a) + (a.log() - b.log()).abs().mean())
    return torch.stack(apart).mean()


def _norm(values: Tensor) -> Float[Tensor, ""]:
    """Return the norm of the values of all processes."""
    return torch.linalg.vector_norm(gather_rows(torch.linalg.vector_norm(values).unsqueeze(0)))


def octaves_of(magnitudes: Float[Tensor, "b c f t"]) -> Float[Tensor, "b c o t"]:
    """Return the root of the power in bins 0, 1, 2 to 3, 4 to 7 and so on, never below epsilon."""
    power = magnitudes.square()
    bins = magnitudes.shape[2]
    edges = [0, *(2**o for o in range((bins - 2).bit_length())), bins]  # the last one goes on to half the rate
    octaves = [power[:, :, low:high].sum(2) for low, high in pairwise(edges)]
    return (torch.stack(octaves, 2) + SILENCE**2).sqrt()
