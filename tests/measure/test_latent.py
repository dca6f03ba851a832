import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from latentscape.core.errors import DataError, LikelihoodError
from latentscape.dist.conditional import point
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.likelihoods import CategoricalConfig
from latentscape.measure.latent import dimension_rate, evaluate_model, examine, negative_log_likelihood
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.hierarchy import Hierarchy, HierarchyConfig, masked
from latentscape.models.memory import RECORDING
from latentscape.models.model import LatentModel, Layer


class Linear(LatentModel):
    """x = a z + noise, with a posterior that is exact in all dimensions but those told to sleep."""

    def __init__(self, gains, noise=0.5, kind="diagonal"):
        super().__init__()
        self.gains, self.noise, self.kind = torch.tensor(gains), noise, kind
        self.event_shape = (len(gains),)
        self.latent_shapes = ((len(gains),),)
        self.dropout = torch.nn.Dropout(0.5)

    def posterior(self, x):
        variance = 1 / (1 + self.gains**2 / self.noise**2)
        mean = x * self.gains / self.noise**2 * variance
        match self.kind:
            case "diagonal":
                return DiagonalNormal(mean, variance.sqrt().expand_as(mean))
            case "full":
                return MultivariateNormal(mean, torch.diag(variance))
            case "point":
                return Delta(mean)

    def infer(self, x, context={}, *, samples=1, mean=False):
        q = self.posterior(self.dropout(x))
        zero = torch.zeros(len(self.gains))
        p = DiagonalNormal(zero, zero + 1)
        return (Layer(q.mean[None] if mean else q.rsample((samples,)), q, p),)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        return (torch.randn(n, len(self.gains)),)

    def decode(self, z, context={}):
        return Independent(Normal(self.gains * z[0], self.noise), 1)


GAINS = [2.0, 1.0, 0.1, 0.0]


def batches(items=3000, size=700, gains=GAINS):
    stream = torch.Generator().manual_seed(2)
    z, e = torch.randn(2, items, len(gains), generator=stream)
    x = torch.tensor(gains) * z + 0.5 * e
    return [(rows, {}) for rows in x.split(size)]


def exact(gains=GAINS, noise=0.5):
    """The rate of every dimension, averaged over data, from the channel's capacity: ln sqrt(1 + a^2 / s^2)."""
    return 0.5 * np.log1p(np.array(gains) ** 2 / noise**2)


def test_rates_and_active_latents_meet_the_closed_form():
    seen = examine(Linear(GAINS), batches())
    assert seen.items == 3000
    np.testing.assert_allclose(seen.dimension_rate, exact(), atol=0.03)
    assert seen.active == 2
    assert float(seen.dimension_rate.sum()) == pytest.approx(seen.rate, rel=1e-5)
    a2 = np.array(GAINS) ** 2
    np.testing.assert_allclose(seen.mean_variance, a2 / (a2 + 0.25), atol=0.03)
    assert seen.numbers()["active_units"].value == 3  # 0.1 has a variance of 0.04 and a rate of 0.02 nat


def test_the_bound_is_the_exact_likelihood_where_the_posterior_is_exact():
    numbers = evaluate_model(Linear(GAINS), batches())
    x = torch.cat([rows for rows, _ in batches()])
    marginal = Normal(0.0, (torch.tensor(GAINS) ** 2 + 0.25).sqrt()).log_prob(x).sum(1)
    assert numbers["elbo"].value == pytest.approx(float(marginal.mean()), abs=4 * numbers["elbo_error"].value + 1e-6)
    nll = negative_log_likelihood(Linear(GAINS), batches(), samples=5)
    assert list(nll) == ["nll_5", "nll_5_error"]
    assert nll["nll_5"].value == pytest.approx(-float(marginal.mean()), abs=1e-5)
    assert nll["nll_5_error"].value == pytest.approx(float(marginal.std()) / 3000**0.5, rel=1e-5)
    assert {number.unit for number in nll.values()} == {"nats"}


def test_windows_of_one_recording_do_not_make_a_bound_more_certain():
    numbers = torch.arange(3000).split(700)
    told = [(x, {RECORDING: own}) for (x, _), own in zip(batches(), numbers, strict=True)]
    nll = {"apart": told, "told nothing": batches(), "five times": [pair for pair in told for _ in range(5)]}
    errors = {
        name: negative_log_likelihood(Linear(GAINS), rows, samples=2)["nll_2_error"].value for name, rows in nll.items()
    }
    assert errors["apart"] == pytest.approx(errors["told nothing"], rel=1e-6)
    assert errors["five times"] == pytest.approx(errors["apart"], rel=1e-3)
    one = [(x, {RECORDING: torch.zeros(len(x), dtype=torch.int64)}) for x, _ in batches()]  # no recording is certain
    assert negative_log_likelihood(Linear(GAINS), one, samples=2)["nll_2_error"].value == errors["told nothing"]
    assert examine(Linear(GAINS), nll["five times"]).elbo_error == pytest.approx(1.3 / 3000**0.5, rel=0.15)


def test_squared_error_and_standard_error_are_numpys():
    model, data = Linear(GAINS), batches()
    model.eval()
    x = torch.cat([rows for rows, _ in data])
    error = (model.decode(model.encode(x)).mean - x).square().mean()
    seen = examine(model, data)
    assert seen.squared_error == pytest.approx(float(error), rel=1e-5)
    assert seen.elbo_error == pytest.approx(1.5 / 3000**0.5, rel=0.15)


def test_the_squared_error_of_a_model_that_fills_in_is_of_what_is_hidden():
    model = Hierarchy(HierarchyConfig(latents=(2,), levels={"kind": "mlp", "widths": [8]}, conditional=True), (1, 4, 4))
    x = torch.randn(6, 1, 4, 4)
    mask = torch.zeros_like(x)
    mask[:, :, :, :3] = 1
    context = masked(x, mask)
    seen = examine(model, [(x, context)])
    with torch.no_grad():
        made = point(model.eval().decode(model.encode(x, context), context))
    apart = (made - x).square()
    assert float(apart[mask.bool()].max()) == 0
    assert seen.squared_error == pytest.approx(float(apart[..., 3].mean()), rel=1e-5)


def test_it_is_a_function_of_the_seed_and_leaves_the_world_as_it_was():
    model = Linear(GAINS).train()
    before = torch.random.get_rng_state()
    first, again, other = (evaluate_model(model, batches(100), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_full_posterior_gives_its_marginals():
    full, diagonal = (examine(Linear(GAINS, kind=kind), batches(200)) for kind in ("full", "diagonal"))
    torch.testing.assert_close(full.dimension_rate, diagonal.dimension_rate)


def test_a_point_encoder_has_no_rate_and_no_likelihood():
    numbers = evaluate_model(Linear(GAINS, kind="point"), batches(200))
    assert "rate" not in numbers
    assert "elbo" not in numbers
    assert "active_latents" not in numbers
    assert numbers["squared_error"].value > 0
    assert all(math.isfinite(number.value) for number in numbers.values())
    with pytest.raises(LikelihoodError, match="Linear"):
        negative_log_likelihood(Linear(GAINS, kind="point"), batches(200), samples=2)


def test_unknown_moments_are_not_made_up():
    class Odd(torch.distributions.Distribution):
        arg_constraints = {}

    q = Odd(torch.Size([3]), torch.Size([2]))
    rate = dimension_rate(Layer(torch.zeros(1, 3, 2), q, q))
    assert rate.shape == (3, 2)
    assert rate.isnan().all()


def test_codes_are_numbers_to_the_squared_error():
    """x of whole numbers, told by a law that has a mode and no mean."""
    config = AutoencoderConfig(latent=2, likelihood=CategoricalConfig(levels=8))
    model = Autoencoder(config, (6,)).eval()
    x = torch.randint(8, (5, 6))
    likeliest = model.decode(model.encode(x)).mode
    seen = examine(model, [(x, {})])
    assert seen.squared_error == pytest.approx(np.square(likeliest.numpy() - x.numpy()).mean())


def test_no_items_is_an_error():
    with pytest.raises(DataError, match="no batches"):
        examine(Linear(GAINS), [])
    with pytest.raises(DataError, match="no batches"):
        negative_log_likelihood(Linear(GAINS), [])


def test_one_item_has_no_standard_error():
    one = [(torch.zeros(1, 4), {})]
    assert examine(Linear(GAINS), one).elbo_error == 0
    assert negative_log_likelihood(Linear(GAINS), one, 3)["nll_3_error"].value == 0
