r"""What each layer of a hierarchy holds, which over-fits, and what helps: recognition models and cures side by side.

Every combination is a run of its own on the same data and steps, through the shell's own recipe `hierarchy-images`;
what is finished is not trained again. Training sees the pictures as they are, but for the cure that varies them.
Printed a run, for layers from the top:

* ``nll``: importance-weighted, K samples, on test images, with its standard error; ``elbo`` on validation;
* ``rate``, ``active``, ``change``: nats, latents above 0.05 nat, how far the output moves when the layer is redrawn;
* ``gap D``, ``gap R``: validation less training, of the distortion and of every layer's rate; these, too, of the
  weights that were kept, the best validation's, which are those that ``nll`` and ``agree`` are of;
* ``gap ELBO``, ``gap NLL``: test less training of both bounds; what the first has more is the encoder's fault;
* ``agree``: share of test images whose class the judge still calls the same when this layer alone is drawn anew.

    python benchmarks/layers.py --out runs/layers --source mnist-static --steps 15000 [--only ladder]
"""

import argparse
import json
from pathlib import Path

import torch

from latentscape.core.storage import load_object, save_json
from latentscape.data.sources import open_source
from latentscape.experiment.joined import open_run
from latentscape.experiment.layers import redrawn
from latentscape.experiment.run import Request
from latentscape.experiment.train import brought_to_end
from latentscape.instrument.loading import load
from latentscape.measure.judges import judge_of
from latentscape.models.bounds import elbo, iw_bound

RECOGNITION = {
    "factorised": ("model.recognition=factorised",),
    "chained": ("model.recognition=chained",),
    "ladder, shared path": ("model.merge=shared",),
    "ladder": ("model.merge=precision",),
}
CURES = {
    "none": ("data.warp=null",),
    "dropout 0.2": ("model.levels.dropout=0.2",),
    "varied pictures": ("data.warp={turn: 5, shear: 0.05, stretch: 0.04, shift: 0.5}",),
    "free bits": ("objective.free_bits=[0,0.5,0.5]",),
    "half the width": ("model.levels.widths=[64,96,128]",),
    "no averaging": ("train.averaging=0",),
}


def measure(run: Path, items: int, samples: int, judged: int) -> dict:
    instrument = load(run)
    model, layers = instrument.model, len(instrument.model.latent_shapes)
    with open_run(run).examples as examples:
        seen, held = (
            [(x.to(instrument.device), context) for x, context in examples.held(part, 100, items)]
            for part in ("train", "test")
        )
        nll = -torch.cat([iw_bound(model, x, context, samples=samples) for x, context in held]).double()
        both = {
            name: [
                torch.cat([bound(model, *one, samples=100) for one in some]).double().mean() for some in (seen, held)
            ]
            for name, bound in (("gap ELBO", elbo), ("gap NLL", iw_bound))
        }
        x = torch.cat([x for x, _ in held])[:judged]
    facts = load_object(run / "run.json")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = next(one for one in rows if one["part"] == "valid" and one["step"] == facts["best_step"])
    judge = judge_of("mnist")
    own = judge.probabilities(x.cpu()).argmax(1)
    agree = [
        float((judge.probabilities(redrawn(instrument, x, layer)).argmax(1) == own).double().mean())
        for layer in range(1, layers + 1)
    ]
    each = {
        name: [kept[f"{key}_{layer}"] for layer in range(1, layers + 1)]
        for name, key in (("rate", "rate"), ("active", "active"), ("change", "change"), ("gap R", "gap"))
    }
    return {
        "nll": float(nll.mean()),
        "error": float(nll.std() / len(nll) ** 0.5),
        "elbo": kept["elbo"],
        "gap D": kept["gap_distortion"],
        **{name: float(trained - tested) for name, (trained, tested) in both.items()},
        **each,
        "agree": agree,
        "steps": facts["steps"],
        "kept": facts["best_step"],
        "seconds": facts["seconds"],
    }


def line(name: str, row: dict) -> str:
    def words(key: str, form: str = ".2f") -> str:
        return " ".join(format(value, form) for value in row[key])

    return (
        f"{name:32} nll {row['nll']:.2f} ({row['error']:.2f})  elbo {row['elbo']:.2f}  rate {words('rate', '.1f')}  "
        f"active {words('active', '.0f')}  change {words('change')}  gap D {row['gap D']:.2f}  gap R {words('gap R')}  "
        f"gap ELBO {row['gap ELBO']:.2f}  gap NLL {row['gap NLL']:.2f}  "
        f"agree {words('agree')}  {row['seconds'] / 60:.1f} min"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", default="mnist-static")
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--judged", type=int, default=1000)
    parser.add_argument(
        "--only", help="one recognition model; default: all without a cure, then all cures of the ladder"
    )
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    open_source(args.source)
    plan = [(name, "none") for name in RECOGNITION] + [("ladder", cure) for cure in CURES if cure != "none"]
    for recognition, cure in plan:
        if args.only not in (None, recognition):
            continue
        run = args.out / f"{recognition}, {cure}".replace(", ", "-").replace(" ", "-")
        file = run.with_suffix(".json")
        if not file.exists():
            sets = (
                *CURES["none"],
                *RECOGNITION[recognition],
                *CURES[cure],
                f"train.max_steps={args.steps}",
                *args.sets,
            )
            request = Request(args.source, run, "hierarchy-images", sets)
            if not brought_to_end(request, lambda text: print(text, flush=True)):
                raise SystemExit(f"stopped; the same command goes on with {run}")
            save_json(file, measure(run, args.items, args.samples, args.judged))
        print(line(f"{recognition}, {cure}", load_object(file)), flush=True)


if __name__ == "__main__":
    main()
