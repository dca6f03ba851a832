"""The Representation: a view of sound that can be turned back.

Letters: b batch, c channels, n samples, f features a frame, t frames.

A representation maps a wave ``[b, c, n]`` to features ``[b, f, t]`` and back. It holds no learnt state and no statistics
of a corpus; everything in it follows from its configuration. Its frame rate is ``sample_rate / hop`` in Hz, and
``frames(n)`` is the number of frames that ``n`` samples give, for every ``n >= 1``.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

Quality = Literal["live", "fast", "best"]


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
