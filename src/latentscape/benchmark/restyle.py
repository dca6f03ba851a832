r"""The benchmark of restyling: every method and control on every pair of sounds, judged, heard and looked at.

A *pair* has a content and a style. Where the style goes through a known *chain* (band-pass, drive, room), the true
effect on the content is known: beside the style distance stands the error in effect,
:math:`\|M(y) - M(t)\| / \|M(c) - M(t)\|` with M levels of 64 mel bands, y the restyled sound, c the content, t the
content through the chain: 1 where nothing was done, 0 for the truth. Without a content a *texture* is made of the first
half of a recording, and judged against that half and the other one, which nobody has seen; white noise takes the
content's place, so that its style distance is 1.

A folder OUT::

    cells/PAIR--METHOD.json    what the judges say, and what was asked for
    cells/PAIR--METHOD.wav     what they heard
    index.html, report.md      all of it

Finished cells are not made again; failed ones are.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import butter, fftconvolve, sosfilt

from latentscape.core.errors import LatentscapeError, UsageError
from latentscape.core.random import numpy_stream
from latentscape.core.storage import load_object, save_json
from latentscape.edit.restyle.engine import Wish, levelled
from latentscape.edit.restyle.methods import METHODS, method_of
from latentscape.experiment.run import Say
from latentscape.measure.style import (
    RandomListener,
    content_similarity,
    heard,
    judge_restyling,
    mel_levels,
    style_distance,
)
from latentscape.signal import audio
from latentscape.workshop.restyle import Restyling, restyled

Wave = Float[np.ndarray, "c n"]


@dataclass(frozen=True)
class Pair:
    """Two sounds of the folder, by path without suffix; ``chain`` sends the style through the chain."""

    content: str
    style: str
    chain: bool = False

    @property
    def name(self) -> str:
        """Of files."""
        parts = [path.rpartition("/")[2] for path in (self.content or "texture", self.style)]
        return "--".join(parts) + ("-processed" if self.chain else "")

    @property
    def title(self) -> str:
        """In words."""
        content, style = (path.rpartition("/")[2].replace("_", " ") for path in (self.content, self.style))
        through = ", processed" if self.chain else ""
        return f"{content} → {style}{through}" if content else f"texture of {style}"


PAIRS = (
    Pair("content/speech_male_ashiel", "content/speech_female_sense"),
    Pair("content/folk_song", "both/violin_phrase"),
    Pair("content/speech_male_chivalry", "style/crickets"),
    Pair("content/vibraphone_jazz", "both/trumpet_solo"),
    Pair("both/drum_breakbeat_x3", "both/tabla_loop"),
    Pair("content/speech_female_sense", "style/rain"),
    Pair("content/string_orchestra_brahms", "style/church_bells"),
    Pair("both/flute_phrase", "both/cello_phrase"),
    Pair("content/speech_male_ashiel", "content/speech_female_sense", chain=True),
    Pair("content/speech_female_sense", "content/speech_male_chivalry", chain=True),
    *(Pair("", f"style/{name}") for name in ("rain", "crackling_fire", "chirping_birds", "sea_waves")),
)


@dataclass(frozen=True)
class Sounds:
    """What a pair is made of, at one rate: what is restyled (``None`` for a texture), what is copied, what is known."""

    content: Wave | None
    style: Wave
    sample_rate: int
    truth: Wave | None = None
    other: Wave | None = None


def processed(wave: Wave, sample_rate: int) -> Wave:
    """Return a sound through the chain: 300 to 3,400 Hz, drive, a room of 0.6 s."""
    band = sosfilt(butter(4, (300, min(3400, 0.45 * sample_rate)), "bandpass", fs=sample_rate, output="sos"), wave)
    driven = np.tanh(8 * band / (np.abs(band).max() + 1e-9))
    t = np.arange(round(0.6 * sample_rate)) / sample_rate
    room = numpy_stream("restyle chain").normal(size=len(t)) * 10 ** (-3 * t / 0.6)
    wet = fftconvolve(driven, room[None] / np.linalg.norm(room), axes=1)[:, : wave.shape[1]]
    return levelled(driven + 0.5 * wet, wave, sample_rate)[0]


def added(content: Wave, style: Wave, sample_rate: int) -> Wave:
    """Return content and style together, each at the same level."""
    long = np.tile(style, -(-content.shape[1] // style.shape[1]))[:, : content.shape[1]]
    return levelled(content / content.std() + long / long.std(), content, sample_rate)[0]


def filtered(content: Wave, style: Wave, sample_rate: int) -> Wave:
    """Return the content filtered to the style's mean spectrum."""
    transform = {"n_fft": 2048, "hop_length": 512, "window": torch.hann_window(2048)}
    c, s = (torch.stft(torch.from_numpy(one).float(), **transform, return_complex=True) for one in (content, style))
    power_c, power_s = (one.abs().square().mean((0, 2)) + 1e-10 for one in (c, s))
    gain = (power_s / power_c).sqrt().clamp(max=1e3)[:, None]
    return levelled(torch.istft(c * gain, **transform, length=content.shape[1]).numpy(), content, sample_rate)[0]


CONTROLS = {"added": added, "filtered": filtered}


@dataclass(frozen=True)
class Asked:
    """What shall be compared.

    Attributes:
        out: the folder.
        clips: the folder of sounds.
        methods: names of the table; runs are added to them.
        runs: method -> its trained run.
        pairs: all of them.
        overwrite: make cells again that were made with other settings.
    """

    out: Path
    clips: Path
    methods: tuple[str, ...]
    runs: Mapping[str, Path]
    pairs: tuple[Pair, ...] = PAIRS
    overwrite: bool = False


def asked_of(out: Path, clips: Path, methods: Sequence[str], runs: Sequence[str], *, overwrite: bool = False) -> Asked:
    """Return what the shell asks for, checked.

    Args:
        out: the folder.
        clips: the folder of sounds.
        methods: names; none are all that need no run, and those with one.
        runs: ``METHOD=RUN``.
        overwrite: make cells again that were made with other settings.

    Raises:
        UsageError: no such method, a run that none needs or that is missing, a sound that is not there.
    """
    given = {}
    for text in runs:
        name, equals, run = text.partition("=")
        if not equals or not method_of(name).recipe:
            raise UsageError(f"--run got '{text}', expected METHOD=RUN with a method that needs a run")
        given[name] = Path(run)
    names = tuple(methods) or tuple(name for name in METHODS if not METHODS[name].recipe or name in given)
    for name in names:
        if method_of(name).recipe and name not in given:
            raise UsageError(f"--methods got {name}, which needs --run {name}=RUN (recipe {method_of(name).recipe})")
    for pair in PAIRS:
        for path in filter(None, (pair.content, pair.style)):
            if not _file(clips, path).exists():
                raise UsageError(f"{_file(clips, path)} is not there; SOURCE is the folder of the clips")
    return Asked(Path(out), clips, names, given, overwrite=overwrite)


@dataclass(frozen=True)
class Tally:
    """Names of cells that were made now, that failed, and that were there before; and seconds."""

    done: tuple[str, ...]
    failed: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float


def run_restyling(asked: Asked, say: Say) -> Tally:
    """Make the cells that are not there.

    Raises:
        UsageError: a cell is there that was made with other settings.
    """
    began, tally = time.monotonic(), {"done": [], "failed": [], "kept": []}
    for pair in asked.pairs:
        sounds = None
        for method in methods_for(pair, asked.methods):
            place, settings = place_of(asked.out, pair, method), _settings(asked, pair, method)
            name = place.stem
            if place.exists() and "error" not in (record := load_object(place, ("asked",))):
                if record["asked"] == settings:
                    tally["kept"].append(name)
                    continue
                if not asked.overwrite:
                    raise UsageError(f"{place} was made with other settings; give --overwrite or another folder")
            sounds = sounds or sounds_of(asked.clips, pair)
            row = {"asked": settings} | _cell(sounds, method, asked.runs.get(method), place)
            save_json(place, row)
            tally["failed" if "error" in row else "done"].append(name)
            say(f"{pair.title}, {method}: {row.get('error') or summary(row)}")
    return Tally(*(tuple(tally[key]) for key in ("done", "failed", "kept")), seconds=time.monotonic() - began)


def methods_for(pair: Pair, methods: Sequence[str]) -> Iterator[str]:
    """Yield controls and methods that a pair is given to."""
    yield from CONTROLS if pair.content else ("filtered", "other half")
    yield from (name for name in methods if pair.content or method_of(name).place != "codes")


def summary(row: Mapping[str, Any]) -> str:
    """Return what the judges say in a line."""
    parts = [f"style {row['style']['random']:.2f}"]
    parts += [f"content {row['content']:.2f}"] if "content" in row else []
    parts += [f"error in effect {row['effect']:.2f}"] if "effect" in row else []
    parts += [f"unseen half {row['other']:.2f}"] if "other" in row else []
    return ", ".join([*parts, f"flatness {row['noisier']:+.1f} dB", f"{row['cpu_seconds']:.0f} s"])


def place_of(out: Path, pair: Pair, method: str) -> Path:
    """Return the record of a cell."""
    return out / "cells" / f"{pair.name}--{method.replace(' ', '-')}.json"


def sounds_of(clips: Path, pair: Pair) -> Sounds:
    """Read what a pair is made of."""
    style, rate = audio.read(_file(clips, pair.style))
    if not pair.content:
        half = style.shape[1] // 2
        return Sounds(None, style[:, :half], rate, other=style[:, half:])
    content, own = audio.read(_file(clips, pair.content))
    content = audio.resample(content, own, rate)
    if not pair.chain:
        return Sounds(content, style, rate)
    return Sounds(content, processed(style, rate), rate, truth=processed(content, rate))


def _file(clips: Path, path: str) -> Path:
    return (clips / path).with_suffix(".flac")


def _settings(asked: Asked, pair: Pair, method: str) -> dict[str, Any]:
    row = asdict(METHODS[method]) if method in METHODS else {}
    row.pop("says", None)
    return {"pair": asdict(pair), "method": method, "settings": row, "run": str(asked.runs.get(method, ""))}


def _cell(sounds: Sounds, method: str, run: Path | None, place: Path) -> dict[str, Any]:
    began, busy = time.monotonic(), time.process_time()
    try:
        wave, down = _made(sounds, method, run)
        spent = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - busy, "turned_down": down}
        row = judged(wave, sounds) | spent
    except LatentscapeError as error:
        return {"error": str(error)}
    audio.write(place.with_suffix(".wav"), wave.astype(np.float32), sounds.sample_rate, overwrite=True)
    return row


def _made(sounds: Sounds, method: str, run: Path | None) -> tuple[Wave, float]:
    content = _white(sounds) if sounds.content is None else sounds.content
    if method in CONTROLS:
        return CONTROLS[method](content, sounds.style, sounds.sample_rate), 0.0
    if method == "other half":
        assert sounds.other is not None
        return sounds.other, 0.0
    what = Restyling(Wish(method), run)
    found = restyled(sounds.content, sounds.style, sounds.sample_rate, what)
    return found.wave, found.turned_down


def _white(sounds: Sounds) -> Wave:
    return 0.1 * numpy_stream("restyle noise").normal(size=sounds.style.shape)


def judged(wave: Wave, sounds: Sounds) -> dict[str, Any]:
    """Return what the judges say of a restyled sound, as plain data.

    Raises:
        DataError: a sound is too short, silent or not finite.
    """
    rate = sounds.sample_rate
    content = _white(sounds) if sounds.content is None else sounds.content
    found = judge_restyling(_tensor(wave), _tensor(content), _tensor(sounds.style), rate)
    row = found.to_json() | {"noisier": found.noisier}
    if sounds.truth is not None:
        y, c, t = (heard(_tensor(one), rate) for one in (wave, content, sounds.truth))
        row["effect"] = effect_error(y, c, t)
        row["as_true"] = content_similarity(y, t).mean
    if sounds.other is not None:
        y, c, s = (heard(_tensor(one), rate) for one in (wave, content, sounds.other))
        row["other"] = style_distance(y, c, s, RandomListener())
        for name in ("content", "onsets", "pitch", "bands"):
            del row[name]
    return row


def effect_error(
    estimate: Float[torch.Tensor, " n"], content: Float[torch.Tensor, " m"], truth: Float[torch.Tensor, " k"]
) -> float:
    """Return the error in effect of sounds as :func:`latentscape.measure.style.heard` gives them."""
    n = min(map(len, (estimate, content, truth)))
    y, c, t = (mel_levels(one[:n], 64, -60.0) for one in (estimate, content, truth))
    return float((y - t).norm() / (c - t).norm().clamp_min(1e-9))


def _tensor(wave: Wave) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
