"""The whole configuration of a run, and how a recipe, the shell's changes and the corpus become one."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from latentscape.core.config import Record, assignment, merge, parse
from latentscape.core.errors import ConfigError, UsageError
from latentscape.data.corpus import SoundCorpus, SourceOptions
from latentscape.data.examples import DataConfig
from latentscape.recipes import Recipe, load_recipe
from latentscape.registry import SpaceConfig
from latentscape.train.config import TrainConfig

BOUNDS = frozenset({"max_steps", "minutes"})
"""What bounds a training."""


class RunConfig(SpaceConfig):
    """What a run is made of, how its data are cut, and how it is trained: all of ``config.json``.

    Attributes:
        source: how the source is read.
        data: how it is split, augmented and cut into batches.
        train: how the model is trained.
    """

    source: SourceOptions = SourceOptions()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()


def resolve(recipe: str | Recipe, sets: Sequence[str], changes: dict[str, Any] | None = None) -> RunConfig:
    """Return a recipe's configuration with changes laid over it.

    Args:
        recipe: its name, or one that has no file.
        sets: ``key=value`` texts of the shell; they win over ``changes``, and the last one wins.
        changes: nested values that the shell's own options stand for.

    Raises:
        UsageError: the recipe is unknown.
        ConfigError: a key or value is wrong; its full path is named.
    """
    asked = _asked(sets, changes)
    found = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    values = merge(found.values, asked)
    train = asked.get("train")
    if isinstance(train, Mapping) and len(BOUNDS & set(train)) == 1:
        (other,) = BOUNDS - set(train)  # who asks for steps does not want the recipe's minutes, and the reverse
        values = merge(values, {"train": {other: None}})
    return parse(RunConfig, values, f"recipe {found.name}")


def _asked(sets: Sequence[str], changes: dict[str, Any] | None) -> dict[str, Any]:
    return reduce(merge, map(assignment, sets), changes or {})


def asked_source(sets: Sequence[str], changes: dict[str, Any]) -> SourceOptions:
    """Return how the source is to be read, before it is known which recipe fits it.

    Raises:
        ConfigError: as :func:`resolve`.
    """
    return parse(_Sourced, {"source": _asked(sets, changes).get("source")}, "--set").source


class _Sourced(Record):
    source: SourceOptions


def fit_to(config: RunConfig, corpus: Any) -> RunConfig:
    """Return the configuration with what only the corpus knows: its sample rate.

    Raises:
        ConfigError: the recipe is for sounds and the corpus holds images, or the reverse; or the rates differ.
    """
    sounds = isinstance(corpus, SoundCorpus)
    if sounds != (config.representation is not None):
        has, needs = ("sounds", "images") if sounds else ("images", "sounds")
        raise ConfigError(f"{corpus.name} holds {has}, but the recipe is for {needs}; see `latentscape recipes`")
    if not sounds or config.representation is None:
        return config
    rate = config.representation.sample_rate
    if rate is not None and rate != corpus.sample_rate:
        raise ConfigError(
            f"representation.sample_rate: got {rate} Hz, but the sounds are read at {corpus.sample_rate} Hz; "
            f"leave it out, or add --rate {rate}"
        )
    representation = config.representation.model_copy(update={"sample_rate": corpus.sample_rate})
    return config.model_copy(update={"representation": representation})


def source_options(rate: int | None, channels: str, labels: str | None) -> SourceOptions:
    """Return how the shell's options say that a source is read."""
    return parse(SourceOptions, {"sample_rate": rate, "channels": channels, "pattern": labels}, "options")


def changes_on_resume(sets: Sequence[str], recipe: str | Recipe | None) -> dict[str, Any]:
    """Return the changes that a resumed run may take from the shell: those of its training.

    Raises:
        UsageError: another recipe, or a change of something else than ``train``.
    """
    if recipe is not None:
        raise UsageError("--resume goes on with the run's own recipe; leave --recipe out")
    changes: dict[str, Any] = {}
    for text in sets:
        change = assignment(text)
        if set(change) != {"train"}:
            raise UsageError(f"--resume can only change train.*, got --set {text}")
        changes = merge(changes, change)
    return changes
