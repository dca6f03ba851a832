"""One listener's WebSocket: messages become orders, blocks of sound go out as the listener's credit allows.

Letters: S samples sent, P samples heard by now at least (see :mod:`.ear`).

A block is rendered when less than the lead remains, S - P < lead, or when an order can be heard sooner by replacing
what was sent and not yet heard: S is less then, and what follows is sent again. What waits to be sent is one block at
most.
"""

import asyncio
import struct
import time
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from latentscape.core.errors import LatentscapeError, UsageError
from latentscape.play import limits
from latentscape.play.desk import Desk
from latentscape.play.ear import TRUST_SECONDS, Ear
from latentscape.play.engine import Block, Player
from latentscape.play.guard import public
from latentscape.play.limits import Bucket, read_json, written
from latentscape.play.messages import Ahead, Hello, Message, Played, Travel, read_message
from latentscape.play.sounding import Report
from latentscape.play.stage import Stage, rounded

MAGIC = 0x4C53434E
HEADER = struct.Struct("<IId")
ASLEEP_SECONDS = 10.0
"""s without a word on what was heard, after which a listener that plays gives its place to others."""
REPLACE_SECONDS = 0.02
"""s between two replacements: a hand's orders come quicker than they can be heard, and each costs a lead's work."""
HELLO_SECONDS = 10.0
QUALITY_SECONDS = 1.0
LONG_TEXT = 16_384
"""Bytes of a message beyond which it is read beside the loop that sends sound."""
POLICY, BUSY = 1008, 1013


@dataclass
class Hall:
    """Everybody who listens.

    Attributes:
        sockets: how many are connected.
        playing: those who play.
    """

    sockets: int = 0
    playing: set["Session"] = field(default_factory=set)


class Session:
    """A connection, from ``hello`` to its end."""

    def __init__(self, socket: WebSocket, stage: Stage, hall: Hall, workers: Executor, desk: Desk) -> None:
        self.socket, self.stage, self.hall, self.workers, self.desk = socket, stage, hall, workers, desk
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._sent = self._most = 0
        self._replaced = self._began = 0.0
        self._ear: Ear
        self._messages, self._volume = Bucket(limits.MESSAGES), Bucket(limits.MESSAGE_VOLUME)
        self._mistakes = Bucket(limits.MISTAKES)
        self._quality: tuple[int, float] = (-1, 0.0)
        self._complained: tuple[str, float] = ("", 0.0)

    async def run(self) -> None:
        """Serve the connection until it ends."""
        await self.socket.accept()
        if self.hall.sockets >= limits.SOCKETS:
            await self.socket.close(BUSY, "too many are connected")
            return
        self.hall.sockets += 1
        pump: asyncio.Task | None = None
        try:
            player = await self._greet()
            self._ear = Ear(player.rate, time.monotonic())
            pump = asyncio.create_task(self._pump(player))
            listener = asyncio.create_task(self._listen(player))
            done, waiting = await asyncio.wait((pump, listener), return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            await asyncio.wait((*done, *waiting))
            for error in [task.exception() for task in (*done, *waiting) if not task.cancelled()]:
                if error is not None:
                    raise error
        except (TimeoutError, WebSocketDisconnect):
            await self._close(POLICY, "no hello")
        except _Refused as refusal:
            await self._close(refusal.code, str(refusal))
        finally:
            self.hall.sockets -= 1
            self.hall.playing.discard(self)

    async def _greet(self) -> Player:
        async with asyncio.timeout(HELLO_SECONDS):
            while True:
                try:
                    hello = read_message(await self._receive())
                    if not isinstance(hello, Hello):
                        raise UsageError("the first message must be hello")
                    player = Player(self.stage.instrument, hello.block)
                    player.load.level = self.stage.level
                except LatentscapeError as error:
                    await self._complain(error)
                    continue
                ready = {"type": "ready", "sample_rate": player.rate, "channels": player.channels}
                await self._send(ready | {"block": player.block})
                return player

    # ---------------------------------------------------------------------------------------------------- receiving

    async def _listen(self, player: Player) -> None:
        while True:
            try:
                await self._obey(player, await self._receive())
            except LatentscapeError as error:
                await self._complain(error)

    async def _receive(self) -> dict[str, Any]:
        """Return the next message."""
        event = await self.socket.receive()
        if event["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(event.get("code") or 1000)
        text = event.get("text")
        size = len(text if text is not None else event.get("bytes") or b"")
        if not self._messages.take() or not self._volume.take(size):
            raise _Refused(POLICY, "too many messages")
        if text is None:
            raise UsageError("a message must be text")
        return await asyncio.to_thread(read_json, text) if size > LONG_TEXT else read_json(text)

    async def _obey(self, player: Player, values: dict[str, Any]) -> None:
        message = read_message(values)
        match message:
            case Message():
                if values["type"] == "play":
                    self._take_part()
                    self._began = time.monotonic()
                if isinstance(message, Travel):
                    order = await self.desk.do(message.order, self.stage)
                else:
                    order = message.order(self.stage)
                player.submit(order, message.seq)
            case Played():
                heard = min(message.samples, self._most)
                if player.playing:
                    self._take_part()  # again, after it was asleep
                if self._ear.tell(heard, message.underruns, message.late, time.monotonic()):
                    player.starved()
            case Ahead():
                player.ahead = message.seconds
            case _:
                raise UsageError("hello was said already")
        self._wake.set()

    def _take_part(self) -> None:
        if self not in self.hall.playing and len(self.hall.playing) >= limits.PLAYERS:
            raise _Refused(BUSY, "too many play at once")
        self.hall.playing.add(self)

    # ------------------------------------------------------------------------------------------------------ sending

    async def _pump(self, player: Player) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if not player.wakes:
                self.hall.playing.discard(self)
                await self._wake.wait()
                continue
            now = time.monotonic()
            if min(self._ear.silence(now), now - self._began) > ASLEEP_SECONDS:
                self.hall.playing.discard(self)
            wait, free = self._wait(player, now), self._ear.free(now)
            if player.outdated(free):
                wait = min(wait, self._replaced + REPLACE_SECONDS - now)
            if wait > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait)
                continue
            replaces = now >= self._replaced + REPLACE_SECONDS
            block = await loop.run_in_executor(self.workers, player.render, free if replaces else None)
            if block is not None:
                await self._deliver(block, player)

    def _wait(self, player: Player, now: float) -> float:
        """Return for how many seconds no block is due."""
        left = self._sent - min(self._sent, self._ear.heard(now)) - player.lead
        if not player.playing or left < 0:
            return 0.0
        return left / player.rate + 1e-4 if self._ear.silence(now) < TRUST_SECONDS else 1.0

    async def _deliver(self, block: Block, player: Player) -> None:
        for text in block.errors:
            await self._mention(text)
        head = HEADER.pack(MAGIC, len(block.wave), float(block.first))
        async with self._sending:
            await self.socket.send_bytes(head + block.wave.tobytes())
        if block.first < self._sent:
            self._replaced = time.monotonic()
        self._sent = block.first + len(block.wave)
        self._most = max(self._most, self._sent)
        if block.report is not None:
            await self._send(self._at(block.report))
        level, now = player.load.level, time.monotonic()
        if level != self._quality[0] or now - self._quality[1] >= QUALITY_SECONDS:
            self._quality = (level, now)
            await self._send({"type": "quality", "level": level, "load": round(player.load.load, 3)})

    def _at(self, report: Report) -> dict[str, Any]:
        places = {name: spots[0] for name, spots in self.stage.places(report.code[None]).items()}
        told = {"type": "at", "sample": report.sample, "code": rounded(report.code), "base": rounded(report.base)}
        return told | {"places": places, "seq": report.seq, "share": report.share}

    async def _complain(self, error: LatentscapeError) -> None:
        """Tell of a bad message; end the connection where there are too many."""
        if not self._mistakes.take():
            raise _Refused(POLICY, "too many bad messages") from error
        await self._send({"type": "error", "message": public(error)})

    async def _mention(self, text: str) -> None:
        """Tell of something that may go wrong in every block, once a second."""
        now = time.monotonic()
        if text != self._complained[0] or now - self._complained[1] > 1:
            self._complained = (text, now)
            await self._send({"type": "error", "message": text[:300]})

    async def _send(self, values: dict[str, Any]) -> None:
        async with self._sending:
            await self.socket.send_text(written(values))

    async def _close(self, code: int, reason: str) -> None:
        with suppress(RuntimeError, WebSocketDisconnect):
            await self.socket.close(code, reason)


class _Refused(Exception):
    """The connection ends, with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
