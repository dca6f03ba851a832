import math

import pytest
import torch

from latentscape.core.errors import LikelihoodError, UsageError
from latentscape.dist.priors import UniformPriorConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.bounds import elbo, iw_bound
from latentscape.models.linear import linear_marginal
from latentscape.models.model import Model, Terms
from latentscape.nets.mlp import MlpConfig


def small(**changes):
    config = AutoencoderConfig(latent=2, encoder=MlpConfig(widths=(8,)), decoder=MlpConfig(widths=()), **changes)
    return Autoencoder(config, (4,))


class Counting(Autoencoder):
    """Counts decoded and encoded rows."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.decoded, self.encoded, self.widest = 0, 0, 0

    def decode(self, z, context={}):
        self.decoded += len(z[0])
        self.widest = max(self.widest, len(z[0]))
        return super().decode(z, context)

    def infer(self, x, context={}, *, samples=1, mean=False):
        self.encoded += len(x)
        return super().infer(x, context, samples=samples, mean=mean)


@pytest.mark.parametrize("samples", [1, 7, 10, 13, 120, 150])
def test_k_is_honoured_exactly_memory_is_bounded_and_items_encoded_once(samples):
    model = Counting(AutoencoderConfig(latent=2, encoder=MlpConfig(widths=()), decoder=MlpConfig(widths=())), (4,))
    bound = iw_bound(model, torch.randn(11, 4), samples=samples, chunk=50)
    assert bound.shape == (11,)
    assert model.decoded == 11 * samples
    assert model.widest <= 50
    assert model.encoded == 11 * math.ceil(samples / 50)


def test_bound_is_the_formula_and_not_inverted():
    model, x = small().eval(), torch.randn(5, 4)
    kept = []
    terms = model.terms

    def spy(*arguments, **options):
        kept.append(terms(*arguments, **options))
        return kept[-1]

    model.terms = spy
    bound = iw_bound(model, x, samples=6, chunk=30)
    (seen,) = kept
    weights = (-(seen.distortion + seen.rate[0])).double().exp()
    assert torch.allclose(bound, weights.mean(0).log(), atol=1e-5)
    assert bool((bound >= -(seen.distortion + seen.rate[0]).double().mean(0)).all())  # Jensen: never below the mean


def test_rises_with_k_to_the_exact_likelihood():
    model, x = small().eval(), torch.randn(300, 4)
    exact = linear_marginal(model).log_prob(x.double())
    last = elbo(model, x)
    for samples in (1, 10, 100, 1000):
        bound = iw_bound(model, x, samples=samples)
        rise = bound - last
        assert float(rise.mean()) > -2 * float(rise.std()) / 300**0.5
        last = bound
    assert float((last - exact).mean().abs()) < 0.02


def test_chunks_and_batches_agree():
    model, x = small().eval(), torch.randn(40, 4)
    a, b = (iw_bound(model, x, samples=4000, chunk=chunk) for chunk in (1000, 40_000))
    assert not torch.equal(a, b)  # other chunks draw other samples
    assert float((a - b).mean()) == pytest.approx(0, abs=0.03)


def test_a_function_of_its_arguments_that_leaves_the_world_alone():
    model, x = small().train(), torch.randn(3, 4)
    state = torch.get_rng_state()
    first = iw_bound(model, x, samples=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(iw_bound(model, x, samples=5), first)
    assert not torch.equal(iw_bound(model, x, samples=5, seed=1), first)
    assert not first.requires_grad
    assert model.training
    assert torch.equal(iw_bound(model.eval(), x, samples=5), first)  # the mode asked from is of no consequence
    assert not model.training


def test_elbo_is_distortion_and_rate_unweighted():
    model, x = small().eval(), torch.randn(2000, 4)
    with torch.no_grad():
        terms = model.terms(x)
    assert float(elbo(model, x).mean()) == pytest.approx(-float((terms.distortion + terms.rate[0]).mean()), rel=0.05)
    exact = linear_marginal(model).log_prob(x.double())
    assert float((elbo(model, x, samples=20) - exact).mean()) < 0


def test_conditions_follow_their_items():
    linear = MlpConfig(widths=())
    config = AutoencoderConfig(latent=2, condition=("pitch",), encoder=linear, decoder=linear)
    model = Autoencoder(config, (4,), {"pitch": 30}).eval()
    with torch.no_grad():
        model.decoder.net[-1].weight[:, 2:] *= 20
    x, pitch = torch.randn(30, 4), torch.arange(30)
    together = iw_bound(model, x, {"pitch": pitch}, samples=500, chunk=2000)
    alone = torch.cat([iw_bound(model, x[i : i + 1], {"pitch": pitch[i : i + 1]}, samples=500) for i in range(30)])
    assert torch.allclose(together, alone, rtol=0.1, atol=1.0)
    shuffled = iw_bound(model, x, {"pitch": pitch.flip(0)}, samples=500)
    assert not torch.allclose(together, shuffled, rtol=0.1, atol=1.0)


def test_refusals_by_name():
    x = torch.randn(3, 4)
    with pytest.raises(LikelihoodError, match=r"Autoencoder has no likelihood bound.*deterministic"):
        iw_bound(small(posterior="deterministic"), x)
    with pytest.raises(LikelihoodError, match="box"):
        elbo(small(prior=UniformPriorConfig()), x)

    class Bare(Model):
        event_shape = (4,)

        def terms(self, x, context={}, *, samples=1, exact=True):
            likelihood = torch.distributions.Normal(torch.zeros(len(x)), 1.0)
            return Terms(torch.zeros(samples, len(x)), (), (), likelihood)

    with pytest.raises(LikelihoodError, match="Bare has no latent layers"):
        iw_bound(Bare(), x)
    with pytest.raises(UsageError, match="samples 0"):
        iw_bound(small(), x, samples=0)
    assert iw_bound(small(), torch.randn(0, 4)).shape == (0,)
