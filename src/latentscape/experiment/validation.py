"""What is asked of a model between the steps of its training, on items that it does not learn from."""

import math
from collections.abc import Callable, Mapping

import torch

from latentscape.core.random import seeded
from latentscape.data.examples import Batch, Examples
from latentscape.measure.layers import diagnose
from latentscape.models.hierarchy import Hierarchy
from latentscape.models.memory import Memory
from latentscape.models.model import LatentModel, Model, Objective
from latentscape.train.settle import moved

VALIDATION_ITEMS = 4096
LAYER_ITEMS = 512
"""Items of each part on which the layers of a hierarchy are told apart at a validation."""
LATE = 2**40
"""A step past any warm-up: validation weighs its terms as the end of training does."""


def validation(
    examples: Examples, objective: Objective, batch_size: int, model: Model
) -> Callable[[Model], Mapping[str, float]]:
    """Return what is asked of a model between steps: the objective, at its final weights, on the valid part.

    Of a hierarchy also what each of its layers does, on training and validation items (:mod:`.measure.layers`).
    """
    limit = max(batch_size, min(VALIDATION_ITEMS, model.glance // math.prod(examples.event_shape)))
    held: list[Batch] = list(examples.held("valid", batch_size, limit))
    if len(held) > 1 and len(held[-1][0]) < batch_size:  # a rest of one item has no maximum mean discrepancy
        held.pop()

    several = isinstance(model, LatentModel) and len(model.latent_shapes) > 1
    several = several and (isinstance(model, Hierarchy) or not model.sequential)  # what is drawn as a wave takes long
    most = min(LAYER_ITEMS, limit)
    sides = [list(examples.held(part, batch_size, most)) for part in ("train", "valid")] if several else []

    @torch.no_grad()
    def validate(model: Model) -> dict[str, float]:
        device = next(model.parameters()).device
        sums: dict[str, float] = {}
        total, memory = 0, Memory()
        for index, (x, context) in enumerate(held):
            x, context = x.to(device), {name: value.to(device) for name, value in context.items()}
            context = memory.recall(context)
            with seeded("validate", index, device=device):
                terms = model.terms(x, context)
                loss = objective(model, terms, x, context, LATE)
            memory.keep(terms.after)
            total += len(x)
            for name, value in {"loss": loss.total, **loss.log}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(x)
        layers: dict[str, float] = {}
        if sides:
            assert isinstance(model, LatentModel)
            layers = diagnose(model, *([moved(batch, device) for batch in side] for side in sides))
        return layers | {name: value / total for name, value in sums.items()}

    return validate
