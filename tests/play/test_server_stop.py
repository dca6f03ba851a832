"""Ctrl-C while a page is still loading: the server ends, and says nothing but that it has."""

import asyncio
import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from latentscape.play.server import _Server, bind, settings


@pytest.fixture(autouse=True)
def _plain_log():
    """The server's log as a new process has it."""
    log = logging.getLogger("uvicorn.error")
    before = list(log.filters)
    yield
    log.filters[:] = before


def served_and_stopped(answer) -> None:
    """Ask a server for a page, and stop it as Ctrl-C does while ``answer`` is under way."""

    async def work() -> None:
        asked = asyncio.Event()

        async def page(request):
            asked.set()
            return await answer()

        config = settings(Starlette(routes=[Route("/", page)]))
        config.timeout_graceful_shutdown = 0.1
        with bind("127.0.0.1", 0) as listener:
            server = _Server(config, lambda: None)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asked.wait()
            server.should_exit = True
            await serving
            writer.close()

    asyncio.run(work())


def test_a_page_that_is_still_loading_leaves_no_trace(capfd):
    served_and_stopped(lambda: asyncio.sleep(60))
    assert capfd.readouterr() == ("", "")


def test_a_fault_is_still_told(capfd):
    async def answer() -> Response:
        await asyncio.sleep(0.05)
        raise ValueError("a fault")

    served_and_stopped(answer)
    assert "ValueError: a fault" in capfd.readouterr().err
