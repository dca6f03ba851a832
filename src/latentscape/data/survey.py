"""From a listing to a corpus: every file is decoded into the cache once and judged; what is left out has a reason."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

import numpy as np

from latentscape.core.errors import DataError, StorageError
from latentscape.core.storage import load_json, save_json
from latentscape.data.cache import Built, Decoder, Entry, Job, Progress, Store, Tally, build, cache_root
from latentscape.data.corpus import Clips, Column, LeftOut, SoundCorpus, SourceOptions, Texts
from latentscape.data.labels import Labels, Pattern, from_folders
from latentscape.data.scan import Facts, Listing, decode, mixed, probe_all
from latentscape.signal.audio import SUFFIXES

SILENCE = 2.0**-15
"""A clip whose peak stays below one step of 16 bits is silent."""
MOST_A_BYTE = 64
"""Samples that a byte of a file is believed to hold (speech in Opus); a damaged header promises any number of them."""


@dataclass(frozen=True, eq=False)
class Survey:
    """A corpus and everything that was seen on the way to it.

    Attributes:
        corpus: what will be used.
        files: names, in order.
        facts: one a file.
        entries: what became of each file in the cache; ``None`` for files that could not be opened.
        used: for each file, whether the corpus uses it.
    """

    corpus: SoundCorpus
    files: tuple[str, ...]
    facts: tuple[Facts, ...]
    entries: tuple[Entry | None, ...]
    used: tuple[bool, ...]


class Sounding(Protocol):
    """A sound that is made, not read."""

    @property
    def name(self) -> str:
        """Unique in its corpus."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def frames(self) -> int:
        """Samples."""
        ...

    @property
    def labels(self) -> Mapping[str, str | float]:
        """Words and numbers by name."""
        ...

    def blocks(self) -> Iterable[np.ndarray]:
        """Yield the samples, ``[c, m]`` each."""
        ...


def survey(listing: Listing, options: SourceOptions, progress: Progress | None = None) -> Survey:
    """Read every file of a listing once, fill the cache, and judge.

    Raises:
        DataError: no file can be used; the message says why the first one can't.
        StorageError: the cache can't be written.
    """
    if not listing.files:
        raise DataError(f"{listing.name}: no sound files there (looked for {', '.join(SUFFIXES)})")
    facts = probe_all(listing, cache_root() / "sound" / "files")
    rate = options.sample_rate or _commonest_rate(listing, facts)
    decoders = {
        fact.key: partial(decode, listing.root / file, facts=fact, rate=rate)
        for file, fact in zip(listing.files, facts, strict=True)
        if not fact.fault
    }
    return _survey(listing, facts, decoders, rate, options, progress)


def survey_made(
    name: str,
    key: str,
    make: Callable[[], Iterable[Sounding]],
    options: SourceOptions,
    progress: Progress | None = None,
    group: tuple[str, ...] = (),
) -> Survey:
    """Do the same for sounds that are computed; they are computed only where the cache lacks them.

    Args:
        name: of the corpus.
        key: everything that the sounds depend on.
        make: computes them; the same ones at every call.
        options: see :class:`SourceOptions`.
        progress: called with how many sounds are done, of how many.
        group: see :class:`latentscape.data.corpus.SoundCorpus`.
    """
    made = cache(lambda: {sound.name: sound for sound in make()})
    path = cache_root() / "sound" / "made" / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.json"
    try:
        rows: list[Any] = load_json(path)
    except StorageError:
        rows = [[s.name, s.frames, s.sample_rate, {k: _text(v) for k, v in s.labels.items()}] for s in made().values()]
        save_json(path, rows)
    facts = [
        Facts(0, 0, hashlib.blake2b(f"{key}\n{sound}".encode(), digest_size=16).hexdigest(), frames, rate, 1, "made")
        for sound, frames, rate, _ in rows
    ]
    listing = Listing(name, Path(name), tuple(row[0] for row in rows), {row[0]: row[3] for row in rows}, (), group)
    rate = options.sample_rate or _commonest_rate(listing, facts)

    def blocks(sound: str, channel: int | None, source_rate: int, tally: Tally) -> Iterator[np.ndarray]:
        return mixed(made()[sound].blocks(), channel, source_rate, rate, tally)

    decoders = {
        fact.key: partial(blocks, sound, source_rate=fact.rate)
        for sound, fact in zip(listing.files, facts, strict=True)
    }
    return _survey(listing, facts, decoders, rate, options, progress)


def _text(value: str | float | int) -> str:
    return value if isinstance(value, str) else repr(int(value) if value == int(value) else float(value))


def _commonest_rate(listing: Listing, facts: Sequence[Facts]) -> int:
    rates = Counter(fact.rate for fact in facts if not fact.fault)
    if not rates:
        raise DataError(_hopeless(listing, [LeftOut(listing.files[0], facts[0].fault, "unreadable")]))
    return max(rates, key=lambda rate: (rates[rate], rate))


def _hopeless(listing: Listing, left_out: Sequence[LeftOut]) -> str:
    first = left_out[0]
    return f"{listing.name}: none of {len(listing.files)} files can be used; the first, '{first.name}', {first.reason}"


def _survey(
    listing: Listing,
    facts: Sequence[Facts],
    decoders: dict[str, Callable[..., Iterator[np.ndarray]]],
    rate: int,
    options: SourceOptions,
    progress: Progress | None,
) -> Survey:
    jobs: dict[str, Job] = {}
    for fact in facts:
        if not fact.fault and fact.key not in jobs:
            channels = range(fact.channels) if options.channels == "each" else (None,)
            one: list[Decoder] = [partial(decoders[fact.key], channel) for channel in channels]
            frames = fact.frames if fact.format == "made" else min(fact.frames, MOST_A_BYTE * fact.size)
            jobs[fact.key] = Job(fact.key, one, round(4 * frames * rate / fact.rate) * len(one))
    built = build(cache_root() / "sound", list(jobs.values()), f"rate {rate} channels {options.channels}", progress)
    return _judge(listing, facts, built, rate, options)


class _Row(NamedTuple):
    """A clip on its way into the columns."""

    name: str
    path: str
    frames: int
    channel: int
    shard: int
    offset: int
    labels: Labels
    hash: str


def _judge(listing: Listing, facts: Sequence[Facts], built: Built, rate: int, options: SourceOptions) -> Survey:
    """Decide for every file whether it is used, and why not."""
    stems = [_stem(file) for file in listing.files]
    shared = Counter(stems)
    labels, notes = _labels(listing, stems, options)
    rows: list[_Row] = []
    left_out: list[LeftOut] = []
    first: dict[str, str] = {}
    entries: list[Entry | None] = []
    used: list[bool] = []
    for file, stem, fact, row in zip(listing.files, stems, facts, labels, strict=True):
        shard, entry = built.entries.get(fact.key, (-1, None))
        entries.append(entry)
        used.append(False)
        if entry is None or not entry.stretches:
            reason = fact.fault or (entry.fault if entry else "")
            left_out.append(LeftOut(file, reason, "unreadable" if fact.fault else "damaged"))
            continue
        for channel, stretch in enumerate(entry.stretches):
            each = f"#{channel + 1}" if len(entry.stretches) > 1 else ""
            name = (stem if shared[stem] == 1 else file) + each
            if stretch.peak < SILENCE:
                left_out.append(LeftOut(file + each, "is silent", "silent"))
            elif stretch.hash in first:
                reason = f"is the same sound as '{first[stretch.hash]}'"
                left_out.append(LeftOut(file + each, reason, "duplicate"))
            else:
                used[-1] = True
                first[stretch.hash] = file + each
                only = channel if options.channels == "each" else -1
                path = str(listing.root / file)
                rows.append(_Row(name, path, stretch.frames, only, shard, stretch.offset, row, stretch.hash))
        if used[-1] and (odd := entry.fault or fact.note):
            notes.append(f"'{file}' {odd}; what is there is used")
    if not rows:
        raise DataError(_hopeless(listing, left_out))
    corpus = SoundCorpus(
        name=listing.name,
        root=listing.root,
        sample_rate=rate,
        clips=_clips(rows, rate),
        left_out=tuple(left_out),
        notes=tuple(notes),
        group=listing.group,
        digest=_digest(rows, f"rate {rate} channels {options.channels}"),
        store=Store(built.shards, np.array([r.shard for r in rows]), np.array([r.offset for r in rows])),
    )
    return Survey(corpus, listing.files, tuple(facts), tuple(entries), tuple(used))


def _stem(file: str) -> str:
    suffix = PurePosixPath(file).suffix
    return file.removesuffix(suffix) if suffix.lower() in SUFFIXES else file


def _labels(listing: Listing, stems: Sequence[str], options: SourceOptions) -> tuple[list[Labels], list[str]]:
    """Return the labels of each file: from the table, else from folders; those of a pattern are added."""
    notes = list(listing.notes)
    labels = (
        [listing.labels.get(file, {}) for file in listing.files]
        if any(listing.labels.values())
        else from_folders(stems)
    )
    if options.pattern:
        pattern = Pattern(options.pattern)
        found = [pattern.match(stem) for stem in stems]
        unfit = [file for file, match in zip(listing.files, found, strict=True) if match is None]
        if unfit:
            notes.append(
                f"pattern '{options.pattern}' does not fit {len(unfit)} of {len(found)} names (first: '{unfit[0]}'); "
                "they go without it"
            )
        labels = [{**row, **(match or {})} for row, match in zip(labels, found, strict=True)]
    return labels, notes


def _clips(rows: Sequence[_Row], rate: int) -> Clips:
    known = sorted({label for row in rows for label in row.labels})
    columns = {label: Column.of([row.labels.get(label) for row in rows]) for label in known}
    return Clips(
        names=Texts(row.name for row in rows),
        paths=Texts(row.path for row in rows),
        frames=np.array([row.frames for row in rows], dtype=np.int64),
        channels=np.array([row.channel for row in rows], dtype=np.int16),
        columns={label: column for label, column in columns.items() if column.values},
        rate=rate,
    )


def _digest(rows: Sequence[_Row], settings: str) -> str:
    digest = hashlib.blake2b(settings.encode(), digest_size=16)
    for row in sorted(rows, key=lambda row: row.name):
        parts = [row.name, row.hash, *(f"{label}={row.labels[label]}" for label in sorted(row.labels))]
        digest.update(("\n" + "\x1f".join(parts)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
