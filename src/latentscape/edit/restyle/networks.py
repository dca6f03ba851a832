r"""What listens to a sound while it is restyled: nets whose weights nobody has trained, or a trained one's activations.

Letters: r rows (channels), t frames, k features, g groups whose statistics stand side by side, B levels of bands
(:mod:`latentscape.edit.restyle.sounds`), X complex coefficients.

* *bins*: the levels L themselves, no net at all;
* *wide*: one convolution along time, bands are its channels, :math:`F = \max(0, w * B)` with normal w of variance
  2 / (bands kernel) (Ulyanov, Lebedev 2016, who took 4,096 filters of 11 frames);
* *scales*: several convolutions over time and frequency of the real and imaginary parts of the coefficients compressed,
  :math:`X |X|^{p - 1}`, kernels of several shapes (Caracalla, Roebel 2020). Places along frequency are groups of their
  own, since rain is not the same sound an octave higher.

* *trained*: what the layers of a trained net make of the sound.

What comes out are features ``[g, r t, k]``: frames of all channels are rows of one matrix.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d, conv2d

from latentscape.core.random import torch_stream
from latentscape.edit.restyle.sounds import Place
from latentscape.signal.frames import Frames

Features = list[Float[Tensor, "g t k"]]


class Network(ABC):
    """What a sound is heard by."""

    @abstractmethod
    def __call__(self, place: Place, variable: Tensor) -> Features:
        """Return features of the sound that a variable stands for, with gradients."""


class Deaf(Network):
    """Nobody, for methods without a search."""

    def __call__(self, place: Place, variable: Tensor) -> Features:
        """Return no features."""
        return []


class Bins(Network):
    """The levels of all bins."""

    def __call__(self, place: Place, variable: Tensor) -> Features:
        """Return L."""
        return [place.spectrum.levels(place.magnitude(variable)).flatten(0, 1)[None]]


class WideConvolution(Network):
    """One random convolution along time.

    Args:
        filters: their number.
        kernel: frames, odd.
        centre: of the levels of the style, which are standardised.
        scale: likewise.
        seed: of the weights.
    """

    def __init__(self, filters: int, kernel: int, centre: float, scale: float, seed: int) -> None:
        self.filters, self.kernel, self.centre, self.scale, self.seed = filters, kernel, centre, scale, seed
        self._weight: Tensor | None = None

    def __call__(self, place: Place, variable: Tensor) -> Features:
        """Return F."""
        levels = (place.spectrum.bands(place.magnitude(variable)) - self.centre) / self.scale
        if self._weight is None:
            shape = (self.filters, levels.shape[2], self.kernel)
            drawn = torch.randn(shape, generator=torch_stream("wide convolution", self.seed))
            self._weight = (drawn * (2 / (shape[1] * shape[2])) ** 0.5).to(levels)
        heard = conv1d(levels.mT, self._weight, padding=self.kernel // 2).relu()
        return [heard.mT.flatten(0, 1)[None]]


SHAPES = ((33, 3), (17, 7), (9, 15), (5, 31))
"""Kernels, bins by frames of a hop of 6 ms."""


class Scales(Network):
    """Random convolutions of several shapes over compressed coefficients.

    Args:
        sample_rate: Hz.
        channels: of each.
        power: p of the compression.
        seed: of the weights.
        shapes: of the kernels.
    """

    def __init__(
        self,
        sample_rate: int,
        channels: int = 24,
        power: float = 0.4,
        seed: int = 0,
        shapes: Sequence[tuple[int, int]] = SHAPES,
    ) -> None:
        window = 2 ** round(torch.tensor(0.023 * sample_rate).log2().item())
        self.grid = Frames(window, window // 4)
        self.power = power
        self.weights = [
            torch.randn(channels, 2, *shape, generator=torch_stream("scales", seed, *shape))
            * (1 / (shape[0] * shape[1])) ** 0.5
            for shape in shapes
        ]

    def __call__(self, place: Place, variable: Tensor) -> Features:
        """Return features of every shape; a group is a shape's place along frequency."""
        found = torch.view_as_real(self.grid.analyse(place.wave(variable))) * (4 / self.grid.window)
        power = found.square().sum(-1, keepdim=True)
        pressed = (found * (power + 1e-8) ** ((self.power - 1) / 2)).permute(0, 3, 2, 1)  # r, 2, m, t
        features = []
        for weight in self.weights:
            pad = weight.shape[2] // 2, weight.shape[3] // 2
            heard = conv2d(pressed, weight.to(pressed), stride=(8, 2), padding=pad).relu()  # r, k, places, t
            features.append(heard.permute(2, 0, 3, 1).flatten(1, 2))
        return features


class Trained(Network):
    """Activations of a trained net.

    Args:
        hear: waves ``[r, 1, n]`` at its rate -> activations of its layers, ``[r, k, t]`` or ``[r, k, places, t]``, with
            gradients.
        sample_rate: of the sound, Hz.
        own_rate: that the net takes, Hz.
    """

    def __init__(self, hear: Callable[[Tensor], Sequence[Tensor]], sample_rate: int, own_rate: int) -> None:
        self.hear, self.sample_rate, self.own_rate = hear, sample_rate, own_rate

    def __call__(self, place: Place, variable: Tensor) -> Features:
        """Return the activations of every layer; a group is a place along frequency."""
        wave = resampled(place.wave(variable), self.sample_rate, self.own_rate)
        return [self._grouped(layer) for layer in self.hear(wave[:, None])]

    @staticmethod
    def _grouped(layer: Tensor) -> Float[Tensor, "g t k"]:
        if layer.ndim == 3:
            return layer.mT.flatten(0, 1)[None]
        return layer.permute(2, 0, 3, 1).flatten(1, 2)


def resampled(wave: Float[Tensor, "r n"], rate: int, wanted: int) -> Float[Tensor, "r m"]:
    """Resample with gradients: the spectrum of the whole sound is cut, or filled up with nothing."""
    if rate == wanted:
        return wave
    n = wave.shape[1]
    m = round(n * wanted / rate)
    spectrum = torch.fft.rfft(wave)
    kept = min(spectrum.shape[1], m // 2 + 1)
    return torch.fft.irfft(spectrum[:, :kept], n=m) * (m / n)
