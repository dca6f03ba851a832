"""Sounds to codes and back."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentscape.core.errors import DataError, StorageError, UsageError
from latentscape.core.storage import digest_of, load_object, name_of, save_bytes_to, save_json
from latentscape.data.hearing import Place
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.loading import load_waves
from latentscape.instrument.waves import Waves
from latentscape.instrument.windows import count_windows
from latentscape.signal.representation import Representation
from latentscape.workshop.making import SUFFIX, WEIGHTS, Making, clips_of, free, sounding, sounds_of, targets_of, write

ROWS = 8
"""Sounds that a model of waves makes in step, at most."""


def reconstruct(run: Path, source: str, out: Path, making: Making = Making()) -> list[str]:
    """Write every sound of a source as the model hears it; of a vocoder, as it makes it of its bands alone."""
    if (waves := load_waves(run, making.device)) is not None:
        return _again(waves, source, out, making)
    instrument, sound = sounding(run, making)
    corpus = sounds_of(source, sound)
    clips = list(clips_of(corpus))
    targets = targets_of(out, [name for name, _ in clips], SUFFIX, making)
    lines = [
        write(target, instrument.reconstruct(wave(), **making.voice), sound, making)
        for target, (_, wave) in zip(targets, clips, strict=True)
    ]
    return [*lines, *corpus.leaves_out()]


def _again(waves: Waves, source: str, out: Path, making: Making) -> list[str]:
    """Write sounds that a model of waves makes of what it hears of others; several in step."""
    if making.vocoder is not None:
        raise UsageError(f"{waves.name} makes waves itself; leave --vocoder out")
    sound = waves.representation
    corpus = sounds_of(source, sound)
    targets = targets_of(out, [clip.name for clip in corpus.clips], SUFFIX, making)
    order = sorted(range(len(targets)), key=lambda at: corpus.clips[at].frames)  # of about one length side by side
    lines = [""] * len(targets)
    for low in range(0, len(order), ROWS):
        some = order[low : low + ROWS]
        given = [corpus.clips[at] for at in some]
        series = [
            waves.hear(torch.from_numpy(corpus.wave(clip).copy()), Place(str(clip.path), clip.start / clip.rate))
            for clip in given
        ]
        way: dict[str, Any] = {"labels": making.labels, "threads": torch.get_num_threads(), **making.drawing}
        for at, wave in zip(some, waves.voiced(series, [clip.frames for clip in given], **way), strict=True):
            lines[at] = write(targets[at], wave, sound, making)
    return [*lines, *corpus.leaves_out()]


def encode(run: Path, source: str, out: Path, making: Making = Making()) -> list[str]:
    """Write the codes of every sound: ``.npy`` float32 ``[d, t]``, and ``.json`` with what is needed to read them."""
    instrument, sound = sounding(run, making)
    corpus = sounds_of(source, sound)
    clips = list(clips_of(corpus))
    names = [name for name, _ in clips]
    targets = targets_of(out, names, ".npy", making)
    for target in targets:
        free(target.with_suffix(".json"), making)
    weights = digest_of(run / WEIGHTS)
    lines = []
    for target, (_, wave) in zip(targets, clips, strict=True):
        samples = wave()
        codes = instrument.encode(samples, making.labels).T.contiguous().numpy()
        file = io.BytesIO()  # on a full disk numpy's own writing says how many bytes were missed, not why
        np.save(file, codes, allow_pickle=False)
        save_bytes_to(target, file.getvalue())
        about = {
            "run": name_of(run),
            "weights": weights,
            "shape": ["latent", "time"],
            "rate_hz": sound.frame_rate / instrument.step,
            "sample_rate_hz": sound.sample_rate,
            "samples": samples.shape[1],
        }
        save_json(target.with_suffix(".json"), about)
        lines.append(f"{target}: {codes.shape[0]} latents, {codes.shape[1]} steps")
    return [*lines, *corpus.leaves_out()]


def decode(run: Path, codes: Path, out: Path, making: Making = Making()) -> list[str]:
    """Write the sound of codes as :func:`encode` writes them.

    Raises:
        UsageError: what lies beside them says that another run has written them: its space is another.
    """
    instrument, sound = sounding(run, making)
    files = sorted(codes.rglob("*.npy")) if codes.is_dir() else [codes]
    if not files:
        raise DataError(f"{codes} holds no .npy files of codes")
    root = codes if codes.is_dir() else codes.parent
    weights = digest_of(run / WEIGHTS)
    for file in files:
        _require_of(run, weights, file)
    points = [_read_codes(file, instrument.dim) for file in files]
    names = [file.relative_to(root).with_suffix("").as_posix() for file in files]
    lines = []
    for target, file, z in zip(targets_of(out, names, SUFFIX, making), files, points, strict=True):
        seconds = _seconds_of(file.with_suffix(".json"), instrument, sound, len(z))
        lines.append(write(target, instrument.render(z, seconds, **making.voice), sound, making))
    return lines


def _require_of(run: Path, weights: str, codes: Path) -> None:
    """Refuse codes of other weights; of those without a word beside them nobody knows."""
    about = codes.with_suffix(".json")
    facts = load_object(about) if about.exists() else {}
    if facts.get("weights", weights) != weights:
        raise UsageError(
            f"{codes} holds codes of {facts.get('run')!r} with other weights than those of {run}: decode them with "
            f"that run, or take {about} away to decode them all the same"
        )


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
    if codes.ndim != 2 or codes.shape[0] != dim or not codes.shape[1]:
        raise DataError(f"{file} holds an array of shape {list(codes.shape)}, expected finite codes [{dim}, t]")
    if not np.isfinite(codes).all():
        first = np.argwhere(~np.isfinite(codes))[0].tolist()
        raise DataError(f"{file} holds {codes[tuple(first)]:g} at {first}, expected finite codes of float32")
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
