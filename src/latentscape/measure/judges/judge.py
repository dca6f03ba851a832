"""Judges: classifiers that look at samples, the same on every machine.

A judge is a small :class:`~latentscape.models.classifier.Classifier`, stored as float16 safetensors (computed in
float32) beside a JSON of what it is, how it was made and how often it is right. Its features and probabilities are what
Frechet distance, kernel distance and classifier score are taken in; figures of different judges do not compare.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.config import parse
from latentscape.core.errors import DataError, StorageError, UsageError, nearest
from latentscape.core.storage import digest_of, load_object, load_tensors, load_weights, save_json, save_tensors
from latentscape.measure.judges.spectrum import PitchSpectrum, PitchSpectrumConfig
from latentscape.models.classifier import Classifier, ClassifierConfig

FORMAT = 1
WEIGHTS = Path(__file__).parent / "weights"
"""Where the judges that come with the package lie."""
ROWS = 1000
"""Items that are judged at a time."""
KEYS = ("format", "name", "model", "event_shape", "view", "accuracy", "sha256")

JudgeName = Literal["mnist", "fashion-mnist", "notes"]


class Judge:
    """A classifier with the record of how it was made.

    Args:
        model: the classifier; used in evaluation mode.
        facts: the record, as the JSON holds it.

    Attributes:
        name: the source that it learnt from.
        heads: the classes of each label that it tells apart, in the order of their probabilities.
        facts: the record: recipe, data, accuracy, steps, seed, versions.
    """

    def __init__(self, model: Classifier, facts: Mapping[str, Any]) -> None:
        self.model = model.eval().requires_grad_(False)
        self.facts = dict(facts)
        self.name: str = self.facts["name"]
        self.heads = dict(model.config.heads)
        view = self.facts["view"]
        self.view = None if view is None else PitchSpectrum(parse(PitchSpectrumConfig, view, f"judge {self.name}"))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the first head."""
        return self.model.classes

    @property
    def accuracy(self) -> float:
        """Share of test items that the first head is right about; ``facts["accuracy"]`` has every head's."""
        return float(self.facts["accuracy"][next(iter(self.heads))])

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.last.weight.device

    def to(self, device: torch.device | str) -> "Judge":
        """Move to a device, and return itself."""
        self.model.to(device)
        return self

    def sound(self, waves: Float[Tensor, "b n"]) -> Float[Tensor, "b k"]:
        """Return what this judge takes, of stretches of sound at its sample rate (``view.config.sample_rate``, Hz).

        Level and length do not matter: a stretch is heard whole (see :mod:`.spectrum`), and has 8,192 samples or more.

        Raises:
            UsageError: this judge looks at images.
            DataError: the stretches are too short.
        """
        if self.view is None:
            raise UsageError(f"the judge '{self.name}' looks at images, it can't hear sound")
        return self.view(waves.float())

    def probabilities(self, x: Tensor, head: str | None = None) -> Float[Tensor, "b k"]:
        """Return p(y | x) on the judge's device.

        Args:
            x: images ``[b, 1, 28, 28]``, grey in [0, 1] (what lies outside is clipped, as on a screen); or
                :meth:`sound`'s.
            head: a name of ``heads``; the first unless named.

        Raises:
            DataError: x has another shape, or is not finite.
            UsageError: there is no such head.
        """
        with torch.no_grad():
            return torch.cat([self.model.probabilities(one, head) for one in self._batches(x)])

    def features(self, x: Tensor) -> Float[Tensor, "b w"]:
        """Return the last hidden layer on the judge's device; x and errors as in :meth:`probabilities`."""
        with torch.no_grad():
            return torch.cat([self.model.features(one) for one in self._batches(x)])

    def _batches(self, x: Tensor) -> tuple[Tensor, ...]:
        if tuple(x.shape[1:]) != self.model.event_shape or not len(x):
            expected = ", ".join(map(str, self.model.event_shape))
            raise DataError(f"the judge '{self.name}' got shape {tuple(x.shape)}, expected (b, {expected}), b > 0")
        x = x.to(self.device, torch.float32)
        if not bool(x.isfinite().all()):
            raise DataError(f"the judge '{self.name}' got NaN or infinity")
        return (x if self.view else x.clamp(0, 1)).split(ROWS)

    def save(self, path: Path) -> None:
        """Write ``path`` (.safetensors, float16) and the record beside it (.json)."""
        path = Path(path).with_suffix(".safetensors")
        save_tensors(path, {name: value.half() for name, value in self.model.state_dict().items()})
        self.facts["sha256"] = digest_of(path)
        save_json(path.with_suffix(".json"), self.facts)

    @classmethod
    def load(cls, path: Path) -> "Judge":
        """Read what :meth:`save` wrote.

        Raises:
            StorageError: a file is missing, damaged, of a newer format, or the two do not belong together.
        """
        path = Path(path).with_suffix(".safetensors")
        record = path.with_suffix(".json")
        facts = load_object(record, KEYS)
        if facts["format"] != FORMAT:
            raise StorageError(f"{record} has format {facts['format']}, this version reads {FORMAT}")
        tensors = load_tensors(path)
        if digest_of(path) != facts["sha256"]:
            raise StorageError(f"{path} is not the file that {record.name} describes: its SHA-256 is another")
        model = Classifier(parse(ClassifierConfig, facts["model"], f"{record}"), tuple(facts["event_shape"]))
        load_weights(model, {name: value.float() for name, value in tensors.items()}, path)
        return cls(model, facts)


def judge_of(name: str, device: torch.device | str = "cpu") -> Judge:
    """Return a judge that comes with the package: ``mnist``, ``fashion-mnist`` or ``notes``.

    Raises:
        UsageError: there is no such judge.
    """
    if name not in get_args(JudgeName):
        raise UsageError(f"no judge '{name}'{nearest(name, get_args(JudgeName))}")
    return Judge.load(WEIGHTS / f"{name}.safetensors").to(device)
