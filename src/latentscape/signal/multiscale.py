r"""A wave as magnitudes at several resolutions: what an ear compares, with gradients and without phase.

Letters: b batch, c channels, n samples, w a window's length, f = w / 2 + 1 bins, t frames.

.. math:: S = \frac{2}{\sum_j h[j]} \left|\mathrm{FFT}(h \cdot \text{frame})\right|

with the periodic Hann window h and a hop of w / 4, so that a sine of full scale has 1 at its bin. Frames lie wholly
inside the wave.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import ConfigError

View = Callable[[Tensor], list[Tensor]]
_LEAST = 1e-14
"""Added to the power, so that the gradient of silence is zero and not NaN."""


def spectral_view(windows: Sequence[int]) -> View:
    """Return the function that gives magnitudes ``[b, c, f, t]`` of waves ``[b, c, n]``, one tensor a window.

    Args:
        windows: lengths w in samples.

    Raises:
        ConfigError: a wave is shorter than the longest window, or is not one.
    """

    def view(wave: Float[Tensor, "b c n"]) -> list[Tensor]:
        if wave.ndim != 3 or wave.shape[-1] < max(windows):
            raise ConfigError(
                f"objective.spectral.windows: compare raw windows of at least {max(windows)} samples, "
                f"got x of shape {tuple(wave.shape[1:])}; take shorter ones, or representation 'waveform'"
            )
        return [_magnitudes(wave.float(), window) for window in windows]

    return view


def _magnitudes(wave: Float[Tensor, "b c n"], window: int) -> Float[Tensor, "b c f t"]:
    hann = torch.hann_window(window, device=wave.device)
    frames = torch.fft.rfft(wave.unfold(-1, window, window // 4) * (2 * hann / hann.sum()))
    return torch.view_as_real(frames).square().sum(-1).add(_LEAST).sqrt().transpose(-1, -2)
