"""Labels: what a model is told of an item, as learnt embeddings.

Letters: b rows, e numbers a row. A code is the place of a label's value in the vocabulary; -1, or a label that is
absent, is unknown. In training labels of some rows are withheld, so that a model also learns to do without.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from latentscape.core.errors import ConfigError, LikelihoodError, nearest
from latentscape.dist.conditional import Context


class Labels(nn.Module):
    """Embeddings of the labels that a model is told; row 0 of each table is "unknown"."""

    def __init__(self, names: tuple[str, ...], vocabulary: Mapping[str, int], width: int) -> None:
        super().__init__()
        for name in names:
            if name not in vocabulary:
                raise ConfigError(f"model.condition: the corpus has no label '{name}'{nearest(name, vocabulary)}")
        self.names = names
        self.sizes = tuple(vocabulary[name] for name in names)
        self.tables = nn.ModuleList(nn.Embedding(size + 1, width) for size in self.sizes)
        self.width = width * len(names)

    def forward(self, context: Context, rows: int) -> Float[Tensor, "b e"]:
        """Return the embeddings side by side."""
        unknown = torch.full((rows,), -1, device=next(self.parameters()).device)
        parts = [table(context.get(name, unknown) + 1) for name, table in zip(self.names, self.tables, strict=True)]
        return torch.cat(parts, dim=1)

    def check(self, context: Context) -> None:
        """Refuse label codes that no table has.

        Raises:
            LikelihoodError: what arrived and what was expected.
        """
        for name, size in zip(self.names, self.sizes, strict=True):
            codes = context.get(name)
            if codes is not None and not bool(((codes >= -1) & (codes < size)).all()):
                span = f"{int(codes.min())} to {int(codes.max())}"
                raise LikelihoodError(f"label '{name}' has codes {span}, expected -1 to {size - 1}")


def draw_hidden(rows: int, things: int, share: float, device: torch.device) -> Bool[Tensor, "b k"]:
    """Draw which of several things are hidden from which rows: all of them from a share of the rows.

    Of several, each is also hidden by itself, from as large a share: who is told of one alone is asked later, and a
    model that never met that combination answers with anything.

    The draws come from torch's global stream, which the training loop sets for every step and shares out among
    processes.
    """
    hidden = (torch.rand(rows, device=device) < share)[:, None].expand(-1, things)
    return hidden | (torch.rand(rows, things, device=device) < share) if things > 1 else hidden


def told_of(context: Context, unknown: Mapping[str, float | int]) -> dict[str, float | int]:
    """Return what can be hidden: the names that a context holds, each with what stands for not knowing it."""
    return {name: nothing for name, nothing in unknown.items() if name in context}


def hide(context: Context, unknown: Mapping[str, float | int], hidden: Bool[Tensor, "b k"]) -> Context:
    """Return a context that says nothing of what is hidden from its rows.

    Args:
        context: what is told.
        unknown: by name, what stands for not knowing it; the context holds all of them.
        hidden: which of these, of every row.
    """
    own = {}
    for (name, nothing), rows in zip(unknown.items(), hidden.T, strict=True):
        value = context[name]
        own[name] = value.masked_fill(rows.reshape(-1, *[1] * (value.ndim - 1)), nothing)
    return {**context, **own}


def withhold(
    context: Context, unknown: Mapping[str, float | int], rows: int, share: float, device: torch.device
) -> Context:
    """Return a context of ``rows`` items from which things are hidden as :func:`draw_hidden` draws it.

    Args:
        context: what is told.
        unknown: by name, what stands for not knowing it; names that the context does not hold are passed over.
        rows: b.
        share: of the rows.
        device: where the context is.
    """
    told = told_of(context, unknown)
    return hide(context, told, draw_hidden(rows, len(told), share, device))
