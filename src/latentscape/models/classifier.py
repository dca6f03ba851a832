r"""A classifier: what a thing is, as a model that the training loop knows.

Letters: x data ``[b, *event]``, y_h the label of head h, f = features ``[b, w]``, K_h classes of head h.

.. math:: p(y \mid x) = \prod_h \operatorname{softmax}(A_h f(x) + a_h)_{y_h}

The features are the last hidden layer, of which every head is one linear map. The distortion is the cross-entropy,
:math:`-\log p(y \mid x)` in nats an item, summed over heads; a label that is unknown (-1) is summed out and costs
nothing. There are no latent layers, so the objective that trains it is ``reconstruction``.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn
from torch.distributions import Categorical, Independent

from latentscape.core.config import Record
from latentscape.core.errors import LikelihoodError, UsageError, nearest
from latentscape.dist.conditional import Context
from latentscape.dist.units import Affine
from latentscape.models.model import Model, Terms
from latentscape.nets.build import NetConfig, build_reader
from latentscape.nets.conv import ConvConfig
from latentscape.nets.mlp import ACTIVATIONS, Activation, initialise


class ClassifierConfig(Record):
    """What :class:`Classifier` is made of.

    Attributes:
        heads: the classes of each label that is told apart, in the order of their codes.
        net: what reads x.
        features: width of the last hidden layer.
        activation: of the last hidden layer.
        dropout: of the last hidden layer, in training.
    """

    kind: Literal["classifier"] = "classifier"
    heads: dict[str, tuple[str, ...]]
    net: NetConfig = ConvConfig(channels=(16, 32, 64), blocks=1)
    features: PositiveInt = 64
    activation: Activation = "silu"
    dropout: float = Field(0.0, ge=0, lt=1)

    @field_validator("heads")
    @classmethod
    def _some(cls, heads: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if not heads or any(len(classes) < 2 for classes in heads.values()):
            raise ValueError("at least one head, with two classes or more")
        return heads


class Classifier(Model):
    """See the module's text.

    Args:
        config: what it is made of.
        event_shape: shape of one x.
        vocabulary: unused, as every model's builder takes it: the classes are part of what it is.
        units: mean and scale of x, broadcastable to ``event_shape``; buffers of the weights.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        event_shape: tuple[int, ...],
        vocabulary: Mapping[str, int] = {},
        units: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.event_shape = tuple(event_shape)
        mean, scale = units if units is not None else (0.0, 1.0)
        self.units = Affine(self.event_shape, mean, scale)
        self.net = build_reader(config.net, self.event_shape, 0, config.features)
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.dropout)
        self.sizes = tuple(len(classes) for classes in config.heads.values())
        self.last = initialise(nn.Linear(config.features, sum(self.sizes)), gain=0.5)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the first head."""
        return next(iter(self.config.heads.values()))

    def features(self, x: Tensor) -> Float[Tensor, "b w"]:
        """Return the last hidden layer."""
        return self.activation(self.net(self.units.standardise(x)))

    def logits(self, x: Tensor) -> tuple[Float[Tensor, "b _"], ...]:
        """Return the logits of every head, in their order."""
        return self.last(self.dropout(self.features(x))).split(self.sizes, dim=1)

    def probabilities(self, x: Tensor, head: str | None = None) -> Float[Tensor, "b k"]:
        """Return p(y_h | x) of one head, the first unless named.

        Raises:
            UsageError: there is no such head.
        """
        names = tuple(self.config.heads)
        if head is not None and head not in names:
            raise UsageError(f"no head '{head}'{nearest(head, names)}")
        return self.logits(x)[names.index(head) if head else 0].float().softmax(1)

    def likelihood(self, x: Tensor) -> Independent:
        """Return p(y | x): batch ``[b]``, event ``[heads]``; classes that a shorter head lacks have probability 0."""
        longest = max(self.sizes)
        padded = [
            nn.functional.pad(one.float(), (0, longest - one.shape[1]), value=-torch.inf) for one in self.logits(x)
        ]
        return Independent(Categorical(logits=torch.stack(padded, dim=1), validate_args=False), 1, validate_args=False)

    def terms(self, x: Tensor, context: Context = {}, *, samples: int = 1, exact: bool = True) -> Terms:
        """Return the cross-entropy, ``[k, b]`` (every one of the k rows the same: nothing is drawn); no rates."""
        likelihood = self.likelihood(x)
        y = self._labels(context, x)
        logs = likelihood.base_dist.log_prob(y.clamp_min(0))
        distortion = -torch.where(y < 0, 0.0, logs).sum(1)
        return Terms(distortion.expand(samples, -1), (), (), likelihood)

    def check(self, x: Tensor, context: Context = {}) -> None:
        """Refuse a batch of another shape, without one of the labels, or with codes outside the classes.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        super().check(x, context)
        for (name, classes), codes in zip(self.config.heads.items(), self._labels(context, x).unbind(1), strict=True):
            if not bool(((codes >= -1) & (codes < len(classes))).all()):
                span = f"{int(codes.min())} to {int(codes.max())}"
                raise LikelihoodError(f"label '{name}' has codes {span}, expected -1 to {len(classes) - 1}")

    def _labels(self, context: Context, x: Tensor) -> Tensor:
        """Return the label codes, ``[b, heads]``."""
        for name in self.config.heads:
            if name not in context:
                raise LikelihoodError(f"a classifier of '{name}' got no such label{nearest(name, context)}")
        return torch.stack([context[name].to(x.device) for name in self.config.heads], dim=1)
