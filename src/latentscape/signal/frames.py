r"""The short-time Fourier transform on rows of samples, and its inverse.

Letters: r rows, n samples, t frames, W window, a hop, M = W/2 + 1 bins, w the periodic Hann window, k frame. Frame k is
centred on sample ``k a``, with zeros before the first sample and after the last one:

.. math:: X[k, m] = \sum_{j=0}^{W-1} w[j] \, x[k a + j - W/2] \, e^{-2 \pi i m j / W}, \qquad
          x[n] = \frac{\sum_k w[n - k a + W/2] \, \mathrm{IDFT}(X_k)[n - k a + W/2]}{\sum_k w^2[n - k a + W/2]}

(the inverse is the least-squares one of Griffin and Lim 1984, eq. 6). There are ``ceil(n / a)`` frames, so that ``t``
frames are ``t a`` samples; with ``a <= W / 3`` the denominator is at least 1/16 on every sample, and the inverse is
exact at any length.
"""

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor


def centred(mono: Float[np.ndarray, " n"], window: int, hop: int) -> Float[np.ndarray, "t w"]:
    """Return the ``1 + n // hop`` frames centred on samples 0, hop, 2 hop ... (zeros beyond both ends), as a view."""
    half = window // 2
    padded = np.pad(mono, (half, window - half))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: 1 + len(mono) // hop]


class Frames:
    """The transform itself, on rows: wave ``[r, n]`` <-> spectrum ``[r, t, m]``.

    Attributes:
        window: W.
        hop: a.
        bins: M.
    """

    def __init__(self, window: int, hop: int) -> None:
        self.window = window
        self.hop = hop
        self.bins = window // 2 + 1
        self._hann = torch.hann_window(window, periodic=True, dtype=torch.float64).to(torch.float32)

    def hann(self, like: Tensor) -> Tensor:
        """Return w on the device of ``like``."""
        if self._hann.device != like.device:
            self._hann = self._hann.to(like.device)
        return self._hann

    def frequencies(self, sample_rate: int, like: Tensor) -> Float[Tensor, " m"]:
        """Return the frequencies of the bins in Hz, on the device of ``like``."""
        return torch.arange(self.bins, device=like.device) * (sample_rate / self.window)

    def density(self, sample_rate: int) -> float:
        r"""Return what turns :math:`|X|^2` into power a Hz, so that the sum over a sine's bins is its mean square.

        A sine of amplitude A has :math:`|X| = A W / 4` in its bin and, by the Hann window, half of that in the two
        beside it: :math:`\frac{3}{2} (A W / 4)^2` over bins of :math:`f_s / W` Hz shall be :math:`A^2 / 2`.
        """
        return 16 / (3 * self.window * sample_rate)

    def count(self, n: int) -> int:
        """Return ``ceil(n / a)``."""
        return -(-n // self.hop)

    def analyse(self, wave: Float[Tensor, "r n"]) -> Complex[Tensor, "r t m"]:
        """Return X."""
        half = self.window // 2
        span = (self.count(wave.shape[1]) - 1) * self.hop + self.window
        padded = torch.nn.functional.pad(wave, (half, span - half - wave.shape[1]))
        return torch.fft.rfft(padded.unfold(1, self.window, self.hop) * self.hann(wave))

    def synthesise(self, spectrum: Complex[Tensor, "r t m"], length: int | None = None) -> Float[Tensor, "r n"]:
        """Return x, ``t a`` samples or the first ``length`` of them."""
        half = self.window // 2
        count = spectrum.shape[1]
        window = self.hann(spectrum)
        wave = self.overlap_add(torch.fft.irfft(spectrum, n=self.window) * window)
        norm = self.overlap_add((window * window).expand(1, count, -1))
        end = count * self.hop if length is None else min(length, count * self.hop)
        return wave[:, half : half + end] / norm[:, half : half + end]

    def overlap_add(self, frames: Float[Tensor, "r t w"]) -> Float[Tensor, "r n"]:
        """Sum frames shifted by the hop: ``(t - 1) a + W`` samples, rounded up to a multiple of the hop."""
        rows, count, window = frames.shape
        overlap = -(-window // self.hop)
        frames = torch.nn.functional.pad(frames, (0, overlap * self.hop - window))
        if count == 1:  # live sound comes a frame at a time
            return frames[:, 0]
        pieces = frames.view(rows, count, overlap, self.hop)
        total = frames.new_zeros(rows, count + overlap - 1, self.hop)
        for shift in range(overlap):
            total[:, shift : shift + count] += pieces[:, :, shift]
        return total.view(rows, -1)
