"""From a source to a trained run.

Nothing is written before everything that can be checked has been: recipe, source, split, shapes, and whether the
likelihood can describe the data. Every process of a distributed run opens the run folder by path (:class:`Work`).
"""

import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentscape.core.config import merge, parse
from latentscape.core.errors import UsageError
from latentscape.core.lock import locked
from latentscape.core.storage import load_object, require_writable, save_json
from latentscape.data.corpus import ImageCorpus, SoundCorpus
from latentscape.data.examples import Batch
from latentscape.data.sounds import gap_samples
from latentscape.data.sources import has_name, hidden_by, open_source
from latentscape.data.split import split_corpus
from latentscape.experiment.config import RunConfig, asked_source, changes_on_resume, fit_to, resolve, source_options
from latentscape.experiment.examine import suggest
from latentscape.experiment.glimpse import glimpses
from latentscape.experiment.hearing import digest_of, fit_local, fit_words
from latentscape.experiment.joined import Prepared, gather, join, open_run, read_config, told_of
from latentscape.experiment.progress import decoding
from latentscape.experiment.validation import validation
from latentscape.instrument.loading import FORMAT
from latentscape.models.model import Step
from latentscape.recipes import Recipe
from latentscape.registry import build_representation
from latentscape.train.checkpoint import Checkpoints
from latentscape.train.config import continued
from latentscape.train.loop import Outcome, fit
from latentscape.train.process import check_devices, launch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SPLIT_SEED = 0
"""Splits do not vary with the seed of a run, so that runs of several seeds are compared on the same test part."""

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


class Work:
    """Training as every process of a run does it; picklable, since it opens the run by its path."""

    def __init__(self, run: Path, resume: bool, prepared: Prepared | None = None) -> None:
        self.run, self.resume, self.prepared = run, resume, prepared

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "resume": self.resume, "prepared": None}

    def __call__(self, fabric: "Fabric") -> Outcome:
        """Train in this process."""
        prepared = self.prepared or join(open_run(self.run))
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
    require_writable(run)  # before the source is read, which may take long
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
    for line in hidden_by(request.source):
        say(line)
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
    return join(gather(config, corpus, split, vectors))


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
    prepared = join(open_run(run, config))
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
    if not (run / "run.json").exists():
        return
    if not overwrite:
        raise UsageError(f"{run} exists; go on with --resume, or start again with --overwrite (the old one is kept)")
    if Path.cwd().is_relative_to(run.resolve()):  # it would take us along, and "." would still be the old one
        raise UsageError(f"{run} is the folder that you are in, which can't be put aside; start from another one")


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
