"""The few collective operations that a batch statistic needs when several processes share one batch (DDP).

Alone in a process every function returns its argument, so objectives call them without asking.
"""

from collections.abc import Iterator
from contextlib import contextmanager

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
    from torch.distributed.nn.functional import all_gather

    return torch.cat(list(all_gather(rows)), dim=0)


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over processes, with gradients."""
    if world_size() == 1:
        return value
    return gather_rows(value.reshape(1, *value.shape)).mean(dim=0)
