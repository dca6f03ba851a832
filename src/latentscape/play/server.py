"""The server of ``latentscape play``: the page, its data, and a WebSocket for every listener."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from latentscape.core.errors import UsageError
from latentscape.instrument.loading import load
from latentscape.instrument.streamed import redrawn
from latentscape.play import limits
from latentscape.play.api import Api, refused
from latentscape.play.desk import Desk
from latentscape.play.engine import Player
from latentscape.play.guard import LOOPBACK, Doors, Guard
from latentscape.play.session import Hall, Session
from latentscape.play.sounding import Sounding
from latentscape.play.sounds import Sounds
from latentscape.play.stage import Stage

URGENT = -11
"""Niceness of the threads that make and send sound."""
PORT = 8137
PORTS = 64
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}


def page_files() -> dict[str, Path]:
    """Return the page's files by name: all that is ever served from the disk."""
    folder = Path(str(resources.files("latentscape.play"))) / "page"
    return {path.name: path for path in sorted(folder.glob("*")) if path.suffix in MEDIA and path.is_file()}


def build_app(stage: Stage, doors: Doors, run: Path | None = None) -> Starlette:
    """Return the application.

    Args:
        stage: the run.
        doors: by which it is reached.
        run: its folder, which says where the corpus is.
    """
    workers = ThreadPoolExecutor(limits.PLAYERS, thread_name_prefix="play", initializer=urgent)
    hall, files, desk = Hall(), page_files(), Desk()
    api = Api(stage, Sounds(stage, run), desk)

    def static(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        path = files.get(name)
        if path is None:
            return refused(404, "there is no such file")
        return Response(path.read_bytes(), media_type=MEDIA[path.suffix])

    async def play(socket: WebSocket) -> None:
        await Session(socket, stage, hall, workers, desk).run()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(warm_up, stage)
        threading.Thread(target=api.facts, daemon=True, name="facts").start()  # while the browser fetches the page
        urgent()
        yield
        workers.shutdown(wait=False, cancel_futures=True)
        desk.close()

    routes = [
        Route("/", static),
        Route("/static/{name}", static),
        *api.routes,
        WebSocketRoute("/play", play),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, doors=doors)],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )


def _no_route(request: Request, error: Exception) -> Response:
    """Answer what has no route, or not by that method, as everything else is answered."""
    assert isinstance(error, HTTPException)
    return refused(error.status_code, f"{request.method}: {error.detail.lower()}", error.headers)


def urgent() -> None:
    """Let the calling thread go before others, where the system allows it: sound can't wait, pictures can."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, URGENT)


def warm_up(stage: Stage) -> None:
    """Compile and load what the first block would have to wait for."""
    player = Player(stage.instrument)
    player.submit(Sounding.play)
    for _ in range(8):
        player.render()


def bind(host: str, port: int | None) -> socket.socket:
    """Return a listening socket, on the port that is asked for, or the first free one from :data:`PORT`.

    Raises:
        UsageError: the port is taken or the host is not one of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"host '{host}' is not known: {error.strerror or error}") from error
    ports = range(PORT, PORT + PORTS) if port is None else (port,)
    reason = ""
    for one in ports:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address[0], one, *address[2:]))
            listener.listen()  # until then, others may bind it, too
            return listener
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
    raise UsageError(f"{host} port {ports[0]}{'' if port else f' to {ports[-1]}'}: {reason}; choose another --port")


def serve(
    run: Path,
    *,
    host: str | None = None,
    port: int | None = None,
    browser: bool = True,
    device: str = "auto",
    drawing: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a run until Ctrl-C; ``drawing`` is how its samples are drawn (:func:`redrawn`), where they are.

    Raises:
        LatentscapeError: the run can't be loaded or played, or the port can't be had.
    """
    instrument = load(run, device)
    stage = Stage(instrument if drawing is None else redrawn(instrument, **drawing))
    if stage.notice:
        say(stage.notice)
    listener = bind(host or LOOPBACK[0], port)
    token = None if host is None else secrets.token_urlsafe(24)
    doors = Doors(host or LOOPBACK[0], listener.getsockname()[1], token)
    config = settings(build_app(stage, doors, run))
    server = _Server(config, lambda: _opened(doors.url, browser, say))
    _steady()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    say("stopped")


def _steady() -> None:
    """Keep the interpreter from pausing longer than the sound that is ready.

    A full garbage collection walks the half million objects that importing torch leaves, which takes a tenth of a
    second; frozen, they are never walked again. Threads hand over after 1 ms instead of 5, so that the thread that
    renders and the loop that sends do not wait for each other.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(1e-3)


def settings(app: Starlette) -> uvicorn.Config:
    """Return how uvicorn serves an application: bounded, quiet, and done a second after it is told to stop."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=limits.MESSAGE_BYTES,
        ws_per_message_deflate=False,
        limit_concurrency=limits.CONNECTIONS,
        timeout_graceful_shutdown=1,
        server_header=False,
        date_header=False,
    )


class _Server(uvicorn.Server):
    """A server that tells when it can be reached, and ends without a word on what it had to leave unsent."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; a page that was still loading is no fault to tell of."""
        logging.getLogger("uvicorn.error").addFilter(_a_fault)
        await super().shutdown(sockets)


def _a_fault(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn's is more than that it left off, as it was told to, what took too long."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError) and "timeout graceful shutdown" not in record.getMessage()


def _opened(url: str, browser: bool, say: Callable[[str], None]) -> None:
    say(f"playing at {url} (Ctrl-C ends it)")
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
