"""A journal of raw-waveform auto-encoders, experiment by experiment, with the cures for what went wrong in it.

    python benchmarks/raw.py OUT [--sources phrases:30:notes speech] [--minutes 3] [--only journal walks refine seams]
                             [--members raw-first drawn ...]
    python benchmarks/raw.py OUT --only step

Each experiment is trained by its recipe (the twin for a CPU) for the same minutes, into ``OUT/runs``; a run that is
there is not trained again, and one that was stopped goes on.
Cures come with 50 latents and with the 10 of the journal's walks; ``drawn`` is the recipe
``vlae`` without its slow sequence, whose decoder draws sample after sample (half a second at 8 kHz a window). Nothing
is tuned on what is shown.
What is printed, as one table a source:

* journal: of reconstructed held-out sound its signal-to-noise ratio (dB), level beside the original's (dB) and
  log-spectral distance (dB); bound in nats a sample, and how much lower on training sound; active latents.
* walks: of 33 windows along the diagonal (every coordinate -r to r) and the circle (sin, cos, sin, cos ...) with
  r = 1, and along both through the corpus's codes (`latentscape walk --kind diagonal`, `circle`): share of the
  corpus's interquartile range of centroid and loudness that is reached, by windows whose flatness and voicing lie in
  the corpus's 5 to 95 % range alone; how many these are; and range of their pitch (semitones).
* refine: twenty passes of each of eight held-out sounds of 4 s, in the journal's way and in ours: level drift (dB; mean
  and greatest), least distance of successive passes (dB), share of passes whose level, centroid and flatness lie in the
  corpus's 5 to 95 % range; the level of those sounds alone that lie in it themselves (how many).
* seams: mean over 12 draws of 40 points, with its error: level and flux at the joins against elsewhere (dB), loudness
  beside the windows' own (dB) and variety (log-spectral distance of successive seconds, dB), joined end to end, by
  fades and in phase; a picture of the waves with the borders marked.
* step: seconds and memory of a step at full size (32,000 x 8000 x 50, 8 windows) beside a plain loop's.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import step_time
import torch
from torch import Tensor

from latentscape.benchmark.grid import slug
from latentscape.core.storage import load_object, save_json
from latentscape.edit.refine import MANNERS, refine
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Request
from latentscape.experiment.train import brought_to_end
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load
from latentscape.instrument.reference import held_part
from latentscape.instrument.streamed import Streamed
from latentscape.measure.curves import curves_of
from latentscape.measure.refinement import spectral_step, usual
from latentscape.measure.seams import seam_course
from latentscape.registry import Joining

EXPERIMENTS = ("raw-first", "raw-one-layer", "raw-continuous", "raw-refine", "raw-trajectories", "raw-4s", "raw-8s")
CURES = ("raw-conv", "raw-spectral", "raw-vaegan", "raw-bank")
DRAWN = "drawn"
TEN = "model.latent=10"
ONE_CODE = ("model.slow=null", "objective.free_bits=0.2", "objective.warmup=600", "train.clip_norm=null")
MEMBERS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (f"{name}-small", ()) for name in (*EXPERIMENTS, *CURES)},
    **{f"{name}-10": (f"{name}-small", (TEN,)) for name in CURES},
    DRAWN: ("vlae", (TEN, *ONE_CODE)),
}
"""Name -> recipe and what is set beside: cures with as few latents as the journal's walks, too."""
POINTS = 33
JOINED, DRAWS = 40, 12
PASSES, REFINED = 20, 8
HEARD = 24
"""Held-out sounds that are reconstructed."""


@dataclass(frozen=True)
class Window:
    """What one window sounds like: centroid (octaves), loudness (dBFS), flatness (dB), share voiced, pitch (MIDI)."""

    centroid: float
    loudness: float
    flatness: float
    voiced: float
    pitch: float


def describe(wave: Tensor, rate: int) -> Window | None:
    """Return the medians over a window's frames; ``None`` for silence."""
    if not float(wave.abs().max()) > 1e-4:
        return None
    curves = curves_of(wave, rate)
    if not curves.sounding.any():
        return None
    middle = {name: float(np.nanmedian(curves.values[name])) for name in ("centroid", "loudness", "flatness")}
    pitch = curves.values["pitch"][curves.sounding]
    voiced = float(np.isfinite(pitch).mean())
    return Window(**middle, voiced=voiced, pitch=float(np.nanmedian(pitch)) if voiced else math.nan)


def column(windows: list[Window], name: str) -> np.ndarray:
    return np.array([getattr(window, name) for window in windows])


def reached(walk: list[Window | None], corpus: list[Window]) -> dict[str, float]:
    """Return the shares of the corpus's interquartile ranges that a walk's likely windows reach."""
    bounds = {name: np.quantile(column(corpus, name), (0.05, 0.95)) for name in ("flatness", "voiced")}
    likely = [
        window
        for window in walk
        if window is not None and all(low <= getattr(window, name) <= high for name, (low, high) in bounds.items())
    ]
    found = {"likely": len(likely) / len(walk)}
    for name in ("centroid", "loudness"):
        low, high = np.quantile(column(corpus, name), (0.25, 0.75))
        values = column(likely, name).clip(low, high) if likely else np.zeros(1)
        found[name] = float((values.max() - values.min()) / (high - low))
    pitches = column(likely, "pitch")
    pitches = pitches[np.isfinite(pitches)]
    found["pitch"] = float(np.ptp(pitches)) if len(pitches) else 0.0
    return found


def trained(out: Path, source: str, name: str, minutes: float) -> Path:
    """Train a member to its end, from wherever it stands."""
    run = out / "runs" / slug(source) / name
    recipe, sets = MEMBERS[name]
    sets = (f"train.minutes={minutes}", "train.tensorboard=false", *sets)
    if not brought_to_end(Request(source, run, recipe, sets), quiet):
        raise SystemExit(f"stopped; the same command goes on with {run}")
    return run


def quiet(_line: str) -> None: ...


def loaded(run: Path) -> tuple[Instrument, int]:
    """Return a run of sound and its rate, Hz."""
    instrument = load(run)
    assert instrument.representation is not None, f"{run} is of images"
    return instrument, instrument.representation.sample_rate


def level(wave: Tensor) -> float:
    return 10 * math.log10(max(float(wave.double().square().mean()), 1e-12))


def sounds_of(run: Path, seconds: float, most: int, part: str | None = None) -> list[Tensor]:
    """Return up to ``most`` stretches of ``seconds`` of a part (held-out, unless told) that are not silent."""
    with open_run(run).examples as examples:
        where: Any = part or held_part(examples)
        n = round(seconds * examples.corpus.sample_rate)
        pieces = [
            clip.part(start, n)
            for clip in examples.split.clips(examples.corpus, where)
            for start in range(0, max(1, clip.frames - n + 1), n)
        ]
        waves = [torch.from_numpy(examples.corpus.wave(piece).copy()) for piece in pieces[:: -(-len(pieces) // most)]]
    return [torch.nn.functional.pad(wave, (0, n - wave.shape[1])) for wave in waves if float(wave.abs().max()) > 1e-3]


# ------------------------------------------------------------------------------------------------------------- figures


def journal(run: Path) -> dict[str, float]:
    instrument, rate = loaded(run)
    facts = load_object(run / "verdict.json")["figures"]["numbers"]
    noise, muted, distance = [], [], []
    for given in sounds_of(run, max(4.0, instrument.window.length / rate), HEARD):
        made = instrument.reconstruct(given)
        noise.append(level(given) - level(given - made))
        muted.append(level(made) - level(given))
        distance.append(spectral_step(given, made, rate))
    samples = instrument.window.length
    row = {"snr": np.mean(noise), "level": np.mean(muted), "lsd": np.mean(distance)}
    row |= {"nats_a_sample": -facts["elbo"]["value"] / samples}
    row |= {"latents": facts["latents"]["value"], "active": facts["active_latents"]["value"]}
    return {name: float(value) for name, value in row.items()} | {"steps": load_object(run / "run.json")["steps"]}


def walks(run: Path) -> dict[str, dict[str, float]]:
    instrument, rate = loaded(run)
    windows = sounds_of(run, instrument.window.length / rate, 200, "train")
    found = [describe(wave, rate) for wave in windows]
    corpus = [window for window in found if window is not None]
    t = torch.linspace(0, 1, POINTS)[:, None]
    place = torch.arange(instrument.dim)
    turn = torch.where(place % 2 == 0, torch.sin(2 * torch.pi * t), torch.cos(2 * torch.pi * t))
    paths = {"diagonal": (2 * t - 1).expand(-1, instrument.dim), "circle": turn}
    rows = {}
    for name, points in paths.items():
        rows[f"{name}, r = 1"] = reached(decoded(instrument, points, rate), corpus)
        record = instrument.walk(name)
        z = record.evaluate(torch.linspace(0, 1, POINTS, dtype=torch.float64)).float()
        rows[f"{name}, corpus"] = reached(decoded(instrument, z, rate), corpus)
    return rows


def decoded(instrument: Instrument, z: Tensor, rate: int) -> list[Window | None]:
    if isinstance(instrument, Streamed):  # one stream, cut into windows
        length = instrument.window.length
        return [describe(wave, rate) for wave in instrument.render(z, len(z) * length / rate).split(length, 1)]
    return [describe(wave.cpu(), rate) for events in instrument.events(z) for wave in events]


def refined(run: Path) -> dict[str, dict[str, float]]:
    instrument, rate = loaded(run)
    seconds = max(4.0, instrument.window.length / rate)
    unheard = sounds_of(run, seconds, HEARD)
    given = unheard[:: -(-len(unheard) // REFINED)]
    common = usual(sounds_of(run, seconds, 100, "train"), rate)
    rows = {}
    trained = instrument.config["objective"].get("distortion", 1.0) > 0  # else its likelihood has no noise to speak of
    for name in ("mean", "gibbs" if trained else "sample", "roam"):
        made = [refine(instrument, sound, PASSES, MANNERS[name], within=common) for sound in given]
        held = [[common.holds(one.heard) for one in passes.passes] for passes in made]
        usually = [common.low["level"] <= level(sound) <= common.high["level"] for sound in given]
        drifts = [passes.drift for passes in made]
        rows[name] = {"drift": float(np.mean(drifts)), "most": max(drifts)}
        rows[name] |= {"least_step": min(passes.least_step for passes in made), "of usual level": float(sum(usually))}
        shares = {what: [np.mean([one[what] for one in passes]) for passes in held] for what in common.low}
        shares["level"] = [share for share, own in zip(shares["level"], usually, strict=True) if own]
        rows[name] |= {what: float(np.mean(of)) if of else math.nan for what, of in shares.items()}
    return rows


def seams(run: Path, picture: Path) -> dict[str, dict[str, float]]:
    """Return the means over draws of points, with their standard errors."""
    instrument, rate = loaded(run)
    drawn = []
    for seed in range(DRAWS):
        rows, waves = joined_at(instrument, rate, seed)
        drawn.append(rows)
        if not seed:
            draw(waves, rate, picture)
    found: dict[str, dict[str, float]] = {}
    for way in drawn[0]:
        values = {key: np.array([rows[way][key] for rows in drawn]) for key in drawn[0][way]}
        found[way] = {key: float(one.mean()) for key, one in values.items()}
        found[way] |= {f"{key[:9]} +-": float(one.std(ddof=1) / DRAWS**0.5) for key, one in values.items()}
    return found


Joined = tuple[dict[str, dict[str, float]], dict[str, tuple[Tensor, list[float]]]]


def joined_at(instrument: Instrument, rate: int, seed: int) -> Joined:
    """Return the measures of every way of joining, and the waves with their joins."""
    generator = torch.Generator().manual_seed(seed)
    chart = instrument.chart
    z = chart.mean + torch.randn(JOINED, instrument.dim, generator=generator) * chart.deviation
    drawn = isinstance(instrument, Streamed)
    seconds = instrument.window.length / rate
    events = (
        [instrument.render(point[None], seconds) for point in z]
        if drawn
        else [wave.cpu() for part in instrument.events(z) for wave in part]
    )
    own = torch.stack(events)
    rows, waves = {}, {}
    ways: list[tuple[Joining, float | None]] = [("plain", None)]
    if not drawn:
        ways += [("fade", None), ("aligned", None), ("aligned", 0.25)]
    for way, overlap in ways:
        name = way if overlap is None else f"{way}, {overlap:.0%} shared"
        joined = instrument.joined(way, overlap)
        wave = joined.render(z)
        found = seam_course(wave, rate, joined.joins(wave.shape[1]))
        second = [wave[:, at : at + rate] for at in range(0, wave.shape[1] - rate + 1, rate)]
        variety = float(np.mean([spectral_step(a, b, rate) for a, b in pairwise(second)]))
        rows[name] = {key: float(number.value) for key, number in found.items()}
        rows[name] |= {"loudness": level(wave) - level(own), "variety": variety}
        waves[name] = (wave, joined.joins(wave.shape[1]))
    return rows, waves


def draw(waves: dict[str, tuple[Tensor, list[float]]], rate: int, target: Path) -> None:
    """Draw a second around the third join, its borders marked."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(len(waves), 1, sharey=True, squeeze=False)[:, 0]
    for panel, (name, (wave, joins)) in zip(panels, waves.items(), strict=True):
        middle = joins[2]
        low = max(0, int((middle - 0.1) * rate))
        piece = wave[0, low : int((middle + 0.1) * rate)].numpy()
        panel.plot((low + np.arange(len(piece))) / rate, piece, lw=0.6)
        for join in joins:
            if abs(join - middle) < 0.1:
                panel.axvline(join, color="black", lw=0.8, ls="--")
        panel.set_title(name, loc="left", fontsize=9)
    panels[-1].set_xlabel("s")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)
    pyplot.close(figure)


def step(loop: str) -> None:
    """Print seconds and memory of a step of ``raw-refine`` (8 windows) in our loop or a plain one."""
    case = step_time.Case(32000, (8000,), 50, 8, binary=False)
    torch.manual_seed(0)
    batches = step_time.Clock(torch.randn(64, case.width), case.batch, time.perf_counter)
    getattr(step_time, loop)(case, batches, 5, False)
    seconds = median(b - a for a, b in pairwise(batches.times[1:]))  # the first holds the moments' making
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"loop": loop, "seconds": round(seconds, 2), "GiB": round(peak, 2)}), flush=True)


FIGURES: dict[str, Callable[..., Any]] = {"journal": journal, "walks": walks, "refine": refined, "seams": seams}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sources", nargs="+", default=["phrases:30:notes", "speech"])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--members", nargs="+", default=list(MEMBERS), choices=list(MEMBERS))
    parser.add_argument("--only", nargs="+", default=list(FIGURES), choices=[*FIGURES, "step"])
    parser.add_argument("--loop", choices=("ours", "plain"), help="of this process, for --only step")
    given = parser.parse_args()
    if given.loop:
        step(given.loop)
        return
    if "step" in given.only:
        for loop in ("ours", "plain"):  # a process each, since memory is what is measured
            subprocess.run([sys.executable, __file__, str(given.out), "--loop", loop], check=True)
    figures = [name for name in given.only if name != "step"]
    for source in given.sources if figures else ():
        runs = {name: trained(given.out, source, name, given.minutes) for name in given.members}
        for figure in figures:
            target = given.out / f"{figure}-{slug(source)}.json"
            rows = {name: found(figure, run, given.out, slug(source)) for name, run in runs.items()}
            save_json(target, rows)
            show(f"{figure}, {source}, {given.minutes:g} min each", rows)


def found(figure: str, run: Path, out: Path, source: str) -> dict[str, dict[str, float]]:
    """Return the rows of one run."""
    if figure == "seams":
        return seams(run, out / "pictures" / f"{source}-{run.name}.png")
    rows = FIGURES[figure](run)
    return {"": rows} if figure == "journal" else rows


def show(title: str, tables: dict[str, dict[str, dict[str, float]]]) -> None:
    columns = list(dict.fromkeys(key for rows in tables.values() for row in rows.values() for key in row))
    print(f"\n{title}\n{'':36}" + "".join(f"{name:>13}" for name in columns))
    for name, rows in tables.items():
        for kind, row in rows.items():
            cells = "".join(f"{row[key]:13.2f}" if key in row else f"{'':13}" for key in columns)
            print(f"{name + (', ' if kind else '') + kind:36}{cells}", flush=True)


if __name__ == "__main__":
    main()
