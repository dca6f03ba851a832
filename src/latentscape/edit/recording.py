"""A sound file as it is: samples at its own depth, so that what is not edited is written back to the bit.

Integers are kept as integers (those of less than 32 bits in the upper bits of 16 or 32, as libsndfile gives them), and
only samples that were made anew are rounded. What a lossy coder has thrown away can't be had to the bit from another
pass through it: mp3, ogg and m4a are written as 32-bit float wav, which holds what was decoded exactly.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from latentscape.core.errors import DataError, StorageError, UsageError
from latentscape.core.storage import atomic
from latentscape.signal import audio

DEPTHS: dict[str, tuple[Literal["int16", "int32", "float32", "float64"], int]] = {
    "PCM_S8": ("int16", 8),
    "PCM_U8": ("int16", 8),
    "PCM_16": ("int16", 16),
    "PCM_24": ("int32", 24),
    "PCM_32": ("int32", 32),
    "FLOAT": ("float32", 32),
    "DOUBLE": ("float64", 64),
}
"""libsndfile's lossless encodings: the type that holds their samples, and their bits."""
CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".aiff": "AIFF", ".aif": "AIFF"}


@dataclass(frozen=True)
class Recording:
    """A sound as its file holds it.

    Attributes:
        samples: ``[c, n]``, of the type that :data:`DEPTHS` names.
        sample_rate: Hz.
        container: such as ``"WAV"``.
        subtype: encoding to write, such as ``"PCM_16"``.
        lossless: whether the file holds the samples exactly.
    """

    samples: np.ndarray
    sample_rate: int
    container: str
    subtype: str
    lossless: bool

    @property
    def wave(self) -> np.ndarray:
        """The samples at full scale 1, ``[c, n]`` float64."""
        return self.samples.astype(np.float64) / self._scale

    @property
    def _scale(self) -> float:
        return 1.0 if self.samples.dtype.kind == "f" else 2.0 ** (8 * self.samples.dtype.itemsize - 1)

    def made(self, wave: np.ndarray) -> np.ndarray:
        """Return new samples ``wave [c, m]`` (full scale 1) at this recording's depth; what passes it is cut."""
        if self.samples.dtype.kind == "f":
            return wave.astype(self.samples.dtype)
        bits = DEPTHS[self.subtype][1]
        held = 8 * self.samples.dtype.itemsize
        top = 2 ** (bits - 1)
        whole = np.clip(np.round(wave * top), -top, top - 1).astype(np.int64)
        return (whole << (held - bits)).astype(self.samples.dtype)


def open_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a sound file at its own depth.

    Raises:
        DataError: it is missing, not sound or holds none.
    """
    path = Path(path)
    info = audio.probe(path)
    if info.subtype in DEPTHS:
        try:
            samples, rate = soundfile.read(path, dtype=DEPTHS[info.subtype][0], always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise DataError(f"{path} can't be decoded: {error}") from error
        if not len(samples):
            raise DataError(f"{path} holds no sound")
        audio.warn_if_cut(path, len(samples), info.frames, rate)
        return Recording(np.ascontiguousarray(samples.T), rate, info.format, info.subtype, True)
    samples, rate = audio.read(path)
    return Recording(samples, rate, "WAV", "FLOAT", False)


def check_target(recording: Recording, source: Path, target: Path, *, overwrite: bool) -> None:
    """Refuse a target before any work.

    Raises:
        UsageError: it exists, is the source itself, or can't hold the samples exactly.
    """
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        lossy = " (a lossy format would change the sound outside the gaps)" if suffix in audio.SUFFIXES else ""
        raise UsageError(f"--out {target} ends in '{suffix}', expected one of {', '.join(sorted(CONTAINERS))}{lossy}")
    if target.exists() and target.resolve() == source.resolve():
        raise UsageError(f"--out {target} is the sound itself; choose another name")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; add --overwrite, or choose another name")
    container, subtype = form_of(recording, target)
    if not soundfile.check_format(container, subtype):
        raise UsageError(f"--out {target}: {container} can't hold {recording.subtype} exactly; take .wav")


def form_of(recording: Recording, target: Path) -> tuple[str, str]:
    """Return container and encoding of what is written: the recording's own where the suffix allows."""
    suffix = target.suffix.lower()
    container = CONTAINERS[suffix]
    same = {".wav": ("WAV", "WAVEX", "RF64", "W64"), ".aif": ("AIFF",), ".aiff": ("AIFF",), ".flac": ("FLAC",)}
    if recording.container in same[suffix] and recording.container != "W64":
        container = recording.container
    subtype = recording.subtype
    if subtype in ("PCM_U8", "PCM_S8"):  # the same eight bits, signed or not as the container has them
        subtype = "PCM_U8" if container in ("WAV", "WAVEX", "RF64") else "PCM_S8"
    return container, subtype


def suffix_of(recording: Recording) -> str:
    """Return the suffix that keeps a recording's own format."""
    return {"FLAC": ".flac", "AIFF": ".aiff"}.get(recording.container, ".wav")


def save_recording(target: Path, recording: Recording, samples: np.ndarray) -> None:
    """Write samples ``[c, n]`` in a recording's rate, depth and format; the file appears whole or not at all.

    Raises:
        StorageError: it could not be written.
    """
    container, subtype = form_of(recording, target)
    with atomic(target) as temporary:
        try:
            soundfile.write(temporary, samples.T, recording.sample_rate, subtype=subtype, format=container)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise StorageError(f"could not write {target} as {container}: {error}; nothing was changed") from error
