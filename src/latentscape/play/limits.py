"""What a stranger may ask for: sizes, rates and numbers of everything that arrives, and JSON that can't do harm."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Never

from latentscape.core.errors import UsageError

CONNECTIONS = 256
"""Of any kind; beyond, requests are answered with 503."""
SOCKETS = 16
"""WebSockets open at a time; further ones are closed with 1013."""
PLAYERS = 4
"""Of which so many may play at a time."""
MESSAGE_BYTES = 4 << 20
BODY_BYTES = 4 << 20
"""Of a JSON request: a path of 2,000 points of a wide latent space fits."""
UPLOAD_BYTES = 64 << 20
UPLOAD_SECONDS = 60.0
"""s of an uploaded sound that are used; what follows is left out."""
UPLOAD_VALUES = 24_000_000
"""Samples of all channels that are used: a minute in stereo at 192 kHz; a few MB of silent FLAC or m4a hold GB."""
GAP_SECONDS = 5.0
"""s of a gap that is filled."""
ANSWERS = 16
"""To one gap; one is made at a time."""
POINTS = 2000
"""Points of a path, or places to lift, in one message or answer."""
CODE = 1e6
"""The greatest absolute value of a coordinate."""
UPLOADS_AT_ONCE = 2


@dataclass(frozen=True)
class Rate:
    """So many a second, and so many at once."""

    each_second: float
    burst: float


MESSAGES = Rate(400, 1000)
MESSAGE_VOLUME = Rate(2 << 20, 16 << 20)
"""Bytes."""
MISTAKES = Rate(2, 50)
"""Bad messages; beyond, the connection is closed with 1008."""
REQUESTS = Rate(20, 60)
"""Requests that take work: paths, uploads, lifts."""
REPORTS = Rate(30, 3)


class Bucket:
    """A token bucket: fills at a rate up to a burst; takes are refused when it holds too little."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._held, self._then = rate.burst, clock()

    def take(self, count: float = 1, *, keep: float = 0) -> bool:
        """Take tokens if so many are there beyond ``keep``; say whether."""
        now = self._clock()
        self._held = min(self._rate.burst, self._held + (now - self._then) * self._rate.each_second)
        self._then = now
        if self._held < count + keep:
            return False
        self._held -= count
        return True


def read_json(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object of a message.

    Raises:
        UsageError: it is not JSON, not an object, nested without measure, or holds NaN or infinity.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise UsageError("a message is nested too deeply") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise UsageError("a message must be JSON, all numbers finite") from error
    if not isinstance(value, dict):
        raise UsageError(f"a message must be a JSON object, got {type(value).__name__}")
    return value


def written(values: Mapping[str, Any]) -> str:
    """Return JSON for a page, in ASCII: what a stranger sent and is told of may hold half a pair of surrogates."""
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def _refuse(name: str) -> Never:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
