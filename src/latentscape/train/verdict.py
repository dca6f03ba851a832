r"""The verdict: what a person asks when a run ends, answered from its numbers.

Letters: :math:`v_i` monitored validation values (lower is better) at steps :math:`s_i`, the last m = max(4, third) of
them the *tail*; r rate of each latent dimension in nats.

* improving: least squares through the tail, value against step; fall f over the tail's span. Improving where the slope
  is negative by more than two standard errors and f exceeds 0.3 % of the whole fall from first to best value.
* annealed: neither improving nor over-fitted, but the learning rate has ended below half of its peak, the best value
  came after the last one whose rate was at least that, and until then the values improved, by the same test. A rate
  that falls to nothing makes any curve flat, however few the steps.
* over-fitted: the values since the best one (at most a tail) lie above it in the mean, by more than twice their mean's
  standard error and by more than 2 % of the whole fall, while training values still went down since the best step. The
  gap between training and validation is reported, not judged: it is natural where data are few.
* blew up: the greatest training value lies above the first one by more than ten times what had been gained until
  then, and six deviations of the values until then, and the mean of the last three is still above the best before by
  more than 5 % of the gain. Such a run falls again, and seems to learn.
* rose again: validation rose likewise, but training did not fall, and it is not improving. That is no over-fitting, and
  no convergence either.
* active: r > 0.05 nat (by rate and not by the variance of posterior means, which misleads in hierarchies).
* collapsed: no dimension is active.

Of a hierarchy, every layer by itself, from the numbers of :mod:`latentscape.measure.layers`:

* asleep: less than one latent in ten is active, or the output moves by less than 0.02 deviations when the layer is
  drawn anew.
* over-fits: its rate costs more on validation than on training items, by more than 0.5 nat and 5 % of its training
  rate, and this gap still grows: its slope over the tail is positive by more than two standard errors. The distortion's
  gap is judged alike, in place of a layer: it is the decoder's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

ACTIVE_NATS = 0.05
LEAST_SHARE = 0.003
ASLEEP_SHARE = 0.1
ASLEEP_CHANGE = 0.02
GAP_NATS = 0.5
GAP_SHARE = 0.05


@dataclass(frozen=True)
class LayerVerdict:
    """One stochastic layer, or the decoder, at the last validation.

    Attributes:
        number: from 1 at the top; 0 is the decoder.
        rate: nats an item on validation data; the decoder's distortion.
        gap: the same less that of training data.
        active: latents above 0.05 nat; 0 for the decoder.
        latents: in all.
        change: of the output when this layer alone is drawn anew, in deviations of the data.
        asleep: nobody listens to it, or it says nothing.
        overfitted: see the module.
    """

    number: int
    rate: float
    gap: float
    active: int
    latents: int
    change: float
    asleep: bool
    overfitted: bool

    def line(self) -> str:
        """Return a sentence."""
        if not self.number:
            words = f"Decoder: distortion {self.rate:.4g} nats"
        else:
            words = (
                f"Layer {self.number}: {self.rate:.3g} nats, {self.active} of {self.latents} latents active, moves the "
                f"output by {self.change:.2g} deviations"
            )
        words += f"; {abs(self.gap):.2g} nats {'more' if self.gap >= 0 else 'less'} on validation than on training"
        return words + (": it over-fits." if self.overfitted else ": it sleeps." if self.asleep else ".")


@dataclass(frozen=True)
class Verdict:
    """A run in plain words, with the numbers behind them.

    Attributes:
        reason: why the run ended.
        progress: ``"improving"``, ``"annealed"``, ``"converged"``, or ``"unknown"`` with fewer than four validations.
        overfitted: validation rose after its best while training still fell; ``None`` where that can't be told.
        collapsed: no latent dimension is used; ``None`` for a model without rates.
        active: latent dimensions with more than 0.05 nat.
        latents: latent dimensions in all.
        best: best validation value, and its step.
        best_step: see ``best``.
        last: mean validation value since the best, of at most a tail; the best where none came after it.
        gap: last validation value less the last training value of the same name; ``None`` where there is none.
        monitor: the value's name.
        advice: settings to try, most useful first.
        layers: of a hierarchy, top first, and the decoder last; else none.
        notes: further sentences, of what was found after training.
        rose: validation rose after its best and does not fall again, but training did not fall.
        blown: step and value of a training value that rose out of all bounds, and the best one before.
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
    layers: tuple[LayerVerdict, ...] = ()
    notes: tuple[str, ...] = ()
    rose: bool = False
    blown: tuple[int, float, float] | None = None

    @property
    def warns(self) -> bool:
        """Whether a person should take a look."""
        return bool(self.reason == "diverged" or self.blown or self.rose or self.overfitted or self.collapsed)

    def lines(self) -> list[str]:
        """Return sentences for people."""
        lines = []
        if self.reason == "diverged":
            lines.append("Training broke off: the loss was no longer finite. The last good weights were kept.")
        if self.reason == "interrupted":
            lines.append("Training was stopped before its end.")
        if self.blown:
            step, value, before = self.blown
            lines.append(
                f"Blew up: {self.monitor} in training rose from {before:.4g} to {value:.4g} by step {step}, and has "
                "not come back to where it was."
            )
        match self.progress:
            case _ if self.rose:
                lines.append(
                    f"Rose again: {self.monitor} was best at step {self.best_step} ({self.best:.4g}) and rose to "
                    f"{self.last:.4g} since, and training did not fall either."
                )
            case "improving" if self.reason == "diverged":
                lines.append(f"Until then {self.monitor} was falling.")
            case "improving":
                lines.append("Still improving: longer training would help.")
            case "annealed":
                lines.append(
                    f"Ended by its schedule: {self.monitor} fell while the learning rate was high, and became flat as "
                    "it went to nothing; longer training may help."
                )
            case "converged":
                lines.append(f"Converged: {self.monitor} has stopped falling.")
            case _:
                lines.append("Too few validations to say whether it has converged.")
        if self.overfitted:
            lines.append(
                f"Over-fitted: {self.monitor} was best at step {self.best_step} ({self.best:.4g}) and rose to "
                f"{self.last:.4g} since, while training went on falling."
            )
        elif self.overfitted is False and not self.rose:
            lines.append("Not over-fitted: validation has not risen since its best.")
        if self.gap is not None:
            lines.append(f"Validation lies {abs(self.gap):.4g} {'above' if self.gap >= 0 else 'below'} training.")
        if self.collapsed:
            lines.append(f"Collapsed: none of the {self.latents} latent dimensions carries anything.")
        elif self.collapsed is False:
            lines.append(f"{self.active} of {self.latents} latent dimensions are active (above {ACTIVE_NATS} nat).")
        lines += [layer.line() for layer in self.layers]
        lines += self.notes
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
    rate: Callable[[int], float] = lambda step: 1.0,
) -> Verdict:
    """Return the verdict on a run (see the module's definitions).

    Args:
        history: rows of ``metrics.jsonl``.
        monitor: the validation value that the run went by; lower is better.
        rates: mean rate of each latent dimension over unseen data, nats; ``None`` where rates have no meaning (an
            autoencoder, a Wasserstein autoencoder). Infinite ones count as no rates.
        reason: the outcome's.
        settings: what advice is built on where present: ``max_steps``, ``learning_rate``, ``beta``, ``free_bits``,
            ``augmented`` (bool).
        rate: the learning rate of the step after so many, as a share of anything.
    """
    valid = _curve(history, "valid", monitor)
    train = _curve(history, "train", monitor)
    best_step, best = min(valid, key=lambda point: point[1], default=(0, None))
    tail = valid[-max(4, len(valid) // 3) :]
    progress, overfitted, last, rose = "unknown", None, None, False
    if len(valid) >= 4 and best is not None:
        fall = max(valid[0][1] - best, 1e-12)
        _, error = _line(tail)
        scatter = error * math.sqrt(sum((s - fmean(s for s, _ in tail)) ** 2 for s, _ in tail))
        progress = "improving" if _improves(tail, fall) else "converged"
        after = [value for step, value in valid if step > best_step][-len(tail) :]
        last = fmean(after) if after else best
        rises = len(after) >= 2 and last - best > max(2 * scatter / math.sqrt(len(after)), 0.02 * fall)
        overfitted = _still_fell(train, best_step) if rises else False
        if rises and overfitted is False:
            rose, overfitted = (True, False) if progress == "converged" else (False, None)  # it falls again: who knows
        if progress == "converged" and not overfitted and _was_annealed(valid, best_step, fall, rate):
            progress = "annealed"
    gap = valid[-1][1] - train[-1][1] if valid and train else None
    finite = rates is not None and len(rates) > 0 and all(math.isfinite(rate) for rate in rates)
    latents = len(rates) if rates is not None and finite else None
    active = sum(rate > ACTIVE_NATS for rate in rates) if rates is not None and finite else None
    collapsed = None if active is None else active == 0
    layers = judge_layers(history)
    blown = _blown(train)
    trouble = reason == "diverged" or rose or blown is not None
    advice = (*_advice(trouble, progress, overfitted, active, latents, settings), *_layer_advice(layers, settings))
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
        advice=tuple(dict.fromkeys(advice)),
        layers=layers,
        rose=rose,
        blown=blown,
    )


def judge_layers(history: Sequence[Mapping[str, Any]]) -> tuple[LayerVerdict, ...]:
    """Return the verdict on every layer of a hierarchy, top first, and on its decoder; none without layers."""
    rows = [row for row in history if row["part"] == "valid" and row.get("gap_distortion") is not None]
    if not rows:
        return ()
    count = sum(name.startswith("active_") for name in rows[-1])
    found = []
    for number in (*range(1, count + 1), 0):
        own = f"_{number}" if number else "_distortion"
        gaps = _curve(rows, "valid", f"gap{own}")
        rate = float(rows[-1][f"rate{own}" if number else "distortion"])
        gap = gaps[-1][1] if gaps else 0.0
        tail = gaps[-max(4, len(gaps) // 3) :]
        slope, error = _line(tail) if len(tail) >= 4 else (0.0, 0.0)
        bound = max(GAP_NATS, GAP_SHARE * (rate - gap))
        active, latents, change = (float(rows[-1].get(f"{name}{own}", 0)) for name in ("active", "latents", "change"))
        asleep = bool(number) and (active < ASLEEP_SHARE * latents or change < ASLEEP_CHANGE)
        overfitted = gap > bound and slope > 2 * error
        found.append(LayerVerdict(number, rate, gap, int(active), int(latents), change, asleep, overfitted))
    return tuple(found)


def _layer_advice(layers: Sequence[LayerVerdict], settings: Mapping[str, Any]) -> list[str]:
    """Return what may wake a layer or keep it from learning items by heart."""
    advice: list[str] = []
    stochastic = [layer for layer in layers if layer.number]
    if asleep := [layer for layer in stochastic if layer.asleep]:
        names = " and ".join(str(layer.number) for layer in asleep)
        warmup = settings.get("warmup")
        if not settings.get("free_bits"):
            free = ",".join("0.1" if layer.asleep else "0" for layer in stochastic)
            advice.append(f"objective.free_bits=[{free}] to wake layer {names}")
        advice.append(f"objective.warmup={2 * warmup}" if isinstance(warmup, int) and warmup else "a longer warm-up")
        advice.append(f"fewer model.latents, without layer {names}")
    for layer in layers:
        if layer.overfitted and layer.number:
            advice.append(
                f"fewer latents in layer {layer.number} (model.latents), or more data: it learns items by heart"
            )
        elif layer.overfitted:
            advice.append(
                "narrower levels, or train.weight_decay=0.01 with train.optimiser=adamw: the decoder over-fits"
            )
    return advice


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


def _improves(points: Sequence[tuple[int, float]], fall: float) -> bool:
    """Whether values fall, by more than their noise and a negligible share of the whole fall."""
    slope, error = _line(points)
    return slope < -2 * error and -slope * (points[-1][0] - points[0][0]) > LEAST_SHARE * fall


def _was_annealed(
    valid: Sequence[tuple[int, float]], best_step: int, fall: float, rate: Callable[[int], float]
) -> bool:
    """Whether a curve became flat because the learning rate did; see the module."""
    rates = [rate(step - 1) for step, _ in valid]
    high = [point for point, own in zip(valid, rates, strict=True) if own >= max(rates) / 2]
    if rates[-1] >= max(rates) / 2 or len(high) < 4 or best_step <= high[-1][0]:
        return False
    return _improves(high[-max(4, len(high) // 3) :], fall)


def _blown(train: Sequence[tuple[int, float]]) -> tuple[int, float, float] | None:
    """Return step and value of the highest peak above the beginning, and the best value before it; see the module."""
    values = [value for _, value in train]
    peak = int(np.argmax(values)) if values else 0
    if peak < 3 or len(values) < 6:
        return None
    first, before, last = values[0], min(values[:peak]), fmean(values[-3:])
    gain, noise = first - before, float(np.std(values[:peak]))
    out_of_bounds = gain > 0 and values[peak] - first > max(10 * gain, 6 * noise)
    return (train[peak][0], values[peak], before) if out_of_bounds and last - before > 0.05 * gain else None


def _still_fell(train: Sequence[tuple[int, float]], best_step: int) -> bool | None:
    """Whether training values after the best step lie below those before it, or fell if none is; ``None``: too few."""
    after = [value for step, value in train if step > best_step]
    before = [value for step, value in train if step <= best_step][-max(1, len(after)) :]
    if not before:  # a short run has few rows
        before, after = after[:1], after[1:]
    return fmean(after) < fmean(before[-3:]) if before and after else None


def _advice(
    trouble: bool,
    progress: str,
    overfitted: bool | None,
    active: int | None,
    latents: int | None,
    settings: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return settings to try, most useful first."""
    advice = []
    if trouble:
        rate = settings.get("learning_rate")
        advice.append(f"train.learning_rate={rate / 3:.1g}" if rate else "a third of train.learning_rate")
        advice.append("train.clip_norm=usual")
    if overfitted:
        advice.append("more sounds" if settings.get("augmented") else "augmentation by pitch shift and gain")
        advice.append("narrower nets, or train.weight_decay=0.01 with train.optimiser=adamw")
    if active is not None and latents is not None and active < latents / 2:
        beta = settings.get("beta")
        if not settings.get("free_bits"):
            advice.append("objective.free_bits=0.1")
        one = isinstance(beta, int | float) and beta
        advice.append(f"objective.beta={beta / 2:g}" if one else "a smaller objective.beta")
    if active is not None and active == latents and progress == "converged" and not (overfitted or trouble):
        advice.append("more latent dimensions or wider nets, since all of them are in use")
    if progress in ("improving", "annealed") and not trouble:
        steps = settings.get("max_steps")
        advice.append(f"train.max_steps={2 * steps}" if steps else "twice the steps")
    return tuple(advice)
