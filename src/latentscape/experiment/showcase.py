"""What a run has to show: its latent map, sounds to hear, pictures, and the page that holds them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from latentscape import __version__
from latentscape.core.storage import load_json, name_of, save_bytes_to
from latentscape.data.corpus import Clip, Column, SoundCorpus
from latentscape.data.examples import Examples
from latentscape.data.images import ImageExamples
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import PARTS, PartName
from latentscape.experiment.joined import Opened
from latentscape.instrument.axes import moved
from latentscape.instrument.decoded import UNITS, described
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import LatentMap, latent_map
from latentscape.instrument.neighbourhood import neighbourhood
from latentscape.instrument.stream import softened
from latentscape.measure.failing import failing
from latentscape.measure.latent import Examination
from latentscape.measure.measure import Number
from latentscape.measure.spectral import SPECTRAL, describe_clip
from latentscape.report import pictures
from latentscape.report.items import Commands, Compare, Item, Map, Page, Picture, Relief, Section, Sound, Table, Text
from latentscape.report.style import CATEGORIES, DARK
from latentscape.signal import audio
from latentscape.train.loop import Outcome
from latentscape.train.verdict import Verdict

MAP_CLIPS = 200
MOST_COLOURS = 16
WORDS = 24
"""Most words of a label that colours the map."""
RELIEF = (36, 54)
"""Spots of the map that are decoded for its ground: rows, columns."""
LEAST_RELIEF = 20
GROUND = "brightness"
"""The descriptor that lies behind the dots at first."""
MAP_SECONDS = 4.0
MAP_IMAGES = 3000
WALK_SECONDS = 8.0
_HELD = {
    False: "a point drawn from the prior, held",
    True: "a point drawn from the prior, held: silence, as parts of the sounds are that it has learnt",
}
WALKS = {
    "circle": "around the middle of the corpus, in the plane of its two widest axes",
    "spiral": "from the middle outwards, three turns",
    "random_walk": "a smooth stroll over all axes",
}
COLOURED_BY = ("instrument", "family", "label", "speaker", "digit", "tag", "folder", "class")
"""Labels that colour the map, the first that is there."""


def chart_of(instrument: Instrument, examples: Examples) -> tuple[LatentMap, Tensor]:
    """Return the latent map of items of all parts, and the codes of all their frames (or of the images)."""
    if isinstance(examples, SoundExamples):
        return _chart_of_sounds(instrument, examples)
    assert isinstance(examples, ImageExamples)
    rows = [
        (row, part != "train") for part in PARTS for row in examples.split.parts[part].some(MAP_IMAGES).rows.tolist()
    ]
    codes = torch.cat([instrument.encode(x) for part in PARTS for x, _ in examples.held(part, 1024, MAP_IMAGES)])
    labels = _labels(examples.corpus.columns, [row for row, _ in rows])
    chart = latent_map(codes, labels, names=[f"image {row}" for row, _ in rows])
    return _laid_out(chart, [held for _, held in rows], {}), codes


def _chart_of_sounds(instrument: Instrument, examples: SoundExamples) -> tuple[LatentMap, Tensor]:
    corpus = examples.corpus
    clips = [(clip, part != "train") for part in PARTS for clip in spread_clips(examples, part, MAP_CLIPS)]
    most = examples.samples(MAP_SECONDS)
    codes, sounds = [], []
    for clip, _ in clips:
        wave = corpus.wave(clip, 0, min(clip.frames, most)).copy()
        codes.append(instrument.encode(torch.from_numpy(wave)))
        sounds.append(describe_clip(wave, corpus.sample_rate))
    owner = torch.cat([torch.full((len(code),), number) for number, code in enumerate(codes)])
    labels = _labels(corpus.clips.columns, [clip.row for clip, _ in clips])
    chart = latent_map(torch.cat(codes), labels, clip=owner, names=[clip.name for clip, _ in clips])
    descriptors = {name: tuple(sound[name] for sound in sounds) for name in SPECTRAL}
    return _laid_out(chart, [held for _, held in clips], descriptors), torch.cat(codes)


def _laid_out(chart: LatentMap, held: list[bool], descriptors: Mapping[str, tuple[float, ...]]) -> LatentMap:
    """Return the map with what it knows of its clips, and with their neighbour-preserving places."""
    neighbours = neighbourhood(chart.clips, chart.project(chart.clips))
    return replace(chart, test=tuple(held), descriptors=descriptors, neighbours=neighbours)


def spread_clips(examples: SoundExamples, part: PartName, most: int) -> list[Clip]:
    """Return at most so many sounds of a part, spread evenly over it."""
    return list(examples.sounds(part, most, MAP_SECONDS).clips(examples.corpus))


def _labels(columns: Mapping[str, Column], rows: list[int]) -> dict[str, list[str]]:
    return {name: [column.text(int(row)) or "" for row in rows] for name, column in columns.items() if name != "split"}


def colouring(chart: LatentMap) -> tuple[str, list[str] | list[float]]:
    """Return which label colours the map, and its values."""
    for name in COLOURED_BY:
        if len(set(chart.labels.get(name, ()))) > 1:
            return name, [value or "?" for value in chart.labels[name]]
    for name, values in chart.labels.items():
        if 1 < len(set(values)) <= 16:
            return name, [value or "?" for value in values]
    return "", ["" for _ in chart.clips]


def sound_sections(run: Path, instrument: Instrument, examples: SoundExamples, chart: LatentMap) -> list[Section]:
    """Render walks, a morph, samples and reconstructions into ``sounds/``, draw them, and return their sections."""
    rate = examples.corpus.sample_rate
    heard = spread_clips(examples, "test", 4)
    most = examples.samples(MAP_SECONDS)
    waves = [torch.from_numpy(examples.corpus.wave(clip, 0, min(clip.frames, most)).copy()) for clip in heard]
    walks: list[Item] = []
    ways: list[Item] = []
    shown = chart.project(chart.clips).numpy()
    for kind, about in WALKS.items():
        path = instrument.walk(kind, **({"turns": 3} if kind == "spiral" else {}))
        wave = softened(instrument.render(path, WALK_SECONDS), rate)
        title = kind.replace("_", " ")
        walks.append(kept_sound(run, f"walk-{kind.replace('_', '-')}", title, wave, rate, about))
        places = chart.project(path.evaluate(torch.linspace(0, 1, 400)).float()).numpy()
        ways.append(
            kept_picture(
                run,
                f"walk-{kind.replace('_', '-')}",
                f"the way of the {title}",
                pictures.walk,
                wave.numpy(),
                rate,
                places,
                shown,
            )
        )
    if len(waves) > 1:
        morph = instrument.morph(waves[0], waves[-1], 4.0)
        walks.append(kept_sound(run, "morph", "morph", morph, rate, f"from {heard[0].name} to {heard[-1].name}"))
    samples = instrument.sample(4, 2.0)
    drawn: list[Item] = [
        kept_sound(run, f"sample-{number}", f"sample {number}", wave, rate, _HELD[failing(wave, rate) == "silence"])
        for number, wave in enumerate(samples, 1)
    ]
    compared: list[Item] = []
    drawings: list[Item] = []
    for number, (clip, wave) in enumerate(zip(heard, waves, strict=True), 1):
        again = instrument.reconstruct(wave)
        pair = (
            Sound("original", wave.numpy(), rate),
            kept_sound(run, f"reconstruction-{number}", "reconstruction", again, rate, "", title_only=True),
        )
        compared.append(Compare(clip.name, pair))
        both = {"original": wave.numpy(), "reconstruction": again.numpy()}
        drawings.append(
            kept_picture(run, f"reconstruction-{number}", clip.name, pictures.waveform_and_spectrogram, both, rate)
        )
    return [
        Section("Walks through the space", (*walks, *ways), "Every sound here was made by the model."),
        Section("Draws from the prior", tuple(drawn)),
        Section(
            "Sounds the model has never heard",
            (*compared, *drawings),
            "Originals of the test part, and what is left of them.",
        ),
        Section("Latent map", (_map(instrument, examples),)),
        axes_section(instrument),
    ]


def image_sections(run: Path, instrument: Instrument, examples: Examples, chart: LatentMap) -> list[Section]:
    """Draw reconstructions, samples and the plane of the first two axes, and return their sections."""
    x = next(iter(examples.held("test", 12, 12)))[0]
    again = instrument.decode(instrument.encode(x))
    pairs = plain(torch.stack([x, again]))
    samples = plain(instrument.sample(48).reshape(4, 12, *examples.event_shape))
    plane = plain(instrument.grid(12, 12))
    grids = {
        "reconstructions": ("Images the model has never seen", "originals above, reconstructions below", pairs),
        "samples": ("Draws from the prior", "samples", samples),
        "plane": ("The plane of the two widest axes", "two deviations to either side", plane),
    }
    sections = [
        Section(heading, (kept_picture(run, stem, title, pictures.image_grid, grid),))
        for stem, (heading, title, grid) in grids.items()
    ]
    return [*sections, Section("Latent map", (_map(instrument, None),))]


def plain(images: torch.Tensor) -> np.ndarray:
    """Drop the channel axis of grey images ``[rows, columns, 1, h, w]``."""
    return (images[:, :, 0] if images.shape[2] == 1 else images).numpy()


def kept_sound(
    run: Path, stem: str, title: str, wave: torch.Tensor, rate: int, caption: str, *, title_only: bool = False
) -> Sound:
    """Write a sound into the run's folder and return it for the page."""
    audio.write(run / "sounds" / f"{stem}.wav", wave.numpy(), rate, overwrite=True)
    return Sound(title, wave.numpy(), rate, "" if title_only else caption, f"sounds/{stem}.wav")


def kept_picture(run: Path, stem: str, title: str, draw, *given) -> Picture:  # noqa: ANN001, ANN002
    """Draw a picture on light and on dark paper; the light one is kept in the run's folder too."""
    light = draw(*given)
    save_bytes_to(run / "pictures" / f"{stem}.png", light)
    return Picture(title, light, dark=draw(*given, theme=DARK))


def _map(instrument: Instrument, examples: SoundExamples | None) -> Map:
    chart = instrument.chart
    name, labels = colouring(chart)
    sounds: tuple[Sound | None, ...] = ()
    if examples is not None:
        rate = examples.corpus.sample_rate
        by_name = {clip.name: clip for part in PARTS for clip in spread_clips(examples, part, MAP_CLIPS)}
        sounds = tuple(
            Sound(one, examples.corpus.wave(by_name[one], 0, min(by_name[one].frames, rate)).copy(), rate)
            for one in chart.names
        )
    flat = chart.project(chart.clips).numpy()
    kept = chart.neighbours is not None
    caption = (
        "Every dot is a sound, beside those that sound alike to the model; hollow dots were not heard in training."
        if kept
        else "Mean codes on the two widest principal axes; hollow dots were not heard in training."
    )
    return Map(
        "where the corpus lies",
        chart.places.numpy() if kept else flat,
        chart.names,
        labels,
        name,
        chart.test,
        sounds,
        caption if examples is not None else caption.replace("sound,", "item,").replace("that sound alike", "alike"),
        further_colours(chart, name),
        reliefs(instrument),
        {"principal axes": flat} if kept else {},
        "neighbours together" if kept else "principal axes",
    )


def further_colours(chart: LatentMap, first: str) -> dict[str, list[str] | list[float]]:
    """Return what else can colour the map: descriptors of the sounds, then labels that sort them."""
    found: dict[str, list[str] | list[float]] = {}
    for name, values in chart.descriptors.items():
        if sum(map(math.isfinite, values)) > len(values) / 2:
            found[_with_unit(name)] = list(values)
    for name, values in chart.labels.items():
        numbers = _numbers(values)
        distinct = len(set(values))
        if name == first or distinct < 2 or len(found) >= MOST_COLOURS:
            continue
        if numbers is not None and distinct > len(CATEGORIES):
            found[name] = numbers
        elif distinct <= WORDS:
            found[name] = [value or "?" for value in values]
    return found


def _numbers(values: Sequence[str]) -> list[float] | None:
    try:
        return [float(value) if value else math.nan for value in values]
    except ValueError:
        return None


def _with_unit(name: str) -> str:
    return f"{name} ({UNITS[name]})" if UNITS[name] else name


def reliefs(instrument: Instrument) -> tuple[Relief, ...]:
    """Return the descriptors of what the spots of the picture sound like."""
    chart = instrument.chart
    if instrument.representation is None or len(chart.clips) < LEAST_RELIEF or instrument.dim < 2:
        return ()
    places = chart.places.double()
    low, high = places.min(0).values, places.max(0).values
    margin = 0.1 * (high - low).max()
    low, high = low - margin, high + margin
    x, y = (torch.linspace(float(a), float(b), count) for a, b, count in zip(low, high, RELIEF[::-1], strict=True))
    spots = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), -1).flatten(0, 1)
    values = described(instrument, chart.spot(spots))
    ends = ((float(low[0]), float(low[1])), (float(high[0]), float(high[1])))
    return tuple(
        Relief(_with_unit(name), _smooth(values[name].reshape(len(y), len(x))), *ends)
        for name in sorted(values, key=lambda name: name != GROUND)
        if np.isfinite(values[name]).mean() > 0.5
    )


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return a grid blurred by a bell of one step, unknown values kept unknown."""
    known = np.isfinite(values)
    total, weight = gaussian_filter(np.where(known, values, 0.0), 1.0), gaussian_filter(known.astype(float), 1.0)
    return np.where(known, total / np.maximum(weight, 1e-9), np.nan)


def axes_section(instrument: Instrument) -> Section:
    """Return the named axes as a table: what each moves, how far, and how much of the corpus it explains."""
    naming = instrument.naming
    rows = tuple((axis.name, f"{axis.deviation:.2f}", moved(axis) or "-") for axis in naming.axes)
    table = Table(
        f"{len(naming.axes)} {naming.directions} axes",
        ("axis", "deviation", "what it moves, from two deviations below to two above"),
        rows,
        "R2: share of a descriptor's variance over the corpus that the axis alone explains.",
        numeric=(1,),
    )
    items: list[Item] = [table]
    if naming.descriptors:
        explained = tuple(
            (_with_unit(name), f"{one.mean:.4g}", f"{one.deviation:.3g}", f"{one.explained:.2f}")
            for name, one in naming.descriptors.items()
        )
        columns = ("descriptor", "mean", "deviation", "R2 of all axes")
        items.append(
            Table("how much of each descriptor the axes explain together", columns, explained, numeric=(1, 2, 3))
        )
    return Section("Named axes", tuple(items), "Directions of the corpus, named for what is heard along them.")


def compose(
    run: Path,
    prepared: Opened,
    outcome: Outcome,
    verdict: Verdict,
    numbers: Mapping[str, Number],
    unseen: Examination,
    sections: list[Section],
) -> Page:
    """Return the whole page of a run."""
    facts = load_json(run / "run.json")
    latents = len(unseen.mean_variance)
    active = f"{unseen.active} of {latents}" if unseen.active is not None else str(latents)
    card = [
        (active, "latents in use"),
        (f"{outcome.step:,}", "training steps"),
        (_clock(outcome.seconds), "of training"),
    ]
    if "lsd_features_ratio" in numbers:
        card.append((f"{numbers['lsd_features_ratio'].value:.2f}", "of the spectral error of linear PCA"))
    names = {"loss": "loss (nats)", "distortion": "distortion (nats)", "rate": "rate (nats)", "mmd": "MMD"}
    about: list[Item] = []
    if any(name in row for name in names for row in outcome.history):
        about.append(
            kept_picture(run, "learning-curves", "learning curves", pictures.learning_curves, outcome.history, names)
        )
    if unseen.dimension_rate is not None:
        about.append(
            kept_picture(run, "rates", "what each latent carries", pictures.rates, unseen.dimension_rate.numpy())
        )
    rows = tuple((name, f"{number.value:.4g}", number.unit) for name, number in numbers.items())
    table = Table("figures on the test part", ("measure", "value", "unit"), rows)
    settings = tuple(
        (name, str(value)) for name, value in _flat(prepared.config.model_dump(mode="json", exclude_defaults=True))
    )
    begun = {
        "walk": ("--kind", "spiral", "--seconds", "20", "--out", "walk.wav"),
        "morph": ("A.wav", "B.wav", "--out", "morph.wav"),
        "play": (),
        "evaluate": (),
    }
    if not isinstance(prepared.corpus, SoundCorpus):
        begun = {"sample": ("--out", "samples"), "evaluate": ()}
    commands = [("latentscape", verb, str(run), *rest) for verb, rest in begun.items()]
    worse = "lsd_features_ratio" in numbers and numbers["lsd_features_ratio"].value > 1
    again = (
        Commands.of("this run", facts["command"]),
        Commands.of("go on from here", *commands),
        Table("configuration, where it differs from the defaults", ("key", "value"), settings),
    )
    source = facts["source"].rstrip("/").rpartition("/")[2]
    return Page(
        title=name_of(run),
        lead=f"A latent space of {source}, learnt with the recipe {facts['recipe']}.",
        facts=tuple(card),
        sections=(
            Section("Verdict", (Text("\n\n".join(verdict.lines()), "warning" if worse or verdict.warns else "good"),)),
            *sections,
            Section("How it learnt", (*about, table)),
            Section("Make it again", again),
        ),
        footer=f"latentscape {__version__}, {facts['started'][:10]}",
    )


def _flat(values: Mapping, prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in values.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
