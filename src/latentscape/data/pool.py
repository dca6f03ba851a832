"""The training pool: a bounded part of the corpus, augmented and analysed, from which batches are drawn.

Letters: f features a frame, t frames, L the length of a window in frames.

The clips of the training part, cut into segments, are put into a new random order every epoch. Laid end to end these
orders are one endless tape, and slab k is the tape's k-th stretch of equal length. So a slab is a pure function of
(seed, k): nothing has to be replayed to get at it. At any time the pool is ``slabs`` neighbouring slabs; every
``steps_per_slab`` steps the oldest gives way, and its successor is prepared by a thread meanwhile.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from latentscape.core.random import numpy_stream
from latentscape.data.split import Part


@dataclass(frozen=True, eq=False)
class Slab:
    """Features of several stretches of sound, laid end to end, a row a frame.

    Attributes:
        features: contiguous per frame.
        first: the first frame of each stretch.
        ends: how many windows the stretches up to and with this one are drawn as.
        places: where the windows of each stretch may begin.
        rows: the clip of each stretch.
        shifts: semitones by which each stretch was shifted.
        heard: frames of each stretch that are sound; what follows is padding.
        begins: whether each stretch is the begin of its clip.
        series: what is heard of the stretches at a lower rate, a row a step; ``None`` where nothing is.
        steps: the first step of each stretch.
    """

    features: Num[Tensor, "t f"]
    first: Int[Tensor, " m"]
    ends: Int[Tensor, " m"]
    places: Int[Tensor, " m"]
    rows: Int[Tensor, " m"]
    shifts: Tensor
    heard: Int[Tensor, " m"]
    begins: Bool[Tensor, " m"]
    series: Float[Tensor, "u c"] | None = None
    steps: Int[Tensor, " m"] | None = None

    @classmethod
    def of(
        cls,
        pieces: list[Tensor],
        rows: list[int],
        shifts: list[float],
        heard: list[int],
        begins: list[bool],
        length: int,
        *,
        even: bool = False,
        series: list[Tensor] | None = None,
    ) -> "Slab":
        """Lay out features ``[t, f]`` of stretches, each at least ``length`` frames long, and their series ``[u, c]``.

        Every place is as likely as every other; or, with ``even``, a stretch is drawn as often as its sound is long,
        also one of a window's length, and its ends are in half as many windows as its middle, and not in almost none.
        """
        frames, sound = torch.tensor([len(piece) for piece in pieces]), torch.tensor(heard)
        places = frames - length + 1
        drawn = places + sound.clamp_max(length) - 1 if even else places
        counts = torch.tensor([len(one) for one in series or ()])
        return cls(
            features=torch.cat(pieces),
            first=frames.cumsum(0) - frames,
            ends=drawn.cumsum(0),
            places=places,
            rows=torch.tensor(rows),
            shifts=torch.tensor(shifts),
            heard=sound,
            begins=torch.tensor(begins),
            series=torch.cat(series) if series else None,
            steps=counts.cumsum(0) - counts if series else None,
        )

    @classmethod
    def empty(cls, frame_size: int, dtype: torch.dtype) -> "Slab":
        """Return a slab in which no segment begins."""
        none = torch.zeros(0, dtype=torch.int64)
        return cls(torch.zeros(0, frame_size, dtype=dtype), none, none, none, none, torch.zeros(0), none, none.bool())

    @property
    def windows(self) -> int:
        """How many windows there are to draw from."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def locate(self, window: Int[Tensor, " b"]) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
        """Return the stretch that each window lies in, and its first frame."""
        piece = torch.searchsorted(self.ends, window, right=True)
        before = torch.where(piece > 0, self.ends[piece - 1], 0)
        places = self.places[piece]
        more = self.ends[piece] - before - places  # than there are places: half of them are the first, half the last
        offset = torch.minimum((window - before - more // 2).clamp_min(0), places - 1)
        return piece, self.first[piece] + offset


@dataclass(frozen=True, eq=False)
class Segments:
    """The training part, cut for the tape.

    Attributes:
        rows: of the corpus's clips.
        starts, frames: samples.
        low, high: samples between which a segment may be moved: the ends of the stretch it was cut from.
    """

    rows: Int[np.ndarray, " m"]
    starts: Int[np.ndarray, " m"]
    frames: Int[np.ndarray, " m"]
    low: Int[np.ndarray, " m"]
    high: Int[np.ndarray, " m"]

    @classmethod
    def of(cls, part: Part, longest: int) -> "Segments":
        """Cut each stretch of a part into as many equal segments as it takes to stay within ``longest`` samples."""
        counts = np.maximum(1, -(-part.frames // longest))
        which = np.repeat(np.arange(len(part)), counts)
        place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        frames, count, start = part.frames[which], counts[which], part.starts[which]
        begin, end = frames * place // count, frames * (place + 1) // count
        return cls(part.rows[which], start + begin, end - begin, start, start + frames)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Samples of all segments together."""
        return int(self.frames.sum())


@dataclass(frozen=True, eq=False)
class Tape:
    """The endless sequence of segments.

    Attributes:
        segments: of the training part.
        slab: samples a slab.
        seed: of the orders.
    """

    segments: Segments
    slab: int
    seed: int

    def stretch(self, number: int) -> Iterator[tuple[int, int]]:
        """Yield (epoch, segment) for every segment that begins in slab ``number``."""
        total = self.segments.total
        low, high = number * self.slab, (number + 1) * self.slab
        for epoch in range(low // total, math.ceil(high / total)):
            order = numpy_stream(self.seed, "tape", epoch).permutation(len(self.segments))
            frames = self.segments.frames[order]
            begin = epoch * total + np.cumsum(frames) - frames
            for place in np.flatnonzero((begin >= low) & (begin < high)):
                yield epoch, int(order[place])


def cut(features: Num[Tensor, "t f"], starts: Int[Tensor, " b"], length: int) -> Num[Tensor, "b *event"]:
    """Return windows of features: frames ``[b, f]`` where ``length`` is 1, else ``[b, f, L]``."""
    if length == 1:
        return features.index_select(0, starts)
    # slices copied one by one are four times as fast as a gather of overlapping windows
    windows = [features[start : start + length] for start in starts.tolist()]
    return torch.stack(windows).transpose(1, 2).contiguous()


class Pool:
    """Neighbouring slabs, the next one prepared in the background."""

    def __init__(self, make: Callable[[int], Slab], slabs: int, steps_per_slab: int | None) -> None:
        """Hold what makes slabs.

        Args:
            make: slab number -> slab, a pure function.
            slabs: how many are held.
            steps_per_slab: after how many steps the oldest is replaced; ``None`` never.
        """
        self._make, self._count, self._steps = make, slabs, steps_per_slab
        self._slabs: dict[int, Future[Slab]] = {}
        self._worker: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def at(self, step: int) -> list[Slab]:
        """Return the pool of a step; what failed in the background is raised here."""
        first = step // self._steps if self._steps else 0
        with self._lock:
            if self._worker is None:
                # one thread of torch in it: more would sum in an order that depends on how many are free
                self._worker = ThreadPoolExecutor(
                    1, thread_name_prefix="latentscape-pool", initializer=torch.set_num_threads, initargs=(1,)
                )
            wanted = range(first, first + self._count + (self._steps is not None))
            for number in [number for number in self._slabs if number not in wanted]:
                self._slabs.pop(number).cancel()
            for number in wanted:
                if number not in self._slabs:
                    self._slabs[number] = self._worker.submit(self._make, number)
            futures = [self._slabs[number] for number in wanted[: self._count]]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Stop the thread; what it is doing is finished, what it has not begun is dropped."""
        with self._lock:
            if self._worker is not None:
                self._worker.shutdown(wait=True, cancel_futures=True)
            self._worker = None
            self._slabs.clear()
