"""The verbs on files: sounds and codes in, sounds and codes out.

Outputs keep their input's relative path and stem (``kick/01.flac`` -> ``DIR/kick/01.wav``). Nothing is overwritten
unless told: every target is checked before the first is written. Every function returns lines that say what was
written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from latentscape.core.errors import DataError, StorageError, UsageError, nearest
from latentscape.core.storage import atomic, load_object, save_json
from latentscape.data.corpus import ImageCorpus, SourceOptions
from latentscape.data.sources import open_source
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.windows import count_windows
from latentscape.models.second_stage import SecondStage
from latentscape.signal import audio
from latentscape.signal.representation import Quality, Representation

SUFFIX = ".wav"
Labels = Mapping[str, str] | None
"""What a conditioned model is told, such as ``{"instrument": "flute"}``; what it is not told is unknown to it."""


def reconstruct(
    run: Path,
    source: str,
    out: Path,
    *,
    quality: str = "best",
    device: str = "auto",
    labels: Labels = None,
    overwrite: bool = False,
) -> list[str]:
    """Write every sound of a source as the model hears it."""
    chosen = _quality(quality)
    instrument, sound = _sounding(run, device)
    clips = list(_clips(source, sound))
    targets = _targets(out, [name for name, _ in clips], SUFFIX, overwrite)
    return [
        _write(target, instrument.reconstruct(wave(), quality=chosen, labels=labels), sound.sample_rate, overwrite)
        for target, (_, wave) in zip(targets, clips, strict=True)
    ]


def encode(
    run: Path, source: str, out: Path, *, device: str = "auto", labels: Labels = None, overwrite: bool = False
) -> list[str]:
    """Write the codes of every sound: ``.npy`` float32 ``[d, t]``, and ``.json`` with what is needed to read them."""
    instrument, sound = _sounding(run, device)
    clips = list(_clips(source, sound))
    names = [name for name, _ in clips]
    targets = _targets(out, names, ".npy", overwrite)
    _targets(out, names, ".json", overwrite)
    lines = []
    for target, (_, wave) in zip(targets, clips, strict=True):
        samples = wave()
        codes = instrument.encode(samples, labels).T.contiguous().numpy()
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


def decode(
    run: Path,
    codes: Path,
    out: Path,
    *,
    quality: str = "best",
    device: str = "auto",
    labels: Labels = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the sound of codes as :func:`encode` writes them."""
    chosen = _quality(quality)
    instrument, sound = _sounding(run, device)
    files = sorted(codes.rglob("*.npy")) if codes.is_dir() else [codes]
    if not files:
        raise DataError(f"{codes} holds no .npy files of codes")
    root = codes if codes.is_dir() else codes.parent
    points = [_read_codes(file, instrument.dim) for file in files]
    names = [file.relative_to(root).with_suffix("").as_posix() for file in files]
    lines = []
    for target, file, z in zip(_targets(out, names, SUFFIX, overwrite), files, points, strict=True):
        seconds = _seconds_of(file.with_suffix(".json"), instrument, sound, len(z))
        lines.append(
            _write(target, instrument.render(z, seconds, quality=chosen, labels=labels), sound.sample_rate, overwrite)
        )
    return lines


def sample(
    run: Path,
    out: Path,
    *,
    count: int = 8,
    seconds: float = 2.0,
    seed: int = 0,
    temperature: float = 1.0,
    quality: str = "best",
    device: str = "auto",
    labels: Labels = None,
    stage: SecondStage | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write draws from the prior, or from a second stage: sounds, or one picture of images."""
    chosen = _quality(quality)
    instrument = Instrument.load(run, device)
    if instrument.representation is None:
        target = _targets(out, ["samples"], ".png", overwrite)[0]
        images = instrument.sample(count, seed=seed, temperature=temperature, labels=labels, stage=stage)
        return [_write_images(target, images)]
    targets = _targets(out, [f"sample{number:03d}" for number in range(count)], SUFFIX, overwrite)
    drawn = {"seed": seed, "temperature": temperature, "labels": labels, "stage": stage}
    waves = instrument.sample(count, seconds, quality=chosen, **drawn)
    rate = instrument.representation.sample_rate
    return [_write(target, wave, rate, overwrite) for target, wave in zip(targets, waves, strict=True)]


def walk(
    run: Path,
    out: Path,
    *,
    kind: str = "circle",
    seconds: float = 10.0,
    axes: str | None = None,
    radius: float = 2.0,
    turns: float = 1.0,
    seed: int = 0,
    quality: str = "best",
    device: str = "auto",
    labels: Labels = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the sound of a walk through the latent space."""
    chosen = _quality(quality)
    target = _file(out, overwrite)
    instrument, sound = _sounding(run, device)
    kind = kind.replace("-", "_")
    options = {"turns": turns} if kind in ("circle", "spiral") else {}
    options |= {"seed": seed} if kind in ("line", "sphere", "random_walk") else {}
    path = instrument.walk(kind, axes=_axes(axes), reach=radius, **options)
    return [
        _write(target, instrument.render(path, seconds, quality=chosen, labels=labels), sound.sample_rate, overwrite)
    ]


def morph(
    run: Path,
    first: Path,
    second: Path,
    out: Path,
    *,
    kind: str = "line",
    seconds: float | None = None,
    quality: str = "best",
    device: str = "auto",
    labels: Labels = None,
    overwrite: bool = False,
) -> list[str]:
    """Write a sound that begins as one and ends as another."""
    chosen = _quality(quality)
    if kind not in ("line", "sphere"):
        raise UsageError(f"--kind got '{kind}', expected line or sphere")
    target = _file(out, overwrite)
    instrument, sound = _sounding(run, device)
    a, b = (_read(path, sound) for path in (first, second))
    wave = instrument.morph(a, b, seconds, kind=kind, quality=chosen, labels=labels)
    return [_write(target, wave, sound.sample_rate, overwrite)]


# ------------------------------------------------------------------------------------------------------------ in, out


def _quality(name: str) -> Quality:
    known = get_args(Quality)
    if name not in known:
        raise UsageError(f"--quality got '{name}'{nearest(name, known)}")
    return name  # type: ignore[return-value]


def _sounding(run: Path, device: str) -> tuple[Instrument, Representation]:
    instrument = Instrument.load(run, device)
    if instrument.representation is None:
        raise UsageError(f"{run} makes images, not sound; `latentscape sample` and its page show them")
    return instrument, instrument.representation


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


def _axes(text: str | None) -> Sequence[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--axes got '{text}', expected numbers such as 0,1") from error


def _targets(out: Path, names: Iterable[str], suffix: str, overwrite: bool) -> list[Path]:
    """Return where outputs go, and refuse before any work if one is there already."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, expected a folder")
    targets = [out / f"{name}{suffix}" for name in names]
    for target in targets:
        if target.exists() and not overwrite:
            raise UsageError(f"{target} exists; add --overwrite, or choose another folder")
    return targets


def _file(out: Path, overwrite: bool) -> Path:
    known = sorted(audio.WRITTEN)
    if out.suffix.lower() not in known:
        raise UsageError(f"--out {out} ends in '{out.suffix}', expected one of {', '.join(known)}")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; add --overwrite, or choose another name")
    return out


def _write(target: Path, wave: Tensor, rate: int, overwrite: bool) -> str:
    gain = audio.write(target, wave.numpy(), rate, overwrite=overwrite)
    scaled = f", turned down by {-gain:.1f} dB" if gain else ""
    return f"{target}: {wave.shape[1] / rate:.2f} s{scaled}"


def _write_images(target: Path, images: Tensor) -> str:
    from latentscape.core.storage import save_bytes_to
    from latentscape.report.pictures import image_grid

    across = min(8, len(images))
    rows = -(-len(images) // across)
    blank = torch.zeros(rows * across - len(images), *images.shape[1:])
    grid = torch.cat([images, blank]).reshape(rows, across, *images.shape[1:])
    save_bytes_to(target, image_grid((grid[:, :, 0] if grid.shape[2] == 1 else grid).numpy()))
    return f"{target}: {len(images)} images"
