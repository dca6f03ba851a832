r"""What of a decoded sound is perceived, as coordinates in which distance can be measured; gradients flow through all.

Letters: n points, d latent width, k frequencies :math:`f`, w the Hz each of them stands for (which sum to B), p power
density, :math:`a = \sqrt p`, r autocorrelation, :math:`\tau` lag in s.

* loudness, dB: :math:`10 \log_{10} \sum A(f)\,p\,w`, A the A-weighting (IEC 61672)
* brightness, octaves: :math:`\log_2 c`, :math:`c = \sum f a w / \sum a w`
* bandwidth, octaves: :math:`\log_2 \sqrt{\sum (f - c)^2 a w / \sum a w}`
* noisiness, dB: :math:`10 \sum \log_{10}(p)\,w / B - 10 \log_{10} (\sum p w / B)`, 0 for white noise and negative else
* pitch, octaves: the mean of :math:`\log_2 (1 / \tau)` over lags under :math:`e^{20 (r(\tau) - r(\tau / 2) - 0.15
  \log_2 \tau)}`, :math:`r(\tau) = \sum a^{4/3} w \cos(2 \pi f \tau) / \sum a^{4/3} w` (the power 4/3 in place of 2 as
  Tolonen and Karjalainen 2000). A period is where r is high and half of it is none; where no lag stands out, the mean
  hardly moves

Silence is taken for white noise at -100 dBFS. Windows of several frames have the means of their frames. Each descriptor
is divided by its standard deviation over the mean codes of the corpus's clips, so that they can be set side by side.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.dist.conditional import point
from latentscape.instrument.labels import Labels
from latentscape.instrument.space import Space
from latentscape.signal.representation import Representation, widths

PERCEIVED = ("loudness", "brightness", "bandwidth", "noisiness", "pitch")
"""The descriptors, in the order of their columns."""
SILENCE = 1e-10
_STILL = 1e-3
_CLIPS = 512
_PITCHES = (50.0, 2000.0)
_AN_OCTAVE = 48
_SHARPNESS = 20.0
_OCTAVE_COST = 0.15


def perceived(space: Space, labels: Labels | None = None) -> Callable[[Tensor], Tensor]:
    """Return points ``[n, d]`` -> descriptors ``[n, k]`` of what they sound like, in deviations of the corpus.

    Args:
        space: of sounds.
        labels: told to the model throughout.

    Raises:
        UsageError: its features have no spectrum (codes, images, or windows of a few samples).
    """
    decode, window = decoder(space, labels), space.window
    representation = space.representation

    def raw(z: Tensor) -> Tensor:
        events = decode(z)
        found = None
        if representation is not None and representation.dtype.is_floating_point:
            features = events[..., None] if window.length == 1 else events
            floor = representation.floor
            found = spectral(representation, features if floor is None else features.clamp_min(floor))
        if found is None:
            kind = "images" if representation is None else type(representation).__name__
            raise UsageError(f"a run of {kind} has no perceived distance: there is no spectrum; use latent or feature")
        return found

    clips = space.chart.clips
    rows = torch.linspace(0, len(clips) - 1, min(_CLIPS, len(clips))).round().long()
    with torch.no_grad():
        deviation = raw(clips[rows]).std(0, correction=0)
    deviation = torch.where(deviation > _STILL, deviation, 1.0)
    return lambda z: raw(z) / deviation.to(z.device)


def decoder(space: Space, labels: Labels | None = None) -> Callable[[Tensor], Tensor]:
    """Return points ``[n, d]`` -> means of p(x | z), ``[n, *event]`` on the device of the points; gradients flow."""
    context = space.context(labels, 1)
    model = space.model

    def decode(z: Tensor) -> Tensor:
        told = {name: value.expand(len(z)) for name, value in context.items()}
        training = model.training
        model.eval()
        try:
            return point(model.decode(space.unpack(z.to(space.device)), told)).to(z.device)
        finally:
            model.train(training)

    return decode


def spectral(representation: Representation, features: Float[Tensor, "n f t"]) -> Float[Tensor, "n k"] | None:
    """Return the descriptors of features, :data:`PERCEIVED` in their own units; ``None`` where there is no spectrum."""
    found = representation.spectrum(features)
    if found is None:
        return None
    root, frequency = found
    root, frequency = root.transpose(1, 2), frequency.to(root)
    width = widths(frequency)
    band = width.sum()
    power = root.square() + SILENCE / band
    weight = power.sqrt() * width
    mass = weight.sum(-1)
    centre = (weight @ frequency) / mass
    variance = (weight * (frequency - centre[..., None]).square()).sum(-1) / mass
    total = power @ width
    columns = (
        10 * torch.log10(power @ (width * a_weighting(frequency)) + SILENCE),
        torch.log2(centre),
        0.5 * torch.log2(variance + 1.0),
        10 * (torch.log10(power) @ width) / band - 10 * torch.log10(total / band),
        _pitch(power.pow(2 / 3) * width, frequency),
    )
    return torch.stack(columns, -1).mean(1)


def a_weighting(frequency: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Return the gain of A-weighting in power (IEC 61672): 1 at 1 kHz."""
    square = frequency.square()
    below = (square + 20.6**2) * ((square + 107.7**2) * (square + 737.9**2)).sqrt()
    return 10**0.2 * (square.square() * 12194**2 / (below * (square + 12194**2))).square()


def _pitch(weight: Float[Tensor, "n t k"], frequency: Float[Tensor, " k"]) -> Float[Tensor, "n t"]:
    """Return the pitch in octaves over 1 Hz."""
    low, high = math.log2(_PITCHES[0]), math.log2(min(_PITCHES[1], float(frequency[-1]) / 2))
    octave = torch.linspace(low, high, max(2, round((high - low) * _AN_OCTAVE))).to(frequency)
    angle = math.pi * frequency[:, None] / 2**octave
    wave = torch.cos(2 * angle) - torch.cos(angle)
    correlation = (weight @ wave) / weight.sum(-1, keepdim=True)
    return torch.softmax(_SHARPNESS * (correlation + _OCTAVE_COST * octave), -1) @ octave
