"""What the page asks by HTTP: the run's facts, dots' sounds, uploads, paths, places. Every error is one line of JSON.

Work is done by a few threads of its own, so that the sound that plays meanwhile is not kept waiting; what comes faster
than they can do it is refused.
"""

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from latentscape.core.config import parse
from latentscape.core.errors import DataError, LatentscapeError, UsageError
from latentscape.play import limits
from latentscape.play.desk import Busy, Desk
from latentscape.play.filling import Asked, Filling
from latentscape.play.guard import public
from latentscape.play.limits import Bucket, read_json, written
from latentscape.play.making import KINDS, Wanted, make, preview
from latentscape.play.messages import Places
from latentscape.play.sounds import Sounds, place_upload, spool
from latentscape.play.stage import Stage, rounded

Heard = TypeVar("Heard")


class Refused(Exception):
    """A request ends with a status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Api:
    """The requests of all pages of a run."""

    def __init__(self, stage: Stage, sounds: Sounds, desk: Desk) -> None:
        self.stage, self.sounds, self.desk = stage, sounds, desk
        self._told: dict[str, Any] | None = None
        self._telling = threading.Lock()
        self._requests = Bucket(limits.REQUESTS)
        self._uploads = 0
        self._filling = asyncio.Lock()  # one gap at a time
        self.filling = Filling(stage)

    @property
    def routes(self) -> list[Route]:
        """Where everything is."""
        return [
            Route("/api/instrument", _answering(self.instrument)),
            Route("/api/dots/{dot:int}/sound.wav", _answering(self.dot_sound)),
            Route("/api/sounds", _answering(self.upload), methods=["POST"]),
            Route("/api/fill", _answering(self.fill), methods=["POST"]),
            Route("/api/path", _answering(self.path), methods=["POST"]),
            Route("/api/lift", _answering(self.lift), methods=["POST"]),
        ]

    def facts(self) -> dict[str, Any]:
        """Return what the page is told of the run; at first it takes seconds where the run's axes have no names yet."""
        with self._telling:
            if self._told is None:
                bounds = {
                    "upload_bytes": limits.UPLOAD_BYTES,
                    "upload_seconds": limits.UPLOAD_SECONDS,
                    "points": limits.POINTS,
                    "gap_seconds": limits.GAP_SECONDS,
                    "answers": limits.ANSWERS,
                }
                ways = {name: way.draws for name, way in self.filling.ways.items()}
                self._told = self.stage.facts() | {"kinds": list(KINDS), "limits": bounds, "fills": ways}
            return self._told

    async def instrument(self, request: Request) -> Response:
        """Tell of the run."""
        facts = self._told or await self.desk.do(self.facts)
        dots = [dot | {"sound": self.sounds.from_corpus(n)} for n, dot in enumerate(facts["dots"])]
        return _json(facts | {"dots": dots})

    async def dot_sound(self, request: Request) -> Response:
        """Send a dot's sound."""
        dot = request.path_params["dot"]
        if dot >= len(self.stage.dots):
            raise Refused(404, f"there is no dot {dot}")
        made = await self.desk.do(self.sounds.of_dot, dot)
        return Response(made, media_type="audio/wav", headers={"Cache-Control": "private, max-age=60"})

    async def upload(self, request: Request) -> Response:
        """Take a sound and tell where it lies."""
        self._bound()
        name = PurePath(request.query_params.get("name", "sound").replace("\\", "/")).name[:100] or "sound"
        async with self._received(request) as path:
            placed = await self._heard(path, name, self.desk.do(place_upload, path, name, self.stage))
        return _json({"id": secrets.token_hex(6), **placed})

    async def fill(self, request: Request) -> Response:
        """Take a sound and a gap, and send one answer: the sound with the gap filled in."""
        self._bound()
        given = {name: value for name, value in request.query_params.items() if name != "token"}
        asked = parse(Asked, given, "fill")
        async with self._received(request) as path, self._filling:
            if await request.is_disconnected():  # it was cancelled while it waited
                raise ClientDisconnect
            made = await self._heard(path, "the sound", self.desk.do(self.filling.answer, path, asked))
        told = {"X-Method": made.method, "X-Draws": str(made.draws).lower()}
        return Response(made.wave, media_type="audio/wav", headers=told)

    @contextlib.asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[Path]:
        """Take a file into a folder of its own, which goes at the end; few at a time, those that wait among them."""
        if self._uploads >= limits.UPLOADS_AT_ONCE:
            raise Refused(429, "another sound is being read; try again")
        self._uploads += 1
        try:
            with spool() as folder:
                path = Path(folder) / "upload"  # never a name that came from outside
                with open(path, "wb") as file:
                    await _stream(request, file.write, limits.UPLOAD_BYTES)
                yield path
        finally:
            self._uploads -= 1

    async def _heard(self, path: Path, name: str, work: Awaitable[Heard]) -> Heard:
        """Wait for what is made of a file, and say what is wrong with one that is no sound, by its own name."""
        try:
            return await work
        except DataError as error:
            reason = str(error).replace(str(path), name)
            raise Refused(415, public(reason if name in reason else f"{name}: {reason}")) from error

    async def path(self, request: Request) -> Response:
        """Make a path."""
        wanted = parse(Wanted, await self._body(request), "path")

        def work() -> dict[str, Any]:
            path = make(wanted, self.stage)
            return {"path": path.to_json(), "preview": preview(path, self.stage)}

        return _json(await self.desk.do(work))

    async def lift(self, request: Request) -> Response:
        """Turn spots of a map into codes."""
        wanted = parse(Places, await self._body(request), "lift")
        chart = self.stage.chart(wanted.map)
        return _json({"codes": rounded(await self.desk.do(chart.lift, wanted.tensor))})

    def _bound(self) -> None:
        if not self._requests.take():
            raise Refused(429, "too many requests; try again")

    async def _body(self, request: Request) -> dict[str, Any]:
        self._bound()
        body = bytearray()
        await _stream(request, body.extend, limits.BODY_BYTES)
        return await asyncio.to_thread(read_json, bytes(body))


async def _stream(request: Request, write: Callable[[bytes], Any], most: int) -> None:
    """Pass a request's body on as it comes; stop where it is too large."""
    told = request.headers.get("content-length", "0")
    if not told.isdecimal() or len(told) > 15 or int(told) > most:
        raise Refused(413, f"too large, expected at most {most >> 20} MiB")
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise Refused(413, f"too large, expected at most {most >> 20} MiB")
        write(piece)


def _answering(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn what can go wrong into one line of JSON."""

    async def answer(request: Request) -> Response:
        try:
            return await work(request)
        except Refused as refusal:
            status, text = refusal.status, str(refusal)
        except Busy as error:
            status, text = 503, str(error)
        except UsageError as error:
            status, text = 400, public(error)
        except LatentscapeError as error:
            status, text = 422, public(error)
        except ClientDisconnect:
            status, text = 400, "the connection was lost"
        except Exception:  # a fault of ours: told to who runs the server, and to nobody else
            logging.getLogger(__name__).exception("%s failed", request.url.path)
            status, text = 500, "internal error"
        # what is left of a body that was refused is not read: the connection ends
        return refused(status, text, {"Connection": "close"} if status == 413 else None)

    return answer


def refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to what is not done."""
    return _json({"error": text}, status, headers)


def _json(values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(written(values), status, headers, "application/json")
