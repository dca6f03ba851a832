"""What people's own files of text and folders look like: encodings, separators of tables, links."""

import csv
import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

SEPARATORS = ",;\t"
"""Of cells: CSV, CSV where the comma stands in numbers, and what is copied out of a spreadsheet."""


def decoded(data: bytes) -> str:
    """Return text in UTF-8, or in UTF-16 where it begins with its mark, as a shell of Windows writes it.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if wide else "utf-8-sig")
    if (place := text.find("\0")) >= 0:  # no path may hold it; without its mark UTF-16 is full of it
        raise UnicodeDecodeError("utf-16" if wide else "utf-8", data, place, place + 1, "a byte of 0")
    return text


def table_of(text: str, wanted: Sequence[str]) -> csv.DictReader:
    """Return the rows of a table, by the first separator with which its header has the wanted columns, else by commas.

    Blanks about the names of columns and before cells are no part of them.

    Raises:
        csv.Error: it is no table.
    """
    readers = [_reader(text, separator) for separator in SEPARATORS]
    needed = {name.lower() for name in wanted}
    there = (reader for reader in readers if needed <= {name.lower() for name in reader.fieldnames or ()})
    return next(there, readers[0])


def _reader(text: str, separator: str) -> csv.DictReader:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    reader.fieldnames = [(name or "").strip() for name in reader.fieldnames or ()]
    return reader


def folders_under(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder under a root, itself first, relative to it, with its files; what begins with a dot is hidden.

    Links to folders are followed after the folders themselves, and each folder is met once: a link that leads back, or
    to a folder that holds the root, leads nowhere.

    Raises:
        OSError: a folder can't be read.
    """
    home = os.path.realpath(root)
    seen: set[str] = set()
    waiting = deque([root])
    while waiting:
        for folder, folders, files in os.walk(waiting.popleft(), onerror=_raise):
            real = os.path.realpath(folder)
            if real in seen or (real != home and home.startswith(os.path.join(real, ""))):
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            waiting.extend(path for one in folders if (path := Path(folder, one)).is_symlink())
            yield Path(folder).relative_to(root), [file for file in files if not file.startswith(".")]


def _raise(error: OSError) -> None:
    raise error
