"""The rate of a code against the receptive field of its decoder, and all that proves that the code is used.

    python benchmarks/latent_use.py SOURCE --out DIR [--rate 8000] [--recipe vlae] [--fields 16,64,256,1024]
                                    [--steps 1500] [--set KEY=VALUE ...] [--device auto]

For each receptive field R (samples, a power of two) two runs of the same steps, net and windows: DIR/rR, the recipe
with that reach, and DIR/rR-bare, a ``wavenet`` of the same net without a code. ``evaluate --latent-use`` compares them.
All are asked for the same samples, with all of the past that the farthest reaches (``data.lead_in``). What is there
already is not trained again, what was stopped goes on. DIR/latent-use.json holds every number, DIR/latent-use.png the
curve, DIR/rR-again ten test sounds and what is made of their codes, free-running; of each is printed its mel distance
from what was made of it and of the next one, and the median f0 (pYIN, Hz) of both.

Time: a step of the recipe is 8 windows of 4,096 samples, 0.6 s of one core (54,000 samples a second) at R = 64; twice
1,500 steps at four fields take about three hours of one core.
"""

import argparse
import math
from pathlib import Path

import librosa
import numpy as np
from torch import Tensor

from latentscape.core.storage import save_bytes_to, save_json
from latentscape.experiment.config import resolve
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Request
from latentscape.experiment.train import brought_to_end
from latentscape.experiment.use import use_of_latents
from latentscape.instrument.loading import load
from latentscape.instrument.reference import heard
from latentscape.measure.sounds import MelDistance
from latentscape.recipes import Recipe
from latentscape.signal import audio


def dilations(field: int) -> list[int]:
    """Return 1, 2, 4 ... that reach so many samples back with kernels of two."""
    return [2**power for power in range(round(math.log2(field)))]


def bare(recipe: str, sets: list[str]) -> Recipe:
    """Return the recipe of the twin: the same decoder, no code."""
    config = resolve(recipe, sets)
    decoder = config.model.decoder.model_dump(mode="json")
    values = config.model_dump(mode="json", include={"representation", "window", "data", "train"})
    model = {**decoder, "condition": list(config.model.condition)}
    whole = {**values, "model": model, "objective": {"kind": "reconstruction"}}
    return Recipe("bare", "the decoder alone", "no code", whole)


def train(run: Path, recipe: str | Recipe, arguments: argparse.Namespace, sets: list[str]) -> None:
    """Train a run to its end, from wherever it stands."""
    request = Request(arguments.source, run, recipe, tuple(sets), rate=arguments.rate, device=arguments.device)
    if not brought_to_end(request, print):
        raise SystemExit(f"stopped; the same command goes on with {run}")


def again(run: Path, target: Path, device: str, count: int = 10) -> list[dict[str, float | str | None]]:
    """Send test sounds through a run, write both, and return how alike they are."""
    instrument = load(run, device)
    with open_run(run).examples as examples:
        rate = examples.corpus.sample_rate
        sounds = list(heard(examples, "test", count))
    made = [instrument.reconstruct(wave) for _, wave in sounds]
    window = 1 << round(math.log2(0.064 * rate))
    distance = MelDistance(rate, window, window // 4, 40)
    target.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, float | str | None]] = []
    for at, (name, wave) in enumerate(sounds):
        other = made[(at + 1) % len(made)]
        length = min(wave.shape[1], other.shape[1])
        audio.write(target / f"{at}-given.wav", wave.numpy(), rate, overwrite=True)
        audio.write(target / f"{at}-again.wav", made[at].numpy(), rate, overwrite=True)
        own, others = distance.metric(wave, made[at]), distance.metric(wave[:, :length], other[:, :length])
        row = {
            "name": name,
            "mel": own,
            "mel_other": others,
            "f0": pitch(wave, rate),
            "f0_again": pitch(made[at], rate),
        }
        print("  ".join(f"{key} {value:.1f}" if isinstance(value, float) else str(value) for key, value in row.items()))
        found.append(row)
    return found


def pitch(wave: Tensor, rate: int) -> float | None:
    """Return the median f0 of voiced frames, Hz; ``None`` where there is none."""
    f0, voiced, _ = librosa.pyin(wave[0].numpy(), fmin=40, fmax=2000, sr=rate, frame_length=1024)
    return float(np.median(f0[voiced])) if voiced.any() else None


def draw(rows: list[dict[str, float]]) -> bytes:
    """Return the curve as PNG."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, words in (("rate_bits", "rate"), ("gain", "gain"), ("shuffle_cost", "cost of another's code")):
        axes.plot([row["field"] for row in rows], [row.get(name, math.nan) for row in rows], "o-", label=words)
    axes.set(xscale="log", xlabel="receptive field (samples)", ylabel="bits a sample")
    axes.set_xticks([row["field"] for row in rows], [f"{row['field']:g}" for row in rows])
    axes.legend(frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def main() -> None:
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=int, default=8000)
    parser.add_argument("--recipe", default="vlae")
    parser.add_argument("--fields", default="16,64,256,1024")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    fields = [int(text) for text in arguments.fields.split(",")]
    usual = resolve(arguments.recipe, arguments.sets)
    asked = usual.window.length - usual.data.lead_in  # samples of a window
    past = [f"window.length={asked + max(fields)}", f"window.hop={asked}", f"data.lead_in={max(fields)}"]
    rows, sounds = [], {}
    for field in fields:
        net = f"model.decoder.net.dilations={dilations(field)}"
        own = [f"train.max_steps={arguments.steps}", *arguments.sets, *past, net]
        lossy, twin = arguments.out / f"r{field}", arguments.out / f"r{field}-bare"
        train(lossy, arguments.recipe, arguments, own)
        train(twin, bare(arguments.recipe, own), arguments, [])
        figures = use_of_latents(lossy, without=twin, device=arguments.device, say=print)
        print("\n".join(figures.lines()))
        rows.append({"field": field, **{name: number.value for name, number in figures.numbers.items()}})
        sounds[field] = again(lossy, arguments.out / f"r{field}-again", arguments.device)
        found = {"source": arguments.source, "steps": arguments.steps, "rows": rows, "again": sounds}
        save_json(arguments.out / "latent-use.json", found)
        save_bytes_to(arguments.out / "latent-use.png", draw(rows))


if __name__ == "__main__":
    main()
