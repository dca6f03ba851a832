"""Walks and morphs: paths through the latent space, and what is heard along them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentscape.core.errors import UsageError, nearest
from latentscape.core.storage import digest_of, name_of
from latentscape.geometry.pace import timed_like
from latentscape.geometry.paths import Moved, PathRecord, Recorded, Retimed, load_path, save_path
from latentscape.geometry.travel import closing
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.stream import softened
from latentscape.instrument.walks import KINDS, SPEEDS, THROUGH, carried, paced, recorded
from latentscape.signal.representation import Representation
from latentscape.workshop.making import WEIGHTS, Making, clip_of, file_of, finite, free, sound_of, sounding, write

DEFAULT_SECONDS = 10.0
RECORDED = "recorded"


@dataclass(frozen=True)
class Way:
    """Where a walk goes, and how fast.

    Attributes:
        kind: of path; ``None`` is a circle, or what goes through the given sounds: recorded (one), spline (several).
        through: sounds, files or names of the run's clips, whose mean codes the path goes through; of ``recorded``
            the one whose course it is.
        onto: a sound that the recorded course is carried to.
        timing: a sound in whose course of time the path is gone.
        path: a saved path, in place of a kind.
        save: where to write the path as JSON.
        speed: time, latent, feature or perceived.
        axes: numbers of latent coordinates or names of axes, separated by commas.
        radius: standard deviations of the corpus; ``None`` is 2.
        turns: of a circle or spiral; ``None`` is 1, of a spiral 3.
        seed: of what is drawn.
        loop: the sound goes on at its begin where it ends; what goes through sounds goes back to the first.
    """

    kind: str | None = None
    through: Sequence[str] = ()
    onto: str | None = None
    timing: str | None = None
    path: Path | None = None
    save: Path | None = None
    speed: str = "time"
    axes: str | None = None
    radius: float | None = None
    turns: float | None = None
    seed: int = 0
    loop: bool = False


def walk(
    run: Path, out: Path, way: Way = Way(), making: Making = Making(), *, seconds: float | None = None
) -> list[str]:
    """Write the sound of a walk through the latent space, ``seconds`` long (default: 10, or as long as what was heard).

    It fades in and out within 10 ms; the course of a recorded sound begins and ends as that does, a loop as it goes on.

    Raises:
        UsageError: names that are not known, options that contradict each other, a target that is there already.
    """
    target = file_of(out, making)
    if way.save is not None:
        free(way.save, making)
        if way.save.resolve() == target.resolve():
            raise UsageError(f"--out and --save-path are both {target}; choose another name for one of them")
    instrument, sound = sounding(run, making)
    path, own = _path(run, instrument, sound, way, making)
    if way.loop:
        closing(path)
    path = paced(instrument, path, way.speed, making.labels)
    render = instrument.loop if way.loop else instrument.render
    wave = finite(render(path, seconds or own, **making.voice), target)
    if not (way.loop or _is_course(path)):
        wave = softened(wave, sound.sample_rate)
    saved = []
    if way.save is not None:  # first, so that no sound is written where this fails
        save_path(way.save, path, {"run": name_of(run), "weights": digest_of(run / WEIGHTS)})
        saved.append(f"{way.save}: {type(path).__name__.lower()}, {path.dim} dimensions, {path.size} points")
    return [write(target, wave, sound, making), *saved]


def morph(
    run: Path,
    first: Path | str,
    second: Path | str,
    out: Path,
    making: Making = Making(),
    *,
    kind: str = "line",
    speed: str = "time",
    weight: float | None = None,
    layers: str | None = None,
    seconds: float | None = None,
) -> list[str]:
    """Write a sound that begins as one and ends as another, or, given a weight, lies between them throughout.

    Both are files, or clips of the run's own source by name.
    ``layers`` are the numbers of those of a hierarchy, 1 the top, that alone go over; such as ``"2,3"``.
    """
    target = file_of(out, making)
    instrument, sound = sounding(run, making)
    a, b = (sound_of(run, name, sound)[1] for name in (first, second))
    way = {"kind": kind, "speed": speed, "weight": weight, "layers": _layers(layers)}
    return [write(target, instrument.morph(a, b, seconds, **way, **making.voice), sound, making)]


def _path(
    run: Path, instrument: Instrument, sound: Representation, way: Way, making: Making
) -> tuple[PathRecord, float]:
    """Return the path of a walk, not yet paced, and how long it takes in s unless told."""
    if way.speed not in SPEEDS:
        raise UsageError(f"--speed got '{way.speed}'{nearest(way.speed, SPEEDS)}")
    if way.path is not None:
        if way.kind is not None or way.through or way.axes is not None:
            raise UsageError("--path plays a saved path; leave --kind, --through and --axes out")
        _meaningless(way, "a saved path", radius=True, turns=True)
        path = load_path(way.path, instrument.dim, digest_of(run / WEIGHTS))
        own = (path.seconds if isinstance(path, Recorded) else None) or DEFAULT_SECONDS
    else:
        several = "spline" if len(way.through) > 1 else RECORDED if way.through else "circle"
        kind = (several if way.kind is None else way.kind).replace("-", "_")
        if kind not in (*KINDS, RECORDED):
            raise UsageError(f"--kind got '{kind}'{nearest(kind, (*KINDS, RECORDED))}")
        round_about = kind in ("circle", "spiral")
        _meaningless(way, f"--kind {kind}", radius=kind in THROUGH or kind == RECORDED, turns=not round_about)
        if kind == RECORDED:
            if len(way.through) != 1 or way.axes is not None:
                raise UsageError("--kind recorded is the course of one sound: give it with --through, and no --axes")
            path = _course(run, way.through[0], instrument, sound, making)
            own = path.seconds or DEFAULT_SECONDS
        else:
            path = _kind(run, kind, instrument, sound, way, making)
            own = DEFAULT_SECONDS
    if way.onto is not None:
        if not isinstance(path, Recorded):
            raise UsageError("--onto carries the course of a recorded sound; give that with --through, one alone")
        path = carried(path, _course(run, way.onto, instrument, sound, making))
    if way.timing is not None:
        if way.speed != "time":
            raise UsageError("--timing and --speed both say how fast; leave one of the two out")
        clock = _course(run, way.timing, instrument, sound, making)
        path, own = timed_like(path, clock), clock.seconds or own
    return path, own


def _kind(run: Path, kind: str, instrument: Instrument, sound: Representation, way: Way, making: Making) -> PathRecord:
    options: dict[str, Any] = {} if way.turns is None else {"turns": way.turns}
    if way.through:
        options["through"] = torch.stack([_mean_code(run, name, instrument, sound, making) for name in way.through])
    elif kind in THROUGH or kind in ("random_walk", "drift"):
        options["seed"] = way.seed
    if kind in ("geodesic", "triangle"):
        options["labels"] = making.labels
    reach = {} if way.radius is None else {"reach": way.radius}
    return instrument.walk(kind, axes=_axes(way.axes), closed=way.loop, **reach, **options)


def _meaningless(way: Way, of: str, *, radius: bool, turns: bool) -> None:
    """Refuse options that would change nothing."""
    for name, given, nothing in (("--radius", way.radius, radius), ("--turns", way.turns, turns)):
        if nothing and given is not None:
            raise UsageError(f"{name} means nothing to {of}; leave it out")


def _mean_code(run: Path, name: str, instrument: Instrument, sound: Representation, making: Making) -> Tensor:
    """Return the mean code of a sound, or of a clip that the run knows by name."""
    if not Path(name).is_file() and (clip := clip_of(name, instrument.chart.names)) is not None:
        return instrument.chart.clips[clip]
    return _course(run, name, instrument, sound, making).matrix.mean(0).float()


def _course(run: Path, name: str, instrument: Instrument, sound: Representation, making: Making) -> Recorded:
    """Return the course of a sound."""
    full, wave = sound_of(run, name, sound)
    return recorded(instrument, wave, making.labels, full)


def _is_course(path: PathRecord) -> bool:
    """Return whether a path, whatever was made of it, goes the way of a recorded sound, attack and end and all."""
    while isinstance(path, Moved | Retimed):
        path = path.path
    return isinstance(path, Recorded)


def _axes(text: str | None) -> list[int | str] | None:
    """Turn ``"0,brightness"`` into numbers of latent coordinates and names of axes."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--axes got '{text}', expected numbers or names with commas between, such as 0,brightness")
    return [int(part) if part.removeprefix("-").isdecimal() else part for part in parts]


def _layers(text: str | None) -> list[int] | None:
    """Turn ``"2,3"`` into numbers of layers."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--layers got '{text}', expected numbers with commas between, 1 the top, such as 2,3")
    return [int(part) for part in parts]
