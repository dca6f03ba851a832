"""Pairs of sounds that are restyled, what they are made of, and the controls: ways that need no method."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import butter, fftconvolve, sosfilt

from latentscape.core.random import numpy_stream
from latentscape.edit.restyle.loudness import levelled
from latentscape.signal import audio

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


TUNING = (
    Pair("content/speech_male_ashiel", "content/speech_female_sense"),
    Pair("content/folk_song", "both/violin_phrase"),
    Pair("content/speech_male_chivalry", "style/crickets"),
    Pair("content/vibraphone_jazz", "both/trumpet_solo"),
    Pair("both/drum_breakbeat_x3", "both/tabla_loop"),
    Pair("content/speech_female_sense", "style/rain"),
    Pair("content/string_orchestra_brahms", "style/church_bells"),
    Pair("both/flute_phrase", "both/cello_phrase"),
)
"""The methods' settings were chosen by these."""
TEST = (
    Pair("content/speech_female_sense", "content/speech_male_chivalry"),
    Pair("content/folk_song", "both/clarinet_phrase"),
    Pair("content/speech_male_ashiel", "style/helicopter"),
    Pair("both/trumpet_solo", "content/vibraphone_jazz"),
    Pair("both/drum_breakbeat_x3", "style/percussion_safari"),
    Pair("content/sugar_plum", "style/glass_rub"),
    Pair("content/string_orchestra_brahms", "style/thunderstorm"),
    Pair("both/clarinet_phrase", "both/oboe_phrase"),
)
"""No setting was chosen by these; what is said of the methods is said of them."""
CHAINED = (
    Pair("content/speech_male_ashiel", "content/speech_female_sense", chain=True),
    Pair("content/speech_female_sense", "content/speech_male_chivalry", chain=True),
)
TEXTURES = tuple(Pair("", f"style/{name}") for name in ("rain", "crackling_fire", "chirping_birds", "sea_waves"))
GROUPS = {"test": TEST, "tuning": TUNING, "chain": CHAINED, "textures": TEXTURES}
PAIRS = tuple(pair for group in GROUPS.values() for pair in group)


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


def added(content: Wave, style: Wave, sample_rate: int, gain: float = 0.0) -> Wave:
    """Return content and style together; the style's level is ``gain`` dB over the content's."""
    long = np.tile(style, -(-content.shape[1] // style.shape[1]))[:, : content.shape[1]]
    return levelled(content / content.std() + 10 ** (gain / 20) * long / long.std(), content, sample_rate)[0]


def filtered(content: Wave, style: Wave, sample_rate: int, strength: float = 1.0) -> Wave:
    """Return the content filtered to the style's mean spectrum; a strength scales the filter's gains in dB."""
    transform = {"n_fft": 2048, "hop_length": 512, "window": torch.hann_window(2048)}
    c, s = (torch.stft(torch.from_numpy(one).float(), **transform, return_complex=True) for one in (content, style))
    power_c, power_s = (one.abs().square().mean((0, 2)) + 1e-10 for one in (c, s))
    gain = (power_s / power_c).sqrt().clamp(max=1e3)[:, None] ** strength
    return levelled(torch.istft(c * gain, **transform, length=content.shape[1]).numpy(), content, sample_rate)[0]


CONTROLS = {"added": added, "filtered": filtered}


def sounds_of(clips: Path, pair: Pair) -> Sounds:
    """Read what a pair is made of."""
    style, rate = audio.read(file_of(clips, pair.style))
    if not pair.content:
        half = style.shape[1] // 2
        return Sounds(None, style[:, :half], rate, other=style[:, half:])
    content, own = audio.read(file_of(clips, pair.content))
    content = audio.resample(content, own, rate)
    if not pair.chain:
        return Sounds(content, style, rate)
    return Sounds(content, processed(style, rate), rate, truth=processed(content, rate))


def file_of(clips: Path, path: str) -> Path:
    """Return the file of a sound."""
    return (clips / path).with_suffix(".flac")
