"""Labels of clips: from a table, from folder names, from a pattern of file names.

A table is CSV with a header; the column ``path`` is relative to the table's folder. A fault in it costs one clear line
and no sound: files it does not name are used without its labels.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from latentscape.core.errors import ConfigError
from latentscape.data.text import decoded, table_of

Labels = dict[str, str]


@dataclass(frozen=True)
class Table:
    """What a label table says.

    Attributes:
        rows: labels by relative path (posix, NFC).
        notes: one line a fault.
        usable: whether it has the column that names the files.
    """

    rows: Mapping[str, Labels]
    notes: tuple[str, ...]
    usable: bool


def normal(path: str) -> str:
    """Return a relative path in the one form that tables and folders are compared in: posix, composed characters."""
    return str(PurePosixPath(unicodedata.normalize("NFC", path.strip().replace("\\", "/"))))


def read_table(path: Path, key: str = "path", names: Mapping[str, str] | None = None) -> Table:
    """Read a label table.

    Args:
        path: of the CSV file.
        key: the column that names the files.
        names: our names of columns; others are dropped. ``None`` keeps all as they are.
    """
    try:
        reader = table_of(decoded(path.read_bytes()), (key,))
        columns = [column for column in reader.fieldnames or () if column]
        if key in columns:
            return _read_rows(path.name, reader, key, columns, names)
    except UnicodeDecodeError:
        return Table({}, (f"{path.name} is no text in UTF-8 or UTF-16; its labels are not used",), False)
    except (OSError, csv.Error) as error:
        return Table({}, (f"{path.name} can't be read ({error}); its labels are not used",), False)
    return Table({}, (f"{path.name} has no column '{key}' (it has {', '.join(columns) or 'none'}); not used",), False)


def _read_rows(
    table: str, records: Iterable[dict[str, str]], key: str, columns: Sequence[str], names: Mapping[str, str] | None
) -> Table:
    ours = {column: column if names is None else names.get(column, "") for column in columns if column != key}
    rows: dict[str, Labels] = {}
    repeated: list[str] = []
    unnamed = 0
    for record in records:
        name = normal(record[key] or "")
        if name == ".":
            unnamed += 1
        elif name in rows:
            repeated.append(name)
        else:
            rows[name] = {new: (record[old] or "").strip() for old, new in ours.items() if new}
    twice = sorted({column for column in ours if columns.count(column) > 1})
    notes = [f"{table} has more than one column {_some(twice)}; the last one counts"] if twice else []
    if repeated:
        notes.append(f"{table} names {_some(repeated)} more than once; the first row counts")
    if unnamed:
        notes.append(f"{table} has {unnamed} rows without a path; they are skipped")
    return Table(rows, tuple(notes), True)


def _some(names: Sequence[str]) -> str:
    return f"'{names[0]}'" + (f" and {len(names) - 1} others" if len(names) > 1 else "")


def missing_files(table: str, named: Iterable[str], there: Iterable[str]) -> tuple[str, ...]:
    """Return a line on the files that a table names and the folder lacks, if any."""
    lost = sorted(set(named) - set(there))
    return (f"{table} names {_some(lost)}, which the folder lacks",) if lost else ()


def from_folders(names: Sequence[str]) -> list[Labels]:
    """Label clips with the folder they lie in: ``folder`` the first level, ``subfolder`` what is below it.

    A level that says the same of all clips is no label.
    """
    parents = [PurePosixPath(name).parts[:-1] for name in names]
    levels = {
        "folder": [parts[0] if parts else "" for parts in parents],
        "subfolder": ["/".join(parts[1:]) for parts in parents],
    }
    kept = {label: values for label, values in levels.items() if len(set(values)) > 1}
    return [{label: values[place] for label, values in kept.items()} for place in range(len(names))]


class Pattern:
    """A file-name pattern such as ``{instrument}_{note}_{dynamics}``; with a ``/`` it describes the whole path.

    Raises:
        ConfigError: the pattern names no label, or one label twice.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = re.split(r"\{(\w+)\}", text)
        labels = pieces[1::2]
        if not labels or len(set(labels)) < len(labels) or any(label[0].isdigit() for label in labels):
            raise ConfigError(
                f"pattern: got '{text}', expected different names in braces, such as {{instrument}}_{{note}}"
            )
        body = "".join(f"(?P<{piece}>[^/]+?)" if odd else re.escape(piece) for odd, piece in _alternate(pieces))
        self.expression = re.compile(body)

    def match(self, name: str) -> Labels | None:
        """Return the labels in a clip's name, or ``None`` where it does not fit."""
        subject = name if "/" in self.text else PurePosixPath(name).name
        found = self.expression.fullmatch(subject)
        return found.groupdict() if found else None


def _alternate(pieces: Sequence[str]) -> Iterable[tuple[bool, str]]:
    return ((place % 2 == 1, piece) for place, piece in enumerate(pieces))
