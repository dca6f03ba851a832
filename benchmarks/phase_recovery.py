"""Figure 6: round-trip error of every representation, and phase recovery beside ``librosa.griffinlim``, on real notes.

All recoveries see the same magnitudes (Hann window 1024, hop 256) of the same notes: for every note, ``--repeats``
rounds of all methods in turn. A method's time is the sum over notes of its median. Spectral convergence is
``20 log10 (|S - |STFT(wave)|| / |S|)`` in dB with one STFT for all; lower is better. Compilation is done before the
clock starts, and its time is printed by itself.

    python benchmarks/phase_recovery.py --notes 40 --repeats 3 --json runs/phase_recovery.json
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from latentscape.core.random import numpy_stream
from latentscape.laws.representation import error
from latentscape.signal import audio, phase
from latentscape.signal.frames import Frames
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.mulaw import MuLaw, MuLawConfig
from latentscape.signal.nsgt import LogNsgt, LogNsgtConfig, Nsgt, NsgtConfig
from latentscape.signal.stft import LogStft, LogStftConfig, Stft, StftConfig
from latentscape.signal.waveform import Waveform, WaveformConfig

WINDOW, HOP, FLOOR = 1024, 256, 1e-4
GRID = Frames(WINDOW, HOP)
Recovery = Callable[[torch.Tensor, int], torch.Tensor]


def notes(root: Path, count: int, seed: int) -> tuple[list[torch.Tensor], int]:
    """Return seeded notes ``[1, n]``, n no multiple of the hop (so that librosa has the same frames), and the rate."""
    with open(root / "metadata.csv", encoding="utf-8", newline="") as file:
        paths = sorted(row["path"] for row in csv.DictReader(file))
    chosen = sorted(numpy_stream("phase_recovery", seed).choice(len(paths), min(count, len(paths)), replace=False))
    waves, rate = [], 0
    for index in chosen:
        wave, rate = audio.read(root / paths[index])
        waves.append(torch.from_numpy(wave[:1, : max(1, wave.shape[1] - (wave.shape[1] % HOP == 0))].copy()))
    return waves, rate


def ours(quality: str) -> Recovery:
    """Return a quality of the log-magnitude STFT, from magnitude to wave."""

    def recover(magnitude: torch.Tensor, n: int) -> torch.Tensor:
        features = 20 * magnitude.clamp(min=FLOOR).log10().transpose(1, 2)
        return view.synthesise(features, n, quality=quality)[:, 0]

    view = LogStft(LogStftConfig(sample_rate=1, window=WINDOW, hop=HOP))
    return recover


def refined(iterations: int, *, heap: bool) -> Recovery:
    """Return fast Griffin-Lim in torch, begun from heap integration or from random phases."""

    def recover(magnitude: torch.Tensor, n: int) -> torch.Tensor:
        if heap:
            start = phase.heap_integration(magnitude, WINDOW, HOP, FLOOR)
        else:
            turn = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(0))
            start = torch.polar(torch.ones_like(magnitude), 2 * torch.pi * turn)
        spectrum = phase.griffin_lim(magnitude, start, GRID.analyse, lambda c: GRID.synthesise(c, n), iterations)
        return GRID.synthesise(spectrum, n)

    return recover


def librosas(iterations: int) -> Recovery:
    """Return ``librosa.griffinlim`` (its default is the fast one, momentum 0.99)."""
    import librosa

    def recover(magnitude: torch.Tensor, n: int) -> torch.Tensor:
        wave = librosa.griffinlim(magnitude[0].T.numpy(), n_iter=iterations, hop_length=HOP, length=n, random_state=0)
        return torch.from_numpy(wave)[None]

    return recover


def recoveries(waves: list[torch.Tensor], rate: int, repeats: int) -> list[dict[str, float | str]]:
    """Measure every recovery, alternating, and print a table."""
    methods: dict[str, Recovery] = {
        "live (RTPGHI)": ours("live"),
        "fast (PGHI)": ours("fast"),
        "PGHI + 5 FGLA": refined(5, heap=True),
        "PGHI + 10 FGLA": refined(10, heap=True),
        f"best (PGHI + {LogStft.refinements} FGLA)": ours("best"),
        "PGHI + 50 FGLA": refined(50, heap=True),
        "FGLA 32, random": refined(32, heap=False),
        "FGLA 100, random": refined(100, heap=False),
        "librosa.griffinlim 32": librosas(32),
        "librosa.griffinlim 100": librosas(100),
    }
    targets = [GRID.analyse(wave).abs() for wave in waves]
    for name, method in methods.items():  # compile, plan, import
        start = time.perf_counter()
        method(targets[0][:, :20], 20 * HOP - 1)
        print(f"first call of {name}: {time.perf_counter() - start:.2f} s")
    seconds = {name: np.zeros((len(waves), repeats)) for name in methods}
    errors = {name: np.zeros(len(waves)) for name in methods}
    for index, (wave, target) in enumerate(zip(waves, targets, strict=True)):
        for repeat in range(repeats):
            for name, method in methods.items():
                start = time.perf_counter()
                made = method(target, wave.shape[1])
                seconds[name][index, repeat] = time.perf_counter() - start
                errors[name][index] = phase.spectral_convergence(target, GRID.analyse(made).abs())
    duration = sum(wave.shape[1] for wave in waves) / rate
    print(f"\n{len(waves)} notes, {duration:.1f} s, {repeats} alternating repeats, {torch.get_num_threads()} thread(s)")
    print(f"{'phase recovery':26s} {'convergence dB: median':>22s} {'mean':>7s} {'worst':>7s} {'s of sound / s':>15s}")
    rows: list[dict[str, float | str]] = []
    for name in methods:
        speed = duration / np.median(seconds[name], axis=1).sum()
        found = errors[name]
        row = {"median": float(np.median(found)), "mean": float(found.mean()), "worst": float(found.max())}
        print(f"{name:26s} {row['median']:22.2f} {row['mean']:7.2f} {row['worst']:7.2f} {speed:15.1f}")
        rows.append({"method": name, **row, "speed": float(speed)})
    return rows


def round_trips(waves: list[torch.Tensor], rate: int) -> list[dict[str, float | str]]:
    """Measure the round trip of every representation and print a table."""
    views = [
        Waveform(WaveformConfig(sample_rate=rate)),
        MuLaw(MuLawConfig(sample_rate=rate)),
        Stft(StftConfig(sample_rate=rate)),
        Nsgt(NsgtConfig(sample_rate=rate)),
        LogStft(LogStftConfig(sample_rate=rate)),
        LogMel(LogMelConfig(sample_rate=rate)),
        LogNsgt(LogNsgtConfig(sample_rate=rate)),
    ]
    print(f"\n{'representation':16s} {'round trip dB: median':>22s} {'worst':>8s}  what")
    rows: list[dict[str, float | str]] = []
    for view in views:
        found = []
        for wave in waves:
            whole = wave[None]
            found.append(error(view, whole, view.synthesise(view.analyse(whole), whole.shape[-1])))
        what = "spectral convergence of its magnitudes" if view.drops_phase else "signal-to-noise ratio"
        worst = max(found) if view.drops_phase else min(found)
        name = type(view).__name__
        print(f"{name:16s} {np.median(found):22.1f} {worst:8.1f}  {what}")
        rows.append({"representation": name, "median": float(np.median(found)), "worst": worst, "what": what})
    return rows


def main() -> None:
    """Run both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("LATENTSCAPE_DATA", beside)) / "notes"
    parser.add_argument("--source", type=Path, default=root, help="folder with metadata.csv (default: %(default)s)")
    parser.add_argument("--notes", type=int, default=40, help="how many notes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of notes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the tables here too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    waves, rate = notes(options.source, options.notes, options.seed)
    tables = {"recovery": recoveries(waves, rate, options.repeats), "round_trip": round_trips(waves[:20], rate)}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(tables, indent=1).replace("Infinity", '"inf"'), encoding="utf-8")


if __name__ == "__main__":
    main()
