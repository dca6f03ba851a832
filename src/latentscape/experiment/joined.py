"""The one place where corpus, examples, model and objective are joined, for a run that begins or that is opened again.

Who measures a run needs its corpus, which :func:`open_run` opens; who trains needs model and objective, too. Joining
asks what can be asked before training: shapes, whether the likelihood can describe the data, and whether parts of the
configuration fit one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentscape.core.errors import ConfigError, StorageError
from latentscape.core.random import seeded
from latentscape.core.storage import as_record, load_object
from latentscape.data.consecutive import Consecutive
from latentscape.data.corpus import ImageCorpus, SoundCorpus
from latentscape.data.examples import Examples
from latentscape.data.images import ImageExamples
from latentscape.data.sounds import SoundExamples
from latentscape.data.sources import open_source
from latentscape.data.split import Split, restore
from latentscape.data.word_vectors import WordVectors
from latentscape.experiment.config import RunConfig
from latentscape.experiment.hearing import digest_of, hearing_of
from latentscape.models.model import Model, Objective
from latentscape.registry import build_model, build_objective, build_representation, counts_present


@dataclass(frozen=True, eq=False)
class Opened:
    """A configuration, and the corpus that it is for as training and evaluation see it."""

    config: RunConfig
    corpus: SoundCorpus | ImageCorpus
    split: Split
    examples: Examples
    vectors: WordVectors | None


@dataclass(frozen=True, eq=False)
class Prepared(Opened):
    """Everything that training needs, opened and joined."""

    model: Model
    objective: Objective


def build_examples(
    config: RunConfig,
    corpus: SoundCorpus | ImageCorpus,
    split: Split,
    conditions: Sequence[str] = (),
    marks: Sequence[str] = (),
    vectors: WordVectors | None = None,
) -> Examples:
    """Return what training and evaluation see of a corpus.

    Raises:
        ConfigError: a tagger of images, which there is none of.
    """
    seed = config.train.seed
    if isinstance(corpus, ImageCorpus):
        if marks:
            raise ConfigError(f"model: a tagger listens to sounds, but {corpus.name} holds images")
        return ImageExamples(corpus, split, config.data, seed=seed, conditions=conditions)
    representation = build_representation(config.representation)
    told: dict[str, Any] = {"conditions": conditions, "marks": marks, "present": counts_present(config.model)}
    told["hearing"] = hearing_of(config)
    if vectors is not None and vectors.label in corpus.clips.columns:
        told["vectors"] = vectors.table(corpus.clips.columns[vectors.label])
    parts, window = config.data.consecutive, config.window
    stretch = window.model_copy(update={"length": parts * window.length, "hop": parts * window.hop})
    examples = SoundExamples(corpus, split, representation, stretch, config.data, seed=seed, **told)
    return examples if parts == 1 else Consecutive(examples, parts)


def told_of(config: RunConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels that go with x as codes, and those that go with it as weights of their values."""
    return getattr(config.model, "condition", ()), getattr(config.model, "marks", ())


def gather(
    config: RunConfig, corpus: SoundCorpus | ImageCorpus, split: Split, vectors: WordVectors | None = None
) -> Opened:
    """Build the examples of a corpus.

    Args:
        config: of the run.
        corpus: its sounds or images.
        split: their parts.
        vectors: of the corpus's words, for a model that is told of them.

    Raises:
        ConfigError: what is asked of the data is nothing that the model takes.
    """
    if bool(config.data.mask) != getattr(config.model, "conditional", False):
        raise ConfigError(
            f"data.mask: got {len(config.data.mask)} kinds of mask for a model that fills in "
            f"{'nothing' if config.data.mask else 'what they hide'}; set model.conditional and data.mask together"
        )
    if config.data.lead_in and not counts_present(config.model):
        raise ConfigError(
            f"data.lead_in: got {config.data.lead_in} for a model '{config.model.kind}', which needs none"
        )
    examples = build_examples(config, corpus, split, *told_of(config), vectors)
    return Opened(config, corpus, split, examples, vectors)


def join(opened: Opened) -> Prepared:
    """Build model and objective, and ask the model whether it can describe the data.

    Raises:
        ConfigError: parts that don't fit each other.
        LikelihoodError: the likelihood can't describe the data.
    """
    config, examples = opened.config, opened.examples
    vocabulary = {name: len(values) for name, values in examples.vocabulary.items()}
    with seeded(config.train.seed, "weights"):
        model = build_model(config.model, examples.event_shape, vocabulary, examples.units())
        objective = build_objective(config.objective, model)
    if config.data.consecutive > 1 and not model.carries:
        raise ConfigError(
            f"data.consecutive: got {config.data.consecutive}, but model {config.model.kind} carries nothing from "
            "window to window, expected 1"
        )
    model.check(*examples.batch(0, config.train.batch_size))
    if model.wants:
        model.prime(examples.batch(0, max(config.train.batch_size, model.wants))[0])
    return Prepared(**vars(opened), model=model, objective=objective)


def open_run(run: Path, config: RunConfig | None = None) -> Opened:
    """Open a run folder's corpus and split again, with its own configuration unless told.

    Raises:
        StorageError: a file of the run is missing or damaged, or its source has changed.
    """
    config = config or read_config(run)
    facts = load_object(run / "run.json", ("source", "digest"))
    if not isinstance(facts["source"], str):
        raise StorageError(f"{run / 'run.json'} is damaged: got source {facts['source']!r:.40}, expected its name")
    corpus = open_source(facts["source"], config.source)
    if digest_of(config, corpus) != facts["digest"]:
        raise StorageError(f"{facts['source']} has changed since {run} was made; train a new run on what is there now")
    manifest = load_object(run / "split.json", ("group", "seed", "parts", "notes"))
    try:
        split = restore(manifest, corpus)
    except (LookupError, TypeError, ValueError) as error:
        raise StorageError(f"{run / 'split.json'} is damaged: its parts can't be read") from error
    return gather(config, corpus, split, WordVectors.load(run) if config.data.words is not None else None)


def read_config(run: Path) -> RunConfig:
    """Read the configuration of a run folder.

    Raises:
        StorageError: it is missing or damaged.
    """
    path = run / "config.json"
    return as_record(RunConfig, load_object(path), path)
