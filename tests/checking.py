"""Annotations executed (jaxtyping with beartype), as often as is worth its time.

A check takes some 0.1 ms, more than what most of these functions do: over whole trainings it was half the time of the
tests. So only the first calls of every test are checked.
"""

import functools
from collections.abc import Callable

import beartype
import jaxtyping

CALLS = 2000
"""Calls a test whose arguments or results are checked."""


class Left:
    """How many checks the running test has left."""

    def __init__(self) -> None:
        self.calls = CALLS

    def refill(self) -> None:
        self.calls = CALLS
        jaxtyping.config.update("jaxtyping_disable", False)

    def take(self) -> None:
        self.calls -= 1
        if self.calls <= 0:
            jaxtyping.config.update("jaxtyping_disable", True)


left = Left()


def checked(function: Callable) -> Callable:
    """Decorate as beartype does, though not before the first call, and count."""
    check = functools.cache(lambda: beartype.beartype(function))

    @functools.wraps(function)
    def counted(*args, **kwargs):
        left.take()
        return check()(*args, **kwargs)

    return counted
