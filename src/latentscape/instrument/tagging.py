r"""A listener: a loaded run of a tagger. What it hears in a sound, what its layers make of it, how like two sounds are.

Letters: b sounds, c channels, n samples, f features, t frames, m segments of a sound, K classes, w width of the vector.

A sound is heard in segments as long as the model's window, spread evenly over it so that they cover it (one after the
window's hop, or a little closer); a shorter one is followed by silence. Its score for a tag is the mean of the
segments' probabilities (Dieleman and Schrauwen 2014, section 4.1). Nothing here is cut off from gradients: in a wave
that asks for them they flow from scores, logits, activations and embedding alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError, nearest
from latentscape.data.sounds import window_samples
from latentscape.models.tagger import Tagger
from latentscape.registry import Window
from latentscape.signal.representation import Representation

SEGMENTS = 64
"""Segments of a long sound that are heard at a time."""


@dataclass(frozen=True, eq=False)
class Hearing:
    """What was heard in one sound.

    Attributes:
        scores: p of every class or tag, the mean over segments.
        segments: p in each of them.
        starts: where each begins, s.
        embedding: mean vector of the segments.
    """

    scores: Float[Tensor, " k"]
    segments: Float[Tensor, "m k"]
    starts: tuple[float, ...]
    embedding: Float[Tensor, " w"]


@dataclass(frozen=True, eq=False)
class Listener:
    """A tagger and its view of sound.

    Attributes:
        model: the tagger, in evaluation mode; its weights ask for no gradients.
        representation: what it listens to.
        window: a segment, in frames.
        classes: names of classes or tags, in the order of scores.
        config: the run's whole configuration.
        name: of the run.
    """

    model: Tagger
    representation: Representation
    window: Window
    classes: tuple[str, ...]
    config: Mapping[str, Any]
    name: str = ""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.last.weight.device

    @property
    def sample_rate(self) -> int:
        """Hz of the waves that it takes."""
        return self.representation.sample_rate

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that :meth:`activations` gives, from sound to tags."""
        return self.model.layers

    @property
    def least(self) -> int:
        """Samples of the shortest sound that is not followed by silence."""
        return window_samples(self.representation, self.window)

    def place(self, tag: str) -> int:
        """Return the place of a class or tag among the scores.

        Raises:
            UsageError: it is not known; the nearest ones are offered.
        """
        if tag not in self.classes:
            raise UsageError(f"{self.name or 'this tagger'} knows no tag '{tag}'{nearest(tag, self.classes)}")
        return self.classes.index(tag)

    def features(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b f t"]:
        """Return what the model is shown of waves (the mean of their channels), at least one segment of it."""
        mono = wave.to(self.device, torch.float32).mean(1, keepdim=True)
        short = self.least - mono.shape[2]
        return self.representation.analyse(torch.nn.functional.pad(mono, (0, short)) if short > 0 else mono)

    def segments(self, features: Float[Tensor, "b f t"]) -> Float[Tensor, "b m f L"]:
        """Return the segments that cover features of at least one window."""
        starts = self.starts(features.shape[2])
        return torch.stack([features[..., start : start + self.window.length] for start in starts], 1)

    def starts(self, frames: int) -> list[int]:
        """Return the first frame of each segment of so many frames."""
        beyond = frames - self.window.length
        count = -(-beyond // self.window.hop) + 1
        return torch.linspace(0, beyond, count, dtype=torch.float64).round().long().tolist()

    def embeddings(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b m w"]:
        """Return the vector of every segment."""
        segments = self.segments(self.features(wave))
        return self.model.features(segments.flatten(0, 1)).unflatten(0, segments.shape[:2])

    def embed(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b w"]:
        """Return one vector a sound: the mean of its segments'."""
        return self.embeddings(wave).mean(1)

    def logits(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b m k"]:
        """Return the logits of every segment."""
        return self.model.last(self.embeddings(wave))

    def scores(self, wave: Float[Tensor, "b c n"]) -> Float[Tensor, "b k"]:
        """Return p of every class or tag, a sound: the mean over its segments."""
        return self.model.spread(self.logits(wave)).mean(1)

    def activations(
        self, wave: Float[Tensor, "b c n"] | None = None, *, features: Float[Tensor, "b f t"] | None = None
    ) -> dict[str, Tensor]:
        """Return what every layer makes of waves, or of their features, of any length: not cut into segments.

        ``[b, channels, t']`` of a layer along time, ``[b, channels, f', t']`` of a picture.

        Raises:
            UsageError: neither or both are given.
        """
        if (wave is None) == (features is None):
            raise UsageError("activations expected a wave or features, and not both")
        if features is None:
            assert wave is not None
            features = self.features(wave)
        return self.model.activations(features)

    def hear(self, wave: Float[Tensor, "c n"]) -> Hearing:
        """Return what is heard in a sound of any length, without gradients and a few segments at a time."""
        with torch.no_grad():
            features = self.features(wave[None])
            starts = self.starts(features.shape[2])
            vectors = []
            for first in range(0, len(starts), SEGMENTS):
                some = [features[0, :, s : s + self.window.length] for s in starts[first : first + SEGMENTS]]
                vectors.append(self.model.features(torch.stack(some)))
            vector = torch.cat(vectors)
            segments = self.model.spread(self.model.last(vector)).cpu()
            seconds = tuple(start / self.representation.frame_rate for start in starts)
            return Hearing(segments.mean(0), segments, seconds, vector.mean(0).cpu())

    def ranked(self, scores: Float[Tensor, " k"], most: int | None = None) -> list[tuple[str, float]]:
        """Return tags with their scores, the greatest first."""
        order = scores.argsort(descending=True, stable=True).tolist()[:most]
        return [(self.classes[place], float(scores[place])) for place in order]
