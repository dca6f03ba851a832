"""Kernels are compiled once, by one process, and kept."""

import threading
from pathlib import Path

import numba
import pytest

from latentscape.core import compiled
from latentscape.core.lock import locked


def twice(x):
    return 2 * x


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def test_what_another_compiled_is_read(cache):
    assert compiled.compiled(twice)(3) == 6
    again = compiled.compiled(twice)
    assert again(3) == 6
    assert sum(again.stats.cache_hits.values()) == 1
    assert not list(cache.rglob("*.lock"))


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_a_second_process_waits_for_the_first_but_not_for_ever(cache, monkeypatch, patience):
    monkeypatch.setattr(compiled, "PATIENCE", patience)
    kernel = compiled.compiled(twice)
    lock = Path(kernel.stats.cache_path) / f"{twice.__module__}.twice.lock"
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(kernel(3)))
    with locked(lock, "the test holds it"):
        thread.start()
        thread.join(1.0 if patience else 30)
        assert found == ([] if patience else [6])
    thread.join(30)
    assert found == [6]


def test_without_a_folder_for_the_cache_kernels_are_still_compiled(monkeypatch):
    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.core.decorators.njit(**options)

    monkeypatch.setattr(compiled.numba, "njit", njit)
    assert compiled.compiled(lambda x: x + 1)(2) == 3
