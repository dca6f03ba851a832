r"""The benchmark of restyling: every method and control on every pair of sounds, judged, heard and looked at.

A *pair* has a content and a style. Where the style goes through a known *chain* (band-pass, drive, room), the true
effect on the content is known: beside the style distance stands the error in effect,
:math:`\|M(y) - M(t)\| / \|M(c) - M(t)\|` with M levels of 64 mel bands, y the restyled sound, c the content, t the
content through the chain: 1 where nothing was done, 0 for the truth. Without a content a *texture* is made of the first
half of a recording, and judged against that half and the other one, which nobody has seen; white noise takes the
content's place, so that its style distance is 1. Controls at equal content similarity: :mod:`.restyle_controls`.

A folder OUT::

    cells/PAIR--METHOD.json    what the judges say, and what was asked for; --s1 of the second seed
    cells/PAIR--METHOD.wav     what they heard
    controls/PAIR.json         what controls of several settings reach
    logs/PAIR--METHOD.log      why it failed
    index.html, report.md      all of it

Finished cells are not made again; failed ones are.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from latentscape.benchmark.restyle_controls import kept_curves
from latentscape.benchmark.restyle_pairs import CONTROLS, GROUPS, PAIRS, Pair, Sounds, Wave, file_of, sounds_of
from latentscape.benchmark.results import at_work
from latentscape.core.errors import LatentscapeError, UsageError, nearest
from latentscape.core.random import numpy_stream
from latentscape.core.storage import digest_of, load_object, save_json, save_text
from latentscape.edit.restyle.engine import Wish
from latentscape.edit.restyle.methods import METHODS, method_of
from latentscape.experiment.run import Say
from latentscape.measure.style import (
    RandomListener,
    content_similarity,
    heard,
    judge_restyling,
    mel_levels,
    style_distance,
)
from latentscape.signal import audio
from latentscape.workshop.making import WEIGHTS
from latentscape.workshop.restyle import Restyling, restyled

CELLS = "cells"
SEEDS = (0, 1)
"""Of methods that draw something."""


@dataclass(frozen=True)
class Asked:
    """What shall be compared.

    Attributes:
        out: the folder.
        clips: the folder of sounds.
        methods: names of the table; runs are added to them.
        runs: method -> its trained run.
        pairs: all of them.
        overwrite: make cells again that were made with other settings.
    """

    out: Path
    clips: Path
    methods: tuple[str, ...]
    runs: Mapping[str, Path]
    pairs: tuple[Pair, ...] = PAIRS
    overwrite: bool = False


def asked_of(
    out: Path,
    clips: Path,
    methods: Sequence[str],
    runs: Sequence[str],
    groups: Sequence[str] = (),
    *,
    overwrite: bool = False,
) -> Asked:
    """Return what the shell asks for, checked.

    Args:
        out: the folder.
        clips: the folder of sounds.
        methods: names; none are all that need no run, and those with one.
        runs: ``METHOD=RUN``.
        groups: of pairs; none are all.
        overwrite: make cells again that were made with other settings.

    Raises:
        UsageError: no such method, a run that none needs or that is missing, a sound that is not there.
    """
    given = {}
    for text in runs:
        name, equals, run = text.partition("=")
        if not equals or not method_of(name).recipe:
            raise UsageError(f"--run got '{text}', expected METHOD=RUN with a method that needs a run")
        given[name] = Path(run)
    names = tuple(methods) or tuple(name for name in METHODS if not METHODS[name].recipe or name in given)
    for name in names:
        if method_of(name).recipe and name not in given:
            raise UsageError(f"--methods got {name}, which needs --run {name}=RUN (recipe {method_of(name).recipe})")
    for group in groups:
        if group not in GROUPS:
            raise UsageError(f"--pairs got '{group}'{nearest(group, GROUPS)}")
    pairs = tuple(pair for group in groups for pair in GROUPS[group]) or PAIRS
    for pair in pairs:
        for path in filter(None, (pair.content, pair.style)):
            if not file_of(clips, path).exists():
                raise UsageError(f"{file_of(clips, path)} is not there; SOURCE is the folder of the clips")
    return Asked(Path(out), clips, names, given, pairs, overwrite)


@dataclass(frozen=True)
class Tally:
    """Names of cells that were made now, that failed, and that were there before; and seconds."""

    done: tuple[str, ...]
    failed: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float


def run_restyling(asked: Asked, say: Say) -> Tally:
    """Make the cells that are not there.

    Raises:
        UsageError: a cell is there that was made with other settings, the folder holds something else, or another
            process works there.
        StorageError: a run has no weights.
    """
    with at_work(asked.out, CELLS):
        if (asked.out / "grid.json").exists():
            raise UsageError(f"{asked.out} holds a benchmark of another suite; choose another folder")
        (asked.out / CELLS).mkdir(exist_ok=True)  # it says whose folder this is before any cell is there
        return _run(asked, say)


def _run(asked: Asked, say: Say) -> Tally:
    began, tally = time.monotonic(), {"done": [], "failed": [], "kept": []}
    for pair in asked.pairs:
        sounds = None
        if pair.content and not pair.chain:
            kept_curves(asked.out, pair, asked.clips)
        for method, seed in methods_for(pair, asked.methods):
            place, settings = place_of(asked.out, pair, method, seed), _settings(asked, pair, method, seed)
            name = place.stem
            if place.exists() and "error" not in (record := load_object(place, ("asked",))):
                if record["asked"] == settings:
                    tally["kept"].append(name)
                    continue
                if not asked.overwrite:
                    raise UsageError(f"{place} was made with other settings; give --overwrite or another folder")
            sounds = sounds or sounds_of(asked.clips, pair)
            row = {"asked": settings} | _cell(sounds, method, seed, asked.runs.get(method), place)
            save_json(place, row)
            if "error" in row:
                save_text(asked.out / "logs" / f"{name}.log", f"{row['error']}\n")
            tally["failed" if "error" in row else "done"].append(name)
            say(f"{pair.title}, {method}{f', seed {seed}' if seed else ''}: {row.get('error') or summary(row)}")
    return Tally(*(tuple(tally[key]) for key in ("done", "failed", "kept")), seconds=time.monotonic() - began)


def methods_for(pair: Pair, methods: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield controls and methods that a pair is given to, and their seeds."""
    yield from ((name, 0) for name in (CONTROLS if pair.content else ("filtered", "other half")))
    for name in methods:
        if pair.content or method_of(name).place != "codes":
            yield from ((name, seed) for seed in (SEEDS if not pair.content or method_of(name).draws else SEEDS[:1]))


def summary(row: Mapping[str, Any]) -> str:
    """Return what the judges say in a line."""
    parts = [f"style {row['style']['random']:.2f}"]
    parts += [f"content {row['content']:.2f}"] if "content" in row else []
    parts += [f"error in effect {row['effect']:.2f}"] if "effect" in row else []
    parts += [f"unseen half {row['other']:.2f}"] if "other" in row else []
    return ", ".join([*parts, f"flatness {row['noisier']:+.1f} dB", f"{row['cpu_seconds']:.0f} s"])


def place_of(out: Path, pair: Pair, method: str, seed: int = 0) -> Path:
    """Return the record of a cell."""
    return out / CELLS / f"{pair.name}--{method.replace(' ', '-')}{f'--s{seed}' if seed else ''}.json"


def _settings(asked: Asked, pair: Pair, method: str, seed: int) -> dict[str, Any]:
    row = asdict(METHODS[method]) if method in METHODS else {}
    row.pop("says", None)
    run = asked.runs.get(method)
    trained = {} if run is None else {"weights": digest_of(run / WEIGHTS)}  # a run may be trained anew in its folder
    return {
        "pair": asdict(pair),
        "method": method,
        "settings": row,
        "run": "" if run is None else str(run),
        **trained,
        "seed": seed,
    }


def _cell(sounds: Sounds, method: str, seed: int, run: Path | None, place: Path) -> dict[str, Any]:
    began, busy = time.monotonic(), time.process_time()
    try:
        wave, down = _made(sounds, method, seed, run)
        spent = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - busy, "turned_down": down}
        row = judged(wave, sounds) | spent
    except LatentscapeError as error:
        return {"error": str(error)}
    audio.write(place.with_suffix(".wav"), wave.astype(np.float32), sounds.sample_rate, overwrite=True)
    return row


def _made(sounds: Sounds, method: str, seed: int, run: Path | None) -> tuple[Wave, float]:
    content = _white(sounds) if sounds.content is None else sounds.content
    if method in CONTROLS:
        return CONTROLS[method](content, sounds.style, sounds.sample_rate), 0.0
    if method == "other half":
        assert sounds.other is not None
        return sounds.other, 0.0
    what = Restyling(Wish(method, seed=seed), run)
    found = restyled(sounds.content, sounds.style, sounds.sample_rate, what)
    return found.wave, found.turned_down


def _white(sounds: Sounds) -> Wave:
    return 0.1 * numpy_stream("restyle noise").normal(size=sounds.style.shape)


def judged(wave: Wave, sounds: Sounds) -> dict[str, Any]:
    """Return what the judges say of a restyled sound, as plain data.

    Raises:
        DataError: a sound is too short, silent or not finite.
    """
    rate = sounds.sample_rate
    content = _white(sounds) if sounds.content is None else sounds.content
    found = judge_restyling(_tensor(wave), _tensor(content), _tensor(sounds.style), rate)
    row = found.to_json() | {"noisier": found.noisier}
    if sounds.truth is not None:
        y, c, t = (heard(_tensor(one), rate) for one in (wave, content, sounds.truth))
        row["effect"] = effect_error(y, c, t)
        row["as_true"] = content_similarity(y, t).mean
    if sounds.other is not None:
        y, c, s = (heard(_tensor(one), rate) for one in (wave, content, sounds.other))
        row["other"] = style_distance(y, c, s, RandomListener())
        for name in ("content", "onsets", "pitch", "bands"):
            del row[name]
    return row


def effect_error(
    estimate: Float[torch.Tensor, " n"], content: Float[torch.Tensor, " m"], truth: Float[torch.Tensor, " k"]
) -> float:
    """Return the error in effect of sounds as :func:`latentscape.measure.style.heard` gives them."""
    n = min(map(len, (estimate, content, truth)))
    y, c, t = (mel_levels(one[:n], 64, -60.0) for one in (estimate, content, truth))
    return float((y - t).norm() / (c - t).norm().clamp_min(1e-9))


def _tensor(wave: Wave) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
