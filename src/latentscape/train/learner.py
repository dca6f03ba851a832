"""One optimiser step, and the whole state it acts on: weights, their average, the optimiser's moments.

The noise of step s is a function of (seed, s): torch's global generator is seeded before each forward pass.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentscape.core.errors import StorageError
from latentscape.core.random import seed_all, seed_of
from latentscape.models.model import Loss, Model, Step
from latentscape.train.averaging import Average
from latentscape.train.clipping import Usual
from latentscape.train.config import DEFAULT_STEPS, Settled, TrainConfig, learning_rate
from latentscape.train.noise import GlobalNoise
from latentscape.train.optimisers import optimisers_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learner:
    """A step (model and objective) with its optimiser, ready to be moved forward.

    The NaN guard never lets a non-finite loss or gradient into the weights, nor what such a step made of running
    averages into the buffers. On the CPU it looks at once. Elsewhere looking would wait for the device at every step,
    so there it holds a flag on the device that freezes weights, their average, moments (by the optimisers'
    ``found_inf``) and buffers from the first bad step on, and :meth:`healthy` looks when it is asked.

    Args:
        step: model and objective; trained in place.
        config: optimiser, clipping, averaging, seed.
        fabric: device and processes.
        eager: look at each step; ``None`` decides by device.
    """

    def __init__(self, step: Step, config: TrainConfig, fabric: "Fabric", eager: bool | None = None) -> None:
        from latentscape.train.precision import Autocast  # with it comes all of Fabric; see train.process

        self.step, self.config, self.fabric = step, config, fabric
        fabric.to_device(step)
        self.max_steps = config.max_steps or DEFAULT_STEPS
        self._named = {name: p for name, p in step.named_parameters() if p.requires_grad}
        self._optimisers = optimisers_of(step, config, fabric.device)
        # The strategy alone: fabric.setup would also hook every output of every call, 0.2 ms a step for nothing here.
        self.module = fabric.strategy.setup_module(step)
        self.average = Average(self._named, config.averaging) if config.averaging else None
        self.eager = fabric.device.type != "cuda" if eager is None else eager
        precision = fabric.strategy.precision
        assert isinstance(precision, Autocast), "Fabric must come from process.fabric_of or process.launch"
        precision.device_type = fabric.device.type
        self.autocast = precision
        self.rate = 0.0
        stored = step.state_dict().keys()
        self._buffers = [buffer for name, buffer in step.named_buffers() if name in stored]
        self._held = [buffer.clone() for buffer in self._buffers]
        self._usual = Usual(fabric.device)
        self._bad = torch.zeros((), device=fabric.device)
        self._good_steps = torch.zeros((), device=fabric.device)

    def obey(self, settled: Settled) -> None:
        """Take threads, precision, number of steps and configuration from the record."""
        torch.set_num_threads(settled.threads)
        self.autocast.on = settled.precision == "bf16"
        self.max_steps, self.config = settled.max_steps, settled.config

    def update(self, index: int, x: Tensor, context: Mapping[str, Tensor]) -> Loss | None:
        """Take the optimiser step after ``index`` steps.

        Returns:
            The loss of this rank's rows, or ``None`` where the guard refused the step: nothing has changed then.
        """
        seed_all(seed_of(self.config.seed, "step", index), self.fabric.device)
        if self._buffers:
            torch._foreach_copy_(self._held, self._buffers)
        with self._noise(x.shape[0]), self.autocast.forward_context():
            loss: Loss = self.module(x, context, index)
        loss.total.backward()
        gradients = [p.grad for p in self._named.values() if p.grad is not None]
        if self.config.clip_norm is None:
            probe = torch.stack(
                [gradient.sum() for gradient in gradients]
            ).sum()  # finite or not, at half a norm's cost
        else:
            probe = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            most = self._usual.bound(probe) if self.config.clip_norm == "usual" else self.config.clip_norm
            torch._foreach_mul_(gradients, (most / (probe + 1e-6)).clamp(max=1.0))
        accepted = self._guard(loss.total.detach(), probe)
        if accepted:
            self.rate = learning_rate(self.config, index, self.max_steps)
            for optimiser in self._optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = self.rate
                optimiser.step()
            if self.average is not None:
                self.average.follow(index + 1, None if self.eager else self._bad)
        self.step.zero_grad()
        return loss if accepted else None

    def _guard(self, total: Tensor, probe: Tensor) -> bool:
        if self.eager:
            # Of several processes only one may have the bad loss; gradients are common to all, so all decide alike.
            good = math.isfinite(probe.item()) and (self.fabric.world_size > 1 or math.isfinite(total.item()))
            if self._buffers and not good:
                torch._foreach_copy_(self._buffers, self._held)
            return good
        bad = 1.0 - torch.isfinite(probe + total).float()
        self._bad = torch.maximum(self._bad, bad)
        self._good_steps += 1.0 - self._bad
        for optimiser in self._optimisers:
            optimiser.found_inf = self._bad  # pyrefly: ignore
        for buffer, held in zip(self._buffers, self._held, strict=True):
            buffer.copy_(torch.where(self._bad > 0, held, buffer))
        return True

    def healthy(self) -> int | None:
        """Return ``None``, or the number of good steps since the last look before the guard froze the weights."""
        if self.eager:
            return None
        if self._bad.item():
            return int(self._good_steps.item())
        self._good_steps.zero_()
        return None

    def _noise(self, rows: int) -> AbstractContextManager[Any]:
        world = self.fabric.world_size
        return GlobalNoise(rows, self.fabric.global_rank, world) if world > 1 else nullcontext()

    @contextmanager
    def evaluating(self) -> Iterator[Model]:
        """Within, the model holds its averaged weights in evaluation mode, without gradients, with noise of its own.

        The same noise every time, so that a validation curve moves because the model does.
        """
        seed_all(seed_of(self.config.seed, "validate"), self.fabric.device)
        worn = self.average.worn() if self.average is not None else nullcontext()
        self.step.eval()
        with worn, torch.no_grad():
            yield self.step.model
        self.step.train()

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a step depends on, by name; not copied."""
        moments = {
            f"optimiser.{name}.{key}": value
            for name, parameter in self._named.items()
            for optimiser in self._optimisers
            for key, value in optimiser.state.get(parameter, {}).items()
        }
        average = {} if self.average is None else self.average.tensors()
        return (
            {f"step.{name}": value for name, value in self.step.state_dict().items()}
            | {f"average.{name}": value for name, value in average.items()}
            | moments
            | ({"gradients.usual": self._usual.state} if self.config.clip_norm == "usual" else {})
        )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set everything from :meth:`tensors`, copying.

        Raises:
            StorageError: the tensors belong to another model or optimiser.
        """
        groups: dict[str, dict[str, Tensor]] = {"step": {}, "average": {}, "optimiser": {}, "gradients": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = tensor
        try:
            self.step.load_state_dict(groups["step"])
            if self.average is not None:
                self.average.load(groups["average"])
        except (RuntimeError, KeyError) as error:
            reason = str(error).replace("\n", " ")
            raise StorageError(f"the checkpoint does not fit the model: {reason}") from error
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups["optimiser"].items():
            parameter, _, key = name.rpartition(".")
            moments.setdefault(id(self._named[parameter]), {})[key] = tensor.clone()
        for optimiser in self._optimisers:
            order = [p for group in optimiser.param_groups for p in group["params"]]
            state = {i: moments[id(p)] for i, p in enumerate(order) if id(p) in moments}
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        if "usual" in groups["gradients"]:  # a run may have been bounded otherwise before
            self._usual.state = groups["gradients"]["usual"].to(self._usual.state).clone()
        self._bad.zero_()
        self._good_steps.zero_()
