"""A few threads for work that listeners ask for, so that the sound that plays meanwhile is not kept waiting."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from latentscape.core.errors import UsageError

THREADS = 2
WAITING = 32
Answer = TypeVar("Answer")


class Busy(UsageError):
    """More waits to be done than should."""


class Desk:
    """The threads, and a short queue before them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="desk")
        self._waiting = 0

    async def do(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """Let a thread do the work.

        Raises:
            Busy: too much waits already.
        """
        if self._waiting >= WAITING:
            raise Busy("too much to do; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Do no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
