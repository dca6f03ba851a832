"""The verbs on files: sounds and codes in, sounds and codes out.

Outputs keep their input's relative path and stem (``kick/01.flac`` -> ``DIR/kick/01.wav``). Nothing is overwritten
unless told: every target is checked before the first is written. Every function returns lines that say what was
written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from latentscape.core.errors import DataError, StorageError, UsageError, nearest
from latentscape.core.storage import atomic, load_object, save_json
from latentscape.data.corpus import ImageCorpus, SourceOptions
from latentscape.data.sources import open_source
from latentscape.edit import refine as refining
from latentscape.edit.repair import Repair, repair
from latentscape.geometry.pace import timed_like
from latentscape.geometry.paths import PathRecord, Recorded, load_path, save_path
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load_waves
from latentscape.instrument.walks import KINDS, SPEEDS, THROUGH, carried, paced, recorded
from latentscape.instrument.waves import Waves
from latentscape.instrument.windows import count_windows
from latentscape.measure.refinement import HEARD, Usual, usual
from latentscape.models.second_stage import SecondStage
from latentscape.nets.wavenet_sampler import Manner
from latentscape.registry import Joining
from latentscape.signal import audio
from latentscape.signal.representation import Quality, Representation

SUFFIX = ".wav"
DEFAULT_SECONDS = 10.0
RECORDED = "recorded"


@dataclass(frozen=True)
class Making:
    """How sound is made and written, whatever the verb.

    Attributes:
        quality: of the phase recovery: best, fast or live.
        device: auto, cpu, cuda or mps.
        labels: what a conditioned model is told, such as ``{"instrument": "flute"}``; the rest is unknown to it.
        overwrite: whether files that are there are replaced.
        join: how windows become one sound: plain, fade or aligned; ``None`` is the run's own way.

    Raises:
        UsageError: the quality or the joining is not known.
    """

    quality: Quality = "best"
    device: str = "auto"
    labels: Mapping[str, str] | None = None
    overwrite: bool = False
    join: Joining | None = None

    def __post_init__(self) -> None:
        for option, told, known in (
            ("quality", self.quality, get_args(Quality)),
            ("join", self.join, (None, *get_args(Joining))),
        ):
            if told not in known:
                raise UsageError(f"--{option} got '{told}'{nearest(str(told), [str(one) for one in known if one])}")

    @property
    def voice(self) -> dict[str, Any]:
        """Those that the methods of an instrument take."""
        return {"quality": self.quality, "labels": self.labels}


def reconstruct(run: Path, source: str, out: Path, making: Making = Making()) -> list[str]:
    """Write every sound of a source as the model hears it."""
    instrument, sound = _sounding(run, making)
    clips = list(_clips(source, sound))
    targets = _targets(out, [name for name, _ in clips], SUFFIX, making)
    return [
        _write(target, instrument.reconstruct(wave(), **making.voice), sound, making)
        for target, (_, wave) in zip(targets, clips, strict=True)
    ]


def encode(run: Path, source: str, out: Path, making: Making = Making()) -> list[str]:
    """Write the codes of every sound: ``.npy`` float32 ``[d, t]``, and ``.json`` with what is needed to read them."""
    instrument, sound = _sounding(run, making)
    clips = list(_clips(source, sound))
    names = [name for name, _ in clips]
    targets = _targets(out, names, ".npy", making)
    _targets(out, names, ".json", making)
    lines = []
    for target, (_, wave) in zip(targets, clips, strict=True):
        samples = wave()
        codes = instrument.encode(samples, making.labels).T.contiguous().numpy()
        with atomic(target) as temporary, open(temporary, "wb") as file:
            np.save(file, codes, allow_pickle=False)
        about = {
            "run": run.name,
            "shape": ["latent", "time"],
            "rate_hz": sound.frame_rate / instrument.step,
            "sample_rate_hz": sound.sample_rate,
            "samples": samples.shape[1],
        }
        save_json(target.with_suffix(".json"), about)
        lines.append(f"{target}: {codes.shape[0]} latents, {codes.shape[1]} steps")
    return lines


def decode(run: Path, codes: Path, out: Path, making: Making = Making()) -> list[str]:
    """Write the sound of codes as :func:`encode` writes them."""
    instrument, sound = _sounding(run, making)
    files = sorted(codes.rglob("*.npy")) if codes.is_dir() else [codes]
    if not files:
        raise DataError(f"{codes} holds no .npy files of codes")
    root = codes if codes.is_dir() else codes.parent
    points = [_read_codes(file, instrument.dim) for file in files]
    names = [file.relative_to(root).with_suffix("").as_posix() for file in files]
    lines = []
    for target, file, z in zip(_targets(out, names, SUFFIX, making), files, points, strict=True):
        seconds = _seconds_of(file.with_suffix(".json"), instrument, sound, len(z))
        lines.append(_write(target, instrument.render(z, seconds, **making.voice), sound, making))
    return lines


def sample(
    run: Path,
    out: Path,
    making: Making = Making(),
    *,
    count: int = 8,
    seconds: float = 2.0,
    seed: int = 0,
    temperature: float | Sequence[float] = 1.0,
    vary: int | None = None,
    stage: SecondStage | None = None,
) -> list[str]:
    """Write draws from the prior, or from a second stage: sounds, or one picture of images.

    ``vary`` is the one layer of a hierarchy, 1 at the top, that is drawn while the others are at their means.
    """
    if (waves := load_waves(run, making.device)) is not None:
        if vary is not None or not isinstance(temperature, int | float):
            raise UsageError(f"{waves.name} has no layers of latents; give one --temperature and no --vary-layer")
        return _sample_waves(waves, out, making, count, seconds, seed, temperature, stage)
    instrument = Instrument.load(run, making.device)
    drawn = {"seed": seed, "temperature": temperature, "vary": vary, "stage": stage}
    stem = "sample" if vary is None else f"layer{vary}-"
    if instrument.representation is None:
        target = _targets(out, ["samples" if vary is None else f"layer{vary}"], ".png", making)[0]
        return [_write_images(target, instrument.sample(count, labels=making.labels, **drawn))]
    targets = _targets(out, [f"{stem}{number:03d}" for number in range(count)], SUFFIX, making)
    waves = instrument.sample(count, seconds, **making.voice, **drawn)
    return [
        _write(target, wave, instrument.representation, making) for target, wave in zip(targets, waves, strict=True)
    ]


def _sample_waves(
    waves: Waves,
    out: Path,
    making: Making,
    count: int,
    seconds: float,
    seed: int,
    temperature: float,
    stage: SecondStage | None,
) -> list[str]:
    """Write new sounds of a model without a latent space."""
    if stage is not None:
        raise UsageError(f"{waves.name} has no latent space, so no second stage; leave --second-stage out")
    targets = _targets(out, [f"sample{number:03d}" for number in range(count)], SUFFIX, making)
    made = waves.sample(
        count, seconds, seed=seed, labels=making.labels, manner=Manner(temperature), threads=torch.get_num_threads()
    )
    return [_write(target, wave, waves.representation, making) for target, wave in zip(targets, made, strict=True)]


@dataclass(frozen=True)
class Way:
    """Where a walk goes, and how fast.

    Attributes:
        kind: of path; ``None`` is a circle, or what goes through the given sounds: recorded (one), spline (several).
        through: sounds (files) or names of the run's clips, whose mean codes the path goes through; of ``recorded``
            the one whose course it is.
        onto: a sound that the recorded course is carried to.
        timing: a sound in whose course of time the path is gone.
        path: a saved path, in place of a kind.
        save: where to write the path as JSON.
        speed: time, latent, feature or perceived.
        axes: numbers of latent coordinates or names of axes, separated by commas.
        radius: standard deviations of the corpus; ``None`` is 2.
        turns: of a circle or spiral; ``None`` is 1.
        seed: of what is drawn.
    """

    kind: str | None = None
    through: Sequence[str] = ()
    onto: str | None = None
    timing: str | None = None
    path: Path | None = None
    save: Path | None = None
    speed: str = "time"
    axes: str | None = None
    radius: float | None = None
    turns: float | None = None
    seed: int = 0


def walk(
    run: Path, out: Path, way: Way = Way(), making: Making = Making(), *, seconds: float | None = None
) -> list[str]:
    """Write the sound of a walk through the latent space, ``seconds`` long (default: 10, or as long as what was heard).

    Raises:
        UsageError: names that are not known, options that contradict each other, a target that is there already.
    """
    target = _file(out, making)
    if way.save is not None:
        _free(way.save, making)
        if way.save.resolve() == target.resolve():
            raise UsageError(f"--out and --save-path are both {target}; choose another name for one of them")
    instrument, sound = _sounding(run, making)
    path, own = _path(run, instrument, sound, way, making)
    path = paced(instrument, path, way.speed, making.labels)
    wave = _finite(instrument.render(path, seconds or own, **making.voice), target)
    saved = []
    if way.save is not None:  # first, so that no sound is written where this fails
        save_path(way.save, path)
        saved.append(f"{way.save}: {type(path).__name__.lower()}, {path.dim} dimensions, {path.size} points")
    return [_write(target, wave, sound, making), *saved]


def morph(
    run: Path,
    first: Path,
    second: Path,
    out: Path,
    making: Making = Making(),
    *,
    kind: str = "line",
    speed: str = "time",
    seconds: float | None = None,
) -> list[str]:
    """Write a sound that begins as one and ends as another."""
    target = _file(out, making)
    instrument, sound = _sounding(run, making)
    a, b = (_read(path, sound) for path in (first, second))
    return [_write(target, instrument.morph(a, b, seconds, kind=kind, speed=speed, **making.voice), sound, making)]


def refine(
    run: Path, given: Path, out: Path, steps: int, manner: refining.Manner, making: Making = Making(), *, seed: int = 0
) -> list[str]:
    """Write a sound that goes through a model again and again; into a folder, every pass apart, too.

    What was measured of every pass lies beside, as JSON.
    """
    folder = not out.suffix
    target = _targets(out, ["refined"], SUFFIX, making)[0] if folder else _file(out, making)
    instrument, sound = _sounding(run, making)
    names = _targets(out, [f"pass{step:03d}" for step in range(1, steps + 1)], SUFFIX, making) if folder else []

    def each(step: int, wave: Tensor) -> None:
        if folder:
            _write(names[step - 1], wave, sound, making)

    wave = _read(given, sound)
    way = {"seed": seed, "labels": making.labels, "quality": making.quality, "each": each}
    found = refining.refine(instrument, wave, steps, manner, **way)
    lines = [_write(target, found.wave, sound, making), *found.lines()]
    usually = _usual(run, sound, max(wave.shape[1], instrument.window.length * sound.hop))
    held = None if usually is None else [usually.holds(one.heard) for one in found.passes]
    if held is not None:
        counts = ", ".join(f"{name} {sum(one[name] for one in held)}" for name in HEARD)
        lines.append(f"passes in the corpus's 5 to 95 % range, of {steps}: {counts}")
    save_json(target.with_suffix(".json"), found.to_json() | {"usual": usually and asdict(usually), "usual_held": held})
    return lines


def _usual(run: Path, sound: Representation, samples: int, most: int = 200) -> Usual | None:
    """Return what is usual in stretches of a run's own corpus; ``None`` where that is not here any more."""
    try:
        clips = [wave for _, wave in _clips(str(load_object(run / "run.json").get("source")), sound)]
        return usual(_stretches(clips, samples, most), sound.sample_rate)
    except (DataError, UsageError, StorageError):
        return None


def _stretches(clips: Sequence[Callable[[], Tensor]], samples: int, most: int) -> Iterator[Tensor]:
    """Yield stretches of so many samples (or whole clips that are shorter), spread over the clips."""
    each = -(-most // len(clips))
    for clip in clips[:: max(1, len(clips) // most)]:
        wave = clip()
        starts = np.linspace(0, max(0, wave.shape[1] - samples), min(each, max(1, wave.shape[1] // samples)))
        for start in starts.astype(int):
            yield wave[:, start : start + samples]


def inpaint(run: Path | None, sound: Path, out: Path, what: Repair, making: Making = Making()) -> list[str]:
    """Write a sound with its gaps filled in, by a run's model or without one; see :mod:`latentscape.edit`."""
    instrument = None if run is None else _sounding(run, making)[0]
    return repair(sound, out, what, instrument, making.labels, overwrite=making.overwrite)


# -------------------------------------------------------------------------------------------------------------- paths


def _path(
    run: Path, instrument: Instrument, sound: Representation, way: Way, making: Making
) -> tuple[PathRecord, float]:
    """Return the path of a walk, not yet paced, and how long it takes in s unless told."""
    if way.speed not in SPEEDS:
        raise UsageError(f"--speed got '{way.speed}'{nearest(way.speed, SPEEDS)}")
    if way.path is not None:
        if way.kind is not None or way.through or way.axes is not None:
            raise UsageError("--path plays a saved path; leave --kind, --through and --axes out")
        _meaningless(way, "a saved path", radius=True, turns=True)
        path = load_path(way.path, instrument.dim)
        own = (path.seconds if isinstance(path, Recorded) else None) or DEFAULT_SECONDS
    else:
        several = "spline" if len(way.through) > 1 else RECORDED if way.through else "circle"
        kind = (several if way.kind is None else way.kind).replace("-", "_")
        if kind not in (*KINDS, RECORDED):
            raise UsageError(f"--kind got '{kind}'{nearest(kind, (*KINDS, RECORDED))}")
        round_about = kind in ("circle", "spiral")
        _meaningless(way, f"--kind {kind}", radius=kind in THROUGH or kind == RECORDED, turns=not round_about)
        if kind == RECORDED:
            if len(way.through) != 1 or way.axes is not None:
                raise UsageError("--kind recorded is the course of one sound: give it with --through, and no --axes")
            path = _course(run, way.through[0], instrument, sound, making)
            own = path.seconds or DEFAULT_SECONDS
        else:
            path = _kind(run, kind, instrument, sound, way, making)
            own = DEFAULT_SECONDS
    if way.onto is not None:
        if not isinstance(path, Recorded):
            raise UsageError("--onto carries the course of a recorded sound; give that with --through, one alone")
        path = carried(path, _course(run, way.onto, instrument, sound, making))
    if way.timing is not None:
        if way.speed != "time":
            raise UsageError("--timing and --speed both say how fast; leave one of the two out")
        clock = _course(run, way.timing, instrument, sound, making)
        path, own = timed_like(path, clock), clock.seconds or own
    return path, own


def _kind(run: Path, kind: str, instrument: Instrument, sound: Representation, way: Way, making: Making) -> PathRecord:
    options: dict[str, Any] = {} if way.turns is None else {"turns": way.turns}
    if way.through:
        options["through"] = torch.stack([_mean_code(run, name, instrument, sound, making) for name in way.through])
    elif kind in THROUGH or kind in ("random_walk", "drift"):
        options["seed"] = way.seed
    reach = {} if way.radius is None else {"reach": way.radius}
    return instrument.walk(kind, axes=_axes(way.axes), **reach, **options)


def _meaningless(way: Way, of: str, *, radius: bool, turns: bool) -> None:
    """Refuse options that would change nothing."""
    for name, given, nothing in (("--radius", way.radius, radius), ("--turns", way.turns, turns)):
        if nothing and given is not None:
            raise UsageError(f"{name} means nothing to {of}; leave it out")


def _mean_code(run: Path, name: str, instrument: Instrument, sound: Representation, making: Making) -> Tensor:
    """Return the mean code of a sound, or of a clip that the run knows by name."""
    if not Path(name).is_file() and (clip := _clip_of(name, instrument)) is not None:
        return instrument.chart.clips[clip]
    return _course(run, name, instrument, sound, making).matrix.mean(0).float()


def _course(run: Path, name: str, instrument: Instrument, sound: Representation, making: Making) -> Recorded:
    """Return the course of a sound: a file, or a clip that the run knows by name, from the run's own source."""
    if Path(name).is_file():
        return recorded(instrument, _read(Path(name), sound), making.labels, Path(name).name)
    clip = _clip_of(name, instrument)
    if clip is None:
        raise UsageError(f"'{name}' is neither a file nor a clip of {run}{nearest(name, instrument.chart.names)}")
    full = instrument.chart.names[clip]
    source = load_object(run / "run.json").get("source")
    for found, wave in _clips(str(source), sound):
        if found == full:
            return recorded(instrument, wave(), making.labels, full)
    raise DataError(f"{full} is not in {source} any more")


def _clip_of(name: str, instrument: Instrument) -> int | None:
    """Return the number of a clip by its name, or by the last part of it where that is of one clip alone."""
    names = instrument.chart.names
    if name in names:
        return names.index(name)
    ends = [number for number, full in enumerate(names) if full.rpartition("/")[2] == name]
    return ends[0] if len(ends) == 1 else None


# ------------------------------------------------------------------------------------------------------------ in, out


def _sounding(run: Path, making: Making) -> tuple[Instrument, Representation]:
    instrument = Instrument.load(run, making.device)
    if instrument.representation is None:
        raise UsageError(f"{run} makes images, not sound; `latentscape sample` and its page show them")
    return instrument.joined(making.join), instrument.representation


def _clips(source: str, sound: Representation) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Yield name and sound of every clip of a source, at the representation's rate."""
    corpus = open_source(source, SourceOptions(sample_rate=sound.sample_rate))
    if isinstance(corpus, ImageCorpus):
        raise UsageError(f"{source} holds images, but the run makes sound")
    for clip in corpus.clips:
        yield clip.name, lambda clip=clip: torch.from_numpy(corpus.wave(clip).copy())


def _read(path: Path, sound: Representation) -> Tensor:
    """Read one sound at the representation's rate, channels averaged to what it takes."""
    wave, rate = audio.read(path)
    if not np.isfinite(wave).all():
        raise DataError(f"{path} holds NaN or infinite samples")
    if not wave.shape[1]:
        raise DataError(f"{path} holds no sound")
    mixed = wave.mean(0, keepdims=True) if sound.channels == 1 else wave
    return torch.from_numpy(audio.resample(mixed.astype(np.float32), rate, sound.sample_rate))


def _read_codes(file: Path, dim: int) -> Tensor:
    try:
        codes = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise StorageError(f"{file} is missing") from error
    except (OSError, ValueError, EOFError, MemoryError) as error:  # a damaged header may ask for any amount of memory
        raise StorageError(f"{file} is not a .npy file of codes") from error
    if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "fiu":
        kind = codes.dtype if isinstance(codes, np.ndarray) else "several arrays"
        raise DataError(f"{file} holds {kind}, expected an array of real numbers")
    with np.errstate(over="ignore"):  # what float32 can't hold is found below
        codes = codes.astype(np.float32)
    if codes.ndim != 2 or codes.shape[0] != dim or not codes.shape[1] or not np.isfinite(codes).all():
        raise DataError(f"{file} holds an array of shape {list(codes.shape)}, expected finite codes [{dim}, t]")
    return torch.from_numpy(codes.T.copy())


def _seconds_of(about: Path, instrument: Instrument, sound: Representation, count: int) -> float | None:
    """Return how long the sound of some codes was, s, where it is written beside them.

    Codes that were cut or joined since have the length that is theirs.
    """
    samples = load_object(about).get("samples") if about.exists() else None
    if samples is None:
        return None
    if not isinstance(samples, int) or samples < 1:
        raise StorageError(f"{about} is damaged: got {samples!r} samples, expected a whole number above 0")
    fits = count_windows(sound.frames(samples), instrument.window.length, instrument.step) == count
    return samples / sound.sample_rate if fits else None


def labels_of(texts: Sequence[str] | None) -> dict[str, str]:
    """Turn ``["instrument=flute"]`` into a mapping.

    Raises:
        UsageError: a text has no ``=``.
    """
    labels: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--label got '{text}', expected NAME=VALUE, such as instrument=flute")
        labels[name.strip()] = value.strip()
    return labels


def temperatures(text: str) -> float | tuple[float, ...]:
    """Turn ``"0.7"`` into a temperature, and ``"1,0.7,0.5"`` into one a layer.

    Raises:
        UsageError: a part is not a number that is 0 or more.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 <= value < float("inf") for value in values):
        raise UsageError(f"--temperature got '{text}', expected a number, or one a layer such as 1,0.7,0.5")
    return values[0] if len(values) == 1 else values


def _axes(text: str | None) -> list[int | str] | None:
    """Turn ``"0,brightness"`` into numbers of latent coordinates and names of axes."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--axes got '{text}', expected numbers or names with commas between, such as 0,brightness")
    return [int(part) if part.removeprefix("-").isdecimal() else part for part in parts]


def _targets(out: Path, names: Iterable[str], suffix: str, making: Making) -> list[Path]:
    """Return where outputs go, and refuse before any work if one is there already."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, expected a folder")
    targets = [out / f"{name}{suffix}" for name in names]
    for target in targets:
        if target.exists() and not making.overwrite:
            raise UsageError(f"{target} exists; add --overwrite, or choose another folder")
    return targets


def _file(out: Path, making: Making) -> Path:
    known = sorted(audio.WRITTEN)
    if out.suffix.lower() not in known:
        raise UsageError(f"--out {out} ends in '{out.suffix}', expected one of {', '.join(known)}")
    return _free(out, making)


def _free(out: Path, making: Making) -> Path:
    """Return a file that may be written, and refuse before any work one that may not."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder, expected the name of a file")
    if out.exists() and not making.overwrite:
        raise UsageError(f"{out} exists; add --overwrite, or choose another name")
    return out


def _finite(wave: Tensor, target: Path) -> Tensor:
    """Refuse a sound that the model made too loud for any number."""
    if not bool(torch.isfinite(wave).all()):
        raise DataError(
            f"{target} was not written: the model's sound is not finite so far from the corpus; stay nearer to it"
        )
    return wave


def _write(target: Path, wave: Tensor, sound: Representation, making: Making) -> str:
    gain = audio.write(target, _finite(wave, target).numpy(), sound.sample_rate, overwrite=making.overwrite)
    scaled = f", turned down by {-gain:.1f} dB" if gain else ""
    return f"{target}: {wave.shape[1] / sound.sample_rate:.2f} s{scaled}"


def _write_images(target: Path, images: Tensor) -> str:
    from latentscape.core.storage import save_bytes_to
    from latentscape.report.pictures import image_grid

    across = min(8, len(images))
    rows = -(-len(images) // across)
    blank = torch.zeros(rows * across - len(images), *images.shape[1:])
    grid = torch.cat([images, blank]).reshape(rows, across, *images.shape[1:])
    save_bytes_to(target, image_grid((grid[:, :, 0] if grid.shape[2] == 1 else grid).numpy()))
    return f"{target}: {len(images)} images"
