"""What a page may say over the WebSocket, each message a record that becomes an order to the sound."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, ValidationError
from torch import Tensor

from latentscape.core.config import Record, parse
from latentscape.core.errors import UsageError, nearest
from latentscape.geometry.path import Path
from latentscape.geometry.paths import path_from_json
from latentscape.play.limits import CODE, POINTS
from latentscape.play.motion import GLIDE
from latentscape.play.sounding import Order, Sounding
from latentscape.play.stage import Stage

MOST_DEVIATIONS = 20.0
QUIETEST_DB = -80.0
LOUDEST_DB = 36.0
Spot = tuple[Annotated[float, Field(ge=-10, le=10)], Annotated[float, Field(ge=-10, le=10)]]
Glide = Annotated[float, Field(ge=0, le=60)]
Number = Annotated[float, Field(ge=-CODE, le=CODE)]


class Message(Record):
    """A message; ``seq`` comes back once it is obeyed."""

    seq: int | None = Field(default=None, ge=0, le=2**53)

    def order(self, stage: Stage) -> Order:
        """Return what the sound is to do.

        Raises:
            UsageError: the message does not fit the run.
        """
        raise NotImplementedError


class Point(Message):
    """Go there."""

    code: list[Number]
    glide: Glide = GLIDE

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        code = stage.code(self.code)
        return lambda sounding: sounding.go(code, self.glide)


class Place(Message):
    """Go to a spot of a map."""

    map: str = "principal"
    at: Spot
    glide: Glide = GLIDE

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        code = stage.chart(self.map).lift(torch.tensor([self.at]))[0]
        return lambda sounding: sounding.go(code, self.glide)


class AxisValue(Message):
    """Move whatever plays along an axis, in deviations."""

    name: str
    value: float = Field(ge=-MOST_DEVIATIONS, le=MOST_DEVIATIONS)
    glide: Glide = GLIDE

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        step = self.value * stage.axis(self.name).step
        return lambda sounding: sounding.shift(self.name, step, self.glide)


class Travel(Message):
    """Travel a path."""

    path: dict[str, Any]
    seconds: float = Field(gt=0.01, le=3600)
    loop: bool | Literal["bounce"] = True
    glide: Glide = GLIDE

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        path = checked_path(self.path, stage)
        return lambda sounding: sounding.travel(path, self.seconds, self.loop, self.glide)


class Speed(Message):
    """Travel so many times as fast."""

    value: float = Field(ge=-16, le=16)

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        return lambda sounding: sounding.motion.set_pace(self.value)


class Hold(Message):
    """Stay where it is."""

    on: bool

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""

        def work(sounding: Sounding) -> None:
            sounding.motion.hold = self.on

        return work


class LabelValues(Message):
    """Tell the model."""

    values: dict[str, str | int | float | None]

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        values = stage.labels({name: None if value is None else str(value) for name, value in self.values.items()})
        return lambda sounding: sounding.tell(values)


class Note(Message):
    """A key is pressed or let go."""

    on: bool
    midi: int = Field(ge=0, le=127)
    velocity: float = Field(default=0.8, ge=0, le=1)

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        velocity = self.velocity if self.on else None
        return lambda sounding: sounding.note(self.midi, velocity, stage.pitch)


class Gate(Message):
    """Sound always, or while a key is held."""

    mode: Literal["drone", "keys"]

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        return lambda sounding: sounding.set_keys(self.mode == "keys")


class Level(Message):
    """How loud; at -80 dB nothing is left."""

    db: float = Field(ge=QUIETEST_DB, le=LOUDEST_DB)

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        gain = 10 ** (self.db / 20) if self.db > QUIETEST_DB else 0.0
        return lambda sounding: sounding.set_level(gain)


class Play(Message):
    """Begin to sound."""

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        return Sounding.play


class Stop(Message):
    """Fade out and rest."""

    def order(self, stage: Stage) -> Order:
        """See :class:`Message`."""
        return Sounding.stop


class Places(Record):
    """Spots of a map (a request by HTTP)."""

    map: str = "principal"
    places: Annotated[list[Spot], Field(max_length=POINTS)]

    @property
    def tensor(self) -> Float[Tensor, "n 2"]:
        """The spots."""
        return torch.tensor(self.places).reshape(-1, 2)


class Hello(Record):
    """The first message: how many samples a block has."""

    block: int = Field(default=256, ge=64, le=4096)


class Played(Record):
    """Credit: what has been heard so far, how often nothing was ready, and how often a replacement came too late."""

    samples: int = Field(ge=0, le=2**53)
    underruns: int = Field(default=0, ge=0, le=2**53)
    late: int = Field(default=0, ge=0, le=2**53)


class Ahead(Record):
    """How much the page wants ready."""

    seconds: float = Field(ge=0.03, le=0.5)


ORDERS: dict[str, type[Message]] = {
    "point": Point,
    "place": Place,
    "axis": AxisValue,
    "path": Travel,
    "speed": Speed,
    "hold": Hold,
    "labels": LabelValues,
    "note": Note,
    "gate": Gate,
    "level": Level,
    "play": Play,
    "stop": Stop,
}
TALK: dict[str, type[Record]] = {"hello": Hello, "played": Played, "ahead": Ahead}
KINDS: Mapping[str, type[Record]] = {**ORDERS, **TALK}


def read_message(values: Mapping[str, Any]) -> Record:
    """Return the message that a JSON object is.

    Raises:
        UsageError: its type or a field is not known, or a value does not fit.
    """
    kind = values.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        name = str(kind)[:40]
        raise UsageError(f"message type '{name}' is not known{nearest(name, KINDS)}")
    fields = {name: value for name, value in values.items() if name != "type"}
    try:
        return KINDS[kind].model_validate(fields)
    except ValidationError:
        return parse(KINDS[kind], fields, kind)


def checked_path(values: Mapping[str, Any], stage: Stage) -> Path:
    """Return the path of plain data, if it lies in the run's latent space.

    Raises:
        UsageError: it does not, or is no path.
    """
    path = path_from_json(values)
    if path.dim != stage.dim:
        raise UsageError(f"got a path in {path.dim} dimensions, expected {stage.dim}")
    points = path.evaluate(torch.linspace(0, 1, 33, dtype=torch.float64))
    if not bool((points.abs() <= CODE).all()):
        raise UsageError(f"got a path that leaves all measure: a value beyond {CODE:g}")
    return path
