"""Files: what their headers and bytes say, and their decoded samples.

Letters: n samples.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float32

from latentscape.core.errors import DataError, StorageError
from latentscape.core.storage import load_json, save_json
from latentscape.data.cache import Fault, Tally, workers
from latentscape.data.labels import Labels
from latentscape.signal.audio import cut_off, probe, read_blocks

BLOCK = 2**18
"""Samples decoded at a time, so that a three-hour file needs no more memory than a short one."""
CHUNK = 32
"""Files that a thread probes in one go."""
CLIPPED = 1 - 2.0**-14
"""Level from which a sample counts as full scale."""
LOUDEST = 2.0**32
"""Level that a sample can have: integers of 32 bits are sometimes stored as floating point without their scale."""
_FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP", ".aiff": "AIFF", ".aif": "AIFF"}


@dataclass(frozen=True)
class Listing:
    """The files of a source before anything was read.

    Attributes:
        name: the source as it was asked for.
        root: the folder that names are relative to.
        files: relative paths (posix), sorted.
        labels: by relative path; files without any are absent.
        notes: one line each.
        group: see :class:`latentscape.data.corpus.SoundCorpus`.
    """

    name: str
    root: Path
    files: tuple[str, ...]
    labels: Mapping[str, Labels]
    notes: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the header and the bytes of a file say.

    Attributes:
        size: bytes.
        changed: time of the last change, ns.
        key: hash of the bytes; empty where they can't be read.
        frames, rate, channels, format: of the header.
        fault: why the file can't be used; empty when it can.
        note: something odd that does not keep it from being used.
    """

    size: int
    changed: int
    key: str = ""
    frames: int = 0
    rate: int = 0
    channels: int = 0
    format: str = ""
    fault: str = ""
    note: str = ""


def probe_all(listing: Listing, folder: Path) -> list[Facts]:
    """Probe files in parallel; what was seen before and has the same size and time is not read again.

    Args:
        listing: the files.
        folder: where what was seen is kept.
    """
    place = hashlib.blake2b(os.fsencode(listing.root.absolute()), digest_size=16).hexdigest()
    path = folder / f"{place}.json"
    try:
        before = {file: Facts(*values) for file, values in load_json(path).items()}
    except (StorageError, TypeError, AttributeError):
        before = {}

    def probe_some(files: Sequence[str]) -> list[Facts]:
        return [_probe(listing.root / file, before.get(file)) for file in files]

    some = [listing.files[first : first + CHUNK] for first in range(0, len(listing.files), CHUNK)]
    with ThreadPoolExecutor(workers()) as pool:
        facts = [fact for chunk in pool.map(probe_some, some) for fact in chunk]
    now = dict(zip(listing.files, facts, strict=True))
    if any(before.get(file) != fact for file, fact in now.items()):
        save_json(path, {file: list(asdict(fact).values()) for file, fact in {**before, **now}.items()})
    return facts


def _probe(path: Path, before: Facts | None) -> Facts:
    size, changed, key = 0, 0, ""
    try:
        state = path.stat()
        size, changed = state.st_size, state.st_mtime_ns
        if not stat.S_ISREG(state.st_mode):  # to open a pipe would be to wait for whoever writes into it
            return Facts(size, changed, fault="is no file, but a pipe or a device")
        if before is not None and (before.size, before.changed) == (size, changed) and not before.fault:
            return before
        if size == 0:
            return Facts(size, changed, fault="is empty (0 bytes)")
        with open(path, "rb") as file:
            key = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        info = probe(path)
    except OSError as error:
        return Facts(size, changed, fault=f"can't be read: {error.strerror or error}")
    except DataError as error:
        return Facts(size, changed, key, fault=_reason(error, path))
    expected = _FORMATS.get(path.suffix.lower(), info.format)
    note = "" if info.format.startswith(expected) else f"is named {path.suffix} but holds {info.format}"
    fault = "" if info.frames else "holds no samples"
    return Facts(size, changed, key, info.frames, info.sample_rate, info.channels, info.format, fault, note)


def _reason(error: Exception, path: Path) -> str:
    """Return the message of an error without the path, which the report names already."""
    return str(error).replace(str(path), "").strip(" :")


def mixed(
    blocks: Iterable[Float32[np.ndarray, "_ _"]], channel: int | None, source_rate: int, rate: int, tally: Tally
) -> Iterator[Float32[np.ndarray, " _"]]:
    """Yield one channel (or the average of all) at another rate (Hz), block by block; of any samples one is left.

    Raises:
        Fault: there are NaN or infinite samples, or some beyond :data:`LOUDEST`.
    """
    stream = None if source_rate == rate else soxr.ResampleStream(source_rate, rate, 1, dtype="float32")
    made, short = 0, np.zeros(0, dtype=np.float32)
    for block in blocks:
        sane = (np.abs(block) <= LOUDEST).all(axis=0)
        if not sane.all():
            first = int(np.argmin(sane))
            found = "samples beyond all levels" if np.isfinite(block[:, first]).all() else "NaN or infinite samples"
            where = (tally.frames + first) / source_rate
            raise Fault(f"holds {found} (the first at {where:.3f} s)", keep=False)
        full: np.ndarray = np.any(np.abs(block) >= CLIPPED, axis=0)
        tally.clipped |= bool((full[2:] & full[1:-1] & full[:-2]).any())
        tally.frames += block.shape[1]
        mono = np.ascontiguousarray(block.mean(axis=0) if channel is None else block[channel])
        short = short if len(short) else mono[:1]
        resampled = mono if stream is None else stream.resample_chunk(mono)
        made += len(resampled)
        yield resampled
    if stream is not None:
        rest = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        yield rest if made or len(rest) else short  # of a sample or two nothing may be left, which is not silence


def decode(
    path: Path, channel: int | None, facts: Facts, rate: int, tally: Tally
) -> Iterator[Float32[np.ndarray, " _"]]:
    """Yield the samples of a file; see :func:`mixed`.

    Raises:
        Fault: nothing can be decoded, less than the header promises, or NaN or infinite samples.
    """
    try:
        yield from mixed(read_blocks(path, BLOCK), channel, facts.rate, rate, tally)
    except DataError as error:
        raise Fault(_reason(error, path), keep=False) from error
    if cut_off(tally.frames, facts.frames):
        found, promised = tally.frames / facts.rate, facts.frames / facts.rate
        raise Fault(f"is cut off: {found:.2f} s of {promised:.2f} s are there", keep=True)
