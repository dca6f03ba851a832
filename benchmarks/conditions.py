r"""Does a label mean what it says? Notes of the test part, encoded at their own pitch and decoded at another.

A run whose model is told ``midi`` (the recipe ``notes-keyboard``) is asked for every test note at another pitch, a
shift of -5 to +5 semitones within what its instrument plays in the corpus, drawn once a note by its name. The answer is
resynthesised, and its pitch tracked (pYIN, Mauch and Dixon 2014, as librosa has it, 1.5 octaves to either side of the
pitch asked for; the median over voiced frames). Printed:

* ``originals``: share of the test notes themselves within 50 cents of their label: what the tracker and the tuning of
  the players leave, the ceiling of the next two;
* ``kept``: share of the reconstructions within 50 cents of their label;
* ``moved``: share of the notes asked for at another pitch within 50 cents of it; ``stayed`` of it still at the old one;
* ``probe``: what is left of pitch in z, a ridge regression from the posterior mean of single windows to midi, fitted on
  training notes: R^2 on the test part, and the same from the spectra themselves for scale;
* ``instrument``: share of the moved notes whose instrument a probe (logistic regression on mean mel spectra, fitted on
  training notes) calls right, beside its share on the test notes themselves.

    python benchmarks/conditions.py RUN [--against OTHER_RUN ...] [--clips N] [--json FILE]

``--against`` runs the probe on runs without the condition, for comparison.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentscape.core.random import numpy_stream
from latentscape.data.corpus import Clip, SoundCorpus
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import PartName
from latentscape.experiment.joined import Opened, build_examples, open_run
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load

REACH = 5
"""Semitones asked for at most."""
SECONDS = 1.5
"""Of a note, from its beginning."""
CENTS = 50.0
PROBED = 4000
"""Windows of each part that a probe sees."""


@dataclass(frozen=True)
class Note:
    """A test note and what became of it.

    Attributes:
        name: of the clip.
        midi: its label.
        asked: the pitch asked for.
        original, kept, moved: tracked pitch in midi numbers; NaN where nothing is voiced.
        wave: of the moved note.
    """

    name: str
    midi: float
    asked: float
    original: float
    kept: float
    moved: float
    wave: np.ndarray


def pitch(wave: np.ndarray, rate: int, about: float) -> float:
    """Return the pitch of a wave ``[n]`` (rate in Hz) as a midi number, looked for 18 semitones about one."""
    low, high = librosa.midi_to_hz([about - 18, about + 18])
    frame = max(2048, 2 ** int(np.ceil(np.log2(4 * rate / low))))
    high = min(high, 0.45 * rate)
    options = {"frame_length": frame, "hop_length": 512, "resolution": 0.2}
    hertz, voiced, _ = librosa.pyin(wave, fmin=low, fmax=high, sr=rate, **options)
    return float(np.median(librosa.hz_to_midi(hertz[voiced]))) if voiced.any() else float("nan")


def ranges(corpus: SoundCorpus) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest midi number of every instrument."""
    found = defaultdict(list)
    for clip in corpus.clips:
        found[clip.labels["instrument"]].append(float(clip.labels["midi"]))
    return {str(name): (min(values), max(values)) for name, values in found.items()}


def shift(clip: Clip, reach: tuple[float, float]) -> float:
    """Return the pitch to ask of a note: -5 to +5 semitones away, not 0, within the range."""
    midi = float(clip.labels["midi"])
    choices = [midi + s for s in range(-REACH, REACH + 1) if s and reach[0] <= midi + s <= reach[1]]
    return float(numpy_stream("shift", clip.name).choice(choices))


def told(clip: Clip, vocabulary: Mapping[str, tuple[str, ...]], **changes: float) -> dict[str, str | float]:
    """Return the labels of a clip that a model knows, with changes; what training has not heard is left out."""
    labels = {name: clip.labels[name] for name in vocabulary if name in clip.labels} | changes
    known = {name: {*values, *(float(v) for v in values if is_number(v))} for name, values in vocabulary.items()}
    return {name: value for name, value in labels.items() if value in known[name]}


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def play(instrument: Instrument, clips: list[Clip], corpus: SoundCorpus) -> Iterator[Note]:
    """Yield the test notes, kept and moved."""
    rate, reach = corpus.sample_rate, ranges(corpus)
    for clip in clips:
        wave = torch.from_numpy(np.array(corpus.wave(clip)))[:, : round(SECONDS * rate)]
        midi, asked = float(clip.labels["midi"]), shift(clip, reach[str(clip.labels["instrument"])])
        own, other = told(clip, instrument.vocabulary), told(clip, instrument.vocabulary, midi=asked)
        z = instrument.encode(wave, own)
        kept, moved = (instrument.render(z, labels=labels)[0].numpy() for labels in (own, other))
        yield Note(
            clip.name,
            midi,
            asked,
            pitch(wave[0].numpy(), rate, midi),
            pitch(kept, rate, midi),
            pitch(moved, rate, asked),
            moved,
        )


def share(differences: list[float]) -> float:
    """Return the share of differences in semitones that are within the tolerance; NaN never is."""
    return float(np.mean(np.abs(differences) * 100 <= CENTS))


def left_in_codes(instrument: Instrument, examples: SoundExamples) -> dict[str, float]:
    """Return R^2 of midi from z and from x, by ridge regressions from single windows."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for part in ("train", "test"):
        for x, context in examples.held(part, 1024, PROBED):
            known = context["midi"] >= 0
            codes = {name: value for name, value in context.items() if name in instrument.vocabulary}
            with torch.no_grad():
                z = instrument.model.encode(x.to(instrument.device), codes)[0]
            values = np.array([float(v) for v in examples.vocabulary["midi"]])[context["midi"]]
            for name, value in {"z": z.flatten(1).cpu().numpy(), "x": x.flatten(1).numpy(), "midi": values}.items():
                found[f"{part} {name}"].append(value[known.numpy()])
    joined = {name: np.concatenate(values) for name, values in found.items()}
    scores = {}
    for name in ("z", "x"):
        probe = make_pipeline(StandardScaler(), Ridge(1.0)).fit(joined[f"train {name}"], joined["train midi"])
        scores[f"probe_{name}"] = float(probe.score(joined[f"test {name}"], joined["test midi"]))
    return scores


def timbre(wave: np.ndarray, rate: int) -> np.ndarray:
    """Return the mean and deviation over time of a note's mel spectrum in dB, its level taken off, ``[80]``."""
    mel = librosa.feature.melspectrogram(y=wave, sr=rate, n_fft=2048, hop_length=512, n_mels=40)
    level = librosa.power_to_db(mel, ref=np.max, top_db=70)
    return np.concatenate([level.mean(1), level.std(1)])


def instruments(notes: list[Note], corpus: SoundCorpus, clips: Mapping[PartName, list[Clip]]) -> dict[str, float]:
    """Return the share of right instruments, of a probe fitted on training notes: test notes, and moved ones."""
    rate = corpus.sample_rate

    def features(part: PartName) -> tuple[np.ndarray, list[str]]:
        waves = (np.array(corpus.wave(clip))[0, : round(SECONDS * rate)] for clip in clips[part])
        names = [str(clip.labels["instrument"]) for clip in clips[part]]
        return np.stack([timbre(wave, rate) for wave in waves]), names

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(*features("train"))
    originals, truth = features("test")
    moved = np.stack([timbre(note.wave, rate) for note in notes])
    return {
        "instrument_originals": float(probe.score(originals, truth)),
        "instrument": float(probe.score(moved, truth)),
    }


def figures(run: Path, most: int | None) -> dict[str, float]:
    """Return all figures of a run that is told ``midi``; of another, the probe's alone."""
    instrument = load(run, "cpu")
    prepared = open_run(run)
    corpus, examples = prepared.corpus, prepared.examples
    assert isinstance(corpus, SoundCorpus)
    with examples:
        found = left_in_codes(instrument, probing(prepared))
    if "midi" not in instrument.vocabulary:
        return found
    parts: tuple[PartName, ...] = ("train", "test")
    clips = {part: list(prepared.split.clips(corpus, part)) for part in parts}
    clips["test"] = clips["test"][:: max(1, len(clips["test"]) // most)] if most else clips["test"]
    notes = list(play(instrument, clips["test"], corpus))
    return found | {
        "notes": len(notes),
        "originals": share([note.original - note.midi for note in notes]),
        "kept": share([note.kept - note.midi for note in notes]),
        "moved": share([note.moved - note.asked for note in notes]),
        "stayed": share([note.moved - note.midi for note in notes]),
        **instruments(notes, corpus, clips),
    }


def probing(prepared: Opened) -> SoundExamples:
    """Return a run's examples with the label ``midi``, whatever its model is told."""
    names = tuple(dict.fromkeys((*getattr(prepared.config.model, "condition", ()), "midi")))
    examples = build_examples(prepared.config, prepared.corpus, prepared.split, names)
    assert isinstance(examples, SoundExamples)
    return examples


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--against", type=Path, nargs="*", default=[])
    parser.add_argument("--clips", type=int, help="test notes at most")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {str(arguments.run): figures(arguments.run, arguments.clips)}
    found |= {str(run): figures(run, arguments.clips) for run in arguments.against}
    for run, numbers in found.items():
        print(run)
        for name, value in numbers.items():
            print(f"  {name:22s} {value:8.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
