r"""Filling in pictures: quadrants of MNIST, and the middle of photographs.

Every row is a run of its own, trained through a recipe of the package by steps; what is finished is not trained again,
and what was measured is kept beside the run. In each part all rows share one net, its parameters and its steps. Layers
that a row does without are priced out of use (``objective.beta`` 1000 for them): the plain encoder-decoder has none,
and tells hidden values from what is seen alone. Its rate is printed, too.

``digits`` (recipe `inpaint-images`, one model for all three numbers of quadrants that are seen; Pyro's example trains
one for each):

* ``grey``: -ELBO of 10 draws, nats, with the cross-entropy of grey pixels, which is no likelihood: Pyro's figure.
* ``bits``: of pixels binarised once with seed 0: -ELBO, and the importance-weighted bound with its standard error.

``photos`` (recipe `inpaint-photos`, the centre half of each side hidden), on the test part:

* ``psnr``, ``ssim``: dB, and 0 to 1, of the hidden square: of the likeliest answer, and of the best of 8 drawn ones;
* ``bits``: per hidden sub-pixel, importance-weighted; of the plain net, trained by squared error, from a normal law of
  one scale, whose density is taken over the width of a level;
* ``diversity``: root mean square distance between two of 8 answers, in levels of 255. A picture of answers lies beside.

    python benchmarks/completion.py digits --out runs/completion --steps 20000
    python benchmarks/completion.py photos --out runs/completion --steps 5000 [--source images64] [--only "3 layers"]
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latentscape.core.storage import load_object, save_bytes_to, save_json
from latentscape.data.examples import Examples
from latentscape.data.masks import CentreMaskConfig, QuadrantsMaskConfig, draw_masks
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Request
from latentscape.experiment.train import brought_to_end
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load
from latentscape.measure.pictures import psnr, ssim
from latentscape.models.bounds import elbo, iw_bound
from latentscape.models.hierarchy import Hierarchy, masked
from latentscape.report import pictures

PYRO = {1: 71.8, 2: 51.0, 3: 24.2}
NEAREST = {1: 100.4, 2: 61.9, 3: 25.4}
"""Figures of Pyro's example: its conditional VAE, and its plain net."""
DEAR = 1000
ANSWERS = 8
SHOWN = 8
BATCH = 50
_GREY = ("data.binarise=none", "model.likelihood={kind: bernoulli, grey: true}")


@dataclass(frozen=True)
class Row:
    """What is trained: a name, and what it changes in the recipe."""

    name: str
    sets: tuple[str, ...]


DIGITS = [
    Row(f"{name}, {pixels}", (*sets, *how))
    for pixels, how in (("grey", _GREY), ("bits", ()))
    for name, sets in (("encoder-decoder", (f"objective.beta=[{DEAR},{DEAR}]",)), ("2 layers", ()))
]
PHOTOS = [
    Row(
        "encoder-decoder",
        (f"objective.beta=[{DEAR},{DEAR},{DEAR}]", "model.likelihood={kind: gaussian, scale: optimal}"),
    ),
    Row("1 layer", (f"objective.beta=[1,{DEAR},{DEAR}]",)),
    Row("3 layers", ()),
]


def trained(row: Row, recipe: str, args: argparse.Namespace) -> Path:
    run = args.out / f"{args.part}-{row.name}".replace(", ", "-").replace(" ", "-")
    sets = (*row.sets, f"train.max_steps={args.steps}", *args.sets)
    request = Request(args.source, run, recipe, sets, device=args.device)
    if not brought_to_end(request, lambda text: print(text, flush=True)):
        raise SystemExit(f"stopped; the same command goes on with {run}")
    return run


def held(examples: Examples, count: int, instrument: Instrument) -> Tensor:
    return torch.cat([x for x, _ in examples.held("test", 100, count)]).to(instrument.device)


def digits(run: Path, args: argparse.Namespace) -> dict:
    instrument, numbers = load(run, args.device), {}
    model = instrument.model
    with open_run(run).examples as examples:
        x = held(examples, args.items, instrument)
        for seen in PYRO:
            mask = draw_masks([QuadrantsMaskConfig(seen=(seen,))], examples.event_shape, slice(0, len(x)), 0)
            context = masked(x, mask.to(x.device))
            bound = torch.cat([elbo(model, *rows, samples=10) for rows in batches(x, context)])
            numbers[f"elbo_{seen}"] = float(-bound.mean())
            numbers[f"elbo_{seen}_error"] = float(bound.std() / len(x) ** 0.5)
            tight = torch.cat([iw_bound(model, *rows, samples=args.samples) for rows in batches(x, context)])
            numbers[f"nll_{seen}"] = float(-tight.mean())
            numbers[f"nll_{seen}_error"] = float(tight.std() / len(x) ** 0.5)
            with torch.no_grad():
                rates = model.terms(x[:500], {name: value[:500] for name, value in context.items()}).rate
            numbers[f"rate_{seen}"] = float(sum(rate.mean() for rate in rates))
    return numbers


def batches(x: Tensor, context: dict[str, Tensor]):
    for low in range(0, len(x), BATCH):
        rows = slice(low, low + BATCH)
        yield x[rows], {name: value[rows] for name, value in context.items()}


def photos(run: Path, args: argparse.Namespace) -> dict:
    instrument = load(run, args.device)
    model = instrument.model
    assert isinstance(model, Hierarchy)
    with open_run(run).examples as examples:
        x = held(examples, args.items, instrument)
        mask = draw_masks([CentreMaskConfig(share=0.5)], examples.event_shape, slice(0, len(x)), 0).to(x.device)
    hole = ~mask[0, 0]
    rows, columns = (torch.nonzero(hole.any(axis))[:, 0] for axis in (1, 0))
    square = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    found: dict[str, list[Tensor]] = {}
    shown = []
    layers = len(model.latent_shapes)
    for number, (some, context) in enumerate(batches(x, masked(x, mask))):
        likely = model.complete(some, context["mask"], 1, temperature=(0.0,) * layers)[0].clamp(0, 1)
        drawn = model.complete(some, context["mask"], ANSWERS, seed=number).clamp(0, 1)
        true, answers = some[square], drawn[square]
        pairs = torch.stack(
            [(answers[i] - answers[j]).square().mean((1, 2, 3)) for i in range(ANSWERS) for j in range(i)]
        )
        nats = -iw_bound(model, some, context, samples=args.samples, chunk=args.samples)
        each = {
            "psnr": psnr(true, likely[square]),
            "ssim": ssim(true, likely[square]),
            "psnr_best": torch.stack([psnr(true, one) for one in answers]).amax(0),
            "ssim_best": torch.stack([ssim(true, one) for one in answers]).amax(0),
            "diversity": 255 * pairs.mean(0).sqrt(),
            "bits": nats / math.log(2) / true[0].numel(),
        }
        for name, values in each.items():
            found.setdefault(name, []).append(values.double().cpu())
        if len(shown) == 0:
            shown = [some, torch.where(mask[: len(some)], some, 0.5 + 0 * some), likely, *drawn[:4]]
    numbers = {}
    for name, parts in found.items():
        values = torch.cat(parts)
        if name == "bits" and model.config.likelihood.kind != "logistic_mixture":
            values = values + math.log2(255)  # a density by the width of a level
        numbers |= {name: float(values.mean()), f"{name}_error": float(values.std() / len(values) ** 0.5)}
    with torch.no_grad():
        rates = model.terms(some, context).rate
    numbers["rates"] = [float(rate.mean()) for rate in rates]
    grid = torch.stack([one[:SHOWN] for one in shown]).cpu()
    words = ["original", "seen", "likeliest", *["drawn"] * 4]
    save_bytes_to(run.with_suffix(".png"), pictures.image_grid(grid.numpy(), rows=words))
    return numbers


def line(row: Row, numbers: dict) -> str:
    def of(name: str, form: str = ".2f") -> str:
        return f"{numbers[name]:{form}} ({numbers[f'{name}_error']:{form}})"

    about = f"{numbers['parameters'] / 1e6:.2f} M, {numbers['steps']} steps, {numbers['seconds'] / 60:.1f} min"
    if "psnr" in numbers:
        rates = " ".join(f"{rate:.1f}" for rate in numbers["rates"])
        return (
            f"{row.name:26} psnr {of('psnr')} best {of('psnr_best')}  ssim {of('ssim', '.3f')} best "
            f"{of('ssim_best', '.3f')}  bits {of('bits', '.3f')}  diversity {of('diversity')}  rates {rates}  {about}"
        )
    each = (f"{k} seen: -elbo {of(f'elbo_{k}')} nll {of(f'nll_{k}')} rate {numbers[f'rate_{k}']:.1f}" for k in PYRO)
    return f"{row.name:26} {'; '.join(each)}  {about}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("digits", "photos"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", help="default: mnist, images64")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=100, help="importance samples")
    parser.add_argument("--only", help="name of one row")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    digital = args.part == "digits"
    args.source = args.source or ("mnist" if digital else "images64")
    recipe, rows, measure = ("inpaint-images", DIGITS, digits) if digital else ("inpaint-photos", PHOTOS, photos)
    for row in rows:
        if args.only not in (None, row.name):
            continue
        run = trained(row, recipe, args)
        file = run.with_suffix(".json")
        if not file.exists():
            start = time.monotonic()
            numbers = measure(run, args)
            facts = load_object(run / "run.json")
            model = load(run, args.device).model
            numbers |= {
                "steps": args.steps,
                "seconds": facts["seconds"],
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "measured_in": time.monotonic() - start,
            }
            save_json(file, numbers)
        print(line(row, load_object(file)), flush=True)
    if digital:
        print("Pyro's example, grey: " + "; ".join(f"{k} seen {PYRO[k]} (plain net {NEAREST[k]})" for k in PYRO))


if __name__ == "__main__":
    main()
