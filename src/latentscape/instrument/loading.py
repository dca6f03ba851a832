"""Loading an instrument from a run folder: data only, nothing unpickled, and a clear line for everything that is wrong.

Read are ``run.json`` (``format``, and ``event_shape`` where the run is of images), ``config.json`` (the keys of a
:class:`latentscape.registry.SpaceConfig`, others are kept and not looked at), ``weights.safetensors``, ``labels.json``
(the vocabulary ``{label: [values]}``; may be absent), the latent map and the named axes (may be absent).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import torch

from latentscape.core.building import built
from latentscape.core.errors import ConfigError, LatentscapeError, StorageError, UsageError
from latentscape.core.storage import as_record, load_object, load_tensors, name_of
from latentscape.data.word_vectors import FILE as WORDS
from latentscape.data.word_vectors import WordVectors
from latentscape.instrument.axes import FILE as AXES
from latentscape.instrument.axes import Naming
from latentscape.instrument.hearing import Local
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import LatentMap
from latentscape.instrument.streamed import Streamed
from latentscape.instrument.tagging import Listener
from latentscape.instrument.waves import Waves
from latentscape.models.autoregressive import Autoregressive
from latentscape.models.model import LatentModel, Model
from latentscape.models.tagger import Tagger, TaggerConfig
from latentscape.registry import SpaceConfig, Window, build_model, build_representation, makes_waves
from latentscape.signal.representation import Representation

FORMAT = 1
"""Format of run folders that this version writes, and the newest that it reads."""


@dataclass(frozen=True, eq=False)
class _Opened:
    """What every run holds."""

    model: Model
    representation: Representation | None
    window: Window
    vocabulary: dict[str, tuple[str, ...]]
    config: dict[str, Any]
    space: SpaceConfig


def load(run: File | str, device: str = "auto") -> Instrument:
    """Return the instrument of a run folder.

    Args:
        run: the folder.
        device: ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        StorageError: a file is missing, damaged, of another shape or of a newer format.
        UsageError: the device is not there, or the model has no latent space.
    """
    run = File(run)
    opened = _open(run, device)
    model = opened.model
    if not isinstance(model, LatentModel):
        offers = "`tag`, `find`, `listen`, `imagine`" if isinstance(model, Tagger) else "`sample`"
        raise UsageError(
            f"{run} holds a model without a latent space; {offers}, `evaluate` and `info` are what it offers"
        )
    chart = LatentMap.load(run) if (run / "map.json").exists() else None
    if chart is not None and chart.dim != sum(math.prod(shape) for shape in model.latent_shapes):
        raise StorageError(
            f"{run / 'map.safetensors'} has {chart.dim} dimensions, the model others; it is of another run"
        )
    naming = Naming.load(run) if (run / AXES).exists() else None
    if naming is not None and len(naming.mean) != sum(math.prod(shape) for shape in model.latent_shapes):
        raise StorageError(f"{run / AXES} has {len(naming.mean)} dimensions, the model others; it is of another run")
    return instrument_of(model)(
        model, opened.representation, opened.window, opened.vocabulary, chart, opened.config, name_of(run), naming
    )


def instrument_of(model: LatentModel) -> type[Instrument]:
    """Return the instrument that plays a model."""
    return Streamed if model.sequential else Instrument


def load_waves(run: File | str, device: str = "auto") -> Waves | None:
    """Return the model of waves of a run folder, or ``None`` where it holds a model with a latent space.

    Raises:
        StorageError: as :func:`load`.
    """
    run = File(run)
    if (run / "config.json").exists() and not makes_waves(_kind(run)):
        return None
    opened = _open(run, device)
    assert isinstance(opened.model, Autoregressive)
    assert opened.representation is not None
    local = opened.space.local
    hearing = Local(local, opened.representation.sample_rate, load) if local else None
    vectors = WordVectors.load(run) if (run / f"{WORDS}.json").exists() else None
    return Waves(opened.model, opened.representation, opened.vocabulary, opened.config, name_of(run), hearing, vectors)


def load_listener(run: File | str, device: str = "auto") -> Listener:
    """Return the tagger of a run folder.

    Raises:
        StorageError: as :func:`load`.
        UsageError: the run holds another kind of model.
    """
    run = File(run)
    if (run / "config.json").exists() and not is_listener(run):
        raise UsageError(f"{run} holds no tagger; `latentscape train SOURCE --recipe tagger-chunk` makes one")
    opened = _open(run, device)
    assert isinstance(opened.model, Tagger)
    assert opened.representation is not None
    opened.model.requires_grad_(False)
    classes = opened.vocabulary[opened.model.config.label]
    return Listener(opened.model, opened.representation, opened.window, classes, opened.config, name_of(run))


def is_listener(run: File) -> bool:
    """Return whether a run folder holds a tagger."""
    return (run / "config.json").exists() and _kind(run) == TaggerConfig().kind


def facts_of(run: File, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return ``run.json`` of a run folder, which must hold the keys.

    Raises:
        StorageError: it is not a run folder, or damaged, or of a newer format.
    """
    if not run.is_dir():
        what = "it is a file" if run.exists() else "there is no such folder"
        raise StorageError(f"{run} is not a run folder: {what}")
    if not (run / "run.json").exists():
        raise StorageError(f"{run} is not a run folder: {run / 'run.json'} is missing")
    about = load_object(run / "run.json")
    version = about.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        newer = "; a newer latentscape wrote it" if isinstance(version, int) and version > FORMAT else ""
        raise StorageError(f"{run / 'run.json'} has format {version!r}, expected at most {FORMAT}{newer}")
    return load_object(run / "run.json", keys)


def _kind(run: File) -> str | None:
    model = load_object(run / "config.json").get("model")
    return model.get("kind") if isinstance(model, dict) else None


def _open(run: File, device: str) -> _Opened:
    about = facts_of(run)
    path = run / "config.json"
    config = load_object(path)
    space = as_record(SpaceConfig, {key: config[key] for key in SpaceConfig.model_fields if key in config}, path)
    try:
        representation = None if space.representation is None else build_representation(space.representation)
    except ConfigError as error:
        raise StorageError(f"{path} is damaged: {error}") from error
    vocabulary = _vocabulary(run / "labels.json")
    if representation is not None:
        event_shape = space.window.event_shape(representation.frame_size)
    else:
        event_shape = _event_shape(about.get("event_shape"), run / "run.json")
    sizes = {name: len(values) for name, values in vocabulary.items()}
    weights = run / "weights.safetensors"
    tensors = load_tensors(weights)
    try:
        model = built(lambda: build_model(space.model, event_shape, sizes), tensors, weights)
    except StorageError:
        raise
    except LatentscapeError as error:
        raise StorageError(f"{path} does not describe a model of this run: {error}") from error
    if broken := next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None):
        raise StorageError(f"{weights} is damaged: '{broken}' holds NaN or infinity")
    model = model.to(pick_device(device)).eval()
    return _Opened(model, representation, space.window, vocabulary, config, space)


def pick_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is the first of CUDA, MPS and CPU that is there.

    Raises:
        UsageError: there is no such device here.
    """
    there = [kind for kind in ("cuda", "mps") if getattr(torch, kind).is_available()] + ["cpu"]
    if name == "auto":
        return torch.device(there[0])
    if name.partition(":")[0] not in there:
        raise UsageError(f"device '{name}' is not here, expected one of: auto, {', '.join(there)}")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device '{name}' is not a device, expected such as cpu or cuda:0") from error


def _event_shape(sizes: Any, path: File) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not sizes or not all(type(size) is int and size > 0 for size in sizes):
        arrived = "none" if sizes is None else f"{sizes!r:.40}"
        raise StorageError(
            f"{path} is damaged: a run of images needs 'event_shape', such as [1, 28, 28], got {arrived}"
        )
    return tuple(sizes)


def _vocabulary(path: File) -> dict[str, tuple[str, ...]]:
    if not path.exists():
        return {}
    vocabulary = load_object(path)
    if not all(isinstance(values, list) for values in vocabulary.values()):
        raise StorageError(f"{path} is damaged: expected labels with lists of values")
    return {name: tuple(map(str, values)) for name, values in vocabulary.items()}
