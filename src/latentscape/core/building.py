"""Building a module of a stranger's configuration: no more memory is taken than the weights that came with it bear out.

A configuration may ask for any width and any depth. While it is built, every tensor and every parameter is weighed
before anything is written into its memory. First weights are not drawn: what is read replaces them.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from latentscape.core.errors import StorageError
from latentscape.core.storage import load_weights

SLACK = 2**24
"""Numbers that a module may hold beyond its file's: smaller misfits are left to the comparison, tensor by tensor."""
MORE = 1000
"""Parameters likewise."""
DRAWN = (Tensor.normal_, Tensor.uniform_)
SIZED = (torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand, torch.arange, Tensor.clone)

M = TypeVar("M", bound=nn.Module)


def built(build: Callable[[], M], tensors: Mapping[str, Tensor], path: Path) -> M:
    """Build a module and copy tensors into it.

    Args:
        build: makes the module.
        tensors: all that it holds.
        path: the file that they came from, to be named.

    Raises:
        StorageError: they don't fit the module; one much larger than they are is not built at all.
    """
    numbers = sum(tensor.numel() for tensor in tensors.values()) + SLACK

    def refuse(what: str) -> StorageError:
        return StorageError(f"{path} does not fit the model: it holds {numbers - SLACK} numbers, the model {what}")

    try:
        with _Weighing(numbers, refuse), _counted(numbers, len(tensors) + MORE, refuse):
            module = build()
    except (RuntimeError, OverflowError, MemoryError) as error:  # sizes that are beyond all counting
        reason = str(error).partition("\n")[0]
        raise StorageError(f"{path} does not fit the model, which can't be built: {reason}") from error
    load_weights(module, tensors, path)
    return module


class _Weighing(TorchFunctionMode):
    """Within, no tensor of more numbers is made, and none is drawn in place."""

    def __init__(self, numbers: int, refuse: Callable[[str], StorageError]) -> None:
        super().__init__()
        self.numbers, self.refuse = numbers, refuse

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func in DRAWN:
            return args[0]
        if func in SIZED and (wanted := _numbers(func, args)) > self.numbers:
            raise self.refuse(f"a tensor of {wanted}")
        return func(*args, **(kwargs or {}))


def _numbers(func: Any, args: tuple[Any, ...]) -> int:
    """Return how many numbers a tensor would hold."""
    if func is torch.arange:
        return int(max(map(abs, args), default=0))
    if func is Tensor.clone:  # of one that is spread over a larger shape, it may be
        return args[0].numel()
    sizes = args[0] if args and isinstance(args[0], tuple | list) else args
    return math.prod(size for size in sizes if isinstance(size, int))


@contextmanager
def _counted(numbers: int, parameters: int, refuse: Callable[[str], StorageError]) -> Iterator[None]:
    """Within, modules register no more parameters, and those hold no more numbers together."""
    count = total = 0

    def weigh(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count, total
        if isinstance(parameter, Tensor):
            count, total = count + 1, total + parameter.numel()
        if count > parameters or total > numbers:
            raise refuse(f"more than {total} numbers in {count} tensors")

    handle = register_module_parameter_registration_hook(weigh)
    try:
        yield
    finally:
        handle.remove()
