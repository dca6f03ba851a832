"""The unions: a row of the registry is enrolled in the laws and can be named in a recipe."""

from typing import get_args

import pytest
import torch

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.data.split import PARTS, undivided
from latentscape.experiment.config import RunConfig, resolve
from latentscape.laws.representation import check_representation
from latentscape.models.adversary import WaeGanConfig
from latentscape.models.hierarchy import HierarchyConfig
from latentscape.models.model import LatentModel
from latentscape.models.objectives import ReconstructionConfig, WaeMmdConfig
from latentscape.models.tagger import TaggerConfig
from latentscape.models.vlae import VlaeConfig
from latentscape.nets.tagger import ChunkConfig
from latentscape.recipes import load_recipe, recipe_names
from latentscape.registry import (
    MODELS,
    OBJECTIVES,
    REPRESENTATIONS,
    ModelConfig,
    ObjectiveConfig,
    RepresentationConfig,
    Window,
    build_model,
    build_objective,
    build_representation,
)


@pytest.mark.parametrize(("union", "table"), [
    (RepresentationConfig, REPRESENTATIONS), (ModelConfig, MODELS), (ObjectiveConfig, OBJECTIVES),
])  # fmt: skip
def test_every_row_of_a_table_can_be_named(union, table):
    assert set(get_args(get_args(union)[0])) == set(table)


@pytest.mark.parametrize("kind", REPRESENTATIONS, ids=lambda kind: kind.__name__)
def test_a_representation_of_the_registry_keeps_the_laws(kind):
    check_representation(build_representation(kind(sample_rate=8000)))


@pytest.mark.parametrize("kind", REPRESENTATIONS, ids=lambda kind: kind.__name__)
def test_a_sample_rate_is_never_assumed(kind):
    with pytest.raises(ConfigError, match="sample_rate"):
        build_representation(kind())


@pytest.mark.parametrize("model", MODELS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda kind: kind.__name__)
def test_every_model_learns_by_every_objective(model, objective):
    context = {}
    if model in (HierarchyConfig, VlaeConfig):
        waves = model is VlaeConfig
        made = build_model(model(), (1, 6) if waves else (6,), {})
        x = torch.randint(256, (16, 1, 6)) if waves else torch.randn(16, 6)
        if objective in (ReconstructionConfig, WaeMmdConfig, WaeGanConfig):
            with pytest.raises(ConfigError, match="learnt by its density"):
                build_objective(objective(), made)
            return
    elif model is TaggerConfig:
        config, x = TaggerConfig(net=ChunkConfig(channels=(4,), dense=8)), torch.randn(16, 6, 8)
        made = build_model(config, (6, 8), {"tag": 2})
        context = {"tag": torch.eye(2).repeat(8, 1)}
        if objective in (WaeMmdConfig, WaeGanConfig):
            with pytest.raises(ConfigError, match="no latents"):
                build_objective(objective(), made)
            return
    elif issubclass(MODELS[model], LatentModel):
        made, x = build_model(model(latent=3), (6,), {}), torch.randn(16, 6)
    else:
        made, x = build_model(model(), (1, 16), {}), torch.randint(256, (16, 1, 16))
        if objective in (WaeMmdConfig, WaeGanConfig):
            with pytest.raises(ConfigError, match="no latents"):
                build_objective(objective(), made)
            return
    loss = build_objective(objective(), made)
    total = loss(made, made.terms(x, context), x, context, 0).total
    total.backward()
    assert torch.isfinite(total)
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_a_configuration(name):
    recipe = load_recipe(name)
    assert recipe.title
    assert recipe.about
    config = resolve(name, [])
    assert parse(RunConfig, config.model_dump(mode="json")) == config


def test_window_gives_frames_or_patches():
    assert Window().event_shape(5) == (5,)
    assert Window(length=3, hop=2).event_shape(5) == (5, 3)


def test_an_undivided_corpus_is_every_part(tmp_path):
    from latentscape.data.sources import open_source

    corpus = open_source("digits")
    split = undivided(corpus)
    assert all(len(split.parts[part]) == len(corpus.images) for part in PARTS)
