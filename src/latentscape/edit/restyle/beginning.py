"""Where the search begins: the content with something of the style on it already, or noise where there is none."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from latentscape.core.random import torch_stream
from latentscape.edit.restyle.methods import Start
from latentscape.edit.restyle.sounds import LEVEL, Spectrum
from latentscape.edit.restyle.statistics import gaussian_of, ranked, transport

FRAME_RIDGE = 0.1


def begin(
    levels: Float[Tensor, "r t m"], style: Float[Tensor, "q u m"], start: Start, strength: float = 1.0
) -> Float[Tensor, "r t m"]:
    """Return the levels that the search begins with.

    Args:
        levels: of the content.
        style: of the style.
        start: the content as it is; with the style's mean, bin by bin; with the style's distribution, bin by bin; or
            frames carried to the style's Gaussian, then ranked likewise, as a Gaussian has values that no level has.
        strength: share of the way.
    """
    if start == "content":
        return levels
    frames, wanted = levels.flatten(0, 1), style.flatten(0, 1)
    if start == "mean":
        carried = frames + (wanted.mean(0) - frames.mean(0))
    else:
        carried = frames
        if start == "transport":
            carried = transport(gaussian_of(frames), gaussian_of(wanted), FRAME_RIDGE)(frames)
        carried = ranked(carried, wanted)
    return torch.lerp(frames, carried, strength).clamp_min(0).view_as(levels)


def noise(spectrum: Spectrum, rows: int, length: int, seed: int) -> Float[Tensor, "r n"]:
    """Return white noise to begin with where there is no content."""
    return LEVEL * torch.randn(rows, length, generator=torch_stream("restyle", seed))


def coefficients(spectrum: Spectrum, wave: Float[Tensor, "r n"]) -> tuple[Complex[Tensor, "r t m"], Tensor]:
    """Return X and its levels."""
    found = spectrum.analyse(wave)
    return found, spectrum.levels(found.abs())
