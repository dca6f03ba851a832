from collections.abc import Callable
from pathlib import Path

import pytest
from soundfiles import noise, put


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """Give every test a cache and a data root of its own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LATENTSCAPE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("LATENTSCAPE_DATA", str(folder / "data"))
    return folder / "cache"


@pytest.fixture
def folder(tmp_path) -> Callable[..., Path]:
    """Return a maker of folders of noise files."""

    def make(names: list[str] | int = 12, root: str = "sounds", **options: float) -> Path:
        files = [f"{number:02d}.wav" for number in range(names)] if isinstance(names, int) else names
        for name in files:
            put(tmp_path / root / name, noise(name, **options))
        return tmp_path / root

    return make
