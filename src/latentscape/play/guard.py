"""Who may ask: Host, Origin, token; and what every answer tells the browser about itself.

A page of another site that makes a browser ask us (with a name of its own that resolves to the loopback, too) is
refused: its Host or its Origin is not ours. Where the server is on a network, everybody needs the token of the URL; a
browser that has shown it once keeps it in a cookie, for the page's style, script and worklet.
"""

import hmac
import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self' {sockets}",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERYWHERE = ("0.0.0.0", "::", "[::]")
_FOLDERS = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])*(?=[^\s/\\'\"]*)")


@dataclass(frozen=True)
class Doors:
    """By which names and with which token the server may be reached.

    Attributes:
        host: that it listens on.
        port: that it listens on.
        token: ``None`` on the loopback.
    """

    host: str
    port: int
    token: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Host names that are ours."""
        return (*LOOPBACK, self.host if ":" not in self.host else f"[{self.host.strip('[]')}]")

    @property
    def url(self) -> str:
        """Where the page is."""
        name = self.names[-1] if self.host not in EVERYWHERE else LOOPBACK[0]
        return f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def ours(self, host: str) -> bool:
        """Return whether a Host header names this server."""
        name, colon, port = host.lower().rpartition(":")
        if not colon or port != str(self.port):
            return False
        if name in self.names:
            return True
        return self.host in EVERYWHERE and _is_address(name)  # the token keeps strangers out there

    def asked_from(self, headers: Headers) -> bool:
        """Return whether a request comes from our own page, or from no page at all."""
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{headers.get('host', '').lower()}":
            return False
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        return site in (None, "same-origin", "none") or mode == "navigate"

    def trusted(self, scope: Scope, headers: Headers) -> str | None:
        """Return the token that a request shows in its query, a header or a cookie; ``None`` where it shows none."""
        shown = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        shown += headers.getlist("x-token")
        for cookie in ";".join(headers.getlist("cookie")).split(";"):
            name, _, value = cookie.strip().partition("=")
            if name == self.cookie:
                shown.append(value)
        expected = (self.token or "").encode()
        return next((one for one in shown if hmac.compare_digest(one.encode("utf-8", "replace"), expected)), None)

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies of a host are the same on all its ports."""
        return f"latentscape-{self.port}"


class Guard:
    """Refuses what is not ours to answer, and adds headers to what is."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self.app, self.doors = app, doors
        # for browsers in which 'self' leaves WebSockets out; a policy can't name an IPv6 address
        sockets = " ".join(f"ws://{name}:{doors.port}" for name in dict.fromkeys(doors.names) if "[" not in name)
        self._headers = {**HEADERS, "Content-Security-Policy": POLICY.format(sockets=sockets)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, cookie = Headers(scope=scope), None
        refusal = None
        if not self.doors.ours(headers.get("host", "")):
            refusal = "this is not the server of that host name"
        elif not self.doors.asked_from(headers):
            refusal = "asked from a page of another site"
        elif self.doors.token is not None:
            cookie = self.doors.trusted(scope, headers)
            refusal = None if cookie else "the token is missing or wrong; open the URL that was printed"

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    answer.setdefault(name, value)
                if cookie:
                    value = f"{self.doors.cookie}={cookie}; Path=/; HttpOnly; SameSite=Strict"
                    answer.append("Set-Cookie", value)
            await send(message)

        if refusal is None:
            await self.app(scope, receive, sealed)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: HTTP 403
        else:
            await JSONResponse({"error": refusal}, 403)(scope, receive, sealed)


def public(error: Exception | str) -> str:
    """Return a message without the folders of this machine, in one short line."""
    return _FOLDERS.sub("", " ".join(str(error).split()))[:300]


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
