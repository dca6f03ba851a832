"""How sounds and their labels lie in folders: a plain folder, a label table, SOL, NSynth, a file list."""

import os
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

from latentscape.core.errors import DataError, StorageError, UsageError
from latentscape.core.storage import load_object
from latentscape.data.labels import Labels, missing_files, normal, read_table
from latentscape.data.magnatagatune import magnatagatune
from latentscape.data.scan import Listing
from latentscape.data.spoken import audio_mnist, spoken_digits, vctk
from latentscape.data.text import decoded, folders_under
from latentscape.signal.audio import SUFFIXES

SOL_COLUMNS = {
    "Fold": "fold",
    "Family": "family",
    "Family (in full)": "family",
    "Instrument (in full)": "instrument",
    "Technique (in full)": "technique",
    "Pitch": "note",
    "Pitch Name": "note",
    "Pitch ID": "midi",
    "Pitch ID (if applicable)": "midi",
    "Dynamics": "dynamics",
}
"""Our names for the columns of TinySOL's and OrchideaSOL's tables; the others are dropped."""
ESC_COLUMNS = {"category": "tag", "fold": "fold", "src_file": "src_file", "take": "take", "esc10": "esc10"}
"""Those of ESC-50's."""

NSYNTH_FIELDS = {
    "instrument_str": "instrument",
    "instrument_family_str": "family",
    "instrument_source_str": "source",
    "pitch": "midi",
    "velocity": "velocity",
}
"""Our names for what NSynth says of a note; the others are dropped."""


def list_folder(name: str, root: Path, group: tuple[str, ...]) -> Listing:
    """List the sound files under a folder, and read the label table of the layout it has."""
    try:
        there = folders_under(root)
        files = sorted((base / file).as_posix() for base, inside in there for file in inside if _is_sound(file))
    except OSError as error:
        raise DataError(f"{error.filename or name} can't be read: {error.strerror or error}") from error
    for layout in LAYOUTS:
        read = layout(root, files)
        if read is not None:
            return Listing(name, root, tuple(files), read[0], read[1], group)
    return Listing(name, root, tuple(files), {}, (), group)


def _is_sound(file: str) -> bool:
    return Path(file).suffix.lower() in SUFFIXES


Layout = Callable[[Path, list[str]], tuple[dict[str, Labels], tuple[str, ...]] | None]


def _metadata(root: Path, files: list[str]) -> tuple[dict[str, Labels], tuple[str, ...]] | None:
    return _table(root / "metadata.csv", files, "path", None)


def _sol(root: Path, files: list[str]) -> tuple[dict[str, Labels], tuple[str, ...]] | None:
    read = (_table(root / f"{one}_metadata.csv", files, "Path", SOL_COLUMNS) for one in ("TinySOL", "OrchideaSOL"))
    return next((found for found in read if found is not None), None)


def _table(
    path: Path, files: list[str], key: str, names: dict[str, str] | None
) -> tuple[dict[str, Labels], tuple[str, ...]] | None:
    if not path.is_file():
        return None
    table = read_table(path, key, names)
    by_name = {normal(file): file for file in files}
    if not table.usable:
        return {}, table.notes
    labels = {by_name[row]: values for row, values in table.rows.items() if row in by_name}
    notes = [*table.notes, *missing_files(path.name, table.rows, by_name)]
    bare = len(files) - len(labels)
    if bare:
        notes.append(f"{path.name} does not name {bare} of {len(files)} files; they are used without its labels")
    return labels, tuple(notes)


def _nsynth(root: Path, files: list[str]) -> tuple[dict[str, Labels], tuple[str, ...]] | None:
    parts = [(part, root / f"nsynth-{part}" / "examples.json") for part in ("train", "valid", "test")]
    if not any(path.is_file() for _, path in parts):
        return None
    labels: dict[str, Labels] = {}
    notes: list[str] = []
    there = set(files)
    for part, path in parts:
        if not path.is_file():
            continue
        try:
            examples = load_object(path)
        except StorageError as error:
            notes.append(f"{error}; the labels of nsynth-{part} are not used")
            continue
        lost, bare = 0, list[str]()
        for note, row in examples.items():
            file = f"nsynth-{part}/audio/{note}.wav"
            lost += file not in there
            if file in there:
                told = row if isinstance(row, dict) else {}
                labels[file] = {ours: str(told[theirs]) for theirs, ours in NSYNTH_FIELDS.items() if theirs in told}
                labels[file] |= {"split": part}
                bare += [note] if not told.keys() >= NSYNTH_FIELDS.keys() else []
        if lost:
            notes.append(f"nsynth-{part}/examples.json names {lost} notes that the folder lacks")
        if bare:
            notes.append(
                f"nsynth-{part}/examples.json says not all of {len(bare)} notes (first: '{bare[0]}'); expected "
                f"{', '.join(NSYNTH_FIELDS)}; what it says is used"
            )
    return labels, tuple(notes)


def _esc50(root: Path, files: list[str]) -> tuple[dict[str, Labels], tuple[str, ...]] | None:
    path = root / "meta" / "esc50.csv"
    if not path.is_file():
        return None
    table = read_table(path, "filename", ESC_COLUMNS)
    labels = {f"audio/{name}": row for name, row in table.rows.items()}
    there = set(files)
    notes = (*table.notes, *missing_files(path.name, labels, there))
    return {file: row for file, row in labels.items() if file in there}, notes


LAYOUTS: tuple[Layout, ...] = (_metadata, _sol, _nsynth, _esc50, magnatagatune, vctk, audio_mnist, spoken_digits)


def list_file(name: str, path: Path, group: tuple[str, ...]) -> Listing:
    """List one sound file, or what a file list names."""
    if _is_sound(path.name):
        return Listing(name, path.parent, (path.name,), {}, (), group)
    if path.suffix.lower() not in (".txt", ".csv"):
        raise UsageError(f"{name} is neither a folder, a sound file, nor a list (.txt, .csv)")
    if path.suffix.lower() == ".csv":
        table = read_table(path)
        if not table.usable:
            raise DataError(f"{name}: {table.notes[0]}")
        return _under_one_root(name, path.parent, table.rows, table.notes, group)
    try:
        lines = decoded(path.read_bytes()).splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no text in UTF-8 or UTF-16, expected a list of files") from error
    except OSError as error:
        raise DataError(f"{name} can't be read: {error.strerror or error}") from error
    wanted = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    unique = sorted(set(wanted))
    notes = (
        (f"{path.name} names {len(wanted) - len(unique)} files more than once",) if len(unique) < len(wanted) else ()
    )
    return _under_one_root(name, path.parent, {file: {} for file in unique}, notes, group)


def _meant(folder: Path, file: str) -> str:
    """Return which file a line of a list names: as it is written, else as other systems and programs write it."""
    bare = file[1:-1] if file[:1] == file[-1:] == '"' else file
    slashed = bare.replace("\\", "/")
    forms = (file, bare, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")))
    return next((form for form in forms if os.path.exists(folder / form)), file)


def _under_one_root(
    name: str, folder: Path, rows: Mapping[str, Labels], notes: tuple[str, ...], group: tuple[str, ...]
) -> Listing:
    """Name files relative to the list's folder, or to the folder that holds them all where some lie outside it."""
    paths = {os.path.abspath(folder / _meant(folder, file)): labels for file, labels in rows.items()}
    root = Path(os.path.abspath(folder))
    if not all(Path(path).is_relative_to(root) for path in paths):
        try:
            root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
        except ValueError as error:
            raise DataError(
                f"{name}: the files lie on different drives, expected one folder that holds them"
            ) from error
    labels = {Path(path).relative_to(root).as_posix(): row for path, row in paths.items()}
    return Listing(name, root, tuple(sorted(labels)), labels, notes, group)
