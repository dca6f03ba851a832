"""The journal's experiments: each builds at full size, its twin takes a step, and its mistakes are refused."""

import pytest
import torch

from latentscape.core.errors import ConfigError, LikelihoodError
from latentscape.experiment.config import resolve
from latentscape.experiment.run import Request
from latentscape.experiment.train import run_experiment
from latentscape.models.model import Step
from latentscape.nets.build import build_reader, build_writer
from latentscape.recipes import load_recipe, recipe_names
from latentscape.registry import build_model, build_objective

RAW = [name for name in recipe_names() if name.startswith("raw-")]
FULL = [name for name in RAW if not name.endswith("-small")]


def test_every_experiment_has_a_twin_of_the_same_windows():
    assert len(FULL) >= 10
    for name in FULL:
        full, small = resolve(name, []), resolve(f"{name}-small", [])
        assert full.window == small.window
        assert full.source == small.source
        assert full.model.latent == small.model.latent
        assert full.objective.kind == small.objective.kind
        assert small.train.minutes is not None
        assert small.train.max_steps is None
        assert full.train.max_steps is not None


@pytest.mark.parametrize("name", FULL)
def test_full_size_is_as_large_as_the_journals(name):
    config = resolve(name, [])
    shape = config.window.event_shape(1)
    with torch.device("meta"):  # shapes alone: the memory is not taken
        reader = build_reader(config.model.encoder, shape, 0, 2 * config.model.latent)
        writer = build_writer(config.model.decoder, config.model.latent, shape, 1, 0)
        code = reader(torch.zeros(2, *shape))
        out = writer(code[:, : config.model.latent])
    assert out.shape == (2, shape[1])
    assert shape[1] in (16_000, 32_000)
    assert shape[1] / config.source.sample_rate in (2.0, 4.0, 8.0)
    assert (
        4 * 4 * sum(p.numel() for net in (reader, writer) for p in net.parameters()) < 10 * 2**30
    )  # weights, gradients and Adam's moments


@pytest.mark.parametrize("name", [name for name in RAW if name.endswith("-small")])
def test_a_twin_takes_a_step(name):
    config = resolve(name, [])
    shape = config.window.event_shape(1)
    model = build_model(config.model, shape, {})
    step = Step(model, build_objective(config.objective, model))
    loss = step(0.1 * torch.randn(2, *shape), {}, 0)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert all(p.grad is not None for p in step.parameters())


@pytest.mark.parametrize(("encoder", "decoder"), [([], [16]), ([16], [8, 16, 24]), ([16, 8, 8], []), ([8], [24, 8])])
def test_any_depth_goes_on_either_side(encoder, decoder):
    """The journal's deeper decoder hit a dimension bug."""
    sets = [f"model.encoder.widths={encoder}", f"model.decoder.widths={decoder}"]
    config = resolve("raw-trajectories-small", [*sets, "model.latent=2", "window.length=500"])
    model = build_model(config.model, (1, 500), {})
    terms = model.terms(torch.randn(3, 1, 500))
    terms.distortion.sum().backward()
    assert terms.likelihood.mean.shape == (3, 1, 500)
    assert all(p.grad is not None for p in model.decoder.parameters())


def test_a_likelihood_of_bits_is_refused_with_its_reason(tmp_path):
    """What the journal trained noise with for 4000 epochs."""
    sets = ("model.likelihood={kind: bernoulli}", "model.encoder.widths=[4]", "model.decoder.widths=[4]")
    request = Request("sines", tmp_path / "run", recipe="raw-one-layer-small", sets=sets)
    with pytest.raises(LikelihoodError, match=r"every value to be 0 or 1 .* use 'gaussian' or 'laplace' for sound"):
        run_experiment(request, say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_a_recipe_says_how_its_source_is_read(tmp_path):
    sets = ["model.encoder.widths=[4]", "model.decoder.widths=[4]", "window.length=1000", "train.minutes=null"]
    few = ["train.max_steps=1", "train.batch_size=2", "model.latent=2"]
    from latentscape.experiment.run import prepare

    def prepared(**options):
        request = Request("sines", tmp_path, recipe="raw-4s-small", sets=(*sets, *few), **options)
        return prepare(request, lambda line: None)

    with prepared().examples as examples:
        assert examples.corpus.sample_rate == 4000
    with prepared(rate=8000).examples as examples:
        assert examples.corpus.sample_rate == 8000


def test_a_recipe_is_like_another(tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("like: raw-4s-small\nmodel: {latent: 3}\n")
    assert load_recipe(str(own)).values["model"]["latent"] == 3
    assert load_recipe(str(own)).values["window"] == {"length": 16000, "hop": 4000}
    own.write_text("like: raw-4\n")
    with pytest.raises(ConfigError, match="like: 'raw-4' is not known; did you mean 'raw-4s'"):
        load_recipe(str(own))
