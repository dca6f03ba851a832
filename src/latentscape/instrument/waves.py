"""Waves: a loaded run of an autoregressive model, which has no latent space but makes sound by itself.

Letters: c channels, n samples, k sounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.instrument.labels import Labels, context_of
from latentscape.models.autoregressive import Autoregressive
from latentscape.models.bounds import evaluating
from latentscape.nets.wavenet_sampler import Manner, Storage
from latentscape.signal.representation import Representation


@dataclass(frozen=True, eq=False)
class Waves:
    """A model of waves and its view of sound.

    Attributes:
        model: the model.
        representation: one number a sample: waveform or mu-law codes.
        vocabulary: label -> its values.
        config: the run's whole configuration.
        name: of the run.
    """

    model: Autoregressive
    representation: Representation
    vocabulary: dict[str, tuple[str, ...]]
    config: dict[str, Any]
    name: str = ""

    def sample(
        self,
        count: int = 1,
        seconds: float = 2.0,
        *,
        seed: int = 0,
        labels: Labels | Sequence[Labels] | None = None,
        manner: Manner = Manner(),
        prime: Float[Tensor, "c n"] | None = None,
        threads: int = 1,
        storage: Storage = "float32",
    ) -> Float[Tensor, "k c m"]:
        """Return new sounds ``[count, 1, samples]``.

        Args:
            count: of sounds; they are made in step.
            seconds: s of each, what it is begun with among them.
            seed: of the draws; sound i depends on (seed, i) and its labels alone.
            labels: of all sounds, or of each; those not given are unknown.
            manner: of drawing: temperature, nucleus, strength of the labels.
            prime: a sound at the representation's rate that every one goes on from.
            threads: sounds are shared out among so many.
            storage: of the weights.

        Raises:
            UsageError: a label is not known, or the time is too short.
        """
        n = round(seconds * self.representation.sample_rate)
        if count < 1 or n < 1:
            raise UsageError(f"got {count} sounds of {seconds:g} s, expected at least one sample of one sound")
        each = [labels] * count if labels is None or not isinstance(labels, Sequence) else list(labels)
        if len(each) != count:
            raise UsageError(f"got labels of {len(each)} sounds, expected {count}")
        conditional = self.model.conditional
        cpu = torch.device("cpu")
        contexts = [context_of(one, self.vocabulary, 1, cpu) for one in each]
        context = {name: torch.cat([one[name] for one in contexts]) for name in self.vocabulary}
        begun = None
        if prime is not None:
            if prime.shape[1] >= n:
                raise UsageError(f"the sound to begin with has {prime.shape[1]} samples, and {n} were asked for")
            if not bool(prime.isfinite().all()):
                raise DataError("the sound to begin with holds NaN or infinity")
            begun = self.representation.analyse(prime[None]).expand(count, -1, -1)
        with evaluating(self.model):
            heard = conditional.heard(None, {name: value.to(self.device) for name, value in context.items()}, count)
            x = conditional.draw(
                n, count, heard, seed=seed, manner=manner, prime=begun, threads=threads, storage=storage
            )
        return self.representation.synthesise(x.cpu(), n)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device
