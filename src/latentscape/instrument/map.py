r"""The latent map: where the corpus lies in latent space.

Letters: n codes, d latent width, k principal axes, mu mean, V axes ``[k, d]`` (orthonormal rows), sigma deviations.

Principal component analysis of the codes z of the corpus: :math:`y = V (z - \mu)`, axes ordered by variance, each with
its largest component positive. All of them say how far a walk may go; the first two are the principal picture. A second
picture keeps neighbours (:mod:`latentscape.instrument.neighbourhood`): :meth:`LatentMap.place` and
:meth:`LatentMap.spot` go by it where it is there, and by the principal plane where not, as in runs made before it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentscape.core.config import Record
from latentscape.core.errors import DataError, StorageError
from latentscape.core.storage import as_record, load_object, load_tensors, save_json, save_tensors
from latentscape.instrument.neighbourhood import Neighbourhood

FORMAT = 1
MOST_AXES = 64
QUANTILES = (0.01, 0.99)


@dataclass(frozen=True)
class LatentMap:
    """Statistics of the corpus's codes, and the mean code of every clip.

    Attributes:
        mean: mu, ``[d]``.
        deviation: standard deviation of every latent coordinate, ``[d]``.
        low: 1 % quantile of every coordinate, ``[d]``.
        high: 99 % quantile, ``[d]``.
        axes: V, ``[k, d]``.
        spread: standard deviation along every principal axis, ``[k]``, falling.
        clips: mean code of every clip, ``[clips, d]``.
        names: of the clips.
        labels: label -> its value for every clip.
        test: for every clip whether training has not seen it; empty where that is not known.
        descriptors: descriptor -> its value for every clip's sound, NaN where it has none (see
            :mod:`latentscape.measure.spectral`); empty for images.
        neighbours: the neighbour-preserving map of the clips.
    """

    mean: Float[Tensor, " d"]
    deviation: Float[Tensor, " d"]
    low: Float[Tensor, " d"]
    high: Float[Tensor, " d"]
    axes: Float[Tensor, "k d"]
    spread: Float[Tensor, " k"]
    clips: Float[Tensor, "clips d"]
    names: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    test: tuple[bool, ...] = ()
    descriptors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    neighbours: Neighbourhood | None = None

    @property
    def places(self) -> Float[Tensor, "clips 2"]:
        """Where the clips lie on the picture: the neighbour-preserving one, or else the principal plane."""
        return self.place(self.clips) if self.neighbours is None else self.neighbours.places

    @property
    def dim(self) -> int:
        """The latent width d."""
        return len(self.mean)

    def project(self, z: Float[Tensor, "n d"], axes: int = 2) -> Float[Tensor, "n a"]:
        """Return coordinates on the first principal axes (two: the picture)."""
        return (z.to(self.mean) - self.mean) @ self.axes[:axes].T

    def lift(self, y: Float[Tensor, "n a"]) -> Float[Tensor, "n d"]:
        """Return the latent points with those coordinates, on the mean in all others."""
        return self.mean + y.to(self.mean) @ self.axes[: y.shape[1]]

    def place(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
        """Return where codes lie on the picture."""
        if self.neighbours is not None:
            return self.neighbours.place(z.to(self.mean))
        flat = self.project(z)
        return torch.nn.functional.pad(flat, (0, 2 - flat.shape[1]))

    def spot(self, places: Float[Tensor, "n 2"]) -> Float[Tensor, "n d"]:
        """Return the codes of spots of the picture: exact at the dots where it keeps neighbours."""
        if self.neighbours is not None:
            return self.neighbours.lift(places.to(self.mean))
        return self.lift(places[:, : len(self.axes)])

    def save(self, run: File) -> None:
        """Write ``map.safetensors`` and ``map.json`` into a run folder."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        if self.neighbours is not None:
            tensors[_PLACES] = self.neighbours.places
        save_tensors(run / "map.safetensors", tensors)
        about = {
            "format": FORMAT,
            "names": list(self.names),
            "labels": {name: list(values) for name, values in self.labels.items()},
            "test": list(self.test),
            "descriptors": {
                name: [value if math.isfinite(value) else None for value in values]
                for name, values in self.descriptors.items()
            },
        }
        save_json(run / "map.json", about)

    @classmethod
    def load(cls, run: File) -> "LatentMap":
        """Read the map of a run folder.

        Raises:
            StorageError: a file is missing, damaged, of a newer format, or the two do not belong together.
        """
        path = run / "map.json"
        about, tensors = load_object(path), load_tensors(run / "map.safetensors")
        version = about.get("format")
        if version != FORMAT:
            raise StorageError(
                f"{path} has format {version!r:.40}, expected {FORMAT}; a newer latentscape may have written it"
            )
        _require_shapes(tensors, run / "map.safetensors")
        clips = tensors["clips"]
        told = as_record(_Told, {key: about[key] for key in _Told.model_fields if key in about}, path)
        for column in (told.names, told.test, *told.labels.values(), *told.descriptors.values()):
            if len(column) not in (0, len(clips)):
                raise StorageError(f"{path} lists {len(column)} clips, but map.safetensors {len(clips)}")
        places = tensors.get(_PLACES)
        if places is not None and places.shape != (len(clips), 2):
            raise StorageError(f"{run / 'map.safetensors'} has {list(places.shape)} places for {len(clips)} clips")
        return cls(
            **{name: tensors[name] for name in _TENSORS},
            names=told.names,
            labels=told.labels,
            test=told.test,
            descriptors={
                name: tuple(math.nan if value is None else value for value in values)
                for name, values in told.descriptors.items()
            },
            neighbours=None if places is None else Neighbourhood(clips, places),
        )


class _Told(Record):
    """What ``map.json`` says of the clips; see :class:`LatentMap`."""

    names: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    test: tuple[bool, ...] = ()
    descriptors: dict[str, tuple[float | None, ...]] = {}


_TENSORS = {"mean": "d", "deviation": "d", "low": "d", "high": "d", "axes": "kd", "spread": "k", "clips": "nd"}
"""Names and shapes of what is stored, in the letters of the module."""
_PLACES = "places"


def _require_shapes(tensors: Mapping[str, Tensor], path: File) -> None:
    """Refuse tensors that are no map: a run may come from a stranger."""
    sizes: dict[str, int] = {}
    for name, letters in _TENSORS.items():
        if name not in tensors:
            raise StorageError(f"{path} is damaged: '{name}' is missing")
        one = tensors[name]
        expected = [sizes.setdefault(letter, size) for letter, size in zip(letters, one.shape, strict=False)]
        if one.ndim != len(letters) or list(one.shape) != expected:
            raise StorageError(f"{path} is damaged: '{name}' is {list(one.shape)}, expected [{', '.join(letters)}]")
        if not one.is_floating_point() or not bool(one.isfinite().all()):
            raise StorageError(f"{path} is damaged: '{name}' holds something else than finite real numbers")


def latent_map(
    codes: Float[Tensor, "n d"],
    labels: Mapping[str, Sequence[str]] = {},
    *,
    clip: Int[Tensor, " n"] | None = None,
    names: Sequence[str] = (),
) -> LatentMap:
    """Return the map of a corpus's codes.

    Args:
        codes: of windows or frames of the corpus.
        labels: label -> its value for every clip.
        clip: the number of the clip that each code is of, ``0 ... clips - 1``; default: every code is its own.
        names: of the clips.

    Raises:
        DataError: there is no code, one is not finite, or labels and clips do not fit.
    """
    if not len(codes) or not torch.isfinite(codes).all():
        raise DataError(f"the latent map got {len(codes)} codes, expected at least one, all finite")
    z = codes.detach().to("cpu", torch.float64)
    clip = torch.arange(len(z)) if clip is None else clip.detach().cpu().long()
    count = int(clip.max()) + 1
    for column, values in {"names": names, **labels}.items():
        if len(values) not in (0, count):
            raise DataError(
                f"the latent map got {len(values)} values of '{column}' for {count} clips, expected one each"
            )
    mean = z.mean(0)
    centred = z - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(z))
    kept = min(MOST_AXES, z.shape[1])
    axes = vectors.flip(1).T[:kept]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    sums = torch.zeros(count, z.shape[1], dtype=z.dtype).index_add(0, clip, z)
    items = torch.zeros(count, dtype=z.dtype).index_add(0, clip, torch.ones(len(z), dtype=z.dtype))
    low, high = torch.from_numpy(np.quantile(z.numpy(), QUANTILES, axis=0))
    tensors = {
        "mean": mean,
        "deviation": centred.square().mean(0).sqrt(),
        "low": low,
        "high": high,
        "axes": axes * largest.sign(),
        "spread": variances.flip(0)[:kept].clamp_min(0).sqrt(),
        "clips": sums / items[:, None].clamp_min(1),
    }
    columns = {name: tuple(values) for name, values in labels.items()}
    fields: dict[str, Any] = {name: tensor.float() for name, tensor in tensors.items()}
    return LatentMap(**fields, names=tuple(names), labels=columns)
