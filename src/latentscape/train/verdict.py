r"""The verdict: what a person asks when a run ends, answered from its numbers.

Letters: :math:`v_i` monitored validation values (lower is better) at steps :math:`s_i`, the last m = max(4, third) of
them the *tail*; r rate of each latent dimension in nats.

* improving: least squares through the tail, value against step; fall f over the tail's span. Improving where the slope
  is negative by more than two standard errors and f exceeds 0.3 % of the whole fall from first to best value.
* over-fitted: the values since the best one (at most a tail) lie above it in the mean, by more than twice their mean's
  standard error and by more than 2 % of the whole fall, while training values still went down since the best step. The
  gap between training and validation is reported, not judged: it is natural where data are few.
* active: r > 0.05 nat (by rate and not by the variance of posterior means, which misleads in hierarchies).
* collapsed: no dimension is active.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

ACTIVE_NATS = 0.05


@dataclass(frozen=True)
class Verdict:
    """A run in plain words, with the numbers behind them.

    Attributes:
        reason: why the run ended.
        progress: ``"improving"``, ``"converged"``, or ``"unknown"`` with fewer than four validations.
        overfitted: validation rose after its best while training still fell; ``None`` where that can't be told.
        collapsed: no latent dimension is used; ``None`` for a model without rates.
        active: latent dimensions with more than 0.05 nat.
        latents: latent dimensions in all.
        best: best validation value, and its step.
        best_step: see ``best``.
        last: mean validation value of the tail.
        gap: last validation value less the last training value of the same name; ``None`` where there is none.
        monitor: the value's name.
        advice: settings to try, most useful first.
    """

    reason: str
    progress: str
    overfitted: bool | None
    collapsed: bool | None
    active: int | None
    latents: int | None
    best: float | None
    best_step: int
    last: float | None
    gap: float | None
    monitor: str
    advice: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return sentences for people."""
        lines = []
        if self.reason == "diverged":
            lines.append("Training broke off: the loss was no longer finite. The last good weights were kept.")
        if self.reason == "interrupted":
            lines.append("Training was stopped before its end.")
        match self.progress:
            case "improving":
                lines.append("Still improving: longer training would help.")
            case "converged":
                lines.append(f"Converged: {self.monitor} has stopped falling.")
            case _:
                lines.append("Too few validations to say whether it has converged.")
        if self.overfitted:
            lines.append(
                f"Over-fitted: {self.monitor} was best at step {self.best_step} ({self.best:.4g}) and rose to "
                f"{self.last:.4g} since, while training went on falling."
            )
        elif self.overfitted is False:
            lines.append("Not over-fitted: validation has not risen since its best.")
        if self.gap is not None:
            lines.append(f"Validation lies {abs(self.gap):.4g} {'above' if self.gap >= 0 else 'below'} training.")
        if self.collapsed:
            lines.append(f"Collapsed: none of the {self.latents} latent dimensions carries anything.")
        elif self.collapsed is False:
            lines.append(f"{self.active} of {self.latents} latent dimensions are active (above {ACTIVE_NATS} nat).")
        if self.advice:
            lines.append("To try: " + "; ".join(self.advice) + ".")
        return lines


def judge(
    history: Sequence[Mapping[str, Any]],
    *,
    monitor: str = "loss",
    rates: Sequence[float] | None = None,
    reason: str = "finished",
    settings: Mapping[str, Any] = {},
) -> Verdict:
    """Return the verdict on a run (see the module's definitions).

    Args:
        history: rows of ``metrics.jsonl``.
        monitor: the validation value that the run went by; lower is better.
        rates: mean rate of each latent dimension over validation data, nats; ``None`` where rates have no meaning (an
            autoencoder, a Wasserstein autoencoder). Infinite ones count as no rates.
        reason: the outcome's.
        settings: what advice is built on where present: ``max_steps``, ``learning_rate``, ``beta``, ``free_bits``,
            ``augmented`` (bool).
    """
    valid = _curve(history, "valid", monitor)
    train = _curve(history, "train", monitor)
    best_step, best = min(valid, key=lambda point: point[1], default=(0, None))
    tail = valid[-max(4, len(valid) // 3) :]
    progress, overfitted, last = "unknown", None, None
    if len(valid) >= 4 and best is not None:
        fall = max(valid[0][1] - best, 1e-12)
        slope, error = _line(tail)
        span = tail[-1][0] - tail[0][0]
        scatter = error * math.sqrt(sum((s - fmean(s for s, _ in tail)) ** 2 for s, _ in tail))
        improving = slope < -2 * error and -slope * span > 0.003 * fall
        progress = "improving" if improving else "converged"
        after = [value for step, value in valid if step > best_step][-len(tail) :]
        last = fmean(after) if after else best
        rose = len(after) >= 2 and last - best > max(2 * scatter / math.sqrt(len(after)), 0.02 * fall)
        overfitted = rose and _still_fell(train, best_step)
    gap = valid[-1][1] - train[-1][1] if valid and train else None
    finite = rates is not None and len(rates) > 0 and all(math.isfinite(rate) for rate in rates)
    latents = len(rates) if rates is not None and finite else None
    active = sum(rate > ACTIVE_NATS for rate in rates) if rates is not None and finite else None
    collapsed = None if active is None else active == 0
    return Verdict(
        reason=reason,
        progress=progress,
        overfitted=overfitted,
        collapsed=collapsed,
        active=active,
        latents=latents,
        best=best,
        best_step=best_step,
        last=last,
        gap=gap,
        monitor=monitor,
        advice=_advice(reason, progress, overfitted, active, latents, settings),
    )


def _curve(history: Sequence[Mapping[str, Any]], part: str, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of the rows that have a finite value."""
    rows = [row for row in history if row["part"] == part and row.get(name) is not None]
    return [(int(row["step"]), float(row[name])) for row in rows if math.isfinite(row[name])]


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return slope and its standard error of the least-squares line."""
    steps, values = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    steps = steps - steps.mean()
    slope = float(steps @ values / (steps @ steps))
    residual = values - values.mean() - slope * steps
    return slope, math.sqrt(float(residual @ residual) / (len(points) - 2) / float(steps @ steps))


def _still_fell(train: Sequence[tuple[int, float]], best_step: int) -> bool:
    """Whether the training values after the best step lie below those just before it."""
    after = [value for step, value in train if step > best_step]
    before = [value for step, value in train if step <= best_step][-max(1, len(after)) :]
    return bool(after and before) and fmean(after) < fmean(before[-3:])


def _advice(
    reason: str,
    progress: str,
    overfitted: bool | None,
    active: int | None,
    latents: int | None,
    settings: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return settings to try, most useful first."""
    advice = []
    if reason == "diverged":
        rate = settings.get("learning_rate")
        advice.append(f"train.learning_rate={rate / 3:.1g}" if rate else "a third of train.learning_rate")
        advice.append("train.clip_norm=1")
    if overfitted:
        advice.append("more sounds" if settings.get("augmented") else "augmentation by pitch shift and gain")
        advice.append("narrower nets, or train.weight_decay=0.01 with train.optimiser=adamw")
    if active is not None and latents is not None and active < latents / 2:
        beta = settings.get("beta")
        if not settings.get("free_bits"):
            advice.append("objective.free_bits=0.1")
        advice.append(f"objective.beta={beta / 2:g}" if beta else "a smaller objective.beta")
    if active is not None and active == latents and progress == "converged" and not overfitted:
        advice.append("more latent dimensions or wider nets, since all of them are in use")
    if progress == "improving" and reason != "diverged":
        steps = settings.get("max_steps")
        advice.append(f"train.max_steps={2 * steps}" if steps else "twice the steps")
    return tuple(advice)
