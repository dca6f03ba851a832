"""What a model of waves may be told of beside its past, a step at a time: records of what lies outside the sound.

What is taken from the sound itself is described by the representation that does it (``log_mel``) or by
:class:`latentscape.signal.pitch.PitchConfig`; :mod:`latentscape.instrument.hearing` makes one series of all.
"""

from typing import Literal

from pydantic import Field

from latentscape.core.config import Record


class TimedConfig(Record):
    """Words or labels with times, of the CSV or TextGrid file beside each sound (:mod:`latentscape.data.timeline`).

    Attributes:
        hop: samples a step.
        tier: of a TextGrid; ``None`` takes ``words`` where there is one, else the first tier of intervals.
        most: how many of the commonest labels are told apart.
        values: those labels, sorted; filled in from the training part.
    """

    kind: Literal["timed"] = "timed"
    hop: int = Field(default=256, ge=1)
    tier: str | None = None
    most: int = Field(default=500, ge=1)
    values: tuple[str, ...] = ()


class CodesConfig(Record):
    """The course of another run's latents.

    Attributes:
        hop: samples a step.
        run: its folder.
    """

    kind: Literal["codes"] = "codes"
    hop: int = Field(default=256, ge=1)
    run: str
