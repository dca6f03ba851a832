"""Gaps that a listener wants filled: one answer a request, from the code of ``latentscape inpaint``; nothing is kept.

An answer is the whole sound at its own rate, channels and depth, as a WAV file: sample for sample as it was outside the
gap. Answer 0 is the likeliest, the others are drawn, each a function of the sound, the gap and its number.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import soundfile
from pydantic import Field

from latentscape.core.config import Record
from latentscape.core.errors import UsageError
from latentscape.core.random import seed_of
from latentscape.edit.gaps import Span, place
from latentscape.edit.hole import Filler
from latentscape.edit.inpaint import fillers, inpaint
from latentscape.edit.recording import DEPTHS, Recording, open_recording
from latentscape.edit.repair import spliced
from latentscape.play import limits
from latentscape.play.sounds import probe_upload, read_begin
from latentscape.play.stage import Stage


class Asked(Record):
    """What is asked for.

    Attributes:
        start: s, where the gap begins.
        end: s, where it ends; beyond the sound's end it makes it longer.
        number: of the answer.
        method: see :mod:`latentscape.edit.inpaint`.
    """

    start: float = Field(ge=0)
    end: float = Field(gt=0, le=limits.UPLOAD_SECONDS + limits.GAP_SECONDS)
    number: int = Field(0, ge=0, lt=limits.ANSWERS)
    method: Literal["auto", "linear", "copy", "latent", "hierarchy"] = "auto"


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
        wave: a WAV file.
        method: what filled the gap.
        draws: whether there are further answers.
    """

    wave: bytes
    method: str
    draws: bool


class Filling:
    """The ways of a run to fill gaps."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @cached_property
    def ways(self) -> dict[str, Filler]:
        """Return them by name."""
        return fillers(self.stage.instrument)

    def answer(self, path: Path, asked: Asked) -> Answer:
        """Return one answer.

        Args:
            path: of the sound.
            asked: see :class:`Asked`.

        Raises:
            DataError: it is no sound, or one that is too long.
            UsageError: the gap does not fit, or the method has one answer only.
        """
        if asked.end - asked.start > limits.GAP_SECONDS:
            raise UsageError(
                f"the gap is {asked.end - asked.start:.2f} s long, expected at most {limits.GAP_SECONDS:g} s"
            )
        recording = _open(path)
        wave, rate = recording.wave, recording.sample_rate
        gaps = place([Span(asked.start, asked.end)], rate, wave.shape[1])
        if gaps[0].start == 0 and gaps[0].end >= wave.shape[1]:
            raise UsageError("the gap is the whole sound: there is nothing to fill it in from")
        seed = seed_of("inpaint", 0, asked.number) if asked.number else None
        filled = inpaint(wave, rate, gaps, method=asked.method, ways=self.ways, seed=seed)
        method = filled.methods[0]
        if asked.number and not self.ways[method].draws:
            raise UsageError(f"the method '{method}' has one answer only")
        held = io.BytesIO()
        subtype = "PCM_U8" if recording.subtype == "PCM_S8" else recording.subtype  # as WAV has its eight bits
        soundfile.write(held, spliced(recording, filled).T, rate, subtype=subtype, format="WAV")
        return Answer(held.getvalue(), method, self.ways[method].draws)


def _open(path: Path) -> Recording:
    """Return a sound as its file holds it; how long it is is known before it is read.

    Raises:
        DataError: it is no sound, or too long.
    """
    about, most = probe_upload(path)
    if about.subtype in DEPTHS:
        whole = about.frames <= most
        found = open_recording(path) if whole else None
    else:
        samples, rate, whole = read_begin(path)
        found = Recording(samples, rate, "WAV", "FLOAT", False)
    if not whole or found is None:
        kind = f"{about.channels} channels at " if about.channels > 2 else ""
        raise UsageError(
            f"the sound is longer than {most / about.sample_rate:g} s of {kind}{about.sample_rate} Hz; fill it with "
            "`latentscape inpaint`, which takes any length"
        )
    return found
