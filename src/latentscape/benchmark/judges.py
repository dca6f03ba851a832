"""The maker of judges: ``python -m latentscape.benchmark.judges mnist --out FILE``.

A judge is trained like any model, by :func:`latentscape.train.loop.fit`, on the training part of its source, and its
accuracy is measured on the test part with the weights as they are stored. Everything that decided about it goes into
its JSON. ``--out`` left out re-makes the file that comes with the package.

Letters: b batch, k bands, s semitones.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from latentscape.core.config import Record, assignment, merge, parse
from latentscape.core.errors import DataError, LatentscapeError, UsageError, nearest
from latentscape.core.random import seeded, torch_stream
from latentscape.data.corpus import ImageCorpus, SoundCorpus, SourceOptions
from latentscape.data.images import ImageExamples
from latentscape.data.sources import open_source
from latentscape.data.split import PartName, split_corpus
from latentscape.measure.judges.judge import FORMAT, WEIGHTS, Judge
from latentscape.measure.judges.spectrum import PitchSpectrum, PitchSpectrumConfig
from latentscape.models.classifier import Classifier, ClassifierConfig
from latentscape.models.model import Model, Step
from latentscape.models.objectives import Reconstruction, ReconstructionConfig
from latentscape.nets.build import NetConfig
from latentscape.nets.conv import ConvConfig
from latentscape.train.config import TrainConfig
from latentscape.train.loop import fit

Batch = tuple[Tensor, dict[str, Tensor]]
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
VALIDATION_ITEMS = 2000
SPLIT_SEED = 0
"""As in :mod:`latentscape.experiment.run`: judges and models learn from the same training part."""


class ImageWarp(Record):
    """How training images are varied, each uniformly within plus and minus its number.

    Attributes:
        shift: pixels, along either axis.
        rotate: degrees.
        scale: of the size, and for itself of height against width.
        shear: of the upright.
        flip: mirror half of them.
    """

    shift: NonNegativeFloat = 0.0
    rotate: NonNegativeFloat = 0.0
    scale: NonNegativeFloat = 0.0
    shear: NonNegativeFloat = 0.0
    flip: bool = False


class SoundWarp(Record):
    """How training notes are varied; a stretch of any length is cut anywhere, and loudness does not matter.

    Attributes:
        semitones: shift of pitch, whole numbers within plus and minus this; the pitch class is shifted with it.
        noise_db: level of white noise in a band, dB against the loudest band.
        tilt: dB an octave, within plus and minus this: another room, another microphone.
    """

    semitones: NonNegativeInt = 0
    noise_db: tuple[float, float] = (-100.0, -100.0)
    tilt: NonNegativeFloat = 0.0


class JudgeRecipe(Record):
    """How a judge is made.

    Attributes:
        source: name of the data set.
        net, features, dropout: as in :class:`ClassifierConfig`.
        images: how images are varied.
        sounds: how sounds are varied.
        view: how sound is heard.
        train: as in ``docs/training.md``.
    """

    source: str
    net: NetConfig = ConvConfig(channels=(16, 32, 64), kernel=3, blocks=1, norm=True)
    features: int = Field(64, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    images: ImageWarp = ImageWarp()
    sounds: SoundWarp = SoundWarp()
    view: PitchSpectrumConfig = PitchSpectrumConfig()
    train: TrainConfig


TRAIN = TrainConfig(
    batch_size=128,
    learning_rate=2e-3,
    warm_up=200,
    optimiser="adamw",
    weight_decay=0.01,
    averaging=0.998,
    validate_every=1000,
    keep="last",
    precision="32",
    threads=1,
    accelerator="cpu",
    tensorboard=False,
)
RECIPES: dict[str, JudgeRecipe] = {
    "mnist": JudgeRecipe(
        source="mnist",
        images=ImageWarp(shift=2.0, rotate=12.0, scale=0.1, shear=0.1),
        train=TRAIN.model_copy(update={"max_steps": 4500}),
    ),
    "fashion-mnist": JudgeRecipe(
        source="fashion-mnist",
        net=ConvConfig(channels=(24, 48, 64), kernel=3, blocks=1, norm=True),
        images=ImageWarp(flip=True),
        dropout=0.3,
        train=TRAIN.model_copy(update={"max_steps": 4500, "weight_decay": 0.05}),
    ),
    "notes": JudgeRecipe(
        source="notes",
        net=ConvConfig(channels=(24, 32, 48), kernel=5),
        dropout=0.3,
        sounds=SoundWarp(semitones=2, noise_db=(-80.0, -45.0), tilt=0.5),
        train=TRAIN.model_copy(update={"max_steps": 4000}),
    ),
}


@dataclass(frozen=True)
class Task:
    """What a judge learns, and what it is asked.

    Attributes:
        data: the data, as told beside a figure.
        digest: of the corpus.
        heads: classes of each label.
        units: mean and scale of x.
        batch: the training batch of a step.
        valid: looked at in training.
        tests: the test part, by the name of its accuracy's key in the JSON: ``accuracy``, and other ways to ask.
    """

    data: str
    digest: str
    heads: dict[str, tuple[str, ...]]
    units: tuple[Tensor, Tensor]
    batch: Callable[[int], Batch]
    valid: Batch
    tests: Mapping[str, Batch]


def make(name: str, recipe: JudgeRecipe | None = None, *, progress: bool = True) -> Judge:
    """Train a judge and measure it.

    Args:
        name: of the judge; its recipe unless another is given.
        recipe: how it is made.
        progress: show the loop's bar.

    Raises:
        UsageError: there is no recipe of this name.
        LatentscapeError: the data are not here, or can't be used.
    """
    if recipe is None:
        if name not in RECIPES:
            raise UsageError(f"no recipe for a judge '{name}'{nearest(name, RECIPES)}")
        recipe = RECIPES[name]
    corpus = open_source(recipe.source, SourceOptions(sample_rate=recipe.view.sample_rate))
    sounds = isinstance(corpus, SoundCorpus)
    task = hear(recipe, corpus) if sounds else look(recipe, corpus)
    config = ClassifierConfig(heads=task.heads, net=recipe.net, features=recipe.features, dropout=recipe.dropout)
    seed = recipe.train.seed
    with seeded(seed, "weights"):
        model = Classifier(config, tuple(task.batch(0)[0].shape[1:]), units=task.units)
    model.check(*task.batch(0))
    with TemporaryDirectory() as run:
        step = Step(model, Reconstruction(ReconstructionConfig()))
        outcome = fit(step, task.batch, asked(task.valid), recipe.train, Path(run), progress=progress)
    model.half().float()  # as it is stored
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "model": config.model_dump(mode="json"),
        "event_shape": list(model.event_shape),
        "view": recipe.view.model_dump(mode="json") if sounds else None,
        "parameters": sum(one.numel() for one in model.parameters()),
        "data": {"source": recipe.source, "is": task.data, "digest": task.digest},
        "recipe": recipe.model_dump(mode="json", exclude={"images"} if sounds else {"sounds", "view"}),
        "steps": outcome.step,
        "seconds": round(outcome.seconds, 1),
        "seed": seed,
        "device": outcome.settled.device,
        "threads": outcome.settled.threads,
        "versions": {name: version(name) for name in ("latentscape", "torch", "numpy")}
        | {"python": platform.python_version(), "machine": platform.machine()},
        "test_items": len(task.tests["accuracy"][0]),
    }
    return Judge(model, facts | {key: accuracies(model, batch) for key, batch in task.tests.items()})


@torch.no_grad()
def accuracies(model: Classifier, batch: Batch) -> dict[str, float]:
    """Return for each head the share of a batch that it is right about."""
    x, labels = batch
    model.eval()
    found = zip(*(model.logits(one) for one in x.split(1000)), strict=True)
    heads = zip(model.config.heads, found, strict=True)
    return {
        name: round(float((torch.cat(logits).argmax(1) == labels[name]).double().mean()), 6) for name, logits in heads
    }


def asked(valid: Batch) -> Callable[[Model], dict[str, float]]:
    """Return what the loop asks between steps: cross-entropy (nats an item) and accuracies."""

    @torch.no_grad()
    def validate(model: Model) -> dict[str, float]:
        assert isinstance(model, Classifier)
        return {"loss": float(model.terms(*valid).distortion.mean())} | {
            f"accuracy_{name}": value for name, value in accuracies(model, valid).items()
        }

    return validate


# ------------------------------------------------------------------------------------------------------------- images


def look(recipe: JudgeRecipe, corpus: ImageCorpus) -> Task:
    """Return the task of telling grey images apart by their label."""
    seed = recipe.train.seed
    examples = ImageExamples(corpus, split_corpus(corpus, seed=SPLIT_SEED), seed=seed, conditions=("label",))

    def batch(step: int) -> Batch:
        x, labels = examples.batch(step, recipe.train.batch_size)
        return warp(recipe.images, x, torch_stream(seed, "warp", step)), labels

    def whole(part: PartName, limit: int | None = None) -> Batch:
        return next(examples.held(part, len(corpus.images), limit))

    return Task(
        data=examples.describe(),
        digest=corpus.digest,
        heads=dict(examples.vocabulary),
        units=examples.units(),
        batch=batch,
        valid=whole("valid", VALIDATION_ITEMS),
        tests={"accuracy": whole("test")},
    )


def warp(how: ImageWarp, x: Tensor, stream: torch.Generator) -> Tensor:
    """Return images ``[b, c, h, w]`` seen through random affine maps, one each; what comes from outside is black."""
    b, _, h, w = x.shape
    u = 2 * torch.rand(b, 6, generator=stream) - 1
    angle = torch.deg2rad(how.rotate * u[:, 0])
    tall, wide = ((1 + how.scale * (u[:, 1] + sign * u[:, 2] / 2)).reciprocal() for sign in (1, -1))
    if how.flip:
        wide = wide * torch.where(torch.rand(b, generator=stream) < 0.5, -1.0, 1.0)
    cos, sin, shear = angle.cos(), angle.sin(), how.shear * u[:, 3]
    rows = (
        torch.stack([wide * cos, wide * (shear * cos - sin), 2 * how.shift / w * u[:, 4]], dim=1),
        torch.stack([tall * sin, tall * (shear * sin + cos), 2 * how.shift / h * u[:, 5]], dim=1),
    )
    grid = affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False)


# ------------------------------------------------------------------------------------------------------------- sounds


class Notes:
    """The band powers of every frame of a part's notes, summed up from each note's start, so that a mean is cheap.

    Args:
        corpus: with the labels ``instrument`` and ``midi``.
        part: of its split.
        view: how sound is heard.
        margin: bands kept beyond either end of the axis, to shift the rest into.
        instruments: in the order of their codes; the part's own, sorted, unless given.

    Raises:
        DataError: the part has an instrument that is not among them.
    """

    def __init__(
        self,
        corpus: SoundCorpus,
        part: PartName,
        view: PitchSpectrumConfig,
        margin: int,
        instruments: tuple[str, ...] = (),
    ) -> None:
        wide = {"low_hz": view.low_hz * 2 ** (-margin / 24), "bands": view.bands + 2 * margin}
        spectrum = PitchSpectrum(view.model_copy(update=wide))
        sums: list[Tensor] = []
        labels: list[tuple[str, int]] = []
        for clip in split_corpus(corpus, seed=SPLIT_SEED).clips(corpus, part):
            wave = torch.from_numpy(corpus.wave(clip).copy())
            wave = torch.nn.functional.pad(wave, (0, max(0, view.window - wave.shape[1])))
            power = spectrum.frames(wave)[0].double()
            sums.append(torch.cat([torch.zeros_like(power[:1]), power.cumsum(0)]))
            labels.append((str(clip.labels["instrument"]), round(float(clip.labels["midi"]))))
        self.instruments = instruments or tuple(sorted({instrument for instrument, _ in labels}))
        unheard = {instrument for instrument, _ in labels} - set(self.instruments)
        if unheard:
            raise DataError(f"{corpus.name}: the {part} part has the instrument '{min(unheard)}', training has not")
        self.instrument = torch.tensor([self.instruments.index(instrument) for instrument, _ in labels])
        self.midi = torch.tensor([midi for _, midi in labels])
        self.sums = torch.cat(sums)
        self.frames = torch.tensor([len(one) - 1 for one in sums])
        self.first = torch.tensor([len(one) for one in sums]).cumsum(0) - self.frames - 1
        self.white = spectrum.filters.sum(0)
        self.margin = margin

    def __len__(self) -> int:
        return len(self.frames)

    def mean(self, notes: Tensor, start: Tensor, frames: Tensor) -> Tensor:
        """Return the mean power of stretches, ``[b, k + 2 margin]``."""
        low = self.first[notes] + start
        return ((self.sums[low + frames] - self.sums[low]) / frames[:, None]).clamp_min(0).float()

    def labels(self, notes: Tensor, semitones: Tensor | int = 0) -> dict[str, Tensor]:
        """Return the codes of both heads."""
        return {"instrument": self.instrument[notes], "pitch_class": (self.midi[notes] + semitones) % 12}

    def whole(self) -> Batch:
        """Return every note over its whole length: power, and codes."""
        notes = torch.arange(len(self))
        return self.mean(notes, torch.zeros_like(notes), self.frames), self.labels(notes)

    def middle(self) -> Batch:
        """Return the one frame in the middle of every note: power, and codes."""
        notes = torch.arange(len(self))
        return self.mean(notes, (self.frames - 1) // 2, torch.ones_like(notes)), self.labels(notes)


def hear(recipe: JudgeRecipe, corpus: SoundCorpus) -> Task:
    """Return the task of telling a note's instrument and pitch class."""
    how, size, seed = recipe.sounds, recipe.train.batch_size, recipe.train.seed
    margin = 2 * how.semitones
    train = Notes(corpus, "train", recipe.view, margin)
    valid, test = (Notes(corpus, part, recipe.view, margin, train.instruments) for part in ("valid", "test"))
    view = PitchSpectrum(recipe.view)
    octaves = torch.arange(recipe.view.bands) / 24

    def levels(batch: Batch) -> Batch:
        return view.levels(batch[0][:, margin : margin + recipe.view.bands]), batch[1]

    def batch(step: int) -> Batch:
        stream = torch_stream(seed, "notes", step)
        notes = torch.randint(len(train), (size,), generator=stream)
        u = torch.rand(size, 5, generator=stream)
        frames = 1 + (u[:, 0].square() * train.frames[notes]).long()  # short ones more often
        start = (u[:, 1] * (train.frames[notes] - frames + 1)).long()
        power = train.mean(notes, start, frames)
        semitones = (u[:, 2] * (2 * how.semitones + 1)).long() - how.semitones
        bands = margin + torch.arange(recipe.view.bands) - 2 * semitones[:, None]
        power = power.gather(1, bands)
        noise = 10 ** ((how.noise_db[0] + (how.noise_db[1] - how.noise_db[0]) * u[:, 3:4]) / 10)
        uneven = train.white[bands] / train.white.max() * (0.5 + torch.rand(power.shape, generator=stream))
        power = power + noise * power.amax(1, keepdim=True) * uneven
        power = power * 10 ** (how.tilt * (2 * u[:, 4:] - 1) * octaves / 10)
        return view.levels(power), train.labels(notes, semitones)

    probe = torch.cat([batch(step)[0] for step in range(20)])
    return Task(
        data=f"{corpus.name}, {corpus.sample_rate} Hz",
        digest=corpus.digest,
        heads={"instrument": train.instruments, "pitch_class": PITCH_CLASSES},
        units=(probe.mean(0), probe.std().expand(recipe.view.bands)),
        batch=batch,
        valid=levels(valid.whole()),
        tests={"accuracy": levels(test.whole()), "accuracy_shortest": levels(test.middle())},
    )


# -------------------------------------------------------------------------------------------------------------- shell


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a judge from the shell."""
    parser = argparse.ArgumentParser(prog="python -m latentscape.benchmark.judges", description="Make a judge.")
    parser.add_argument("name", help=", ".join(RECIPES))
    parser.add_argument("--out", type=Path, help="FILE.safetensors; the package's own file unless given")
    parser.add_argument("--set", action="append", default=[], help="key=value of the recipe, such as train.max_steps=9")
    parser.add_argument("--overwrite", action="store_true", help="replace a judge that is there")
    asked_for = parser.parse_args(arguments)
    try:
        if asked_for.name not in RECIPES:
            raise UsageError(f"no recipe for a judge '{asked_for.name}'{nearest(asked_for.name, RECIPES)}")
        values = RECIPES[asked_for.name].model_dump()
        for text in asked_for.set:
            values = merge(values, assignment(text))
        recipe: JudgeRecipe = parse(JudgeRecipe, values, "--set")
        path = (asked_for.out or WEIGHTS / asked_for.name).with_suffix(".safetensors")
        if path.exists() and not asked_for.overwrite:
            raise UsageError(f"{path} is there already; --overwrite replaces it")
        began = time.perf_counter()
        judge = make(asked_for.name, recipe)
        judge.save(path)
    except LatentscapeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    found = ", ".join(
        f"{key} {head} {value:.2%}"
        for key, values in judge.facts.items()
        if key.startswith("accuracy")
        for head, value in values.items()
    )
    kilobytes = path.stat().st_size / 1000
    print(f"{path}: {found}; {judge.facts['parameters']} parameters, {kilobytes:.0f} kB, ", end="")
    print(
        f"{judge.facts['steps']} steps in {judge.facts['seconds']:.0f} s ({time.perf_counter() - began:.0f} s in all)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
