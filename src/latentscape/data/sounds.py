"""Examples of a corpus of sound: augmented, analysed and cut into windows.

Letters: b batch, f features a frame, t frames, L the length of a window in frames, n samples.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from latentscape.core.errors import ConfigError, DataError
from latentscape.core.heap import passing
from latentscape.core.random import Key, numpy_stream
from latentscape.data.augment import Augmentation, apply, draw
from latentscape.data.blend import apply_blend, draw_blend
from latentscape.data.corpus import Clip, SoundCorpus
from latentscape.data.examples import Batch, Codes, DataConfig, Examples, rows_of, spread
from latentscape.data.hearing import Hearing, Place
from latentscape.data.marks import Marks
from latentscape.data.pool import Pool, Segments, Slab, Tape, cut
from latentscape.data.present import counted
from latentscape.data.split import Part, PartName, Split
from latentscape.models.autoregressive import PRESENT, SERIES, VECTOR
from latentscape.models.memory import RECORDING
from latentscape.registry import Window
from latentscape.signal.representation import Representation

PITCH_LABELS = ("midi", "pitch", "note", "f0_hz")
"""Labels that a shift of pitch makes untrue."""
HELD_SECONDS = 3600
"""s of a part that are analysed at most to draw a limited number of windows from it."""
PIECE_SECONDS = 60.0
FEW = 16
"""Clips; a part that has fewer, and long ones, is taken in stretches where sounds are looked at one by one."""
ALIKE_SECONDS = 4.0
"""Of few long clips, windows that lie so far apart are taken for independent; of others, those of other clips."""
LONGEST = 1 << 40
"""More samples than any recording has."""
"""s that are analysed at a time."""
VARIATIONS = 8
"""As often at most is a sound in the pool, each time varied otherwise: one variation alone is learnt by heart."""
LEAST_SCALE = 1e-3
"""A feature bin's scale is at least this part of the mean scale of all bins."""


def window_samples(representation: Representation, window: Window) -> int:
    """Return the fewest samples, in whole hops, that give one window."""
    samples = window.length * representation.hop
    while representation.frames(samples) < window.length:
        samples += representation.hop
    return samples


def gap_samples(representation: Representation, window: Window) -> int:
    """Return how far apart two windows must lie to share no sound: one window and the reach of its outer frames."""
    return window_samples(representation, window) + 8 * representation.hop


class SoundExamples(Examples):
    """See :class:`latentscape.data.examples.Examples`.

    Memory holds the pool and one slab more, however large the corpus is.
    """

    def __init__(
        self,
        corpus: SoundCorpus,
        split: Split,
        representation: Representation,
        window: Window,
        config: DataConfig = DataConfig(),
        *,
        seed: int,
        conditions: Sequence[str] = (),
        marks: Sequence[str] = (),
        present: bool = False,
        hearing: Hearing | None = None,
        vectors: Float[Tensor, "clips e"] | None = None,
    ) -> None:
        """Join a corpus and a view of sound.

        Args:
            corpus: the sound.
            split: its parts.
            representation: its sample rate must be the corpus's.
            window: how x is cut.
            config: how batches are drawn.
            seed: of all draws.
            conditions: labels that go with x as codes.
            marks: labels that go with x as weights of their values.
            present: say in the context which samples count (:mod:`latentscape.data.present`), ``present [b, L]``.
            hearing: makes the series that goes with x, ``series [b, c, L / hop]``; windows then begin at its steps.
            vectors: of all clips of the corpus, of which x's goes with it, ``vector [b, e]``; unknown is NaN.

        Raises:
            ConfigError: a condition is no label of the corpus, windows that have conditions are to be mixed, the
                lead-in leaves nothing of a window, or windows lie between the steps of what is heard.
            DataError: the sample rates differ, or the representation wants several channels.
        """
        if representation.sample_rate != corpus.sample_rate or representation.channels != 1:
            arrived = f"{representation.sample_rate} Hz, {representation.channels} channels"
            raise DataError(f"the representation takes {arrived}, but the corpus is {corpus.sample_rate} Hz, 1 channel")
        self.corpus, self.split, self.representation, self.window = corpus, split, representation, window
        self.config, self.seed, self.conditions = config, seed, tuple(conditions)
        self._tells_present = present
        if config.lead_in >= window.length:
            raise ConfigError(f"data.lead_in: got {config.lead_in}, expected less than window.length {window.length}")
        self._hearing, self._vectors = hearing, vectors
        if hearing is not None and (window.hop % hearing.hop or representation.hop > 1):
            raise ConfigError(
                f"window.hop: got {window.hop} of a representation that hops by {representation.hop}, expected a "
                f"multiple of {hearing.hop} samples, a step of what is heard"
            )
        self._codes = Codes(corpus.clips.columns, split.parts["train"], conditions)
        self._marks = Marks(corpus.clips.columns, torch.from_numpy(split.parts["train"].rows), marks)
        self.vocabulary = self._codes.vocabulary | self._marks.vocabulary
        if config.blend.mix and conditions:
            raise ConfigError(f"data.blend.mix: sounds that are told {conditions[0]} can't be mixed, expected 0")
        self.event_shape = window.event_shape(representation.frame_size)
        self._least = window_samples(representation, window)
        rate = corpus.sample_rate
        longest = max(round(config.segment_seconds * rate), 4 * self._least)
        segments = Segments.of(split.parts["train"], longest)
        different = 1 if config.augment.still else VARIATIONS
        pool = min(max(round(config.pool_seconds * rate), longest), different * segments.total)
        self._whole = config.augment.still and pool == segments.total
        self._tape = Tape(segments, pool if self._whole else -(-pool // config.slabs), seed)
        self._pool = Pool(
            self._slab, 1 if self._whole else config.slabs, None if self._whole else config.steps_per_slab
        )

    # ------------------------------------------------------------------------------------------------------ training

    def batch(self, step: int, size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Return a training batch; see :class:`Examples`."""
        slabs = self._pool.at(step)
        windows = sum(slab.windows for slab in slabs)
        rows = rows_of(size, rank, world)
        x, labels = self._drawn(slabs, self.draws(step, size, windows, rank, world))
        if not self.config.blend.still:
            shape = x.shape[1], x.shape[2] if x.ndim == 3 else 1
            drawn = draw_blend(self.config.blend, rows, shape, self.seed, step)
            partner = (None, {})
            if self.config.blend.mix:
                partner = self._drawn(slabs, self.draws(step, size, windows, rank, world, "partner"))
            x, labels = apply_blend(drawn, x, labels, *partner)
        return self.masked(x, labels, rows, self.seed, step)

    def _drawn(self, slabs: list[Slab], drawn: Tensor) -> Batch:
        """Return windows of a pool by their numbers, with their labels."""
        ends = torch.tensor([slab.windows for slab in slabs]).cumsum(0)
        owner = torch.searchsorted(ends, drawn, right=True)
        x = torch.empty(len(drawn), *self.event_shape, dtype=self.representation.dtype)
        rows, shifts = torch.empty(len(drawn), dtype=torch.int64), torch.empty(len(drawn))
        offset, heard = torch.empty_like(rows), torch.empty_like(rows)
        begins = torch.empty(len(drawn), dtype=torch.bool)
        series = None if self._hearing is None else torch.empty(len(drawn), self._hearing.channels, self._steps)
        for number, slab in enumerate(slabs):
            place = torch.nonzero(owner == number)[:, 0]
            if len(place):
                piece, starts = slab.locate(drawn[place] - (ends[number] - slab.windows))
                if series is not None and self._hearing is not None:
                    assert slab.series is not None
                    assert slab.steps is not None
                    first, hop = slab.first[piece], self._hearing.hop
                    step = (starts - first) // hop
                    starts = first + step * hop
                    series[place] = _cut_series(slab.series, slab.steps[piece] + step, self._steps)
                x[place] = cut(slab.features, starts, self.window.length)
                rows[place], shifts[place] = slab.rows[piece], slab.shifts[piece]
                offset[place] = starts - slab.first[piece]
                heard[place], begins[place] = slab.heard[piece], slab.begins[piece]
        told = {} if series is None else {SERIES: series}
        return x, self._labels(rows, shifts) | self._present(offset, heard, begins) | told

    def _present(self, offset: Tensor, heard: Tensor, begins: Tensor) -> dict[str, Tensor]:
        """Return which samples of windows count, where that is told; see :func:`latentscape.data.present.counted`."""
        if not self._tells_present:
            return {}
        return {PRESENT: counted(offset, heard, begins, self.window.length, self.config.lead_in)}

    @passing()
    def _slab(self, number: int) -> Slab:
        """Make a slab of the tape."""
        segments = self._tape.segments
        pieces: list[Tensor] = []
        rows: list[int] = []
        shifts: list[float] = []
        heard: list[int] = []
        begins: list[bool] = []
        series: list[Tensor] = []
        chosen = [(0, one) for one in range(len(segments))] if self._whole else self._tape.stretch(number)
        for epoch, one in chosen:
            row = int(segments.rows[one])
            drawn = Augmentation() if self._whole else draw(self.config.augment, self.seed, epoch, one)
            start, frames, low, high = (
                int(table[one]) for table in (segments.starts, segments.frames, segments.low, segments.high)
            )
            # what comes out is to be as long as what was cut, where the clip has that much; at least one window
            needed = min(max(round(frames * drawn.speed), round(self._least * drawn.speed)), high - low)
            start = min(max(low, start + round(drawn.offset * frames)), high - needed)
            wave = self.corpus.store.read(row, start, needed)[None]
            varied = apply(drawn, wave, self.corpus.sample_rate)
            pieces.append(self._analyse(varied))
            if self._hearing is not None:
                place = self._place(row, start, drawn.speed)
                series.append(self._heard(varied, place))
            rows.append(row)
            shifts.append(drawn.pitch)
            heard.append(min(self.representation.frames(varied.shape[1]), len(pieces[-1])))
            begins.append(start == 0)
        if not pieces:
            return Slab.empty(self.representation.frame_size, self.representation.dtype)
        return Slab.of(pieces, rows, shifts, heard, begins, self.window.length, even=self._tells_present, series=series)

    def _labels(self, rows: Tensor, shifts: Tensor) -> dict[str, Tensor]:
        """Return label codes; a shifted sound has the label of the pitch it came to, or none."""
        labels = self._codes.of(rows)
        for label in labels:
            if label in PITCH_LABELS and bool(shifts.any()):
                labels[label] = torch.where(shifts == 0, labels[label], self._shifted(label, labels[label], shifts))
        return labels | self._marks.of(rows) | self._vector(rows)

    def _known(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the labels of sounds as they are."""
        return self._codes.of(rows) | self._marks.of(rows) | self._vector(rows)

    def _vector(self, rows: Tensor) -> dict[str, Tensor]:
        return {} if self._vectors is None else {VECTOR: self._vectors[rows]}

    def _shifted(self, label: str, codes: Tensor, shifts: Tensor) -> Tensor:
        if label not in ("midi", "pitch") or not self.corpus.clips.columns[label].numeric:
            return torch.full_like(codes, -1)
        values = torch.tensor([float(value) for value in self.vocabulary[label]])  # sorted
        moved = values[codes] + shifts
        found = torch.searchsorted(values, moved).clamp(max=len(values) - 1)
        return torch.where((codes >= 0) & (values[found] == moved), found, -1)

    def close(self) -> None:
        """Stop the thread that prepares the pool."""
        self._pool.close()

    # -------------------------------------------------------------------------------------------------------- held out

    @passing()
    def features(self, clip: Clip) -> Num[Tensor, "f t"]:
        """Return all features of a clip, padded with silence to one window where it is shorter."""
        return self._analyse(np.array(self.corpus.wave(clip))).T

    def _analyse(self, wave: np.ndarray) -> Num[Tensor, "t f"]:
        short = self._least - wave.shape[1]
        if short > 0:
            wave = np.pad(wave, ((0, 0), (0, short)))
        features = self.representation.analyse(torch.from_numpy(np.array(wave))[None])[0]
        return features.T.contiguous()

    @property
    def _steps(self) -> int:
        """Steps of a window's series."""
        return -(-self.window.length // self._hearing.hop) if self._hearing is not None else 0

    def _place(self, row: int, start: int, speed: float = 1.0) -> Place:
        return Place(self.corpus.clips.paths[row], start / self.corpus.sample_rate, speed)

    def _heard(self, wave: np.ndarray, place: Place) -> Float[Tensor, "m c"]:
        """Return what is heard of a wave, padded as its features are."""
        assert self._hearing is not None
        short = max(0, self._least - wave.shape[1])
        padded = torch.from_numpy(np.pad(wave, ((0, 0), (0, short))))
        return self._hearing.listen(padded, place).T.contiguous()

    def count(self, part: PartName) -> int:
        """Return how many windows a part has."""
        return sum(map(self._windows, self._cut(part, PIECE_SECONDS).frames.tolist()))

    def describe(self) -> str:
        """Name the source and its sample rate; see :class:`Examples`."""
        return f"{self.corpus.name}, {self.corpus.sample_rate} Hz"

    def pieces(self, part: PartName, seconds: float, most: int | None = None) -> Iterator[Clip]:
        """Yield a part's clips in order, long ones in stretches, so that memory does not grow with their length.

        Args:
            part: of the split.
            seconds: s, length of a stretch.
            most: at most so many are given, spread evenly over the part.
        """
        pieces = self._cut(part, seconds)
        return (pieces if most is None else pieces.some(most)).clips(self.corpus)

    def sounds(self, part: PartName, most: int | None, seconds: float) -> Part:
        """Return the clips of a part, at most so many, spread evenly over it.

        Where they are few and long, they are cut into stretches of so many seconds: one long recording is many sounds,
        and its beginning is not what it sounds like.
        """
        clips = self.split.parts[part]
        if self._few_and_long(part, seconds):
            clips = clips.cut(self.samples(seconds))
        return clips if most is None else clips.some(most)

    def _few_and_long(self, part: PartName, seconds: float) -> bool:
        frames = self.split.parts[part].frames
        return len(frames) < FEW and int(frames.max(initial=0)) >= 2 * self.samples(seconds)

    def samples(self, seconds: float) -> int:
        """Return how many samples so many seconds have, or those of a window, where that is longer."""
        return max(round(seconds * self.corpus.sample_rate), self._least)

    def _cut(self, part: PartName, seconds: float) -> Part:
        return self.split.parts[part].cut(max(round(seconds * self.corpus.sample_rate), 4 * self._least))

    def _windows(self, samples: int) -> int:
        frames = self.representation.frames(max(samples, self._least))
        return (frames - self.window.length) // self.window.hop + 1

    def held(self, part: PartName, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield windows in order; see :class:`Examples`.

        With a limit they come from pieces spread over the part, an hour of sound at most, so that a few windows of a
        long corpus don't cost the analysis of all of it.
        """
        yield from self.masked_in_order(self._held(part, size, limit), part)

    def _held(self, part: PartName, size: int, limit: int | None) -> Iterator[Batch]:
        pieces = self._cut(part, PIECE_SECONDS)
        alike = self.samples(ALIKE_SECONDS if self._few_and_long(part, ALIKE_SECONDS) else PIECE_SECONDS)
        counts = torch.tensor(list(map(self._windows, pieces.frames.tolist())), dtype=torch.int64)
        if limit is not None:
            longest = HELD_SECONDS * self.corpus.sample_rate
            stride = max(1, min(-(-int(pieces.frames.sum()) // longest), int(counts.sum()) // max(limit, 1)))
            pieces, counts = pieces[::stride], counts[::stride]
        wanted, ends = spread(int(counts.sum()), limit), counts.cumsum(0)
        edges = torch.searchsorted(wanted, torch.cat([ends - counts, ends[-1:]]))
        asked = torch.nonzero(edges.diff())[:, 0]
        xs: list[Tensor] = []
        rows: list[Tensor] = []
        places: list[Tensor] = []
        heard: list[Tensor] = []
        held = 0

        def told(row: Tensor, place: Tensor, series: Tensor) -> dict[str, Tensor]:
            own = {} if self._hearing is None else {SERIES: series}
            present = self._present(place[:, 0], place[:, 1], place[:, 2] > 0)
            return self._known(row) | present | own | {RECORDING: place[:, 3]}

        for number, clip in zip(asked.tolist(), pieces[asked.numpy()].clips(self.corpus), strict=True):
            own = wanted[edges[number] : edges[number + 1]] - (ends[number] - counts[number])
            features = self.features(clip).T
            xs.append(cut(features, own * self.window.hop, self.window.length))
            rows.append(torch.full((len(own),), clip.row))
            begins = own[:, None] * self.window.hop
            recording = clip.row * LONGEST + (clip.start + begins * self.representation.hop) // alike
            whole = torch.tensor([[self.representation.frames(clip.frames), int(clip.start == 0)]])
            places.append(torch.cat([begins, whole.expand(len(own), 2), recording], 1))
            heard.append(self._series(clip, own))
            held += len(own)
            if held >= size:
                x, row, place, series = (torch.cat(column) for column in (xs, rows, places, heard))
                full = held // size * size
                for start in range(0, full, size):
                    some = slice(start, start + size)
                    yield x[some], told(row[some], place[some], series[some])
                xs, rows, places, heard, held = [x[full:]], [row[full:]], [place[full:]], [series[full:]], held - full
        if held:
            yield torch.cat(xs), told(torch.cat(rows), torch.cat(places), torch.cat(heard))

    def _series(self, clip: Clip, windows: Int[Tensor, " b"]) -> Float[Tensor, "b ..."]:
        """Return what is heard of some windows of a clip; nothing, where nothing is."""
        if self._hearing is None:
            return torch.empty(len(windows), 0)
        whole = self._heard(np.array(self.corpus.wave(clip)), self._place(clip.row, clip.start))
        return _cut_series(whole, windows * (self.window.hop // self._hearing.hop), self._steps)

    # ----------------------------------------------------------------------------------------------------------- units

    def units(self) -> tuple[Tensor, Tensor]:
        """Return mean and scale of the features over at most ``statistics_seconds`` of training sound.

        Codes have neither: 0 and 1.
        """
        size = self.representation.frame_size
        shape = (size,) if self.window.length == 1 else (size, 1)
        if not self.representation.dtype.is_floating_point:
            return torch.zeros(shape), torch.ones(shape)
        segments = self._tape.segments
        key: tuple[Key, ...] = (self.seed, "units")
        left = round(self.config.statistics_seconds * self.corpus.sample_rate)
        count, total, square = 0, torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        shift: Tensor | None = None
        for one in numpy_stream(*key).permutation(len(segments)):
            start, frames = int(segments.starts[one]), int(segments.frames[one])
            wave = self.corpus.store.read(int(segments.rows[one]), start, frames)[None]
            features = self._analyse(wave).double()
            shift = features.mean(0) if shift is None else shift  # sums about a near mean lose no digits
            count += len(features)
            total += (features - shift).sum(0)
            square += (features - shift).square().sum(0)
            left -= frames
            if left <= 0:
                break
        assert shift is not None  # a training part has at least one segment
        mean = total / count
        variance = (square / count - mean.square()).clamp(min=0)
        if self.config.scale == "all":
            variance = variance.mean().expand_as(variance)
        scale = variance.sqrt()
        typical = float(scale.mean())
        scale = scale.clamp(min=LEAST_SCALE * typical) if typical > 0 else torch.ones_like(scale)
        return (shift + mean).float().reshape(shape), scale.float().reshape(shape)


def _cut_series(series: Float[Tensor, "u c"], starts: Int[Tensor, " b"], steps: int) -> Float[Tensor, "b c m"]:
    """Return the series of windows that begin at some steps."""
    return torch.stack([series[start : start + steps].T for start in starts.tolist()])
