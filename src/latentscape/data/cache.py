"""The decoded cache: sound at the corpus rate, float32, memory-mapped.

Letters: n samples.

Clips lie in a few large files (shards), not in thousands of small ones. A file goes to the shard that the hash of its
bytes says, and a shard is named by the hashes of the files in it and by the settings. So a shard never changes: two
runs that build the same one write the same bytes, each under a temporary name, and the last rename wins; a run that is
killed leaves finished shards, which the next one uses; a new file costs one shard. The table ``NAME.json`` is written
after the sound ``NAME.f32``: where it is missing the shard does not exist.

A shard whose size and time of change are those that were recorded is trusted; any other is read and compared with its
checksum, and built again if it is damaged.
"""

import hashlib
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Float32, Int

from latentscape.core.errors import StorageError
from latentscape.core.storage import atomic, load_json, save_json

FORMAT = "2"
"""Of what shards hold; 1 held mp3 files that had been decoded with a broken frame every 4,096 samples."""
SHARD_BYTES = 16 * 2**20
"""Aim for the size of a shard; a long recording makes a larger one."""
Progress = Callable[[int, int], None]
"""Called with how many files are done, of how many."""


def cache_root() -> Path:
    """Return the cache folder: ``LATENTSCAPE_CACHE``, else the user's."""
    given = os.environ.get("LATENTSCAPE_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "latentscape" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "latentscape"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentscape"


def workers() -> int:
    """Return how many threads read files: decoding and resampling leave Python's lock, so threads are enough."""
    return max(1, min(8, os.cpu_count() or 1))


@dataclass(frozen=True)
class Stretch:
    """One clip inside a shard.

    Attributes:
        offset, frames: samples.
        hash: of the samples.
        peak, rms: full scale is 1.
        clipped: see :class:`Tally`.
    """

    offset: int
    frames: int
    hash: str
    peak: float
    rms: float
    clipped: bool


@dataclass(frozen=True)
class Entry:
    """One file inside a shard.

    Attributes:
        key: hash of the file's bytes.
        stretches: one a channel, or one.
        fault: why nothing, or not all, could be decoded; empty when all is well.
    """

    key: str
    stretches: tuple[Stretch, ...]
    fault: str = ""


@dataclass
class Fault(Exception):
    """Raised by a decoder: nothing more of this file can be read.

    Attributes:
        reason: one line.
        keep: whether what was read so far is good.
    """

    reason: str
    keep: bool


class Tally:
    """Running figures of the channel that is being decoded, kept by the decoder.

    Attributes:
        frames: samples of the file read so far.
        clipped: whether three neighbours stood at full scale.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.clipped = False


Decoder = Callable[..., Iterator[np.ndarray]]
"""Called with ``tally=Tally()``, yields the samples of one channel, block by block, or raises :class:`Fault`."""


@dataclass(frozen=True)
class Job:
    """A file to be decoded: its hash, one decoder a channel, and about how many bytes that will give."""

    key: str
    decoders: Sequence[Decoder]
    size: int


@dataclass(frozen=True, eq=False)
class Store:
    """The sound of a corpus's clips.

    Attributes:
        shards: files.
        shard: place in ``shards`` of each clip.
        offset: first sample of each clip in its shard.
    """

    shards: tuple[Path, ...]
    shard: Int[np.ndarray, " n"]
    offset: Int[np.ndarray, " n"]
    maps: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def read(self, row: int, start: int, frames: int) -> Float32[np.ndarray, " n"]:
        """Return samples of a clip as a view of the mapped file.

        Raises:
            StorageError: the shard has gone since the corpus was opened.
        """
        place = int(self.shard[row])
        if place not in self.maps:
            try:
                self.maps[place] = np.memmap(self.shards[place], dtype="<f4", mode="r")
            except (OSError, ValueError) as error:
                raise StorageError(
                    f"cache file {self.shards[place]} can't be read: {error}; open the source again"
                ) from error
        first = int(self.offset[row]) + start
        return np.asarray(self.maps[place][first : first + frames])


@dataclass(frozen=True)
class Built:
    """The shards of a set of files: what each file became, and in which shard it lies."""

    shards: tuple[Path, ...]
    entries: dict[str, tuple[int, Entry]]


def build(folder: Path, jobs: Sequence[Job], settings: str, progress: Progress | None = None) -> Built:
    """Decode what is not yet in the cache, in parallel.

    Args:
        folder: of the cache.
        jobs: one a distinct file.
        settings: everything that the decoded samples depend on beside the file.
        progress: called from worker threads.

    Raises:
        StorageError: the disk is full or the folder can't be written; finished shards stay, nothing is half-written.
    """
    _sweep(folder)
    groups = _groups(jobs)
    names = [_name(group, settings) for group in groups]
    seen = _load_seen(folder)
    tables: list[list[Entry] | None] = [_open(folder / name, seen) for name in names]
    missing = [place for place, table in enumerate(tables) if table is None]
    _check_space(folder, sum(job.size for place in missing for job in groups[place]))
    lock, done, total = Lock(), [sum(len(groups[p]) for p, table in enumerate(tables) if table is not None)], len(jobs)

    def advance() -> None:
        with lock:
            done[0] += 1
            if progress is not None:
                progress(done[0], total)

    if progress is not None:
        progress(done[0], total)
    with ThreadPoolExecutor(workers()) as pool:
        futures = {pool.submit(_make, folder / names[place], groups[place], advance): place for place in missing}
        try:
            for future in as_completed(futures):
                tables[futures[future]] = future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    _save_seen(folder, names, seen)
    entries = {entry.key: (place, entry) for place, table in enumerate(tables) for entry in table or ()}
    return Built(tuple(folder / f"{name}.f32" for name in names), entries)


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    count = 1
    while count * SHARD_BYTES < sum(job.size for job in jobs):
        count *= 2  # a power of two, so that a growing corpus is dealt out anew only when it has doubled
    groups: list[list[Job]] = [[] for _ in range(count)]
    for job in sorted(jobs, key=lambda job: job.key):
        groups[int(job.key[:8], 16) % count].append(job)
    return [group for group in groups if group]


def _name(group: Sequence[Job], settings: str) -> str:
    text = "\n".join([FORMAT, settings, *(job.key for job in group)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _make(path: Path, group: Sequence[Job], advance: Callable[[], None]) -> list[Entry]:
    """Write a shard, or take the one that another run finished meanwhile (Windows does not replace a mapped file)."""
    try:
        return _write(path, group, advance)
    except StorageError:
        theirs = _open(path, {})
        if theirs is None:
            raise
        return theirs


def _write(path: Path, group: Sequence[Job], advance: Callable[[], None]) -> list[Entry]:
    """Decode the files of one shard, block by block, into ``path.f32`` and then ``path.json``."""
    entries: list[Entry] = []
    checksum, position = 0, 0
    with atomic(path.with_suffix(".f32")) as temporary, open(temporary, "wb") as file:
        for job in group:
            stretches: list[Stretch] = []
            fault = ""
            for decode in job.decoders:
                tally, blocks = Tally(), _Levels()
                begin = position
                try:
                    for block in decode(tally=tally):
                        raw = np.ascontiguousarray(block, dtype="<f4").tobytes()
                        file.write(raw)
                        checksum = zlib.crc32(raw, checksum)
                        position += len(block)
                        blocks.add(block, raw)
                except Fault as error:
                    fault = error.reason
                    if not error.keep or position == begin:
                        break  # what was written stays in the shard as a hole that no clip points to
                stretches.append(blocks.stretch(begin, tally.clipped))
            kept = tuple(stretches) if len(stretches) == len(job.decoders) else ()
            entries.append(Entry(job.key, kept, fault))
            advance()
    table = {"checksum": checksum, "entries": [asdict(entry) for entry in entries]}
    save_json(path.with_suffix(".json"), table)
    return entries


class _Levels:
    """Hash, peak and mean square of a stream of samples."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        self.frames, self.peak, self.square = 0, 0.0, 0.0

    def add(self, block: Float32[np.ndarray, " n"], raw: bytes) -> None:
        self.hash.update(raw)
        self.frames += len(block)
        if len(block):
            self.peak = max(self.peak, float(np.abs(block).max()))
            self.square += float(np.dot(block, block))

    def stretch(self, offset: int, clipped: bool) -> Stretch:
        rms = (self.square / self.frames) ** 0.5 if self.frames else 0.0
        return Stretch(offset, self.frames, self.hash.hexdigest(), self.peak, rms, clipped)


def _open(path: Path, seen: dict[str, list[int]]) -> list[Entry] | None:
    """Read the table of a shard, or return ``None`` where the shard is missing or damaged."""
    sound = path.with_suffix(".f32")
    try:
        table = load_json(path.with_suffix(".json"))
        state = sound.stat()
        if seen.get(path.name) != [state.st_size, state.st_mtime_ns] and _checksum(sound) != table["checksum"]:
            return None
        return [
            Entry(entry["key"], tuple(Stretch(**stretch) for stretch in entry["stretches"]), entry["fault"])
            for entry in table["entries"]
        ]
    except (StorageError, OSError, KeyError, TypeError):
        return None


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while block := file.read(2**22):
            value = zlib.crc32(block, value)
    return value


def _load_seen(folder: Path) -> dict[str, list[int]]:
    try:
        seen = load_json(folder / "seen.json")
    except StorageError:
        return {}
    return seen if isinstance(seen, dict) else {}


def _save_seen(folder: Path, names: Sequence[str], before: dict[str, list[int]]) -> None:
    """Record size and time of the shards just checked or written; losing the record costs only checks."""
    now = _load_seen(folder)
    for name in names:
        state = (folder / f"{name}.f32").stat()
        now[name] = [state.st_size, state.st_mtime_ns]
    if now != before:
        save_json(folder / "seen.json", now)


def _check_space(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"could not write the cache folder {folder}: {error.strerror or error}") from error
    if needed > free:
        raise StorageError(
            f"the disk of {folder} has {free / 1e9:.1f} GB free, the decoded cache needs about {needed / 1e9:.1f} GB; "
            "free some or point LATENTSCAPE_CACHE elsewhere"
        )


def _sweep(folder: Path) -> None:
    """Remove what a killed run left half-written more than a day ago."""
    with suppress(OSError):
        for path in folder.glob(".*"):
            if path.is_file() and time.time() - path.stat().st_mtime > 86_400:
                path.unlink()
