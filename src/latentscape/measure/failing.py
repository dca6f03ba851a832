r"""How a model that draws sample after sample fails: it falls silent, or runs away into noise.

Letters: frames of 100 ms, P power spectrum of a frame, averaged over pieces of 256 samples (Hann, half overlapped),
v = geometric mean of P / arithmetic mean of P, the spectral flatness: 1 for white noise, near 0 for a tone.

A frame is *silent* below -60 dBFS (its mean taken off), and *noise* where v > 0.6 within 20 dB of the sound's loudest
frame. A sound has failed where nine frames in ten are silent, where it ends in so long a silence that is more than half
of it, or where more than half of its frames are noise. Bands of noise that are part of a sound (breath, sibilants) are
coloured, and pass. A sound beyond all numbers (NaN, infinity) has run away, too, however short: it counts as noise.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Failure = Literal["silence", "noise"]
FAILURES: tuple[Failure, ...] = ("silence", "noise")
FRAME_SECONDS = 0.1
PIECE = 256
SILENT_DB = -60.0
FLAT = 0.6
NEAR_DB = 20.0


def failing(wave: Float[Tensor, "c n"], sample_rate: int) -> Failure | None:
    """Return how a sound has failed, or ``None``; one shorter than two frames is not judged."""
    if not bool(wave.isfinite().all()):
        return "noise"
    size = max(PIECE, round(FRAME_SECONDS * sample_rate))
    count = wave.shape[1] // size
    if count < 2:
        return None
    frames = wave.mean(0)[: count * size].reshape(count, size)
    frames = frames - frames.mean(1, keepdim=True)
    level = 10 * frames.square().mean(1).clamp_min(1e-20).log10()
    silent = level < SILENT_DB
    sounding = torch.nonzero(~silent)[:, 0]
    rest = count - 1 - int(sounding[-1]) if len(sounding) else count
    if 10 * int(silent.sum()) >= 9 * count or rest > count / 2:
        return "silence"
    noise = (flatness(frames) > FLAT) & (level > level.max() - NEAR_DB)
    return "noise" if float(noise.float().mean()) > 0.5 else None


def flatness(frames: Float[Tensor, "m n"]) -> Float[Tensor, " m"]:
    """Return the spectral flatness v of frames."""
    pieces = frames.unfold(1, PIECE, PIECE // 2) * torch.hann_window(PIECE)
    power = torch.fft.rfft(pieces).abs().square().mean(1)[:, 1:-1].clamp_min(1e-20)
    return power.log().mean(1).exp() / power.mean(1)
