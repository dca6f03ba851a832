"""The laws, on every member and on the compositions that the tables allow."""

import copy
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from latentscape.core.errors import ConfigError, LikelihoodError, UsageError
from latentscape.dist.diagonal import DiagonalNormal
from latentscape.dist.flow import FlowPriorConfig
from latentscape.dist.likelihoods import BernoulliConfig, CategoricalConfig, GaussianConfig, LaplaceConfig
from latentscape.dist.mixture import MixturePriorConfig, VampPriorConfig
from latentscape.dist.priors import (
    AnyPriorConfig,
    LaplacePriorConfig,
    NormalPriorConfig,
    UniformPriorConfig,
    build_prior,
)
from latentscape.dist.radial import RadialConfig
from latentscape.dist.sphere import SpherePriorConfig
from latentscape.laws.conditional import check_gradients, check_storage
from latentscape.laws.model import check_codes, check_model, check_terms
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.linear import Ppca, PpcaConfig
from latentscape.models.posteriors import Posterior, build_form
from latentscape.nets.conv import ConvConfig
from latentscape.nets.mlp import MlpConfig

SMALL = {"latent": 3, "encoder": MlpConfig(widths=(16,)), "decoder": MlpConfig(widths=(16,))}
CONV = {"latent": 3, "encoder": ConvConfig(channels=(4,)), "decoder": ConvConfig(channels=(4,), dense=(8,))}
SCALES = ["fixed", "scalar", "feature", "item", "element", "optimal"]


def real(shape):
    return torch.randn(6, *shape) * 4 - 20


def bits(shape):
    return (torch.rand(6, *shape) > 0.5).float()


def codes(shape):
    return torch.randint(0, 8, (6, *shape))


MEMBERS = {
    **{
        f"{make.__name__} {scale}": (dict(SMALL, likelihood=make(scale=scale)), (4, 2), real)
        for make in (GaussianConfig, LaplaceConfig)
        for scale in SCALES
    },
    **{
        f"radial {scale}": (dict(SMALL, likelihood=RadialConfig(scale=scale)), (4, 2), real)
        for scale in ("fixed", "scalar", "optimal")
    },
    "lower": (dict(SMALL, likelihood=GaussianConfig(lower=-80.0)), (5,), real),
    "bernoulli image": (dict(CONV, likelihood=BernoulliConfig()), (1, 5, 6), bits),
    "codes": (dict(SMALL, likelihood=CategoricalConfig(levels=8)), (1, 6), codes),
    "conv item": (dict(CONV, likelihood=GaussianConfig(scale="item")), (1, 21), real),
    "conv element": (dict(CONV, likelihood=LaplaceConfig(scale="element")), (2, 6, 5), real),
    "deterministic": (dict(SMALL, posterior="deterministic"), (5,), real),
    "laplace prior": (dict(SMALL, prior=LaplacePriorConfig()), (5,), real),
    "uniform": (dict(SMALL, prior=UniformPriorConfig(low=0, high=2), posterior="uniform"), (5,), real),
    "mixture": (dict(SMALL, prior=MixturePriorConfig(components=4)), (5,), real),
    "vamp": (dict(SMALL, prior=VampPriorConfig(components=4, weights="learnt")), (5,), real),
    "vamp of 4 rows": (dict(SMALL, prior=VampPriorConfig(components=6)), (4, 2), real),
    "vamp of codes": (
        dict(SMALL, prior=VampPriorConfig(components=4), likelihood=CategoricalConfig(levels=8)),
        (1, 6),
        codes,
    ),
    "vamp conv": (dict(CONV, prior=VampPriorConfig(components=4), likelihood=BernoulliConfig()), (1, 5, 6), bits),
    "flow": (dict(SMALL, prior=FlowPriorConfig(layers=2, width=8)), (5,), real),
    "hypersphere": (dict(SMALL, prior=SpherePriorConfig(), posterior="spherical"), (5,), real),
    "point on a sphere": (dict(SMALL, prior=SpherePriorConfig(), posterior="deterministic"), (5,), real),
    "gaussian beside a sphere": (dict(SMALL, prior=SpherePriorConfig()), (5,), real),
    "gaussian on a box": (dict(SMALL, prior=UniformPriorConfig()), (5,), real),
    "linear": ({"latent": 3, "encoder": MlpConfig(widths=()), "decoder": MlpConfig(widths=())}, (5,), real),
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("condition", [(), ("pitch", "family")], ids=["plain", "labels"])
def test_laws(name, condition):
    values, shape, draw = MEMBERS[name]
    if condition and values.get("likelihood", GaussianConfig()).kind == "laplace":
        pytest.skip("labels do not meet the likelihood; one family is enough")
    x = draw(shape)
    units = (x.float().mean(), x.float().std())
    config = AutoencoderConfig(**values, condition=condition)
    context = {"pitch": torch.tensor([0, 1, 2, -1, 1, 0]), "family": torch.tensor([0, 1, -1, 1, 0, 0]), "other": x}
    check_model(lambda: Autoencoder(config, shape, {"pitch": 3, "family": 2}, units), x, context if condition else {})


def test_every_prior_and_posterior_is_among_the_members():
    made = [AutoencoderConfig(**values) for values, _, _ in MEMBERS.values()]
    assert {type(config.prior) for config in made} == set(get_args(AnyPriorConfig))
    assert {config.posterior for config in made} == set(get_args(Posterior))


def test_laws_on_ppca():
    x = real((5, 2))
    check_model(lambda: Ppca(PpcaConfig(latent=3), (5, 2), units=(x.mean(0), x.std(0))), x)


def test_laws_see_broken_models():
    """Each fault is one that a peer shipped; the law must go red."""

    class HalfDistortion(Autoencoder):
        def terms(self, x, context={}, *, samples=1, exact=True):
            terms = super().terms(x, context, samples=samples, exact=exact)
            return replace(terms, distortion=terms.distortion / 2)

    class NoisyCodes(Autoencoder):
        def encode(self, x, context={}):
            return tuple(layer.z[0] for layer in self.infer(x, context))

    class LooseLabel(Autoencoder):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.forgotten = nn.Parameter(torch.zeros(3))

    x, config = real((5,)), AutoencoderConfig(**SMALL)
    with pytest.raises(AssertionError, match="distortion"):
        check_terms(HalfDistortion(config, (5,)), x)
    with pytest.raises(AssertionError, match="second call"):
        check_codes(NoisyCodes(config, (5,)), x)
    with pytest.raises(AssertionError, match="forgotten"):
        check_model(lambda: LooseLabel(config, (5,)), x)


def test_units_are_one_object_through_storage_and_conversion():
    config = AutoencoderConfig(**SMALL)
    model = Autoencoder(config, (5,), {}, (torch.full((5,), -40.0), torch.tensor(12.0)))
    fresh = Autoencoder(config, (5,))
    check_storage(model, fresh)
    assert fresh.units.scale.tolist() == [12.0] * 5
    for changed in (fresh.double(), copy.deepcopy(fresh)):
        assert changed.encoder.units is changed.likelihood.units
        assert changed.units.mean.dtype == torch.float64


def test_the_same_answer_in_any_unit():
    """Data and units stretched together: distortion moves by the log of the stretch, rates and codes not at all."""
    config = AutoencoderConfig(**SMALL)
    x = real((5,))
    plain = Autoencoder(config, (5,), {}, (x.mean(0), x.std(0))).eval()
    stretched = Autoencoder(config, (5,), {}, (x.mean(0) * 10 + 3, x.std(0) * 10)).eval()
    nets = {k: v for k, v in plain.state_dict().items() if "units" not in k}
    stretched.load_state_dict(nets, strict=False)
    torch.manual_seed(1)
    first = plain.terms(x)
    torch.manual_seed(1)
    second = stretched.terms(10 * x + 3)
    shift = torch.tensor(10.0).log() * 5
    assert torch.allclose(second.distortion, first.distortion + shift, rtol=1e-3, atol=1e-2)
    assert torch.allclose(second.rate[0], first.rate[0], rtol=1e-3, atol=1e-3)


def test_unknown_and_missing_labels_are_the_same_and_known_ones_matter():
    config = AutoencoderConfig(**SMALL, condition=("pitch",))
    model = Autoencoder(config, (5,), {"pitch": 3}).eval()
    x, z = real((5,)), torch.randn(6, 3)
    unknown = {"pitch": torch.full((6,), -1)}
    known = {"pitch": torch.full((6,), 2)}
    assert torch.equal(model.encode(x)[0], model.encode(x, unknown)[0])
    assert torch.equal(model.decode((z,)).mean, model.decode((z,), unknown).mean)
    assert not torch.allclose(model.encode(x)[0], model.encode(x, known)[0])
    assert not torch.allclose(model.decode((z,)).mean, model.decode((z,), known).mean)
    codes = torch.stack([model.encode(x, {"pitch": torch.full((6,), code)})[0] for code in (-1, 0, 1, 2)])
    assert float(torch.pdist(codes.flatten(1).detach()).min()) > 1e-3  # four values, four meanings
    with pytest.raises(LikelihoodError, match=r"codes 2 to 3, expected -1 to 2"):
        model.check(x, {"pitch": torch.tensor([2, 3])})
    with pytest.raises(ConfigError, match="did you mean 'pitch'"):
        Autoencoder(AutoencoderConfig(condition=("pich",)), (5,), {"pitch": 3})


def test_parameters_are_single_precision_under_autocast():
    model = Autoencoder(AutoencoderConfig(**SMALL), (5,))
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.terms(real((5,)))
    assert terms.distortion.dtype == terms.rate[0].dtype == terms.layers[0].z.dtype == torch.float32


def test_generation_obeys_temperature_and_refuses_what_does_not_fit():
    model = Autoencoder(AutoencoderConfig(**SMALL), (5,))
    (hot,), (cool,) = model.generate(4000), model.generate(4000, temperature=(0.5,))
    assert float(hot.std()) == pytest.approx(1.0, abs=0.03)
    assert float(cool.std()) == pytest.approx(0.5, abs=0.02)
    assert not model.generate(3, temperature=(0.0,))[0].any()
    assert model.generate(3, clamp=(torch.ones(1, 3),))[0].tolist() == [[1.0] * 3] * 3
    assert model.generate(3, clamp=(None,))[0].shape == (3, 3)
    with pytest.raises(UsageError, match=r"\(2, 3\), expected \(3, 3\)"):
        model.generate(3, clamp=(torch.ones(2, 3),))
    with pytest.raises(UsageError, match="the model has 1"):
        model.generate(3, temperature=(1.0, 0.5))


def test_a_posterior_is_never_as_wide_as_to_end_a_training():
    """Whatever an encoder says of an input: it is held back softly, and what is usual is left as it is."""
    form = build_form("gaussian", 1, build_prior(NormalPriorConfig(), 1))
    b = torch.tensor([-6.0, 0.0, 1.9, 2.5, 8.0, 300.0], requires_grad=True)
    q = form(torch.stack([torch.zeros(6), b], 1))
    torch.testing.assert_close(q.log_scale[:3, 0], b[:3])
    assert (q.log_scale[3:, 0] < 3.0 + 1e-6).all()
    torch.testing.assert_close(q.scale, q.log_scale.exp())
    (slope,) = torch.autograd.grad(kl_divergence(q, DiagonalNormal(torch.zeros(6, 1), torch.ones(6, 1))).sum(), b)
    assert slope.isfinite().all()
    assert (slope[3:5] > 0).all()


def test_uniform_posterior_needs_a_box():
    with pytest.raises(ConfigError, match=r"model\.posterior"):
        Autoencoder(AutoencoderConfig(posterior="uniform", prior=NormalPriorConfig()), (5,))


def test_uniform_posterior_stays_in_the_box():
    model = Autoencoder(AutoencoderConfig(**SMALL, posterior="uniform", prior=UniformPriorConfig(low=1, high=3)), (5,))
    (layer,) = model.infer(real((5,)) * 100, samples=50)
    assert float(layer.z.detach().min()) >= 1 - 1e-5
    assert float(layer.z.detach().max()) <= 3 + 1e-5
    assert layer.rate(exact=True).isfinite().all()


def test_check_names_shapes():
    with pytest.raises(LikelihoodError, match=r"\(4,\) an item, the model expects \(5,\)"):
        Autoencoder(AutoencoderConfig(**SMALL), (5,)).check(torch.zeros(2, 4))


def test_more_samples_are_laid_out_sample_major():
    model = Autoencoder(AutoencoderConfig(**SMALL, condition=("pitch",)), (5,), {"pitch": 6}).eval()
    x, context = real((5,)), {"pitch": torch.arange(6)}
    with torch.no_grad():
        terms = model.terms(x, context, samples=4, exact=False)
        for k in range(4):
            one = -model.decode((terms.layers[0].z[k],), context).log_prob(x)
            assert torch.allclose(terms.distortion[k], one, rtol=1e-4)
    assert not torch.allclose(terms.rate[0][0], terms.rate[0][1])


def test_gradient_law_sees_a_dead_and_an_infinite_gradient():
    module = nn.Linear(2, 2)
    with pytest.raises(AssertionError, match="zero throughout"):
        check_gradients(module, module(torch.ones(1, 2)) * 0)
    with pytest.raises(AssertionError, match="not finite"):
        check_gradients(module, module(torch.ones(1, 2)) * torch.inf)
