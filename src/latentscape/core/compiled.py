"""Numba kernels: how they are compiled, and how they run over rows.

Importing this module imports numba, which takes a while: import it inside functions.

Kernels run without the interpreter's lock, a thread a row. (numba's own ``parallel`` is not used: its default threading
layer ends the process when two Python threads enter it, and an instrument is played from several.)
"""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba


def compiled(function: Any) -> Any:
    """Compile with numba; keep the machine code on disk where some folder can be written."""
    function = inspect.unwrap(function)  # an import hook that checks types wraps every function; numba needs it bare
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache: compile in every process
        return numba.njit(nogil=True)(function)


def each_row(work: Callable[[int], None], rows: int, threads: int) -> None:
    """Call ``work(row)`` for every row, on up to ``threads`` threads."""
    if min(threads, rows) <= 1:
        for row in range(rows):
            work(row)
        return
    with ThreadPoolExecutor(min(threads, rows)) as pool:
        list(pool.map(work, range(rows)))
