r"""Geodesics of an instrument: between two points, the way on which the sound changes least.

Letters: n points, p pairs, s segments, d latent width, x features of one window, m of them, c codes.

Distance is measured in what the points are decoded to: features, root mean squared change a feature (for levels in dB,
the log-spectral distance) in units of its deviation over the corpus's clips; or perceived descriptors
(:mod:`latentscape.instrument.perceived`), each in its own deviations. There are fewer descriptors than latent
coordinates, so a tenth of the features' distance is added to them: of the many ways that sound equally far, it picks
the one that changes least besides.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.geometry import uncertainty
from latentscape.geometry.geodesic import Geodesics
from latentscape.geometry.geodesic import geodesics as solve
from latentscape.geometry.manifold import PullBack
from latentscape.geometry.neighbours import Neighbours
from latentscape.geometry.pace import retimed
from latentscape.geometry.points import Spline
from latentscape.geometry.record import PathRecord
from latentscape.instrument.labels import Labels
from latentscape.instrument.perceived import decoder, perceived
from latentscape.instrument.space import Space

SPACES = ("features", "descriptors")
FAINT = 0.1
"""Weight of the features' distance beside that of descriptors."""
_CLIPS = 512
_STILL = 1e-6


def embedding_of(latent: Space, space: str = "features", labels: Labels | None = None) -> Callable[[Tensor], Tensor]:
    """Return points ``[n, d]`` -> coordinates ``[n, m]`` in which distance is measured; gradients flow.

    Args:
        latent: of sounds or images (which have features only).
        space: ``features`` or ``descriptors``, as the module says.
        labels: told to the model throughout.

    Raises:
        UsageError: the space is not known, or the features have no spectrum to describe.
    """
    if space not in SPACES:
        raise UsageError(f"space '{space}' is not known, expected one of: {', '.join(SPACES)}")
    if space == "descriptors":
        return perceived(latent, labels)
    decode = decoder(latent, labels)
    with torch.no_grad():
        places = decode(_codes(latent)).flatten(1).float()
    deviation = float(places.std(0, correction=0).square().mean().sqrt())
    scale = places.shape[1] ** 0.5 * (deviation if deviation > _STILL else 1.0)
    return lambda z: decode(z).flatten(1) / scale


def geodesics(
    latent: Space,
    a: Float[Tensor, "p d"],
    b: Float[Tensor, "p d"],
    *,
    space: str = "features",
    uncertain: bool = False,
    segments: int = 32,
    labels: Labels | None = None,
) -> Geodesics:
    """Return the geodesics between many pairs of points; see :func:`geodesic`."""
    manifold = _manifold(latent, space, uncertain, labels)
    codes = _codes(latent)
    graph = Neighbours(manifold, codes) if uncertain and len(codes) > 1 else None
    ends = (ends.to(latent.device, torch.float32) for ends in (a, b))
    return solve(manifold, *ends, segments=segments, graph=graph)


def geodesic(
    latent: Space,
    a: Float[Tensor, " d"],
    b: Float[Tensor, " d"],
    *,
    space: str = "features",
    uncertain: bool = False,
    segments: int = 32,
    labels: Labels | None = None,
) -> PathRecord:
    """Return the geodesic between two points, travelled at constant speed in its space.

    Args:
        latent: any.
        a: where it begins.
        b: where it ends.
        space: in which it is short: ``features`` or ``descriptors``.
        uncertain: whether to keep near the codes of the corpus's clips (:mod:`latentscape.geometry.uncertainty`),
            beginning from the shortest way over their neighbour graph.
        segments: s.
        labels: told to the model throughout.

    Raises:
        UsageError: the points or the space don't fit.
    """
    found = geodesics(latent, a[None], b[None], space=space, uncertain=uncertain, segments=segments, labels=labels)
    return along(found.points[0], embedding_of(latent, space, labels))


def along(points: Float[Tensor, "n d"], embedding: Callable[[Tensor], Tensor]) -> PathRecord:
    """Return the spline through points, travelled at constant speed in an embedding; at rest if it goes nowhere."""
    spline = Spline(points=points.cpu().tolist(), knots="uniform")
    return retimed(spline, embedding) if spline.length() > 0 else spline


def _manifold(latent: Space, space: str, uncertain: bool, labels: Labels | None) -> PullBack:
    embedding = embedding_of(latent, space, labels)
    if space == "descriptors":
        described, features = embedding, embedding_of(latent, "features", labels)

        def embedding(z: Tensor) -> Tensor:
            return torch.cat((described(z), FAINT * features(z)), 1)

    codes = _codes(latent)
    if uncertain and len(codes) > 1:
        embedding = uncertainty.uncertain(embedding, codes)
    return PullBack(embedding, latent.dim)


def _codes(latent: Space) -> Float[Tensor, "c d"]:
    """Return the mean codes of the corpus's clips, or of so many of them, evenly picked."""
    clips = latent.chart.clips
    rows = torch.linspace(0, len(clips) - 1, min(_CLIPS, len(clips))).round().long()
    return clips[rows].to(latent.device, torch.float32)
