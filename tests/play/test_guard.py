"""Who is let in, and what every answer says about itself."""

import pytest
from small_run import PORT
from starlette.websockets import WebSocketDisconnect

from conftest import TestClient
from latentscape.core.errors import UsageError
from latentscape.play.guard import Doors, public
from latentscape.play.server import bind, build_app, page_files

HERE = f"127.0.0.1:{PORT}"


@pytest.mark.parametrize("host", [HERE, f"localhost:{PORT}", f"[::1]:{PORT}", f"LOCALHOST:{PORT}"])
def test_our_own_names(client, host):
    answer = client.get("/api/instrument", headers={"host": host, "origin": f"http://{host}"})
    assert answer.status_code == 200
    with client.websocket_connect("/play", headers={"host": host}) as socket:
        socket.send_json({"type": "hello"})
        assert socket.receive_json()["type"] == "ready"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": f"evil.example:{PORT}"},
        {"host": "127.0.0.1:1"},
        {"host": "127.0.0.1"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"https://{HERE}"},
        {"origin": f"http://localhost:{PORT}"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ],
    ids=str,
)
def test_strangers_are_refused(client, headers):
    for path in ("/", "/api/instrument", "/static/index.html"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/play", headers={"host": HERE} | headers):
        pass


def test_a_link_from_elsewhere_opens_the_page(client):
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_headers(client):
    answer = client.get("/")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert f"ws://{HERE}" in policy
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    ["/static/server.py", "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/guard.py", "/etc/passwd",
     "/static//etc/passwd", "/static/", "/static/.", "/static/index.html%00", "/static/..\\server.py"],
)  # fmt: skip
def test_only_the_page_is_served(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


def test_what_is_asked_by_another_method_is_told_which(client):
    answer = client.get("/api/path")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json() == {"error": "GET: method not allowed"}


def test_every_file_of_the_page_is_served_with_its_type(client):
    assert "index.html" in page_files()
    for name in page_files():
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"]


def test_a_token_opens_everything_and_nothing_opens_without(stage):
    doors = Doors("0.0.0.0", PORT, "secret-token")
    assert doors.url == f"http://127.0.0.1:{PORT}/?token=secret-token"
    with TestClient(build_app(stage, doors), base_url=f"http://192.168.1.2:{PORT}") as client:
        for headers in ({}, {"x-token": "wrong"}, {"x-token": b"s\xe9cret"}, {"cookie": f"latentscape-{PORT}=no"}):
            for path in ("/", "/static/index.html", "/api/instrument", "/?token=", "/?token=secret-toke"):
                assert client.get(path, headers=headers).status_code == 403
        here = {"host": f"192.168.1.2:{PORT}"}
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/play", headers=here):
            pass
        assert client.get("/api/instrument", headers={"x-token": "secret-token"}).status_code == 200
        client.cookies.clear()
        answer = client.get("/?token=secret-token")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=Strict" in answer.headers["set-cookie"]
        assert client.get("/static/index.html").status_code == 200  # by the cookie
        assert client.get("/", headers={"host": f"evil.example:{PORT}"}).status_code == 403
        client.cookies.clear()
        with client.websocket_connect("/play?token=secret-token", headers=here) as socket:
            socket.send_json({"type": "hello"})
            assert socket.receive_json()["type"] == "ready"


def test_messages_name_no_folder():
    assert public("could not read /home/me/a b/x.wav: gone\nTraceback") == "could not read a b/x.wav: gone Traceback"
    assert "Users" not in public(r"bad C:\Users\me\x.wav here")
    assert public("expected 3/4 of it, or [n >= 1, 4]") == "expected 3/4 of it, or [n >= 1, 4]"
    assert "home" not in public("'/home/me/run'") + public('see "~/home/x"') + public("x=/home/a/b")


def test_ports():
    with bind("127.0.0.1", None) as first, bind("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]
        with pytest.raises(UsageError, match="choose another"):
            bind("127.0.0.1", first.getsockname()[1])
    with pytest.raises(UsageError, match="not known"):
        bind("no.such.host.invalid", None)
