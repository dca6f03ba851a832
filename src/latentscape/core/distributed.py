"""The few collective operations that a batch statistic needs when several processes share one batch (DDP).

Alone in a process every function returns its argument, so objectives call them without asking.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as collective
from torch import Tensor

_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Within, this process counts as the only one: one rank can validate while the others wait."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def world_size() -> int:
    """Return the number of processes that share a batch; 1 when there is no process group, or within :func:`alone`."""
    if _alone:
        return 1
    return collective.get_world_size() if collective.is_available() and collective.is_initialized() else 1


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate ``rows [b, ...]`` of all processes into ``[world * b, ...]``, in rank order, with gradients."""
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def own_rows(rows: Tensor, size: int) -> Tensor:
    """Return this process's ``size`` rows of those that :func:`gather_rows` joined; none where sizes differ."""
    count = world_size()
    if len(rows) != count * size:
        return rows[:0]
    return rows if count == 1 else rows.narrow(0, collective.get_rank() * size, size)


class _Gather(torch.autograd.Function):
    """All rows to all processes; a row's gradient is the sum of what all processes send it."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:  # pyrefly: ignore
        context.size = rows.shape[0]
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
        collective.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # pyrefly: ignore
        total = gradient.contiguous().clone()
        collective.all_reduce(total)
        return total.narrow(0, collective.get_rank() * context.size, context.size)


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over processes, with gradients."""
    if world_size() == 1:
        return value
    return gather_rows(value.reshape(1, *value.shape)).mean(dim=0)
