"""One at a time: a lock that the operating system takes back from whoever dies."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latentscape.core.errors import StorageError, UsageError

PAUSE = 0.1


@contextmanager
def locked(path: Path, message: str, wait: float = 0.0) -> Iterator[None]:
    """Within, no other process holds the lock of this path.

    Args:
        path: of a file that is made for it, and left there.
        message: of the error.
        wait: s; how long to wait for another to let go.

    Raises:
        UsageError: another process holds it.
        StorageError: the file can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(f"could not write {path}: {error.strerror or error}") from error
    try:
        end = time.monotonic() + wait
        while not _take(handle):
            if time.monotonic() >= end:
                raise UsageError(message)
            time.sleep(PAUSE)
        yield
    finally:
        os.close(handle)  # which lets go


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
