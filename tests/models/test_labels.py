"""What a model is told: by either way, to every family, and withheld row by row."""

import pytest
import torch

from latentscape.core.errors import ConfigError
from latentscape.dist.likelihoods import BernoulliConfig, GaussianConfig
from latentscape.dist.logistic import LogisticMixtureConfig
from latentscape.laws.model import check_model
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.labels import withhold
from latentscape.models.model import Step
from latentscape.models.objectives import Elbo, ElboConfig
from latentscape.nets.conv import ConvConfig
from latentscape.nets.mlp import MlpConfig
from latentscape.train.noise import GlobalNoise

MLP = {"latent": 3, "encoder": MlpConfig(widths=(16,)), "decoder": MlpConfig(widths=(16,))}
CONV = {"latent": 3, "encoder": ConvConfig(channels=(4,)), "decoder": ConvConfig(channels=(4,), dense=(8,))}
NAMES = ("pitch", "family")
SIZES = {"pitch": 3, "family": 2}
CONTEXT = {"pitch": torch.tensor([0, 1, 2, -1, 1, 0]), "family": torch.tensor([0, 1, -1, 1, 0, 0])}


def model(shape=(5,), heard=True, **values):
    made = Autoencoder(AutoencoderConfig(**{**MLP, "condition": NAMES, **values}), shape, SIZES)
    if heard:  # films are zero at the start, where no gradient reaches the embeddings behind them
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if ".map." in name:
                    parameter.normal_(0, 0.3)
    return made


@pytest.mark.parametrize(
    ("values", "shape", "x"),
    [
        ({}, (5,), torch.randn(6, 5)),
        ({**CONV, "likelihood": BernoulliConfig()}, (1, 5, 6), (torch.rand(6, 1, 5, 6) > 0.5).float()),
        ({"posterior": "deterministic"}, (5,), torch.randn(6, 5)),
        ({"likelihood": LogisticMixtureConfig(components=2, levels=8)}, (2, 2), torch.randint(0, 8, (6, 2, 2)) / 7),
    ],
    ids=["mlp", "conv", "deterministic", "levels"],
)
@pytest.mark.parametrize("by", ["concat", "film"])
def test_laws(values, shape, x, by):
    check_model(lambda: model(shape, condition_by=by, **values), x, CONTEXT)


@pytest.mark.parametrize("by", ["concat", "film"])
def test_each_value_has_a_meaning_and_absent_is_unknown(by):
    made = model(condition_by=by).eval()
    x, z = torch.randn(6, 5), torch.randn(6, 3)
    unknown = {"pitch": torch.full((6,), -1), "family": torch.full((6,), -1)}
    assert torch.equal(made.encode(x)[0], made.encode(x, unknown)[0])
    for read in (lambda told: made.encode(x, told)[0], lambda told: made.decode((z,), told).mean):
        told = torch.stack([read({"pitch": torch.full((6,), code)}) for code in (-1, 0, 1, 2)])
        assert float(torch.pdist(told.flatten(1).detach()).min()) > 1e-3


def test_film_begins_as_a_model_that_is_told_nothing():
    made = model(heard=False, condition_by="film").eval()
    x = torch.randn(6, 5)
    assert torch.equal(made.encode(x)[0], made.encode(x, CONTEXT)[0])
    with pytest.raises(ConfigError, match="condition_by"):
        model(condition_by="film", encoder=MlpConfig(widths=()))


def test_film_learns_what_a_label_says():
    """x is a function of the label alone, and z is held still: only the condition can tell."""
    made = model(condition_by="film", condition_dropout=0.0, likelihood=GaussianConfig(scale="fixed"))
    places = 3 * torch.randn(3, 5)
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    pitch = torch.randint(0, 3, (128,))
    z = torch.zeros(128, 3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = -made.decode((z,), {"pitch": pitch}).log_prob(places[pitch]).mean()
        loss.backward()
        optimiser.step()
    error = made.decode((z[:3],), {"pitch": torch.arange(3)}).mean - places
    assert float(error.detach().abs().max()) < 0.3


def test_all_is_withheld_from_a_share_of_rows_and_each_of_several_by_itself():
    context = {"pitch": torch.zeros(4000, dtype=torch.int64), "family": torch.ones(4000, dtype=torch.int64)}
    context["series"] = torch.randn(4000, 2)
    cpu = torch.device("cpu")
    told = withhold(context, {"pitch": -1, "family": -1, "absent": -1}, 4000, 0.1, cpu)
    pitch, family = told["pitch"] == -1, told["family"] == -1
    for found, share in ((pitch & family, 0.109), (pitch & ~family, 0.081), (~pitch & family, 0.081)):
        assert float(found.float().mean()) == pytest.approx(share, abs=0.02)
    assert told["series"] is context["series"]
    assert set(told) == set(context)
    assert int(context["pitch"].min()) == 0  # the input is as it was
    alone = withhold(context, {"pitch": -1}, 4000, 0.1, cpu)
    assert float((alone["pitch"] == -1).float().mean()) == pytest.approx(0.1, abs=0.02)


class Spy(Autoencoder):
    """Remembers what encoder and decoder were told."""

    def infer(self, x, context={}, **keys):
        self.encoder_told = context
        return super().infer(x, context, **keys)

    def decode(self, z, context={}):
        self.decoder_told = context
        return super().decode(z, context)


def spy(**values):
    return Spy(AutoencoderConfig(**{**MLP, "condition": NAMES, **values}), (5,), SIZES)


def test_encoder_and_decoder_miss_the_same_rows_in_training_and_none_in_evaluation():
    made, x = spy(condition_dropout=0.5), torch.randn(64, 5)
    context = {"pitch": torch.ones(64, dtype=torch.int64), "family": torch.zeros(64, dtype=torch.int64)}
    made.terms(x, context, samples=2)
    for name in NAMES:
        assert 32 < int((made.encoder_told[name] == -1).sum()) < 62  # of 64; with all, or by itself: 3 / 4
        assert torch.equal(made.decoder_told[name], made.encoder_told[name].repeat(2))
    made.eval().terms(x, context)
    assert made.encoder_told is context
    untold = spy(condition=())
    untold.terms(x, context)
    assert untold.encoder_told is context


def test_the_draw_is_of_the_step_and_unconditional_models_draw_nothing_more():
    x, context = torch.randn(32, 5), {"pitch": torch.ones(32, dtype=torch.int64)}
    made = spy(condition=("pitch",))
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.terms(x, context)
        found.append(made.encoder_told["pitch"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    for plain in (spy(condition=()), spy(condition=("pitch",), condition_dropout=0.0)):
        torch.manual_seed(1)
        plain.terms(x, context)
        after = torch.rand(1)
        torch.manual_seed(1)
        torch.randn(1, 32, 3)  # the posterior's noise, and nothing else
        assert torch.equal(after, torch.rand(1))


def test_two_processes_withhold_the_rows_of_one():
    x = torch.randn(16, 5)
    context = {"pitch": torch.arange(16) % 3, "family": torch.arange(16) % 2}
    made = spy(condition_dropout=0.5)
    step = Step(made, Elbo(ElboConfig()))

    def told(rows, rank, world):
        torch.manual_seed(7)
        with GlobalNoise(16 // world, rank, world):
            step(x[rows], {name: value[rows] for name, value in context.items()}, 0)
        return made.encoder_told["pitch"]

    whole = told(slice(0, 16), 0, 1)
    halves = torch.cat([told(slice(0, 8), 0, 2), told(slice(8, 16), 1, 2)])
    assert torch.equal(whole, halves)
    assert bool((whole == -1).any())
