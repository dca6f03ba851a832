"""Which makes the better sound of mel spectra: a vocoder, Griffin-Lim, or the inversion by phase gradients?

    python benchmarks/vocoder.py RUN [--clips 12] [--seconds 4] [--draw NAME=VALUE,...] [--run MEL_RUN]
                                 [--out FOLDER] [--json FILE]

RUN is a vocoder (``latentscape train SOURCE --recipe vocoder``). Recordings of its test part, which it has not heard,
are made again from their mel levels alone, the same for all ways:

* ``wavenet``: the run, one stream; the vocoder's own time a sound is given beside. Every ``--draw`` (temperature,
  nucleus, strength) adds another of its ways to draw
* ``griffin-lim``: magnitudes by our mel inversion, random phases, 60 fast iterations (Perraudin et al. 2013, librosa's)
* ``phase gradient, fast`` and ``best``: the same magnitudes, heap integration, and 20 more fast iterations
* ``mulaw``: the recording in 256 mu-law codes, the ceiling of the vocoder

Measured are mel-cepstral distortion (:mod:`latentscape.measure.cepstral`, dB, lower is better) and, where the package
``pesq`` can be imported and the rate is 8 or 16 kHz, PESQ (ITU-T P.862, wide band at 16 kHz; higher is better). Given
is the mean over sounds with its standard error, and the processor time for a second of sound. ``--run`` adds a spectral
run's reconstructions of the same recordings, by phase gradients and spoken by the vocoder (the decoder swap).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from latentscape.experiment.joined import open_run
from latentscape.instrument.loading import load, load_waves
from latentscape.instrument.vocoder import Vocoded, vocoded
from latentscape.measure.cepstral import MelCepstralDistortion
from latentscape.nets.wavenet_sampler import Manner
from latentscape.signal import audio
from latentscape.signal.mulaw import MuLaw, MuLawConfig

ITERATIONS = 60

try:
    from pesq import pesq  # type: ignore[import-not-found]
except ImportError:
    pesq = None


def griffin_lim(view, levels: torch.Tensor, length: int) -> torch.Tensor:
    """Return the sound of levels by librosa's fast Griffin-Lim from random phases."""
    import librosa

    magnitude = view.magnitude(levels)[0].T.numpy()
    short = 1 + length // view.hop - magnitude.shape[1]  # librosa has a frame at the end where we have none
    magnitude = np.pad(magnitude, ((0, 0), (0, max(0, short))), mode="edge")
    wave = librosa.griffinlim(
        magnitude,
        n_iter=ITERATIONS,
        hop_length=view.hop,
        win_length=view.grid.window,
        n_fft=view.grid.window,
        momentum=0.99,
        init="random",
        random_state=0,
        length=length,
    )
    return torch.from_numpy(wave).float()[None]


def manner(text: str) -> Manner:
    """Return how samples are drawn, of ``name=value`` with commas between."""
    pairs = (part.split("=") for part in text.split(","))
    return Manner(**{name: float(value) for name, value in pairs})


def spoken(view, waves, drawn: Manner) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the vocoder's way to make a sound of levels."""
    speaking = Vocoded(view, waves, drawn)
    return lambda wave, levels: speaking.synthesise(levels, wave.shape[1])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocoder", type=Path, metavar="RUN")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each recording, at most")
    parser.add_argument("--draw", action="append", default=[], metavar="NAME=VALUE,...")
    parser.add_argument("--run", type=Path, help="a spectral run to speak for")
    parser.add_argument("--out", type=Path, help="write the sounds there")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    waves = load_waves(asked.vocoder, "cpu")
    view = None if waves is None or waves.hearing is None else waves.hearing.mel
    if waves is None or view is None:
        parser.error(f"{asked.vocoder} is no vocoder")
    rate = waves.representation.sample_rate
    codes = MuLaw(MuLawConfig(sample_rate=rate))
    ways: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mulaw": lambda wave, levels: codes.synthesise(codes.analyse(wave[None]))[0],
        "wavenet": spoken(view, waves, Manner()),
        **{f"wavenet, {text}": spoken(view, waves, manner(text)) for text in asked.draw},
        f"griffin-lim, {ITERATIONS}": lambda wave, levels: griffin_lim(view, levels, wave.shape[1]),
        "phase gradient, fast": lambda wave, levels: view.synthesise(levels, wave.shape[1], quality="fast")[0],
        "phase gradient, best": lambda wave, levels: view.synthesise(levels, wave.shape[1])[0],
    }
    if asked.run is not None:
        instrument = load(asked.run, "cpu")
        swapped = vocoded(instrument, waves)
        ways[f"{asked.run.name}, phase gradient"] = lambda wave, levels: instrument.reconstruct(wave)
        ways[f"{asked.run.name}, wavenet"] = lambda wave, levels: swapped.reconstruct(wave)
    with open_run(asked.vocoder).examples as examples:
        corpus = examples.corpus
        clips = list(examples.split.clips(corpus, "test"))
        count = min(asked.clips, len(clips))
        clips = [clips[at * len(clips) // count] for at in range(count)]
        most = round(asked.seconds * rate)
        given = {clip.name: torch.from_numpy(corpus.wave(clip, 0, min(clip.frames, most)).copy()) for clip in clips}
    distance = MelCepstralDistortion(rate)
    judged = pesq is not None and rate in (8000, 16000)
    if not judged:
        print(
            "PESQ is left out: " + ("the package `pesq` is not here" if pesq is None else f"{rate} Hz is not its rate")
        )
    rows = {}
    for way, make in ways.items():
        first = next(iter(given.values()))
        make(first, view.analyse(first[None]))  # compiles what it must
        found: dict[str, list[float]] = {"mcd_db": [], "pesq": []}
        taken, seconds = 0.0, 0.0
        for name, wave in given.items():
            levels = view.analyse(wave[None])
            begin = time.process_time()
            made = make(wave, levels)
            taken += time.process_time() - begin
            seconds += wave.shape[1] / rate
            found["mcd_db"].append(distance.metric(wave, made))
            if judged:
                mode = "wb" if rate == 16000 else "nb"
                found["pesq"].append(pesq(rate, wave[0].numpy(), made[0].numpy(), mode, on_error=1))
            if asked.out is not None:
                stem = f"{name.replace('/', '-')}-{way.replace(', ', '-').replace(' ', '-').replace(',', '-')}"
                audio.write(asked.out / f"{stem}.wav", made.numpy(), rate, overwrite=True)
        rows[way] = {"cpu_s_per_s": taken / seconds}
        for measure, values in found.items():
            if values:
                rows[way][measure] = float(np.mean(values))
                rows[way][f"{measure}_error"] = float(np.std(values, ddof=1) / len(values) ** 0.5)
        print(f"{way:32} " + "  ".join(f"{key} {value:.3f}" for key, value in rows[way].items()), flush=True)
    print(f"{len(given)} recordings of the test part, {seconds:.0f} s at {rate} Hz")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
