"""Sound files: probe, read, read in blocks, resample, write.

Letters: c channels, n samples (frames in libsndfile's words). Full scale is 1; a level in dBFS is ``20 log10 |x|``.

wav, flac, ogg, mp3 and aiff go through libsndfile; m4a and aac through the ``ffmpeg`` executable where there is one.
Samples are returned as they are in the file, NaN and infinity too: to look for them is the caller's part.
A file cut short gives what can be decoded: less than :attr:`AudioInfo.frames`, which is what its header says;
:func:`read` warns of it.
"""

import math
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from latentscape.core.errors import DataError, DataWarning, StorageError, UsageError, nearest
from latentscape.core.storage import atomic

PEAK_LIMIT = 10 ** (-1 / 20)
"""-1 dBFS, the greatest peak that :func:`write` leaves as it is."""

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".m4a", ".aac")
"""File name suffixes that are taken for sound."""

WRITTEN = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".aiff": ("AIFF", "PCM_24"),
    ".aif": ("AIFF", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
}
HIGHEST_RATE = 10_000_000
"""Hz that may be asked for; hydrophones take a fifth of it, and a second at a mistyped rate could fill the memory."""
LOWEST_RATE = 100
"""Hz of a file that is believed: at less, a minute would become hours at the rate of the others."""
_BLOCK = 1 << 16
_PIECE = 4096
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file's header says.

    Attributes:
        frames: samples a channel that the header declares. A truncated file holds fewer. (Ogg declares none: there it
            is what was found.)
        sample_rate: Hz.
        channels: number of channels.
        format: container, such as ``"WAV"``; ``"M4A"`` or ``"AAC"`` for what is read through ffmpeg.
        subtype: encoding, such as ``"PCM_16"``; ``"FFMPEG"`` for what ffmpeg reads, which seldom is exact.
    """

    frames: int
    sample_rate: int
    channels: int
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Declared duration, s."""
        return self.frames / self.sample_rate


def probe(path: str | os.PathLike[str], most: int | None = None) -> AudioInfo:
    """Read a sound file's header.

    Args:
        path: the file.
        most: samples of all channels together after which ffmpeg stops: what it reads is decoded whole, to disk, and
            an hour of silence takes it 2 MB. Other formats are never decoded for their header. ``None`` is no bound.

    Raises:
        DataError: the file is missing, empty, not permitted or not sound.
    """
    path = Path(path)
    with _opened(path, most) as sound:
        form = (sound.coded, "FFMPEG") if sound.coded else (sound.format, sound.subtype)
        return AudioInfo(_declared(path, sound), sound.samplerate, sound.channels, *form)


def read(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read a whole sound file.

    Returns:
        The samples, ``[c, n]`` float32, and the sample rate in Hz. ``n`` is less than ``probe(path).frames`` where the
        file is cut off, which warns (:class:`DataWarning`).

    Raises:
        DataError: as :func:`probe`, or not one sample can be decoded.
    """
    path = Path(path)
    with _opened(path) as sound:
        samples = np.concatenate(list(_decode(sound, path, _BLOCK)), axis=1)
        warn_if_cut(path, samples.shape[1], _declared(path, sound), sound.samplerate)
        return np.ascontiguousarray(samples), sound.samplerate


def cut_off(found: int, declared: int) -> bool:
    """Return whether samples are missing; lossy formats may count a few samples of padding."""
    return found < 0.98 * declared


def warn_if_cut(path: Path, found: int, declared: int, rate: int) -> None:
    """Warn of a file that holds less than its header says."""
    if cut_off(found, declared):
        there = f"{found / rate:.2f} s of {declared / rate:.2f} s are there"
        warnings.warn(f"{path} is cut off: {there}; what is there is used", DataWarning, stacklevel=3)


def read_blocks(path: str | os.PathLike[str], frames: int, most: int | None = None) -> Iterator[np.ndarray]:
    """Read a sound file block by block, in memory that does not grow with the file.

    Args:
        path: the file.
        frames: samples a block; the last one may be shorter.
        most: as :func:`probe` takes it; a little more may come.

    Yields:
        Blocks ``[c, <= frames]`` float32, one after the other.

    Raises:
        DataError: as :func:`read`.
    """
    path = Path(path)
    with _opened(path, most) as sound:
        yield from _decode(sound, path, frames)


def resample(wave: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Resample ``wave [c, n]`` from one rate to another (Hz) with soxr's high quality; of any samples one is left."""
    if source_rate == target_rate:
        return wave
    resampled = soxr.resample(np.ascontiguousarray(wave.T, dtype=np.float32), source_rate, target_rate, quality="HQ")
    return np.ascontiguousarray(resampled.T) if len(resampled) else wave[:, :1]


def write(path: str | os.PathLike[str], wave: np.ndarray, sample_rate: int, *, overwrite: bool = False) -> float:
    """Write ``wave [c, n]`` at 24 bit (Ogg: Vorbis), scaled down only where its peak passes -1 dBFS.

    The file appears whole or not at all.

    Args:
        path: the file; its suffix (wav, flac, aiff, ogg) chooses the format.
        wave: samples, full scale 1.
        sample_rate: Hz.
        overwrite: replace an existing file.

    Returns:
        The gain that was applied, dB; 0.0 if none.

    Raises:
        UsageError: the file exists, or its suffix is not one that can be written.
        DataError: the wave is not ``[c, n]`` or holds NaN or infinity.
        StorageError: it could not be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITTEN:
        known = nearest(path.suffix.lower(), WRITTEN)
        raise UsageError(f"{path}: sound can't be written as '{path.suffix}'{known}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; pass --overwrite to replace it")
    wave = np.asarray(wave)
    if wave.ndim != 2 or wave.shape[0] == 0:
        raise DataError(f"{path}: got a wave of shape {wave.shape}, expected [channels, samples]")
    peak = float(np.abs(wave).max(initial=0.0))
    if not math.isfinite(peak):
        raise DataError(f"{path}: the wave holds NaN or infinity and was not written")
    scale = min(1.0, PEAK_LIMIT / peak) if peak > 0 else 1.0
    container, subtype = WRITTEN[path.suffix.lower()]
    with atomic(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary, "w", sample_rate, wave.shape[0], subtype=subtype, format=container
            ) as sound:
                # block by block: libsndfile's Vorbis encoder overflows the stack on one very long write
                for start in range(0, wave.shape[1], _BLOCK):
                    sound.write(np.float32(scale) * wave[:, start : start + _BLOCK].T.astype(np.float32))
        except (soundfile.SoundFileError, RuntimeError) as error:
            needed = 3 * wave.size + 1024
            free = shutil.disk_usage(temporary.parent).free  # libsndfile calls a full disk a system error
            full = free + temporary.stat().st_size < needed
            reason = f"no space left ({free} bytes are free)" if full else _reason(error)
            raise StorageError(f"could not write {path} as {container}: {reason}; nothing was changed") from error
    return 20 * math.log10(scale)


class _Stream(soundfile.SoundFile):
    """A sound file that is read once, from its beginning to its end.

    soundfile seeks to where it already is after every read, and an MPEG decoder that is told to seek forgets the
    frames before, of which the next ones need bits: every block of an mp3 would begin with a broken frame.

    Attributes:
        coded: what ffmpeg made it of; empty where it was opened as it is.
    """

    coded = ""

    def seekable(self) -> bool:
        """Return False: nothing ever seeks."""
        return False


@contextmanager
def _opened(path: Path, most: int | None = None) -> Iterator[_Stream]:
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from error
    if not head:
        raise DataError(f"{path} is empty (0 bytes)")
    if path.suffix.lower() in (".m4a", ".aac") or head[4:8] == b"ftyp":
        with _transcoded(path, most) as temporary, _Stream(temporary) as sound:
            sound.coded = "M4A" if head[4:8] == b"ftyp" else "AAC"
            yield sound
        return
    try:
        name: Any = path if sys.platform == "win32" else os.fsencode(path)  # which need not be text
        sound = _Stream(name)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a suffix of headerless samples, such as .raw
        raise DataError(f"{path} is not sound that can be read: {_reason(error)}") from error
    with sound:
        if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
            raise DataError(
                f"{path} has a damaged header: it says {sound.samplerate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE}"
            )
        yield sound


@contextmanager
def _transcoded(path: Path, most: int | None) -> Iterator[Path]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise DataError(f"{path}: m4a and aac are read through ffmpeg, which is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="latentscape-") as folder:
        target = Path(folder) / "decoded.wav"
        command = [ffmpeg, "-nostdin", "-v", "error", "-i", str(path.absolute()), "-vn", "-c:a", "pcm_f32le"]
        bound = [] if most is None else ["-fs", str(4 * most + _HEADER_BYTES)]  # it stops where it passes that
        done = subprocess.run(
            [*command, *bound, "-rf64", "auto", str(target)], capture_output=True, text=True, errors="replace"
        )
        if done.returncode or not target.exists():
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise DataError(f"{path} is not sound that ffmpeg can read: {lines[-1]}")
        yield target


def _decode(sound: soundfile.SoundFile, path: Path, frames: int) -> Iterator[np.ndarray]:
    """Yield blocks until the end, or until what follows can't be decoded."""
    found, reason, more = 0, "it holds no samples", True
    while more:
        pieces: list[np.ndarray] = []
        missing = frames
        while more and missing:
            try:  # in small pieces, since one that fails is lost whole
                piece = sound.read(min(_PIECE, missing), dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                reason, more = _reason(error), False
            else:
                more = len(piece) > 0
                missing -= len(piece)
                pieces.append(piece.T)
        if missing < frames:
            found += frames - missing
            yield np.concatenate(pieces, axis=1)
    if not found:
        raise DataError(f"{path} can't be decoded: {reason}")


def _declared(path: Path, sound: soundfile.SoundFile) -> int:
    """Return the frames that the header declares; libsndfile itself counts those of a cut wav or aiff anew."""
    sizes = _chunks(path)
    if "COMM" in sizes:  # aiff: channels (2 bytes), then frames (4)
        return max(sound.frames, int.from_bytes(sizes["COMM"][1][2:6], "big"))
    if "data" in sizes and "fmt " in sizes and sound.subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")):
        size, align = sizes["data"][0], int.from_bytes(sizes["fmt "][1][12:14], "little")
        if 0 < size < 0xFFFFFFFF and align:  # otherwise written by a stream that did not know its length
            return max(sound.frames, size // align)
    return sound.frames


def _chunks(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return the size and the first bytes of the chunks of a RIFF or AIFF file up to its samples; ``{}`` for others."""
    found: dict[str, tuple[int, bytes]] = {}
    with open(path, "rb") as file:
        form = file.read(12)[:4]
        if form not in (b"RIFF", b"FORM"):
            return found
        while len(head := file.read(8)) == 8 and "data" not in found:
            size = int.from_bytes(head[4:], "little" if form == b"RIFF" else "big")
            start = file.tell()
            found[head[:4].decode("latin-1")] = size, file.read(min(size, 16))
            file.seek(start + size + size % 2)
    return found


def _reason(error: BaseException) -> str:
    """Return libsndfile's own words on one line, without the path that it puts in front."""
    text = getattr(error, "error_string", None) or str(error)
    if text.startswith("File does not exist"):  # what libsndfile says of an mp3 that is none; it was opened already
        text = "Format not recognised"
    return " ".join(text.split()).rstrip(".")
