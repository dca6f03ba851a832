r"""What a unit of a tagger hears: the part of a sound that excites it.

Letters: a the activation of a unit, over time ``[t']`` or over features and time ``[f', t']``.

The activation, stretched over the sound's short-time spectrum (linearly in time; over the bands of a mel layer by their
centres in Hz) and divided by its greatest value, is a mask between 0 and 1. What is heard is the sound through it, its
phase kept: nothing is made up that the sound does not hold.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.edit.imagine import unit_of
from latentscape.instrument.tagging import Listener
from latentscape.signal.frames import Frames

_WINDOW, _HOP = 1024, 256


@dataclass(frozen=True, eq=False)
class UnitView:
    """One unit on one sound.

    Attributes:
        layer, unit: which.
        mask: between 0 and 1, ``[bins, frames]`` of the short-time spectrum.
        heard: the sound through it, ``[1, n]``.
        strength: mean activation.
    """

    layer: str
    unit: int
    mask: Float[Tensor, "m t"]
    heard: Float[Tensor, "1 n"]
    strength: float


def strengths(listener: Listener, wave: Float[Tensor, "c n"], layer: str) -> Float[Tensor, " u"]:
    """Return the mean activation of every unit of a layer on a sound.

    Raises:
        UsageError: there is no such layer.
    """
    with torch.no_grad():
        found = listener.activations(wave[None])
        unit_of(found, layer, 0)
        return found[layer][0].flatten(1).mean(1).cpu()


def look(listener: Listener, wave: Float[Tensor, "c n"], layer: str, unit: int) -> UnitView:
    """Return what a unit hears of a sound at the tagger's rate.

    Raises:
        UsageError: there is no such layer or unit.
    """
    with torch.no_grad():
        mono = wave.float().mean(0, keepdim=True)
        found = unit_of(listener.activations(wave[None]), layer, unit)[0].cpu().clamp_min(0)
        grid = Frames(_WINDOW, _HOP)
        spectrum = grid.analyse(mono)[0]
        rows = found if found.ndim == 2 else found[None]
        heard_frames = -(-max(mono.shape[1], listener.least) // _HOP)
        over = torch.nn.functional.interpolate(rows[None], heard_frames, mode="linear")[0][:, : len(spectrum)]
        if len(over) == 1:
            mask = over.expand(grid.bins, -1)
        else:
            mask = _over_bins(over, _centres(listener, len(over)), grid.frequencies(listener.sample_rate, over))
        mask = mask / mask.max().clamp_min(1e-12)
        heard = grid.synthesise((spectrum * mask.T)[None], mono.shape[1])
        return UnitView(layer, unit, mask, heard, float(found.mean()))


def _centres(listener: Listener, rows: int) -> Float[Tensor, " f"]:
    """Return the frequencies of a layer's rows: its bands, evenly shared out."""
    known = listener.representation.spectrum(torch.zeros(1, listener.representation.frame_size, 1))
    assert known is not None  # a picture is made of levels
    place = (torch.arange(rows) + 0.5) / rows * len(known[1]) - 0.5
    return torch.lerp(known[1][place.floor().clamp_min(0).long()], known[1][place.ceil().long()], place.frac())


def _over_bins(
    values: Float[Tensor, "f t"], centres: Float[Tensor, " f"], bins: Float[Tensor, " m"]
) -> Float[Tensor, "m t"]:
    upper = torch.searchsorted(centres, bins).clamp(1, len(centres) - 1)
    low, high = centres[upper - 1], centres[upper]
    share = ((bins - low) / (high - low)).clamp(0, 1)
    return torch.lerp(values[upper - 1], values[upper], share[:, None])
