"""What makes restyled sound noise: where it is looked for, who listens, priors, and what a step is.

    python benchmarks/white_noise.py CLIPS --out FILE [--run TAGGER] [--steps 25] [--pairs 0,5]

Every combination of (levels, complex coefficients, samples) x (random, trained net) x (with, without priors) x (begins
with the content, with noise), and samples by relative and by plain steps. Gram matrices, L-BFGS; the same steps for
all. Priors: total variation of the levels over time and frequency, and distance of their mean to the style's. Prints
style distance, content similarity and flatness over the style's (dB); what FILE holds already is not made again.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import torch

from latentscape.benchmark.restyle_pairs import TUNING, sounds_of
from latentscape.core.storage import load_json, save_json
from latentscape.edit.restyle.beginning import begin, coefficients, noise
from latentscape.edit.restyle.engine import network_of
from latentscape.edit.restyle.methods import METHODS
from latentscape.edit.restyle.objective import Objective, Weights
from latentscape.edit.restyle.optimise import minimise
from latentscape.edit.restyle.sounds import LEVEL, PLACES, Given, Spectrum
from latentscape.edit.restyle.statistics import STATISTICS
from latentscape.measure.style import judge_restyling
from latentscape.workshop.restyle import trained

PLACE_NAMES = ("magnitudes", "coefficients", "samples", "plain samples")
STARTS = ("content", "noise")


def unit(wave):
    """Return a sound as it is optimised."""
    wave = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
    return wave * (LEVEL / wave.square().mean().sqrt())


def priors(place, wanted):
    """Return the two priors, functions of the variable."""
    tilt = wanted.mean((0, 1))

    def levels(variable):
        return place.spectrum.levels(place.magnitude(variable))

    def variation(variable):
        found = levels(variable)
        return 2e-3 * (found.diff(dim=1).abs().mean() + found.diff(dim=2).abs().mean())

    return {
        "variation": variation,
        "tilt": lambda variable: 1e-2 * (levels(variable).mean((0, 1)) - tilt).square().mean(),
    }


def sought(sounds, where, net, held, start, steps):
    """Return the sound that one combination finds."""
    spectrum, kind = Spectrum(sounds.sample_rate), STATISTICS["gram"]
    content, style = unit(sounds.content), unit(sounds.style)
    given = content if start == "content" else noise(spectrum, 1, content.shape[1], 0)
    found, levels = coefficients(spectrum, given)
    _, wanted = coefficients(spectrum, style)
    place = PLACES[where](spectrum, content.shape[1], found)
    variable = place.begin(begin(levels, wanted, "content"))
    network = net or network_of(METHODS["random-cnn"], spectrum, style, 0)
    with torch.no_grad():
        target = [kind.of(layer) for layer in network(Given(spectrum, style.shape[1]), style)]
    weights = Weights(METHODS["random-cnn"].content if start == "content" else 0.0)
    extra = priors(place, wanted) if held else None
    loss = Objective(place, network, kind, weights, target, variable, priors=extra)
    best = minimise(loss, variable, steps)
    return place.finish(best.variable), best.losses[0], min(best.losses)


def main():
    """Fill the table and print it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("clips", type=Path)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--run", type=Path)
    asked.add_argument("--steps", type=int, default=25)
    asked.add_argument("--pairs", default="0,5")
    told = asked.parse_args()
    table = load_json(told.out) if told.out.exists() else {}
    nets = ("random", "trained") if told.run else ("random",)
    for number, start, net, where, held in product(
        map(int, told.pairs.split(",")), STARTS, nets, PLACE_NAMES, (False, True)
    ):
        name = f"{TUNING[number].name} {start} {net} {where}{' priors' if held else ''}"
        if name not in table:
            sounds = sounds_of(told.clips, TUNING[number])
            hears = trained(told.run, sounds.sample_rate, "cpu") if net == "trained" else None
            made, first, last = sought(sounds, where, hears, held, start, told.steps)
            waves = (torch.from_numpy(np.asarray(one, dtype=np.float32)) for one in (sounds.content, sounds.style))
            row = judge_restyling(made, *waves, sounds.sample_rate)
            table[name] = row.to_json() | {"noisier": row.noisier, "first": first, "last": last}
            save_json(told.out, table)
        row = table[name]
        print(
            f"{name:90} style {row['style']['random']:.2f}  content {row['content']:.2f}  "
            f"flatness {row['noisier']:+5.1f} dB  loss {row['first']:.3g} -> {row['last']:.3g}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
