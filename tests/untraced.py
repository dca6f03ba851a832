"""What coverage does not look at: while Python traces, all code takes several times as long, also that of others."""

import contextlib
import sys
from collections.abc import Iterator

from beartype import beartype


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """A context in which code of other packages runs at its own speed, whether or not coverage is measured."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


checked = untraced()(beartype)
"""It writes a program for every function, and there are thousands."""
