"""The Conditional: a module whose forward pass returns a ``torch.distributions.Distribution``.

Encoder q(z | x, c), decoder p(x | z, c), prior p(z | c), WaveNet and tagger are all one. Letters: b batch, k importance
samples, d latent width. A context is a mapping of conditions, every tensor with leading axis b; ``{}`` is
unconditional. Labels are int64 ``[b]`` with -1 for unknown; series are float ``[b, c, t]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from torch import Tensor, nn
from torch.distributions import Distribution

Context = Mapping[str, Tensor]
Latents = tuple[Tensor, ...]
"""Stochastic layers from top to bottom; a flat model has one entry. Entries are ``[b, d]`` or ``[b, d, t]``."""
Given = TypeVar("Given")


class Conditional(nn.Module, ABC, Generic[Given]):
    """p(. | given, context).

    The result has ``batch_shape == (b,)`` (``()`` or ``(1,)`` when neither given nor context has a batch) and a fixed
    ``event_shape``; its parameters are float32 even under autocast. It must offer ``log_prob`` and ``sample``; encoders
    ``rsample`` too; ``mean`` where there is one.
    """

    @abstractmethod
    def forward(self, given: Given, context: Context = {}) -> Distribution:
        """Return the distribution."""


class Encoder(Conditional[Tensor]):
    """q(z | x, context), or a deterministic code (:class:`latentscape.dist.delta.Delta`)."""


class Decoder(Conditional[Latents]):
    """p(x | z, context); ``event_shape`` equals ``x.shape[1:]``, and densities are in the units of x."""


class Prior(Conditional["Distribution | None"]):
    """p(z | context). ``given`` is q where a prior needs the encoder (VampPrior), else ``None``."""

    @property
    def pseudo_inputs(self) -> Tensor | None:
        """The learnt inputs ``[K, *event]`` of a VampPrior; ``None`` for every other prior."""
        return None

    @property
    def learnt(self) -> bool:
        """Whether training is to move this prior; it then needs an objective that knows its density."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def prime(self, x: Tensor) -> None:
        """Set what begins from data to these items ``[b, *event]``; nothing, for most priors."""
        return


def point(distribution: Distribution) -> Tensor:
    """Return the mean of a distribution where it has one, else a sample (a categorical gives its mode)."""
    try:
        return distribution.mean
    except NotImplementedError:
        pass
    try:
        return distribution.mode
    except NotImplementedError:
        return distribution.sample()
