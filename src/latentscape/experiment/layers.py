"""What the page of a run shows of a hierarchy: what each layer knows, and what a conditional model fills in."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentscape.core.random import seeded
from latentscape.data.examples import Examples
from latentscape.dist.conditional import point
from latentscape.experiment.showcase import kept_picture, kept_sound, plain
from latentscape.instrument.decoded import audible, described_events, silence_of
from latentscape.instrument.instrument import Instrument
from latentscape.models.bounds import evaluating
from latentscape.models.hierarchy import Hierarchy
from latentscape.report import pictures
from latentscape.report.items import Item, Section, Table

IMAGES = 12
SOUNDS = 3
SECONDS = 2.0
ANSWERS = 4
_SHARES = "0: it changes nothing. 1: it decides alone. Total effect over test windows, this layer alone drawn anew."


def layer_sections(run: Path, instrument: Instrument, examples: Examples) -> list[Section]:
    """Return the sections of a hierarchy; none for a model of one layer that is told no mask."""
    model = instrument.model
    sections: list[Section] = []
    if len(model.latent_shapes) > 1:
        show = _images if instrument.representation is None else _sounds
        sections.append(show(run, instrument, examples))
    if isinstance(model, Hierarchy) and model.listen is not None and instrument.representation is None:
        sections.append(_filled(run, instrument, model, examples))
    return sections


def _sounds(run: Path, instrument: Instrument, examples: Examples) -> Section:
    """Render every layer drawn alone, and say what each decides."""
    assert instrument.representation is not None
    rate = instrument.representation.sample_rate
    items: list[Item] = []
    layers = range(1, len(instrument.model.latent_shapes) + 1)
    for layer in layers:
        for number, wave in enumerate(instrument.sample(SOUNDS, SECONDS, vary=layer), 1):
            words = f"layer {layer} drawn, the others at their means"
            items.append(kept_sound(run, f"layer{layer}-{number}", f"layer {layer}, draw {number}", wave, rate, words))
    shares = decides(instrument, examples)
    if shares:
        rows = tuple(
            (f"layer {layer}", *(f"{share[layer - 1]:.2f}".replace("nan", "–") for share in shares.values()))
            for layer in layers
        )
        columns = ("drawn anew", *shares)
        numeric = tuple(range(1, len(columns)))
        items.append(Table("How much of a descriptor each layer decides", columns, rows, _SHARES, numeric))
    return Section("What each layer knows", tuple(items), "Layer 1 is the top.")


def decides(instrument: Instrument, examples: Examples, *, items: int = 512, seed: int = 0) -> dict[str, list[float]]:
    r"""Return how much of every descriptor each layer decides, the top first; nothing where no descriptor is known.

    With y the descriptor of what a test item's code decodes to, and :math:`y_l` the same with layer l alone drawn anew
    from :math:`p(z_l \mid z_{<l})`: :math:`E (y - y_l)^2 / (2\, \mathrm{Var}\, y)`, the total effect of the layer
    (Jansen 1999). 0 where the layer does not matter, 1 where it alone decides; more where its draws go beyond the
    corpus. Silent windows do not count; a conditional model is shown nothing.
    """
    model, device = instrument.model, instrument.device
    if instrument.representation is None or model.sequential:
        return {}
    found: list[list[dict[str, np.ndarray]]] = []
    with evaluating(model):
        for index, (x, told) in enumerate(examples.held("test", model.rows, items)):
            context = {name: value.to(device) for name, value in told.items() if name not in ("mask", "known")}
            code = model.encode(x.to(device), context)
            codes = [code]
            for layer in range(len(code)):
                clamp = [None if number == layer else z for number, z in enumerate(code)]
                with seeded("decides", seed, index, layer, device=device):
                    codes.append(model.generate(len(x), context, clamp=clamp))
            found.append([described_events(instrument, point(model.decode(one, context))) for one in codes])
    whole = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*found, strict=True)
    ]
    before, *after = (audible(values, silence_of(whole[0])) for values in whole)
    return {name: [_effect(values, one[name]) for one in after] for name, values in before.items()}


def _effect(before: np.ndarray, after: np.ndarray) -> float:
    """Return the total effect over what is known before and after; NaN where that is nothing, or never differs."""
    known = np.isfinite(before) & np.isfinite(after)
    spread = 2 * np.var(before[known]) if known.any() else 0.0
    return float(np.mean((before - after)[known] ** 2) / spread) if spread else float("nan")


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
