"""Draws from what a model learnt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.random import seed_of
from latentscape.core.storage import save_bytes_to
from latentscape.instrument.loading import load, load_waves
from latentscape.instrument.stream import softened
from latentscape.instrument.streamed import Streamed
from latentscape.instrument.waves import Waves
from latentscape.measure.failing import FAILURES, Failure, failing
from latentscape.models.second_stage import SecondStage
from latentscape.nets.wavenet_sampler import Manner
from latentscape.workshop.making import SUFFIX, Making, sound_of, speaking, targets_of, write

WARMEST = 1000.0
"""As far as walks go; draws that are beyond all numbers would be decoded to silence."""


@dataclass(frozen=True)
class Drawing:
    """How a model that draws sample after sample does it; any other refuses what is set, but for ``retries`` of sounds.

    Attributes:
        strength: of the labels, or of the code; 1 is what was learnt.
        nucleus: mass of the likeliest codes that are drawn from.
        prime: a recording, or a clip of the run, that every sound goes on from.
        retries: draws made again where a sound is silence, or, drawn sample after sample, mere noise.
        timeline: a file of words or labels with times that every sound hears.
        words: a file of word vectors, for words of a label that the run does not keep.
    """

    strength: float = 1.0
    nucleus: float = 1.0
    prime: Path | str | None = None
    retries: int = 0
    timeline: Path | None = None
    words: Path | None = None

    def refuse(self, run: Path, *, sounds: bool) -> None:
        """Refuse what was set, for a model that makes a whole item at once.

        Raises:
            UsageError: names the first option that means nothing to it.
        """
        told: dict[str, Any] = {"strength": self.strength != 1, "nucleus": self.nucleus != 1, "prime": self.prime}
        told |= {"retries": self.retries and not sounds, "timeline": self.timeline, "words": self.words}
        for option in (option for option, value in told.items() if value):
            raise UsageError(f"--{option} is for models that draw sample after sample, which {run} does not")

    def manner(self, making: Making, temperature: float = 1.0) -> dict[str, float]:
        """Return how samples are drawn, as :attr:`Making.draw` holds it: what is said here and what is said there.

        Raises:
            UsageError: something is said in both places, or a seed beside that of all draws.
        """
        own = {"temperature": temperature, "nucleus": self.nucleus, "strength": self.strength}
        own = {name: value for name, value in own.items() if value != 1}
        for name in own.keys() & making.draw.keys():
            raise UsageError(f"got --{name} and --draw {name}; give one of them")
        if "seed" in making.draw:
            raise UsageError("--seed is of all draws here; leave --draw seed out")
        return {**making.draw, **own}


def sample(
    run: Path,
    out: Path,
    making: Making = Making(),
    *,
    count: int = 8,
    seconds: float = 2.0,
    seed: int = 0,
    temperature: float | Sequence[float] = 1.0,
    vary: int | None = None,
    stage: Callable[[], SecondStage] | None = None,
    drawing: Drawing = Drawing(),
) -> list[str]:
    """Write draws from the prior, or from a second stage: sounds, or one picture of images.

    ``vary`` is the one layer of a hierarchy, 1 at the top, that is drawn while the others are at their means.
    ``stage`` is called once nothing is left that could be refused: to fit one takes time.
    """
    if (waves := load_waves(run, making.device)) is not None:
        if vary is not None or not isinstance(temperature, int | float):
            raise UsageError(f"{waves.name} has no layers of latents; give one --temperature and no --vary-layer")
        if stage is not None:
            raise UsageError(f"{waves.name} has no latent space, so no second stage; leave --second-stage out")
        if making.vocoder is not None:
            raise UsageError(f"{waves.name} makes waves itself; leave --vocoder out")
        return _sample_waves(run, waves, out, making, count, seconds, seed, temperature, drawing)
    if stage is not None and (temperature != 1 or vary is not None):
        raise UsageError(
            "a second stage has no temperature and no layers; leave --temperature and --vary-layer out, or the stage"
        )
    instrument = load(run, making.device)
    instrument.context(making.labels, 1)  # labels that are not known
    drawn: dict[str, Any] = {"seed": seed, "temperature": temperature, "vary": vary}
    stem = "sample" if vary is None else f"layer{vary}-"
    if instrument.representation is None:
        drawing.refuse(run, sounds=False)
        for option, value in (("vocoder", making.vocoder), ("peak", making.peak), ("draw", making.draw or None)):
            if value is not None:
                raise UsageError(f"{run} makes images, not sound; leave --{option} out")
        target = targets_of(out, ["samples" if vary is None else f"layer{vary}"], ".png", making)[0]
        drawn["stage"] = stage and stage()
        return [write_images(target, instrument.sample(count, labels=making.labels, **drawn))]
    if isinstance(instrument, Streamed):
        if drawing.prime is not None:
            raise UsageError(f"{run} begins a sound from its code, not from a recording; leave --prime out")
        for option, value in (("timeline", drawing.timeline), ("words", drawing.words)):
            if value is not None:
                raise UsageError(f"{run} neither hears words with times nor is told of words; leave --{option} out")
    else:
        drawing.refuse(run, sounds=True)
    instrument = speaking(instrument, replace(making, draw=drawing.manner(making)))
    sound = instrument.representation
    assert sound is not None
    targets = targets_of(out, [f"{stem}{number:03d}" for number in range(count)], SUFFIX, making)
    drawn["stage"] = stage and stage()
    made = list(instrument.sample(count, seconds, **making.voice, **drawn))

    def again(own: int) -> Tensor:
        return instrument.sample(1, seconds, **making.voice, **drawn | {"seed": own})[0]

    amiss = FAILURES if isinstance(instrument, Streamed) else FAILURES[:1]  # a held frame of breath is noise, and meant
    notes = _mend(made, again, seed, drawing.retries, sound.sample_rate, amiss=amiss)
    return [write(target, wave, sound, making) + note for target, wave, note in zip(targets, made, notes, strict=True)]


def _sample_waves(
    run: Path,
    waves: Waves,
    out: Path,
    making: Making,
    count: int,
    seconds: float,
    seed: int,
    temperature: float,
    drawing: Drawing,
) -> list[str]:
    """Write new sounds of a model without a latent space; those that are mere noise or silence are drawn again."""
    targets = targets_of(out, [f"sample{number:03d}" for number in range(count)], SUFFIX, making)
    sound = waves.representation
    prime = None if drawing.prime is None else sound_of(run, drawing.prime, sound)[1]
    begun = 0 if prime is None else prime.shape[1]
    way: dict[str, Any] = {
        "labels": making.labels,
        "manner": Manner(**drawing.manner(making, temperature)),
        "prime": prime,
        "threads": torch.get_num_threads(),
        "words": drawing.words,
    }
    if drawing.words is not None and waves.vectors is None:
        raise UsageError(f"{waves.name} is told of no words; leave --words out")
    heard = None
    if drawing.timeline is not None:
        if waves.hearing is None:
            raise UsageError(f"{waves.name} hears no words with times; leave --timeline out")
        heard = waves.hearing.timed(round(seconds * sound.sample_rate), drawing.timeline)[None]
    all_of_them = None if heard is None else heard.expand(count, -1, -1)
    made = list(waves.sample(count, seconds, seed=seed, **way, series=all_of_them))

    def again(own: int) -> Tensor:
        return waves.sample(1, seconds, seed=own, **way, series=heard)[0]

    notes = _mend(made, again, seed, drawing.retries, sound.sample_rate, begun)
    ended = [_bordered(wave, sound.sample_rate, begun) for wave in made]
    return [write(target, wave, sound, making) + note for target, wave, note in zip(targets, ended, notes, strict=True)]


def _bordered(wave: Tensor, rate: int, begun: int) -> Tensor:
    """Return a drawn sound ``[c, n]`` with quiet borders; a recording that it goes on from begins as it is."""
    soft = softened(wave, rate)
    return soft if not begun else torch.cat((wave[:, :begun], soft[:, begun:]), 1)


def _mend(
    made: list[Tensor],
    again: Callable[[int], Tensor],
    seed: int,
    retries: int,
    rate: int,
    begun: int = 0,
    amiss: Sequence[Failure] = FAILURES,
) -> list[str]:
    """Draw sounds again that are silence or mere noise, in place; return what is to be said of each."""
    notes = []
    for number in range(len(made)):
        turn = 0
        while (fault := failing(made[number][:, begun:], rate)) in amiss and turn < retries:
            made[number] = again(seed_of(seed, "again", number, turn))
            turn += 1
        words = f", drawn again {turn} times" if turn > 1 else ", drawn again once" if turn else ""
        notes.append(words + (f", and all that is heard is {fault}" if fault in amiss else ""))
    return notes


def temperatures(text: str) -> float | tuple[float, ...]:
    """Turn ``"0.7"`` into a temperature, and ``"1,0.7,0.5"`` into one a layer.

    Raises:
        UsageError: a part is not a number from 0 to :data:`WARMEST`.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 <= value <= WARMEST for value in values):
        raise UsageError(
            f"--temperature got '{text}', expected a number from 0 to {WARMEST:g}, or one a layer such as 1,0.7,0.5"
        )
    return values[0] if len(values) == 1 else values


def write_images(target: Path, images: Tensor) -> str:
    """Write images as one picture of rows and columns."""
    from latentscape.report.pictures import image_grid

    across = min(8, len(images))
    rows = -(-len(images) // across)
    blank = torch.zeros(rows * across - len(images), *images.shape[1:])
    grid = torch.cat([images, blank]).reshape(rows, across, *images.shape[1:])
    save_bytes_to(target, image_grid((grid[:, :, 0] if grid.shape[2] == 1 else grid).numpy()))
    return f"{target}: {len(images)} images"
