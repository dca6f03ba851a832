"""Draws from what a model learnt."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.core.storage import save_bytes_to
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load_waves
from latentscape.instrument.waves import Waves
from latentscape.models.second_stage import SecondStage
from latentscape.nets.wavenet_sampler import Manner
from latentscape.workshop.making import SUFFIX, Making, targets_of, write


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
    stage: SecondStage | None = None,
) -> list[str]:
    """Write draws from the prior, or from a second stage: sounds, or one picture of images.

    ``vary`` is the one layer of a hierarchy, 1 at the top, that is drawn while the others are at their means.
    """
    if (waves := load_waves(run, making.device)) is not None:
        if vary is not None or not isinstance(temperature, int | float):
            raise UsageError(f"{waves.name} has no layers of latents; give one --temperature and no --vary-layer")
        return _sample_waves(waves, out, making, count, seconds, seed, temperature, stage)
    instrument = Instrument.load(run, making.device)
    drawn = {"seed": seed, "temperature": temperature, "vary": vary, "stage": stage}
    stem = "sample" if vary is None else f"layer{vary}-"
    if instrument.representation is None:
        target = targets_of(out, ["samples" if vary is None else f"layer{vary}"], ".png", making)[0]
        return [write_images(target, instrument.sample(count, labels=making.labels, **drawn))]
    targets = targets_of(out, [f"{stem}{number:03d}" for number in range(count)], SUFFIX, making)
    waves = instrument.sample(count, seconds, **making.voice, **drawn)
    return [write(target, wave, instrument.representation, making) for target, wave in zip(targets, waves, strict=True)]


def _sample_waves(
    waves: Waves,
    out: Path,
    making: Making,
    count: int,
    seconds: float,
    seed: int,
    temperature: float,
    stage: SecondStage | None,
) -> list[str]:
    """Write new sounds of a model without a latent space."""
    if stage is not None:
        raise UsageError(f"{waves.name} has no latent space, so no second stage; leave --second-stage out")
    targets = targets_of(out, [f"sample{number:03d}" for number in range(count)], SUFFIX, making)
    made = waves.sample(
        count, seconds, seed=seed, labels=making.labels, manner=Manner(temperature), threads=torch.get_num_threads()
    )
    return [write(target, wave, waves.representation, making) for target, wave in zip(targets, made, strict=True)]


def temperatures(text: str) -> float | tuple[float, ...]:
    """Turn ``"0.7"`` into a temperature, and ``"1,0.7,0.5"`` into one a layer.

    Raises:
        UsageError: a part is not a number that is 0 or more.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 <= value < float("inf") for value in values):
        raise UsageError(f"--temperature got '{text}', expected a number, or one a layer such as 1,0.7,0.5")
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
