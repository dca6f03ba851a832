r"""A tagger: p(tags | sound), one of K classes or any of K tags.

Letters: x features ``[b, f, t]`` (or a wave ``[b, 1, n]``), g(x) the vector of the net, y what the label says.

.. math::
   \text{one:}\quad  p(y \mid x) = \operatorname{softmax}(A g(x) + a)_y \qquad
   \text{many:}\quad p(y \mid x) = \prod_k \sigma_k^{y_k} (1 - \sigma_k)^{1 - y_k},\quad \sigma = \sigma(A g(x) + a)

The label comes as weights ``[b, K]``: 1 where a class or tag holds, 0 where it does not, between them where two sounds
were mixed; a row of NaN is unknown, and costs nothing. The distortion is the cross-entropy in nats an item,
:math:`-\sum_k y_k \log p_k`, or, of many, :math:`-\sum_k [y_k \log \sigma_k + (1 - y_k) \log (1 - \sigma_k)]`. Without
latents, it is trained by ``reconstruction``. What x is, a spectrogram or the wave, the net decides
(:mod:`latentscape.nets.tagger`).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, LikelihoodError, nearest
from latentscape.dist.conditional import Context
from latentscape.dist.units import Affine
from latentscape.models.model import Model, Terms
from latentscape.nets.mlp import initialise
from latentscape.nets.tagger import ChunkConfig, TaggerNetConfig, build_tagger_net

Law = Literal["one", "many"]


class TaggerConfig(Record):
    """What :class:`Tagger` is made of.

    Attributes:
        label: what is told: a column of the corpus, several tags of a sound separated by ``;``.
        law: whether ``one`` of its values holds, or any number (``many``).
        net: what listens.
    """

    kind: Literal["tagger"] = "tagger"
    label: str = "tag"
    law: Law = "one"
    net: TaggerNetConfig = ChunkConfig()

    @property
    def marks(self) -> tuple[str, ...]:
        """Labels that go with x as weights of their values."""
        return (self.label,)


class Tagger(Model):
    """See the module's text.

    Args:
        config: what it is made of.
        event_shape: shape of one x, ``(f, t)``.
        vocabulary: number of values of the label.
        units: mean and scale of x, broadcastable to ``(f, 1)``; buffers of the weights. They do not depend on time, so
            that sound of any length can be looked into.

    Raises:
        ConfigError: the corpus has no such label, or but one value of it; or the net does not fit x.
    """

    def __init__(
        self,
        config: TaggerConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.event_shape = config, tuple(event_shape)
        self.net = build_tagger_net(config.net, self.event_shape)
        if config.label not in vocabulary:
            known = nearest(config.label, vocabulary)
            raise ConfigError(f"model.label: the corpus has no label '{config.label}'{known}")
        self.classes = vocabulary[config.label]
        if self.classes < 2:
            raise ConfigError(f"model.label: '{config.label}' has {self.classes} values, expected two to tell apart")
        mean, scale = units if units is not None else (0.0, 1.0)
        self.units = Affine((self.event_shape[0], 1), mean, scale)
        self.last = initialise(nn.Linear(self.net.width, self.classes), gain=0.5)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that :meth:`activations` gives, from sound to tags."""
        return tuple(self.net.stages)

    def activations(self, x: Float[Tensor, "b f t"]) -> dict[str, Tensor]:
        """Return what every layer makes of x, of any length, ``[b, c, t]`` or ``[b, c, f, t]``; gradients flow."""
        return self.net.activations(self.units.standardise(x))

    def features(self, x: Float[Tensor, "b f t"]) -> Float[Tensor, "b w"]:
        """Return the vector that the last linear map reads: the embedding of x."""
        return self.net(self.units.standardise(x))

    def logits(self, x: Float[Tensor, "b f t"]) -> Float[Tensor, "b k"]:
        """Return A g(x) + a."""
        return self.last(self.features(x)).float()

    def probabilities(self, x: Float[Tensor, "b f t"]) -> Float[Tensor, "b k"]:
        """Return p of every class or tag."""
        return self.spread(self.logits(x))

    def spread(self, logits: Float[Tensor, "... k"]) -> Float[Tensor, "... k"]:
        """Turn logits into probabilities: by softmax (one) or each by itself (many)."""
        return logits.softmax(-1) if self.config.law == "one" else logits.sigmoid()

    def likelihood(self, logits: Float[Tensor, "b k"]) -> Distribution:
        """Return p(y | x): batch ``[b]``, a code (one) or a set of bits ``[K]`` (many)."""
        if self.config.law == "one":
            return Categorical(logits=logits, validate_args=False)
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return the cross-entropy, ``[k, b]`` (every one of the k rows the same: nothing is drawn); no rates."""
        logits = self.logits(x)
        y = self._weights(context).to(logits)
        known = y.isfinite().all(1)
        y = torch.where(known[:, None], y, 0.0)
        if self.config.law == "one":
            distortion = -(y * logits.log_softmax(1)).sum(1)
        else:
            distortion = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(1)
        distortion = torch.where(known, distortion, 0.0)
        return Terms(distortion.expand(samples, -1), (), (), self.likelihood(logits))

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch of another shape, without the label, or with weights that are none.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        y = self._weights(context)
        if tuple(y.shape) != (len(x), self.classes):
            raise LikelihoodError(f"label '{self.config.label}' has shape {tuple(y.shape)}, expected weights of values")
        known = y[y.isfinite().all(1)]
        if not bool(((known >= 0) & (known <= 1)).all()):
            raise LikelihoodError(f"label '{self.config.label}' has weights outside 0 to 1")
        whole = known.sum(1)
        if self.config.law == "one" and not torch.allclose(whole, torch.ones_like(whole), atol=1e-5):
            raise LikelihoodError(
                f"label '{self.config.label}' gives some sounds several values or none, but model.law is 'one'; "
                "set model.law=many"
            )

    def _weights(self, context: Context) -> Tensor:
        if self.config.label not in context:
            raise LikelihoodError(
                f"a tagger of '{self.config.label}' got no such label{nearest(self.config.label, context)}"
            )
        return context[self.config.label]
