"""The tagger: cross-entropies of one class and of many tags, nets that listen, layers of any length."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy, cross_entropy

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, LikelihoodError
from latentscape.models.bounds import evaluating
from latentscape.models.model import Step
from latentscape.models.objectives import Reconstruction, ReconstructionConfig
from latentscape.models.tagger import Tagger, TaggerConfig
from latentscape.nets.tagger import ChunkConfig, FrontConfig, PatchesConfig, TemporalConfig

PATCHES = PatchesConfig(channels=3, bands=4, frames=3, stride=(2, 2))
FRONT = FrontConfig(channels=6, length=16, stride=8)
NETS = {
    "chunk": (ChunkConfig(channels=(4, 6, 8), dense=10), (12, 20)),
    "temporal": (TemporalConfig(channels=(5, 6), kernel=4, dense=10), (12, 40)),
    "global": (TemporalConfig(channels=(5, 6), kernel=3, pooling="global", dense=10), (12, 40)),
    "patches": (TemporalConfig(patches=PATCHES, channels=(5,), kernel=3, pooling="global", dense=10), (12, 40)),
    "raw": (TemporalConfig(front=FRONT, channels=(5,), kernel=3, dense=10), (1, 400)),
}


def build(net="chunk", law="one", classes=3, **options):
    config, shape = NETS[net]
    return Tagger(TaggerConfig(law=law, net=config), shape, {"tag": classes}, **options)


def batch(model, b=6):
    x = torch.randn(b, *model.event_shape)
    return x, {"tag": torch.eye(model.classes)[torch.arange(b) % model.classes]}


@pytest.mark.parametrize("net", NETS)
def test_the_distortion_is_the_cross_entropy(net):
    model = build(net).eval()
    x, told = batch(model)
    logits = model.logits(x)
    assert logits.shape == (6, 3)
    terms = model.terms(x, told, samples=2)
    expected = cross_entropy(logits, told["tag"].argmax(1), reduction="none")
    torch.testing.assert_close(terms.distortion, expected.expand(2, -1))
    torch.testing.assert_close(-terms.likelihood.log_prob(told["tag"].argmax(1)), expected)
    torch.testing.assert_close(model.probabilities(x), logits.softmax(1))
    mixed = {"tag": 0.7 * told["tag"] + 0.3 * told["tag"].roll(1, 1)}
    torch.testing.assert_close(
        model.terms(x, mixed).distortion[0], cross_entropy(logits, mixed["tag"], reduction="none")
    )

    many = build(net, law="many").eval()
    bits = {"tag": torch.tensor([[1.0, 0, 1], [0, 0, 0]]).repeat(3, 1)}
    p = many.probabilities(x)
    torch.testing.assert_close(p, many.logits(x).sigmoid())
    expected = binary_cross_entropy(p, bits["tag"], reduction="none").sum(1)
    torch.testing.assert_close(many.terms(x, bits).distortion[0], expected)
    torch.testing.assert_close(-many.terms(x, bits).likelihood.log_prob(bits["tag"]), expected)


@pytest.mark.parametrize("law", ["one", "many"])
def test_what_is_not_known_costs_nothing(law):
    model = build(law=law).eval()
    x, told = batch(model)
    model.check(x, told)
    unknown = {"tag": told["tag"].clone()}
    unknown["tag"][::2] = torch.nan
    model.check(x, unknown)
    distortion = model.terms(x, unknown).distortion[0]
    assert (distortion[::2] == 0).all()
    torch.testing.assert_close(distortion[1::2], model.terms(x, told).distortion[0, 1::2])
    distortion.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_weights_may_be_of_any_precision():
    model = build()
    x, told = batch(model)
    model.check(x, {"tag": told["tag"].double()})
    with pytest.raises(LikelihoodError, match="several values"):
        model.check(x, {"tag": torch.ones(6, 3, dtype=torch.float64)})


@pytest.mark.parametrize("net", NETS)
def test_layers_take_any_length_and_lead_to_the_tags(net):
    model = build(net).eval()
    x, _ = batch(model, 2)
    found = model.activations(x)
    assert tuple(found) == model.layers
    twice = model.activations(torch.cat((x, x), 2))
    assert all(twice[name].shape[:2] == value.shape[:2] for name, value in found.items())
    assert twice[model.layers[-1]].shape[-1] > found[model.layers[-1]].shape[-1]
    h = found[model.layers[-1]]
    pooled = h.flatten(1) if net in ("temporal", "raw") else torch.cat((h.flatten(2).mean(2), h.flatten(2).amax(2)), 1)
    torch.testing.assert_close(model.last(torch.relu(model.net.dense(pooled))), model.logits(x))
    tiny = model.activations(x[..., :16])  # shorter than its pools together
    assert all(value.shape[-1] >= 1 for value in tiny.values())


def test_patches_are_alike_at_every_pitch():
    model = build("patches").eval()
    x = torch.randn(2, 12, 40)
    higher = torch.cat((torch.zeros(2, 2, 40), x[:, :-2]), 1)  # by one stride of two bands
    here, there = (model.activations(one)["patches"].unflatten(1, (3, -1)) for one in (x, higher))
    torch.testing.assert_close(here[:, :, 1:-2], there[:, :, 2:-1])  # what sees the padding apart
    assert bool((here > 0).any())


def test_units_are_those_of_the_features_and_of_no_time():
    mean, scale = torch.full((12, 1), 5.0), torch.full((12, 1), 2.0)
    model, plain = build(units=(mean, scale)).eval(), build().eval()
    plain.load_state_dict(model.state_dict() | plain.units.state_dict(prefix="units."))
    x = torch.randn(2, 12, 31)
    torch.testing.assert_close(model.activations(5 + 2 * x)["block1"], plain.activations(x)["block1"])


@pytest.mark.parametrize("net", NETS)
def test_reconstruction_trains_it(net):
    model = build(net, law="many")
    step = Step(model, Reconstruction(ReconstructionConfig()))
    adam = torch.optim.Adam(step.parameters(), lr=1e-2)
    shapes = torch.randn(3, *model.event_shape)
    for index in range(60):
        y = torch.randint(2, (16, 3)).float()
        x = torch.einsum("bk,kft->bft", y, shapes) + 0.2 * torch.randn(16, *model.event_shape)
        loss = step(x, {"tag": y}, index)
        adam.zero_grad()
        loss.total.backward()
        assert index or all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
        adam.step()
    with evaluating(model):
        y = torch.eye(3)
        found = model.probabilities(torch.einsum("bk,kft->bft", y, shapes))
    assert torch.equal((found > 0.5).float(), y)


def test_what_it_refuses():
    model = build()
    x, told = batch(model)
    with pytest.raises(LikelihoodError, match="a tagger of 'tag' got no such label; did you mean 'tags'"):
        model.check(x, {"tags": told["tag"]})
    with pytest.raises(LikelihoodError, match="several values or none, but model\\.law is 'one'"):
        model.check(x, {"tag": torch.ones(6, 3)})
    with pytest.raises(LikelihoodError, match="weights outside 0 to 1"):
        model.check(x, {"tag": 2 * told["tag"]})
    with pytest.raises(LikelihoodError, match=r"has shape \(6, 2\)"):
        model.check(x, {"tag": told["tag"][:, :2]})
    with pytest.raises(LikelihoodError, match="data have shape"):
        model.check(x[:, :1], told)
    config = TaggerConfig(net=NETS["chunk"][0])
    with pytest.raises(ConfigError, match="no label 'tag'; did you mean 'tags'"):
        Tagger(config, (12, 20), {"tags": 4})
    with pytest.raises(ConfigError, match="'tag' has 1 values"):
        Tagger(config, (12, 20), {"tag": 1})
    with pytest.raises(ConfigError, match=r"x has shape \(12,\) an item, expected \(features, frames\)"):
        Tagger(config, (12,), {"tag": 2})
    raw = TaggerConfig(net=NETS["raw"][0])
    for shape in ((2, 400), (1, 8)):
        with pytest.raises(ConfigError, match="its front of 16 samples"):
            Tagger(raw, shape, {"tag": 2})
    patched = TemporalConfig(patches=PATCHES, channels=(5,))
    with pytest.raises(ConfigError, match=r"patches of 4 bands got x of shape \(3, 40\), expected a spectrogram"):
        Tagger(TaggerConfig(net=patched), (3, 40), {"tag": 2})
    both = patched.model_copy(update={"front": FRONT})
    with pytest.raises(ConfigError, match=r"got x of shape \(1, 400\) and a front"):
        Tagger(TaggerConfig(net=both), (1, 400), {"tag": 2})
    with pytest.raises(ConfigError, match="channels"):
        parse(TaggerConfig, {"net": {"kind": "chunk", "channels": []}})
