"""What every LatentModel obeys, whatever it is made of."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from latentscape.core.random import seeded
from latentscape.dist.conditional import Context
from latentscape.dist.divergences import why_infinite
from latentscape.laws.conditional import check_distribution, check_gradients, check_storage
from latentscape.models.model import LatentModel, Terms


def check_model(build: Callable[[], LatentModel], x: Tensor, context: Context = {}) -> None:
    """Check a model against all laws below.

    Args:
        build: makes the model; called twice, with different initial weights.
        x: data that it can describe, ``[b, *event]``, b at least 2.
        context: of the items.

    Raises:
        AssertionError: says which law is broken.
    """
    model = build()
    model.check(x, context)
    check_shapes(model, x, context)
    check_terms(model, x, context)
    check_codes(model, x, context)
    check_generation(model)
    terms = model.train().terms(x, context)
    rates = [rate for rate, layer in zip(terms.rate, terms.layers, strict=True) if not why_infinite(layer.q, layer.p)]
    check_gradients(model, sum(rates, start=terms.distortion))
    model.eval()
    fresh = build().eval()
    check_storage(model, fresh)
    with torch.no_grad():
        first, second = (_seeded_terms(m, x, context) for m in (model, fresh))
    assert torch.equal(first.distortion, second.distortion), "a loaded model gives another distortion"
    with torch.no_grad():
        for layer in first.layers:
            if layer.q.event_shape.numel() <= 8:
                check_distribution(layer.p)
                if not why_infinite(layer.q, layer.p):
                    check_distribution(layer.q)
        check_distribution(first.likelihood, draws=400)


def check_shapes(model: LatentModel, x: Tensor, context: Context = {}) -> None:
    """Check the shapes of terms, layers, latents and reconstructions, for one sample and for several."""
    b = x.shape[0]
    assert x.shape[1:] == model.event_shape, f"x is {tuple(x.shape[1:])} an item, the model says {model.event_shape}"
    for samples in (1, 3):
        terms = model.terms(x, context, samples=samples)
        assert terms.distortion.shape == (samples, b), f"distortion has shape {tuple(terms.distortion.shape)}"
        count = len(model.latent_shapes)
        assert len(terms.rate) == len(terms.layers) == count, "layers, rates and shapes differ in number"
        assert all(rate.shape == (samples, b) for rate in terms.rate), "a rate's shape is not [k, b]"
        for layer, shape in zip(terms.layers, model.latent_shapes, strict=True):
            assert layer.z.shape == (samples, b, *shape), f"z has shape {tuple(layer.z.shape)}"
            assert layer.q.event_shape == shape == layer.p.event_shape, "q or p has another event shape than z"
        assert terms.likelihood.batch_shape == (samples * b,), "the likelihood's batch is not [k * b]"
        assert terms.likelihood.event_shape == model.event_shape, "the likelihood's event is not x's"
    parts = [value for layer in terms.layers for value in (layer.z, layer.q.mean)]
    assert all(part.dtype in (torch.float32, torch.float64) for part in parts), "parameters in half precision"


def check_terms(
    model: LatentModel, x: Tensor, context: Context = {}, *, draws: int = 2000, errors: float = 5.0
) -> None:
    """Check that distortion is the decoder's own, and that closed-form and sampled rates agree in expectation.

    A rate without a closed form must be the sampled one of its own z, and so must every rate that is not ``exact``.
    """
    model.eval()
    with torch.no_grad():
        terms = _seeded_terms(model, x, context)
        likelihood = model.decode(tuple(layer.z[0] for layer in terms.layers), context)
        gap = (likelihood.log_prob(x) + terms.distortion[0]).abs().max()
        limit = 1e-4 * (1 + terms.distortion.abs().max())
        assert gap <= limit, f"distortion is {float(gap):.3g} nats off the decoder's"
        if len(terms.layers) != 1:
            return  # below the top, q and p are functions of the sample above
        q, p = terms.layers[0].q, terms.layers[0].p
        if why_infinite(q, p):
            assert bool(torch.isinf(terms.rate[0]).all()), "the rate is infinite by construction but reads otherwise"
            return
        z, own = terms.layers[0].z, terms.layers[0].rate(exact=False)
        gap = (q.log_prob(z) - p.log_prob(z) - own).abs().max()
        assert gap <= 1e-4 * (1 + own.abs().max()), (
            f"a sampled rate is {float(gap):.3g} nats off log q - log p of its z"
        )
        try:
            kl_divergence(q, p)
        except NotImplementedError:
            assert torch.equal(own, terms.rate[0]), "a rate without a closed form is not the sampled one"
            return
        z = q.sample((draws,))
        sampled = (q.log_prob(z) - p.log_prob(z)).double()
        gap = (sampled.mean(0) - terms.rate[0][0].double()).abs()
        worst = (gap - errors * sampled.std(0) / draws**0.5 - 1e-4 * (1 + terms.rate[0].abs())).max()
        assert worst <= 0, f"the closed-form rate is {float(gap.max()):.3g} nats off the mean of its samples"


def check_codes(model: LatentModel, x: Tensor, context: Context = {}) -> None:
    """Check that codes are deterministic, and do not depend on the other items of the batch (in evaluation)."""
    model.eval()
    with torch.no_grad():
        first, second = model.encode(x, context), model.encode(x, context)
        alone = model.encode(x[:1], {name: value[:1] for name, value in context.items()})
    for a, b, c in zip(first, second, alone, strict=True):
        assert torch.equal(a, b), "encode gives another code at the second call"
        assert torch.allclose(a[:1], c, rtol=1e-4, atol=1e-5), "an item's code depends on the other items"


def check_generation(model: LatentModel, n: int = 5) -> None:
    """Check ancestral samples: shapes, temperature 0 gives means, a clamped layer is held."""
    layers = len(model.latent_shapes)
    with torch.no_grad():
        latents = model.generate(n)
        for z, shape in zip(latents, model.latent_shapes, strict=True):
            assert z.shape == (n, *shape), f"generate gives {tuple(z.shape)}, expected {(n, *shape)}"
        cold = [model.generate(n, temperature=(0.0,) * layers) for _ in range(2)]
        assert all(torch.equal(a, b) for a, b in zip(*cold, strict=True)), "temperature 0 still varies"
        held = model.generate(n, clamp=latents)
        assert all(torch.equal(a, b) for a, b in zip(held, latents, strict=True)), "a clamped layer was changed"
        assert model.decode(latents).event_shape == model.event_shape, "a decoded sample has another shape than x"


def _seeded_terms(model: LatentModel, x: Tensor, context: Context) -> Terms:
    with seeded("law", device=x.device):
        return model.terms(x, context)
