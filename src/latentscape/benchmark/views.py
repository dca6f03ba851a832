"""What a benchmark looks at: images as they are shown, or stretches of sound as they are heard.

A model's draws and real held-out items are brought to one form, whatever the model was given: grey images in [0, 1], or
mono waves. Everything that compares draws with real items (:mod:`.figures`) goes through these few methods.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.data.corpus import Clip
from latentscape.data.examples import Examples, spread
from latentscape.data.images import ImageExamples
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import PartName
from latentscape.instrument.instrument import Instrument
from latentscape.measure.estimate import Estimate
from latentscape.measure.judges import Judge, judge_of
from latentscape.measure.samples import classifier_score, data_mmd
from latentscape.measure.sounds import descriptor_distances
from latentscape.signal import audio
from latentscape.signal.representation import Quality

IMAGE_JUDGES = {"mnist": "mnist", "mnist-static": "mnist", "fashion-mnist": "fashion-mnist"}
"""Which judge knows a source; others have none, and no numbers that need one."""
ROWS = 1000
WAVES = 64
SILENT = 1e-2
"""A stretch that nowhere passes this (-40 dBFS) is left out."""


class View(ABC):
    """One suite's way to look at items.

    Attributes:
        judge: whose features are compared; ``None`` where nobody knows the source.
        training: training items among which the nearest one is looked for.
    """

    judge: Judge | None
    training: int

    @abstractmethod
    def real(self, part: PartName, count: int) -> Tensor:
        """Return at most so many real items of a part, evenly spread."""

    @abstractmethod
    def make(self, instrument: Instrument, z: Tensor) -> Tensor:
        """Return the items that points ``[n, d]`` decode to."""

    @abstractmethod
    def judged(self, items: Tensor) -> Tensor:
        """Return items as the judge takes them."""

    @abstractmethod
    def compare(self, items: Tensor, real: Tensor, judged: Tensor | None) -> dict[str, Estimate]:
        """Return what only this suite measures of items beside real ones; ``judged`` is of ``items``."""

    def features(self, judged: Tensor) -> Tensor:
        """Return the judge's features of what :meth:`judged` gave."""
        assert self.judge is not None
        return self.judge.features(judged).cpu()


class ImageView(View):
    """Grey images in [0, 1]; bits where nothing else is known of a source."""

    training = 10_000

    def __init__(self, source: str, examples: ImageExamples) -> None:
        self.examples = examples
        self.has_grey = not examples.corpus.binary or examples.corpus.grey is not None
        name = IMAGE_JUDGES.get(source)
        self.judge = judge_of(name) if name is not None else None

    def real(self, part: PartName, count: int) -> Tensor:
        """Return grey originals; see :class:`View`."""
        if self.has_grey:
            return torch.cat(list(self.examples.grey(part, ROWS, count)))
        return torch.cat([x for x, _ in self.examples.held(part, ROWS, count)])

    def make(self, instrument: Instrument, z: Tensor) -> Tensor:
        """Return the means of p(x | z)."""
        return instrument.decode(z)

    def judged(self, items: Tensor) -> Tensor:
        """Return them as they are."""
        return items

    def compare(self, items: Tensor, real: Tensor, judged: Tensor | None) -> dict[str, Estimate]:
        """Return ``data_mmd`` and ``classifier_score``."""
        found = {"data_mmd": data_mmd(items, real)}
        if self.judge is not None and judged is not None:
            found["classifier_score"] = classifier_score(self.judge.probabilities(judged).cpu())
        return found


class SoundView(View):
    """Mono waves ``[n, samples]`` of one length."""

    training = 2000

    def __init__(self, examples: SoundExamples, seconds: float, quality: Quality) -> None:
        self.examples, self.quality = examples, quality
        self.rate = examples.corpus.sample_rate
        self.seconds, self.length = seconds, round(seconds * self.rate)
        self.judge = judge_of("notes")
        assert self.judge.view is not None
        self.judge_rate = self.judge.view.config.sample_rate

    def real(self, part: PartName, count: int) -> Tensor:
        """Return stretches that follow one another in the clips of a part, silent ones left out."""
        corpus = self.examples.corpus
        starts: list[tuple[Clip, int]] = []
        for clip in self.examples.split.clips(corpus, part):
            for start in range(0, clip.frames - self.length + 1, self.length):
                if abs(corpus.wave(clip, start, self.length)).max() > SILENT:
                    starts.append((clip, start))
        if len(starts) < 2:
            raise DataError(
                f"the {part} part of {corpus.name} has {len(starts)} stretches of {self.seconds:g} s that are not "
                "silent, expected at least 2; measuring.sound_seconds can be less"
            )
        chosen = [starts[index] for index in spread(len(starts), count).tolist()]
        return torch.stack([torch.from_numpy(corpus.wave(clip, at, self.length)[0].copy()) for clip, at in chosen])

    def make(self, instrument: Instrument, z: Tensor) -> Tensor:
        """Return every point held for the whole time, as ``latentscape sample`` does."""
        return torch.stack([instrument.render(row[None], self.seconds, quality=self.quality)[0] for row in z])

    def judged(self, items: Tensor) -> Tensor:
        """Return what the judge hears, at its rate."""
        assert self.judge is not None
        if self.rate != self.judge_rate:
            heard = [audio.resample(one[None].numpy(), self.rate, self.judge_rate)[0] for one in items]
            items = torch.stack([torch.from_numpy(one) for one in heard])
        return torch.cat([self.judge.sound(some) for some in items.split(WAVES)])

    def compare(self, items: Tensor, real: Tensor, judged: Tensor | None) -> dict[str, Estimate]:
        """Return ``classifier_score_instrument`` and the distances of descriptors, ``w1_...``."""
        assert self.judge is not None
        assert judged is not None
        found = descriptor_distances(items[:, None], real[:, None], self.rate)
        score = classifier_score(self.judge.probabilities(judged, head="instrument").cpu())
        return found | {"classifier_score_instrument": score}


def view_of(source: str, examples: Examples, seconds: float, quality: Quality) -> View:
    """Return the view of some examples.

    Args:
        source: chooses the judge of images.
        examples: of the run.
        seconds: s, length of a sound.
        quality: of the phase recovery.
    """
    if isinstance(examples, SoundExamples):
        return SoundView(examples, seconds, quality)
    assert isinstance(examples, ImageExamples)
    return ImageView(source, examples)
