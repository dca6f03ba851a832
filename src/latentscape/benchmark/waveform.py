r"""The benchmark of models of the wave: with latents and without, on one corpus, by the same measures.

A grid (``waveforms/*.yaml``) names a source and members, each a recipe, a number of steps and its changes. Every member
is trained, draws as many sounds as the others of the same length, and, where it has a latent space, walks its diagonal
and its circle. All of it is measured against the corpus:

* bits a sample of held-out sound, where the law is of codes (:mod:`latentscape.measure.waves`)
* Frechet and kernel distance of draws to as many held-out sounds, in what the hidden layer of a classifier hears that
  learnt the corpus's labels from training sounds alone (:mod:`latentscape.measure.portraits`); portraits themselves
  where it has no labels. As many other held-out sounds stand beside: the least that can be had
* deficit: share of the energy above 2 kHz (or half of the band, where that is less), dB below that of held-out sound
* range: share of the corpus's 5 to 95 % range of centroid and loudness reached along a walk
* seams: level and flux at the joins of a walk (:mod:`latentscape.measure.seams`)
* log-spectral distance of reconstructions

A folder OUT::

    runs/MEMBER/            the run, and beside it what was asked for
    sounds/MEMBER/*.wav     its draws and walks
    cells/MEMBER.json       what was measured; written last, so that a member that has one is finished
    logs/MEMBER.log         why it failed
    index.html, report.md   all of it
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from latentscape.benchmark.grid import slug
from latentscape.benchmark.results import at_work
from latentscape.core.config import Record, from_yaml, parse
from latentscape.core.errors import ConfigError, DataError, LatentscapeError, UsageError
from latentscape.core.storage import load_object, load_tensors, save_json, save_text
from latentscape.data.corpus import SoundCorpus, SourceOptions
from latentscape.data.examples import spread
from latentscape.data.sources import open_source
from latentscape.data.split import Split, split_corpus
from latentscape.experiment.config import resolve
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import SPLIT_SEED, Request, Say
from latentscape.experiment.train import brought_to_end
from latentscape.experiment.use import LABELS
from latentscape.experiment.waves import costs_of_recordings
from latentscape.instrument.loading import load, load_waves
from latentscape.measure.curves import SHORTEST, curves_of
from latentscape.measure.journey import CorpusStatistics, coverage, statistics
from latentscape.measure.portraits import learn, portrait
from latentscape.measure.samples import frechet, kernel_distance
from latentscape.measure.seams import seam_course
from latentscape.signal import audio
from latentscape.workshop.draw import sample
from latentscape.workshop.making import Making
from latentscape.workshop.travel import Way, walk

WALKS = ("diagonal", "circle")
WALK_SECONDS = 10.0
LEARNT = 1200
"""Training sounds that the classifier learns from, at most."""
HIGH = 2000.0
"""Hz."""
FAR = 5.0
"""Deviations of a portrait's numbers that count, at most."""
KEPT = ("bits_per_sample", "bits_per_sample_error", "unigram_bits", "lsd_sound_model", "active_latents")
"""Figures of a run that are taken over."""


class Member(Record):
    """A row of the tables: a recipe, its steps, and the settings that differ."""

    recipe: str
    steps: PositiveInt
    set: dict[str, Any] = {}


class WaveformGrid(Record):
    """A corpus and the models that are compared on it.

    Attributes:
        title: of the report.
        source: of sound.
        rate: Hz; ``None`` is the source's own.
        seconds: s of every draw.
        count: of draws, and of held-out sounds that they are compared with.
        base: settings of every member.
        members: name -> what it is.
    """

    title: str
    source: str
    rate: PositiveInt | None = None
    seconds: float = Field(1.0, gt=0)
    count: int = Field(64, ge=4)
    base: dict[str, Any] = {}
    members: dict[str, Member] = Field(min_length=1)


@dataclass(frozen=True)
class WaveTally:
    """Names of members that were done now, that failed, and that were finished before; and whether it was stopped."""

    done: tuple[str, ...]
    failed: tuple[str, ...]
    kept: tuple[str, ...]
    interrupted: bool = False


def load_waveforms(name: str | Path, source: str | None = None) -> WaveformGrid:
    """Read a grid: ``full`` or ``quick``, or a file; ``source`` takes the place of its own.

    Raises:
        UsageError: there is no such file.
        ConfigError: a key or a value is wrong, a member's too; or two members share a name of files.
    """
    try:
        place = name if isinstance(name, Path) else files("latentscape.benchmark").joinpath("waveforms", f"{name}.yaml")
        values = from_yaml(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"grid {name} can't be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"grid {name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"grid {name}: got {type(values).__name__}, expected keys such as 'source' and 'members'")
    grid = parse(WaveformGrid, {**values, **({"source": source} if source else {})}, f"grid {name}")
    titles: dict[str, str] = {}
    for title, member in grid.members.items():
        if (other := titles.setdefault(slug(title).casefold(), title)) != title:
            raise ConfigError(f"grid {name}: members '{other}' and '{title}' share the folder '{slug(title)}'")
        try:
            resolve(member.recipe, _sets(grid, member))
        except UsageError as error:
            raise ConfigError(f"grid {name}, member '{title}': {error}") from error
    return grid


def _sets(grid: WaveformGrid, member: Member) -> tuple[str, ...]:
    """Return the settings of a member as the shell takes them."""
    sets = {**grid.base, **member.set, "train.max_steps": member.steps}
    return tuple(f"{key}={json.dumps(value)}" for key, value in sets.items())


def run_waveforms(grid: WaveformGrid, out: Path, say: Say, *, overwrite: bool = False) -> WaveTally:
    """Train and measure what is left of a grid, one member after another.

    Raises:
        UsageError: a member was finished with other settings, the folder holds something else, or another works there.
        LatentscapeError: the corpus can't be read.
    """
    with at_work(out):
        before = load_object(out / "grid.json") if (out / "grid.json").exists() else {"members": {}}
        if "members" not in before:
            raise UsageError(f"{out} holds a benchmark of another suite; choose another folder")
        return _run(grid, out, say, overwrite)


def _run(grid: WaveformGrid, out: Path, say: Say, overwrite: bool) -> WaveTally:
    cells = {title: out / "cells" / f"{slug(title)}.json" for title in grid.members}
    there = {title: load_object(cell, ("asked",))["asked"] for title, cell in cells.items() if cell.exists()}
    other = [cells[title] for title, asked in there.items() if asked != _asked(grid, grid.members[title])]
    if other and not overwrite:
        raise UsageError(f"{other[0]} was made with other settings; --overwrite makes it again")
    corpus = open_source(grid.source, SourceOptions(sample_rate=grid.rate))
    if not isinstance(corpus, SoundCorpus):
        raise UsageError(f"{grid.source} holds images, and waves are of sound")
    ear = Ear.of(corpus, grid)
    save_json(out / "grid.json", grid.model_dump(mode="json") | {"ceilings": ear.ceilings()})
    for cell in other:  # no row of this grid, whatever comes of the members now
        cell.unlink()
    done, failed, kept = [], [], []
    for title, member in grid.members.items():
        name, cell = slug(title), cells[title]
        if cell.exists():
            kept.append(name)
            continue
        say(f"{title}: {member.recipe}, {member.steps} steps")
        try:
            found = _one(grid, member, out, name, ear, say)
        except LatentscapeError as error:
            save_text(out / "logs" / f"{name}.log", f"{error}\n")
            failed.append(name)
            continue
        if found is None:
            return WaveTally(tuple(done), tuple(failed), tuple(kept), interrupted=True)
        save_json(cell, {"name": title, "recipe": member.recipe, "asked": _asked(grid, member), **found})
        done.append(name)
    return WaveTally(tuple(done), tuple(failed), tuple(kept))


def _asked(grid: WaveformGrid, member: Member) -> dict[str, Any]:
    """Return all that a member's figures depend on, as plain data; a recipe may have changed since it was asked for."""
    kept = {"source": grid.source, "rate": grid.rate, "seconds": grid.seconds, "count": grid.count}
    config = resolve(member.recipe, _sets(grid, member))
    return json.loads(json.dumps(kept | {"recipe": member.recipe, "config": config.model_dump(mode="json")}))


def _one(grid: WaveformGrid, member: Member, out: Path, name: str, ear: "Ear", say: Say) -> dict[str, Any] | None:
    """Train and measure one member; ``None`` where it was stopped."""
    run, sounds, asked = out / "runs" / name, out / "sounds" / name, _asked(grid, member)
    plan = run.with_suffix(".json")
    same = plan.exists() and load_object(plan) == asked
    save_json(plan, asked)
    anew = run.exists() and not same
    request = Request(grid.source, run, member.recipe, _sets(grid, member), overwrite=anew, rate=grid.rate)
    if not brought_to_end(request, say):
        return None
    facts = load_object(run / "run.json")
    if facts.get("outcome") == "diverged":
        raise LatentscapeError(f"the loss was no longer finite after step {facts['steps']}")
    shutil.rmtree(sounds, ignore_errors=True)  # a model of other settings may have left more of them
    sample(run, sounds, Making(overwrite=True), count=grid.count, seconds=grid.seconds, seed=1)
    draws = [_read(path, ear.rate) for path in sorted(sounds.glob("sample*.wav"))]
    numbers = ear.compare(draws)
    costs: dict[int, tuple[float, float]] = {}
    if (waves := load_waves(run)) is not None:
        with open_run(run).examples as examples:
            costs = costs_of_recordings(waves, examples, "test")
    else:
        instrument = load(run)
        assert instrument.representation is not None
        every = instrument.window.hop * instrument.representation.hop / ear.rate
        for kind in WALKS:
            target = sounds / f"{kind}.wav"
            walk(run, target, Way(kind), Making(overwrite=True), seconds=WALK_SECONDS)
            numbers |= ear.along(_read(target, ear.rate), kind, every if instrument.window.length > 1 else None)
    figures = load_object(run / "verdict.json")["figures"]["numbers"]
    numbers |= {key: float(figures[key]["value"]) for key in KEPT if key in figures}
    weights = load_tensors(run / "weights.safetensors").values()
    numbers |= {"parameters": float(sum(one.numel() for one in weights)), "minutes": facts["seconds"] / 60}
    return {"numbers": numbers, "steps": facts["steps"], "costs": costs}


def _read(path: Path, rate: int) -> Float[Tensor, "c n"]:
    wave, own = audio.read(path)
    return torch.from_numpy(wave if own == rate else audio.resample(wave, own, rate))


# ------------------------------------------------------------------------------------------------ what is measured by


@dataclass(frozen=True, eq=False)
class Ear:
    """What draws and walks of all members are measured with.

    Attributes:
        rate: Hz.
        usual: descriptors of training sounds.
        real, other: held-out sounds, none of one in the other.
        mean, scale: of the portraits of training sounds.
        hidden: weights and offsets of the classifier's hidden layer; ``None``: portraits are what is compared.
    """

    rate: int
    usual: CorpusStatistics
    real: Sequence[Tensor]
    other: Sequence[Tensor]
    mean: np.ndarray
    scale: np.ndarray
    hidden: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of(cls, corpus: SoundCorpus, grid: WaveformGrid) -> "Ear":
        """Listen to a corpus.

        Raises:
            DataError: it has no two sounds in one of its parts.
        """
        first = next(iter(grid.members.values()))
        divided = resolve(first.recipe, _sets(grid, first)).data.split  # what they train on, nobody is measured with
        split = split_corpus(corpus, seed=SPLIT_SEED, config=divided)
        n = round(grid.seconds * corpus.sample_rate)
        train, names = _stretches(corpus, split, "train", n, LEARNT)
        held, _ = _stretches(corpus, split, "test", n, 2 * grid.count)
        real, other = held[::2], held[1::2]  # of the same labels; another part may be of other speakers
        long = [wave for wave in train if wave.shape[1] >= SHORTEST * corpus.sample_rate]
        usual = statistics([curves_of(wave, corpus.sample_rate) for wave in long[:: max(1, len(long) // 100)]])
        faces = np.stack([portrait(wave, corpus.sample_rate) for wave in train])
        known = [at for at, name in enumerate(names) if name]
        hidden = None
        if len({names[at] for at in known}) > 1:
            net = learn(faces[known], [str(names[at]) for at in known]).net
            hidden = net.coefs_[0], net.intercepts_[0]
        faces = faces[known] if hidden else faces  # what the classifier was taught with
        return cls(corpus.sample_rate, usual, real, other, faces.mean(0), faces.std(0) + 1e-6, hidden)

    def features(self, waves: Sequence[Tensor]) -> Float[Tensor, "n f"]:
        """Return what the hidden layer hears of sounds."""
        faces = (np.stack([portrait(wave, self.rate) for wave in waves]) - self.mean) / self.scale
        faces = faces.clip(-FAR, FAR)  # what never varies in the corpus would outweigh all else where it does
        if self.hidden is not None:
            weights, offsets = self.hidden
            faces = np.maximum(faces @ weights + offsets, 0)
        return torch.from_numpy(faces).double()

    def compare(self, draws: Sequence[Tensor]) -> dict[str, float]:
        """Return the distances of draws, and their deficit; silence has none, since no energy lies anywhere."""
        audible = any(bool(wave.any()) for wave in draws)
        return self.distances(draws) | ({"deficit": self.deficit(draws)} if audible else {})

    def distances(self, draws: Sequence[Tensor]) -> dict[str, float]:
        """Return ``frechet`` and ``kernel`` of draws to held-out sounds; sounds that are silent count as they are."""
        audible = [wave if bool(wave.any()) else wave + 1e-6 for wave in draws]
        a, b = self.features(audible), self.features(self.real)
        count = min(len(a), len(b))
        alike = (features[spread(len(features), count)] for features in (a, b))
        return {"frechet": frechet(*alike), "kernel": kernel_distance(a, b).value}

    def deficit(self, draws: Sequence[Tensor]) -> float:
        """Return how many dB less of the energy lies high up in draws than in held-out sounds."""
        return high_share(self.real, self.rate) - high_share(draws, self.rate)

    def ceilings(self) -> dict[str, float]:
        """Return the distances of some held-out sounds to others, and their deficit."""
        return self.compare(self.other)

    def along(self, wave: Float[Tensor, "c n"], kind: str, every: float | None) -> dict[str, float]:
        """Return ranges and, for windows that are joined every so many s, seams of a walk."""
        reached = coverage(curves_of(wave, self.rate), self.usual)
        ranges = {f"range_90_{name}": f"{kind}_{name}" for name in ("centroid", "loudness")}
        found = {name: float(reached[key].value) for key, name in ranges.items() if key in reached}
        if every is not None:
            joins = np.arange(every, wave.shape[1] / self.rate, every).tolist()
            try:
                seams = seam_course(wave, self.rate, joins)
            except DataError:  # so short are the windows that nothing lies beside their joins
                return found
            found |= {f"{kind}_{name}": float(number.value) for name, number in seams.items()}
        return found


def high_share(waves: Sequence[Tensor], rate: int) -> float:
    """Return the share of all energy above 2 kHz, or above half the band where that is less, in dB."""
    high = total = 1e-12
    for wave in waves:
        power = torch.fft.rfft(wave.double()).abs().square().sum(0)
        hertz = torch.arange(len(power)) * (rate / wave.shape[1])
        high += float(power[hertz > min(HIGH, rate / 4)].sum())
        total += float(power.sum())
    return 10 * float(np.log10(high / total))


def _stretches(
    corpus: SoundCorpus, split: Split, part: Any, n: int, most: int
) -> tuple[list[Tensor], list[str | None]]:
    """Return beginnings of clips that are not silent, spread over a part, of at most n samples, and their label.

    Raises:
        DataError: there are fewer than two.
    """
    clips = list(split.clips(corpus, part))
    clips = [clip.part(start, min(n, clip.frames - start)) for clip in clips for start in range(0, clip.frames, n)]
    clips = clips[:: max(1, len(clips) // (2 * most))]
    label = next((name for name in LABELS if name in corpus.clips.columns), None)
    column = None if label is None else corpus.clips.columns[label]
    found: list[tuple[Tensor, str | None]] = []
    for clip in clips:
        wave = torch.from_numpy(np.array(corpus.wave(clip)))
        if clip.frames > n // 4 and bool(wave.any()):
            found.append((wave, None if column is None else column.text(clip.row)))
    if len(found) < 2:
        raise DataError(f"{corpus.name} has {len(found)} sounds in its {part} part, expected at least two")
    chosen = [found[at] for at in spread(len(found), most).tolist()]  # the first of them would be of few labels
    return [wave for wave, _ in chosen], [name for _, name in chosen]


def found_cells(out: Path) -> Sequence[Mapping[str, Any]]:
    """Return what was measured of every finished member, in the order of the grid.

    Raises:
        UsageError: there is none.
    """
    grid = out / "grid.json"
    names = load_object(grid, ("members",))["members"] if grid.exists() else {}
    places = [out / "cells" / f"{slug(name)}.json" for name in names]
    cells = [load_object(place, ("name", "numbers")) for place in places if place.exists()]
    if not cells:
        raise UsageError(f"{out} holds no benchmark of waveforms")
    return cells
