"""Made-up benchmarks whose right conclusions are known."""

import json
from pathlib import Path

import numpy as np

from latentscape.benchmark.results import Results, load_results

ITEMS = 200
FAMILIES = ("VAE", "WAE-MMD", "AE", "beta-VAE")
TRUTH = {
    "mse": {"VAE": 0.0102, "WAE-MMD": 0.0089, "AE": 0.0088, "beta-VAE": 0.0150},
    "nll_iw": {"VAE": 88.0, "beta-VAE": 95.0},
    "mmd": {"VAE": 0.0004, "WAE-MMD": 0.0009, "AE": 0.08, "beta-VAE": 0.0001},
    "mmd_p": {"VAE": 0.2, "WAE-MMD": 0.01, "AE": 0.0, "beta-VAE": 0.6},
    "frechet": {"VAE": 20.0, "WAE-MMD": 14.0, "AE": 90.0, "beta-VAE": 26.0},
    "frechet_mixture": {"VAE": 12.0, "WAE-MMD": 9.0, "AE": 11.0, "beta-VAE": 18.0},
    "classifier_score": {"VAE": 8.0, "WAE-MMD": 8.5, "AE": 4.0, "beta-VAE": 7.5},
    "seconds_train": {"VAE": 100.0, "WAE-MMD": 130.0, "AE": 80.0, "beta-VAE": 101.0},
    "seconds_step": {"VAE": 0.010, "WAE-MMD": 0.013, "AE": 0.008, "beta-VAE": 0.0101},
    "parameters": {"VAE": 1.2e6, "WAE-MMD": 1.2e6, "AE": 1.2e6, "beta-VAE": 1.2e6},
}
SOUND = {
    "lsd_sound": {"VAE": 9.5, "WAE-MMD": 8.4, "AE": 8.3, "beta-VAE": 12.0},
    "mss": {"VAE": 1.5, "WAE-MMD": 1.3, "AE": 1.25, "beta-VAE": 2.0},
    "w1_centroid": {"VAE": 150.0, "WAE-MMD": 120.0, "AE": 600.0, "beta-VAE": 220.0},
}
EXACT = ("seconds_train", "seconds_step", "parameters")
AXES = {
    "warm-up": {
        "title": "warm-up of the rate",
        "expectation": "Warm-up keeps latents alive, so the samples get better.",
        "measure": "frechet",
        "expect": "lower",
        "reference": "off",
        "families": ["VAE", "WAE-MMD"],
        "values": {"1000 steps": {}},
    }
}


def numbers(truth, family, seed, *, seeds=0.02, items=0.01, replicates=40, shift=None):
    """Numbers of a cell: truth times (1 + scatter over seeds), replicates that share the items' noise."""
    found = {}
    for index, (name, values) in enumerate(truth.items()):
        if family not in values:
            continue
        value = values[family]
        if name not in EXACT:
            stream = np.random.default_rng([index, seed, sum(map(ord, family))])
            value *= 1 + seeds * stream.standard_normal()
        value += (shift or {}).get(name, 0.0)
        common = np.random.default_rng([index, 999]).standard_normal(replicates)
        rows = [] if name in EXACT else (value * (1 + items * common)).tolist()
        found[name] = {"value": float(value), "unit": "", "replicates": rows}
    return found


def cell(source, family, axis="", value="", seed=0, found=None, error="", reference="VAE", suite="images"):
    name = ".".join(
        part for part in (source, family, f"{axis}-{value}".replace(" ", "-") if axis else "", f"s{seed}") if part
    )
    return {
        "name": name,
        "suite": suite,
        "source": source,
        "data": f"{source}, dynamic binarisation" if suite == "images" else source,
        "family": family,
        "axis": axis,
        "value": value,
        "reference": family == reference and not axis,
        "seed": seed,
        "status": "failed" if error else "done",
        "error": error,
        "minutes_limit": 5.0,
        "seconds": {"train": 100.0, "measure": 20.0},
        "steps": 5000,
        "parameters": 1_200_000,
        "numbers": found or {},
    }


def write(
    out: Path,
    *,
    truth=TRUTH,
    suite="images",
    sources=("mnist",),
    seeds=3,
    axes=AXES,
    shifts=None,
    families=FAMILIES,
    failed=(),
    missing=(),
    replicates=40,
    scatter=0.02,
    items=0.01,
    ceilings=None,
) -> Results:
    """Write a benchmark's folder and read it; ``shifts`` are (axis, value, family) -> {measure: change}."""
    cells = []
    for source in sources:
        for seed in range(seeds if source == sources[0] else 1):
            for family in families:
                found = numbers(truth, family, seed, seeds=scatter, items=items, replicates=replicates)
                cells.append(cell(source, family, seed=seed, found=found, suite=suite))
    for axis, config in axes.items():
        for value in config["values"]:
            for family in config["families"]:
                shift = (shifts or {}).get((axis, value, family), {})
                found = numbers(truth, family, 0, seeds=scatter, items=items, replicates=replicates, shift=shift)
                cells.append(cell(sources[0], family, axis, value, found=found, suite=suite))
    grid = {
        "title": f"A benchmark on {suite}",
        "suite": suite,
        "sources": list(sources),
        "minutes": 5.0,
        "seeds": seeds,
        "base": {"train": {"max_steps": 5000}},
        "families": {family: {} for family in families},
        "reference": families[0],
        "axes": axes,
        "cells": cells,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "grid.json").write_text(json.dumps(grid))
    for record in cells:
        if record["name"] in missing:
            continue
        if record["name"] in failed:
            record = record | {"status": "failed", "error": "the loss was not finite", "numbers": {}}
        folder = out / "cells" / record["name"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cell.json").write_text(json.dumps(record))
    if ceilings:
        entries = {name: {"value": value, "unit": "", "replicates": []} for name, value in ceilings.items()}
        (out / "ceilings.json").write_text(json.dumps(dict.fromkeys(sources, entries)))
    return load_results(out)
