r"""Joining windows of raw sound so that they meet in phase.

Letters: c channels, L window length, s step, o = L - s what two windows share, r search range, w the cross-fade, all in
samples; a what is there already, b the next window.

Two windows that a model makes do not know of one another: where they overlap, the same tone has another phase in each,
and a fade between them is a hole. So b is moved by the shift

.. math:: \delta = \arg\max_{|\delta| \le r} \frac{\sum_{j < w} a[r + j]\, b[r + \delta + j]}
          {\sqrt{\sum_{j < w} a[r + j]^2 \sum_{j < w} b[r + \delta + j]^2}}, \qquad w = o - 2 r

at which it resembles most what it takes over from (WSOLA, Verhelst and Roelands 1993, eq. 6; the shift of the last
window is not kept, so time does not drift), and faded in at constant power: the gain is divided by what the measured
correlation makes of it (:func:`latentscape.instrument.stream.crossfade`). Windows that agree where they overlap are not
moved, and come out as they were cut.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.instrument.stream import crossfade

SEARCH_SECONDS = 0.025
"""r: half a period of 20 Hz, so that any tone one hears finds its phase."""
_ENDING_SECONDS = 0.005
_TIE = 1e-3
"""What the farthest shift must be better by; of shifts that are as good the smallest wins."""


class AlignedJoiner:
    """Joins raw windows that arrive one after the other; see :class:`latentscape.instrument.windows.Joiner`."""

    def __init__(self, length: int, step: int, sample_rate: int) -> None:
        self.length, self.step = length, step
        overlap = length - step
        self.search = min(round(SEARCH_SECONDS * sample_rate), overlap // 4)
        self.fade = overlap - 2 * self.search
        self.ending = round(_ENDING_SECONDS * sample_rate)
        self._held: Tensor | None = None
        self._missing = 0

    def push(self, windows: Float[Tensor, "m c L"]) -> Float[Tensor, "c k"]:
        """Take the next windows; return the next ``k = m s`` samples."""
        return torch.cat([self._add(window) for window in windows], -1)

    def flush(self) -> Float[Tensor, "c o"] | None:
        """Return the last ``L - s`` samples; ``None`` where there are none."""
        if self._held is None or not self._held.shape[1]:
            return None
        if not self._missing:
            return self._held
        end = self._held.shape[1] - self._missing  # the last window was moved forward: it ends early, in a fade
        fade = min(self.ending, end)
        last = self._held.clone()
        last[:, end - fade : end] *= torch.linspace(1, 0, fade, device=last.device)
        return last

    def _add(self, window: Tensor) -> Tensor:
        if self._held is not None and self.fade > 0:
            before = self._held[:, self.search : self.search + self.fade]
            begin = self.search + best_shift(before, window[:, : self.fade + 2 * self.search], self.search)
            mixed = crossfade(before, window[:, begin : begin + self.fade])
            window = torch.cat((self._held[:, : self.search], mixed, window[:, begin + self.fade :]), 1)
            self._missing = max(0, self.length - window.shape[1])
            window = torch.nn.functional.pad(window, (0, self._missing))[:, : self.length]
        out, self._held = window[:, : self.step], window[:, self.step :]
        return out


def best_shift(before: Float[Tensor, "c w"], after: Float[Tensor, "c v"], search: int) -> int:
    """Return the shift, at most ``search`` either way, at which a sound resembles most another.

    Args:
        before: a.
        after: b, with ``search`` samples more on either side: ``v = w + 2 search``.
        search: samples.
    """
    w, v = before.shape[1], after.shape[1]
    size = 1 << (v + w - 1).bit_length()
    spectra = [torch.fft.rfft(part.double(), size) for part in (after, before)]
    products = torch.fft.irfft(spectra[0] * spectra[1].conj(), size).sum(0)[: 2 * search + 1]
    total = torch.nn.functional.pad(after.double().square().sum(0).cumsum(0), (1, 0))
    energy = (total[w:] - total[: v - w + 1]).clamp_min(0)
    alike = products / (energy * before.double().square().sum()).sqrt().clamp_min(1e-20)
    shifts = torch.arange(-search, search + 1, device=alike.device)
    return int((alike - _TIE * shifts.abs() / max(1, search)).argmax()) - search
