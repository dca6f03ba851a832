"""What the page of a run shows of a hierarchy: what each layer knows, and what a conditional model fills in."""

from pathlib import Path

import torch
from torch import Tensor

from latentscape.core.random import seeded
from latentscape.data.examples import Examples
from latentscape.dist.conditional import point
from latentscape.experiment.showcase import kept_picture, kept_sound, plain
from latentscape.instrument.instrument import Instrument
from latentscape.models.bounds import evaluating
from latentscape.models.hierarchy import Hierarchy
from latentscape.report import pictures
from latentscape.report.items import Item, Section

IMAGES = 12
SOUNDS = 3
SECONDS = 2.0
ANSWERS = 4


def layer_sections(run: Path, instrument: Instrument, examples: Examples) -> list[Section]:
    """Return the sections of a hierarchy; none for a model of one layer that is told no mask."""
    model = instrument.model
    sections: list[Section] = []
    if len(model.latent_shapes) > 1:
        sections.append(_sounds(run, instrument) if instrument.representation else _images(run, instrument, examples))
    if isinstance(model, Hierarchy) and model.listen is not None and instrument.representation is None:
        sections.append(_filled(run, instrument, model, examples))
    return sections


def _sounds(run: Path, instrument: Instrument) -> Section:
    """Render every layer drawn alone."""
    assert instrument.representation is not None
    rate = instrument.representation.sample_rate
    items: list[Item] = []
    for layer in range(1, len(instrument.model.latent_shapes) + 1):
        for number, wave in enumerate(instrument.sample(SOUNDS, SECONDS, vary=layer), 1):
            words = f"layer {layer} drawn, the others at their means"
            items.append(kept_sound(run, f"layer{layer}-{number}", f"layer {layer}, draw {number}", wave, rate, words))
    return Section("What each layer knows", tuple(items), "Layer 1 is the top.")


def _images(run: Path, instrument: Instrument, examples: Examples) -> Section:
    """Draw every layer alone: with the others at their means, and with the others those of an image."""
    layers = range(1, len(instrument.model.latent_shapes) + 1)
    alone = torch.stack([instrument.sample(IMAGES, vary=layer) for layer in layers])
    x = next(iter(examples.held("test", IMAGES, IMAGES)))[0]
    swapped = torch.stack([x, *(redrawn(instrument, x, layer) for layer in layers)])
    grids = {
        "layers": ("a row a layer, the top first: this layer drawn, the others at their means", alone),
        "layers-redrawn": ("images; below them, a row a layer: this layer drawn anew, the others kept", swapped),
    }
    items = tuple(
        kept_picture(run, stem, title, pictures.image_grid, plain(grid)) for stem, (title, grid) in grids.items()
    )
    return Section("What each layer knows", items)


def redrawn(instrument: Instrument, x: Tensor, layer: int, seed: int = 0) -> Tensor:
    """Return images decoded with one layer (1 is the top) drawn from its prior, the others at their posterior means."""
    model = instrument.model
    with evaluating(model), seeded("redrawn", seed, device=instrument.device):
        code = model.encode(x.to(instrument.device))
        clamp = [None if number == layer else z for number, z in enumerate(code, 1)]
        return point(model.decode(model.generate(len(x), clamp=clamp))).cpu()


def _filled(run: Path, instrument: Instrument, model: Hierarchy, examples: Examples) -> Section:
    """Draw several answers to what masks hide in test images."""
    x, context = next(iter(examples.held("test", IMAGES, IMAGES)))
    device = instrument.device
    with evaluating(model):
        answers = model.complete(x.to(device), context["mask"].to(device), ANSWERS).cpu()
    low, high = float(x.min()), float(x.max())
    shown = torch.where(context["mask"], x, torch.full_like(x, (low + high) / 2))
    grid = plain(torch.stack([x, shown, *answers]))
    title = f"images, what the model is shown of them, and {ANSWERS} answers"
    return Section("Filled in", (kept_picture(run, "filled", title, pictures.image_grid, grid),))
