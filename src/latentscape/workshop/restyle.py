"""Restyling of sound files: one that goes the way of the first and sounds like the second."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentscape.core.errors import DataError, UsageError
from latentscape.edit.recording import CONTAINERS, open_recording, save_recording
from latentscape.edit.restyle.codes import restyle_codes
from latentscape.edit.restyle.engine import Each, Restyled, Wish, restyle
from latentscape.edit.restyle.methods import method_of
from latentscape.edit.restyle.networks import Network, Trained
from latentscape.edit.restyle.waves import restyle_waves
from latentscape.instrument.loading import load, load_listener, load_waves
from latentscape.measure.style import judge_restyling
from latentscape.signal import audio
from latentscape.workshop.making import Making, free

PREVIEWS = 8
NOTHING = "-"
"""In place of the content: a texture is made of the style alone."""


@dataclass(frozen=True)
class Restyling:
    """What is to be made, beside the wish.

    Attributes:
        wish: method, strength, weights, seed.
        run: the trained run that the method needs.
        seconds: length of a texture without content; ``None`` is the style's.
        preview: a file that holds the sound as it is so far.
    """

    wish: Wish
    run: Path | None = None
    seconds: float | None = None
    preview: Path | None = None


def restyle_file(
    content: Path, style: Path, out: Path, what: Restyling, making: Making = Making(), *, say: Callable[[str], None]
) -> list[str]:
    """Write a restyled sound in the rate and depth of its content; return lines that say how it came out.

    Raises:
        UsageError: a target that is there or can't be, a method that needs a run, options that contradict each other.
        DataError: a sound can't be used.
    """
    texture = str(content) == NOTHING
    if out.suffix.lower() not in CONTAINERS:
        raise UsageError(f"--out {out} ends in '{out.suffix}', expected one of {', '.join(sorted(CONTAINERS))}")
    _needs(what, texture=texture)
    if making.labels and method_of(what.wish.method).place not in ("codes", "waves"):
        raise UsageError(f"--label is told to a run that makes sound, not to --method {what.wish.method}; leave it out")
    if what.preview is not None and what.preview.suffix.lower() not in audio.WRITTEN:
        known = ", ".join(sorted(audio.WRITTEN))
        raise UsageError(f"--preview {what.preview} ends in '{what.preview.suffix}', expected one of {known}")
    if what.preview is not None and what.preview.resolve() == out.resolve():
        raise UsageError(f"--out and --preview are both {out}; choose another name for one of them")
    for target in (out, what.preview):
        if target is not None:
            free(target, making)
            if any(target.exists() and target.resolve() == one.resolve() for one in (content, style)):
                raise UsageError(f"{target} is one of the sounds themselves; choose another name")
    wanted = open_recording(style)
    given = None if texture else open_recording(content)
    form = given or wanted
    goal = audio.resample(wanted.wave.astype(np.float32), wanted.sample_rate, form.sample_rate)
    began = time.monotonic()
    wave = None if given is None else given.wave
    found = restyled(wave, goal, form.sample_rate, what, making, _telling(what, form.sample_rate, say))
    seconds = time.monotonic() - began
    save_recording(out, form, form.made(found.wave))
    down = f", turned down by {found.turned_down:.1f} dB" if found.turned_down else ""
    lines = [f"{out}: {found.wave.shape[1] / form.sample_rate:.2f} s, {what.wish.method}, in {seconds:.0f} s{down}"]
    return lines if given is None else lines + _judged(found.wave, given.wave, goal, form.sample_rate)


def _telling(what: Restyling, rate: int, say: Callable[[str], None]) -> Each:
    """Return what says how far the search is, and writes the preview."""
    told = [0]

    def each(share: float, loss: float, preview: Callable[[], np.ndarray]) -> None:
        if share * PREVIEWS < told[0] + 1:
            return
        told[0] = int(share * PREVIEWS)
        say(f"{100 * share:.0f} %: loss {loss:.3g}")
        if what.preview is not None:
            audio.write(what.preview, preview(), rate, overwrite=True)

    return each


def restyled(
    content: np.ndarray | None,
    style: np.ndarray,
    rate: int,
    what: Restyling,
    making: Making = Making(),
    each: Each | None = None,
) -> Restyled:
    """Restyle a sound by any method, with the run that it needs.

    Args:
        content: ``[c, n]``, full scale 1; ``None`` makes a texture.
        style: at the same rate.
        rate: Hz.
        what: wish and run.
        making: device, labels and quality.
        each: told of the progress.

    Raises:
        UsageError: the method needs a run or a content, or takes no run.
        DataError: a sound can't be used.
    """
    _needs(what, texture=content is None)
    if method_of(what.wish.method).place == "codes":
        assert what.run is not None
        assert content is not None
        instrument = load(what.run, making.device)
        return restyle_codes(instrument, content, style, rate, what.wish, labels=making.labels, quality=making.quality)
    if method_of(what.wish.method).place == "waves":
        assert what.run is not None
        waves = load_waves(what.run, "cpu")
        if waves is None:
            raise UsageError(f"{what.run} holds no WaveNet; `latentscape train SOURCE --recipe wavenet` makes one")
        return restyle_waves(
            waves, content, style, rate, what.wish, seconds=what.seconds, labels=making.labels, each=each
        )
    network = None if what.run is None else trained(what.run, rate, making.device)
    return restyle(content, style, rate, what.wish, seconds=what.seconds, network=network, each=each)


def trained(run: Path, sample_rate: int, device: str = "auto") -> Network:
    """Return the net of a tagger's run as what hears a sound at some rate."""
    listener = load_listener(run, device)

    def hear(wave: torch.Tensor) -> list[torch.Tensor]:
        return list(listener.activations(wave).values())

    return Trained(hear, sample_rate, listener.sample_rate)


def _needs(what: Restyling, *, texture: bool) -> None:
    name, method = what.wish.method, method_of(what.wish.method)
    recipe = method.recipe
    if recipe and what.run is None:
        raise UsageError(
            f"--method {name} needs --run: train one by `latentscape train SOURCE --recipe {recipe} --run RUN`"
        )
    if not recipe and what.run is not None:
        raise UsageError(f"--method {name} needs no run; leave --run out")
    if texture and method.place == "codes":
        raise UsageError(f"--method {name} needs a content; give a sound in place of '-'")
    if texture and (what.wish.strength != 1 or what.wish.content is not None):
        raise UsageError("--strength and --content-weight weigh a content, which '-' leaves out; leave them out, too")
    if not method.evaluations and (what.wish.evaluations or what.wish.content is not None or what.preview is not None):
        raise UsageError(f"--method {name} searches nothing; leave --steps, --content-weight and --preview out")
    if what.seconds is not None and not texture:
        raise UsageError("--seconds is the length of a texture; give '-' in place of CONTENT, or leave it out")


def _judged(wave: np.ndarray, content: np.ndarray, style: np.ndarray, rate: int) -> list[str]:
    """Return what the judges say, or nothing where they can't."""
    try:
        found = judge_restyling(_tensor(wave), _tensor(content), _tensor(style), rate)
    except DataError:
        return []
    return [
        f"style distance {found.style['random']:.2f} (content 1, style 0), content similarity "
        f"{found.content.mean:.2f}, flatness {found.noisier:+.1f} dB against the style's"
    ]


def _tensor(wave: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
