"""Do new sounds have the label that was asked for? Judges that learnt from real recordings alone name them.

    python benchmarks/conditioning.py RUN LABEL [--count 20] [--seconds S] [--strength 1] [--temperature 1]
                                      [--nucleus 1] [--retries 3] [--alone] [--json FILE]

RUN is a model of waves that was told LABEL (``latentscape train SOURCE --recipe wavenet --set
model.condition=[LABEL]``). ``count`` sounds are drawn for every value of the label, those that are mere noise or
silence again, and named by a quick judge (:mod:`latentscape.measure.portraits`) that learnt from real training
recordings, with and without noise; beside it stands the same judge on real test recordings. Each sound stands for a
test recording of the value: other labels that RUN is told are that one's (``--alone``: unknown), and it is as long,
since padding enters no loss, so that nothing is known of what would follow. Of recordings as of sounds the first
``seconds`` are taken. Median f0 (pYIN) of real and drawn sounds is given for every value.
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


def median_pitch(waves: list[torch.Tensor], rate: int) -> float:
    """Return the median f0 of all voiced frames, Hz."""
    import librosa

    found = []
    for wave in waves:
        frame = 1024 if rate < 12000 else 2048
        f0, voiced, _ = librosa.pyin(wave[0].numpy(), fmin=60, fmax=600, sr=rate, frame_length=frame)
        found.append(f0[voiced])
    pitches = np.concatenate(found) if found else np.zeros(0)
    return float(np.median(pitches)) if len(pitches) else float("nan")


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
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
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
            known = {one: text for one, text in texts.items() if text is not None}
            told.setdefault(name, []).append((known, min(clip.frames, most)))
    lesson, whose = studied(real["train"], rate)
    judge = learn(lesson, [names["train"][at] for at in whose])
    known = [at for at, name in enumerate(names["test"]) if name in judge.classes]
    faces = np.stack([portrait(real["test"][at], rate) for at in known])
    rows = {"real": judge.accuracy(faces, [names["test"][at] for at in known])}
    manner = Manner(asked.temperature, asked.nucleus, asked.strength)
    hits, failed, pitches = [], 0, {}
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
        heard = [wave for wave, name in zip(real["test"], names["test"], strict=True) if name == value]
        pitches[value] = (median_pitch(heard[:20], rate), median_pitch(made, rate))
        print(f"{asked.label} {value}: {hits[-1]:.2f} named so, median f0 real and made {pitches[value]}", flush=True)
    rows |= {"seconds": asked.seconds, "made": float(np.mean(hits)), "failed": failed, "median_f0": pitches}
    print(f"judge of real test recordings {rows['real']:.3f}, of made sounds {rows['made']:.3f}, {failed} failed")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
