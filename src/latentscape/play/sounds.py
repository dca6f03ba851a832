"""Sounds that are heard or given: those of the dots, from the corpus or else from the model, and those dropped in."""

import io
import tempfile
import threading
import wave
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentscape.core.config import parse
from latentscape.core.errors import DataError, LatentscapeError, UsageError
from latentscape.core.storage import load_object
from latentscape.data.corpus import Clip, SoundCorpus, SourceOptions, begin_of
from latentscape.data.sources import open_source
from latentscape.play import limits
from latentscape.play.stage import Stage, rounded
from latentscape.signal import audio

DOT_SECONDS = 10.0
MODEL_SECONDS = 1.5
FADE_SECONDS = 0.01
CACHE_BYTES = 48 << 20
MOST_CHANNELS = 32
MOST_RATE = 768_000
_BLOCK = 1 << 14


class Sounds:
    """What the dots of a map sound like.

    The corpus is looked for beside everything else, since opening it may decode it anew; until it is there, and where
    it is not (or is another one by now), the model says how it hears the dot.
    """

    def __init__(self, stage: Stage, run: Path | None) -> None:
        self.stage = stage
        self._corpus: SoundCorpus | None = None
        self._rows: dict[str, int] = {}
        self._kept: OrderedDict[tuple[int, bool], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._opening = threading.Thread(target=self._open, args=(run,), daemon=True, name="corpus")
        self._opening.start()

    def wait(self, seconds: float) -> None:
        """Wait until the corpus has been looked for."""
        self._opening.join(seconds)

    def from_corpus(self, dot: int) -> bool:
        """Return whether a dot's own sound is there."""
        return self._clip(dot) is not None

    def of_dot(self, dot: int) -> bytes:
        """Return the sound of a dot as a WAV file.

        Raises:
            UsageError: there is no such dot.
        """
        if not 0 <= dot < len(self.stage.dots):
            raise UsageError(f"there is no dot {dot}")
        key = (dot, self.from_corpus(dot))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        rate = self.stage.sound.sample_rate
        made = wav_bytes(self._own(dot) if key[1] else self._imagined(dot), rate)
        with self._lock:
            self._kept[key] = made
            while sum(map(len, self._kept.values())) > CACHE_BYTES:
                self._kept.popitem(last=False)
        return made

    def _name(self, dot: int) -> str:
        names = self.stage.instrument.chart.names
        return names[self.stage.dots[dot]] if names else ""

    def _clip(self, dot: int) -> Clip | None:
        """Return the clip of a dot, or the stretch of one, where the corpus has it still."""
        name, start = self._name(dot), 0
        if name not in self._rows:
            name, start = begin_of(name)
        if self._corpus is None or name not in self._rows:
            return None
        clip = self._corpus.clips[self._rows[name]]
        return clip.part(start, clip.frames - start) if start < clip.frames else None

    def _own(self, dot: int) -> np.ndarray:
        clip = self._clip(dot)
        assert self._corpus is not None
        assert clip is not None
        return np.array(self._corpus.wave(clip, 0, min(clip.frames, round(DOT_SECONDS * clip.rate))))

    def _imagined(self, dot: int) -> np.ndarray:
        stage = self.stage
        columns = stage.instrument.chart.labels
        labels = {name: columns[name][stage.dots[dot]] for name in stage.vocabulary if columns.get(name)}
        known = {name: value for name, value in labels.items() if value in stage.vocabulary[name]}
        made = stage.instrument.render(stage.codes[dot][None], MODEL_SECONDS, quality="fast", labels=known).numpy()
        fade = max(1, round(FADE_SECONDS * stage.sound.sample_rate))
        ramp = np.minimum(1.0, np.arange(made.shape[1]) / fade)
        return made * ramp * ramp[::-1]

    def _open(self, run: Path | None) -> None:
        if run is None:
            return
        try:
            about = load_object(run / "run.json", ("source", "digest"))
            config = load_object(run / "config.json").get("source", {})
            corpus = open_source(about["source"], parse(SourceOptions, config, "source"))
        except (LatentscapeError, OSError):
            return
        rate = self.stage.sound.sample_rate
        if isinstance(corpus, SoundCorpus) and corpus.digest == about["digest"] and corpus.sample_rate == rate:
            rows = {name: row for row, name in reversed(list(enumerate(corpus.clips.names)))}
            self._corpus, self._rows = corpus, rows


def place_upload(path: Path, name: str, stage: Stage) -> dict[str, Any]:
    """Return where a given sound lies, and its course, as the page is told.

    Args:
        path: the file.
        name: what the page calls it.
        stage: of the run.

    Raises:
        DataError: it is not sound, or holds NaN or infinity, or nothing.
    """
    heard, rate, whole = read_begin(path)
    channels = stage.sound.channels
    heard = heard if len(heard) == channels else heard.mean(0, keepdims=True).repeat(channels, 0)
    sound = torch.from_numpy(np.ascontiguousarray(audio.resample(heard, rate, stage.sound.sample_rate)))
    if not sound.shape[1]:
        raise DataError("it holds no samples")
    codes = stage.instrument.encode(sound)
    chosen = torch.linspace(0, len(codes) - 1, min(len(codes), limits.POINTS)).round().long()
    mean = codes.mean(0)
    return {
        "name": name,
        "seconds": round(sound.shape[1] / stage.sound.sample_rate, 4),
        "cut": not whole,
        "code": rounded(mean),
        "path": rounded(codes[chosen]),
        "places": {key: spots[0] for key, spots in stage.places(mean[None]).items()},
    }


def read_begin(path: Path) -> tuple[np.ndarray, int, bool]:
    """Return the begin of a sound ``[c, n]``, its rate, and whether that is all of it.

    Raises:
        DataError: it is not sound, or of too many channels or too high a rate.
    """
    about, most = probe_upload(path)
    blocks, held = [], 0
    for block in audio.read_blocks(path, _BLOCK, limits.UPLOAD_VALUES):
        blocks.append(block)
        held += block.shape[1]
        if held > most:
            break
    return np.concatenate(blocks, 1)[:, :most], about.sample_rate, held <= most


def probe_upload(path: Path) -> tuple[audio.AudioInfo, int]:
    """Return what the header of a given sound says, and how many samples a channel are used at most.

    Raises:
        DataError: it is not sound, or of too many channels or too high a rate.
    """
    about = audio.probe(path, limits.UPLOAD_VALUES)
    if about.channels > MOST_CHANNELS or about.sample_rate > MOST_RATE:
        raise DataError(
            f"it has {about.channels} channels at {about.sample_rate} Hz, "
            f"expected at most {MOST_CHANNELS} at {MOST_RATE} Hz"
        )
    return about, min(round(limits.UPLOAD_SECONDS * about.sample_rate), limits.UPLOAD_VALUES // about.channels)


def wav_bytes(sound: np.ndarray, rate: int) -> bytes:
    """Return a sound ``[c, n]`` as a 16-bit WAV file, scaled down only where its peak passes full scale."""
    sound = sound / max(1.0, float(np.abs(sound).max(initial=0.0)))
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(len(sound))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(sound.T * 32767).astype("<i2").tobytes())
    return held.getvalue()


def spool() -> tempfile.TemporaryDirectory:
    """Return a folder for one upload, which goes when it is left."""
    return tempfile.TemporaryDirectory(prefix="latentscape-play-")
