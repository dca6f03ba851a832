r"""Cutting features into what a model takes, and joining what it gives.

Letters: f features a frame, T frames, L window length and s step in frames, m windows, w the cross-fade.

Window i covers frames ``i s ... i s + L - 1``. Joining is a weighted mean,

.. math:: F[t] = \frac{\sum_i w[t - i s]\, x_i[t - i s]}{\sum_i w[t - i s]}, \qquad
          w[j] = \sin^2 \frac{\pi (j + 1/2)}{L},

so that windows which agree where they overlap give back exactly what they were cut from. Frames (L = 1) are only put
one after the other.
"""

import torch
from jaxtyping import Num
from torch import Tensor


def count_windows(frames: int, length: int, step: int) -> int:
    """Return how many windows cover ``frames`` frames; at least one."""
    return max(0, -(-(frames - length) // step)) + 1


def cut(features: Num[Tensor, "f T"], length: int, step: int, filling: Num[Tensor, " f"]) -> Num[Tensor, "m ..."]:
    """Return the windows that cover all frames, ``[m, f]`` for L = 1, else ``[m, f, L]``; beyond the end is filling."""
    count = count_windows(features.shape[1], length, step)
    beyond = (count - 1) * step + length - features.shape[1]
    if beyond > 0:
        features = torch.cat((features, filling[:, None].expand(-1, beyond)), 1)
    windows = features.unfold(1, length, step)[:, :count].transpose(0, 1)
    return windows[..., 0] if length == 1 else windows


class Joiner:
    """Joins windows that arrive one after the other; frames come out as soon as they are settled."""

    def __init__(self, length: int, step: int) -> None:
        self.length, self.step = length, step
        self._tail: Tensor | None = None

    def push(self, windows: Tensor) -> Tensor:
        """Take the next windows ``[m, f]`` or ``[m, f, L]``; return the next ``m s`` frames ``[f, m s]``."""
        if self.length == 1:
            return windows.T
        place = torch.arange(self.length, dtype=torch.float32, device=windows.device)
        fade = torch.sin(torch.pi * (place + 0.5) / self.length).square()
        faded = torch.cat((windows * fade, fade.expand(len(windows), 1, -1)), 1)  # the last row sums up the weights
        end = (len(windows) - 1) * self.step + self.length
        columns = faded.flatten(1).T[None]
        total = torch.nn.functional.fold(columns, (1, end), (1, self.length), stride=(1, self.step))[0, :, 0]
        if self._tail is not None:
            total[:, : self.length - self.step] += self._tail
        settled = len(windows) * self.step
        self._tail = total[:, settled:].clone()
        return total[:-1, :settled] / total[-1:, :settled]

    def flush(self) -> Tensor | None:
        """Return the last ``L - s`` frames ``[f, L - s]``; ``None`` where there are none."""
        if self._tail is None or not self._tail.shape[1]:
            return None
        return self._tail[:-1] / self._tail[-1:]
