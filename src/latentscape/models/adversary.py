r"""The Wasserstein autoencoder with an adversary in latent space (Tolstikhin et al. 2018, algorithm 1).

Letters: D distortion, z codes ``[n, d]``, y as many draws of the prior, f the critic, a net whose value is the logit of
"drawn from the prior", w the weight, s the softplus, so that :math:`-\log \sigma(f) = s(-f)`.

.. math:: \text{model:}  \quad D + w\, \overline{s(-f(z))}, \qquad
          \text{critic:} \quad \overline{s(-f(y))} + \overline{s(f(z))}

each minimised over its own parameters only. Both are gradients of one sum, taken in one backward pass: the model's term
sees the critic with its parameters held, the critic's term sees the codes held. So a step costs one pass of the
model, and gradients are those of the two alternating steps of the algorithm at the same parameters.

With ``density``, :math:`f(z) = g(z) + \log p(z)` for a net g, up to a constant: the best critic is
:math:`\log p(z) - \log q(z)`, and its known part need not be learnt (Mescheder et al. 2017, section 3.2; an option of
the authors' code, for a normal prior).

An adversary is no yardstick: its loss says who is ahead and not how far the codes are from the prior. In evaluation the
objective is therefore :math:`D + w\, \mathrm{MMD}^2`, the unbiased discrepancy that :class:`WaeMmd` would add with this
weight: it is zero in the mean where codes match the prior, and comparable from one validation to the next and with a
WAE-MMD. What it can't see, a good critic may; so keep the last weights (``train.keep: last``), not those at its least.

Numbers logged:

===================  ==================================================================================================
``distortion``       nats an item
``adversary``        nats, :math:`\overline{s(-f(z))}`, unweighted; log 2 = 0.693 where codes can't be told from draws
``critic``           nats, the critic's own loss; 2 log 2 = 1.386 likewise, 0 where it wins
``critic_accuracy``  share of codes and draws that the critic tells right; 0.5 likewise
``mmd``              unbiased squared MMD, evaluation only; may be negative
===================  ==================================================================================================
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError
from latentscape.dist.conditional import Context, Prior
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.kernels import ImqConfig, KernelConfig, build_kernel, mmd2
from latentscape.models.model import LatentModel, Loss, Model, Objective, Terms
from latentscape.models.objectives import (
    codes_and_draws,
    describe,
    finite_rates,
    need_latents,
    ramp,
    refuse_learnt_prior,
)
from latentscape.nets.mlp import Mlp, MlpConfig


class WaeGanConfig(Record):
    """Wasserstein autoencoder with an adversarial penalty (the module has the equations).

    ``weight`` is in nats of distortion. The authors minimise 0.05 |x - x'|^2 + lambda s(-f(z)): against the distortion
    of a Gaussian of fixed scale 1, |x - x'|^2 / 2, that is a weight of 10 lambda (100 on MNIST, 10 on CelebA). Too much
    makes codes chase the critic and bunch; too little leaves them where they are.

    Attributes:
        weight: of the adversary's term.
        critic: its net; the authors take four layers of 512 rectified units on MNIST.
        density: add the prior's log density to the critic's value (see the module); normal prior only.
        kernel: of the discrepancy in evaluation.
        warmup: steps over which the weight rises linearly from 0; the critic learns meanwhile.
    """

    kind: Literal["wae_gan"] = "wae_gan"
    weight: float = Field(10.0, ge=0)
    critic: MlpConfig = MlpConfig(widths=(512, 512, 512, 512), activation="relu")
    density: bool = False
    kernel: KernelConfig = ImqConfig()
    warmup: int = Field(0, ge=0)


class Critic(nn.Module):
    """The critic's value f, the logit of "drawn from the prior".

    Args:
        config: of g.
        dim: d.
        density: add the log density of a standard normal, up to the constant that makes it zero in the mean.
    """

    def __init__(self, config: MlpConfig, dim: int, density: bool) -> None:
        super().__init__()
        self.net = Mlp(config, dim, 1)
        self.density = density

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return f(z)."""
        value = self.net(z).squeeze(1).float()
        return value - (z.square() - 1).sum(1) / 2 if self.density else value


class WaeGan(Objective):
    """Minimises D + weight times the adversary's term, and the critic's loss (see the module).

    Raises:
        ConfigError: the prior is learnt; or ``density`` is asked for, and it is not a standard normal.
    """

    steady = "distortion"

    def __init__(self, config: WaeGanConfig, model: Model) -> None:
        super().__init__()
        need_latents(model, config.kind)
        refuse_learnt_prior(model, config.kind)
        assert isinstance(model, LatentModel)
        if config.density and not _standard_normal(model):
            raise ConfigError("objective.density: needs model.prior.kind 'normal', whose density the critic adds")
        self.config = config
        self.kernel = build_kernel(config.kernel)
        self.critic = Critic(config.critic, sum(map(math.prod, model.latent_shapes)), config.density)

    def forward(self, model: Model, terms: Terms, x: Tensor, context: Context, step: int) -> Loss:
        """Return the loss and its parts; in evaluation, the loss of the module's yardstick."""
        assert isinstance(model, LatentModel)
        codes, draws = codes_and_draws(model, terms, context, "wae_gan", step)
        held = {name: parameter.detach() for name, parameter in self.critic.named_parameters()}
        adversary = softplus(-functional_call(self.critic, held, (codes,))).mean()
        true, false = self.critic(torch.cat([draws, codes.detach()])).chunk(2)
        critic = softplus(-true).mean() + softplus(false).mean()
        weight = self.config.weight * ramp(step, self.config.warmup)
        distortion = terms.distortion.mean()
        log = describe(distortion, finite_rates(terms)) | {
            "adversary": adversary.detach(),
            "critic": critic.detach(),
            "critic_accuracy": ((true > 0).float().mean() + (false <= 0).float().mean()) / 2,
        }
        if self.training:
            return Loss(distortion + weight * adversary + critic, log)
        discrepancy = mmd2(codes, draws, self.kernel)
        return Loss(distortion + weight * discrepancy, log | {"mmd": discrepancy.detach()})


def _standard_normal(model: LatentModel) -> bool:
    prior = getattr(model, "prior", None)
    law = prior() if isinstance(prior, Prior) and not prior.learnt else None
    return isinstance(law, DiagonalNormal) and law.unit
