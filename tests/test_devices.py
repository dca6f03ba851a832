"""A training step leaves nothing on the processor: every recipe's, where there is no data to compute with.

Tensors of the device "meta" have shapes and no values, and torch refuses to mix them with others, as it does with those
of an accelerator: so what was forgotten on the processor is seen without one.
"""

import pytest
import torch

from latentscape.experiment.config import RunConfig, resolve
from latentscape.models.model import Step
from latentscape.recipes import recipe_names
from latentscape.registry import build_model, build_objective

ROWS, LABELS = 4, 3
BINS = {"log_stft": 513, "log_mel": 80, "log_nsgt": 120}
LARGE = {name for name in recipe_names() if f"{name}-small" in recipe_names()}  # their twins are of the same kinds


def shape_of(name: str, config: RunConfig) -> tuple[int, ...]:
    if config.representation is None:
        return (3, 64, 64) if "photos" in name else (1, 28, 28)
    if config.representation.kind in ("waveform", "mulaw"):
        return (1, config.window.length)
    return (BINS[config.representation.kind], *((config.window.length,) if config.window.length > 1 else ()))


@pytest.mark.parametrize("name", sorted(set(recipe_names()) - LARGE))
def test_a_step_stays_where_the_model_is(name):
    config = resolve(name, [])
    if name.startswith("tagger"):
        told = {"tag": torch.full((ROWS, LABELS), 1 / LABELS, device="meta")}
    else:
        told = dict.fromkeys(
            getattr(config.model, "condition", ()), torch.zeros(ROWS, dtype=torch.int64, device="meta")
        )
    shape = shape_of(name, config)
    model = build_model(config.model, shape, dict.fromkeys(told, LABELS))
    step = Step(model, build_objective(config.objective, model)).to("meta")
    codes = config.representation is not None and config.representation.kind == "mulaw"
    x = torch.zeros(ROWS, *shape, device="meta", dtype=torch.int64 if codes else torch.float32)
    loss = step(x, told, 1)
    loss.total.backward()
    assert {number.device.type for number in (loss.total, *loss.log.values())} == {"meta"}
    assert {p.grad.device.type for p in step.parameters() if p.grad is not None} == {"meta"}
