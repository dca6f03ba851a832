"""Repairing sound files: gaps given or found, filled in one way or several, written in the file's own form."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentscape.core.errors import UsageError
from latentscape.core.random import seed_of
from latentscape.edit.find import find_damage
from latentscape.edit.gaps import merge, parse_gap, place, read_gaps
from latentscape.edit.inpaint import Filled, check_method, fillers, inpaint
from latentscape.edit.recording import Recording, check_target, open_recording, save_recording, suffix_of
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels
from latentscape.signal import audio

SAY_SECONDS = 3.0
"""Between two words of progress."""
_SAID = 6


@dataclass(frozen=True)
class Repair:
    """What is to be filled in, and how.

    Attributes:
        gaps: as :func:`latentscape.edit.gaps.parse_gap` reads them.
        lists: files of gaps.
        find: clicks, clipped, silent or all, to be looked for; ``None`` looks for nothing.
        method: auto, linear, copy, latent or hierarchy.
        count: how many answers.
        seed: of drawn answers. Without one the first answer is the likeliest, and only further ones are drawn.
    """

    gaps: Sequence[str] = ()
    lists: Sequence[Path] = ()
    find: str | None = None
    method: str = "auto"
    count: int = 1
    seed: int | None = None

    def seeds(self) -> list[int | None]:
        """Return the seed of every answer."""
        drawn: list[int | None] = [seed_of("inpaint", self.seed or 0, number) for number in range(self.count)]
        return drawn if self.seed is not None else [None, *drawn[1:]]


def repair(
    sound: Path,
    out: Path,
    what: Repair,
    instrument: Instrument | None = None,
    labels: Labels | None = None,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Write a sound with its gaps filled in; return lines that say what was done.

    Args:
        sound: the file.
        out: the file to write, or a folder: always one for several answers.
        what: to fill in.
        instrument: a run whose model may be used; ``None`` is none.
        labels: told to the model.
        overwrite: replace what is there.
        say: told how far it is, every few seconds.

    Raises:
        UsageError: nothing was asked for, or options that contradict each other.
        DataError: the sound can't be used.
    """
    if not (what.gaps or what.lists or what.find):
        raise UsageError("inpaint got nothing to fill in; give --gap START:END, --gaps FILE or --find KIND")
    ways = fillers(instrument, labels)
    check_method(what.method, ways)
    spans = [parse_gap(text) for text in what.gaps] + [span for file in what.lists for span in read_gaps(file)]
    recording = open_recording(sound)
    targets = _targets(recording, sound, out, what.count, overwrite)
    wave, rate = recording.wave, recording.sample_rate
    gaps, lines = place(spans, rate, wave.shape[1]), []
    if what.find:
        found = find_damage(wave, rate, what.find)
        lines.append("found " + ", ".join(f"{len(places)} {name}" for name, places in found.items()))
        gaps = merge([*gaps, *(gap for places in found.values() for gap in places)])
    if not gaps:
        return [*lines, f"{sound}: nothing to fill in, nothing written"]
    for target, seed in zip(targets, what.seeds(), strict=True):
        each = _progress(len(gaps), say)
        filled = inpaint(wave, rate, gaps, method=what.method, ways=ways, seed=seed, each=each)
        if what.count > 1 and not any(ways[name].draws for name in filled.methods):
            raise UsageError(
                f"--count {what.count}: {' and '.join(sorted(set(filled.methods)))} has one answer only; leave it out"
            )
        save_recording(target, recording, spliced(recording, filled))
        lines.append(f"{target}: {_said(filled, rate)}")
    return lines


def spliced(recording: Recording, filled: Filled) -> np.ndarray:
    """Return a recording's own samples with what was filled in at its depth."""
    n = recording.samples.shape[1]
    samples = np.zeros((recording.samples.shape[0], filled.wave.shape[1]), recording.samples.dtype)
    samples[:, :n] = recording.samples
    for gap in filled.gaps:
        samples[:, gap.start : gap.end] = recording.made(filled.wave[:, gap.start : gap.end])
    return samples


def _targets(recording: Recording, sound: Path, out: Path, count: int, overwrite: bool) -> list[Path]:
    """Return where the answers go, after refusing what can't be."""
    suffix = suffix_of(recording)
    if count == 1 and out.suffix and not out.is_dir():
        targets = [out]
    else:
        if out.suffix.lower() in audio.SUFFIXES:
            raise UsageError(f"--out {out} is one file, expected a folder for {count} answers")
        if out.exists() and not out.is_dir():
            raise UsageError(f"--out {out} is a file, expected a folder")
        ends = [""] if count == 1 else [f"-{number + 1}" for number in range(count)]
        targets = [out / f"{sound.stem}{end}{suffix}" for end in ends]
    for target in targets:
        check_target(recording, sound, target, overwrite=overwrite)
    return targets


def _progress(count: int, say: Callable[[str], None]) -> Callable[[int], None]:
    """Return what says how many gaps are filled, at most every few seconds and never of the last."""
    said = time.monotonic()

    def each(done: int) -> None:
        nonlocal said
        if done < count and time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            say(f"{done} of {count} gaps filled")

    return each


def _said(filled: Filled, rate: int) -> str:
    """Return what was filled by what, in words."""
    if len(filled.gaps) > _SAID:
        by = ", ".join(f"{filled.methods.count(name)} by {name}" for name in sorted(set(filled.methods)))
        loud = sum(gain < 1 for gain in filled.gains)
        return f"{len(filled.gaps)} gaps filled: {by}" + (f"; {loud} were too loud and turned down" if loud else "")
    each = (
        f"{gap.start / rate:.3f}-{gap.end / rate:.3f} s by {name}"
        + (f" (too loud, turned down by {-20 * math.log10(gain):.1f} dB)" if 0 < gain < 1 else "")
        for gap, name, gain in zip(filled.gaps, filled.methods, filled.gains, strict=True)
    )
    return "filled " + ", ".join(each)
