"""A real server and a client that speaks the protocol over a real WebSocket."""

import contextlib
import itertools
import json
import socket
import struct
import time

import numpy as np
import pytest
from small_run import DIM, HOP, RATE, served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from latentscape.geometry.paths import Circle
from latentscape.play import ear, limits, load, session
from latentscape.play.ear import TRUST_SECONDS
from latentscape.play.session import MAGIC

CIRCLE = Circle(centre=[0.0] * DIM, axes=[0, 1], radius=1.0)


class Listener:
    """A page without a browser: gives credit for what it was sent, at once or never."""

    def __init__(self, port, block=256, **options):
        self.socket = connect(f"ws://127.0.0.1:{port}/play", max_size=None, compression=None, **options)
        self.waves, self.told, self.got, self.replaced = [], [], 0, 0
        self.say(type="hello", block=block)
        self.ready = self.hear("ready")

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def take(self, timeout=10.0, credit=True):
        """Take the next message; return its type."""
        message = self.socket.recv(timeout)
        if isinstance(message, str):
            self.told.append(json.loads(message))
            return self.told[-1]["type"]
        magic, count, first = struct.unpack("<IId", message[:16])
        assert magic == MAGIC
        assert first <= self.got
        while self.got > first:  # taken back, what follows is in its place
            self.got -= len(self.waves.pop())
            self.replaced += 1
        assert first == self.got
        wave = np.frombuffer(message[16:], "<f4").reshape(count, -1)
        self.waves.append(wave)
        self.got += count
        if credit:
            self.say(type="played", samples=self.got)
        return "wave"

    def hear(self, kind):
        while self.take() != kind:
            pass
        return self.told[-1]

    def listen(self, samples):
        while self.got < samples:
            self.take()
        return np.concatenate(self.waves)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()


def begun(port):
    """Return a listener that has been sent a wave: whoever played in the test before may not be missed yet."""
    for _ in range(50):
        page = Listener(port)
        page.say(type="play")
        with contextlib.suppress(ConnectionClosed):
            page.take(credit=False)
            return page
        time.sleep(0.1)
    return pytest.fail("there was no place within 5 s")


@pytest.fixture
def _easy(monkeypatch):
    """A busy machine makes nothing worse."""
    for limit in ("BUSY", "SPARE"):
        monkeypatch.setattr(load, limit, float("inf"))


@pytest.mark.usefixtures("_easy")
def test_what_is_received_is_what_is_rendered(port, instrument):
    count = 150
    with Listener(port) as page:
        assert page.ready == {"type": "ready", "sample_rate": RATE, "channels": 1, "block": 256}
        seconds = (count - 1) * HOP / RATE
        page.say(type="path", path=CIRCLE.to_json(), seconds=seconds, loop=False, seq=1)
        page.say(type="play", seq=2)
        heard = page.listen((count - 6) * HOP)[:, 0]
    whole = instrument.render(CIRCLE, count * HOP / RATE, quality="live")[0].numpy()[: len(heard)]
    fade = round(0.005 * RATE)
    assert np.array_equal(heard[fade : (count - 6) * HOP], whole[fade : (count - 6) * HOP])


@pytest.mark.usefixtures("_easy")
def test_a_message_is_obeyed_at_the_next_block_and_little_is_ready(port):
    ahead = 0.03
    with Listener(port, block=64) as page:
        page.say(type="ahead", seconds=ahead)
        page.say(type="play")
        page.listen(2000)
        waits, spots = [], []
        for seq in range(1, 9):
            before = page.got
            page.say(type="place", at=[0.1 * seq, 0.0], seq=seq)
            while (at := page.hear("at"))["seq"] != seq:
                pass
            waits.append(at["sample"] - before)
            spots.append(at["places"]["principal"][0])
            assert set(at) == {"type", "sample", "code", "base", "places", "seq", "share"}
            page.listen(page.got + 500)
        assert sorted(waits)[4] <= 0.03 * RATE + 3 * 64  # what was on its way already, and one block
        assert spots == sorted(spots)


@pytest.mark.usefixtures("_easy")
def test_a_message_replaces_what_lies_ready(port, monkeypatch):
    """The listener keeps half a second ready and hears a fifth of real time, so that even a busy machine keeps up."""
    monkeypatch.setattr(ear, "MEMORY_SECONDS", 0.02)  # it is behind what a listener in time would have heard
    with Listener(port, block=64) as page:
        page.say(type="ahead", seconds=0.5)
        page.say(type="play")
        while page.got < 0.4 * RATE:
            page.take(credit=False)
        begun = time.monotonic()

        def hear_until(done):
            while not done():
                heard.append(min(page.got, round(0.2 * (time.monotonic() - begun) * RATE)))
                page.say(type="played", samples=heard[-1])
                with contextlib.suppress(TimeoutError):
                    for _ in range(8):
                        page.take(0.01, credit=False)

        def pause(seconds):
            end = time.monotonic() + seconds
            hear_until(lambda: time.monotonic() > end)

        heard, beyond = [0], []
        pause(0.3)
        for seq in range(1, 7):
            pause(0.09)
            told, ready = heard[-1], page.got
            page.say(type="place", at=[0.1 * seq, 0.0], seq=seq)
            hear_until(lambda seq=seq: any(told.get("seq") == seq for told in page.told))
            at = next(told for told in page.told if told.get("seq") == seq)
            beyond.append(at["sample"] - told)
            assert told < ready
        assert page.replaced >= 3
        assert min(beyond) > 0  # never what has been heard
        assert sorted(beyond)[2] < 0.3 * RATE


@pytest.mark.usefixtures("_easy")
def test_a_replacement_does_not_wait_for_a_block_to_be_due(port, monkeypatch):
    for module in (ear, session):
        monkeypatch.setattr(module, "TRUST_SECONDS", 0.02)  # without credit, nothing is due any more
    monkeypatch.setattr(ear.Ear, "free", lambda self, now: round(self.heard(now)) + RATE // 10)
    with Listener(port, block=64) as page:
        page.say(type="ahead", seconds=0.5)
        page.say(type="play")
        page.listen(RATE)
        with contextlib.suppress(TimeoutError):
            while True:
                page.take(0.06, credit=False)
        page.say(type="place", at=[0.5, 0.0], seq=7)
        while page.take(credit=False) != "at" or page.told[-1]["seq"] != 7:
            pass
        assert page.replaced > 0


def test_credit_bounds_what_is_sent(port):
    with Listener(port) as page:
        page.say(type="play")
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                page.take(0.2, credit=False)
        lead = load.LEAD if any(told.get("level") == 2 for told in page.told) else 0.05
        assert page.got <= (lead + TRUST_SECONDS) * RATE + 2 * 256
        page.say(type="played", samples=10**9)  # no more than was sent
        page.listen(page.got + 512)


def test_stop_and_play_again(port):
    with Listener(port) as page:
        page.say(type="play")
        page.listen(2000)
        page.say(type="stop", seq=1)
        while page.waves[-1][-200:].any():
            page.take()
        with contextlib.suppress(TimeoutError):
            while page.take(0.5):
                pass
        stopped = page.got
        page.say(type="play")
        page.listen(stopped + 500)
        page.say(type="gate", mode="keys")
        page.say(type="note", on=True, midi=64, velocity=1.0)
        page.say(type="labels", values={"midi": 72})
        page.say(type="axis", name="no such axis", value=1.0)
        assert "not known" in page.hear("error")["message"]
        assert page.hear("quality")["level"] in (0, 1, 2)


def test_only_so_many_play_and_connect(port, monkeypatch):
    monkeypatch.setattr(limits, "PLAYERS", 2)
    monkeypatch.setattr(limits, "SOCKETS", 4)
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(Listener(port)) for _ in range(4)]
        for page in pages[:3]:
            page.say(type="play")
        with pytest.raises(ConnectionClosed) as caught:
            pages[2].listen(10**9)
        assert caught.value.rcvd.code == 1013
        time.sleep(0.1)
        stack.enter_context(Listener(port))
        with pytest.raises(ConnectionClosed) as caught:
            Listener(port)
        assert caught.value.rcvd.code == 1013
        pages[0].listen(500)  # the others go on


def test_a_listener_that_has_gone_silent_gives_its_place_to_others(port, monkeypatch):
    """A tab whose sound card stands still keeps its connection, but nobody hears it."""
    monkeypatch.setattr(limits, "PLAYERS", 1)
    monkeypatch.setattr(session, "ASLEEP_SECONDS", 0.3)
    with begun(port) as asleep, Listener(port) as awake:
        time.sleep(2.0)
        awake.say(type="play")
        awake.listen(500)
        asleep.say(type="played", samples=asleep.got)  # it wakes where all places are taken
        with pytest.raises(ConnectionClosed) as caught:
            asleep.listen(10**9)
        assert caught.value.rcvd.code == 1013
        awake.listen(awake.got + 500)


def test_a_listener_that_wakes_takes_its_place_again(port, monkeypatch):
    monkeypatch.setattr(limits, "PLAYERS", 1)
    monkeypatch.setattr(session, "ASLEEP_SECONDS", 0.3)
    with begun(port) as page, Listener(port) as other:
        time.sleep(2.0)
        page.say(type="played", samples=page.got)
        page.listen(page.got + 500)
        other.say(type="play")
        with pytest.raises(ConnectionClosed) as caught:
            other.listen(10**9)
        assert caught.value.rcvd.code == 1013


BAD = [
    "", "[", "null", "[]", "3", '"play"', "{}", '{"type":1}', '{"type":"nonsense"}', '{"type":["play"]}', '{"type":"hello"}',
    '{"type":"point"}', '{"type":"point","code":[]}', '{"type":"point","code":[1,2,3]}', '{"type":"point","code":"abcd"}',
    '{"type":"point","code":[NaN,0,0,0]}', '{"type":"point","code":[Infinity,0,0,0]}', '{"type":"point","code":[1e308,0,0,0]}',
    '{"type":"point","code":[0,0,0,0],"glide":-1}', '{"type":"point","code":[0,0,0,0],"seq":1e400}',
    '{"type":"point","code":[[0],0,0,0]}', '{"type":"place","at":[1e9,0]}', '{"type":"place","at":[0]}',
    '{"type":"place","map":"x","at":[0,0]}', '{"type":"axis","name":"x","value":1}', '{"type":"axis","name":3,"value":1}',
    '{"type":"path","path":{},"seconds":1}', '{"type":"path","path":{"kind":"nonsense"},"seconds":1}',
    '{"type":"path","path":{"kind":"line","a":[0],"b":[1]},"seconds":1}',
    '{"type":"path","path":{"kind":"line","a":[0,0,0,0],"b":[1,1,1,1]},"seconds":0}',
    '{"type":"path","path":{"kind":"random_walk","centre":[0,0,0,0],"steps":1000000000},"seconds":1}',
    '{"type":"path","path":{"kind":"line","a":[0,0,0,0],"b":[1e300,1,1,1]},"seconds":1}',
    '{"type":"path","path":' + '{"kind":"sequence","paths":[' * 200 + "]}" * 200 + ',"seconds":1}',
    "[" * 50_000, '{"type":"speed","value":1e9}', '{"type":"hold","on":3}', '{"type":"labels","values":{"midi":"61"}}',
    '{"type":"labels","values":{"x":null}}', '{"type":"labels","values":[]}', '{"type":"note","on":true,"midi":128}',
    '{"type":"note","on":true,"midi":60,"velocity":7}', '{"type":"gate","mode":"open"}', '{"type":"level","db":99}',
    '{"type":"played","samples":-1}', '{"type":"played"}', '{"type":"ahead","seconds":100}', b"\x00\xff binary",
    '{"type":"play","extra":1}', '{"a":' + "9" * 5000 + "}", r'{"type":"\ud800"}', r'{"type":"play","\udfff":1}',
    r'{"type":"axis","name":"\ud800","value":1}', r'{"type":"labels","values":{"\ud800":"x"}}',
]  # fmt: skip


def test_bad_messages_get_an_error_and_the_sound_goes_on(port, monkeypatch):
    monkeypatch.setattr(limits, "MISTAKES", limits.Rate(1e9, 1e9))
    with Listener(port) as page:
        page.say(type="play")
        for text in BAD:
            page.socket.send(text)
            message = page.hear("error")["message"]
            assert 5 < len(message) <= 300, text
            assert "/work" not in message
            assert "latentscape" not in message
        page.listen(page.got + 1000)


def flooded(port, text, count):
    """Send a message many times; return the code that the connection is closed with, or None where it is cut."""
    with Listener(port) as page:
        try:
            for _ in range(count):
                page.socket.send(text)
                with contextlib.suppress(TimeoutError):
                    page.take(0)
            while True:
                page.take()
        except ConnectionClosed as closed:
            return closed.rcvd and closed.rcvd.code


def test_too_many_bad_messages_or_too_fast(port):
    for text in ("{}", '{"type":"hold","on":true}'):
        assert flooded(port, text, 5000) in (1008, None)
    assert flooded(port, " " * (limits.MESSAGE_BYTES + 1), 1) in (1009, None)


def test_hello_comes_first(port, monkeypatch):
    with connect(f"ws://127.0.0.1:{port}/play") as page:
        for text in ('{"type":"play"}', "{", '{"type":"hello","block":1}'):
            page.send(text)
            assert json.loads(page.recv(10))["type"] == "error"
        page.send('{"type":"hello"}')
        assert json.loads(page.recv(10))["type"] == "ready"
    monkeypatch.setattr("latentscape.play.session.HELLO_SECONDS", 0.1)
    with connect(f"ws://127.0.0.1:{port}/play") as page, pytest.raises(ConnectionClosed) as caught:
        page.recv(10)
    assert caught.value.rcvd.code == 1008


def test_a_crowd_and_strangers(port):
    crowd = []
    for _ in range(100):
        with contextlib.suppress(OSError, ConnectionClosed):
            crowd.append(connect(f"ws://127.0.0.1:{port}/play", close_timeout=0.1))
    assert len(crowd) == 100
    codes = []
    for page in crowd[limits.SOCKETS :]:
        with pytest.raises(ConnectionClosed) as caught:
            page.recv(10)
        codes.append(caught.value.rcvd.code)
    assert set(codes) == {1013}
    for page in crowd:
        page.close()
    with pytest.raises(Exception, match="403"):
        connect(f"ws://127.0.0.1:{port}/play", additional_headers={"Origin": "http://evil.example"})
    time.sleep(0.2)
    with Listener(port) as page:
        page.say(type="play")
        page.listen(1000)


def refused(port, head, body):
    """Send a request whose body comes piece by piece; return the answer and how much was taken."""
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall((f"POST /api/sounds?name=big.wav HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n" + head).encode())
        with contextlib.suppress(OSError):
            for piece in body:
                line.sendall(piece)
                taken += len(piece)
        with contextlib.suppress(OSError):
            return line.recv(4096), taken
    return b"", taken


def test_a_gigabyte_is_refused_and_not_kept(port, monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_BYTES", 2 << 20)
    piece = b"x" * (1 << 16)
    answer, taken = refused(port, f"Content-Length: {1 << 30}\r\n\r\n", itertools.repeat(piece, 1 << 14))
    assert taken < 32 << 20
    assert answer == b"" or b" 413 " in answer
    answer, _ = refused(port, f"Content-Length: {1 << 30}\r\n\r\n", ())
    assert b" 413 " in answer
    chunk = b"10000\r\n" + piece + b"\r\n"
    answer, taken = refused(port, "Transfer-Encoding: chunked\r\n\r\n", itertools.repeat(chunk, 1 << 14))
    assert taken < 32 << 20
    assert answer == b"" or b" 413 " in answer
    for junk in (b"\0" * 1000, b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(junk)
            assert b" 400 " in line.recv(4096)


def test_with_a_token(stage):
    with served(stage, "secret") as port:
        with pytest.raises(Exception, match="403"):
            Listener(port)
        with connect(f"ws://127.0.0.1:{port}/play?token=secret") as page:
            page.send('{"type":"hello"}')
            assert json.loads(page.recv(10))["type"] == "ready"
