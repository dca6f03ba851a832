"""Gaps: which stretches of a sound are to be filled in, as people write them and as samples.

A gap is written ``1.20:1.45``, in seconds; ``:0.2`` begins with the sound and ``3.1:`` ends with it, and an end beyond
the sound makes it longer (``3.1:4.0`` of a sound of 3.5 s adds half a second). A file of gaps has one a line, in this
form or as two numbers with a comma, semicolon or space between them; empty lines, text behind ``#`` and a first line of
column names are skipped.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentscape.core.errors import DataError, UsageError

LONGEST_EXTENSION = 10.0
"""Seconds that a gap may reach beyond the end of a sound."""


@dataclass(frozen=True)
class Span:
    """A gap in time.

    Attributes:
        start: s; ``None`` is the begin of the sound.
        end: s; ``None`` is its end.
    """

    start: float | None
    end: float | None


@dataclass(frozen=True)
class Gap:
    """A gap in samples, ``start <= n < end``."""

    start: int
    end: int

    @property
    def count(self) -> int:
        """Samples missing."""
        return self.end - self.start


def parse_gap(text: str, where: str = "--gap") -> Span:
    """Read one gap, such as ``1.20:1.45``.

    Raises:
        UsageError: it is none; ``where`` says where it stood.
    """
    first, colon, second = text.strip().partition(":")
    try:
        start, end = (float(part) if part.strip() else None for part in (first, second))
    except ValueError:
        colon = ""
        start = end = None
    if not colon or (start is None and end is None):
        raise UsageError(
            f"{where} got '{text.strip()}', expected START:END in seconds, such as 1.20:1.45, :0.2 or 3.1:"
        )
    for value in (start, end):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{where} got '{text.strip()}', expected times of at least 0 seconds")
    if (start or 0.0) >= (math.inf if end is None else end):
        raise UsageError(f"{where} got '{text.strip()}', which ends before it begins")
    return Span(start, end)


def read_gaps(path: str | os.PathLike[str]) -> list[Span]:
    """Read a file of gaps, one a line.

    Raises:
        DataError: it can't be read, or holds no gap.
        UsageError: a line is no gap; it is named.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"could not read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text") from error
    spans: list[Span] = []
    begun = False
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        header = not begun and not any(letter.isdigit() for letter in text)
        begun = True
        if header:
            continue
        if ":" not in text:
            parts = text.replace(",", " ").replace(";", " ").split()
            text = ":".join(parts) if len(parts) == 2 else text
        spans.append(parse_gap(text, f"{path} line {number}"))
    if not spans:
        raise DataError(f"{path} holds no gaps, expected one a line, such as 1.20:1.45")
    return spans


def place(spans: Iterable[Span], rate: int, n: int) -> list[Gap]:
    """Return spans as samples of a sound of ``n`` at ``rate`` Hz, in order, those that overlap or touch merged.

    Raises:
        UsageError: a gap begins behind the sound's end, is shorter than a sample, or reaches too far beyond the end.
    """
    gaps = []
    for span in spans:
        start = 0 if span.start is None else round(span.start * rate)
        end = n if span.end is None else round(span.end * rate)
        said = f"gap {'' if span.start is None else span.start:}:{'' if span.end is None else span.end}"
        if start > n or (start == n and span.end is None):
            raise UsageError(f"{said} begins at {start / rate:.3f} s, but the sound ends at {n / rate:.3f} s")
        if end <= start:
            raise UsageError(f"{said} is shorter than one sample at {rate} Hz")
        if end - n > LONGEST_EXTENSION * rate:
            raise UsageError(
                f"{said} reaches {(end - n) / rate:.1f} s beyond the end at {n / rate:.3f} s, "
                f"expected at most {LONGEST_EXTENSION:g} s"
            )
        gaps.append(Gap(start, end))
    return merge(gaps)


def merge(gaps: Iterable[Gap], apart: int = 0) -> list[Gap]:
    """Return gaps in order; those with at most ``apart`` samples between them become one."""
    merged: list[Gap] = []
    for gap in sorted(gaps, key=lambda gap: gap.start):
        if merged and gap.start <= merged[-1].end + apart:
            merged[-1] = Gap(merged[-1].start, max(merged[-1].end, gap.end))
        else:
            merged.append(gap)
    return merged


def known_of(gaps: Sequence[Gap], n: int) -> np.ndarray:
    """Return which of ``n`` samples are known, ``[n]``."""
    known = np.ones(n, bool)
    for gap in gaps:
        known[gap.start : gap.end] = False
    return known


def runs(marked: np.ndarray, least: int = 1) -> list[Gap]:
    """Return the stretches of at least ``least`` samples that are marked in ``marked [n]``."""
    steps = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False])).astype(np.int8)))
    return [Gap(int(a), int(b)) for a, b in zip(steps[::2], steps[1::2], strict=True) if b - a >= least]
