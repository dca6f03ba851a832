"""Safe storage: JSON and safetensors only, written to a temporary name beside the target, then renamed.

Files from strangers are data and never code: nothing here unpickles. A reader sees the old file or the new one, never a
half-written one, even when the disk fills up or the process is killed.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, StorageError

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What stands in a file's name for a byte that is no text; UTF-8 has none of it, JSON writes it as an escape."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success it replaces ``path``, on failure it is removed.

    Raises:
        StorageError: the folder can't be written, or the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; a run folder is meant to be shared
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"could not write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def name_of(folder: Path) -> str:
    """Return the name of a folder, however its path is written: ``.`` has one, too."""
    return os.path.basename(os.path.abspath(folder))


def require_writable(folder: Path) -> None:
    """Refuse a folder to be made where nothing can be written; nothing is written to find out.

    Raises:
        StorageError: what it would lie in is a file, or may not be written to.
    """
    above = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not above.is_dir():
        raise StorageError(f"{folder} can't be made: {above} is a file, expected a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise StorageError(f"{folder} can't be made: {above} can't be written to; choose another place")


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        StorageError: the file is missing or can't be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing") from error
    except OSError as error:
        raise StorageError(f"could not read {path}: {error.strerror or error}") from error


def save_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def save_bytes_to(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def save_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity are refused, since JSON has none.

    Raises:
        StorageError: the value holds NaN or infinity, or the file can't be written.
    """
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise StorageError(f"could not write {path}: {error}") from error
    save_text(path, _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing") from error
    except OSError as error:
        raise StorageError(f"could not read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # brackets in thousands of brackets are no data of ours
        raise StorageError(f"{path} is damaged: not valid JSON ({error})") from error


def load_object(path: Path, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.
        keys: what it must hold.

    Raises:
        StorageError: the file is missing, is not JSON, holds something else than an object, or lacks a key.
    """
    value = load_json(path)
    if not isinstance(value, dict):
        raise StorageError(f"{path} is damaged: expected an object, got {type(value).__name__}")
    lacking = [key for key in keys if key not in value]
    if lacking:
        raise StorageError(f"{path} is damaged: '{lacking[0]}' is missing")
    return value


def as_record(kind: Any, values: Mapping[str, Any], path: Path) -> Any:
    """Return what a file says as a record of some kind, value by value (:func:`latentscape.core.config.parse`).

    Raises:
        StorageError: a value is missing, unknown or of another kind; one line names the file and the key.
    """
    try:
        return parse(kind, values, f"{path} is damaged")
    except ConfigError as error:
        raise StorageError(f"{error}") from error


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors (any device; stored contiguous on the CPU) with string metadata, atomically.

    They are written from where they lie: a checkpoint takes no memory beside that of a model in it.
    """
    stored: dict[str, torch.Tensor] = {}
    held: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().to("cpu").contiguous()
        place = own.untyped_storage().data_ptr()
        stored[name] = own.clone() if place in held else own  # the format refuses two names of one memory
        held.add(place)
    with atomic(path) as temporary:
        try:
            save_file(stored, temporary, dict(metadata or {}))
        except SafetensorError as error:
            raise StorageError(f"could not write {path}: {error}; nothing was changed") from error


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read named tensors onto the CPU.

    Raises:
        StorageError: the file is missing, unreadable or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as opened:  # copies: what is mapped changes with the file
            return {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118  (no mapping)
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing") from error
    except OSError as error:
        raise StorageError(f"could not read {path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise StorageError(f"{path} is larger than the memory that is free") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise StorageError(f"{path} is damaged: not a safetensors file ({error})") from error


def load_metadata(path: Path) -> dict[str, str]:
    """Read the string metadata of a safetensors file, without its tensors.

    Raises:
        StorageError: the file is missing, unreadable or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as opened:
            return dict(opened.metadata() or {})
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing") from error
    except OSError as error:
        raise StorageError(f"could not read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise StorageError(f"{path} is damaged: not a safetensors file ({error})") from error


def load_weights(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Copy tensors into a module, all or nothing.

    Raises:
        StorageError: a tensor is missing, unknown, or of another shape or kind of number; the first one is named with
            what it is and should be.
    """
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise StorageError(f"{path} does not fit the model: tensor '{name}' {tuple(tensor.shape)} is missing")
        if tensors[name].shape != tensor.shape:
            arrived = tuple(tensors[name].shape)
            raise StorageError(f"{path} does not fit the model: '{name}' is {arrived}, expected {tuple(tensor.shape)}")
        if tensors[name].is_floating_point() != tensor.is_floating_point():  # it would be rounded, or lose a part
            arrived = tensors[name].dtype
            raise StorageError(f"{path} does not fit the model: '{name}' is {arrived}, expected {tensor.dtype}")
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise StorageError(f"{path} does not fit the model: it holds '{unknown[0]}', which the model lacks")
    module.load_state_dict(dict(tensors))
