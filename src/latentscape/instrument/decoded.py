"""What decoded points sound like: descriptors of frames, windows or waves that a model makes, thousands at a time.

A frame is described by its magnitude spectrum. Longer windows have the means of their frames that are not silent, and
their attack: log10 of the seconds in which the level rises from 10 % to 90 % of its highest (as an amplitude).
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.instrument.space import Space
from latentscape.measure.spectral import QUIET, SPECTRAL, frames_of, spectral_descriptors

UNITS = {**SPECTRAL, "attack": "decades of s"}
"""All descriptors of decoded points, and their units."""
ATTACK_FRAMES = 16
"""Frames that a window needs to have an attack."""
_ROWS = 2048
_FRAMES = 6
"""Frames of a window that are described, spread evenly over it."""


def described(space: Space, z: Float[Tensor, "n d"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the descriptors of decoded points by name, NaN where one is not defined.

    None for images, and none where a point is decoded by drawing: a draw is dear, and not the point's alone.
    """
    representation = space.representation
    if representation is None or space.model.sequential:
        return {}
    rows = max(1, min(_ROWS, (1 << 21) // max(1, int(np.prod(space.model.event_shape)))))
    found: list[dict[str, np.ndarray]] = []
    for low in range(0, len(z), rows):
        found.append(described_events(space, torch.cat(list(space.events(z[low : low + rows])))))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def silence_of(values: Mapping[str, np.ndarray]) -> float:
    """Return the loudness below which a corpus's frames count as silence: 50 dB under its loud ones (99 %)."""
    return float(np.quantile(values["loudness"], 0.99)) - QUIET if "loudness" in values else -np.inf


def audible(values: Mapping[str, np.ndarray], silence: float) -> dict[str, np.ndarray]:
    """Return descriptors with NaN where the loudness is below that of silence."""
    return {name: np.where(values["loudness"] >= silence, value, np.nan) for name, value in values.items()}


def described_events(space: Space, x: Float[Tensor, "n ..."]) -> dict[str, Float[np.ndarray, " n"]]:
    """Return the descriptors of decoded events ``[n, f]`` or ``[n, f, t]`` of a model of sound; see the module."""
    representation = space.representation
    assert representation is not None, "images have no descriptors of sound"
    x = space.legal(x).cpu()
    features = x[..., None] if space.window.length == 1 else x
    found = representation.spectrum(features)
    if (
        found is None or found[0].shape[2] < space.window.length
    ):  # samples, whose one spectrum would hide how they change
        waves = representation.synthesise(features, quality="fast").numpy()
        pairs = [frames_of(wave, representation.sample_rate, _FRAMES) for wave in waves]
        root, frequency = np.stack([one for one, _ in pairs], 1), pairs[0][1]  # [frames, n, k]
        levels, rate = _envelope(waves, representation.sample_rate)
    else:
        root, frequency = found[0].movedim(2, 0).numpy(), found[1].numpy()
        levels, rate = np.sqrt((root**2).sum(2)).T, representation.frame_rate
        root = root[np.unique(np.linspace(0, len(root) - 1, _FRAMES).round().astype(int))]
    count, n = root.shape[:2]
    frames = spectral_descriptors(root.reshape(count * n, -1), frequency)
    loudness = frames["loudness"].reshape(count, n)
    values = {name: _mean(value.reshape(count, n), loudness) for name, value in frames.items()}
    if levels.shape[1] >= ATTACK_FRAMES:
        values["attack"] = _attack(levels, rate)
    return values


def _mean(values: np.ndarray, loudness: np.ndarray) -> np.ndarray:
    """Return the mean over known frames within 25 dB of the window's loudest; NaN where most of these are not known."""
    heard = loudness >= loudness.max(0) - QUIET / 2
    known = np.isfinite(values) & heard
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    return np.where(2 * count >= heard.sum(0), total / np.maximum(count, 1), np.nan)


def _envelope(waves: np.ndarray, sample_rate: int) -> tuple[np.ndarray, float]:
    """Return root mean squares of waves ``[n, c, samples]`` over stretches of 5 ms, and how many there are a second."""
    size = max(1, round(0.005 * sample_rate))
    count = waves.shape[2] // size
    stretches = waves[..., : count * size].reshape(*waves.shape[:2], count, size)
    return np.sqrt((stretches**2).mean((1, 3))), sample_rate / size


def _attack(levels: np.ndarray, rate: float) -> np.ndarray:
    """Return log10 of the rise time in s of envelopes ``[n, t]``; NaN where they are silent."""
    top = levels.max(1, keepdims=True)
    peak = levels.argmax(1)
    before = np.arange(levels.shape[1]) <= peak[:, None]
    low = ((levels >= 0.1 * top) & before).argmax(1)
    high = ((levels >= 0.9 * top) & before).argmax(1)
    return np.where(top[:, 0] > 0, np.log10(np.maximum(high - low, 1) / rate), np.nan)
