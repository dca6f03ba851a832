import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError, LikelihoodError, UsageError
from latentscape.models.bounds import evaluating, iw_bound
from latentscape.models.classifier import Classifier, ClassifierConfig
from latentscape.models.model import Step
from latentscape.models.objectives import Reconstruction, ReconstructionConfig
from latentscape.nets.conv import ConvConfig
from latentscape.nets.mlp import MlpConfig

COLOURS, SIZES = ("red", "green", "blue"), ("small", "large")
NETS = {
    "conv": (ConvConfig(channels=(4, 8), kernel=3, blocks=1, norm=True), (1, 9, 7)),
    "conv of a line": (ConvConfig(channels=(4, 8)), (30,)),
    "mlp": (MlpConfig(widths=(16,)), (2, 5)),
}


def build(net="mlp", **options):
    config, shape = NETS[net]
    heads = {"colour": COLOURS, "size": SIZES}
    return Classifier(ClassifierConfig(heads=heads, net=config, features=12, **options), shape)


def batch(model, b=6):
    x = torch.randn(b, *model.event_shape)
    return x, {"colour": torch.arange(b) % 3, "size": torch.arange(b) % 2}


@pytest.mark.parametrize("net", NETS)
def test_the_distortion_is_the_cross_entropy_of_every_head(net):
    model = build(net)
    x, labels = batch(model)
    terms = model.terms(x, labels, samples=3)
    colour, size = model.logits(x)
    expected = cross_entropy(colour, labels["colour"], reduction="none") + cross_entropy(
        size, labels["size"], reduction="none"
    )
    torch.testing.assert_close(terms.distortion, expected.expand(3, -1))
    assert terms.rate == terms.layers == ()
    y = torch.stack([labels["colour"], labels["size"]], dim=1)
    torch.testing.assert_close(-terms.likelihood.log_prob(y), expected)
    assert (terms.likelihood.batch_shape, terms.likelihood.event_shape) == ((6,), (2,))
    assert bool((terms.likelihood.sample()[:, 1] < 2).all())  # a shorter head never gives a class that it lacks


def test_probabilities_and_features():
    model = build("conv")
    x, _ = batch(model)
    assert model.classes == COLOURS
    assert model.features(x).shape == (6, 12)
    for head, count in ((None, 3), ("colour", 3), ("size", 2)):
        p = model.probabilities(x, head)
        assert p.shape == (6, count)
        torch.testing.assert_close(p.sum(1), torch.ones(6))
    torch.testing.assert_close(model.probabilities(x), model.probabilities(x, "colour"))
    assert torch.equal(model.logits(x)[1], model.last(model.features(x))[:, 3:])
    with pytest.raises(UsageError, match="no head 'colur'; did you mean 'colour'"):
        model.probabilities(x, "colur")


def test_units_are_in_the_weights():
    shape = (4,)
    config = ClassifierConfig(heads={"label": ("0", "1")}, net=MlpConfig(widths=()))
    model = Classifier(config, shape, units=(torch.full((1,), 5.0), torch.full((1,), 2.0)))
    plain = Classifier(config, shape)
    plain.load_state_dict(model.state_dict() | plain.units.state_dict(prefix="units."))
    x = torch.randn(3, 4)
    torch.testing.assert_close(model.features(5 + 2 * x), plain.features(x))


def test_an_unknown_label_costs_nothing():
    model = build()
    x, labels = batch(model)
    model.check(x, labels)
    half = labels | {"size": torch.tensor([-1, 1, -1, 1, -1, 1])}
    model.check(x, half)
    colour, size = model.logits(x)
    expected = cross_entropy(colour, labels["colour"], reduction="none")
    expected[1::2] += cross_entropy(size, labels["size"], reduction="none")[1::2]
    distortion = model.terms(x, half).distortion[0]
    torch.testing.assert_close(distortion, expected)
    distortion.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_what_it_refuses():
    model = build()
    x, labels = batch(model)
    with pytest.raises(LikelihoodError, match="'size' got no such label; known: colour"):
        model.check(x, {"colour": labels["colour"]})
    with pytest.raises(LikelihoodError, match="label 'size' has codes 0 to 2, expected -1 to 1"):
        model.check(x, labels | {"size": labels["colour"]})
    with pytest.raises(LikelihoodError, match="data have shape"):
        model.check(x[:, :1], labels)
    with pytest.raises(LikelihoodError, match="has no latent layers"):
        iw_bound(model, x, labels, samples=2)
    for heads in ({}, {"label": ("one",)}):
        with pytest.raises(ConfigError, match="at least one head, with two classes or more"):
            parse(ClassifierConfig, {"heads": heads})


def test_dropout_is_of_training_only():
    model = build(dropout=0.9)
    x, _ = batch(model)
    assert not torch.equal(model.logits(x)[0], model.logits(x)[0])
    with evaluating(model):
        assert torch.equal(model.logits(x)[0], model.logits(x)[0])


@pytest.mark.parametrize("net", NETS)
def test_reconstruction_trains_it(net):
    """Two blobs a colour: it learns to tell them, from far worse than chance to nearly sure."""
    model = build(net)
    step = Step(model, Reconstruction(ReconstructionConfig()))
    adam = torch.optim.Adam(step.parameters(), lr=3e-3)
    centres = torch.randn(6, *model.event_shape)
    for index in range(150):
        y = torch.randint(6, (32,))
        x = centres[y] + 0.3 * torch.randn(32, *model.event_shape)
        loss = step(x, {"colour": y % 3, "size": y // 3}, index)
        adam.zero_grad()
        loss.total.backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
        adam.step()
        if index == 0:
            assert float(loss.log["distortion"]) == pytest.approx(math.log(6), abs=1.5)
    assert set(loss.log) == {"distortion"}
    assert float(loss.log["distortion"]) < 0.1
