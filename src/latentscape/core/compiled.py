"""Numba kernels: how they are compiled, and how they run over rows.

Importing this module imports numba, which takes a while: import it inside functions.

Kernels run without the interpreter's lock, a thread a row. (numba's own ``parallel`` is not used: its default threading
layer ends the process when two Python threads enter it, and an instrument is played from several.)
"""

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock

from latentscape.core.errors import LatentscapeError
from latentscape.core.lock import locked

PATIENCE = 120.0
"""s that a process waits for another to compile a kernel, before it does so itself."""


def compiled(function: Any) -> Any:
    """Compile with numba; keep the machine code on disk where some folder can be written.

    Of processes that start at once, one compiles and the others read what it wrote.
    """
    function = inspect.unwrap(function)  # an import hook that checks types wraps every function; numba needs it bare
    try:
        kernel: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder for the cache: compile in every process
        return numba.njit(nogil=True)(function)
    compile_or_load = kernel.compile
    lock = Path(kernel.stats.cache_path) / f"{function.__module__}.{function.__name__}.lock"

    def compile_alone(signature: Any) -> Any:
        with _alone(lock):
            return compile_or_load(signature)

    kernel.compile = compile_alone
    return kernel


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    # A kernel that calls another compiles that one within. Threads take numba's own lock first: else one that holds it
    # could wait for a file that is held by another which waits for it.
    with global_compiler_lock, ExitStack() as stack:
        with suppress(LatentscapeError):  # a folder that knows no locks, or a neighbour that hangs: go on without
            stack.enter_context(locked(lock, "", PATIENCE))
        yield


def each_row(work: Callable[[int], None], rows: int, threads: int) -> None:
    """Call ``work(row)`` for every row, on up to ``threads`` threads."""
    if min(threads, rows) <= 1:
        for row in range(rows):
            work(row)
        return
    with ThreadPoolExecutor(min(threads, rows)) as pool:
        list(pool.map(work, range(rows)))
