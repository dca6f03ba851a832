r"""Named axes: directions of the encoded corpus, and what is heard when a sound moves along them.

Letters: z codes ``[n, d]`` of the corpus with mean mu, k axes with unit directions :math:`v_j`, :math:`t_j` the
coordinate along an axis and :math:`\sigma_j` its deviation over the corpus, y a descriptor of the decoded sound.

.. math:: z = \mu + \sum_j t_j v_j, \qquad t = (z - \mu)\, V^+

Directions are *principal* (orthogonal, by falling variance) or *independent*, which are not orthogonal, so coordinates
are read with the pseudo-inverse :math:`V^+`.

An :class:`Effect` is the mean over base points of Spearman's correlation of t with y, the mean rise of y's regression
line from one end to the other, and R^2, the share of y's variance over the (decoded) corpus that a straight line in t
explains. Order: falling deviation. How they are found and named: :mod:`latentscape.instrument.naming`. Everything is
written once, into ``axes.json``, and never changes after.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import FiniteFloat
from torch import Tensor

from latentscape.core.errors import StorageError
from latentscape.core.storage import as_record, load_object, save_json

FORMAT = 1
FILE = "axes.json"

Directions = Literal["principal", "independent"]


@dataclass(frozen=True)
class Effect:
    """What an axis does to a descriptor.

    Attributes:
        correlation: of the coordinate with the descriptor along a traversal (Spearman's, mean over base points).
        span: rise of its regression line from two deviations below to two above, mean over base points.
        unit: of the span.
        explained: share of the descriptor's variance over the corpus that the axis alone explains, R^2.
    """

    correlation: FiniteFloat
    span: FiniteFloat
    unit: str
    explained: FiniteFloat


@dataclass(frozen=True)
class NamedAxis:
    """A direction with a name.

    Attributes:
        name: unique in its run; lower case, hyphenated.
        direction: a unit vector.
        low: 1 % quantile of the corpus's coordinates along it, from the mean.
        high: 99 % quantile.
        deviation: their standard deviation.
        moves: descriptor -> what the axis does to it, strongest first.
        explained: share of the variance over the corpus of the descriptor it is named for; 0 where it has no such name.
    """

    name: str
    direction: tuple[FiniteFloat, ...]
    low: FiniteFloat
    high: FiniteFloat
    deviation: FiniteFloat
    moves: Mapping[str, Effect]
    explained: FiniteFloat


@dataclass(frozen=True)
class Described:
    """A descriptor over the decoded corpus.

    Attributes:
        unit: of mean and deviation.
        mean: over the corpus.
        deviation: over the corpus.
        explained: share of its variance that all axes together explain, R^2 of the linear regression.
    """

    unit: str
    mean: FiniteFloat
    deviation: FiniteFloat
    explained: FiniteFloat


@dataclass(frozen=True)
class Naming:
    """The named axes of a run.

    Attributes:
        axes: by falling deviation.
        mean: mu, the point that coordinates are counted from.
        directions: which kind they are.
        scores: kind -> mean over descriptors of the best axis's R^2, by which the kind was chosen.
        descriptors: what the corpus is described by; empty for images.
    """

    axes: tuple[NamedAxis, ...]
    mean: tuple[FiniteFloat, ...]
    directions: Directions
    scores: Mapping[str, FiniteFloat]
    descriptors: Mapping[str, Described]

    def coordinates(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Return the coordinates of points along the axes, from the mean."""
        basis = torch.tensor([axis.direction for axis in self.axes], dtype=torch.float64, device=z.device)
        mean = torch.tensor(self.mean, dtype=torch.float64, device=z.device)
        return ((z.double() - mean) @ torch.linalg.pinv(basis)).to(z.dtype)

    def points(self, coordinates: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Return the points that have these coordinates, on the mean in what the axes do not span."""
        basis = torch.tensor([axis.direction for axis in self.axes], dtype=torch.float64, device=coordinates.device)
        mean = torch.tensor(self.mean, dtype=torch.float64, device=coordinates.device)
        return (mean + coordinates.double() @ basis).to(coordinates.dtype)

    def lines(self) -> list[str]:
        """Return a line an axis: its name, how far the corpus lies along it, and what it moves."""
        if not self.axes:
            return []
        width = max(len(axis.name) for axis in self.axes)
        lines = [f"named axes ({self.directions} directions; R2: share of the variance over the corpus):"]
        lines += [f"  {axis.name:{width}}  {axis.low:6.2f} to {axis.high:5.2f}  {moved(axis)}" for axis in self.axes]
        if self.descriptors:
            shares = ", ".join(f"{name} {one.explained:.2f}" for name, one in self.descriptors.items())
            lines.append(f"  all together explain: {shares}")
        return lines

    def save(self, run: File) -> None:
        """Write ``axes.json`` into a run folder."""
        save_json(run / FILE, {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, run: File) -> "Naming":
        """Read the named axes of a run folder.

        Raises:
            StorageError: the file is missing, damaged or of a newer format.
        """
        path = run / FILE
        about = load_object(path)
        if about.pop("format", None) != FORMAT:
            raise StorageError(f"{path} has another format than {FORMAT}; a newer latentscape may have written it")
        found: Naming = as_record(cls, about, path)
        names, width = [axis.name for axis in found.axes], len(found.mean)
        if len(set(names)) < len(names) or any(len(axis.direction) != width for axis in found.axes):
            raise StorageError(f"{path} is damaged: names repeat, or directions are not of {width} values")
        for axis in found.axes:
            if not math.isclose(length := math.hypot(*axis.direction), 1.0, abs_tol=1e-3):
                raise StorageError(f"{path} is damaged: axis '{axis.name:.40}' has length {length:.4g}, expected 1")
        return found


def moved(axis: NamedAxis, most: int = 3) -> str:
    """Return in words what an axis moves, strongest first."""
    parts = [
        f"{name} {_signed(effect.span)} {effect.unit}".rstrip() + f" (R2 {effect.explained:.2f})"
        for name, effect in list(axis.moves.items())[:most]
    ]
    return ", ".join(parts)


def _signed(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.3g}"
