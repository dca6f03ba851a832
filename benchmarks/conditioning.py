"""Do new sounds have the label that was asked for? Judges that learnt from real recordings alone name them.

    python benchmarks/conditioning.py RUN LABEL [--count 20] [--seconds S] [--strength 1] [--temperature 1]
                                      [--nucleus 1] [--retries 3] [--alone] [--pitch 60,600] [--json FILE]

RUN is a model of waves that was told LABEL (``latentscape train SOURCE --recipe wavenet --set
model.condition=[LABEL]``). ``count`` sounds are drawn for every value of the label, those that are mere noise or
silence again, and named by a quick judge (:mod:`latentscape.measure.portraits`) that learnt from real training
recordings, with and without noise; beside it stands the same judge on real test recordings. Each sound stands for a
test recording of the value: other labels that RUN is told are that one's (``--alone``: unknown), and it is as long,
since padding enters no loss, so that nothing is known of what would follow. Of recordings as of sounds the first
``seconds`` are taken. Median f0 (pYIN, between two limits in Hz) of real and drawn sounds is given for every value,
and, where RUN is told ``midi``, how many of them are within half a semitone of the note that was asked for.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from latentscape.core.random import seed_of
from latentscape.experiment.joined import open_run
from latentscape.instrument.loading import load_waves
from latentscape.measure.failing import failing
from latentscape.measure.portraits import learn, portrait, studied
from latentscape.nets.wavenet_sampler import Manner

MOST = 600


def pitch_of(wave: torch.Tensor, rate: int, limits: tuple[float, float]) -> np.ndarray:
    """Return f0 of the voiced frames, Hz."""
    import librosa

    frame = 1024 if rate < 12000 else 2048
    f0, voiced, _ = librosa.pyin(wave[0].numpy(), fmin=limits[0], fmax=limits[1], sr=rate, frame_length=frame)
    return f0[voiced]


def median_pitch(pitches: list[np.ndarray]) -> float:
    """Return the median f0 of all voiced frames, Hz."""
    found = np.concatenate(pitches) if pitches else np.zeros(0)
    return float(np.median(found)) if len(found) else float("nan")


def in_tune(pitches: list[np.ndarray], notes: list[str]) -> list[bool]:
    """Return of every sound whether its median f0 is the note's to half a semitone."""
    wanted = [440 * 2 ** ((float(note) - 69) / 12) for note in notes]
    pairs = zip(pitches, wanted, strict=True)
    return [len(f0) > 0 and abs(12 * np.log2(np.median(f0) / hz)) < 0.5 for f0, hz in pairs]


def main() -> None:
    """Judge a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("label")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    for name in ("strength", "temperature", "nucleus"):
        parser.add_argument(f"--{name}", type=float, default=1.0)
    parser.add_argument("--retries", type=int, default=3)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--pitch", default="60,600", help="lowest and highest f0, Hz")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    lowest, highest = (float(part) for part in asked.pitch.split(","))
    waves = load_waves(asked.run, "cpu")
    assert waves is not None, f"{asked.run} is no model of waves"
    rate = waves.representation.sample_rate
    real: dict[str, list[torch.Tensor]] = {}
    names: dict[str, list[str]] = {}
    told: dict[str, list[tuple[dict[str, str], int]]] = {}
    most = round(asked.seconds * rate)
    with open_run(asked.run).examples as examples:
        for part in ("train", "test"):
            clips = list(examples.split.clips(examples.corpus, part))
            clips = clips[:: max(1, len(clips) // MOST)]
            column = examples.corpus.clips.columns[asked.label]
            cut = [examples.corpus.wave(clip, 0, min(clip.frames, most)).copy() for clip in clips]
            real[part] = [torch.from_numpy(wave) for wave in cut]
            names[part] = [column.text(clip.row) or "" for clip in clips]
        wanted = {asked.label} if asked.alone else waves.vocabulary.keys() & examples.corpus.clips.columns.keys()
        for clip, name in zip(clips, names["test"], strict=True):
            texts = {one: examples.corpus.clips.columns[one].text(clip.row) for one in sorted(wanted)}
            known = {one: text for one, text in texts.items() if text in waves.vocabulary[one]}
            told.setdefault(name, []).append((known, min(clip.frames, most)))
    lesson, whose = studied(real["train"], rate)
    judge = learn(lesson, [names["train"][at] for at in whose])
    known = [at for at, name in enumerate(names["test"]) if name in judge.classes]
    faces = np.stack([portrait(real["test"][at], rate) for at in known])
    rows = {"real": judge.accuracy(faces, [names["test"][at] for at in known])}
    manner = Manner(asked.temperature, asked.nucleus, asked.strength)
    hits, failed, pitches = [], 0, {}
    tuned: dict[str, list[bool]] = {"real": [], "made": []}
    for value in waves.vocabulary[asked.label]:
        own = told.get(value, [({asked.label: value}, most)])
        chosen = [own[number * len(own) // asked.count % len(own)] for number in range(asked.count)]
        labels, lengths = [one for one, _ in chosen], [length for _, length in chosen]
        whole = waves.sample(asked.count, max(lengths) / rate, labels=labels, manner=manner)
        made = [wave[:, :length] for wave, length in zip(whole, lengths, strict=True)]
        for number in range(len(made)):
            for turn in range(asked.retries):
                if failing(made[number], rate) is None:
                    break
                seed = seed_of("again", number, turn)
                again = {"seed": seed, "labels": labels[number], "manner": manner}
                made[number] = waves.sample(1, lengths[number] / rate, **again)[0]
            failed += failing(made[number], rate) is not None
        found = judge.name(np.stack([portrait(wave, rate) for wave in made]))
        hits.append(float(np.mean([name == value for name in found])))
        heard = [wave for wave, name in zip(real["test"], names["test"], strict=True) if name == value][:20]
        voiced = {
            "real": [pitch_of(wave, rate, (lowest, highest)) for wave in heard],
            "made": [pitch_of(wave, rate, (lowest, highest)) for wave in made],
        }
        pitches[value] = (median_pitch(voiced["real"]), median_pitch(voiced["made"]))
        if "midi" in waves.vocabulary and own and "midi" in own[0][0]:
            tuned["real"] += in_tune(voiced["real"], [labels["midi"] for labels, _ in own[: len(heard)]])
            tuned["made"] += in_tune(voiced["made"], [one["midi"] for one in labels])
        print(f"{asked.label} {value}: {hits[-1]:.2f} named so, median f0 real and made {pitches[value]}", flush=True)
    rows |= {"seconds": asked.seconds, "made": float(np.mean(hits)), "failed": failed, "median_f0": pitches}
    print(f"judge of real test recordings {rows['real']:.3f}, of made sounds {rows['made']:.3f}, {failed} failed")
    for which, good in tuned.items():
        if good:
            rows[f"{which}_in_tune"] = float(np.mean(good))
            print(f"{which}: {rows[f'{which}_in_tune']:.2f} of {len(good)} within half a semitone of the note")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
