"""From a source to a trained run: the one place where corpus, model, objective and loop are joined.

Nothing is written before everything that can be checked has been: recipe, source, split, shapes, and whether the
likelihood can describe the data. Every process of a distributed run opens the run folder by path (:class:`Work`).
"""

import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentscape.core.config import merge, parse
from latentscape.core.errors import ConfigError, StorageError, UsageError
from latentscape.core.lock import locked
from latentscape.core.random import seeded
from latentscape.core.storage import load_object, save_json
from latentscape.data.consecutive import Consecutive
from latentscape.data.corpus import ImageCorpus, SoundCorpus
from latentscape.data.examples import Batch, Examples
from latentscape.data.images import ImageExamples
from latentscape.data.sounds import SoundExamples, gap_samples
from latentscape.data.sources import has_name, open_source
from latentscape.data.split import Split, restore, split_corpus
from latentscape.data.word_vectors import WordVectors
from latentscape.experiment.config import RunConfig, asked_source, changes_on_resume, fit_to, resolve, source_options
from latentscape.experiment.examine import suggest
from latentscape.experiment.glimpse import glimpses
from latentscape.experiment.hearing import digest_of, fit_local, fit_words, hearing_of
from latentscape.experiment.progress import decoding
from latentscape.instrument.loading import FORMAT
from latentscape.measure.layers import diagnose
from latentscape.models.hierarchy import Hierarchy
from latentscape.models.memory import Memory
from latentscape.models.model import LatentModel, Model, Objective, Step
from latentscape.recipes import Recipe
from latentscape.registry import build_model, build_objective, build_representation, counts_present
from latentscape.train.checkpoint import Checkpoints
from latentscape.train.config import continued
from latentscape.train.loop import Outcome, fit
from latentscape.train.process import check_devices, launch
from latentscape.train.settle import moved

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SPLIT_SEED = 0
"""Splits do not vary with the seed of a run, so that runs of several seeds are compared on the same test part."""
VALIDATION_ITEMS = 4096
LAYER_ITEMS = 512
"""Items of each part on which the layers of a hierarchy are told apart at a validation."""
LATE = 2**40
"""A step past any warm-up: validation weighs its terms as the end of training does."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the shell was asked to train; see ``latentscape train --help``."""

    source: str
    run: Path
    recipe: str | Recipe | None = None
    sets: tuple[str, ...] = ()
    minutes: float | None = None
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    devices: int = 1
    seed: int = 0
    rate: int | None = None
    channels: str = "mean"
    labels: str | None = None

    def changes(self, *, resumed: bool = False) -> dict[str, Any]:
        """Return the configuration values that the options stand for; a resumed run keeps its own."""
        if resumed:
            return {}
        train: dict[str, Any] = {"seed": self.seed, "accelerator": self.device, "devices": self.devices}
        if self.minutes is not None:
            train["minutes"] = self.minutes
        source = source_options(self.rate, self.channels, self.labels)
        return {"train": train, "source": source.model_dump(exclude_defaults=True)}


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that training needs, opened and joined."""

    config: RunConfig
    corpus: SoundCorpus | ImageCorpus
    split: Split
    examples: Examples
    model: Model
    objective: Objective
    vectors: WordVectors | None = None


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


def join(
    config: RunConfig,
    corpus: SoundCorpus | ImageCorpus,
    split: Split,
    *,
    units: bool = True,
    vectors: WordVectors | None = None,
) -> Prepared:
    """Build examples, model and objective, and ask the model whether it can describe the data.

    Args:
        config: of the run.
        corpus: its sounds or images.
        split: their parts.
        units: measure mean and scale of x for the model, and try it on a batch; ``False`` where its weights, which hold
            them, are read next.
        vectors: of the corpus's words, for a model that is told of them.

    Raises:
        ConfigError: parts that don't fit each other.
        LikelihoodError: the likelihood can't describe the data.
    """
    seed = config.train.seed
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
    vocabulary = {name: len(values) for name, values in examples.vocabulary.items()}
    with seeded(seed, "weights"):
        model = build_model(config.model, examples.event_shape, vocabulary, examples.units() if units else None)
        objective = build_objective(config.objective, model)
    if config.data.consecutive > 1 and not model.carries:
        raise ConfigError(
            f"data.consecutive: got {config.data.consecutive}, but model {config.model.kind} carries nothing from "
            "window to window, expected 1"
        )
    if units:  # else the weights that are read next have been through both
        model.check(*examples.batch(0, config.train.batch_size))
        if model.wants:
            model.prime(examples.batch(0, max(config.train.batch_size, model.wants))[0])
    return Prepared(config, corpus, split, examples, model, objective, vectors)


def open_run(run: Path, config: RunConfig | None = None, *, units: bool = True) -> Prepared:
    """Open a run folder's corpus, split and (untrained) model again, with its own configuration unless told.

    ``units`` is as in :func:`join`.

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
    vectors = WordVectors.load(run) if config.data.words is not None else None
    return join(config, corpus, split, units=units, vectors=vectors)


def read_config(run: Path) -> RunConfig:
    """Read the configuration of a run folder.

    Raises:
        StorageError: it is missing or damaged.
    """
    path = run / "config.json"
    try:
        return parse(RunConfig, load_object(path), f"{path}")
    except ConfigError as error:
        raise StorageError(f"{error}") from error


def validation(
    examples: Examples, objective: Objective, batch_size: int, model: Model
) -> Callable[[Model], Mapping[str, float]]:
    """Return what is asked of a model between steps: the objective, at its final weights, on the valid part.

    Of a hierarchy also what each of its layers does, on training and validation items (:mod:`.measure.layers`).
    """
    limit = max(batch_size, min(VALIDATION_ITEMS, model.glance // math.prod(examples.event_shape)))
    held: list[Batch] = list(examples.held("valid", batch_size, limit))
    if len(held) > 1 and len(held[-1][0]) < batch_size:  # a rest of one item has no maximum mean discrepancy
        held.pop()

    several = isinstance(model, LatentModel) and len(model.latent_shapes) > 1
    several = several and (isinstance(model, Hierarchy) or not model.sequential)  # what is drawn as a wave takes long
    most = min(LAYER_ITEMS, limit)
    sides = [list(examples.held(part, batch_size, most)) for part in ("train", "valid")] if several else []

    @torch.no_grad()
    def validate(model: Model) -> dict[str, float]:
        device = next(model.parameters()).device
        sums: dict[str, float] = {}
        total, memory = 0, Memory()
        for index, (x, context) in enumerate(held):
            x, context = x.to(device), {name: value.to(device) for name, value in context.items()}
            context = memory.recall(context)
            with seeded("validate", index, device=device):
                terms = model.terms(x, context)
                loss = objective(model, terms, x, context, LATE)
            memory.keep(terms.after)
            total += len(x)
            for name, value in {"loss": loss.total, **loss.log}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(x)
        layers: dict[str, float] = {}
        if sides:
            assert isinstance(model, LatentModel)
            layers = diagnose(model, *([moved(batch, device) for batch in side] for side in sides))
        return layers | {name: value / total for name, value in sums.items()}

    return validate


class Work:
    """Training as every process of a run does it; picklable, since it opens the run by its path."""

    def __init__(self, run: Path, resume: bool, prepared: Prepared | None = None) -> None:
        self.run, self.resume, self.prepared = run, resume, prepared

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "resume": self.resume, "prepared": None}

    def __call__(self, fabric: "Fabric") -> Outcome:
        """Train in this process."""
        prepared = self.prepared or open_run(self.run)
        config, examples = prepared.config.train, prepared.examples
        with examples:

            def batches(step: int) -> Batch:
                return examples.batch(step, config.batch_size, rank=fabric.global_rank, world=fabric.world_size)

            return fit(
                Step(prepared.model, prepared.objective),
                batches,
                validation(examples, prepared.objective, config.batch_size, prepared.model),
                config,
                self.run,
                resume=self.resume,
                callbacks=(glimpses(examples),),
                fabric=fabric,
            )


def train_run(request: Request, say: Say) -> Outcome:
    """Make or continue a run folder, train, and leave weights, curves and the record of how it went.

    Raises:
        UsageError: the run exists (or, to resume, does not), or an option does not apply.
        LatentscapeError: anything else that the request or the data are wrong about.
    """
    with training(request, say) as (outcome, _):
        return outcome


@contextmanager
def training(request: Request, say: Say) -> Iterator[tuple[Outcome, Prepared]]:
    """Train as :func:`train_run` does, and keep other trainings out of the folder until what is made of it is there.

    What was trained on is handed over, too: a source may change in the meantime.
    """
    run = request.run
    if request.resume:
        _require_begun(run)
        with alone_in(run):
            prepared = _resumed(request)
            yield _trained(request, prepared), prepared
        return
    _require_free(run, request.overwrite)
    prepared = prepare(request, say)
    with alone_in(run):
        _require_free(run, request.overwrite)  # reading takes a while, in which another training may have ended here
        if run.exists():
            say(f"kept the old run as {_move_aside(run)}")
        _lay_down(run, request, prepared)
        yield _trained(request, prepared), prepared


def alone_in(run: Path) -> AbstractContextManager[None]:
    """Return what keeps other trainings out of a run folder: a lock beside it, as the folder itself may be renamed.

    Raises:
        UsageError: another training is at work there.
    """
    own = run.resolve()
    where = own.with_name(f".{own.name}.lock")
    return locked(where, f"another training is at work in {run}; wait for it, or choose another name")


def _trained(request: Request, prepared: Prepared) -> Outcome:
    """Train in a run folder that is laid down, and write how it went."""
    config = prepared.config.train
    alone = config.devices == 1
    if not alone:
        prepared.examples.close()
    outcome = launch(config, Work(request.run, request.resume, prepared if alone else None))
    _record(request.run, outcome)
    return outcome


def prepare(request: Request, say: Say) -> Prepared:
    """Open and join all that a request asks for; nothing is written.

    Raises:
        LatentscapeError: what the request or the data are wrong about.
    """
    options = asked_source(request.sets, request.changes())
    if request.recipe is not None:  # which may say how the source is read; a misspelt key does not wait for that
        options = resolve(request.recipe, request.sets, request.changes()).source
    with decoding() as progress:
        corpus = open_source(request.source, options, progress=progress)
    recipe = _recipe(request, corpus)
    if request.recipe is None:
        say(f"recipe: {recipe} (chosen for {request.source}; see `latentscape recipes {recipe}`)")
    config = fit_to(resolve(recipe, request.sets, request.changes()), corpus)
    check_devices(config.train)
    gap = None
    if isinstance(corpus, SoundCorpus):
        gap = gap_samples(build_representation(config.representation), config.window)
        say(f"{len(corpus.clips)} clips, {corpus.seconds / 60:.1f} min at {corpus.sample_rate} Hz")
        if corpus.left_out:
            doctor = f"latentscape doctor {shlex.quote(request.source)}"
            say(f"{len(corpus.left_out)} files are left out; `{doctor}` says why")
    conditions, marks = told_of(config)
    split = split_corpus(corpus, seed=SPLIT_SEED, conditions=(*conditions, *marks), gap=gap, config=config.data.split)
    for note in split.notes:
        say(note)
    config, notes = fit_local(config, corpus, split)
    config, vectors = fit_words(config, corpus)
    for note in notes + (vectors.lines() if vectors is not None else []):
        say(note)
    return join(config, corpus, split, vectors=vectors)


def _recipe(request: Request, corpus: SoundCorpus | ImageCorpus) -> str | Recipe:
    return request.recipe or suggest("images" if isinstance(corpus, ImageCorpus) else "sound", request.source)


def _resumed(request: Request) -> Prepared:
    run = request.run
    source = load_object(run / "run.json", ("source", "digest"))["source"]
    if source != _absolute(request.source):
        raise UsageError(f"{run} was trained on {source}, got {request.source}")
    changes = changes_on_resume(request.sets, request.recipe)
    if request.minutes is not None:
        raise UsageError("--resume obeys the run's own bound; use --set train.max_steps=N to train longer")
    config = parse(RunConfig, merge(read_config(run).model_dump(mode="json"), changes), "--set")
    _require_same(request, config)
    settled = Checkpoints(run).settled()
    if settled is not None:
        continued(settled, config.train)  # what can't change within a run is refused before it is written down
    prepared = open_run(run, config)
    save_json(run / "config.json", config.model_dump(mode="json"))
    return prepared


def _require_same(request: Request, config: RunConfig) -> None:
    """Refuse options that a resumed run would have to ignore."""
    options = {
        "--device": (request.device, "auto", config.train.accelerator),
        "--devices": (request.devices, 1, config.train.devices),
        "--seed": (request.seed, 0, config.train.seed),
        "--rate": (request.rate, None, config.source.sample_rate),
        "--channels": (request.channels, "mean", config.source.channels),
        "--labels": (request.labels, None, config.source.pattern),
    }
    for option, (asked, default, own) in options.items():
        if asked not in (default, own):
            raise UsageError(f"--resume goes on as the run was begun: {option} was {own}, got {asked}")


def _require_begun(run: Path) -> None:
    if not (run / "run.json").exists():
        raise UsageError(f"{run} holds no run to resume; leave --resume out to start one")


def _require_free(run: Path, overwrite: bool) -> None:
    if not run.exists():
        return
    if not run.is_dir() or (any(run.iterdir()) and not (run / "run.json").exists()):
        raise UsageError(f"{run} exists and is not a run; choose another name")
    if (run / "run.json").exists() and not overwrite:
        raise UsageError(f"{run} exists; go on with --resume, or start again with --overwrite (the old one is kept)")


def _move_aside(run: Path) -> Path:
    """Rename a run to ``.old``, or to ``.old2`` and so on where that is taken: nothing is lost."""
    number = 1
    while (old := run.with_name(f"{run.name}.old{number if number > 1 else ''}")).exists():
        number += 1
    os.rename(run, old)
    return old


def _absolute(source: str) -> str:
    """Return a source so that it can be found from any folder; the name of a data set stays as it is."""
    path = Path(source).expanduser()
    return source if has_name(source) or not path.exists() else str(path.resolve())


def _lay_down(run: Path, request: Request, prepared: Prepared) -> None:
    recipe = _recipe(request, prepared.corpus)
    save_json(run / "config.json", prepared.config.model_dump(mode="json"))
    save_json(run / "labels.json", {name: list(values) for name, values in prepared.examples.vocabulary.items()})
    if prepared.vectors is not None:
        prepared.vectors.save(run)
    save_json(run / "split.json", prepared.split.manifest(prepared.corpus))
    save_json(
        run / "run.json",
        {
            "format": FORMAT,
            "source": _absolute(request.source),
            "digest": digest_of(prepared.config, prepared.corpus),
            "data": prepared.examples.describe(),
            "recipe": recipe.name if isinstance(recipe, Recipe) else recipe,
            "command": ["latentscape", *sys.argv[1:]],
            "seed": prepared.config.train.seed,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "packages": {name: version(name) for name in ("latentscape", "torch", "numpy", "scipy", "soxr")},
            "python": platform.python_version(),
            "machine": platform.machine(),
            "event_shape": list(prepared.examples.event_shape),
        },
    )


def _record(run: Path, outcome: Outcome) -> None:
    facts = load_object(run / "run.json")
    settled = outcome.settled
    facts |= {
        "device": settled.device,
        "threads": settled.threads,
        "precision": settled.precision,
        "max_steps": settled.max_steps,
        "outcome": outcome.reason,
        "steps": outcome.step,
        "best_step": outcome.best_step,
        "seconds": round(outcome.seconds, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    save_json(run / "run.json", facts)
