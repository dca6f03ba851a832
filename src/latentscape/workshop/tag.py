"""What a tagger hears in sounds, which sounds are alike, what its units hear, and what it believes a tag to be."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.storage import save_bytes_to, save_json
from latentscape.edit.imagine import NONE, Goal, Imagined, Priors, imagine, unit_of
from latentscape.edit.inside import UnitView, look, strengths
from latentscape.instrument.loading import load, load_listener
from latentscape.instrument.tagging import Hearing, Listener
from latentscape.workshop.making import (
    SUFFIX,
    Making,
    clips_of,
    file_of,
    free,
    own_sounds,
    sound_of,
    sounds_of,
    targets_of,
    write,
)

SHOWN = 5
"""Tags of a sound, and units of a layer, that are shown."""
NEAREST = 10
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Heard:
    """What was heard in one sound.

    Attributes:
        name: of the sound.
        ranked: tags with their scores, the greatest first.
        segments: for every segment where it begins, s, and its greatest tag.
    """

    name: str
    ranked: list[tuple[str, float]]
    segments: list[tuple[float, str]]

    def line(self) -> str:
        """Return the greatest scores in one line."""
        return f"{self.name}: " + ", ".join(f"{tag} {score:.2f}" for tag, score in self.ranked[:SHOWN])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        segments = [{"at": start, "tag": tag} for start, tag in self.segments]
        return {"sound": self.name, "tags": dict(self.ranked), "segments": segments}


def tag(run: Path, sources: Iterable[str], device: str = "auto", say: Say = str) -> list[Heard]:
    """Return what a tagger hears in every sound of some sources; files that are left out are said."""
    listener = load_listener(run, device)
    return [
        Heard(
            name,
            listener.ranked(heard.scores),
            [(at, listener.classes[int(p.argmax())]) for at, p in zip(heard.starts, heard.segments, strict=True)],
        )
        for source in sources
        for name, heard in _hearings(listener, source, say)
    ]


def _hearings(listener: Listener, source: str, say: Say) -> Iterator[tuple[str, Hearing]]:
    corpus = sounds_of(source, listener.representation)
    for line in corpus.leaves_out():
        say(line)
    for name, wave in clips_of(corpus):
        yield name, listener.hear(wave())


def unit_named(text: str) -> Goal | None:
    """Return the unit that ``LAYER:NUMBER`` names, ``None`` for other texts."""
    layer, colon, number = text.rpartition(":")
    return Goal(layer=layer, unit=int(number)) if colon and layer and number.isdecimal() else None


def find(
    run: Path, wanted: str, source: str | None = None, most: int = NEAREST, device: str = "auto", say: Say = str
) -> list[tuple[str, float]]:
    """Return the sounds of a source that are most like one, or that excite a unit most, with how much.

    Likeness is the cosine between embeddings from which the source's mean embedding was taken.

    Args:
        run: of a tagger.
        wanted: a file, a clip of the run, or a unit as ``LAYER:NUMBER``.
        source: where to look; the run's own sounds unless told.
        most: how many.
        device: where to compute.
        say: is told of files that are left out of a source that is given.

    Raises:
        UsageError: there is no such unit.
    """
    listener = load_listener(run, device)
    unit = None if Path(wanted).exists() else unit_named(wanted)
    given = None if unit is not None else listener.hear(sound_of(run, wanted, listener.representation)[1]).embedding
    corpus = sounds_of(source, listener.representation) if source else own_sounds(run, listener.representation)
    for line in corpus.leaves_out() if source else ():
        say(line)
    names, values = [], []
    for name, wave in clips_of(corpus):
        names.append(name)
        if unit is None:
            values.append(listener.hear(wave()).embedding)
        else:
            with torch.no_grad():
                found = unit_of(listener.activations(wave()[None]), unit.layer, unit.unit)
            values.append(found.mean().cpu())
    found = torch.stack(values)
    if given is not None:
        mean = found.mean(0)
        found = torch.nn.functional.cosine_similarity(found - mean, (given - mean)[None])
    order = found.argsort(descending=True, stable=True)[:most].tolist()
    return [(names[place], float(found[place])) for place in order]


def listen(
    run: Path, sound: Path | str, layer: str | None, out: Path, making: Making = Making(), *, units: int = SHOWN
) -> list[str]:
    """Write a picture of a layer on a sound, and what its strongest units hear of it.

    Raises:
        UsageError: there is no such layer.
    """
    listener = load_listener(run, making.device)
    layer = layer or listener.layers[-1]
    name, wave = sound_of(run, sound, listener.representation)
    order = strengths(listener, wave, layer).argsort(descending=True, stable=True)[:units].tolist()
    stem = Path(sound).stem if Path(sound).is_file() else name.rpartition("/")[2]
    names = [f"{stem}-{layer}-{unit}" for unit in order]
    targets = targets_of(out, names, SUFFIX, making)
    if targets == [out]:
        picture = free(out.with_suffix(".png"), making)
    else:
        picture = targets_of(out, [f"{stem}-{layer}"], ".png", making)[0]
    views: list[UnitView] = []
    lines = []
    for unit, target in zip(order, targets, strict=True):
        view = look(listener, wave, layer, unit)
        views.append(view)
        lines.append(f"{write(target, view.heard, listener.representation, making)}, activation {view.strength:.3g}")
    masks = {f"unit {view.unit}": view.mask.numpy() for view in views}
    from latentscape.report.activations import layer_picture  # it brings matplotlib, which the other verbs do without

    save_bytes_to(picture, layer_picture(wave.numpy(), masks, listener.sample_rate))
    return [*lines, f"{picture}: where these units of {layer} are excited"]


@dataclass(frozen=True)
class Way:
    """How a sound is imagined.

    Attributes:
        begin: a sound, or a clip of the run, to begin with; ``None`` is noise.
        judge: run of another tagger, which says what it hears in the result.
        manifold: run of an auto-encoder whose path is moved in place of a wave.
        priors: whether the priors hold.
        seconds: length; the tagger's own segment unless told.
        steps: of the search.
        seed: of every draw.
    """

    begin: Path | str | None = None
    judge: Path | None = None
    manifold: Path | None = None
    priors: bool = True
    seconds: float | None = None
    steps: int = 200
    seed: int = 0


def imagined(run: Path, wanted: str, out: Path, way: Way = Way(), making: Making = Making()) -> list[str]:
    """Write a sound in which a tagger hears a tag, or that excites a unit (``LAYER:NUMBER``), and what was measured.

    Raises:
        UsageError: there is no such tag or unit, or a run does not fit.
    """
    target = file_of(out, making)
    record = free(target.with_suffix(".json"), making)
    listener = load_listener(run, making.device)
    judge = None if way.judge is None else load_listener(way.judge, making.device)
    goal = (None if wanted in listener.classes else unit_named(wanted)) or Goal(wanted)
    begin: Tensor | None = None if way.begin is None else sound_of(run, way.begin, listener.representation)[1]
    manifold = None if way.manifold is None else load(way.manifold, making.device)
    options: dict[str, Any] = {"seconds": way.seconds, "manifold": manifold, "steps": way.steps, "seed": way.seed}
    (found,) = imagine(listener, [goal], [begin], priors=Priors() if way.priors else NONE, **options)
    lines = [write(target, found.wave, listener.representation, making), _told(goal, found)]
    facts: dict[str, Any] = {
        "goal": wanted,
        "before": found.before,
        "after": found.score,
        "heard": found.best,
        "flatness": found.flatness,
        "curve": found.curve,
    }
    if judge is not None:
        heard = Heard("", judge.ranked(judge.hear(_at(found.wave, listener, judge)).scores), [])
        lines.append(f"{judge.name} hears" + heard.line().partition(":")[2])
        facts["judge"] = dict(heard.ranked)
    save_json(record, facts)
    return lines


def _told(goal: Goal, found: Imagined) -> str:
    what = f"p({goal.tag})" if goal.tag else f"unit {goal.unit} of {goal.layer}"
    return f"{what} from {found.before:.3g} to {found.score:.3g}; flatness {found.flatness:.1f} dB"


def _at(wave: Tensor, listener: Listener, judge: Listener) -> Tensor:
    if listener.sample_rate != judge.sample_rate:
        raise UsageError(
            f"{judge.name} listens at {judge.sample_rate} Hz, {listener.name} at {listener.sample_rate} Hz; "
            "expected a judge of the same rate"
        )
    return wave
