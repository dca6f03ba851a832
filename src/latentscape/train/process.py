"""Devices and processes: Fabric as this project uses it, and the way into several processes.

Fabric takes seconds to import, so that it is imported where training begins, after all that may be refused has been.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.multiprocessing.spawn import ProcessRaisedException

from latentscape.core import errors
from latentscape.core.errors import ConfigError, LatentscapeError
from latentscape.train.config import TrainConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Result = TypeVar("Result")


def check_devices(config: TrainConfig) -> None:
    """Refuse what this machine can't do.

    Raises:
        ConfigError: it lacks the accelerator, or the batch can't be shared evenly.
    """
    if config.batch_size % config.devices:
        raise ConfigError(f"train.batch_size: {config.batch_size} can't be shared evenly by {config.devices} processes")
    ready = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if not ready.get(config.accelerator, lambda: True)():
        raise ConfigError(f"train.accelerator: '{config.accelerator}' is not available here; use auto or cpu")


def fabric_of(config: TrainConfig) -> "Fabric":
    """Return Fabric for a configuration; with several devices it still has to be launched.

    Raises:
        ConfigError: as :func:`check_devices`.
    """
    check_devices(config)
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    from latentscape.train.precision import Autocast

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces each process
    # A warm-up or a switch may leave a parameter unused for a while, which DDP must be told to expect.
    several = DDPStrategy(start_method="spawn", find_unused_parameters=True)
    return Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        strategy=several if config.devices > 1 else "auto",
        plugins=[Autocast()],
    )


def launch(config: TrainConfig, work: Callable[["Fabric"], Result]) -> Result:
    """Run ``work(fabric)`` in every process of a configuration and return rank 0's result.

    With one device that is a plain call. With several, ``work`` and its result travel between processes, so ``work``
    must be picklable (a function of a module, or an instance of a class of one) and should open its data itself, by
    path; a script that calls this needs the usual ``if __name__ == "__main__"`` guard.

    Args:
        config: devices and accelerator.
        work: called once in each process; only ``fabric.global_rank == 0`` should write.

    Raises:
        LatentscapeError: ``work`` raised it, in whichever process.
    """
    fabric = fabric_of(config)
    if config.devices == 1:
        return work(fabric)
    failures = multiprocessing.get_context("spawn").SimpleQueue()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns when no parameter was left unused after all
    with _forwarded_signals():
        try:
            sealed = fabric.launch(_run, work, failures)  # pyrefly: ignore
        except ProcessRaisedException as error:
            if failures.empty():
                raise
            kind, message = failures.get()
            raise getattr(errors, kind, LatentscapeError)(message) from error
    return sealed.result


class _Sealed:
    """Carries a result through Fabric, which would take a frozen record apart and fail."""

    def __init__(self, result: Any) -> None:
        self.result = result


def _run(fabric: "Fabric", work: Callable[["Fabric"], Any], failures: Any) -> _Sealed:
    try:
        return _Sealed(work(fabric))
    except LatentscapeError as error:
        failures.put((type(error).__name__, str(error)))
        raise


@contextmanager
def _forwarded_signals() -> Iterator[None]:
    """Let the workers end by themselves: a terminal's Ctrl-C reaches them directly, a SIGTERM is passed on."""

    def forward(number: int, frame: object) -> None:
        for child in multiprocessing.active_children():
            child.terminate()

    with handled({signal.SIGINT: lambda number, frame: None, signal.SIGTERM: forward}):
        yield


@contextmanager
def handled(handlers: dict[signal.Signals, Callable[[int, Any], None]]) -> Iterator[None]:
    """Install signal handlers within; outside the main thread, where Python allows none, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stop:
    """Whether somebody asked the run to end. The first Ctrl-C (or SIGTERM) asks; the second aborts at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Listen to SIGINT and SIGTERM within."""

        def ask(number: int, frame: object) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        with handled({signal.SIGINT: ask, signal.SIGTERM: ask}):
            yield self
