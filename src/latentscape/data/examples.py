"""Examples: batches that are pure functions of (seed, step), and held-out windows in order.

Letters: b batch, f features a frame, t frames, L the length of a window in frames.

x is cut from features ``[f, t]`` by a :class:`latentscape.registry.Window`: L = 1 gives frames, x ``[b, f]``; L > 1
gives patches or raw windows, x ``[b, f, L]``. A clip shorter than one window is padded with silence, never dropped.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, UsageError, nearest
from latentscape.core.random import Key, torch_stream
from latentscape.data.augment import AugmentConfig
from latentscape.data.blend import BlendConfig
from latentscape.data.corpus import Column
from latentscape.data.masks import MaskConfig, draw_masks
from latentscape.data.split import Part, PartName, SplitConfig
from latentscape.data.warp import WarpConfig
from latentscape.data.word_vectors import WordsConfig

Batch = tuple[Tensor, dict[str, Tensor]]


Binarise = Literal["none", "dynamic", "static"]


class DataConfig(Record):
    """How a corpus is cut into batches.

    Attributes:
        split: how it is divided into parts.
        augment: what is varied in training.
        blend: what is varied after analysis, for taggers: windows are mixed, and partly hidden.
        pool_seconds: s of sound from which batches are drawn at a time; bounds the memory that training takes.
        slabs: parts of the pool; one is replaced by fresh sound every ``steps_per_slab`` steps.
        steps_per_slab: see above; fewer hear more of the corpus and cost more work.
        segment_seconds: s; a longer clip comes in segments of this length, each drawn for itself.
        scale: one scale for ``all`` features, so that an error of so many dB counts the same in every bin; or one for
            ``each``.
        statistics_seconds: s of training sound from which mean and scale are taken.
        binarise: images only: ``none`` leaves grey in [0, 1], ``dynamic`` draws pixels from it in every batch,
            ``static`` draws them once, with seed 0. None is a threshold.
        warp: images only: how they are varied in training, before they are binarised.
        mask: kinds of mask, of which every item draws one; a model with ``model.conditional`` fills in what they hide.
        lead_in: samples at the begin of a window that a sequential model is given and not asked for, so that none is
            without its past, unless the window begins its clip. With ``window.hop`` = ``window.length`` - ``lead_in``
            every sample of a held-out clip is asked for once, but those after its last window, and a lead-in each
            minute, where a long clip is cut.
        consecutive: windows that follow one another over as many steps, for models that carry a state from window to
            window (:mod:`latentscape.data.consecutive`).
        words: vectors of words, of which a model of waves is told the mean of each clip's; a file's name alone will do.
    """

    split: SplitConfig = SplitConfig()
    augment: AugmentConfig = AugmentConfig()
    blend: BlendConfig = BlendConfig()
    pool_seconds: float = Field(default=600.0, gt=0)
    slabs: int = Field(default=4, ge=1)
    steps_per_slab: int = Field(default=250, ge=1)
    segment_seconds: float = Field(default=8.0, gt=0)
    scale: Literal["all", "each"] = "all"
    statistics_seconds: float = Field(default=600.0, gt=0)
    binarise: Binarise = "none"
    warp: WarpConfig | None = None
    mask: tuple[MaskConfig, ...] = ()
    lead_in: int = Field(default=0, ge=0)
    consecutive: int = Field(default=1, ge=1)
    words: WordsConfig | None = None

    @field_validator("words", mode="before")
    @classmethod
    def _of_a_file(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value


class Examples(ABC):
    """What training and evaluation see of a corpus.

    Attributes:
        event_shape: of one x.
        vocabulary: for each condition its values in the training part, sorted; a label's code is its place there and -1
            where it is unknown. Of a mark, which several values may hold of, likewise (:mod:`latentscape.data.marks`).
    """

    event_shape: tuple[int, ...]
    vocabulary: Mapping[str, tuple[str, ...]]
    seed: int
    config: DataConfig

    @abstractmethod
    def units(self) -> tuple[Tensor, Tensor]:
        """Return mean and scale of x over the training part, a feature bin each; they broadcast to ``event_shape``."""

    @abstractmethod
    def batch(self, step: int, size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Return a training batch, a pure function of (seed, step, size).

        Args:
            step: from 0.
            size: of the batch that all processes share.
            rank: which process asks; it gets rows ``rank * size / world`` and following.
            world: number of processes.

        Raises:
            UsageError: ``world`` does not divide ``size``.
        """

    @abstractmethod
    def held(self, part: PartName, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield the windows of a part in order, unaugmented; with a limit that many, spread evenly over the part."""

    @abstractmethod
    def count(self, part: PartName) -> int:
        """Return how many windows a part has."""

    @abstractmethod
    def describe(self) -> str:
        """Say which data these are, such as ``mnist, dynamic binarisation``: it stands beside every figure of them."""

    def close(self) -> None:
        """Stop what works in the background."""
        return

    def __enter__(self) -> "Examples":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def masked(self, x: Tensor, labels: dict[str, Tensor], rows: slice, *keys: Key) -> Batch:
        """Return x with its labels, and with ``mask`` and ``known`` where the configuration hides a part of it.

        Args:
            x: items ``[b, *event]``.
            labels: what else is told of them.
            rows: their places among those that share the random stream.
            keys: of that stream.
        """
        if not self.config.mask:
            return x, labels
        mask = draw_masks(self.config.mask, self.event_shape, rows, *keys)
        return x, labels | {"mask": mask, "known": torch.where(mask, x, torch.zeros_like(x))}

    def masked_in_order(self, batches: Iterator[Batch], part: PartName) -> Iterator[Batch]:
        """Yield a part's batches with masks that depend on an item's place, and not on seed or size of batches."""
        place = 0
        for x, labels in batches:
            yield self.masked(x, labels, slice(place, place + len(x)), 0, part)
            place += len(x)

    def draws(self, step: int, size: int, total: int, rank: int, world: int, purpose: str = "batch") -> Tensor:
        """Return this process's share of ``size`` uniform draws from ``range(total)``."""
        share = rows_of(size, rank, world)
        return torch.randint(total, (size,), generator=torch_stream(self.seed, purpose, step))[share]


def rows_of(size: int, rank: int, world: int) -> slice:
    """Return the rows of a global batch that belong to one process.

    Raises:
        UsageError: they can't be shared out evenly.
    """
    if size % world:
        raise UsageError(f"a batch of {size} can't be shared evenly by {world} processes")
    each = size // world
    return slice(rank * each, (rank + 1) * each)


def spread(total: int, limit: int | None) -> Tensor:
    """Return ``limit`` of ``range(total)``, evenly spread and in order; all of it where there is no limit."""
    if limit is None or limit >= total:
        return torch.arange(total)
    return torch.arange(limit) * total // limit


class Codes:
    """Label codes of rows.

    Attributes:
        vocabulary: see :class:`Examples`.
    """

    def __init__(self, columns: Mapping[str, Column], train: Part, conditions: Sequence[str]) -> None:
        """Make the vocabulary.

        Raises:
            ConfigError: a condition is no label of the corpus; the nearest ones are offered.
        """
        self.vocabulary: dict[str, tuple[str, ...]] = {}
        self._codes: dict[str, Tensor] = {}
        for label in conditions:
            if label not in columns:
                raise ConfigError(f"conditions: the corpus has no label '{label}'{nearest(label, columns)}")
            column = columns[label]
            heard = sorted(set(column.codes[train.rows].tolist()) - {-1})
            self.vocabulary[label] = tuple(column.values[code] for code in heard)
            table = torch.full((len(column.values) + 1,), -1, dtype=torch.int64)
            table[heard] = torch.arange(len(heard))  # the last entry, which code -1 reaches, stays unknown
            self._codes[label] = table[torch.from_numpy(column.codes.astype("int64"))]

    def of(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the code of every label for rows of the corpus."""
        return {label: codes[rows] for label, codes in self._codes.items()}
