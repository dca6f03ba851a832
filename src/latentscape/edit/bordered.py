r"""Phase between two known borders: a sound of given magnitudes that goes on from what is known on both sides.

Letters: k frame, m bin, a hop, W window, X known spectrum, S magnitudes wanted, :math:`\phi` phase, l and r the last
frame that lies wholly before the gap and the first wholly after it, w(k) from 0 at l to 1 at r.

Whatever first phases :math:`\psi` are begun with, they are turned in every bin to meet what is known at both borders;
what is left of the turn is spread evenly over the gap, a shift of less than half a period over all of it:

.. math:: \phi[k] = \psi[k] + \delta_l + w(k)\, \mathrm{wrap}(\delta_r - \delta_l), \qquad
          \delta_i = \arg X[i] - \psi[i]

First phases are those of (1) phase-gradient heap integration over the whole stretch, (2) the steady advance of either
border's bins, interpolated, and (3) the provisional sound. From each, fast Griffin-Lim (Perraudin et al. 2013)
alternates between the magnitudes and the sounds that equal the known samples outside the gap; of the results, the most
consistent one, :math:`\lVert S - |G x| \rVert` least, is taken.
"""

import math

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from latentscape.signal import phase
from latentscape.signal.frames import Frames

ITERATIONS = 60
_STEADY = 3


def turned(
    first: Float[Tensor, "t m"], spectrum: Complex[Tensor, "t m"], left: int | None, right: int | None
) -> Float[Tensor, "t m"]:
    """Return phases turned to those of ``spectrum`` at frames ``left`` and ``right`` (``None``: no such border)."""
    places = [place for place in (left, right) if place is not None]
    if not places:
        return first
    low, high = places[0], places[-1]
    turn, last = (spectrum[place].angle() - first[place] for place in (low, high))
    share = ((torch.arange(len(first)) - low) / max(1, high - low)).clamp(0, 1).to(first)
    rest = torch.remainder(last - turn + math.pi, 2 * math.pi) - math.pi
    return first + turn + share[:, None] * rest


def steady(spectrum: Complex[Tensor, "t m"], grid: Frames, left: int | None, right: int | None) -> Float[Tensor, "t m"]:
    """Return phases that advance as those of the last frames before the gap do, going over to those after it."""
    bins = torch.arange(spectrum.shape[1], device=spectrum.device)
    nominal = 2 * math.pi * grid.hop / grid.window * bins
    about = torch.polar(torch.ones_like(nominal), -nominal)
    advances = []
    for place, side in ((left, -1), (right, 1)):
        if place is None:
            continue
        low, high = (max(0, place - _STEADY), place) if side < 0 else (place, min(len(spectrum) - 1, place + _STEADY))
        advances.append((spectrum[low + 1 : high + 1] * spectrum[low:high].conj() * about).sum(0).angle() + nominal)
    if not advances:
        advances = [nominal]
    start = 0 if left is None else left
    end = len(spectrum) - 1 if right is None else right
    share = ((torch.arange(len(spectrum), device=spectrum.device) - start) / max(1, end - start)).clamp(0, 1)[:, None]
    return torch.lerp(advances[0].expand(len(spectrum), -1), advances[-1].expand(len(spectrum), -1), share).cumsum(0)


def recover(
    magnitude: Float[Tensor, "t m"],
    wave: Float[Tensor, " n"],
    known: Bool[Tensor, " n"],
    grid: Frames,
    least: float,
    iterations: int = ITERATIONS,
) -> Float[Tensor, " n"]:
    """Return the sound ``[n]`` that has the magnitudes wanted and equals ``wave`` wherever it is known.

    Args:
        magnitude: S; frames wholly known are taken from ``wave`` itself.
        wave: the sound with something provisional in its gap.
        known: which of its samples are known; the gap is one stretch.
        grid: of the frames.
        least: magnitudes taken for nothing.
        iterations: of Griffin-Lim.
    """
    spectrum = grid.analyse(wave[None])[0]
    left, right = borders(known, grid)
    whole = whole_frames(known, grid)
    target = torch.where(whole[:, None], spectrum.abs(), magnitude)
    heap = phase.heap_integration(target[None], grid.window, grid.hop, least)[0].angle()
    firsts = [heap, steady(spectrum, grid, left, right), spectrum.angle()]
    phases = torch.stack([turned(first, spectrum, left, right) for first in firsts])
    phases = torch.where(whole[:, None], spectrum.angle(), phases)
    n = len(wave)

    def synthesise(coefficients: Tensor) -> Tensor:
        return torch.where(known, wave, grid.synthesise(coefficients, n))

    target = target.expand(len(phases), -1, -1)
    found = phase.griffin_lim(target, torch.polar(target, phases), grid.analyse, synthesise, iterations)
    waves = synthesise(found)
    error = (grid.analyse(waves).abs() - target).square().sum((1, 2))
    return waves[error.argmin()]


def whole_frames(known: Bool[Tensor, " n"], grid: Frames) -> Bool[Tensor, " t"]:
    """Return which frames see nothing of the gap (what lies beyond the sound's ends counts as known)."""
    half = grid.window // 2
    count = grid.count(len(known))
    missing = torch.nn.functional.pad((~known).int(), (half, (count - 1) * grid.hop + half - len(known) + grid.window))
    return ~missing.unfold(0, grid.window, grid.hop)[:count].bool().any(1)


def borders(known: Bool[Tensor, " n"], grid: Frames) -> tuple[int | None, int | None]:
    """Return the last whole frame before the gap and the first one after it; ``None`` where there is none."""
    whole = whole_frames(known, grid)
    missing = (~whole).nonzero()[:, 0]
    if not len(missing):
        raise ValueError("nothing is missing")
    first, last = int(missing[0]), int(missing[-1])
    return (first - 1 if first else None), (last + 1 if last + 1 < len(whole) else None)
