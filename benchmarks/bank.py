"""How near a bank of oscillators of fixed frequencies and phases comes to sounds, whatever writes its amplitudes.

    python benchmarks/bank.py [--source phrases:2:notes] [--rate 8000] [--seconds 1] [--windows 8] [--steps 120]

The log amplitudes of each window are free numbers, fitted by Adam to the spectral term alone: what is left is what the
bank can't say, a floor for every net of kind `bank`. Printed, by oscillators an octave and hop (ms): that term, and the
median change of loudness (dB), centroid (octaves), flatness (dB) and share voiced from the sound to its likeness.
"""

import argparse

import numpy as np
import raw
import torch
from torch import Tensor

from latentscape.core.random import numpy_stream
from latentscape.data.corpus import SourceOptions
from latentscape.data.sources import open_source
from latentscape.models.perceptual import spectral_distance
from latentscape.nets.bank import BankConfig, Oscillators
from latentscape.signal.multiscale import spectral_view

SETTINGS = ((24, 32), (48, 16), (48, 32), (48, 64), (96, 32))
"""Oscillators an octave, and hop in ms."""
LOWEST = 40.0
NAMES = ("loudness", "centroid", "flatness", "voiced")


def fitted(config: BankConfig, sounds: Tensor, steps: int, windows: tuple[int, ...]) -> tuple[float, Tensor]:
    """Return the spectral term that is left, and the likenesses."""
    bank, view = Oscillators(config, sounds.shape[2]), spectral_view(windows)
    logs = torch.full((len(sounds), 1, config.oscillators, -(-sounds.shape[2] // config.hop) + 1), -7.0)
    logs.requires_grad_()
    optimiser, wanted, rate = torch.optim.Adam([logs]), view(sounds), 0.3
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
        made = bank(logs.exp())
        loss = spectral_distance(wanted, view(made))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach()), made.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="phrases:2:notes")
    parser.add_argument("--rate", type=int, default=8000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=120)
    given = parser.parse_args()
    n = round(given.seconds * given.rate)
    corpus = open_source(given.source, SourceOptions(sample_rate=given.rate))
    clips = [clip for clip in corpus.clips if clip.frames >= n]
    chance, sounds = numpy_stream(0, "bank"), []
    while len(sounds) < given.windows:
        clip = clips[chance.integers(len(clips))]
        wave = torch.from_numpy(corpus.wave(clip.part(int(chance.integers(clip.frames - n + 1)), n)).copy())
        sounds += [wave] if raw.describe(wave, given.rate) else []
    waves = torch.stack(sounds)
    heard = [raw.describe(wave, given.rate) for wave in waves]
    resolutions = tuple(4 * round(given.rate * seconds / 4) for seconds in (0.016, 0.064, 0.256))
    print(f"{'':16}{'spectral':>10}" + "".join(f"{name:>10}" for name in NAMES))
    for per_octave, milliseconds in SETTINGS:
        hop = round(given.rate * milliseconds / 1000)
        config = BankConfig(lowest=LOWEST / given.rate, per_octave=per_octave, hop=hop, frame=4 * hop)
        left, made = fitted(config, waves, given.steps, resolutions)
        found = [raw.describe(wave, given.rate) for wave in made]
        pairs = [(a, b) for a, b in zip(heard, found, strict=True) if a and b]
        moved = [np.median([getattr(b, name) - getattr(a, name) for a, b in pairs]) for name in NAMES]
        print(
            f"{per_octave:5}, {milliseconds} ms{left:12.2f}" + "".join(f"{value:10.2f}" for value in moved), flush=True
        )


if __name__ == "__main__":
    main()
