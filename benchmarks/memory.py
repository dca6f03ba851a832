"""Memory of training against the size of the corpus: 10 minutes and 10 hours, made by repeating and perturbing notes.

    python benchmarks/memory.py [--hours 10] [--steps 400] [--keep FOLDER]

Each corpus is trained by the shell with the recipe `frames` in a process of its own; the peak of its anonymous memory
(RssAnon, Linux) is sampled from the first import to the finished page. Decoding into the cache is a run of its own
before (`latentscape doctor`), whose peak is printed too. The target is a difference of at most 10 %.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

MINUTE = 60


def make(notes: list[Path], folder: Path, minutes: int) -> None:
    """Write one file a minute: notes one after the other, each at a pitch and level of its own."""
    folder.mkdir(parents=True)
    stream = np.random.default_rng(0)
    for number in range(minutes):
        parts: list[np.ndarray] = []
        rate, length = 0, 0
        while not rate or length < MINUTE * rate:
            wave, rate = soundfile.read(notes[stream.integers(len(notes))], dtype="float32")
            speed = 2 ** (stream.uniform(-1, 1) / 12)
            wave = soxr.resample(wave, rate * speed, rate, quality="LQ") * np.float32(stream.uniform(0.3, 1))
            parts.append(wave)
            length += len(wave)
        soundfile.write(folder / f"{number:04d}.wav", np.concatenate(parts)[: MINUTE * rate], rate, subtype="PCM_16")


def peak(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return the peak of its anonymous memory in MB, and seconds."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            most = max(most, int(status.split("RssAnon:")[1].split()[0]))
        except (OSError, IndexError):
            pass
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return most / 1024, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="make the corpora here and leave them")
    options = parser.parse_args()
    data = Path(os.environ.get("LATENTSCAPE_DATA", "../shared/data")) / "notes"
    notes = sorted(data.rglob("*.flac"))
    if not notes:
        raise SystemExit(f"no notes in {data}; set LATENTSCAPE_DATA")
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        environment = os.environ | {"LATENTSCAPE_CACHE": str(root / "cache")}
        peaks = []
        for name, minutes in (("ten minutes", 10), (f"{options.hours:g} hours", round(60 * options.hours))):
            folder = root / str(minutes)
            if not folder.exists():
                make(notes, folder, minutes)
            shell = [sys.executable, "-m", "latentscape"]
            decoding, seconds = peak([*shell, "doctor", str(folder)], environment)
            sets = ["--set", f"train.max_steps={options.steps}", "--set", "train.threads=1"]
            run = root / f"run{minutes}-{time.time_ns()}"
            training, more = peak(
                [*shell, "train", str(folder), "--run", str(run), "--recipe", "frames", *sets], environment
            )
            peaks.append(training)
            print(
                f"{name:12} decoding {decoding:6.0f} MB ({seconds:.0f} s), training {training:6.0f} MB ({more:.0f} s)",
                flush=True,
            )
        print(f"ratio {peaks[1] / peaks[0]:.3f} (target at most 1.10)")


if __name__ == "__main__":
    main()
