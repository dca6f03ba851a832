r"""What a training run is told, and what it settles once at its start.

Letters: s steps already done, S ``max_steps``, w ``warm_up`` steps, u = (s - w) / (S - w) in [0, 1).

The learning rate of the step after s is ``learning_rate`` times a factor of (s, S) alone, so a resumed run finds it
again: ``(s + 1) / w`` while s < w, then

* ``constant``: 1
* ``cosine``: :math:`(1 + \cos \pi u) / 2` (Loshchilov and Hutter 2017, eq. 5, without restarts)
* ``one_cycle``: up from 1/25 over the first 30 %, then down to 1/10,000, both along a half cosine (Smith and Topin
  2018; phases as in ``torch.optim.lr_scheduler.OneCycleLR``); w is ignored, since the cycle is its own warm-up.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from latentscape.core.config import Record
from latentscape.core.errors import ConfigError

DEFAULT_STEPS = 10_000


class TrainConfig(Record):
    """How to train.

    Attributes:
        max_steps: optimiser steps of the whole run; ``None`` is as many as ``minutes`` allow, or 10,000 without them.
        minutes: a bound on the training time; turned into steps once, by timing, and recorded. Where ``max_steps`` is
            given too, the fewer of both are taken.
        batch_size: items of the global batch, shared by all processes.
        learning_rate: the peak rate.
        schedule: its course (see the module's equations).
        warm_up: steps of linear growth before a ``constant`` or ``cosine`` schedule; at most a tenth of ``max_steps``.
        optimiser: Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019), or Muon for the matrices within a net
            and AdamW for the rest (:mod:`latentscape.train.optimisers`).
        weight_decay: of the tensors with two axes or more; biases and gains are left alone.
        clip_norm: gradients are scaled down to this global norm; ``usual`` is ten times what is usual
            (:mod:`latentscape.train.clipping`), ``None`` never.
        averaging: decay of the exponential average of the weights; 0 is off. The average is validated and stored.
        validate_every: steps between validations; ``None`` gives 25 over the run.
        patience: validations without improvement before the run stops; ``None`` is never.
        keep: weights that the run ends with: of the ``best`` validation, or the ``last``.
        checkpoint_every: steps between checkpoints; ``None`` leaves it to the clock.
        checkpoint_seconds: seconds between checkpoints, stretched so that saving takes at most 2 % of the time.
        log_every: steps between two training rows of ``metrics.jsonl``; a row holds means over these steps.
        precision: ``bf16`` is autocast, weights stay float32; ``auto`` takes it where it is measurably quicker.
        threads: CPU threads; ``auto`` is timed at the start and recorded.
        devices: processes that share each batch (DDP).
        accelerator: where to compute.
        seed: with the step's number it decides all noise.
        tensorboard: also write TensorBoard's files, if it is installed.
    """

    max_steps: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    batch_size: PositiveInt = 128
    learning_rate: PositiveFloat = 1e-3
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"
    warm_up: int = Field(default=0, ge=0)
    optimiser: Literal["adam", "adamw", "muon"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0)
    clip_norm: PositiveFloat | Literal["usual"] | None = None
    averaging: float = Field(default=0.0, ge=0, lt=1)
    validate_every: PositiveInt | None = None
    patience: PositiveInt | None = None
    keep: Literal["best", "last"] = "best"
    checkpoint_every: PositiveInt | None = None
    checkpoint_seconds: PositiveFloat = 60.0
    log_every: PositiveInt = 50
    precision: Annotated[Literal["32", "bf16", "auto"], BeforeValidator(str)] = "auto"
    threads: PositiveInt | Literal["auto"] = "auto"
    devices: PositiveInt = 1
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    seed: int = 0
    tensorboard: bool = True


class Settled(Record):
    """What was measured and decided at the start of a run; ``--resume`` obeys it.

    Attributes:
        config: as it was asked for.
        max_steps: steps of the run.
        validate_every: steps between validations.
        precision: of the forward pass.
        threads: CPU threads of each process.
        device: where it ran, as torch writes it.
        step_seconds: median time of a step with its batch, where it was timed.
    """

    config: TrainConfig
    max_steps: PositiveInt
    validate_every: PositiveInt
    precision: Literal["32", "bf16"]
    threads: PositiveInt
    device: str
    step_seconds: float | None = None


CHANGEABLE = frozenset(
    {"max_steps", "learning_rate", "clip_norm", "patience", "checkpoint_every", "checkpoint_seconds", "tensorboard"}
)
"""What may be changed when a run is resumed; everything else would make it another run."""


def continued(settled: Settled, config: TrainConfig) -> Settled:
    """Return the record to resume by: what was settled, with the changes that ``config`` asks for.

    Raises:
        ConfigError: ``config`` changes what can't change within a run.
    """
    old, new = settled.config.model_dump(), config.model_dump()
    changed = [key for key in old if old[key] != new[key]]
    for key in changed:
        if key not in CHANGEABLE:
            raise ConfigError(
                f"train.{key}: got {new[key]!r}, but the run to resume was started with {old[key]!r}; "
                f"only {', '.join(sorted(CHANGEABLE))} can change on the way"
            )
    longer = {"max_steps": config.max_steps} if "max_steps" in changed and config.max_steps is not None else {}
    return settled.model_copy(update={"config": config, **longer})


def _one_cycle(u: float) -> float:
    rise = 0.3
    low, high, position = (1 / 25, 1.0, u / rise) if u < rise else (1e-4, 1.0, (1 - u) / (1 - rise))
    return low + (high - low) * (1 - math.cos(math.pi * position)) / 2


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda u: 1.0,
    "cosine": lambda u: (1 + math.cos(math.pi * u)) / 2,
    "one_cycle": _one_cycle,
}


def learning_rate(config: TrainConfig, step: int, max_steps: int) -> float:
    """Return the learning rate of the step after ``step`` steps (see the module's equations)."""
    warm_up = 0 if config.schedule == "one_cycle" else min(config.warm_up, max_steps // 10)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    u = (step - warm_up) / max(max_steps - warm_up, 1)
    return config.learning_rate * SCHEDULES[config.schedule](min(u, 1.0))
