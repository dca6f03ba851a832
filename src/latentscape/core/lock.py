"""One at a time: a lock that the operating system takes back from whoever dies."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from latentscape.core.errors import StorageError, UsageError

PAUSE = 0.1


@contextmanager
def locked(path: Path, message: str, wait: float = 0.0) -> Iterator[None]:
    """Within, no other process holds the lock of this path.

    Args:
        path: of a file that is made for it, and taken away after.
        message: of the error.
        wait: s; how long to wait for another to let go.

    Raises:
        UsageError: another process holds it.
        StorageError: the file can't be made.
    """
    end = time.monotonic() + wait
    while (handle := _held(path)) is None:
        if time.monotonic() >= end:
            raise UsageError(message)
        time.sleep(PAUSE)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows takes no open file away: there it stays
            path.unlink()
        os.close(handle)  # which lets go


def _held(path: Path) -> int | None:
    """Return the open file whose lock is ours now; ``None`` where another process holds it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"could not write {path}: {error.strerror or error}") from error
        taken = _take(handle)
        if taken and _is_at(handle, path):
            return handle
        os.close(handle)
        if not taken:
            return None


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the one of that path still: who held its lock may just have taken it away."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _take(handle: int) -> bool:
    locking: Any
    try:
        if sys.platform == "win32":
            import msvcrt as locking

            locking.locking(handle, locking.LK_NBLCK, 1)
        else:
            import fcntl as locking

            locking.flock(handle, locking.LOCK_EX | locking.LOCK_NB)
    except OSError:
        return False
    return True
