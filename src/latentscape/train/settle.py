r"""What is decided once, by timing real steps, before a run begins: threads, precision, and minutes into steps.

Letters: T the time allowed, t the median time of a step with its batch, v the time of a validation, m their number,
k the share that checkpoints add. Then

.. math:: S = \left\lfloor \frac{T / (1 + k) - m v}{t} \right\rfloor

A count extrapolated from a few steps misses when the machine's load changes, so t is the median over at least 20 steps
and at least 2 % of the time allowed (at most 10 s). It is never estimated again: schedule and ``--resume`` need one S.
The steps taken for timing are undone.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from latentscape.core.distributed import alone
from latentscape.core.errors import ConfigError
from latentscape.models.model import Model
from latentscape.train.checkpoint import Checkpoints, Position
from latentscape.train.config import DEFAULT_STEPS, Settled
from latentscape.train.learner import Learner

Batch = tuple[Tensor, Mapping[str, Tensor]]
Batches = Callable[[int], Batch]
Validate = Callable[[Model], Mapping[str, float]]
Choice = TypeVar("Choice")

VALIDATIONS = 25
VALIDATION_SHARE = 0.2
CHECKPOINT_SHARE = 0.02


def settle(learner: Learner, batches: Batches, validate: Validate | None, checkpoints: Checkpoints) -> Settled:
    """Decide threads, precision and number of steps (see the module's text); the learner is left as it was.

    Rank 0's clock decides for all processes.
    """
    began = time.perf_counter()
    config, fabric = learner.config, learner.fabric
    on_cpu = fabric.device.type == "cpu"
    before = {name: tensor.detach().clone() for name, tensor in learner.tensors().items()}
    batch = batches(0)

    def seconds(index: int) -> float:
        start = time.perf_counter()
        learner.update(index, *moved(batch, fabric.device))
        _finish(fabric.device)
        return time.perf_counter() - start

    threads = config.threads
    if threads == "auto" and on_cpu and fabric.world_size == 1:
        candidates = thread_counts()
        threads = quickest(candidates, torch.set_num_threads, seconds, gain=0.05) if len(candidates) > 1 else 1
    elif threads == "auto":
        threads = max(1, thread_counts()[-1] // fabric.world_size) if on_cpu else torch.get_num_threads()
    torch.set_num_threads(threads)

    def choose(on: bool) -> None:
        learner.autocast.on = on

    bf16 = config.precision == "bf16"
    if bf16 and on_cpu and (why := _fails(choose, seconds)):
        raise ConfigError(
            f"train.precision: got 'bf16', but a layer of this model has none on this processor ({why}); use 32 or auto"
        )
    if config.precision == "auto" and fabric.device.type == "cuda":
        bf16 = has_bf16()
    elif config.precision == "auto" and on_cpu and fabric.world_size == 1:
        bf16 = not _fails(choose, seconds) and quickest([False, True], choose, seconds, gain=0.1)
    learner.autocast.on = bf16

    max_steps = config.max_steps or DEFAULT_STEPS
    settled = Settled(
        config=config,
        max_steps=max_steps,
        validate_every=config.validate_every or max(1, max_steps // VALIDATIONS),
        precision="bf16" if bf16 else "32",
        threads=threads,
        device=str(fabric.device),
    )
    if config.minutes is not None:
        settled = _steps_for(settled, began, learner, batches, validate, checkpoints)
    learner.load(before)
    return settled


def has_bf16() -> bool:
    """Return whether the GPU computes in bf16; by itself torch also counts those that emulate it in 32 bits."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _fails(choose: Callable[[bool], None], seconds: Callable[[int], float]) -> str:
    """Return why no step can be taken in bf16, if so: some layers (an LSTM, say) have none on some processors."""
    choose(True)
    try:
        seconds(0)
    except RuntimeError as error:
        return f"{error}".partition("\n")[0] or type(error).__name__
    return ""


def _steps_for(
    settled: Settled,
    began: float,
    learner: Learner,
    batches: Batches,
    validate: Validate | None,
    checkpoints: Checkpoints,
) -> Settled:
    """Turn minutes into steps; a validation and a checkpoint are tried once to know what they take."""
    config, fabric = settled.config, learner.fabric
    allowed = 60 * (config.minutes or 0)

    def whole_step(index: int) -> float:
        start = time.perf_counter()
        learner.update(index, *moved(batches(index), fabric.device))
        _finish(fabric.device)
        return time.perf_counter() - start

    for index in range(5):
        whole_step(index)
    samples: list[float] = []
    while fabric.broadcast(len(samples) < 20 or sum(samples) < min(0.02 * allowed, 10.0)):
        samples.append(whole_step(5 + len(samples)))
    step = median(samples)
    start = time.perf_counter()
    if validate is not None and fabric.is_global_zero:
        with learner.evaluating() as model, alone():
            validate(model)
    validation = time.perf_counter() - start
    share = 0.0
    if fabric.is_global_zero:
        checkpoints.save(Position(), learner.tensors())
        checkpoints.clear()
        interval = max(config.checkpoint_seconds, checkpoints.save_seconds / CHECKPOINT_SHARE)
        share = checkpoints.save_seconds / interval
    left = (allowed - (time.perf_counter() - began)) / (1 + share)
    steps, every = steps_within(left, step, validation, config.validate_every, config.max_steps)
    steps, every, step = fabric.broadcast((steps, every, step))
    return settled.model_copy(update={"max_steps": steps, "validate_every": every, "step_seconds": step})


def steps_within(
    left: float, step: float, validation: float, validate_every: int | None, most: int | None = None
) -> tuple[int, int]:
    """Return how many steps fit into ``left`` seconds, and the steps between validations.

    Args:
        left: seconds for steps and validations.
        step: seconds of a step.
        validation: seconds of a validation.
        validate_every: steps between validations; ``None`` gives 25, fewer where they would take over a fifth.
        most: steps that are wanted at most.
    """
    if validate_every is not None:
        steps = max(1, int((left - validation) / (step + validation / validate_every)))
        return min(steps, most or steps), validate_every
    count = min(VALIDATIONS, max(1, int(VALIDATION_SHARE * left / max(validation, 1e-9))))
    steps = max(1, int((left - count * validation) / step))
    steps = min(steps, most or steps)
    return steps, -(-steps // count)


def quickest(
    choices: Sequence[Choice], choose: Callable[[Choice], object], seconds: Callable[[int], float], gain: float
) -> Choice:
    """Return the choice with the quickest steps; a later one has to be quicker by the share ``gain``.

    Choices are timed in turns (three rounds, fewer when they pass 6 s), so that a change of load meets them all.
    """
    times: dict[int, list[float]] = {i: [] for i in range(len(choices))}
    began = time.perf_counter()
    for _ in range(3):
        for i, choice in enumerate(choices):
            choose(choice)
            seconds(0)  # the first step after a change pays for it
            times[i] += [seconds(index) for index in range(1, 4)]
        if time.perf_counter() - began > 6.0:
            break
    best = 0
    for i in range(1, len(choices)):
        if median(times[i]) < (1 - gain) * median(times[best]):
            best = i
    choose(choices[best])
    return choices[best]


def thread_counts() -> list[int]:
    """Return the thread counts worth trying: powers of two up to the cores that this process may use, and those."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return sorted({2**i for i in range(cores.bit_length()) if 2**i <= min(cores, 16)} | {min(cores, 16)})


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on the device."""
    if device.type == "cpu":
        return batch
    x, context = batch
    return x.to(device, non_blocking=True), {k: v.to(device, non_blocking=True) for k, v in context.items()}


def _finish(device: torch.device) -> None:
    """Wait for the device, so that the clock measures work and not its order."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
