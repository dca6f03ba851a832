"""The page of a run of an autoregressive model: its verdict, sounds that it made, and its figures."""

from dataclasses import dataclass
from pathlib import Path

import torch

from latentscape import __version__
from latentscape.core.storage import load_json, name_of
from latentscape.data.examples import Examples
from latentscape.data.hearing import Place
from latentscape.data.sounds import SoundExamples
from latentscape.experiment.joined import Opened
from latentscape.instrument.waves import Waves
from latentscape.measure.measure import Number
from latentscape.report.items import Commands, Item, Page, Section, Sound, Table, Text
from latentscape.report.page import write_page
from latentscape.signal import audio
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict

SECONDS = 2.0
PAIRS = 4
"""Test recordings that are made again on the page."""
SHOWN = 8
"""Most sounds on the page."""


@dataclass(frozen=True)
class Told:
    """A sound to make: what it is called, and the label it is told."""

    title: str
    labels: dict[str, str]


def to_make(vocabulary: dict[str, tuple[str, ...]]) -> list[Told]:
    """Return what the page lets be heard: four told nothing, then values of the label that has fewest."""
    free = [Told(f"sample {number}", {}) for number in range(1, 5)]
    if not vocabulary:
        return free
    name = min(vocabulary, key=lambda label: len(vocabulary[label]))
    return [*free, *(Told(f"{name} {value}", {name: value}) for value in vocabulary[name][: SHOWN - len(free)])]


def again(run: Path, waves: Waves, examples: Examples) -> tuple[Item, ...]:
    """Return test recordings, and each made again of what is heard of it alone; none of a run that hears nothing."""
    if waves.hearing is None or not isinstance(examples, SoundExamples):
        return ()
    corpus, rate = examples.corpus, waves.representation.sample_rate
    clips = list(examples.sounds("test", PAIRS, SECONDS).clips(corpus))
    most = round(SECONDS * rate)
    given = [torch.from_numpy(corpus.wave(clip, 0, min(clip.frames, most)).copy()) for clip in clips]
    places = [Place(str(clip.path), clip.start / rate) for clip in clips]
    series = [waves.hear(wave, place) for wave, place in zip(given, places, strict=True)]
    made = waves.voiced(series, [wave.shape[1] for wave in given])
    sounds: list[Item] = []
    for number, (clip, first, second) in enumerate(zip(clips, given, made, strict=True), 1):
        for what, wave in (("recorded", first), ("made again", second)):
            file = f"sounds/{what.replace(' ', '-')}-{number}.wav"
            audio.write(run / file, wave.numpy(), rate, overwrite=True)
            sounds.append(Sound(f"{clip.name}, {what}", wave.numpy(), rate, "", file))
    return tuple(sounds)


def show_waves(
    run: Path, waves: Waves, prepared: Opened, outcome: Outcome, verdict: Verdict, numbers: dict[str, Number]
) -> None:
    """Write sounds and the page of a run."""
    rate = waves.representation.sample_rate
    wanted = to_make(waves.vocabulary)
    made = waves.sample(len(wanted), SECONDS, labels=[told.labels for told in wanted])
    sounds: list[Item] = []
    for told, wave in zip(wanted, made, strict=True):
        stem = told.title.replace(" ", "-").replace("/", "-")
        audio.write(run / "sounds" / f"{stem}.wav", wave.numpy(), rate, overwrite=True)
        sounds.append(Sound(told.title, wave.numpy(), rate, "", f"sounds/{stem}.wav"))
    pairs = again(run, waves, prepared.examples)
    heard = [Section("Test recordings, and as it makes them of what it hears of them", pairs)] if pairs else []
    facts = load_json(run / "run.json")
    rows = tuple((name, f"{number.value:.4g}", number.unit) for name, number in numbers.items())
    reach = waves.model.receptive_field
    page = Page(
        title=name_of(run),
        lead=f"A model of the wave of {facts['source'].rstrip('/').rpartition('/')[2]}, recipe {facts['recipe']}.",
        facts=(
            (f"{numbers['bits_per_sample'].value:.3f}", "bits a sample, test part"),
            ("all" if reach is None else f"{1000 * reach / rate:.0f} ms", "of the past is heard"),
            (f"{outcome.step:,}", "training steps"),
        ),
        sections=(
            Section("Verdict", (Text("\n\n".join(verdict.lines()), "warning" if verdict.warns else "good"),)),
            *heard,
            Section("Sounds that it made", tuple(sounds), "From silence, one sample after another, by seed 0."),
            Section("Figures", (Table("on the test part", ("measure", "value", "unit"), rows),)),
            Section("Make it again", (Commands.of("this run", facts["command"]),)),
        ),
        footer=f"latentscape {__version__}, {facts['started'][:10]}",
    )
    write_page(page, run / "index.html")
