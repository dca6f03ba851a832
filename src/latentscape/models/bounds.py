r"""Bounds on the likelihood of data, in nats an item.

Letters: K importance samples, b batch, D distortion, R_l one-sample rate of layer l.

.. math:: L_K(x) = \log \frac1K \sum_{k=1}^K \exp\Big(-D_k - \sum_l R_{lk}\Big) \le \log p(x)

(Burda et al. 2016, eq. 8); its mean rises with K. ``K = 1`` is an unbiased estimate of the evidence bound.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentscape.core.errors import LikelihoodError, UsageError
from latentscape.core.random import seeded
from latentscape.dist.conditional import Context
from latentscape.dist.divergences import why_infinite
from latentscape.models.model import Model, Terms


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation, without gradients, and back."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def require_rates(model: Model, terms: Terms) -> None:
    """Refuse a model whose rates are absent or infinite.

    Raises:
        LikelihoodError: names the model and the reason.
    """
    name = type(model).__name__
    if not terms.rate:
        raise LikelihoodError(f"{name} has no latent layers, so no bound to estimate: its distortion is its likelihood")
    for layer in terms.layers:
        if reason := why_infinite(layer.q, layer.p):
            raise LikelihoodError(f"{name} has no likelihood bound: its rate is infinite, since {reason}")


def iw_bound(
    model: Model, x: Tensor, context: Context = {}, samples: int = 1000, chunk: int = 2000, seed: int = 0
) -> Float[Tensor, " b"]:
    """Return the importance-weighted bound of every item, nats; evaluation mode, no gradients.

    Exactly ``samples`` draws an item are used. At most ``chunk`` rows are decoded at a time, and an item is encoded
    once unless ``samples > chunk``.

    Args:
        model: any model with finite rates.
        x: ``[b, *event]``.
        context: conditions of the b items.
        samples: K.
        chunk: rows (items times samples) at a time; memory is bounded by it.
        seed: of the draws; the result is a function of the arguments.

    Raises:
        LikelihoodError: the model's rates are absent or infinite.
        UsageError: ``samples`` or ``chunk`` is below 1.
    """
    total = _fold(model, x, context, samples, chunk, seed, exact=False)
    return total - math.log(samples)


def elbo(
    model: Model, x: Tensor, context: Context = {}, samples: int = 1, chunk: int = 2000, seed: int = 0
) -> Float[Tensor, " b"]:
    """Return the evidence lower bound of every item, nats, with closed-form rates where known; never weighted.

    The mean over ``samples`` draws. Arguments and errors as for :func:`iw_bound`.
    """
    return _fold(model, x, context, samples, chunk, seed, exact=True) / samples


def _fold(
    model: Model, x: Tensor, context: Context, samples: int, chunk: int, seed: int, *, exact: bool
) -> Float[Tensor, " b"]:
    """Return the sum of log weights over samples (``exact``), or the log of the sum of weights."""
    if samples < 1 or chunk < 1:
        raise UsageError(f"got samples {samples} and chunk {chunk}, expected at least 1 of each")
    items = max(1, chunk // samples)
    parts: list[Tensor] = []
    with evaluating(model), seeded("bound", seed, device=x.device):
        for start in range(0, x.shape[0], items):
            rows = slice(start, start + items)
            told = {name: value[rows] for name, value in context.items()}
            folded: list[Tensor] = []
            for done in range(0, samples, chunk):
                terms = model.terms(x[rows], told, samples=min(chunk, samples - done), exact=exact)
                require_rates(model, terms)
                weights = -(terms.distortion.double() + sum(rate.double() for rate in terms.rate))
                folded.append(weights.sum(0) if exact else weights.logsumexp(0))
            parts.append(torch.stack(folded).sum(0) if exact else torch.stack(folded).logsumexp(0))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64, device=x.device)
