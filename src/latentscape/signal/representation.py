"""The Representation: a view of sound that can be turned back.

Letters: b batch, c channels, n samples, f features a frame, t frames.

A representation maps a wave ``[b, c, n]`` to features ``[b, f, t]`` and back. It holds no learnt state and no
statistics of a corpus; everything in it follows from its configuration. Its frame rate is ``sample_rate / hop`` in
Hz, and ``frames(n)`` is the number of frames that ``n`` samples give, for every ``n >= 1``.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Num
from pydantic import Field
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError, DataError
from latentscape.signal.audio import HIGHEST_RATE

Quality = Literal["live", "fast", "best"]
LEAST_DENSITY = 1e-30
"""Added to a power density before its root is taken, which has no slope at zero."""


class SoundConfig(Record):
    """What every representation's configuration has.

    Attributes:
        sample_rate: Hz; ``None`` is the corpus's and must be resolved before a representation is built.
        channels: channels of the wave.
    """

    sample_rate: int | None = Field(default=None, ge=1, le=HIGHEST_RATE)
    channels: int = Field(default=1, ge=1)


class LiveSynthesiser(ABC):
    """Turns frames into sound as they arrive; all memory is in an explicit state, which is never changed in place.

    The samples of all pushes and of the flush, one after the other, are the ``t * hop`` samples that
    ``synthesise(features, quality="live")`` gives, however the frames are cut into pushes.

    Attributes:
        latency: samples by which the sound that has come out lags ``hop`` times the frames that went in.
    """

    latency: int

    @abstractmethod
    def initial(self, batch: int = 1) -> Any:
        """Return the state before the first frame of ``batch`` sounds."""

    @abstractmethod
    def push(self, frames: Num[Tensor, "b f t"], state: Any) -> tuple[Float[Tensor, "b c n"], Any]:
        """Take one frame or more; return the samples that are settled by now, and the next state."""

    @abstractmethod
    def flush(self, state: Any) -> Float[Tensor, "b c n"]:
        """Return what is left after the last frame."""


class Representation(ABC):
    """A view of sound that can be turned back.

    Attributes:
        sample_rate: Hz.
        channels: number of channels ``c``.
        frame_size: features a frame, ``f`` (channels are folded into it: ``f = c * features of one channel``).
        hop: samples a frame.
        streamable: whether blocks, analysed or synthesised one after the other, equal the whole.
        round_trip: declared error of ``synthesise(analyse(wave))`` against ``wave``: the least signal-to-noise ratio in
            dB for exact representations; for those that drop the phase, the greatest spectral convergence in dB
            (see :func:`latentscape.signal.phase.spectral_convergence`). The law tests hold it to this.
        drops_phase: whether ``round_trip`` is a spectral convergence instead of a signal-to-noise ratio.
        dtype: of the features, float32 or int64 (codes).
    """

    sample_rate: int
    channels: int
    frame_size: int
    hop: int
    streamable: ClassVar[bool] = False
    round_trip: ClassVar[float]
    drops_phase: ClassVar[bool] = False
    dtype: ClassVar[torch.dtype] = torch.float32

    def __init__(self, config: SoundConfig) -> None:
        if config.sample_rate is None:
            kind = getattr(config, "kind", type(config).__name__)
            raise ConfigError(f"representation {kind}: sample_rate is not set; give it in Hz or take the corpus's")
        self.sample_rate = config.sample_rate
        self.channels = config.channels

    @property
    def frame_rate(self) -> float:
        """Frames a second, Hz."""
        return self.sample_rate / self.hop

    @property
    def floor(self) -> float | None:
        """The least value a feature can take, in the features' own unit; ``None`` where there is none."""
        return None

    @abstractmethod
    def frames(self, n: int) -> int:
        """Return how many frames ``n`` samples (at least 1) give."""

    @abstractmethod
    def analyse(self, wave: Float[Tensor, "b c n"]) -> Num[Tensor, "b f t"]:
        """Turn a wave (full scale is 1) into features."""

    @abstractmethod
    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Turn features into a wave of ``length`` samples (default ``t * hop``).

        ``quality`` matters where the phase is recovered: ``live`` uses the causal synthesiser, ``fast`` one
        non-iterative pass over the whole signal, ``best`` refines it. Exact representations ignore it.
        """

    def live(self) -> LiveSynthesiser | None:
        """Return the causal synthesiser; ``None`` where the representation needs the whole sound."""
        return None

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]] | None:
        r"""Return the root of the power density (of several channels, their mean) and its frequencies in Hz, ascending.

        Frequencies :math:`f_k` may be unevenly apart. Sums over them take the widths :math:`w_k` that
        :func:`widths` gives: :math:`\sum_k p_k w_k`, p the square of what is returned, is about the mean square of the
        sound (1/2 for a full-scale sine). Gradients flow. ``u`` is t, or 1 where the features are samples: one spectrum
        of all of them. ``None`` where features have no spectrum that can be differentiated.
        """
        return None

    def check_wave(self, wave: Tensor) -> None:
        """Refuse a wave that has no samples or another number of channels.

        Raises:
            DataError: see above.
        """
        if wave.shape[1] != self.channels or wave.shape[2] < 1:
            expected = f"[b, {self.channels}, n >= 1]"
            raise DataError(f"{type(self).__name__} got a wave of shape {list(wave.shape)}, expected {expected}")

    def check_features(self, features: Tensor) -> None:
        """Refuse features with no frames or of another frame size.

        Raises:
            DataError: see above.
        """
        if features.shape[1] != self.frame_size or features.shape[2] < 1:
            expected = f"[b, {self.frame_size}, t >= 1]"
            raise DataError(f"{type(self).__name__} got features of shape {list(features.shape)}, expected {expected}")


def widths(frequencies: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Return the stretch in Hz that each of ascending frequencies stands for: half the way to either neighbour."""
    edges = torch.cat((frequencies[:1], (frequencies[1:] + frequencies[:-1]) / 2, frequencies[-1:]))
    return edges.diff()


def fit_length(wave: Float[Tensor, "b c n"], length: int | None) -> Float[Tensor, "b c m"]:
    """Cut a wave to ``length`` samples, or fill it up with zeros; ``None`` leaves it as it is."""
    if length is None or length == wave.shape[-1]:
        return wave
    if length < wave.shape[-1]:
        return wave[..., :length]
    return torch.nn.functional.pad(wave, (0, length - wave.shape[-1]))


def fold(rows: Num[Tensor, "r f t"], channels: int) -> Num[Tensor, "b cf t"]:
    """Put the channels of a sound, which are rows, one after the other into its features."""
    return rows.unflatten(0, (-1, channels)).flatten(1, 2)


def unfold(features: Num[Tensor, "b cf t"], channels: int) -> Num[Tensor, "r f t"]:
    """Undo :func:`fold`."""
    return features.unflatten(1, (channels, -1)).flatten(0, 1)
