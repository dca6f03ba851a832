"""The hierarchy: the laws of every form, the closed form of a linear one, its rates, layers and hidden values."""

import itertools

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, LikelihoodError, UsageError
from latentscape.dist.flow import FlowPriorConfig
from latentscape.dist.likelihoods import BernoulliConfig, CategoricalConfig, GaussianConfig
from latentscape.dist.logistic import LogisticMixtureConfig
from latentscape.dist.masked import Masked
from latentscape.dist.mixture import VampPriorConfig
from latentscape.laws.model import check_model
from latentscape.models.bounds import iw_bound
from latentscape.models.hierarchy import Hierarchy, HierarchyConfig, masked
from latentscape.models.model import LatentModel
from latentscape.models.objectives import Elbo, ElboConfig, Reconstruction, ReconstructionConfig
from latentscape.models.pixels import PixelLaw, PixelsConfig
from latentscape.models.stage import Stage, normal
from latentscape.nets.levels import ConvLevelsConfig, DenseLevelsConfig, Levels
from latentscape.nets.pixelcnn import PixelCnnConfig

DENSE = DenseLevelsConfig(widths=(8, 12))
RECOGNITIONS = ["ladder", "factorised", "chained"]


def real(shape):
    return torch.randn(6, *shape) * 4 - 20


def bits(shape):
    return (torch.rand(6, *shape) > 0.5).float()


def codes(shape):
    return torch.randint(0, 8, (6, *shape))


def levels(shape):
    return torch.randint(0, 17, (6, *shape)) / 16


ELEMENT = GaussianConfig(scale="element")
CONV = ConvLevelsConfig(widths=(6, 4))
TIME = ConvLevelsConfig(widths=(6, 4), dims=1)
PIXELS = PixelsConfig(net=PixelCnnConfig(channels=6, first=3, blocks=1), heard=3)
MEMBERS = {
    "ladder": ({"likelihood": ELEMENT}, (9,), real),
    "ladder, chain of states": ({"likelihood": ELEMENT, "skip": False}, (9,), real),
    "precision": ({"likelihood": ELEMENT, "merge": "precision"}, (9,), real),
    "factorised": ({"likelihood": ELEMENT, "recognition": "factorised"}, (9,), real),
    "chained": ({"likelihood": ELEMENT, "recognition": "chained", "skip": False}, (9,), real),
    "images": ({"likelihood": BernoulliConfig(), "levels": CONV}, (1, 7, 6), bits),
    "precision of images": ({"likelihood": BernoulliConfig(), "levels": CONV, "merge": "precision"}, (1, 7, 6), bits),
    "chained images": ({"likelihood": BernoulliConfig(), "levels": CONV, "recognition": "chained"}, (2, 7, 6), bits),
    "patches along time": ({"likelihood": GaussianConfig(scale="item"), "levels": TIME}, (5, 11), real),
    "optimal scale": ({"likelihood": GaussianConfig(), "levels": CONV}, (6, 7), real),
    "codes": ({"likelihood": CategoricalConfig(levels=8)}, (1, 9), codes),
    "levels": ({"likelihood": LogisticMixtureConfig(levels=17, high=1.0, components=2)}, (1, 3, 3), levels),
    "pixels": ({"likelihood": BernoulliConfig(), "levels": CONV, "pixels": PIXELS}, (1, 4, 5), bits),
    "pixels of dense levels": ({"likelihood": ELEMENT, "pixels": PIXELS}, (2, 3, 4), real),
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
def test_laws(name, conditional):
    values, shape, draw = MEMBERS[name]
    x = draw(shape)
    config = HierarchyConfig(**{"latents": (3, 2), "levels": DENSE, **values}, conditional=conditional)
    context = masked(x, torch.rand(x.shape) > 0.5) if conditional else {}
    check_model(lambda: Hierarchy(config, shape, {}, (x.float().mean(), x.float().std())), x, context)


@pytest.mark.parametrize(
    "prior", [FlowPriorConfig(layers=2, width=8), VampPriorConfig(components=4)], ids=["flow", "vamp"]
)
def test_laws_with_a_learnt_top_prior(prior):
    x = real((9,))
    config = HierarchyConfig(latents=(3, 2), levels=DENSE, prior=prior)
    check_model(lambda: Hierarchy(config, (9,), {}, (x.mean(), x.std())), x)


def test_three_layers_and_one():
    x = bits((1, 9, 8))
    for latents in ((4, 3, 2), (3,)):
        config = HierarchyConfig(
            latents=latents, levels=ConvLevelsConfig(widths=(6, 5, 4)[: len(latents)]), likelihood=BernoulliConfig()
        )
        check_model(lambda config=config: Hierarchy(config, (1, 9, 8)), x)


def linear(recognition, merge="shared", skip=True):
    """Return a hierarchy all of whose means are linear and whose scales do not depend on what is above."""
    config = HierarchyConfig(
        latents=(1, 2), levels=DenseLevelsConfig(widths=(3, 4), blocks=0), recognition=recognition, merge=merge,
        skip=skip, likelihood=GaussianConfig(scale="fixed", value=1.0),
    )  # fmt: skip
    model = Hierarchy(config, (4,), {}, (torch.tensor([1.0, -2, 0, 3]), torch.tensor([2.0, 1, 0.5, 1]))).double()
    lower = model.stages[1]
    with torch.no_grad():
        lower.prior[-1].weight[2:] = 0
        lower.prior[-1].bias[2:] = torch.tensor([-0.4, 0.3])
        lower.prior[-1].bias[:2] = torch.tensor([0.2, -0.1])
        for stage in model.stages:  # wider than the prior and not far off, so that importance samples reach everywhere
            head = stage.posterior[-1]
            head.weight.mul_(0.2)
            head.bias[len(head.bias) // 2 :] = 2.0 if stage.merges and merge == "precision" else 0.3
    return model.eval()


def exact(model, x):
    """Return log p(x): the moments of z and x are read off means at unit codes."""
    zero, one = torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    cold = lambda top: model.generate(1, clamp=[top], temperature=(1.0, 0.0))[1]  # noqa: E731
    offset, slope = cold(zero)[0], (cold(one) - cold(zero)).T
    spread = model.generate(20_000, clamp=[zero], temperature=())[1].std(0)
    s = torch.tensor([-0.4, 0.3]).double()
    scale = (5 * torch.tanh(s / 5)).exp()
    assert torch.allclose(spread, scale, rtol=0.03)
    mean_of = lambda a, b: model.decode((a, b)).mean[0]  # noqa: E731
    nothing = torch.zeros(1, 2).double()
    base = mean_of(zero, nothing)
    top = mean_of(one, nothing) - base
    below = torch.stack([mean_of(zero, torch.eye(2).double()[i : i + 1]) - base for i in range(2)], 1)
    direct = top[:, None] + below @ slope
    noise = (torch.tensor([2.0, 1, 0.5, 1]).double()).square()
    cov = direct @ direct.T + below @ torch.diag(scale.square()) @ below.T + torch.diag(noise)
    return MultivariateNormal(base + below @ offset, cov).log_prob(x)


@pytest.mark.parametrize("recognition", RECOGNITIONS)
@pytest.mark.parametrize("skip", [True, False])
def test_the_bound_of_a_linear_hierarchy_meets_its_likelihood(recognition, skip):
    for merge in ("shared", "precision") if recognition == "ladder" else ("shared",):
        model = linear(recognition, merge, skip)
        with torch.no_grad():
            x = model.decode(model.generate(4)).sample()
            truth = exact(model, x)
        bound = iw_bound(model, x, samples=40_000, chunk=40_000)
        assert torch.allclose(bound, truth, atol=0.06), (recognition, merge)


@pytest.mark.parametrize("recognition", RECOGNITIONS)
def test_rates_in_closed_form_are_those_of_samples(recognition):
    """Where a chain climbs from sample to sample, KL(q_l, p_l) is not the rate below the top."""
    x = real((9,))
    config = HierarchyConfig(latents=(3, 2), levels=DENSE, recognition=recognition)
    model = Hierarchy(config, (9,), {}, (x.mean(), x.std())).eval()
    with torch.no_grad():
        sums = []
        for exact_rates in (True, False):
            torch.manual_seed(1)
            terms = model.terms(x, samples=4000, exact=exact_rates)
            sums.append(torch.stack(terms.rate).sum(0).double())
        gap, error = (sums[0] - sums[1]).mean(0), (sums[0] - sums[1]).std(0) / 4000**0.5
        assert bool((gap.abs() < 5 * error + 1e-3).all())
        for layer in terms.layers:
            assert torch.allclose(layer.rate_per_value().sum(-1).expand(4000, 6), layer.rate(exact=True), atol=1e-3)
    assert [layer.closed for layer in terms.layers] == [True, recognition != "chained"]


def test_who_depends_on_whom():
    x = real((9,))
    batches = {}
    for recognition in RECOGNITIONS:
        config = HierarchyConfig(latents=(3, 2), levels=DENSE, recognition=recognition)
        layers = Hierarchy(config, (9,)).infer(x, samples=5)
        batches[recognition] = [tuple(layer.q.batch_shape) for layer in layers]
    assert batches == {
        "ladder": [(6,), (5, 6)],  # the top from x, below from what was drawn above
        "factorised": [(6,), (6,)],
        "chained": [(5, 6), (6,)],  # the bottom from x
    }


@pytest.mark.parametrize("merge", ["shared", "precision"])
def test_every_sample_is_told_of_its_own_item(merge):
    """With posteriors of next to no scale, samples are means; a lower layer must then read its own x and context."""
    config = HierarchyConfig(latents=(3, 2), levels=DENSE, merge=merge, conditional=True)
    model, x = Hierarchy(config, (9,)), 3 * torch.randn(6, 9)
    context = masked(x, torch.rand(6, 9) > 0.5)
    with torch.no_grad():
        for stage in model.stages:
            head = stage.posterior[-1]
            head.bias[len(head.bias) // 2 :] = -1000.0
        drawn, means = model.infer(x, context, samples=3), model.infer(x, context, mean=True)
    for layer, mean in zip(drawn, means, strict=True):
        assert torch.allclose(layer.z, mean.z.expand(3, 6, -1), atol=0.05)
    assert float(means[1].z.std(1).min()) > 0.15  # items differ by more than that


def test_precisions_add():
    stage = Stage(Levels(DENSE, (9,)), 1, 2, merge="precision")
    d, u, raw = torch.randn(6, 12), torch.randn(6, 12), torch.randn(6, 4)
    own, p = normal(stage.posterior(d)), normal(raw)
    merged = stage.infer(d, u, p)
    product = own.scale**-2 + p.scale**-2
    assert torch.allclose(merged.scale, product**-0.5, rtol=1e-5)
    assert torch.allclose(merged.mean, (own.mean / own.scale**2 + p.mean / p.scale**2) / product, atol=1e-5)


def test_a_shared_posterior_steps_from_the_prior():
    stage = Stage(Levels(DENSE, (9,)), 1, 2)
    with torch.no_grad():
        for parameter in stage.posterior[-1].parameters():
            parameter.zero_()
    p = normal(torch.randn(6, 4))
    q = stage.infer(torch.randn(6, 12), torch.randn(6, 12), p)
    assert torch.allclose(q.mean, p.mean)
    assert torch.allclose(q.scale, p.scale)


def test_without_skips_the_layers_are_a_chain():
    model = Hierarchy(HierarchyConfig(latents=(3, 2), levels=DENSE, skip=False), (9,))
    other = Hierarchy(HierarchyConfig(latents=(3, 2), levels=DENSE), (9,))
    z, top = torch.randn(4, 2), torch.randn(2, 4, 3)
    with torch.no_grad():
        same, differ = (
            [made.decode((one, z)).mean for one in top] for made in (model, other)
        )  # fmt: skip
        assert torch.equal(*same)
        assert not torch.allclose(*differ)
        assert not torch.equal(*[model.generate(4, clamp=[one], temperature=(1.0, 0.0))[1] for one in top])


def test_a_layer_is_varied_alone():
    model = Hierarchy(HierarchyConfig(latents=(4, 3, 2), levels=DenseLevelsConfig(widths=(6, 7, 8))), (9,))
    model.requires_grad_(False)
    cold = model.generate(5, temperature=(0.0, 0.0, 0.0))
    for varied in range(3):
        warmth = [float(layer == varied) for layer in range(3)]
        drawn = model.generate(5, temperature=warmth)
        spread = [float(z.std(0).max()) for z in drawn]
        assert all(torch.equal(drawn[layer], cold[layer]) for layer in range(varied))
        assert spread[varied] > 0.1
    with torch.no_grad():
        held = model.generate(5, clamp=[drawn[0], None, drawn[2]])
        assert torch.equal(held[0], drawn[0])
        assert torch.equal(held[2], drawn[2])
        assert not torch.equal(held[1], drawn[1])
    with pytest.raises(UsageError, match="got 4 layers"):
        model.generate(5, temperature=(1.0,) * 4)


def conditional(**values):
    config = HierarchyConfig(latents=(3, 2), levels=DENSE, likelihood=BernoulliConfig(), conditional=True, **values)
    return Hierarchy(config, (9,))


@pytest.mark.parametrize("recognition", RECOGNITIONS)
def test_hidden_values_alone_count_and_are_never_read(recognition):
    model, x = conditional(recognition=recognition).eval(), bits((9,))
    mask = torch.zeros(6, 9, dtype=torch.bool)
    mask[:, :4] = True
    context = masked(x, mask)
    torch.manual_seed(0)
    terms = model.terms(x, context)
    z = tuple(layer.z[0] for layer in terms.layers)
    values = model.decode(z, context).base.base_dist.log_prob(x)[:, 4:].sum(1)
    assert torch.allclose(-terms.distortion[0], values, atol=1e-5)
    other = torch.where(mask, x, torch.nan)  # what is hidden may be anything
    answers = model.complete(x, mask, 3)
    assert answers.shape == (3, 6, 9)
    assert torch.equal(answers, model.complete(other, mask, 3))
    assert torch.equal(answers[..., :4], x[:, :4].expand(3, 6, 4))
    assert not torch.equal(answers[0], answers[1])
    seen = torch.where(mask, 1 - x, x)
    assert not torch.allclose(answers[..., 4:], model.complete(seen, mask, 3)[..., 4:])
    assert set(model.complete(x, mask, 2, pixels=True).unique().tolist()) <= {0.0, 1.0}
    cold = model.complete(x, mask, 2, temperature=(0.0, 0.0))
    torch.testing.assert_close(cold[0], cold[1])  # but for rounding, which may depend on a row's place in a batch


def test_the_recognition_model_reads_the_context():
    model, x = conditional().eval(), bits((9,))
    none, some = masked(x, torch.zeros(6, 9)), masked(x, torch.ones(6, 9))
    assert not torch.allclose(model.encode(x, none)[0], model.encode(x, some)[0])
    assert torch.equal(model.encode(x, none)[0], model.encode(x)[0])  # no mask: nothing was seen


def test_an_optimal_scale_is_that_of_hidden_values():
    config = HierarchyConfig(latents=(3, 2), levels=DENSE, likelihood=GaussianConfig(), conditional=True)
    model, x = Hierarchy(config, (9,)), torch.randn(6, 9)
    mask = torch.zeros(6, 9, dtype=torch.bool)
    mask[:, :4] = True
    far = torch.where(mask, x + 1000, x)
    likelihood = model.terms(far, masked(far, mask)).likelihood
    residual = (far - likelihood.base.mean)[:, 4:].square().mean()
    assert torch.allclose(likelihood.base.scale.square().mean(), residual, rtol=1e-3)


def pixels(conditional, shape=(1, 3, 3), **values):
    config = HierarchyConfig(
        latents=(3, 2), levels=DENSE, likelihood=BernoulliConfig(), pixels=PIXELS, conditional=conditional, **values
    )
    return Hierarchy(config, shape).eval()


def test_the_mass_of_all_ways_to_fill_in_pixels_is_one():
    """Of nine pixels five are hidden: the law of those, given what was seen before and after them in the image."""
    model = pixels(conditional=True)
    with torch.no_grad():
        model.pixels.net.head[-1].weight.mul_(15)
        hidden = torch.tensor([0, 3, 4, 6, 8])
        x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))
        whole = torch.ones(32, 9).index_copy(1, hidden, x).reshape(32, 1, 3, 3)
        mask = torch.ones(9, dtype=torch.bool).index_fill(0, hidden, False).expand(32, 9).reshape(32, 1, 3, 3)
        z = tuple(one.expand(32, -1) for one in model.generate(1, masked(whole[:1], mask[:1])))
        law = model.decode(z, masked(whole, mask))
        assert isinstance(law, PixelLaw)
        mass = law.log_prob(whole).exp()
        assert float(mass.sum()) == pytest.approx(1, abs=1e-5)
        drawn = law.sample((60,))
        assert torch.equal(drawn[:, mask], torch.ones(60, 32 * 4))
        places = (drawn.reshape(-1, 9)[:, hidden] @ 2.0 ** torch.arange(4, -1, -1)).long()
        expected = len(places) * mass
        chi = ((torch.bincount(places, minlength=32) - expected).square() / expected)[expected > 5].sum()
        assert chi < 2 * (expected > 5).sum()


def test_a_pixel_is_told_those_before_it_and_the_layers():
    model, x = pixels(conditional=False, shape=(1, 5, 6)), torch.rand(2, 1, 5, 6).round()
    assert model.sequential
    with torch.no_grad():
        z = model.generate(2)
        law = model.decode(z)
        assert torch.equal(law.told(x), law.told(x))
        later = x.clone()
        later[:, :, 3, 2] = 1 - later[:, :, 3, 2]
        moved = (law.told(later) != law.told(x)).flatten(1)
        assert not moved[:, : 3 * 6 + 3].any()
        assert moved[:, 3 * 6 + 3 :].any(1).all()
        each = torch.distributions.Bernoulli(law.told(x)).log_prob(x).flatten(1).sum(1)
        assert torch.allclose(each, law.log_prob(x), atol=1e-4)
        assert not torch.allclose(law.told(x), model.decode((z[0], z[1] + 1)).told(x))


def test_pixels_are_of_images():
    with pytest.raises(ConfigError, match=r"model.pixels: a pixelcnn makes images .* \(9,\)"):
        pixels(conditional=False, shape=(9,))
    with pytest.raises(ConfigError, match=r"model\.pixels: a pixelcnn needs the law of one value"):
        Hierarchy(HierarchyConfig(latents=(3, 2), levels=DENSE, pixels=PIXELS), (1, 3, 3))


def test_grey_levels_have_a_cross_entropy():
    """Grey x costs what the bits that it stands for cost on average."""
    model, x = conditional().eval(), torch.rand(6, 9)
    with pytest.raises(LikelihoodError, match="needs every value to be 0 or 1"):
        model.check(x, masked(x, x > 0.5))
    config = HierarchyConfig(latents=(3, 2), levels=DENSE, likelihood=BernoulliConfig(grey=True), conditional=True)
    grey = Hierarchy(config, (9,))
    grey.check(x, masked(x, x > 0.5))
    with pytest.raises(LikelihoodError, match="values from 0 to 1"):
        grey.check(2 * x, masked(2 * x, x > 0.5))
    law = grey.likelihood(torch.randn(6, 9))
    bits_of = torch.bernoulli(x.expand(4000, 6, 9))
    assert torch.allclose(law.log_prob(x), law.log_prob(bits_of).mean(0), atol=0.15)


def test_masked_agrees_with_its_parts():
    mean, mask, known = torch.randn(3, 4), torch.rand(3, 4) > 0.5, torch.randn(3, 4)
    base = Hierarchy(HierarchyConfig(latents=(2,), levels=DenseLevelsConfig(widths=(5,))), (4,)).likelihood(mean)
    p, x = Masked(base, mask, known), torch.randn(3, 4)
    expected = (Normal(base.mean, base.scale.expand(3, 4)).log_prob(x) * ~mask).sum(1)
    assert torch.allclose(p.log_prob(x), expected, atol=1e-5)
    assert torch.equal(p.mean[mask], known[mask])
    assert torch.equal(p.sample((2,))[:, mask], known[mask].expand(2, -1))
    with pytest.raises(TypeError, match="no independent values"):
        Masked(MultivariateNormal(torch.zeros(3, 4), torch.eye(4)), mask, known)


@pytest.mark.parametrize(("values", "words"), [
    ({"latents": [3]}, "as many levels.widths"),
    ({"prior": {"kind": "uniform"}}, "top prior on all reals"),
    ({"prior": {"kind": "flow"}, "conditional": True}, "'normal' where conditional"),
    ({"prior": {"kind": "vamp"}, "recognition": "chained"}, "'chained' recognition"),
])  # fmt: skip
def test_parts_that_do_not_fit_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        parse(HierarchyConfig, values)


def test_what_can_not_be_counted_apart_or_trained_is_refused():
    config = parse(HierarchyConfig, {"likelihood": {"kind": "radial"}, "conditional": True})
    with pytest.raises(ConfigError, match="'radial' has one scale"):
        Hierarchy(config, (9,))
    with pytest.raises(LikelihoodError, match=r"told 'mask' of shape \[6, 9\], got none"):
        conditional().check(bits((9,)))
    with pytest.raises(UsageError, match="conditional is false"):
        Hierarchy(HierarchyConfig(), (9,)).complete(real((9,)), torch.ones(6, 9))
    with pytest.raises(UsageError, match="got 0 answers"):
        conditional().complete(bits((9,)), torch.ones(6, 9), 0)
    with pytest.raises(ConfigError, match="Hierarchy is learnt by its density"):
        Reconstruction(ReconstructionConfig(), Hierarchy(HierarchyConfig(), (9,)))


def test_layers_warm_up_and_are_spared_apart():
    x = real((9,))
    model: LatentModel = Hierarchy(HierarchyConfig(latents=(3, 2), levels=DENSE), (9,), {}, (x.mean(), x.std()))
    terms = model.terms(x)
    distortion, first, second = (float(part.detach().mean()) for part in (terms.distortion, *terms.rate))
    half = Elbo(ElboConfig(warmup=(0, 100)), model)(model, terms, x, {}, 50)
    assert float(half.total.detach()) == pytest.approx(distortion + first + second / 2, rel=1e-5)
    assert {"rate_1", "rate_2"} <= set(half.log)
    free = Elbo(ElboConfig(free_bits=(1000, 0), free_bits_per="layer"), model)(model, terms, x, {}, 50)
    assert float(free.total.detach()) == pytest.approx(distortion + 1000 + second, rel=1e-5)
    both = Elbo(ElboConfig(free_bits=(0, 30)), model)(model, terms, x, {}, 50)
    assert float(both.total.detach()) == pytest.approx(distortion + first + 2 * 30, rel=1e-5)
    dear = Elbo(ElboConfig(beta=(1, 7), warmup=(0, 100)), model)(model, terms, x, {}, 50)
    assert float(dear.total.detach()) == pytest.approx(distortion + first + 7 * second / 2, rel=1e-5)
    with pytest.raises(ConfigError, match="got 3 numbers for 2 layers"):
        Elbo(ElboConfig(warmup=(1, 2, 3)), model)
