"""What every verb on files shares: how sound is made, read and written.

Every target is checked before the first is written.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from latentscape.core.config import parse
from latentscape.core.errors import DataError, LatentscapeError, UsageError, nearest
from latentscape.core.storage import load_object
from latentscape.data.corpus import ImageCorpus, SoundCorpus, SourceOptions, begin_of
from latentscape.data.scan import LOUDEST
from latentscape.data.sources import open_source
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load, load_waves
from latentscape.instrument.streamed import redrawn
from latentscape.instrument.vocoder import vocoded
from latentscape.nets.wavenet_sampler import Manner
from latentscape.registry import Joining
from latentscape.signal import audio
from latentscape.signal.representation import Quality, Representation

SUFFIX = ".wav"
WEIGHTS = "weights.safetensors"
STRETCH_SECONDS = 4.0
"""Of a long recording from a start that is named."""


@dataclass(frozen=True)
class Making:
    """How sound is made and written, whatever the verb.

    Attributes:
        quality: of the phase recovery: best, fast or live.
        device: auto, cpu, cuda or mps.
        labels: what a conditioned model is told, such as ``{"instrument": "flute"}``; the rest is unknown to it.
        overwrite: whether files that are there are replaced.
        join: how windows become one sound: plain, fade or aligned; ``None`` is the run's own way.
        overlap: the share of a window that the next one takes part in; ``None`` is the run's own.
        vocoder: a run that makes the sound of spectra, in place of phase recovery.
        peak: dBFS that the loudest sample of each file is brought to; ``None`` leaves it as the model makes it.
        draw: how a decoder that draws sample after sample, or the vocoder, does it: ``temperature``, ``nucleus``,
            ``strength`` (see :class:`~latentscape.nets.wavenet_sampler.Manner`) and ``seed``, those that differ.

    Raises:
        UsageError: the quality or the joining is not known.
    """

    quality: Quality = "best"
    device: str = "auto"
    labels: Mapping[str, str] | None = None
    overwrite: bool = False
    join: Joining | None = None
    overlap: float | None = None
    vocoder: Path | None = None
    peak: float | None = None
    draw: Mapping[str, float] = field(default_factory=dict)

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

    @property
    def drawing(self) -> dict[str, Any]:
        """How samples are drawn: ``manner`` and ``seed``, as those take them that draw."""
        return {
            "manner": Manner(**{name: value for name, value in self.draw.items() if name != "seed"}),
            "seed": int(self.draw.get("seed", 0)),
        }


def labels_of(texts: Sequence[str] | None) -> dict[str, str]:
    """Turn ``["instrument=flute"]`` into a mapping.

    Raises:
        UsageError: a text has no ``=``, or a name has two values.
    """
    return _pairs(texts, "label", "instrument=flute")


def draw_of(texts: Sequence[str] | None) -> dict[str, float]:
    """Turn ``["temperature=0.8", "seed=3"]`` into what :attr:`Making.draw` holds.

    Raises:
        UsageError: a text is no such pair, its name is not known, or its value is no number that may be.
    """
    known = (*(one.name for one in fields(Manner)), "seed")
    told: dict[str, float] = {}
    for name, value in _pairs(texts, "draw", "temperature=0.8").items():
        if name not in known:
            raise UsageError(f"--draw got '{name}'{nearest(name, known)}")
        try:
            told[name] = int(value) if name == "seed" else float(value)
        except ValueError:
            kind = "a whole number" if name == "seed" else "a number"
            raise UsageError(f"--draw {name} got '{value}', expected {kind}") from None
    Manner(**{name: value for name, value in told.items() if name != "seed"})
    return told


def _pairs(texts: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name:
            raise UsageError(f"--{option} got '{text}', expected NAME=VALUE, such as {example}")
        if pairs.setdefault(name, value) != value:
            raise UsageError(f"--{option} got two values for '{name}', '{pairs[name]}' and '{value}', expected one")
    return pairs


def sounding(run: Path, making: Making) -> tuple[Instrument, Representation]:
    """Load a run that makes sound, with its representation."""
    instrument = load(run, making.device)
    if instrument.representation is None:
        raise UsageError(f"{run} makes images, not sound; `latentscape sample` and its page show them")
    instrument = speaking(instrument.joined(making.join, making.overlap), making)
    assert instrument.representation is not None
    return instrument, instrument.representation


def speaking(instrument: Instrument, making: Making) -> Instrument:
    """Return an instrument that speaks through the vocoder, where one is asked for, and draws as is said.

    Raises:
        UsageError: the vocoder is none, or is one of other sounds; or nothing is drawn sample after sample.
    """
    if making.vocoder is None:
        return redrawn(instrument, **making.drawing) if making.draw else instrument
    vocoder = load_waves(making.vocoder, making.device)
    if vocoder is None:
        raise UsageError(
            f"--vocoder {making.vocoder} has a latent space and is no vocoder; "
            "`latentscape train SOURCE --recipe vocoder` makes one"
        )
    return vocoded(instrument, vocoder, **making.drawing)


def sounds_of(source: str, sound: Representation) -> SoundCorpus:
    """Return the sounds of a source, at the representation's rate."""
    return _heard(source, SourceOptions(), sound)


def own_sounds(run: Path, sound: Representation) -> SoundCorpus:
    """Return the sounds that a run has learnt from, read as it has read them."""
    source = str(load_object(run / "run.json", ("source",))["source"])
    options = parse(SourceOptions, load_object(run / "config.json").get("source", {}), f"{run / 'config.json'}: source")
    return _heard(source, options, sound)


def _heard(source: str, options: SourceOptions, sound: Representation) -> SoundCorpus:
    corpus = open_source(source, options.model_copy(update={"sample_rate": sound.sample_rate}))
    if isinstance(corpus, ImageCorpus):
        raise UsageError(f"{source} holds images, but the run makes sound")
    return corpus


def clips_of(corpus: SoundCorpus) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Yield name and sound of every clip."""
    for clip in corpus.clips:
        yield clip.name, lambda clip=clip: torch.from_numpy(corpus.wave(clip).copy())


def read_sound(path: Path, sound: Representation) -> Tensor:
    """Read one sound at the representation's rate, channels averaged to what it takes."""
    wave, rate = audio.read(path)
    if not np.isfinite(wave).all():
        raise DataError(f"{path} holds NaN or infinite samples")
    if not (np.abs(wave) <= LOUDEST).all():
        raise DataError(f"{path} holds samples beyond all levels")
    if not wave.shape[1]:
        raise DataError(f"{path} holds no sound")
    mixed = wave.mean(0, keepdims=True) if sound.channels == 1 else wave
    return torch.from_numpy(audio.resample(mixed.astype(np.float32), rate, sound.sample_rate))


def sound_of(run: Path, name: Path | str, sound: Representation) -> tuple[str, Tensor]:
    """Return name and sound of a file, or of a clip of the run's own source by its name or the last part of it.

    ``NAME@START``, as dots of the map of a long recording are called, is the stretch that begins at that sample.

    Raises:
        UsageError: it is neither, or the last part of several names.
    """
    if Path(name).is_file():
        return Path(name).name, read_sound(Path(name), sound)
    try:
        corpus = own_sounds(run, sound)
    except LatentscapeError as error:
        raise UsageError(f"'{name}' is no file, and the sounds of {run} can't be read: {error}") from error
    names = list(corpus.clips.names)
    at = clip_of(str(name), names)
    if at is not None:
        return names[at], torch.from_numpy(corpus.wave(corpus.clips[at]).copy())
    whole, start = begin_of(str(name))
    at = clip_of(whole, names)
    if at is None or whole == str(name) or start >= corpus.clips[at].frames:
        raise UsageError(f"'{name}' is neither a file nor a clip of {run}{nearest(str(name), names)}")
    left, longest = corpus.clips[at].frames - start, round(STRETCH_SECONDS * sound.sample_rate)
    clip = corpus.clips[at].part(start, min(left, longest))
    return clip.name, torch.from_numpy(corpus.wave(clip).copy())


def clip_of(name: str, names: Sequence[str]) -> int | None:
    """Return the place of a clip by its name, or by the last part of it, which must be of one clip alone.

    Raises:
        UsageError: it is the last part of several names.
    """
    if name in names:
        return names.index(name)
    ends = [number for number, full in enumerate(names) if full.rpartition("/")[2] == name]
    if len(ends) > 1:
        clips = ", ".join(f"'{names[number]}'" for number in ends[:5]) + (" ..." if len(ends) > 5 else "")
        raise UsageError(f"'{name}' is the last part of the names of {len(ends)} clips: {clips}; write one of them")
    return ends[0] if ends else None


def targets_of(out: Path, names: Iterable[str], suffix: str, making: Making) -> list[Path]:
    """Return where outputs go, and refuse before any work if one is there already.

    ``out`` is a folder; or, for one output alone, a file.
    """
    names = list(names)
    if not out.is_dir() and out.suffix.lower() in (audio.WRITTEN if suffix == SUFFIX else (suffix,)):
        if len(names) > 1:
            raise UsageError(f"--out {out} is the name of one file, but {len(names)} are made; expected a folder")
        return [free(out, making)]
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, expected a folder")
    targets = [out / f"{name}{suffix}" for name in names]
    for target in targets:
        if target.exists() and not making.overwrite:
            raise UsageError(f"{target} exists; add --overwrite, or choose another folder")
    return targets


def file_of(out: Path, making: Making) -> Path:
    """Return a sound file that may be written, and refuse before any work one that may not."""
    known = sorted(audio.WRITTEN)
    if out.suffix.lower() not in known:
        raise UsageError(f"--out {out} ends in '{out.suffix}', expected one of {', '.join(known)}")
    return free(out, making)


def free(out: Path, making: Making) -> Path:
    """Return a file that may be written, and refuse before any work one that may not."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder, expected the name of a file")
    if out.exists() and not making.overwrite:
        raise UsageError(f"{out} exists; add --overwrite, or choose another name")
    return out


def finite(wave: Tensor, target: Path) -> Tensor:
    """Refuse a sound that the model made too loud for any number."""
    if not bool(torch.isfinite(wave).all()):
        raise DataError(
            f"{target} was not written: the model's sound is not finite so far from the corpus; stay nearer to it"
        )
    return wave


def write(target: Path, wave: Tensor, sound: Representation, making: Making) -> str:
    """Write one sound, scaled only where a peak is asked for or it passes -1 dBFS, and say so."""
    loudest = float(finite(wave, target).abs().max()) if wave.numel() else 0.0
    scale = 10 ** (making.peak / 20) / loudest if making.peak is not None and loudest else 1.0
    gain = audio.write(target, (scale * wave).numpy(), sound.sample_rate, overwrite=making.overwrite)
    gain += 20 * math.log10(scale)
    scaled = f", turned {'up' if gain > 0 else 'down'} by {abs(gain):.1f} dB" if abs(gain) >= 0.05 else ""
    return f"{target}: {wave.shape[1] / sound.sample_rate:.2f} s{scaled}"
