import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal, Uniform

from latentscape.core.errors import DataError
from latentscape.core.random import seeded
from latentscape.dist.delta import Delta
from latentscape.dist.diagonal import DiagonalLaplace, DiagonalNormal, DiagonalUniform
from latentscape.measure.latent import examine
from latentscape.measure.match import information, usage
from latentscape.models.model import LatentModel, Layer


class Told(LatentModel):
    """A model whose posterior is told by x = (mean, log scale), and whose decoder wants z to be that mean."""

    def __init__(self, d=2, kind="normal", listens=True):
        super().__init__()
        self.d, self.kind, self.listens = d, kind, listens
        self.event_shape, self.latent_shapes = (2 * d,), ((d,),)
        self.seen = 0
        self.dropout = torch.nn.Dropout(0.5)

    def posterior(self, x):
        loc, scale = x[:, : self.d], x[:, self.d :].exp()
        match self.kind:
            case "normal" | "ladder":
                return DiagonalNormal(loc, scale)
            case "laplace":
                return DiagonalLaplace(loc, scale)
            case "uniform":
                return DiagonalUniform(loc, scale)
            case "full":
                return MultivariateNormal(loc, torch.diag_embed(scale.square()))
            case "point":
                return Delta(loc)

    def infer(self, x, context={}, *, samples=1, mean=False):
        self.seen += len(x)
        q = self.posterior(self.dropout(x))
        zero = torch.zeros(1, self.d)
        p = DiagonalNormal(zero, zero + 1)
        z = q.mean[None] if mean else q.rsample((samples,))
        if self.kind == "ladder":  # the lower layer's posterior follows the draw of the upper one
            lower = DiagonalNormal(z, zero + 0.5)
            return Layer(z, q, p), Layer(lower.rsample(), lower, p)
        return (Layer(z, q, p),)

    def generate(self, n, context={}, *, clamp=(), temperature=()):
        return (torch.randn(n, self.d),)

    def decode(self, z, context={}):
        loc = torch.cat([z[0] if self.listens else z[0] * 0, torch.zeros_like(z[0])], 1)
        return Independent(Normal(loc, 1.0), 1)


MEANS = torch.tensor([[0.0, 0.0], [2.0, 1.5], [-2.5, -1.0], [1.0, 2.0], [-0.5, 0.3]])
SCALES = torch.tensor([[0.5, 1.0], [0.3, 0.4], [0.8, 0.3], [1.2, 0.6], [0.2, 0.9]])
FIVE = torch.cat([MEANS, SCALES.log()], 1)


def many(rows, times, size=700):
    return [(x, {}) for x in rows.repeat(times, 1).split(size)]


def integrals(family):
    """Mutual information, KL to the prior and total correlation of the mixture of five, on a fine grid."""
    grid = np.linspace(-14, 14, 1401)
    step = grid[1] - grid[0]
    each = [
        [family(loc=float(m), scale=float(s)).pdf(grid) for m, s in zip(mean, scale, strict=True)]
        for mean, scale in zip(MEANS, SCALES, strict=True)
    ]
    joint = np.mean([np.outer(first, second) for first, second in each], 0)
    margins = [np.mean([both[axis] for both in each], 0) for axis in (0, 1)]

    def entropy(p, cell):
        return -(p[p > 0] * np.log(p[p > 0])).sum() * cell

    whole = entropy(joint, step**2)
    own = np.mean([sum(family(scale=float(s)).entropy() for s in scale) for scale in SCALES])
    prior = stats.norm.logpdf(grid)
    cross = sum((margin * prior).sum() * step for margin in margins)
    return whole - own, -whole - cross, sum(entropy(margin, step) for margin in margins) - whole


@pytest.mark.parametrize(("kind", "family"), [("normal", stats.norm), ("laplace", stats.laplace)])
def test_information_is_that_of_the_mixture(kind, family):
    found = information(Told(kind=kind), many(FIVE, 400))
    for (name, estimate), exact in zip(found.items(), integrals(family), strict=True):
        assert estimate.value == pytest.approx(exact, abs=4 * estimate.error), name
        assert estimate.error < 0.08
        assert estimate.unit == "nats"
    assert list(found) == ["mutual_information", "marginal_kl", "total_correlation"]


def test_a_posterior_that_does_not_factorise_leaves_the_total_correlation_out():
    found = information(Told(kind="full"), many(FIVE, 400))
    assert list(found) == ["mutual_information", "marginal_kl"]
    assert found["mutual_information"].value == pytest.approx(integrals(stats.norm)[0], abs=0.1)


TWINS = {"normal": Normal, "laplace": Laplace, "uniform": lambda loc, scale: Uniform(loc - scale, loc + scale)}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize("population", [None, 1000])
def test_the_estimator_is_the_formula_by_loops(kind, population, monkeypatch):
    monkeypatch.setattr("latentscape.measure.match.OVERLAP", -100.0)
    model, x = Told(kind=kind), FIVE.clone()
    x[:, 2:] += 1.2
    found = information(model, [(x[:2], {}), (x[2:], {})], population=population)
    model.eval()
    draws = []
    for index, rows in enumerate((x[:2], x[2:])):
        with seeded("information", 0, index):
            draws.append(model.infer(rows)[0].z[0])
    z, size = torch.cat(draws).double(), population or 5
    expected = np.zeros(3)
    for i in range(5):
        q = [TWINS[kind](x[j, :2].double(), x[j, 2:].double().exp()) for j in range(5)]
        density = [torch.where(support(each, z[i]), each.log_prob(clip(each, z[i])).exp(), 0.0) for each in q]

        def mixed(values, i=i):
            others = sum(values[j] for j in range(5) if j != i) / 4
            return values[i] / size + (size - 1) / size * others

        joint = math.log(mixed([float(value.prod()) for value in density]))
        parts = sum(math.log(mixed([float(value[axis]) for value in density])) for axis in (0, 1))
        prior = stats.norm.logpdf(z[i]).sum()
        expected += np.array([math.log(density[i].prod()) - joint, joint - prior, joint - parts]) / 5
    names = ["mutual_information", "marginal_kl", "total_correlation"]
    assert [found[name].value for name in names] == pytest.approx(expected, abs=1e-5)


def support(each, z):
    return (z > each.low) & (z < each.high) if isinstance(each, Uniform) else torch.ones_like(z, dtype=torch.bool)


def clip(each, z):
    return torch.minimum(torch.maximum(z, each.low), each.high - 1e-9) if isinstance(each, Uniform) else z


def correlated(n=3000, scale=0.8):
    means = torch.randn(n, 2, generator=torch.Generator().manual_seed(3)) @ torch.tensor([[1.0, 0.9], [0.0, 0.5]])
    return torch.cat([means, torch.full((n, 2), math.log(scale))], 1), torch.tensor([[1.0, 0.9], [0.9, 1.06]])


def test_the_numbers_of_normal_laws_meet_their_closed_forms():
    x, covariance = correlated()
    found = usage(Told(), [(rows, {}) for rows in x.split(500)])
    whole = covariance + 0.64 * torch.eye(2)
    total = float(-0.5 * torch.log(1 - whole[0, 1] ** 2 / (whole[0, 0] * whole[1, 1])))
    mutual = float(0.5 * torch.logdet(whole / 0.64))
    rate = 0.5 * float(covariance.trace() + 2 * 0.64 - 2 - 2 * math.log(0.64))
    for name, exact in {
        "total_correlation_gaussian": total,
        "mutual_information_gaussian": mutual,
        "total_correlation": total,
        "mutual_information": mutual,
        "kl": rate,
        "marginal_kl": rate - mutual,
    }.items():
        low, high = found[name].interval(0.999)
        assert low - 0.02 <= exact <= high + 0.02, name  # q(z) of few items is a little more than normal
        assert high - low < 0.3
    assert found["mutual_information"].value < found["mutual_information_gaussian"].value + 0.05


def test_rates_are_those_of_the_examination_and_codes_of_others_say_nothing():
    x, _ = correlated(1200)
    batches = [(rows, {}) for rows in x.split(500)]
    model, deaf = Told(), Told(listens=False)
    found, seen = usage(model, batches), examine(model, batches)
    assert found["kl"].value == pytest.approx(seen.rate, rel=1e-6)
    assert found["kl_max"].value == pytest.approx(float(seen.dimension_rate.max()), rel=1e-6)
    assert found["active_latents"].value == seen.active == 2
    assert found["elbo"].value == pytest.approx(-found["distortion"].value - found["kl"].value)
    # E (m - z')^2 is twice the variance of the means plus that of the draws, E (m - z)^2 that of the draws
    difference = found["distortion_shuffled"].value - found["distortion"].value
    assert difference == pytest.approx(float(x[:, :2].var(0).sum()), rel=0.15)
    ignored = usage(deaf, batches)
    assert ignored["distortion_shuffled"] == ignored["distortion"]


def test_no_item_keeps_its_code_and_alike_batches_are_mixed():
    class Spy(Told):
        def decode(self, z, context={}):
            self.given.append(z[0])
            return super().decode(z, context)

    spy = Spy(kind="point")
    spy.given = []
    x = torch.cat([torch.arange(40.0)[:, None].expand(40, 2), torch.zeros(40, 2)], 1)
    usage(spy, [(rows, {}) for rows in x.split(10)])
    own, other = torch.cat(spy.given[:4])[:, 0], torch.cat(spy.given[4:])[:, 0]
    assert (own != other).all()
    assert other.sort().values.tolist() == own.tolist()
    assert ((own // 10) != (other // 10)).float().mean() > 0.5


def test_a_point_encoder_keeps_what_applies():
    x, covariance = correlated()
    found = usage(Told(kind="point"), [(x, {})])
    assert set(found) == {"distortion", "distortion_shuffled", "total_correlation_gaussian"}
    exact = float(-0.5 * torch.log(1 - covariance[0, 1] ** 2 / covariance[1, 1]))
    assert found["total_correlation_gaussian"].value == pytest.approx(exact, abs=0.06)


def test_a_hierarchy_has_no_aggregated_posterior():
    x, _ = correlated(100)
    found = usage(Told(kind="ladder"), [(x, {})])
    assert {"mutual_information", "marginal_kl", "total_correlation"}.isdisjoint(found)
    assert found["kl"].value > 0


def test_what_needs_overlap_is_left_out_where_there_is_none():
    rows = torch.cat([torch.randn(500, 16), torch.full((500, 16), -1.5)], 1)
    found = usage(Told(16), [(rows, {})])
    assert found["mutual_information"].value == pytest.approx(math.log(500), abs=0.05)
    assert {"marginal_kl", "total_correlation"}.isdisjoint(found)
    exact = 8 * math.log(1 + math.exp(3))  # of the law that the items come from
    assert found["mutual_information_gaussian"].value == pytest.approx(exact, abs=0.5)
    assert found["total_correlation_gaussian"].value == pytest.approx(0, abs=0.2)


def test_a_single_item_says_nothing_of_others():
    found = usage(Told(16), [(torch.cat([torch.randn(1, 16), torch.full((1, 16), -1.5)], 1), {})])
    assert {"kl", "kl_max", "active_latents"} <= set(found)
    assert all(number.error is None for number in found.values())


def test_replicates_of_normal_laws_lie_about_their_values():
    """Resampled items are fewer different ones, whose covariance is nearer to singular."""
    rows = torch.cat([torch.randn(100, 16), torch.full((100, 16), -1.5)], 1)
    found = usage(Told(16), [(rows, {})])
    for name in ("total_correlation_gaussian", "mutual_information_gaussian"):
        low, high = found[name].interval()
        assert low < found[name].value < high, name
        assert found[name].error > 0.05


def test_a_rate_without_parts_is_a_rate():
    class Odd(DiagonalNormal):
        @property
        def variance(self):
            raise NotImplementedError

    class Whole(Told):
        def infer(self, x, context={}, *, samples=1, mean=False):
            layer = super().infer(x, context, samples=samples, mean=mean)[0]
            return (Layer(layer.z, Odd(layer.q.loc, layer.q.scale), MultivariateNormal(torch.zeros(2), torch.eye(2))),)

    found = usage(Whole(), many(FIVE, 40))
    assert "kl" in found
    assert "kl_max" not in found


def test_a_latent_that_is_constant_leaves_no_correlation():
    x = torch.zeros(50, 4)
    assert "total_correlation_gaussian" not in usage(Told(kind="point"), [(x, {})])


def test_few_items():
    alone = usage(Told(), [(FIVE[:1], {})])
    assert set(alone) == {"distortion", "kl", "elbo", "kl_max", "active_latents"}
    assert information(Told(), []) == {}
    with pytest.raises(DataError, match="no batches"):
        usage(Told(), [])
    with pytest.raises(DataError, match="population of 3 for 5 items"):
        information(Told(), [(FIVE, {})], population=3)


def test_it_takes_evenly_spaced_items_and_leaves_the_world_as_it_was():
    model = Told().train()
    state = torch.random.get_rng_state()
    first = information(model, many(FIVE, 20, size=30), items=10)
    assert model.seen == 10
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert information(model, many(FIVE, 20, size=30), items=10) == first
    assert information(model, many(FIVE, 20, size=30), items=10, seed=1) != first
    assert first["mutual_information"].value <= math.log(10) + 1e-9
