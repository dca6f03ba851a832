"""One live player: orders go in at any time, blocks of sound come out.

What has been rendered but not yet heard is not settled: an order takes effect from the first block that can still
replace one, not behind everything that lies ready. For this the player remembers the sound's state at the begin of
every block and what was ordered then; it goes back to that moment and renders from there again, which gives, up to the
order, the same sound bit for bit. So a listener may keep much ready against a machine that stalls, and yet hears a
gesture at once. (Network games hide delay in the same way and call it rollback.)

Only the thread that renders touches the state; orders wait in a queue until then.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from latentscape.core.errors import LatentscapeError, UsageError
from latentscape.instrument.instrument import Instrument
from latentscape.play.limits import REPORTS, Bucket
from latentscape.play.load import LEAD, Load
from latentscape.play.sounding import Order, Report, Sounding

MOST_ORDERS = 4096
MOMENTS = 64
"""Blocks that can be gone back at most."""


@dataclass(frozen=True)
class Block:
    """What one rendering gives.

    Attributes:
        first: number of the first sample since the player began; where it is less than what was given before, all from
            there on is replaced.
        wave: ``[n, c]`` float32.
        report: where the sound is, at most so often (see :data:`latentscape.play.limits.REPORTS`).
        errors: orders that could not be obeyed.
    """

    first: int
    wave: np.ndarray
    report: Report | None
    errors: tuple[str, ...]


Numbered = tuple[Order, int | None]


@dataclass(frozen=True)
class Moment:
    """The begin of a block: the sound as it was, and the orders that were then obeyed."""

    sounding: Sounding
    orders: tuple[Numbered, ...]


class Player:
    """A listener's sound, from orders to blocks.

    Args:
        instrument: what is played.
        block: samples a block.
        labels: told to the model at the start.

    Attributes:
        sounding: the sound as it goes on after the last block.
        ahead: s of sound that the listener wants ready.
    """

    def __init__(self, instrument: Instrument, block: int = 256, labels: Mapping[str, str] = {}) -> None:
        self.sounding = Sounding(instrument, labels)
        self.rate, self.channels = self.sounding.rate, self.sounding.channels
        self.block = block
        self.load = Load()
        self.ahead = 0.05
        self._orders: deque[Numbered] = deque()
        self._past: deque[Moment] = deque(maxlen=MOMENTS)
        self._late = False
        self._starved = False
        self._reported: int | None = None
        self._reports = Bucket(REPORTS)

    # ---------------------------------------------------------------------------------------- from any thread

    def submit(self, order: Order, seq: int | None = None) -> None:
        """Let an order be obeyed by the next block that is rendered.

        Raises:
            UsageError: too many wait already.
        """
        if len(self._orders) >= MOST_ORDERS:
            raise UsageError("too many orders wait; slow down")
        self._orders.append((order, seq))

    def starved(self) -> None:
        """Tell that the listener ran out of sound."""
        self._starved = True

    @property
    def playing(self) -> bool:
        """Whether there is sound to make."""
        return self.sounding.playing

    @property
    def wakes(self) -> bool:
        """Whether there is something to do: sound to make or orders to obey."""
        return self.playing or bool(self._orders)

    @property
    def lead(self) -> int:
        """Samples to keep ready beyond what has been heard."""
        return round(max(self.ahead, LEAD if self.load.level == 2 else 0.0) * self.rate)

    # ------------------------------------------------------------- from the thread that renders, or while none does

    def outdated(self, free: int) -> bool:
        """Whether an order could be heard sooner than it is, or would be: by replacing sound from ``free`` on.

        Where the engine has no time to spare nothing is rendered twice.
        """
        while self._past and self._past[0].sounding.first < free:
            self._past.popleft()
        self._late = self._late and bool(self._past)
        return bool(self._past) and self.load.spare and (self._late or bool(self._orders))

    def render(self, free: int | None = None) -> Block | None:
        """Obey what waits and return the next block; ``None`` where nothing plays.

        Args:
            free: number of the first sample that may be replaced; where an order would be heard sooner by it, the block
                is the first one from there on, and those after it follow. ``None``: go on after the last one.
        """
        if free is not None and self.outdated(free):
            self._go_back()
        if self._starved:
            self._starved = False
            self.load.starved()
        orders = tuple(self._orders.popleft() for _ in range(len(self._orders)))
        self._late = self._late or bool(orders and self._past)
        moment = Moment(self.sounding.copy(), orders)
        errors = self._obey(orders)
        if not self.playing:
            self._past.clear()
            return None
        self._past.append(moment)
        first = self.sounding.first
        wave, newest, wrong = self.sounding.block(self.block, self.load)
        return Block(first, wave, self._due(newest), (*errors, *wrong))

    def _go_back(self) -> None:
        """Return to the first moment that is left, with all that was ordered since waiting again."""
        self._orders.extendleft(reversed([order for moment in self._past for order in moment.orders]))
        end, self.sounding = self.sounding.first, self._past[0].sounding
        self.load.repeats((end - self.sounding.first) / self.rate)
        self._past.clear()
        self._late = False

    def _obey(self, orders: tuple[Numbered, ...]) -> list[str]:
        errors = []
        for order, seq in orders:
            try:
                order(self.sounding)
            except LatentscapeError as error:
                errors.append(str(error))
            if seq is not None:
                self.sounding.seq = seq
        return errors

    def _due(self, report: Report | None) -> Report | None:
        """Return the newest report if it may go out; one that tells of an order obeyed goes first."""
        if report is None:
            return None
        told = report.seq != self._reported
        if not self._reports.take(keep=0 if told else 1):
            return None
        self._reported = report.seq
        return report
