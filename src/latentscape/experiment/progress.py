"""A bar while sounds are decoded into the cache; nothing where there is no terminal, or nothing to decode."""

from collections.abc import Iterator
from contextlib import contextmanager

from latentscape.data.cache import Progress


@contextmanager
def decoding() -> Iterator[Progress]:
    """Yield what is told how many files are decoded, of how many (from any thread)."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("decoding", total=None, visible=False)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=total > 0)

        yield told
