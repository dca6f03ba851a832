"""Figure 2: lines, great circles, geodesics and uncertainty-aware geodesics between test notes, by family of model.

    python benchmarks/families.py AE=runs/ae VAE=runs/vae WAE-MMD=runs/wae hypersphere=runs/sphere \
        [--pairs 50] [--kinds line sphere geodesic "uncertain geodesic"] [--json out.json]

All runs must be of one corpus and split, so that the pairs of test sounds are the same. Every path takes 2 s and is
measured as `latentscape evaluate RUN --paths` does (docs/measures.md): variation (deviations of the corpus a second;
lower is smoother), monotonicity and directness, pitch jumps a second, distance of decoded frames and of codes from the
training data (relative to held-out ones), and curvature: the length of the decoded course over that of the line between
the same codes, so that a geodesic has 1 where the decoder's manifold is flat and less where it is curved.

Values are means over pairs with the 95 % interval of a bootstrap over pairs (1,000 replicates). The second table is the
paired difference of each kind to the line, over the pairs that have both; a star marks an interval without zero. The
intervals are over pairs of one run a family: what another seed of training would give is not in them.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from latentscape.core.errors import LatentscapeError
from latentscape.data.sounds import SoundExamples
from latentscape.experiment.joined import open_run
from latentscape.instrument.journeys import BETWEEN, journey_along, real_journeys, ways
from latentscape.instrument.loading import load
from latentscape.instrument.reference import pairs_of, reference_of
from latentscape.instrument.survey import QUALITY, SECONDS, rows_of
from latentscape.measure.estimate import mean_of

MEASURES = {
    "variation": "variation dev/s",
    "spectral_variation": "spectral dB/s",
    "monotonicity": "monotonicity",
    "directness": "directness",
    "pitch_jumps_rate": "pitch jumps /s",
    "range_90": "range",
    "distance_data": "from data",
    "distance_codes": "from codes",
    "curvature": "curvature",
}
REPLICATES = 1000


def family_of(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))


def measured(run: Path, pairs: int, kinds: list[str]) -> dict:
    """Return every number of every pair (NaN where it has none), and the rows of real sounds."""
    instrument = load(run)
    began = time.perf_counter()
    with open_run(run).examples as examples:
        assert isinstance(examples, SoundExamples), f"{run} is not of sound"
        reference = reference_of(instrument, examples)
        ends = pairs_of(instrument, examples, pairs)
        real = {row.kind: row.to_json()["numbers"] for row in rows_of(real_journeys(instrument, examples, reference))}
        seconds = {"reference": time.perf_counter() - began}
        lengths: dict[str, list[float]] = {}
        table: dict[str, dict[str, list[float]]] = {}
        skipped = {}
        for kind in kinds:
            began = time.perf_counter()
            try:
                paths = ways(instrument, kind, ends, reference.centre)
            except LatentscapeError as error:
                skipped[kind] = str(error)
                continue
            solved = time.perf_counter() - began
            found = [
                journey_along(instrument, path, SECONDS, reference, kind=kind, between=True).numbers for path in paths
            ]
            seconds[kind], seconds[f"{kind}, solving"] = time.perf_counter() - began, solved
            lengths[kind] = [one["length_data"].value for one in found]
            table[kind] = {
                name: [one[name].value if name in one else float("nan") for one in found] for name in MEASURES
            }
        for kind, columns in table.items():
            if "line" in lengths:
                columns["curvature"] = (np.array(lengths[kind]) / np.array(lengths["line"])).tolist()
    names = [(a.name, b.name) for a, b in ends]
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    about = {"model": instrument.config.get("model", {}), "dim": instrument.dim, "centre": reference.centre.tolist()}
    return {
        "run": str(run), **about, "pairs": names, "values": table, "skipped": skipped, "real": real,
        "corpus": reference.statistics.to_json(), "seconds": rounded,
    }  # fmt: skip


def estimate(values: np.ndarray) -> tuple[float, float, float, int] | None:
    """Return mean, both ends of its interval, and the count, of the values that are there."""
    there = values[np.isfinite(values)]
    if len(there) < 2:
        return None
    found = mean_of(torch.from_numpy(there), "", replicates=REPLICATES)
    low, high = found.interval()
    return found.value, low, high, len(there)


def summary(families: dict[str, dict]) -> list[dict]:
    """Return a row a family, kind and measure: the mean, and its paired difference to the line."""
    rows = []
    for family, found in families.items():
        for kind, columns in found["values"].items():
            for name, values in columns.items():
                one = estimate(np.array(values))
                line = found["values"].get("line", {}).get(name)
                delta = None if line is None or kind == "line" else estimate(np.array(values) - np.array(line))
                rows.append({"family": family, "kind": kind, "measure": name, "mean": one, "against_line": delta})
    return rows


def show(rows: list[dict], families: dict[str, dict]) -> None:
    shown = [name for name in MEASURES if any(row["measure"] == name and row["mean"] for row in rows)]
    found = {(row["family"], row["kind"], row["measure"]): row for row in rows}
    for key, title in {"mean": "means [95 %]", "against_line": "difference to the line [95 %], paired"}.items():
        print(f"\n{title}\n{'':32}" + "".join(f"{MEASURES[name]:>26}" for name in shown))
        for family, run in families.items():
            for kind in run["values"]:
                if key == "against_line" and kind == "line":
                    continue
                cells = [text(found[family, kind, name][key], key == "against_line") for name in shown]
                print(f"{family + ', ' + kind:32}" + "".join(f"{cell:>26}" for cell in cells))
            if key == "mean":
                for kind in ("held-out sounds", "reconstructed"):
                    numbers = run["real"].get(kind, {})
                    cells = [f"{numbers[name]['value']:.3g}" if name in numbers else "-" for name in shown]
                    print(f"{family + ', ' + kind:32}" + "".join(f"{cell:>26}" for cell in cells))
    for family, run in families.items():
        for kind, reason in run["skipped"].items():
            print(f"left out: {family}, {kind}: {reason}")


def text(values: tuple | None, starred: bool) -> str:
    if values is None:
        return "-"
    mean, low, high, _ = values
    star = "*" if starred and low * high > 0 else ""
    return f"{mean:.3g}{star} [{low:.3g}, {high:.3g}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", default=list(BETWEEN), choices=BETWEEN)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    families = {}
    for name, run in map(family_of, options.runs):
        print(f"{name}: {run}", file=sys.stderr, flush=True)
        families[name] = measured(run, options.pairs, options.kinds)
    if len({json.dumps(found["pairs"]) for found in families.values()}) > 1:
        print("NOTE: these runs have other pairs of sounds; they are of different corpora, splits or seeds")
    rows = summary(families)
    count = len(next(iter(families.values()))["pairs"])
    print(f"{count} pairs of test sounds, {SECONDS:g} s a path, quality {QUALITY}")
    show(rows, families)
    for name, found in families.items():
        print(f"seconds, {name}: {found['seconds']}")
    if options.json:
        for found in families.values():  # JSON has no NaN
            for columns in found["values"].values():
                for name, values in columns.items():
                    columns[name] = [value if np.isfinite(value) else None for value in values]
        options.json.write_text(json.dumps({"families": families, "summary": rows}, indent=1, allow_nan=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
