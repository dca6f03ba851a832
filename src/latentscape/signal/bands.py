r"""Mel filters: triangles that are even on Slaney's mel scale, linear below 1 kHz and logarithmic above.

Letters: f Hz, z mel, :math:`e_k` the edges of M bands, M + 2 points even in z.

.. math:: z(f) = \frac{3 f}{200} \;(f < 1000), \qquad z(f) = 15 + \frac{27 \ln(f / 1000)}{\ln 6.4} \;(f \ge 1000)

Filter k rises from :math:`e_k` to :math:`e_{k+1}` and falls to :math:`e_{k+2}`; its area over Hz is 1, or its peak
(Slaney 1998, Auditory Toolbox). To the bit ``librosa.filters.mel``.
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_HZ_A_MEL = 200 / 3
_LOG_A_MEL = np.log(6.4) / 27


def mel_edges(bands: int, low_hz: float, high_hz: float) -> Float[np.ndarray, " edges"]:
    """Return ``bands + 2`` frequencies that are even in mel, Hz."""
    mel = np.linspace(_mel(low_hz), _mel(high_hz), bands + 2)
    return np.where(
        mel < _BREAK_MEL, _HZ_A_MEL * mel, _BREAK_HZ * np.exp(_LOG_A_MEL * np.maximum(mel - _BREAK_MEL, 0.0))
    )


def mel_filters(
    sample_rate: int,
    window: int,
    bands: int,
    *,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    unit: Literal["area", "peak"] = "area",
) -> Float[Tensor, "bands m"]:
    """Return the weights of the ``window // 2 + 1`` bins of a power spectrum in every band.

    Args:
        sample_rate: Hz.
        window: of the spectrum, samples.
        bands: number of bands.
        low_hz: lower edge of the lowest band.
        high_hz: upper edge of the highest; ``None`` is half the sample rate.
        unit: what of a filter is 1: its ``area`` over Hz, or its ``peak``.
    """
    edges = mel_edges(bands, low_hz, sample_rate / 2 if high_hz is None else high_hz)
    ramps = edges[:, None] - np.fft.rfftfreq(window, 1 / sample_rate)
    width = np.diff(edges)[:, None]
    filters = np.maximum(0.0, np.minimum(-ramps[:-2] / width[:-1], ramps[2:] / width[1:])).astype(np.float32)
    if unit == "area":
        filters = (filters * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    return torch.from_numpy(filters)


def _mel(hz: float) -> float:
    return hz / _HZ_A_MEL if hz < _BREAK_HZ else _BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_A_MEL
