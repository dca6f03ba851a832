"""The proof that a code is used, for every run that has one: what it is worth in bits, and what is heard of it.

Likelihood (:mod:`latentscape.measure.use`), linear probes of the code, and free-running resynthesis: sounds of the test
part are sent through the model, the decoder hearing nothing but the code and what it made itself, and a judge that
learnt from real training recordings alone names them (:mod:`latentscape.measure.portraits`). Its accuracy on the real
test recordings stands beside. Where the code has several layers, the top of one item is put on the rest of another, and
the judge is asked whose name it now has (the swap test).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.storage import name_of
from latentscape.data.corpus import Column
from latentscape.data.examples import Batch, Examples
from latentscape.data.images import ImageExamples
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import PartName
from latentscape.experiment.figures import Figures
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Say
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load, load_waves
from latentscape.measure.latent import examine
from latentscape.measure.measure import Number
from latentscape.measure.portraits import Quick, explained, learn, portrait, studied
from latentscape.measure.sounds import MelDistance
from latentscape.measure.use import Costs, bits, condition_use, costs, derangement, ignored, latent_use
from latentscape.models.autoregressive import SERIES, VECTOR, AutoregressiveConfig
from latentscape.models.model import Model

MOST_ITEMS = 2000
LOOKS = 4
"""So many times a validation's number of values is measured."""
LABELS = ("instrument", "family", "speaker", "sex", "digit", "label")
"""What judges are asked, where a corpus knows it."""
NUMBERS = ("midi", "pitch")
"""What a linear probe is asked for as a number, where a corpus knows it of every clip."""
SAID = {SERIES: "The series that it hears", VECTOR: "The vector of words"}
"""What a condition that is no label is called."""
MOST_CLASSES = 48
HEARD = {"train": 1500, "test": 60}
"""Recordings that a judge learns from, and that are sent through the model."""
PICTURES = {"train": 5000, "test": 400}
SECONDS = 4.0
"""Of a recording that is sent through the model, at most."""


def some(model: Model, examples: Examples, part: PartName, looks: int = LOOKS) -> Iterator[Batch]:
    """Yield items of a part, spread over it, as many and as few at a time as the model's cost allows."""
    limit = max(2, min(MOST_ITEMS, looks * model.glance // math.prod(examples.event_shape)))
    return examples.held(part, min(model.rows, limit), limit)


def sequential_figures(instrument: Instrument, examples: Examples, part: PartName) -> dict[str, Number]:
    """Return the bound of a model whose decoder draws value after value, in nats an item and in bits a value."""
    held = held_on(instrument.device, some(instrument.model, examples, part))
    return examine(instrument.model, held).numbers() | bits(instrument.model, held)


def held_on(device: torch.device, batches: Iterable[Batch]) -> list[Batch]:
    """Return batches on a device."""
    return [(x.to(device), {name: value.to(device) for name, value in context.items()}) for x, context in batches]


def use_of_labels(model: Model, examples: Examples, part: PartName, device: torch.device) -> dict[str, Number]:
    """Return what the conditions that a model is told are worth to it; nothing for one that is told none."""
    config = getattr(model, "config", None)
    names = tuple(getattr(config, "condition", ()))
    if isinstance(config, AutoregressiveConfig):
        names += (SERIES,) * (config.series is not None) + (VECTOR,) * (config.vector > 0)
    return condition_use(model, held_on(device, some(model, examples, part, 1)), names) if names else {}


def words_on_labels(numbers: Mapping[str, Number]) -> tuple[str, ...]:
    """Return the verdict on the labels, a sentence each."""
    deaf = ignored(numbers)
    lines = []
    for name in (name.removeprefix("swap_") for name in numbers if name.startswith("swap_") and "_error" not in name):
        worth = f"told another's {name}, a value costs {numbers[f'swap_{name}'].value:+.4f} bits"
        what = SAID.get(name, f"The label {name}")
        lines.append(f"{what} is {'ignored' if name in deaf else 'heard'}: {worth}.")
    return tuple(lines)


def use_of_latents(
    run: Path, *, without: Path | None = None, device: str = "auto", say: Say = lambda line: None
) -> Figures:
    """Measure what a run's code is worth, and what is heard of it, on its test part.

    Args:
        run: the run folder.
        without: a run on the same windows whose model has no code: what they cost it stands beside.
        device: where to compute.
        say: gets a line when something begins.

    Raises:
        UsageError: the run has no latent space, or the other was made of other windows.
        LatentscapeError: a run is damaged, or its corpus can't be read.
    """
    instrument = load(run, device)
    with open_run(run).examples as examples:
        held = held_on(instrument.device, some(instrument.model, examples, "test"))
        bare = None if without is None else _costs_without(without, examples, instrument.model, device)
        say("likelihood: with the code, with another's, without")
        numbers = latent_use(instrument.model, held, without=bare)
        say("probes and resynthesis")
        if isinstance(examples, SoundExamples):
            numbers |= _heard(instrument, examples)
        else:
            assert isinstance(examples, ImageExamples)
            numbers |= _seen(instrument, examples)
    return Figures(f"{name_of(run)}, use of the code ({sum(len(x) for x, _ in held)} items of the test part):", numbers)


def _costs_without(run: Path, examples: Examples, model: Model, device: str) -> Costs:
    """Return what the same windows cost another run's model."""
    waves = load_waves(run, device)
    other = waves.model if waves is not None else load(run, device).model
    prepared = open_run(run)
    with prepared.examples as own:
        if own.event_shape != examples.event_shape or own.describe() != examples.describe():
            raise UsageError(f"--without {run} was made of {own.describe()}, {own.event_shape}: other windows")
        limit = max(2, min(MOST_ITEMS, LOOKS * model.glance // math.prod(examples.event_shape)))
        return costs(other, held_on(next(other.parameters()).device, own.held("test", min(other.rows, limit), limit)))


def labels_to_judge(columns: Mapping[str, Column], rows: Sequence[int]) -> dict[str, list[str]]:
    """Return label -> its values over some rows, of the labels that a judge can be asked."""
    found = {}
    for name in LABELS:
        if name in columns:
            values = [columns[name].text(row) or "" for row in rows]
            if all(values) and 2 <= len(set(values)) <= MOST_CLASSES:
                found[name] = values
    return found


def _heard(instrument: Instrument, examples: SoundExamples) -> dict[str, Number]:
    corpus, rate = examples.corpus, examples.corpus.sample_rate
    most = round(SECONDS * rate)
    waves: dict[str, list[Tensor]] = {}
    rows: dict[str, list[int]] = {}
    for part, count in HEARD.items():
        clips = list(examples.sounds(part, count, SECONDS).clips(corpus))  # type: ignore[arg-type]
        cut = [torch.from_numpy(corpus.wave(clip, 0, min(clip.frames, most)).copy()) for clip in clips]
        pairs = [(wave, clip.row) for wave, clip in zip(cut, clips, strict=True) if bool(wave.any())]
        waves[part], rows[part] = [wave for wave, _ in pairs], [row for _, row in pairs]
    courses = [instrument.encode(wave) for wave in waves["test"]]
    made = [
        instrument.render(course, wave.shape[1] / rate)[:, : wave.shape[1]]
        for course, wave in zip(courses, waves["test"], strict=True)
    ]
    swap = derangement(len(courses), 0).tolist() if len(courses) > 1 else [0]
    window = 1 << round(math.log2(0.064 * rate))
    distance = MelDistance(rate, window, window // 4, 40)
    own = [distance.metric(a, b) for a, b in zip(waves["test"], made, strict=True)]
    other = [_common(distance, waves["test"][at], made[swap[at]]) for at in range(len(made))]
    numbers = {
        "mel_distance": Number(float(np.mean(own)), "dB"),
        "mel_distance_other": Number(float(np.mean(other)), "dB"),
    }
    means = {
        "train": torch.stack([instrument.encode(wave).mean(0) for wave in waves["train"]]).numpy(),
        "test": torch.stack([course.mean(0) for course in courses]).numpy(),
    }
    numbers |= _told(corpus.clips.columns, rows, means)
    names = {part: labels_to_judge(corpus.clips.columns, rows[part]) for part in HEARD}
    known = [label for label in names["train"] if label in names["test"]]
    if not known:
        return numbers
    lesson, whose = studied(waves["train"], rate)
    faces = np.stack([portrait(wave, rate) for wave in waves["test"]])
    again = np.stack([portrait(wave, rate) for wave in made])
    mixed = None
    if len(instrument.model.latent_shapes) > 1:
        mixed = np.stack([portrait(wave, rate) for wave in _swapped(instrument, courses, waves["test"], swap)])
    for label in known:
        there = [names["test"][label][at] in set(names["train"][label]) for at in range(len(again))]
        if not any(there):  # speakers that training has not heard can't be named
            continue
        told = {part: names[part][label] for part in HEARD}
        judge = learn(lesson, [told["train"][at] for at in whose])
        numbers |= _judged(label, judge, faces, again, means, told, np.array(there))
        if mixed is not None:
            numbers |= swap_shares(label, judge.name(mixed), names["test"][label], swap, there)
    return numbers


def _told(
    columns: Mapping[str, Column], rows: Mapping[str, Sequence[int]], codes: Mapping[str, np.ndarray]
) -> dict[str, Number]:
    """Return R squared of linear probes of the code for labels that are numbers."""
    found = {}
    for name in NUMBERS:
        if name not in columns or not columns[name].numeric:
            continue
        values = {part: np.array([float(columns[name].text(row) or math.nan) for row in rows[part]]) for part in HEARD}
        if len(set(values["test"])) > 1 and all(np.isfinite(one).all() for one in values.values()):
            worth = explained(codes["train"], values["train"], codes["test"], values["test"])
            found[f"{name}_r2_of_code"] = Number(worth, "")
    return found


def swap_shares(
    label: str, given: Sequence[str], truth: Sequence[str], swap: Sequence[int], known: Sequence[bool]
) -> dict[str, Number]:
    """Return how often a sound with another's top layer is given the other's name, and how often its own.

    Args:
        label: what was asked.
        given: by the judge.
        truth: names of the items.
        swap: whose top layer each was given.
        known: which names the judge has learnt; it can't give others, so that swaps with those are not counted.
    """
    pairs = [(at, other) for at, other in enumerate(swap) if truth[at] != truth[other] and known[at] and known[other]]
    if not pairs:
        return {}
    shares = {
        "top": np.mean([given[at] == truth[other] for at, other in pairs]),
        "rest": np.mean([given[at] == truth[at] for at, _ in pairs]),
    }
    return {f"swap_{label}_of_{whose}": Number(float(share), "") for whose, share in shares.items()}


def _common(distance: MelDistance, a: Tensor, b: Tensor) -> float:
    length = min(a.shape[1], b.shape[1])
    return distance.metric(a[:, :length], b[:, :length])


def _swapped(
    instrument: Instrument, courses: Sequence[Tensor], waves: Sequence[Tensor], swap: Sequence[int]
) -> list[Tensor]:
    """Return sounds of which the top layer is another's (its mean), the rest their own."""
    assert instrument.representation is not None
    top = math.prod(instrument.model.latent_shapes[0])
    rate = instrument.representation.sample_rate
    found = []
    for at, (course, wave) in enumerate(zip(courses, waves, strict=True)):
        points = torch.cat([courses[swap[at]][:, :top].mean(0).expand(len(course), -1), course[:, top:]], 1)
        found.append(instrument.render(points, wave.shape[1] / rate))
    return found


def _seen(instrument: Instrument, examples: ImageExamples) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    images, rows = {}, {}
    for part, count in PICTURES.items():
        batches = list(examples.held(part, 500, count))  # type: ignore[arg-type]
        images[part] = torch.cat([x for x, _ in batches])
        every = examples.split.parts[part].rows  # type: ignore[index]
        rows[part] = [int(every[at * len(every) // len(images[part])]) for at in range(len(images[part]))]
    means = {part: instrument.encode(x).numpy() for part, x in images.items()}
    again = instrument.decode(torch.from_numpy(means["test"])).flatten(1).numpy()
    faces = {part: x.flatten(1).float().numpy() for part, x in images.items()}
    names = {part: labels_to_judge(examples.corpus.columns, rows[part]) for part in PICTURES}
    for label in names["train"]:
        if label in names["test"]:
            told = {part: names[part][label] for part in PICTURES}
            judge = learn(faces["train"], told["train"])
            numbers |= _judged(label, judge, faces["test"], again, means, told, np.ones(len(again), bool))
    return numbers


def _judged(
    label: str,
    judge: Quick,
    real: np.ndarray,
    made: np.ndarray,
    codes: Mapping[str, np.ndarray],
    names: Mapping[str, list[str]],
    known: np.ndarray,
) -> dict[str, Number]:
    """Return accuracies of a probe of the code, and of a judge on real and on made test items."""
    truth = [name for name, there in zip(names["test"], known, strict=True) if there]
    probe = learn(codes["train"], names["train"], hidden=0)
    found = {
        f"{label}_chance": chance(names["train"], truth),
        f"{label}_probe_of_code": probe.accuracy(codes["test"][known], truth),
        f"{label}_judge_of_real": judge.accuracy(real[known], truth),
        f"{label}_judge_of_made": judge.accuracy(made[known], truth),
    }
    return {name: Number(float(value), "") for name, value in found.items()}


def chance(learnt: Sequence[str], truth: Sequence[str]) -> float:
    """Return the accuracy of who always says the commonest name learnt; of several equals the first by alphabet."""
    common = max(sorted(set(learnt)), key=learnt.count)  # a set by itself has another order in every process
    return float(np.mean([name == common for name in truth]))
