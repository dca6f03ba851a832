"""What the journeys of a run are measured against, and between which sounds they lead: all from its own corpus.

Which sounds and pairs is a function of their names, so runs on one corpus and split have the same.

The code of a sound is the one nearest to the mean of its codes, of windows at most 20 dB below its loudest: a code that
the encoder gave, not a mean that may lie beside the data. A model with conditions is told none unless labels are given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import PartName
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels
from latentscape.measure import journey as measures
from latentscape.measure.curves import Curves, curves_of
from latentscape.measure.journey import CorpusStatistics, Neighbourhood
from latentscape.models.bounds import evaluating
from latentscape.models.objectives import pack

SOUNDS = 100
"""Sounds of the training part that the corpus statistics are taken of."""
CLIP_SECONDS = 3.0
LEAST_SECONDS = 0.2
"""A shorter clip is filled up with silence."""
ITEMS = (4000, 1000)
"""Training and held-out frames (or windows) that distances are measured to, and relative to."""
VALUES = 1 << 25
"""Numbers that the training items hold at most."""
NEIGHBOURS = 5
LOUD_DB = 20.0
PAIRS = 16


@dataclass(frozen=True)
class Reference:
    """What the journeys of a run are measured against.

    Attributes:
        statistics: of the training part's sounds, and of its codes.
        data: decoded frames are compared with these training frames; ``None`` where too little is held out.
        codes: the same of codes.
        centre: of great circles: the mean code, or the origin where all codes have one norm.
    """

    statistics: CorpusStatistics
    data: Neighbourhood | None
    codes: Neighbourhood | None
    centre: Float[Tensor, " d"]


@dataclass(frozen=True)
class Place:
    """A sound as an end of paths: its name and its code ``[d]``."""

    name: str
    code: Float[Tensor, " d"]


def reference_of(instrument: Instrument, examples: SoundExamples, *, labels: Labels | None = None) -> Reference:
    """Return what a run's journeys are measured against, from its own corpus.

    Raises:
        DataError: the training part has no sound that sounds.
    """
    sounds = corpus_curves(examples)
    points = _items(examples, "train", ITEMS[0])
    held = _items(examples, held_part(examples), ITEMS[1])
    codes = _encode(instrument, points, labels)
    data = _neighbourhood(points.flatten(1).float(), held.flatten(1).float(), 1)
    near = _neighbourhood(codes, _encode(instrument, held, labels), NEIGHBOURS)
    norms = codes.norm(dim=1)
    round_space = bool(norms.std(correction=0) <= 1e-3 * norms.mean())
    centre = torch.zeros_like(instrument.centre) if round_space else instrument.centre
    return Reference(measures.statistics(sounds, codes), data, near, centre)


def corpus_curves(examples: SoundExamples) -> list[Curves]:
    """Return the curves of training sounds, which corpus statistics are taken of."""
    return [curves_of(wave, examples.corpus.sample_rate) for _, wave in heard(examples, "train", SOUNDS)]


def _neighbourhood(points: Tensor, held: Tensor, count: int) -> Neighbourhood | None:
    try:
        return Neighbourhood(points, held, count)
    except DataError:
        return None


def _items(examples: SoundExamples, part: PartName, most: int) -> Tensor:
    """Return x of frames or windows, evenly spread over a part."""
    size = int(np.prod(examples.event_shape))
    rows = [x for x, _ in examples.held(part, 1024, max(NEIGHBOURS, min(most, VALUES // size)))]
    return torch.cat(rows) if rows else torch.zeros(0, *examples.event_shape)


def _encode(instrument: Instrument, x: Tensor, labels: Labels | None) -> Float[Tensor, "n d"]:
    """Return the posterior means of windows."""
    codes = [torch.zeros(0, instrument.dim)]
    with evaluating(instrument.model):
        for rows in x.split(1024):
            told = instrument.context(labels, len(rows))
            codes.append(pack(instrument.model.encode(rows.to(instrument.device), told)).cpu())
    return torch.cat(codes)


def held_part(examples: SoundExamples) -> PartName:
    """Return the part that stands for unheard sounds: test, or else the next that has two of them."""
    parts: tuple[PartName, ...] = ("test", "valid", "train")
    return next((part for part in parts if len(examples.sounds(part, 2, CLIP_SECONDS)) > 1), "train")


def heard(examples: SoundExamples, part: PartName, most: int) -> Iterator[tuple[str, Float[Tensor, "c n"]]]:
    """Yield name and beginning of at most so many sounds of a part that are not silent, evenly spread."""
    longest, least = examples.samples(CLIP_SECONDS), round(LEAST_SECONDS * examples.corpus.sample_rate)
    for clip in examples.sounds(part, most, CLIP_SECONDS).clips(examples.corpus):
        wave = torch.from_numpy(examples.corpus.wave(clip, 0, min(clip.frames, longest)).copy())
        if bool(wave.any()):
            yield clip.name, torch.nn.functional.pad(wave, (0, max(0, least - wave.shape[1])))


def place_of(instrument: Instrument, name: str, wave: Float[Tensor, "c n"], labels: Labels | None = None) -> Place:
    """Return the code that stands for a sound (see the module)."""
    codes = instrument.encode(wave, labels)
    assert instrument.representation is not None
    hop = instrument.step * instrument.representation.hop
    size = instrument.window.length * instrument.representation.hop
    padded = torch.nn.functional.pad(wave, (0, len(codes) * hop + size))
    power = torch.stack([padded[:, i * hop : i * hop + size].square().mean() for i in range(len(codes))])
    loud = codes[power >= power.max() * 10 ** (-LOUD_DB / 10)]
    return Place(name, loud[(loud - loud.mean(0)).norm(dim=1).argmin()])


def pairs_of(
    instrument: Instrument, examples: SoundExamples, count: int = PAIRS, *, labels: Labels | None = None
) -> list[tuple[Place, Place]]:
    """Return pairs of different held-out sounds: each sound once while they last, a function of their names alone.

    Raises:
        DataError: fewer than two sounds are held out.
    """
    waves = dict(heard(examples, held_part(examples), 2 * count))
    names = sorted(waves)
    if len(names) < 2:
        raise DataError(f"{examples.corpus.name} has {len(names)} sounds held out, expected at least 2 for a pair")
    order = [names[i] for i in numpy_stream("pairs").permutation(len(names))]
    chosen = list(zip(order[::2], order[1::2], strict=False))
    used = {frozenset(pair) for pair in chosen}
    chosen += [pair for pair in combinations(order, 2) if frozenset(pair) not in used][: max(0, count - len(chosen))]
    chosen = chosen[:count]
    places = {name: place_of(instrument, name, waves[name], labels) for name in dict.fromkeys(sum(chosen, ()))}
    return [(places[a], places[b]) for a, b in chosen]
