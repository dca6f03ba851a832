r"""Which part of a recording is sound: pauses between notes are no part of what the notes sound like.

Letters: c channels, n samples, t frames of 23 ms; P_t a frame's power, all channels together; the *gate* is
:data:`GATE` under the mean power of all frames, the recording's own level.

A frame is silent where P_t is below the gate. Where less than :data:`LEAST` of a recording would be left, a click in
silence, its loudest frames make that up. A style's pauses count as style up to the share that the content has of its
own: speech keeps its pauses, while a vibraphone does not fall silent where a trumpet's player breathes. What is more is
cut out of the middle of the pauses, so that notes keep their decays.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float

GATE = -35.0
"""dB against the mean power."""
LEAST = 0.05
SECONDS = 0.023
FADE = 0.005
"""s, of the joint where a pause was shortened."""


def sounding(wave: Float[torch.Tensor, "c n"], sample_rate: int) -> Bool[torch.Tensor, " t"]:
    """Return which frames of a recording are sound; the last frame is filled up with nothing."""
    size = max(1, round(SECONDS * sample_rate))
    padded = torch.nn.functional.pad(wave.double(), (0, -wave.shape[1] % size))
    power = padded.square().mean(0).view(-1, size).mean(1)
    bound = power.mean() * 10 ** (GATE / 10)
    least = power.sort(descending=True).values[max(1, round(LEAST * len(power))) - 1]
    return power >= torch.minimum(bound, least)


def silent_share(wave: Float[np.ndarray, "c n"], sample_rate: int) -> float:
    """Return the share of a recording's frames that are silent."""
    return 1 - float(sounding(torch.from_numpy(np.ascontiguousarray(wave)), sample_rate).double().mean())


def with_pauses(wave: Float[np.ndarray, "c n"], sample_rate: int, share: float) -> Float[np.ndarray, "c m"]:
    """Return a recording whose pauses are shortened, all alike, so that no more than ``share`` of it is silent."""
    loud = sounding(torch.from_numpy(np.ascontiguousarray(wave)), sample_rate).numpy()
    silent = int((~loud).sum())
    wanted = min(silent, round(share * loud.sum() / max(1e-9, 1 - share)))
    if wanted == silent:
        return wave
    size = max(1, round(SECONDS * sample_rate))
    edges = np.flatnonzero(np.diff(np.concatenate(([True], loud, [True])).astype(int)))
    parts, place, owed = [], 0, 0.0
    for begin, end in edges.reshape(-1, 2):
        owed += (end - begin) * wanted / silent
        kept = round(owed)
        owed -= kept
        cut = begin + (kept + 1) // 2, end - kept // 2
        if cut[1] > cut[0]:
            parts.append(wave[:, place * size : cut[0] * size])
            place = cut[1]
    parts.append(wave[:, place * size :])
    return _joined([part for part in parts if part.shape[1]], round(FADE * sample_rate))


def _joined(parts: list[np.ndarray], fade: int) -> np.ndarray:
    """Join parts; the last samples of one go over into the first of the next."""
    whole = parts[0]
    for part in parts[1:]:
        over = min(fade, whole.shape[1], part.shape[1])
        share = (np.arange(over) + 0.5) / max(over, 1)
        mixed = whole[:, whole.shape[1] - over :] * (1 - share) + part[:, :over] * share
        whole = np.concatenate((whole[:, : whole.shape[1] - over], mixed, part[:, over:]), 1)
    return whole.astype(parts[0].dtype)
