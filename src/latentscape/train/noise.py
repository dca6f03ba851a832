"""Several processes, one process's noise.

Letters: w world size, r rank, b local rows; the global batch has w b rows and rank r holds rows r b to (r + 1) b.

One process draws noise for w b rows at once. A process that draws only its b rows would consume its generator
differently, and with one seed everywhere all ranks would see the *same* noise. So within :class:`GlobalNoise` every
random operation whose shape leads with ``[b, ...]`` or ``[k, b, ...]`` is drawn for the global batch, from the same
seed on every rank, and this rank's rows are kept: losses then equal those of one process up to the order of summation.
Any other shape (a weight mask, random projections) is drawn as it is, the same on every rank, as one process would.

Torch tags every operation that reads the global generator, so none is overlooked: one that this file can't draw
globally is an error and not silently other noise. Draws from a ``torch.Generator`` of one's own are left alone: who
made it chose its seed. Cost: w times the noise and a few microseconds an operation, only when w > 1.

An axis that equals b by chance (``[k, d]`` with k = b) is taken for the batch; noise is then right in distribution, but
not one process's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from latentscape.core.errors import UsageError

aten = torch.ops.aten
IN_PLACE = {aten.normal_, aten.uniform_, aten.exponential_, aten.log_normal_, aten.cauchy_}
LIKE = {aten.rand_like, aten.randn_like}
SIZED = {aten.rand, aten.randn}
SEEDED = torch.Tag.nondeterministic_seeded


class GlobalNoise(TorchDispatchMode):
    """Within, random operations give this rank's rows of one process's draw (see the module's text).

    Args:
        rows: b, rows of this rank.
        rank: r.
        world: w.
    """

    def __init__(self, rows: int, rank: int, world: int) -> None:
        super().__init__()
        self.rows, self.rank, self.world = rows, rank, world

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Draw globally where ``func`` is random."""
        kwargs = dict(kwargs or {})
        if SEEDED not in func.tags or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in SIZED:
            return self._draw(args[0], lambda shape: func(shape, *args[1:], **kwargs))
        if packet in LIKE:
            return self._draw(args[0].shape, lambda shape: func(args[0].new_empty(shape), *args[1:], **kwargs))
        if packet in IN_PLACE or func is aten.bernoulli_.float:
            return args[0].copy_(
                self._draw(args[0].shape, lambda shape: func(args[0].new_empty(shape), *args[1:], **kwargs))
            )
        if func is aten.bernoulli.default:
            everyone = self._draw(args[0].shape, lambda shape: torch.rand(shape, device=args[0].device))
            return (everyone < args[0]).to(args[0].dtype)
        if func is aten.native_dropout.default:  # what dropout is on CUDA
            x, p = args[0], args[1]
            kept = self._draw(x.shape, lambda shape: x.new_empty(shape).bernoulli_(1 - p))
            return x * kept / (1 - p), kept.bool()
        raise UsageError(
            f"several processes can't repeat one process's draw of '{packet}'; use train.devices=1, "
            "or draw it from a torch.Generator of its own"
        )

    def _draw(self, shape: Sequence[int], draw: Callable[[list[int]], Tensor]) -> Tensor:
        shape = list(shape)
        axis = next((axis for axis in (0, 1) if len(shape) > axis and shape[axis] == self.rows), None)
        if axis is None:
            return draw(shape)
        whole = draw([n * self.world if i == axis else n for i, n in enumerate(shape)])
        return whole.narrow(axis, self.rank * self.rows, self.rows).contiguous()
