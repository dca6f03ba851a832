"""Figures 5 and 6 of sound inpainting: gaps in test notes and in clips, by method.

One gap a sound, at a seeded place with at least 0.2 s known on both sides (sounds that are too short for it are left
out). Measured inside the gap, against what was there: log-spectral distance (Hann window 1024, hop 256 at 22,050 Hz,
20 log10 max(|X|, floor), floor -80 dB and once more -40 dB, under which little is heard), mel distance,
signal-to-noise ratio. ``joins`` is the share of borders whose largest second difference within 10 ms stays under the
99.9th percentile of the untouched sound, and ``truth`` the same of what was there. ``no model`` is the method latent
with a model that decodes everything to the same level: what interpolation between both borders alone gives.

    python benchmarks/inpainting.py RUN --notes 30 --lengths 20,50,100,250,500 --json runs/inpainting.json
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from latentscape.core.random import numpy_stream
from latentscape.edit.copy_context import CopyContext
from latentscape.edit.gaps import Gap, known_of
from latentscape.edit.hole import Filler
from latentscape.edit.inpaint import inpaint
from latentscape.edit.latent import Latent
from latentscape.edit.linear_prediction import LinearPrediction
from latentscape.edit.splice import JOIN_SECONDS, second_differences, usual_bend
from latentscape.instrument.loading import load
from latentscape.measure.reconstruction import LogSpectralDistance, SignalToNoise
from latentscape.measure.sounds import MelDistance
from latentscape.signal import audio

MARGIN = 0.2
LOOP = "drum_breakbeat_x3"


class NoModel(Latent):
    """Latent whose model says the same of every point."""

    name = "no model"

    def decoded(self, points):
        return torch.zeros(self.sound.channels, len(points), self.sound.grid.bins)


def notes(root: Path, run: Path, count: int) -> Iterator[tuple[str, np.ndarray, int]]:
    names = sorted(json.loads((run / "split.json").read_text())["parts"]["test"])
    for index in numpy_stream("inpainting", 0).permutation(len(names))[: 3 * count]:
        wave, rate = audio.read(root / "notes" / f"{names[index]}.flac")
        yield names[index], wave.astype(np.float64), rate


def clips(root: Path) -> Iterator[tuple[str, np.ndarray, int]]:
    with open(root / "clips" / "metadata.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["name"] != LOOP:
                wave, rate = audio.read(root / "clips" / row["path"])
                yield row["name"], wave.astype(np.float64), rate


def gap_of(name: str, n: int, rate: int, ms: int) -> Gap | None:
    margin, count = round(MARGIN * rate), round(ms * rate / 1000)
    if n < count + 2 * margin:
        return None
    start = int(numpy_stream("inpainting", name, ms).integers(margin, n - count - margin + 1))
    return Gap(start, start + count)


def joins(wave: np.ndarray, gap: Gap, rate: int, limit: float) -> float:
    near, bend = round(JOIN_SECONDS * rate), np.abs(second_differences(wave[0]))
    # second difference i is centred on sample i + 1; those that see a filled sample
    first, last = bend[gap.start - 2 : gap.start - 1 + near], bend[gap.end - 1 - near : gap.end]
    return float(np.mean([part.max() <= limit * (1 + 1e-6) for part in (first, last)]))


def measure(sounds: Callable[[], Iterator], ways: dict[str, Filler], ms: int, most: int, say) -> dict:
    found: dict[str, list] = {name: [] for name in (*ways, "truth")}
    used = 0
    for name, wave, rate in sounds():
        gap = gap_of(name, wave.shape[1], rate, ms)
        if gap is None or used == most or not wave[0, gap.start : gap.end].any():
            continue
        used += 1
        truth = wave[:, gap.start : gap.end]
        limit = usual_bend(wave, known_of([gap], wave.shape[1]))[0]
        measures = [LogSpectralDistance(), LogSpectralDistance(floor=1e-2), MelDistance(rate), SignalToNoise()]
        for label, filler in ways.items():
            begun = time.perf_counter()
            filled = inpaint(wave, rate, [gap], method="linear", ways={"linear": filler}).wave
            seconds = time.perf_counter() - begun
            made = filled[:, gap.start : gap.end]
            pair = [torch.from_numpy(part).float() for part in (truth, made)]
            found[label].append([m.metric(*pair) for m in measures] + [joins(filled, gap, rate, limit), seconds])
        found["truth"].append([joins(wave, gap, rate, limit)])
    result = {}
    for label, rows in found.items():
        if label == "truth":
            result[label] = {"joins": float(np.mean(rows))}
            continue
        middle, mean = np.median(rows, 0), np.mean(rows, 0)
        keys = ("lsd_db", "lsd_floor_40_db", "mel_db", "snr_db")
        result[label] = dict(
            zip(keys, map(float, middle), strict=False), joins=float(mean[4]), seconds=float(middle[5])
        )
    say(f"{ms} ms, {used} sounds, truth's joins {result['truth']['joins']:.0%}")
    for label in ways:
        say("  " + f"{label:12}" + "  ".join(f"{key} {value:6.2f}" for key, value in result[label].items()))
    return {"sounds": used, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--lengths", default="20,50,100,250,500")
    parser.add_argument("--notes", type=int, default=30)
    parser.add_argument("--clips", type=int, default=28)
    parser.add_argument("--ways", default="linear,copy,latent,no model,geodesic")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    root = Path(os.environ.get("LATENTSCAPE_DATA", "../shared/data"))
    instrument = load(args.run)
    ways: dict[str, Filler] = {
        "linear": LinearPrediction(),
        "copy": CopyContext(),
        "latent": Latent(instrument),
        "no model": NoModel(instrument),
        "geodesic": Latent(instrument, path="geodesic"),
    }
    ways = {name: ways[name] for name in args.ways.split(",")}
    sets = {
        "notes": (lambda: notes(root, args.run, args.notes), args.notes),
        "clips": (lambda: clips(root), args.clips),
    }
    result: dict = {}
    for name, (sounds, most) in sets.items():
        if not most:
            continue
        print(name, flush=True)
        result[name] = {
            ms: measure(sounds, ways, int(ms), most, lambda line: print(line, flush=True))
            for ms in args.lengths.split(",")
        }
        if args.json:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
