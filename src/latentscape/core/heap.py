"""Where large and passing arrays lie, so that memory does not grow with how many there were.

glibc's allocator takes an array of some megabytes from its heap once one of that size was dropped, and it may not find
the gap that the last one left, because torch asks for aligned memory (glibc bug 14581; seen with 2.36): between arrays
that pass, whatever small thing is kept costs a gap as large as they are. Sixty pieces of a minute, analysed one after
the other, left gaps of one to two gigabytes. Within :func:`passing` such arrays are taken from the system itself, and
go back to it as soon as they are dropped. That costs time (the system clears what it gives), so training steps do
without.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

LARGE = 2**20
"""bytes from which on an array is taken from the system, within."""
USUAL = 32 * 2**20
"""bytes likewise, outside: what glibc itself comes to at most."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # malloc.h

_lock = Lock()
_inside = [0]


@contextmanager
def passing() -> Iterator[None]:
    """Within, arrays of 1 MiB and more are given back to the system when they are dropped; in all threads.

    Without glibc nothing is done.
    """
    _enter(1)
    try:
        yield
    finally:
        _enter(-1)


def _enter(change: int) -> None:
    set_option = _mallopt()
    if set_option is None:
        return
    with _lock:
        _inside[0] += change
        set_option(_MMAP_THRESHOLD, LARGE if _inside[0] else USUAL)
        set_option(_TRIM_THRESHOLD, 2 * USUAL)  # as glibc itself sets the two; else it would fall to 128 KiB


@cache
def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's way to set an option; ``None`` where there is another allocator."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None
    return library.mallopt
