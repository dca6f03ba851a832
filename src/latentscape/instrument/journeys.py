r"""How a run sounds along standard paths, beside sounds it has never heard: the evaluation of its synthesis.

Rows are kinds of sound: real held-out sounds; the same sent through the model; paths between pairs of them (line, great
circle, geodesics); walks through the middle of the corpus. Columns are the measures of
:mod:`latentscape.measure.journey`, each a mean over the paths of the row with its bootstrap.

Everything is fixed, so that models and kinds of path compare: which sounds, pairs and seeds (functions of names), how
long a path takes, how densely it is sampled, the phase recovery. Runs on one corpus and split have the same pairs.

Two numbers more than there, of the points that a path is decoded at (32 a second, :math:`x_i` the mean of p(x | z_i)):
the distance of :math:`x_i` and of z_i from the data, and ``length_data``, :math:`\sum_i \lVert x_i - x_{i-1} \rVert` in
multiples of what lies between a held-out x and its nearest training neighbour.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import LatentscapeError, UsageError, nearest
from latentscape.data.sounds import SoundExamples
from latentscape.geometry.path import Path
from latentscape.geometry.paths import Line, PathRecord, Sphere
from latentscape.instrument.geodesics import along, embedding_of, geodesics
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels
from latentscape.instrument.reference import PAIRS, Place, Reference, heard, held_part, pairs_of, reference_of
from latentscape.instrument.survey import QUALITY, SECONDS, WALK_SECONDS, Journey, Row, Survey, rows_of
from latentscape.instrument.walks import KINDS
from latentscape.measure import journey as measures
from latentscape.measure.curves import STEP, Curves, curves_of, plain, steps
from latentscape.measure.measure import Number

BETWEEN = ("line", "sphere", "geodesic", "uncertain geodesic")
"""Ways from one sound to another."""
WALKS = tuple(kind for kind in KINDS if kind not in BETWEEN)
SEEDED = ("random_walk", "drift")
"""Walks of which several are heard."""
HELD, AGAIN = "held-out sounds", "reconstructed"
HEARD = 32
"""Held-out sounds measured."""
POINTS_A_SECOND = 32.0
SEEDS = 4
STROLL = (45.0, 150)
"""Seconds and independent places of the walk that correlations are taken of."""
AXES = 8


def ways(
    instrument: Instrument,
    kind: str,
    ends: Sequence[tuple[Place, Place]],
    centre: Float[Tensor, " d"],
    *,
    labels: Labels | None = None,
) -> list[Path]:
    """Return a path of some kind between the codes of each pair of sounds; geodesics are solved all at once.

    Raises:
        UsageError: the kind is not known, or this model has none.
    """
    pairs = [(a.code.tolist(), b.code.tolist()) for a, b in ends]
    match kind:
        case "line":
            return [Line(a=a, b=b) for a, b in pairs]
        case "sphere":
            return [Sphere(a=a, b=b, centre=centre.tolist()) for a, b in pairs]
        case "geodesic" | "uncertain geodesic":
            first, second = (torch.stack(side) for side in zip(*((a.code, b.code) for a, b in ends), strict=True))
            found = geodesics(instrument, first, second, uncertain=kind != "geodesic", labels=labels)
            embedding = embedding_of(instrument, labels=labels)
            return [along(points, embedding) for points in found.points]
    raise UsageError(f"a way '{kind}' is not known{nearest(kind, BETWEEN)}")


def walks_of(instrument: Instrument, kind: str) -> list[tuple[str, Path]]:
    """Return the standard walks of a kind: four seeds, the four widest axes, or the one there is.

    Raises:
        UsageError: this latent space has none.
    """
    if kind in SEEDED:
        return [(f"seed {seed}", instrument.walk(kind, seed=seed)) for seed in range(SEEDS)]
    if kind == "traversal":
        chart = instrument.chart
        axes = list(zip(chart.axes[:SEEDS].tolist(), chart.spread[:SEEDS].tolist(), strict=True))
        options = [{"axis": axis, "low": -2 * size, "high": 2 * size} for axis, size in axes]
        return [(f"axis {i}", instrument.walk(kind, **one)) for i, one in enumerate(options)]
    return [("", instrument.walk(kind))]


def journey_along(
    instrument: Instrument,
    path: Path,
    seconds: float,
    reference: Reference,
    *,
    kind: str = "path",
    name: str = "",
    between: bool = False,
    labels: Labels | None = None,
) -> Journey:
    """Render a path and measure it.

    Raises:
        UsageError: the run makes images.
    """
    wave = instrument.render(path, seconds, quality=QUALITY, labels=labels)
    dense = path.evaluate(torch.linspace(0, 1, 1 + round(seconds / STEP), dtype=torch.float64)).float()
    points = path.evaluate(torch.linspace(0, 1, max(2, round(seconds * POINTS_A_SECOND)), dtype=torch.float64)).float()
    corners = [seconds * share for share in path.breaks]
    found = _measured(instrument, wave, reference, points, labels, codes=dense, corners=corners, between=between)
    plain_path = path.to_json() if isinstance(path, PathRecord) else None
    return Journey(kind, name, seconds, found[0], found[1], plain_path)


def _measured(
    instrument: Instrument,
    wave: Tensor,
    reference: Reference,
    points: Tensor | None,
    labels: Labels | None,
    **options: Any,
) -> tuple[dict[str, Number], dict[str, tuple[float, ...]]]:
    """Return the numbers of a sound that was decoded from points (``None``: a real one), and its curves."""
    sound = instrument.representation
    assert sound is not None
    curves = curves_of(wave, sound.sample_rate)
    numbers = measures.journey_of(curves, reference.statistics, **options)
    if points is not None:
        numbers |= measures.seams(wave, sound.sample_rate, instrument.joins(wave.shape[1]))
        decoded = torch.cat([x.flatten(1).float().cpu() for x in instrument.events(points, labels)])
        if reference.data is not None and (ratio := reference.data.ratio(decoded)):
            numbers["distance_data"] = ratio
            way_there = float(decoded.double().diff(dim=0).norm(dim=1).sum())
            numbers["length_data"] = Number(way_there / reference.data.own, "neighbours")
        if reference.codes is not None and (ratio := reference.codes.ratio(points)):
            numbers["distance_codes"] = ratio
    return numbers, _courses(curves)


def _courses(curves: Curves) -> dict[str, tuple[float, ...]]:
    found = {}
    for name, values in curves.values.items():
        course, _ = plain(name, steps(values))
        found[name] = tuple(course.tolist())
    return found


def real_journeys(
    instrument: Instrument, examples: SoundExamples, reference: Reference, *, labels: Labels | None = None
) -> list[Journey]:
    """Return held-out sounds as they are, and as the model gives them back."""
    found = []
    for name, wave in heard(examples, held_part(examples), HEARD):
        seconds = wave.shape[1] / examples.corpus.sample_rate
        numbers, curves = _measured(instrument, wave, reference, None, labels)
        x = instrument.windows(wave)
        if reference.data is not None and (ratio := reference.data.ratio(x.flatten(1).float())):
            numbers["distance_data"] = ratio
        found.append(Journey(HELD, name, seconds, numbers, curves))
        codes = instrument.encode(wave, labels)
        again = instrument.reconstruct(wave, quality=QUALITY, labels=labels)
        found.append(Journey(AGAIN, name, seconds, *_measured(instrument, again, reference, codes, labels)))
    return found


def survey(
    instrument: Instrument,
    examples: SoundExamples,
    *,
    pairs: int = PAIRS,
    between: Sequence[str] = BETWEEN,
    walks: Sequence[str] = WALKS,
    saved: Mapping[str, Path] = {},
    labels: Labels | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Survey:
    """Measure standard paths of a run.

    Args:
        instrument: a run of sound.
        examples: its own corpus.
        pairs: of held-out sounds; 0 leaves paths between sounds out.
        between: kinds of path between two sounds.
        walks: kinds of walk.
        saved: further paths by their names, a row each, as long as a walk.
        labels: told to the model throughout.
        say: gets a line when something begins.

    Raises:
        UsageError: the run makes images.
        DataError: the corpus has no sound that sounds, or fewer than two are held out.
    """
    if instrument.representation is None:
        raise UsageError(f"this run {instrument.name} makes images; the evaluation of paths listens to sound")
    seconds: dict[str, float] = {}

    def timed(name: str, began: float) -> None:
        seconds[name] = round(time.perf_counter() - began, 3)

    say("measuring the corpus")
    began = time.perf_counter()
    reference = reference_of(instrument, examples, labels=labels)
    timed("reference", began)
    began = time.perf_counter()
    found = real_journeys(instrument, examples, reference, labels=labels)
    timed(HELD, began)
    skipped: list[Row] = []
    ends = pairs_of(instrument, examples, pairs, labels=labels) if pairs and between else []

    names = [f"{a.name} to {b.name}" for a, b in ends]

    def between_sounds(kind: str) -> Iterable[tuple[str, Path]]:
        return zip(names, ways(instrument, kind, ends, reference.centre, labels=labels), strict=True)

    todo: list[tuple[str, float, bool, Callable[[], Iterable[tuple[str, Path]]]]] = [
        (kind, SECONDS, True, lambda kind=kind: between_sounds(kind)) for kind in (between if ends else ())
    ]
    todo += [(kind, WALK_SECONDS, False, lambda kind=kind: walks_of(instrument, kind)) for kind in walks]
    todo += [(name, WALK_SECONDS, False, lambda path=path: [("", path)]) for name, path in saved.items()]
    for kind, length, two_ends, make in todo:
        say(f"travelling: {kind.replace('_', ' ')}")
        began, options = time.perf_counter(), {"kind": kind, "between": two_ends, "labels": labels}
        try:
            done = [journey_along(instrument, path, length, reference, name=name, **options) for name, path in make()]
        except LatentscapeError as error:
            skipped.append(Row(kind, skipped=" ".join(str(error).split())))
            continue
        found += done
        timed(kind, began)
    began = time.perf_counter()
    correlations = axis_correlations(instrument, labels=labels)
    timed("correlations", began)
    between_them = f"{len(ends)} pairs of held-out sounds, {SECONDS:g} s each; " if ends else ""
    real = sum(one.kind == HELD for one in found)
    about = f"{instrument.name}: {between_them}walks of {WALK_SECONDS:g} s; beside {real} real sounds"
    rows = (*rows_of(found), *skipped)
    return Survey(about, rows, tuple(found), reference.statistics, correlations, seconds)


def axis_correlations(
    instrument: Instrument, *, axes: int = AXES, labels: Labels | None = None
) -> dict[str, tuple[float, ...]]:
    """Return Spearman's correlation of each descriptor with each of the first principal axes.

    Over a walk that passes 150 independent places, all axes moving at once, each at the corpus's own deviation. Where
    there is none, a correlation is beyond 0.16 in one of twenty.
    """
    seconds, steps = STROLL
    path = instrument.walk("random_walk", steps=steps, seed=1)
    assert instrument.representation is not None
    curves = curves_of(
        instrument.render(path, seconds, quality=QUALITY, labels=labels), instrument.representation.sample_rate
    )
    z = path.evaluate(torch.from_numpy(curves.times / curves.seconds).clamp(0, 1)).float()
    return measures.correlations(instrument.chart.project(z, axes), curves)
