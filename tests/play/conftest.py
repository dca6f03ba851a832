import warnings

import pytest
from small_run import PORT, make_instrument, served

from latentscape.play import limits
from latentscape.play.guard import Doors
from latentscape.play.server import build_app
from latentscape.play.stage import Stage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would rather have another HTTP client than the one that is pinned
    from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def instrument():
    return make_instrument()


@pytest.fixture(scope="session")
def stage(instrument):
    return Stage(instrument)


@pytest.fixture(scope="session")
def client(stage):
    """A browser on the loopback, of a server that lets it ask as fast as it likes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "REQUESTS", limits.Rate(1e9, 1e9))
        app = build_app(stage, Doors("127.0.0.1", PORT))
    with TestClient(app, base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client


@pytest.fixture
def strict_client(stage):
    """The same with its bounds."""
    with TestClient(build_app(stage, Doors("127.0.0.1", PORT)), base_url=f"http://127.0.0.1:{PORT}") as client:
        yield client


@pytest.fixture(scope="module")
def port(stage):
    with served(stage) as port:
        yield port
