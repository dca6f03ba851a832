"""What a model of sequences holds between two windows of one sound.

Back-propagation through time is truncated at the window's ends, but what was heard is not: window number ``place`` of a
stretch begins with the state that number ``place - 1`` left, one training step earlier, without its gradients.

The data say what follows on what (``place`` in the context, a pure function of seed and step), the model turns a state
into the next one and keeps none (``terms`` reads it from the context and returns what comes after), and a
:class:`Memory` carries it. In training it is a part of the step, so that checkpoints hold it and a resumed run goes on
to the bit; it is no part of the model, so that weights are weights.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentscape.core.distributed import gather_rows, own_rows
from latentscape.dist.conditional import Context

PLACE = "place"
"""In the context, ``[b]`` int64: how many windows of its stretch lie before each; 0 is a begin."""
RECORDING = "recording."
"""In the context of held-out windows of sound, ``[b]`` int64: the recording that each is cut from, of a long one the
part. No model reads it. Windows of one are alike: what they tell is as certain as so many recordings allow."""
BEFORE = "before."
"""Prefix, in the context, of the parts of the state that each window begins with, ``[b, ...]``."""


class Memory(nn.Module):
    """The states that the rows of the last batch left.

    Every process holds those of all, so that the first one's checkpoint has them.
    """

    def recall(self, context: Context) -> Context:
        """Return the context, with the state before each window where this batch follows on the last one."""
        place = context.get(PLACE)
        if place is None:
            return context
        held = {name: own_rows(value, len(place)) for name, value in self.named_buffers()}
        return {**context, **{BEFORE + name.replace("_", "."): value for name, value in held.items() if len(value)}}

    def keep(self, after: Mapping[str, Tensor]) -> None:
        """Hold what a batch left, and nothing of what was held before."""
        self._buffers.clear()
        for name, value in after.items():
            finite = value.detach().float().nan_to_num(0.0, 0.0, 0.0)  # a step that was refused is not remembered
            self.register_buffer(name.replace(".", "_"), gather_rows(finite))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:  # pyrefly: ignore
        """Take the states that there are, for as many rows as there are."""
        self._buffers.clear()
        for name in state_dict:
            if name.startswith(prefix):
                self.register_buffer(name.removeprefix(prefix), torch.empty_like(state_dict[name]))
        super()._load_from_state_dict(state_dict, prefix, *others)


def state_of(context: Context) -> dict[str, Tensor] | None:
    """Return the state in a context by its parts' names, or ``None`` where there is none."""
    state = {name.removeprefix(BEFORE): value for name, value in context.items() if name.startswith(BEFORE)}
    return state or None
