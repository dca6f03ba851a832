"""Operations on given sounds: refinement and filling in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from latentscape.core.errors import DataError, StorageError, UsageError
from latentscape.core.storage import save_json
from latentscape.edit import refine as refining
from latentscape.edit.repair import Repair, repair
from latentscape.instrument.stream import softened
from latentscape.measure.refinement import HEARD, Usual, usual
from latentscape.signal.representation import Representation
from latentscape.workshop.making import (
    SUFFIX,
    Making,
    clips_of,
    file_of,
    free,
    own_sounds,
    sound_of,
    sounding,
    targets_of,
    write,
)

BORDER_SECONDS = 0.005
"""Of the fades of a refined sound: long enough for no click, short enough for an attack."""


def refine(
    run: Path,
    given: Path | str,
    out: Path,
    steps: int,
    manner: refining.Manner,
    making: Making = Making(),
    *,
    seed: int = 0,
) -> list[str]:
    """Write a sound (a file or a clip) that goes through a model again and again; into a folder, every pass, too.

    Every file fades in and out within 5 ms. What was measured of every pass, without the fades, lies beside, as JSON.
    """
    folder = out.is_dir() or not out.suffix
    target = targets_of(out, ["refined"], SUFFIX, making)[0] if folder else file_of(out, making)
    record = free(target.with_suffix(".json"), making)
    instrument, sound = sounding(run, making)
    names = targets_of(out, [f"pass{step:03d}" for step in range(1, steps + 1)], SUFFIX, making) if folder else []

    def written(file: Path, wave: Tensor) -> str:
        return write(file, softened(wave, sound.sample_rate, BORDER_SECONDS), sound, making)

    def each(step: int, wave: Tensor) -> None:
        if folder:
            written(names[step - 1], wave)

    _, wave = sound_of(run, given, sound)
    usually = _usual(run, sound, max(wave.shape[1], instrument.window.length * sound.hop))
    way = {"seed": seed, "labels": making.labels, "quality": making.quality, "within": usually, "each": each}
    found = refining.refine(instrument, wave, steps, manner, **way)
    lines = [written(target, found.wave), *found.lines()]
    held = None if usually is None else [usually.holds(one.heard) for one in found.passes]
    if held is not None:
        counts = ", ".join(f"{name} {sum(one[name] for one in held)}" for name in HEARD)
        lines.append(f"passes in the corpus's 5 to 95 % range, of {steps}: {counts}")
    save_json(record, found.to_json() | {"usual": usually and asdict(usually), "usual_held": held})
    return lines


def _usual(run: Path, sound: Representation, samples: int, most: int = 200) -> Usual | None:
    """Return what is usual in stretches of a run's own corpus; ``None`` where that is not here any more."""
    try:
        clips = [wave for _, wave in clips_of(own_sounds(run, sound))]
        return usual(_stretches(clips, samples, most), sound.sample_rate)
    except (DataError, UsageError, StorageError):
        return None


def _stretches(clips: Sequence[Callable[[], Tensor]], samples: int, most: int) -> Iterator[Tensor]:
    """Yield stretches of so many samples (or whole clips that are shorter), spread over the clips."""
    each = -(-most // len(clips))
    for clip in clips[:: max(1, len(clips) // most)]:
        wave = clip()
        starts = np.linspace(0, max(0, wave.shape[1] - samples), min(each, max(1, wave.shape[1] // samples)))
        for start in starts.astype(int):
            yield wave[:, start : start + samples]


def inpaint(
    run: Path | None,
    sound: Path,
    out: Path,
    what: Repair,
    making: Making = Making(),
    say: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Write a sound with its gaps filled in, by a run's model or without one; see :mod:`latentscape.edit`."""
    if making.labels and run is None:
        raise UsageError("--label is told to a run; give one before the sound, or leave it out")
    instrument = None if run is None else sounding(run, making)[0]
    return repair(sound, out, what, instrument, making.labels, overwrite=making.overwrite, say=say)
