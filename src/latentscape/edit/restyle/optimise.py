"""Minimising a loss over a variable: L-BFGS, or Adam, for a number of evaluations."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Optimiser = Literal["lbfgs", "adam"]
Loss = Callable[[Tensor], Tensor]
Each = Callable[[int, float, Tensor], None]
"""Told the number of evaluations so far, the loss, and the variable."""
HISTORY = 10


@dataclass(frozen=True)
class Minimum:
    """What was found.

    Attributes:
        variable: with the least loss that was met.
        losses: of every evaluation.
    """

    variable: Tensor
    losses: tuple[float, ...]


def minimise(
    loss: Loss,
    start: Tensor,
    evaluations: int,
    *,
    optimiser: Optimiser = "lbfgs",
    rate: float = 0.05,
    each: Each | None = None,
) -> Minimum:
    """Return the best of so many evaluations of a loss and its gradient.

    Args:
        loss: variable -> a number.
        start: where to begin; it is left as it is.
        evaluations: how many.
        optimiser: ``lbfgs`` (with a line search by the strong Wolfe conditions) or ``adam``.
        rate: Adam's step.
        each: told of every evaluation.
    """
    variable = start.detach().clone().requires_grad_(True)
    losses: list[float] = []
    best: tuple[float, Tensor] = (float("inf"), start.detach().clone())

    class Spent(Exception):
        """L-BFGS asks for more evaluations than were granted."""

    def evaluate() -> Tensor:
        nonlocal best
        if len(losses) == evaluations:
            raise Spent
        variable.grad = None
        value = loss(variable)
        value.backward()
        losses.append(float(value.detach()))
        if losses[-1] < best[0]:
            best = losses[-1], variable.detach().clone()
        if each is not None:
            each(len(losses), losses[-1], variable.detach())
        return value

    if evaluations and optimiser == "lbfgs":
        stepper = torch.optim.LBFGS(
            [variable],
            max_iter=evaluations,
            max_eval=2 * evaluations,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        )
        with suppress(Spent):
            stepper.step(evaluate)
    elif evaluations:
        adam = torch.optim.Adam([variable], rate)
        for _ in range(evaluations):
            adam.step(evaluate)
    return Minimum(best[1], tuple(losses))
