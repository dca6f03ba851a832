r"""How a restyled sound is judged: nearness to the style, what is left of the content, and whether it is noise.

Letters: y the restyled sound, c content, s style; all at 22,050 Hz, channels averaged, without rumble, at one level
(root mean square 0.1). F(x) ``[t, k]`` what a listener hears of x, layer after layer; D the Frechet distance of two
samples of features (:func:`latentscape.measure.samples.frechet_of_moments`).

* style distance: :math:`\mathrm{mean}_l\, D(F_l(y), F_l(s)) / D(F_l(c), F_l(s))`: 1 for the content itself, 0 for the
  style itself. It is a squared distance, as the Frechet distance is. The listener must have had no part in making y:
  by default random convolutions of mel levels (:class:`RandomListener`), with another architecture and seed than any
  method's; a trained net does as well. Frames in which a sound is silent (:mod:`latentscape.measure.silence`) do not
  enter its features: pauses are no style. What another part of the style reaches is a fair floor.
* content similarity, -1 to 1: the mean of three correlations of y and c: of the *onsets* (rises of level, averaged over
  64 mel bands); of the *pitch* (its logarithm, in frames where both are voiced; left out where those are fewer than
  0.5 s or a quarter of what is voiced of the content); of the *bands* (levels of 20 mel bands, each less its mean over
  time, so that a lasting filter changes nothing)
* flatness (dB, at most 0): noisiness of :mod:`latentscape.measure.spectral`, median over frames that sound; noise that
  a style has not is seen as a flatness far above the style's
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import torch_stream
from latentscape.measure.descriptors import describe
from latentscape.measure.samples import frechet_of_moments
from latentscape.measure.silence import sounding
from latentscape.measure.spectral import describe_clip
from latentscape.signal import audio
from latentscape.signal.bands import mel_filters

RATE = 22050
WINDOW, HOP = 1024, 256
LEVEL = 0.1
RUMBLE = (15.0, 30.0)
"""Hz."""
SHORTEST = 0.5
"""s; less sound has no style that could be measured."""
_DEEPEST = -80.0
_VOICED_FRAMES = 20
_VOICED_SHARE = 0.25
_SOUNDING = 40.0
PITCHES = (60.0, 1200.0)
"""Hz, what is heard as a melody or a voice."""
_LEAST_DISTANCE = 1e-9

Listener = Callable[[Float[Tensor, " n"]], Sequence[Float[Tensor, "t _"]]]
"""A sound at :data:`RATE` and :data:`LEVEL` -> features of each layer; frames are rows."""


@dataclass(frozen=True)
class Similarity:
    """Correlations of a restyled sound with its content; ``pitch`` is ``None`` where there is none to compare."""

    onsets: float
    pitch: float | None
    bands: float

    @property
    def mean(self) -> float:
        """Of those that are there."""
        return float(np.mean([one for one in (self.onsets, self.pitch, self.bands) if one is not None]))


@dataclass(frozen=True)
class Restyling:
    """What the judges say of a restyled sound.

    Attributes:
        style: listener -> style distance.
        content: similarity with the content.
        flatness: of the restyled sound, content and style, dB.
    """

    style: Mapping[str, float]
    content: Similarity
    flatness: tuple[float, float, float]

    @property
    def noisier(self) -> float:
        """Flatness over that of the style, dB."""
        return self.flatness[0] - self.flatness[2]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        parts = {"onsets": self.content.onsets, "pitch": self.content.pitch, "bands": self.content.bands}
        names = ("flatness", "flatness_content", "flatness_style")
        return {
            "style": dict(self.style),
            "content": self.content.mean,
            **parts,
            **dict(zip(names, self.flatness, strict=True)),
        }


def heard(wave: Float[Tensor, "c n"], sample_rate: int) -> Float[Tensor, " m"]:
    """Return a sound as the judges take it.

    Raises:
        DataError: it is shorter than 0.5 s, silent, or not finite.
    """
    mono = wave.detach().cpu().float().mean(0, keepdim=True).numpy()
    if mono.shape[1] < SHORTEST * sample_rate or not np.isfinite(mono).all():
        raise DataError(f"a judge of style got a wave of shape {list(wave.shape)}, expected {SHORTEST} s, all finite")
    found = torch.from_numpy(without_rumble(audio.resample(mono, sample_rate, RATE), RATE)[0]).float()
    size = float(found.square().mean().sqrt())
    if size < 1e-7:
        raise DataError("a judge of style got silence")
    return found * (LEVEL / size)


def without_rumble(wave: Float[np.ndarray, "c n"], sample_rate: int) -> Float[np.ndarray, "c n"]:
    """Return a sound without what lies below hearing: nothing under 15 Hz, all over 30 Hz, a raised cosine between.

    A recording of crickets may have nine tenths of its power there, and a level taken with it is none of crickets.
    """
    low, high = RUMBLE
    frequency = np.fft.rfftfreq(wave.shape[1], 1 / sample_rate)
    gain = 0.5 - 0.5 * np.cos(np.pi * np.clip((frequency - low) / (high - low), 0, 1))
    return np.fft.irfft(np.fft.rfft(wave) * gain, n=wave.shape[1])


def mel_levels(wave: Float[Tensor, " n"], bands: int, floor: float = _DEEPEST) -> Float[Tensor, "t k"]:
    """Return levels of mel bands, dB, frames of 46 ms every 12 ms; a full-scale sine within one band has 0 to 1.8."""
    padded = torch.nn.functional.pad(wave, (WINDOW // 2, WINDOW // 2))
    frames = torch.fft.rfft(padded.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)).abs() / (WINDOW / 4)
    return 10 * (frames.square() @ _filters(bands).T).clamp_min(10 ** (floor / 10)).log10()


@cache
def _filters(bands: int) -> Float[Tensor, "k m"]:
    return mel_filters(RATE, WINDOW, bands, unit="peak")


class RandomListener:
    """Two layers of random two-dimensional convolutions over 64 mel levels; places along frequency are kept apart.

    Args:
        seed: of the weights, which nobody has trained.
        channels: of each layer.
    """

    def __init__(self, seed: int = 0, channels: int = 16) -> None:
        def draw(layer: int, *shape: int) -> Tensor:
            fan = int(np.prod(shape[1:]))
            return torch.randn(*shape, generator=torch_stream("style listener", seed, layer)) * (2 / fan) ** 0.5

        self._first = draw(0, channels, 1, 5, 5)
        self._second = draw(1, channels, channels, 3, 5)

    def __call__(self, wave: Float[Tensor, " n"]) -> list[Float[Tensor, "t _"]]:
        """Return both layers: about 60 ms and 200 ms of sound in a feature."""
        levels = (mel_levels(wave, 64).T[None, None] + 50) / 20
        first = torch.nn.functional.conv2d(levels, self._first, stride=(3, 1), padding=(1, 2)).relu()
        second = torch.nn.functional.conv2d(first, self._second, stride=(2, 1), padding=(0, 6), dilation=(1, 3)).relu()
        return [layer[0].flatten(0, 1).T for layer in (first, second)]


def style_distance(
    estimate: Float[Tensor, " n"], content: Float[Tensor, " m"], style: Float[Tensor, " k"], listener: Listener
) -> float:
    """Return the style distance of sounds as :func:`heard` gives them.

    Raises:
        DataError: content and style sound alike to the listener, so that nothing lies between them.
    """
    distances = []
    for y, c, s in zip(*(_heard_by(listener, wave) for wave in (estimate, content, style)), strict=True):
        between = frechet_of_moments(c, s)
        if between < _LEAST_DISTANCE:
            raise DataError("content and style sound alike to the judge of style; give two sounds that differ")
        distances.append(frechet_of_moments(y, s) / between)
    return float(np.mean(distances))


def _heard_by(listener: Listener, wave: Float[Tensor, " n"]) -> list[tuple[Tensor, Tensor]]:
    """Return moments of what a listener hears of a sound where it is no pause, layer after layer."""
    loud = sounding(wave[None], RATE)

    def kept(features: Tensor) -> Tensor:
        place = ((torch.arange(len(features)) + 0.5) * (len(loud) / len(features))).long()
        return features[loud[place.clamp_max(len(loud) - 1)]]

    return [_moments(kept(layer)) for layer in listener(wave)]


def _moments(features: Float[Tensor, "t k"]) -> tuple[Tensor, Tensor]:
    centred = features.double() - features.double().mean(0)
    return features.double().mean(0), centred.T @ centred / len(centred)


def content_similarity(estimate: Float[Tensor, " n"], content: Float[Tensor, " m"]) -> Similarity:
    """Return the similarity of sounds as :func:`heard` gives them, over what both have of time."""
    n = min(len(estimate), len(content))
    y, c = estimate[:n], content[:n]
    rises = [mel_levels(one, 64, -70.0).diff(dim=0).clamp_min(0).mean(1).numpy() for one in (y, c)]
    bands = [(found := mel_levels(one, 20, -70.0)).sub(found.mean(0)).numpy() for one in (y, c)]
    pitch_y, pitch_c = (_pitch(one) for one in (y, c))
    both = np.isfinite(pitch_y) & np.isfinite(pitch_c)
    enough = both.sum() >= max(_VOICED_FRAMES, _VOICED_SHARE * np.isfinite(pitch_c).sum())
    pitch = correlation(pitch_y[both], pitch_c[both]) if enough else None
    return Similarity(correlation(*rises), pitch, correlation(*bands))


def _pitch(wave: Float[Tensor, " n"]) -> Float[np.ndarray, " t"]:
    """Return the logarithm of the pitch, NaN in unvoiced frames; 43 frames a second."""
    found = describe(wave[None], RATE, window=2 * WINDOW, hop=2 * HOP, pitch="voiced", pitch_range=PITCHES)
    level = found["level"].values
    return np.where(level > level.max() - _SOUNDING, np.log2(found["pitch"].values), np.nan)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of all values; 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 1e-12 else 0.0


def judge_restyling(
    estimate: Float[Tensor, "c n"],
    content: Float[Tensor, "d m"],
    style: Float[Tensor, "e k"],
    sample_rate: int,
    listeners: Mapping[str, Listener] | None = None,
) -> Restyling:
    """Judge a restyled sound; all three at one sample rate (Hz).

    Args:
        estimate: what is judged.
        content: what it was made of.
        style: what it shall sound like.
        sample_rate: Hz.
        listeners: by name; default the random one alone.

    Raises:
        DataError: a sound is too short, silent or not finite, or content and style are alike.
    """
    y, c, s = (heard(wave, sample_rate) for wave in (estimate, content, style))
    listeners = {"random": RandomListener()} if listeners is None else listeners
    distances = {name: style_distance(y, c, s, listener) for name, listener in listeners.items()}
    flatness = [describe_clip(wave[None].numpy(), RATE)["noisiness"] for wave in (y, c, s)]
    return Restyling(distances, content_similarity(y, c), (flatness[0], flatness[1], flatness[2]))
