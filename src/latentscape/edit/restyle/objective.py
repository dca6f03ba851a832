r"""The loss of a restyling: statistics of the style, what is to stay of the content, rhythm, and priors.

Letters: F features of the sound that is looked for, :math:`F_0` those of where it began, g groups of features, S a
statistic (Gram matrix or Gaussian) and W its target, d their distance, R autocorrelation of bands, w weights.

.. math::
    \ell = d(S(F), W)
      + w_\text{content}\, \frac{\overline{(F - F_0)^2}}{\mathrm{var}\, F_0}
      + w_\text{rhythm}\, \overline{(R - R_s)^2} + \text{priors}

with d the squared Frobenius distance of Gram matrices over the target's square, or the squared Wasserstein distance
over the target's variance, both summed over groups; a mean over layers everywhere. A strength u < 1 puts W between
content's and style's: the Gram matrix on the line, the Gaussian on the geodesic. Where the search begins
(:mod:`latentscape.edit.restyle.beginning`) the content has the style's mean spectrum already, and this is what the
content's term holds on to: the content's own features would hold its timbre, too.

Priors show what noise is made of (``benchmarks/white_noise.py``): functions of the variable, added as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentscape.edit.restyle.networks import Network
from latentscape.edit.restyle.sounds import Place
from latentscape.edit.restyle.statistics import Statistic, autocorrelation

SCALE = 1e3
"""Of the whole loss, so that L-BFGS's first step, which is bounded, is of a fair size."""
RHYTHM_SECONDS = 2.0


@dataclass(frozen=True)
class Weights:
    """Of the loss's terms; the style's own is 1."""

    content: float = 0.03
    rhythm: float = 0.0


class Objective:
    """The loss as a function of the variable.

    Args:
        place: where the sound is looked for.
        network: what hears it.
        statistic: what is matched.
        weights: of the terms.
        target: W, one a layer.
        begin: the variable at the beginning, which the content's term holds on to.
        rhythm: the style's autocorrelation, where it has a weight.
        priors: name -> variable -> a number.
    """

    def __init__(
        self,
        place: Place,
        network: Network,
        statistic: Statistic,
        weights: Weights,
        target: Sequence[Any],
        begin: Tensor,
        rhythm: Tensor | None = None,
        priors: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    ) -> None:
        self.place, self.network, self.statistic, self.weights = place, network, statistic, weights
        self.target, self.rhythm, self.priors = target, rhythm, priors or {}
        with torch.no_grad():
            self.held = network(place, begin)
        self.spread = [held.var(-2).mean().clamp_min(1e-8) for held in self.held]

    def __call__(self, variable: Tensor) -> Tensor:
        """Return the loss."""
        return SCALE * sum(self.terms(variable).values(), torch.zeros(()))

    def terms(self, variable: Tensor) -> dict[str, Tensor]:
        """Return the weighted terms by name."""
        features = self.network(self.place, variable)
        apart = [self.statistic.apart(layer, wanted) for layer, wanted in zip(features, self.target, strict=True)]
        found = {"style": torch.stack(apart).mean()}
        if self.weights.content:
            pairs = zip(features, self.held, self.spread, strict=True)
            apart = torch.stack([(f - held).square().mean() / spread for f, held, spread in pairs])
            found["content"] = self.weights.content * apart.mean()
        if self.rhythm is not None and self.weights.rhythm:
            bands = self.place.spectrum.bands(self.place.magnitude(variable))
            lags = autocorrelation(bands, self.rhythm.shape[-2]).mean(0)
            found["rhythm"] = self.weights.rhythm * (lags - self.rhythm[: len(lags)]).square().mean()
        for name, prior in self.priors.items():
            found[name] = prior(variable)
        return found
