"""Each sentence of the verdict, from histories whose answer is known."""

import math

import numpy as np
import pytest

from latentscape.train.config import SCHEDULES
from latentscape.train.verdict import judge


def history(valid, train=None, every=100):
    rows = [{"step": every * (i + 1), "part": "valid", "loss": float(v)} for i, v in enumerate(valid)]
    rows += [
        {"step": every * (i + 1), "part": "train", "loss": float(t)}
        for i, t in enumerate(train if train is not None else [])
    ]
    return rows


I = np.arange(30)
NOISE = 0.05 * np.random.default_rng(0).standard_normal(30)
FLAT = 10 + 20 * np.exp(-I / 2) + NOISE
FALLING = 30 - 0.5 * I + NOISE
RISING = np.where(I < 10, 30 - I, 20 + 0.3 * (I - 10)) + NOISE
TRAIN = 30 - 0.8 * I


def text(*args, **kwargs):
    return " ".join(judge(*args, **kwargs).lines())


def test_a_flat_tail_has_converged_and_a_falling_one_has_not():
    assert judge(history(FLAT)).progress == "converged"
    assert "Converged: loss has stopped falling." in text(history(FLAT))
    assert judge(history(FALLING)).progress == "improving"
    assert "Still improving" in text(history(FALLING))


def test_a_fall_within_the_noise_or_negligible_is_no_improvement():
    noise = np.random.default_rng(1).standard_normal(30)
    assert judge(history(30 - I / 100 + noise)).progress == "converged"
    assert judge(history([1e4, *(10 - 1e-4 * I)])).progress == "converged"


def test_a_curve_that_the_schedule_made_flat_has_not_converged():
    rate = SCHEDULES["cosine"]
    learnt = np.concatenate(([0], np.cumsum([rate(i / 30) for i in range(29)])))
    short = 10 + 20 * np.exp(-learnt / 3) + 0.01 * NOISE  # not done yet, it stops as the rate does
    assert judge(history(short)).progress == "converged"
    verdict = judge(history(short), rate=lambda step: rate(step / 3000), settings={"max_steps": 3000})
    assert verdict.progress == "annealed"
    lines = " ".join(verdict.lines())
    assert "Ended by its schedule: loss fell while the learning rate was high" in lines
    assert "train.max_steps=6000" in lines
    assert judge(history(FLAT), rate=lambda step: rate(step / 3000)).progress == "converged"  # flat at full rate, too
    assert judge(history(short), rate=lambda step: 1.0).progress == "converged"  # no schedule is to blame
    assert judge(history(RISING, TRAIN), rate=lambda step: rate(step / 3000)).overfitted is True
    spoilt = np.where(I < 15, 30 - I, 17) + 0.01 * NOISE  # what came after is no better
    assert judge(history(spoilt), rate=lambda step: rate(step / 3000)).progress == "converged"


def test_improvement_is_found_whatever_the_unit():
    for scale in (1e-4, 1e4):
        assert judge(history(scale * FALLING)).progress == "improving"
        assert judge(history(scale * RISING, scale * TRAIN)).overfitted is True


def test_over_fitting_needs_a_rise_of_validation_and_a_fall_of_training():
    verdict = judge(history(RISING, TRAIN))
    assert verdict.overfitted is True
    assert verdict.best_step == 100 * (int(RISING.argmin()) + 1)
    assert f"best at step {verdict.best_step}" in text(history(RISING, TRAIN))
    assert judge(history(FALLING, TRAIN)).overfitted is False
    assert judge(history(FLAT, TRAIN)).overfitted is False
    assert "Not over-fitted" in text(history(FLAT, TRAIN))


def test_a_rise_of_both_parts_is_said_and_is_no_over_fitting():
    verdict = judge(history(RISING, RISING), rates=[1.0], settings={"learning_rate": 0.003})
    lines = " ".join(verdict.lines())
    assert verdict.overfitted is False
    assert f"Rose again: loss was best at step {verdict.best_step}" in lines
    assert "train.learning_rate=0.001" in lines
    for untrue in ("Converged", "has not risen", "more latent dimensions"):
        assert untrue not in lines
    hump = np.where(I < 5, 20 - I, 35 - 0.5 * I) + NOISE
    assert (judge(history(hump, hump)).progress, judge(history(hump, hump)).overfitted) == ("improving", None)
    assert "rise" not in text(history(hump, hump))  # nor that it has not risen: who knows


def test_what_a_person_should_look_at_warns():
    assert not judge(history(FLAT, TRAIN), rates=[1.0]).warns
    assert judge(history(FALLING), reason="diverged").warns
    assert judge(history(FLAT), rates=[0.0]).warns
    assert all(judge(history(RISING, train)).warns for train in (TRAIN, RISING))


def test_a_loss_that_blew_up_is_named_though_it_falls_again():
    valid, train = 24 - 0.3 * I, 21 - 0.7 * np.minimum(I, 9) + NOISE
    train[10:] = 1e3 / (I[10:] - 9) ** 3 + 24 - 0.2 * I[10:]  # ends at 18, above the 14.7 before
    found = judge(history(valid, train))
    assert found.progress == "improving"
    assert found.blown is not None
    assert found.blown[0] == 1100
    assert found.warns
    lines = " ".join(found.lines())
    assert "Blew up: loss in training rose from 14.64" in lines
    assert "to 1022 by step 1100, and has not come back" in lines
    assert "train.clip_norm=usual" in lines
    train[10:] = np.where(I[10:] < 15, 1e3, 12)  # a peak that is forgotten
    assert judge(history(valid, train)).blown is None
    assert judge(history(valid, 20 + 3 * NOISE)).blown is None  # noise about the first value


def test_a_rise_in_a_short_run_is_not_denied():
    """Training rows are 50 steps apart, so that the first one may come after the best validation."""
    valid = [
        {"step": 14 * (i + 1), "part": "valid", "loss": loss} for i, loss in enumerate((1948, 1939, 1946, 1952, 1956))
    ]
    train = [{"step": step, "part": "train", "loss": loss} for step, loss in ((50, 1739), (67, 1592))]
    assert judge(valid + train).overfitted is True
    for few in (valid, valid + train[:1]):
        assert judge(few).overfitted is None
        assert "ver-fitted" not in text(few)


def test_few_validations_are_not_judged():
    verdict = judge(history([3.0, 2.0]))
    assert (verdict.progress, verdict.overfitted, verdict.best) == ("unknown", None, 2.0)
    assert "Too few validations" in " ".join(verdict.lines())
    assert judge([]).best is None


@pytest.mark.parametrize(("rates", "active"), [([0.0, 0.049, 0.051, 2.0], 2), ([1.0] * 3, 3)])
def test_active_dimensions_are_counted_by_rate(rates, active):
    verdict = judge(history(FLAT), rates=rates)
    assert (verdict.active, verdict.latents, verdict.collapsed) == (active, len(rates), False)
    assert f"{active} of {len(rates)} latent dimensions are active" in " ".join(verdict.lines())


def test_collapse_is_named_with_what_to_try():
    lines = text(history(FLAT), rates=[0.001] * 16, settings={"beta": 4.0})
    assert "Collapsed: none of the 16" in lines
    assert "objective.free_bits=0.1" in lines
    assert "objective.beta=2" in lines
    assert "objective.free_bits" not in text(history(FLAT), rates=[0.001] * 16, settings={"free_bits": 0.5})
    assert "a smaller objective.beta" in text(history(FLAT), rates=[0.001] * 16)


@pytest.mark.parametrize("rates", [None, [], [math.inf, 1.0]])
def test_without_rates_nothing_is_said_of_latents(rates):
    verdict = judge(history(FLAT), rates=rates)
    assert (verdict.active, verdict.collapsed) == (None, None)
    assert "latent" not in " ".join(verdict.lines())


def test_gap_is_signed_and_named():
    assert judge(history([5, 5, 5, 5], [3, 3, 3, 3.0])).gap == pytest.approx(2)
    assert "lies 2 above training" in text(history([5, 5, 5, 5], [3, 3, 3, 3.0]))
    assert "lies 2 below training" in text(history([3, 3, 3, 3], [5, 5, 5, 5.0]))


def test_advice_follows_from_the_findings():
    assert "train.max_steps=6000" in text(history(FALLING), settings={"max_steps": 3000})
    assert "twice the steps" in text(history(FALLING))
    assert "augmentation" in text(history(RISING, TRAIN))
    assert "more sounds" in text(history(RISING, TRAIN), settings={"augmented": True})
    assert "more latent dimensions" in text(history(FLAT), rates=[1.0] * 4)
    assert "more latent dimensions" not in text(history(FALLING), rates=[1.0] * 4)


def test_the_reason_is_said():
    lines = text(history(FALLING), reason="diverged", settings={"learning_rate": 0.003, "max_steps": 10})
    assert lines.startswith("Training broke off")
    assert "train.learning_rate=0.001" in lines
    assert "max_steps" not in lines
    assert "longer training" not in lines  # what it can't be given
    assert "a third of" in text([], reason="diverged")
    assert "stopped before its end" in text(history(FALLING), reason="interrupted")


def test_null_values_are_passed_over():
    rows = history(FLAT) + [
        {"step": 9999, "part": "valid", "loss": None},
        {"step": 10000, "part": "valid", "other": 1.0},
    ]
    assert judge(rows).progress == judge(history(FLAT)).progress


def test_a_game_is_judged_by_what_both_parts_share():
    """A WAE-GAN's training loss holds an adversary and its validation loss does not: they are no two of a kind."""
    rows = history(FLAT, TRAIN + 500)
    for row in rows:
        row["distortion"] = row["loss"] - 5 if row["part"] == "valid" else row["loss"] - 504
    verdict = judge(rows, monitor="distortion")
    assert verdict.progress == "converged"
    assert verdict.overfitted is False
    assert verdict.gap == pytest.approx(FLAT[-1] - 5 - (TRAIN[-1] - 4))
    assert judge(rows).gap < -400  # what the sentence on the gap would have said
    assert "Converged: distortion has stopped falling." in " ".join(verdict.lines())


def layered(gap_1=0.0, gap_2=0.0, gap_x=0.0, active=(8, 9), change=(0.5, 0.2)):
    """Return twelve validations of a hierarchy of two layers; gaps are a constant, or one a validation."""
    rows = history(30 - 0.01 * I[:12])
    for index, row in enumerate(rows):
        for name, gap in (("gap_1", gap_1), ("gap_2", gap_2), ("gap_distortion", gap_x)):
            row[name] = float(np.broadcast_to(gap, 12)[index]) + 0.01 * NOISE[index]
        row |= {"rate_1": 12.0, "rate_2": 6.0, "distortion": 60.0, "latents_1": 10.0, "latents_2": 20.0}
        row |= {f"active_{layer}": float(active[layer - 1]) for layer in (1, 2)}
        row |= {f"change_{layer}": change[layer - 1] for layer in (1, 2)}
    return rows


def states(rows):
    return [(layer.number, layer.asleep, layer.overfitted) for layer in judge(rows).layers]


def test_layers_are_judged_one_by_one():
    growing = 0.2 * np.arange(12)
    assert states(layered()) == [(1, False, False), (2, False, False), (0, False, False)]
    assert states(layered(gap_2=growing)) == [(1, False, False), (2, False, True), (0, False, False)]
    assert states(layered(gap_1=3.0)) == [(1, False, False), (2, False, False), (0, False, False)]  # it no longer grows
    assert states(layered(gap_1=growing / 10))[0] == (1, False, False)  # 0.2 nat is no over-fitting
    assert states(layered(gap_x=3 * growing))[2] == (0, False, True)
    assert states(layered(active=(8, 1)))[1] == (2, True, False)
    assert states(layered(change=(0.001, 0.2)))[0] == (1, True, False)
    assert judge(history(FLAT)).layers == ()


def test_a_layer_is_named_with_what_to_do():
    asleep = text(layered(active=(8, 0)), settings={"warmup": 500})
    assert "Layer 2: 6 nats, 0 of 20 latents active" in asleep
    assert "it sleeps" in asleep
    assert "objective.free_bits=[0,0.1] to wake layer 2; objective.warmup=1000" in asleep
    assert "free_bits=[0" not in text(layered(active=(8, 0)), settings={"free_bits": 0.1})
    growing = 0.2 * np.arange(12)
    assert "fewer latents in layer 1 (model.latents)" in text(layered(gap_1=growing))
    over = text(layered(gap_x=3 * growing))
    assert "Decoder: distortion 60 nats" in over
    assert "narrower levels" in over
    assert "sleeps" not in text(layered())
