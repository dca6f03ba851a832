"""Waves: a loaded run of an autoregressive model, which has no latent space but makes sound by itself.

Letters: c channels, n samples, k sounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError, UsageError
from latentscape.data.hearing import Place
from latentscape.data.word_vectors import WordVectors
from latentscape.instrument.hearing import Local
from latentscape.instrument.labels import Labels, context_of
from latentscape.models.autoregressive import SERIES, VECTOR, Autoregressive
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
        hearing: makes the series that it hears; ``None`` where it hears none.
        vectors: of the words that it is told of; ``None`` where it is told of none.
    """

    model: Autoregressive
    representation: Representation
    vocabulary: dict[str, tuple[str, ...]]
    config: dict[str, Any]
    name: str = ""
    hearing: Local | None = None
    vectors: WordVectors | None = None

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
        series: Float[Tensor, "k s j"] | None = None,
        words: Path | None = None,
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
            words: a file of word vectors, for words that the run does not keep; default: the one it learnt from.
            series: what every sound hears (:meth:`hear`); ``None``: nothing is known of it.

        Raises:
            UsageError: a label is not known, the time is too short, or the series is; a strength where conditions were
                never withheld in training.
        """
        if manner.strength != 1 and not self.model.strengthens:
            raise UsageError(
                f"a strength of {manner.strength:g} leads away from being told nothing, "
                f"which {self.name or 'this run'} never met; train it with --set model.condition_dropout=0.1"
            )
        n = round(seconds * self.representation.sample_rate)
        if count < 1 or n < 1:
            raise UsageError(f"got {count} sounds of {seconds:g} s, expected at least one sample of one sound")
        each = [labels] * count if labels is None or not isinstance(labels, Sequence) else list(labels)
        if len(each) != count:
            raise UsageError(f"got labels of {len(each)} sounds, expected {count}")
        conditional = self.model.conditional
        cpu = torch.device("cpu")
        label = None if self.vectors is None else self.vectors.label
        texts = [None if one is None or label is None else one.get(label) for one in each]
        each = [{name: value for name, value in (one or {}).items() if name != label} for one in each]
        contexts = [context_of(one, self.vocabulary, 1, cpu) for one in each]
        context = {name: torch.cat([one[name] for one in contexts]) for name in self.vocabulary}
        if series is not None:
            context[SERIES] = series
        if self.vectors is not None:
            context[VECTOR] = torch.stack(
                [self.vectors.of(None) if text is None else self.vectors.told(str(text), words) for text in texts]
            )
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

    def hear(self, wave: Float[Tensor, "1 n"], place: Place | None = None) -> Float[Tensor, "s j"]:
        """Return the series that this run hears of a recording at its rate.

        Raises:
            UsageError: it hears none.
            DataError: the wave holds NaN or infinity.
        """
        if self.hearing is None:
            raise UsageError(
                f"{self.name} hears nothing beside its own past, so it can't make a sound again; "
                "train one that does with `--recipe vocoder`"
            )
        if not bool(wave.isfinite().all()):
            raise DataError("got a wave that holds NaN or infinity")
        return self.hearing.listen(wave, place)

    def again(self, waves: Sequence[Float[Tensor, "1 _"]], **options: Any) -> list[Float[Tensor, "1 _"]]:
        """Return sounds made anew from what is heard of them alone (copy-synthesis); options as of :meth:`sample`."""
        return self.voiced([self.hear(wave) for wave in waves], [wave.shape[1] for wave in waves], **options)

    def voiced(
        self, series: Sequence[Float[Tensor, "s _"]], samples: Sequence[int], **options: Any
    ) -> list[Float[Tensor, "1 _"]]:
        """Return the sounds of several series, in step; each as long as is said, options as of :meth:`sample`."""
        steps = max(one.shape[1] for one in series)
        held = torch.stack([torch.cat([one, one[:, -1:].expand(-1, steps - one.shape[1])], 1) for one in series])
        made = self.sample(len(series), max(samples) / self.representation.sample_rate, series=held, **options)
        return [wave[:, :count] for wave, count in zip(made, samples, strict=True)]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device
