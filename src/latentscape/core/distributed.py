"""The few collective operations that a batch statistic needs when several processes share one batch (DDP).

Alone in a process every function returns its argument, so objectives call them without asking.
"""

import torch
import torch.distributed as collective
from torch import Tensor


def world_size() -> int:
    """Return the number of processes that share a batch; 1 when there is no process group."""
    return collective.get_world_size() if collective.is_available() and collective.is_initialized() else 1


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate ``rows [b, ...]`` of all processes into ``[world * b, ...]``, in rank order, with gradients."""
    if world_size() == 1:
        return rows
    from torch.distributed.nn.functional import all_gather

    return torch.cat(list(all_gather(rows)), dim=0)


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over processes, with gradients."""
    if world_size() == 1:
        return value
    return gather_rows(value.reshape(1, *value.shape)).mean(dim=0)
