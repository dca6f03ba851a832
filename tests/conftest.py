"""Shapes and types written as annotations are executed in every test (jaxtyping with beartype)."""

import base64
import contextlib
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from checking import left

gc.disable()  # until all is imported, which stays

_ROOMS = [
    "core",
    "signal",
    "dist",
    "nets",
    "geometry",
    "models",
    "measure",
    "data",
    "instrument",
    "edit",
    "report",
    "laws",
]
install_import_hook([f"latentscape.{room}" for room in _ROOMS], "checking.checked")

import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as in what a shell starts in the background; programs that tests interrupt would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup():
    """Every test has its own share of checked calls."""
    left.refill()


def pytest_collection_finish():
    """All that was imported stays, so the garbage collector need not look at it again and again, nor so often."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 20, 50)


_draw = Figure.savefig
_BLANK = {
    "png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    ),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def _leave_blank(figure: Figure, out, **options):
    out.write(_BLANK[options["format"]])


Figure.savefig = _leave_blank


@contextlib.contextmanager
def _drawn() -> Iterator[None]:
    Figure.savefig = _draw
    try:
        yield
    finally:
        Figure.savefig = _leave_blank


@pytest.fixture(scope="session")
def drawn():
    """A context in which pictures are drawn: they are most of what a tiny run costs, so elsewhere they are blank."""
    return _drawn


@pytest.fixture(scope="module")
def drawing(drawn):
    """Pictures are drawn in the tests of this file."""
    with drawn():
        yield


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    """Tests run side by side on few cores, and every test starts from the same random state."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """No test reads or writes the user's cache; what several of them open is made and decoded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENTSCAPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: ``LATENTSCAPE_DATA``, or ``../shared/data`` beside the checkout; else skip."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("LATENTSCAPE_DATA", beside))
    if not (root / "notes" / "metadata.csv").exists():
        pytest.skip(f"no real data: LATENTSCAPE_DATA is unset and {beside} is absent")
    return root
