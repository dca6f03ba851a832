r"""Before a long run: its flags, its learning rate, and whether the same model learns sines. Nothing is written.

**Learning rate** (Smith 2017). A few dozen steps from the begin, the rate growing by a constant factor from a
thousandth of the recipe's to a hundred times it. With l the smoothed loss, l* its least value at rate r*,
and l_0 its first,

* it climbs from the first rate after r* at which :math:`l - l^* > \frac12 (l_0 - l^*)`, or is no longer finite
* the rate suggested is r* / 10, as is usual

**Sines.** The same model, window and objective on the twelve sines (:mod:`latentscape.data.sines`), for three times as
many steps at the recipe's rate. A model with latents is asked for the share of the variance that it explains,
:math:`1 - E|x - \hat x|^2 / \mathrm{Var}\,x`, a model of waves for bits a sample below those of single samples. What
explains nothing here will explain nothing there.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from latentscape.core.random import seeded
from latentscape.data.consecutive import Consecutive
from latentscape.data.examples import Examples
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus
from latentscape.dist.conditional import point
from latentscape.experiment.config import RunConfig, SourceOptions
from latentscape.experiment.joined import Prepared, gather, join
from latentscape.experiment.run import Request, Say, prepare
from latentscape.measure.waves import unigram, wave_likelihood
from latentscape.models.autoregressive import Autoregressive
from latentscape.models.bounds import evaluating
from latentscape.models.model import LatentModel, Step
from latentscape.train.config import DEFAULT_STEPS
from latentscape.train.learner import Learner
from latentscape.train.process import fabric_of
from latentscape.train.settle import VALIDATIONS, moved

STEPS = 40
"""Of the range test, and a third of those of the sines."""
FEWEST = 12
SECONDS = 90.0
"""s that either may take; where a step is slow fewer are taken."""
LEAST_SHARE = 0.02
"""Share of the variance that a model must explain of sines after so few steps."""
SMOOTHING = 0.7


@dataclass(frozen=True)
class Range:
    """What the learning rate does.

    Attributes:
        rates, losses: of every step; smoothed, and cut where the loss was no longer finite.
        suggested: a rate to train with.
        climbs: the rate from which the loss climbs; ``None`` where it did not.
        seconds: median time of a step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float
    climbs: float | None
    seconds: float


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        flags: what is wrong, or likely to be, a line each.
        range: of the learning rate.
        sines: one line on the toy check; ``""`` for images.
        learns: whether it passed.
        rate: the recipe's learning rate.
    """

    flags: tuple[str, ...]
    range: Range
    sines: str
    learns: bool
    rate: float

    @property
    def passed(self) -> bool:
        """Whether nothing stands against training."""
        return self.learns and not self.flags

    def lines(self) -> list[str]:
        """Return the report."""
        climbs = "does not climb" if self.range.climbs is None else f"climbs from {self.range.climbs:.1g}"
        rate = f"learning rate: {self.rate:.1g} asked for, {self.range.suggested:.1g} suggested; the loss {climbs}"
        time_taken = f"a step takes {self.range.seconds:.2g} s here"
        verdict = "nothing stands against training" if self.passed else "see to these before a long run"
        return [*(f"flag: {flag}" for flag in self.flags), rate, time_taken, *filter(None, [self.sines]), verdict]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        found = self.range
        return {
            "flags": list(self.flags),
            "learning_rate": {
                "asked": self.rate,
                "suggested": found.suggested,
                "climbs": found.climbs,
                "rates": list(found.rates),
                "losses": list(found.losses),
            },
            "seconds_step": found.seconds,
            "sines": self.sines,
            "passed": self.passed,
        }


def check_run(request: Request, say: Say) -> Check:
    """Check what a request would train.

    Raises:
        LatentscapeError: what training would refuse, too.
    """
    prepared = prepare(request, say)
    with prepared.examples:
        flags = check_flags(prepared)
        say("trying learning rates")
        found = range_test(prepared)
    rate = prepared.config.train.learning_rate
    if found.climbs is not None and rate >= found.climbs:
        flags.append(
            f"train.learning_rate: at {rate:.1g} the loss climbs (from {found.climbs:.1g}); try {found.suggested:.1g}"
        )
    sines, learns = "", True
    if prepared.config.representation is not None:
        say("trying sines")
        sines, learns = check_sines(prepared.config)
    return Check(tuple(flags), found, sines, learns, rate)


# ------------------------------------------------------------------------------------------------------------- flags


def check_flags(prepared: Prepared) -> list[str]:
    """Return what is likely to be wrong with a configuration on its data, a line each."""
    config, train = prepared.config, prepared.config.train
    steps = train.max_steps or (None if train.minutes is not None else DEFAULT_STEPS)
    flags = _short_clips(prepared.examples)
    windows = prepared.examples.count("train")
    if windows < 4 * train.batch_size:
        flags.append(
            f"train.batch_size: the training part has {windows} windows side by side, batches {train.batch_size}: "
            "it will be learnt by heart; take more sound, or a smaller batch"
        )
    if train.patience is not None:
        every = train.validate_every or (max(1, steps // VALIDATIONS) if steps else None)
        validations = VALIDATIONS if every is None or steps is None else steps // every
        if train.patience >= validations:
            flags.append(
                f"train.patience: {train.patience} validations without progress can't come to pass in {validations}; "
                "lower it, or set train.validate_every"
            )
    warmup = max(_each(getattr(config.objective, "warmup", 0)))
    if steps is not None and warmup > steps / 2:
        flags.append(
            f"objective.warmup: the rate has its whole weight after {warmup} of {steps} steps only; "
            f"at most {steps // 4} leave time to train with it"
        )
    if steps is not None and train.warm_up > steps / 10:
        flags.append(f"train.warm_up: {train.warm_up} of {steps} steps; it is cut to {steps // 10}")
    beta = min(_each(getattr(config.objective, "beta", 1.0)))
    if beta < 0.1 and config.objective.kind in ("elbo", "perceptual"):
        flags.append(
            f"objective.beta: a weight of {beta:g} on the rate leaves codes unbounded: expect over-fitting, and draws "
            "of the prior that sound like nothing; free bits, or objective.warmup, keep codes busy at weight 1"
        )
    need = 16 * sum(parameter.numel() for parameter in prepared.model.parameters())  # with gradients and two moments
    there = _memory()
    if there is not None and need > 0.8 * there:
        flags.append(
            f"model: weights, gradients and moments take {need / 2**30:.1f} GiB of {there / 2**30:.1f} GiB; "
            "take fewer units, a conv net, or a machine with more memory"
        )
    return flags


def _short_clips(examples: Examples) -> list[str]:
    whole = examples.stretches if isinstance(examples, Consecutive) else examples
    if not isinstance(whole, SoundExamples):
        return []
    clips = list(whole.split.clips(whole.corpus, "train"))
    needed = whole.window.length * whole.representation.hop
    short = sum(clip.frames < needed for clip in clips)
    if 2 * short <= len(clips):
        return []
    rate = whole.corpus.sample_rate
    longest = max(clip.frames for clip in clips) / rate
    return [
        f"window.length: {short} of {len(clips)} training clips are shorter than one window ({needed / rate:.2g} s; "
        f"the longest has {longest:.2g} s), and are padded with silence; shorten it, or join clips with phrases:SOURCE"
    ]


def _each(value: float | tuple[float, ...]) -> tuple[float, ...]:
    """Return what was told for every layer, or for all of them."""
    return value if isinstance(value, tuple) else (value,)


def _memory() -> int | None:
    """Return the machine's memory in bytes, where it can be asked."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


# --------------------------------------------------------------------------------------------------- learning rate


def range_test(prepared: Prepared, steps: int = STEPS) -> Range:
    """Try learning rates (see the module); the model is trained by it."""
    own = prepared.config.train.learning_rate
    taken, losses, seconds = _train(prepared, [own * 1e-3 * 10 ** (5 * step / (steps - 1)) for step in range(steps)])
    smooth: list[float] = []
    for number, loss in enumerate(losses):
        before = smooth[-1] if smooth else loss
        smooth.append(loss if number == 0 else SMOOTHING * before + (1 - SMOOTHING) * loss)
    best = min(range(len(smooth)), key=smooth.__getitem__)
    bound = smooth[best] + 0.5 * (smooth[0] - smooth[best])
    climbing = [number for number in range(best + 1, len(smooth)) if smooth[number] > bound]
    climbs = taken[climbing[0]] if climbing else (taken[len(smooth)] if len(taken) > len(smooth) else None)
    return Range(tuple(taken[: len(smooth)]), tuple(smooth), taken[best] / 10, climbs, seconds)


def _train(prepared: Prepared, rates: Sequence[float]) -> tuple[list[float], list[float], float]:
    """Take a step at each rate, fewer where they are slow; return rates, finite losses, and the time of a step."""
    config = prepared.config.train
    steady = prepared.objective.steady
    losses: list[float] = []
    times: list[float] = []
    taken = list(rates)
    with seeded("check"):
        learner = Learner(Step(prepared.model, prepared.objective).train(), config, fabric_of(config), eager=True)
        number = 0
        while number < len(taken):
            learner.config = config.model_copy(
                update={"learning_rate": taken[number], "schedule": "constant", "warm_up": 0}
            )
            began = time.perf_counter()
            batch = moved(prepared.examples.batch(number, config.batch_size), learner.fabric.device)
            loss = learner.update(number, *batch)
            times.append(time.perf_counter() - began)
            value = math.nan if loss is None else float(loss.log.get(steady, loss.total).detach())
            if not math.isfinite(value):
                break
            losses.append(value)
            number += 1
            if number == 2:  # the first one pays for what is made ready
                fewer = max(FEWEST, min(len(taken), round(SECONDS / max(times[1], 1e-9))))
                rest = [2 + round(place * (len(taken) - 3) / max(fewer - 3, 1)) for place in range(fewer - 2)]
                taken = taken[:2] + [taken[place] for place in rest]
    return taken, losses, sorted(times)[len(times) // 2]


# ------------------------------------------------------------------------------------------------------------- sines


def check_sines(config: RunConfig, steps: int = 3 * STEPS) -> tuple[str, bool]:
    """Train the same model on sines for a while; return what came of it, and whether it learns."""
    assert config.representation is not None
    corpus = open_source("sines", SourceOptions(sample_rate=config.representation.sample_rate))
    untold = {"condition": ()} if hasattr(config.model, "condition") else {}
    toy = config.model_copy(update={"model": config.model.model_copy(update=untold)})
    prepared = join(gather(toy, corpus, split_corpus(corpus, seed=0)))
    with prepared.examples as examples:
        _, losses, _ = _train(prepared, [toy.train.learning_rate] * steps)
        if len(losses) < FEWEST:
            return f"sines: the loss was not finite after {len(losses)} steps", False
        model, rows = prepared.model, min(32, toy.train.batch_size)
        held = [moved(batch, next(model.parameters()).device) for batch in examples.held("valid", rows, 4 * rows)]
    if isinstance(model, Autoregressive):
        bits = wave_likelihood(model, iter(held))["bits_per_sample"].value
        codes = [x for x, _ in held]
        levels = model.conditional.net.levels
        alone = unigram(codes, codes, levels)["unigram_bits"].value if levels else math.inf
        text = f"sines: {bits:.2f} bits a sample after {len(losses)} steps, single samples cost {alone:.2f}"
        return text + ("" if bits < alone else ": it learns nothing"), bits < alone
    if not isinstance(model, LatentModel) or model.sequential:
        fell = losses[-1] < losses[0]
        return f"sines: the loss went from {losses[0]:.4g} to {losses[-1]:.4g} in {len(losses)} steps", fell
    error, power = 0.0, 0.0
    with evaluating(model):
        mean = torch.cat([x.float() for x, _ in held]).mean(0)
        for x, context in held:
            back = point(model.decode(model.encode(x, context), context))
            error += float((x - back).square().sum())
            power += float((x - mean).square().sum())
    share = 1 - error / max(power, 1e-12)
    text = f"sines: {100 * share:.0f} % of the variance is explained after {len(losses)} steps"
    return text + ("" if share > LEAST_SHARE else ": it learns nothing"), share > LEAST_SHARE
