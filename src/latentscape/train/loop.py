"""The training loop. Read :func:`fit` first.

Letters: s optimiser steps done. Batch, noise and learning rate of the step after s are functions of (seed, s), and a
checkpoint holds the rest, so a run that was killed and resumed ends, on the CPU with the same number of threads, with
the same weights to the bit.

The loop knows nothing of sound, data or measures: batches, validation and call-backs are arguments.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from latentscape.core.distributed import alone
from latentscape.core.errors import UsageError, nearest
from latentscape.core.storage import load_tensors, load_weights, save_tensors
from latentscape.models.model import Loss, Model, Step
from latentscape.train.checkpoint import Checkpoints, Position
from latentscape.train.config import Settled, TrainConfig, continued
from latentscape.train.journal import Journal, Row
from latentscape.train.learner import Learner
from latentscape.train.process import Stop, fabric_of
from latentscape.train.progress import Bar
from latentscape.train.settle import CHECKPOINT_SHARE, Batches, Validate, moved, settle

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Reason = Literal["finished", "patience", "interrupted", "diverged"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        reason: all steps done, no improvement for ``patience`` validations, stopped by the user, or not finite.
        step: steps done.
        best_step: step of the best validation (0: there was none).
        seconds: training time over all lives of the run.
        history: the rows of ``metrics.jsonl``.
        settled: threads, precision and number of steps, as decided at the start.
        message: one sentence for the user.
    """

    reason: Reason
    step: int
    best_step: int
    seconds: float
    history: tuple[Row, ...]
    settled: Settled
    message: str


@dataclass(frozen=True)
class Moment:
    """What a call-back sees after each validation, in the first process.

    Attributes:
        step: steps done.
        model: with its averaged weights, in evaluation mode.
        metrics: what the validation gave.
        board: TensorBoard's ``SummaryWriter``, or ``None``.
    """

    step: int
    model: Model
    metrics: Mapping[str, float]
    board: Any


def fit(
    step: Step,
    batches: Batches,
    validate: Validate | None,
    config: TrainConfig,
    run: Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callable[[Moment], None]] = (),
    progress: bool = True,
    monitor: str = "loss",
    fabric: "Fabric | None" = None,
) -> Outcome:
    """Train ``step`` in place and leave its kept weights both in ``step.model`` and in ``run/weights.safetensors``.

    Args:
        step: model and objective.
        batches: the batch of step s, a pure function of s: x ``[b, *event]`` and context, this process's rows.
        validate: named numbers for the model as it stands; ``None`` never validates. With several processes only the
            first calls it.
        config: how to train.
        run: folder for ``metrics.jsonl``, ``checkpoint/``, ``weights.safetensors`` and ``tensorboard/``.
        resume: go on from the last checkpoint; without one, start over by what was settled.
        callbacks: called after each validation.
        progress: show a bar, or lines where there is no terminal.
        monitor: the validation value that ``patience`` and ``keep`` go by; lower is better. It must not depend on the
            step by itself (a loss under warm-up does).
        fabric: from :func:`~latentscape.train.process.launch`; ``None`` for one process.

    Raises:
        UsageError: the run already has a checkpoint and is not to be resumed, or ``monitor`` is not among the values.
        ConfigError: resumed with another configuration.
        StorageError: a checkpoint is damaged, or can't be written.
    """
    fabric = fabric or fabric_of(config)
    first = fabric.is_global_zero
    checkpoints = Checkpoints(run)
    if checkpoints.folder.exists() and not resume and first:
        raise UsageError(f"{run} already holds a training run; resume it, or choose another folder")
    with ExitStack() as stack:
        stack.enter_context(_globals_restored(fabric.device))
        stop = stack.enter_context(Stop().listening())
        learner = Learner(step.train(), config, fabric)
        settled = checkpoints.settled() if resume else None
        state = checkpoints.load() if settled is not None else None
        if settled is None:
            settled = settle(learner, batches, validate, checkpoints)
        settled = continued(settled, config)
        learner.obey(settled)
        position = Position()
        if state is not None:
            position, tensors = state
            learner.load(tensors)
        fabric.barrier()  # all have read what the first now writes
        if first:
            checkpoints.settle(settled)
        journal = Journal(run / "metrics.jsonl" if first else None, position.step)
        bar = stack.enter_context(Bar(settled.max_steps, position.step, shown=progress and first))
        board = stack.enter_context(_board(run, position.step, first and config.tensorboard))
        loop = _Loop(learner, settled, checkpoints, journal, bar, board, position, monitor)
        return loop.end(loop.run(batches, validate, callbacks, stop), run)


class _Loop:
    """The loop's state beside the learner's: where it stands, and the values since the last row."""

    def __init__(
        self,
        learner: Learner,
        settled: Settled,
        checkpoints: Checkpoints,
        journal: Journal,
        bar: Bar,
        board: Any,
        position: Position,
        monitor: str,
    ) -> None:
        self.learner, self.settled, self.checkpoints, self.monitor = learner, settled, checkpoints, monitor
        self.journal, self.bar, self.board = journal, bar, board
        self.fabric, self.config = learner.fabric, settled.config
        self.position = position
        self.sums = {name: torch.tensor(v, device=self.fabric.device) for name, v in position.pending.items()}
        self.saved_step = -1
        self.healthy_step = position.step
        self.began = self.saved_at = time.monotonic()

    def run(
        self,
        batches: Batches,
        validate: Validate | None,
        callbacks: Sequence[Callable[[Moment], None]],
        stop: Stop,
    ) -> Reason:
        """Train until there is a reason not to."""
        config, last = self.config, self.settled.max_steps
        step = self.position.step
        while step < last and not self._out_of_patience():
            loss = self.learner.update(step, *moved(batches(step), self.fabric.device))
            if loss is None:
                return "diverged"
            step += 1
            self._take(step, loss)
            self.bar.at(step)
            row_due = step % config.log_every == 0 or step == last
            validation_due = validate is not None and (step % self.settled.validate_every == 0 or step == last)
            save_due = config.checkpoint_every is not None and step % config.checkpoint_every == 0
            asked = self._agreed(stop, step)
            if (row_due or validation_due or save_due or asked) and not self._healthy():
                return "diverged"
            if row_due:
                self._write("train", self._means())
            if validate is not None and validation_due:
                self._validate(validate, callbacks)
            if save_due or asked or (row_due and self._clock_due()):
                self.save()
            if asked:
                return "interrupted"
        return "patience" if step < last else "finished"

    def _take(self, step: int, loss: Loss) -> None:
        """Add a step's values to the sums since the last row."""
        values = loss.log | {"loss": loss.total.detach()}
        if self.sums:
            torch._foreach_add_(list(self.sums.values()), [values[name].float() for name in self.sums])
        else:
            self.sums = {name: value.detach().float().clone() for name, value in values.items()}
        self._move(step=step, pending_steps=self.position.pending_steps + 1)

    def _means(self) -> dict[str, float]:
        """Return the means since the last row, over all processes, and begin anew."""
        means = {name: value / self.position.pending_steps for name, value in self._sums().items()}
        self.sums = {}
        self._move(pending_steps=0)
        return means | {"learning_rate": self.learner.rate, "seconds": self._seconds()}

    def _sums(self) -> dict[str, float]:
        if not self.sums:
            return {}
        values = self.fabric.all_reduce(torch.stack(list(self.sums.values())), reduce_op="mean")
        return dict(zip(self.sums, values.tolist(), strict=True))  # type: ignore[union-attr]

    def _validate(self, validate: Validate, callbacks: Sequence[Callable[[Moment], None]]) -> None:
        """Validate and call back in the first process; all of them learn what came of it."""
        position = self.position
        if self.fabric.is_global_zero:
            with self.learner.evaluating() as model, alone():
                metrics = dict(validate(model))
                if self.monitor not in metrics:
                    raise UsageError(f"validation gives no '{self.monitor}' to go by{nearest(self.monitor, metrics)}")
                self._write("valid", metrics)
                value = metrics[self.monitor]
                if math.isfinite(value) and (position.best is None or value < position.best):
                    if self.config.keep == "best":
                        save_tensors(self.checkpoints.best_path(position.step), model.state_dict())
                    self._move(best=value, best_step=position.step, waited=0)
                else:
                    self._move(waited=position.waited + 1)
                for callback in callbacks:
                    callback(Moment(position.step, model, metrics, self.board))
        self.position = self.fabric.broadcast(self.position)

    def _write(self, part: str, values: Mapping[str, float]) -> None:
        """Write a row, show it and draw it."""
        row = self.journal.add(self.position.step, part, values)
        shown = {"loss": "loss"} if part == "train" else {self.monitor: f"valid {self.monitor}"}
        self.bar.note({text: row[name] for name, text in shown.items() if row.get(name) is not None})
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{part}/{name}", value, self.position.step)

    def save(self) -> None:
        """Write a checkpoint, once a step."""
        if self.saved_step == self.position.step:
            return
        position = self.position.model_copy(update={"pending": self._sums(), "seconds": self._seconds()})
        if self.fabric.is_global_zero:
            self.journal.flush()
            self.checkpoints.save(position, self.learner.tensors())
        self.saved_step, self.saved_at = position.step, time.monotonic()

    def end(self, reason: Reason, run: Path) -> Outcome:
        """Save where the run stands, and leave the kept weights in the model and in the run's folder."""
        if reason == "diverged":  # the values since the last row are not worth keeping: some may not be finite
            self.sums = {}
            self._move(pending_steps=0)
        self.save()
        position, model = self.position, self.learner.step.model
        weights = run / "weights.safetensors"
        if self.fabric.is_global_zero:
            if self.config.keep == "best" and position.best_step:
                load_weights(model, load_tensors(self.checkpoints.best_path(position.best_step)), weights)
            else:
                with self.learner.evaluating():
                    tensors = {name: value.clone() for name, value in model.state_dict().items()}
                load_weights(model, tensors, weights)
            save_tensors(weights, model.state_dict())
        self.learner.step.eval()
        self.fabric.barrier()
        return Outcome(
            reason,
            position.step,
            position.best_step,
            self._seconds(),
            tuple(self.journal.rows),
            self.settled,
            self._message(reason),
        )

    def _message(self, reason: Reason) -> str:
        config, step = self.config, self.position.step
        match reason:
            case "finished":
                return f"All {step} steps are done."
            case "patience":
                return (
                    f"{self.monitor} has not improved for {self.position.waited} validations; stopped at step {step}."
                )
            case "interrupted":
                return f"Stopped at step {step}; --resume goes on from there."
        advice = [f"train.learning_rate={config.learning_rate / 3:.1g}"]
        advice += ["train.clip_norm=usual"] if config.clip_norm is None else []
        advice += ["train.warm_up=500"] if config.warm_up == 0 and config.schedule != "one_cycle" else []
        advice += ["train.precision=32"] if self.settled.precision == "bf16" else []
        return (
            f"The loss or its gradient was not finite at step {step + 1}; the weights of step {step} are the last good "
            f"ones. Try {' or '.join(advice)}."
        )

    def _healthy(self) -> bool:
        """Ask the guard; where it froze the weights, go back to the step that it froze them at."""
        good = self.learner.healthy()
        if good is not None:
            self._move(step=self.healthy_step + good)
            return False
        self.healthy_step = self.position.step
        return True

    def _agreed(self, stop: Stop, step: int) -> bool:
        """Whether to stop; several processes ask the first one now and then, so that all stop at one step."""
        if self.fabric.world_size == 1:
            return stop.asked
        return step % 10 == 0 and self.fabric.broadcast(stop.asked)

    def _clock_due(self) -> bool:
        """Whether the first process's clock asks for a checkpoint (it needs no other process: the sums are empty)."""
        pause = max(self.config.checkpoint_seconds, self.checkpoints.save_seconds / CHECKPOINT_SHARE)
        return self.fabric.is_global_zero and time.monotonic() - self.saved_at >= pause

    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self.position.waited >= self.config.patience

    def _seconds(self) -> float:
        return self.position.seconds + time.monotonic() - self.began

    def _move(self, **changes: Any) -> None:
        self.position = self.position.model_copy(update=changes)


@contextmanager
def _globals_restored(device: torch.device) -> Iterator[None]:
    """Leave torch's random state and thread count as they were."""
    threads = torch.get_num_threads()
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def _board(run: Path, step: int, wanted: bool) -> Iterator[Any]:
    """Yield TensorBoard's writer, or ``None`` where it is not wanted or not installed."""
    if not wanted or find_spec("tensorboard") is None:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if step else None) as writer:
        yield writer
