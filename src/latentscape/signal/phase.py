r"""Phase recovery: the phase of a transform from its magnitude, batched.

Letters: r rows (sounds times channels), t frames, m bins, S the given magnitude, c complex coefficients, G the
analysis of a redundant transform and :math:`G^+` its inverse. :math:`P_1 = G G^+` projects on the transforms that some
wave has; :math:`P_2(c) = S c / |c|` on those with the given magnitude.

* :func:`griffin_lim`: fast Griffin-Lim (Perraudin, Balazs, Sondergaard 2013, algorithm 2):
  :math:`c_n = P_1 P_2(t_{n-1}), \; t_n = c_n + \alpha (c_n - c_{n-1})`.
* phase-gradient heap integration and its causal form: :mod:`latentscape.signal.pghi`.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

TOLERANCE = math.log(1e3)
"""Nepers below the loudest bin, under which heap integration gives a random phase."""
MOMENTUM = 0.99
"""The alpha that Perraudin et al. recommend."""


def spectral_convergence(target: Tensor, magnitude: Tensor) -> float:
    r"""Return :math:`20 \log_{10} (\|S - \hat S\|_F / \|S\|_F)` in dB: lower is better, -inf is perfect.

    Args:
        target: the magnitude S that was asked for, any shape.
        magnitude: the magnitude of the sound that was made, of the same shape.
    """
    error = torch.linalg.vector_norm((target - magnitude).double())
    norm = torch.linalg.vector_norm(target.double())
    if error == 0:
        return -math.inf
    return math.inf if norm == 0 else float(20 * torch.log10(error / norm))


def griffin_lim(
    magnitude: Tensor,
    start: Tensor,
    analyse: Callable[[Tensor], Tensor],
    synthesise: Callable[[Tensor], Tensor],
    iterations: int,
    momentum: float = MOMENTUM,
) -> Tensor:
    """Refine the phase of ``start`` towards one that a wave can have.

    Args:
        magnitude: S, ``[r, ...]``.
        start: complex coefficients whose phase is begun with, of the same shape; their magnitude is not used.
        analyse: wave ``[r, n]`` to coefficients, G.
        synthesise: coefficients to wave, G^+.
        iterations: number of projections on the consistent transforms.
        momentum: alpha.

    Returns:
        Complex coefficients of magnitude S.
    """
    current = impose(magnitude, start)
    previous: Tensor | None = None
    for _ in range(iterations):
        consistent = analyse(synthesise(current))
        ahead = consistent if previous is None else torch.lerp(previous, consistent, 1 + momentum)
        current = impose(magnitude, ahead)
        previous = consistent
    return current


def impose(magnitude: Tensor, coefficients: Tensor) -> Tensor:
    """Return coefficients with the given magnitude and the phase of ``coefficients``; one that vanishes stays 0."""
    power = torch.view_as_real(coefficients).square().sum(-1)  # several times as fast as abs
    return coefficients * (magnitude * power.clamp_(min=1e-30).rsqrt())


def heap_integration(
    magnitude: Float[Tensor, "r t m"], window: int, hop: int, floor: float, tolerance: float = TOLERANCE
) -> Complex[Tensor, "r t m"]:
    """Give a Hann-windowed STFT's magnitude a phase by PGHI over the whole sound.

    Args:
        magnitude: S.
        window: W, samples.
        hop: a, samples.
        floor: smaller magnitudes are taken for this one where slopes of the logarithm are needed.
        tolerance: nepers.
    """
    from latentscape.signal import pghi  # numba takes a while to import

    s = log_magnitude(magnitude, floor)
    return with_phase(magnitude, pghi.recover(s, window, hop, tolerance, torch.get_num_threads()))


def log_magnitude(magnitude: Tensor, floor: float) -> np.ndarray:
    """Return ``ln max(S, floor)`` as numpy float32."""
    return np.ascontiguousarray(magnitude.clamp(min=floor).log().cpu().numpy(), dtype=np.float32)


def with_phase(magnitude: Float[Tensor, "r t m"], phase: np.ndarray) -> Complex[Tensor, "r t m"]:
    """Join magnitude and phase (rad, counted from the window's centre) into coefficients (from its begin: (-1)^m).

    The first and the last bin of a real wave are real: theirs is the nearer of 0 and pi.
    """
    with np.errstate(invalid="ignore"):  # what is not finite stays so, and is refused where it is written
        angle = np.remainder(phase, 2 * math.pi)
    for end in (0, -1):
        angle[..., end] = math.pi * np.round(angle[..., end] / math.pi)
    angle[..., 1::2] += math.pi
    return torch.polar(magnitude, torch.from_numpy(angle.astype(np.float32)).to(magnitude.device))
