"""All numbers of a trained cell, named as in the catalogue; and what real held-out data reach in their place.

Letters: n items, d latent width, x what the model was given, z codes: draws of q(z | x), one an item.

Everything is computed with the weights that training kept, in evaluation mode, on the test part; draws and resamples
are functions of names and not of the cell's seed, so that cells are compared on the same items, with paired replicates.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentscape.benchmark.grid import Cell, MeasuringConfig
from latentscape.benchmark.soundness import path_figures, path_limits, sound_figures, sound_limits
from latentscape.benchmark.views import ImageView, View, view_of
from latentscape.core.random import seeded
from latentscape.data.examples import Examples, spread
from latentscape.data.sounds import SoundExamples
from latentscape.dist.conditional import point
from latentscape.dist.divergences import why_infinite
from latentscape.dist.kernels import ImqConfig, build_kernel
from latentscape.experiment.evaluate import moved
from latentscape.instrument.instrument import Instrument
from latentscape.measure.dimension import LEAST, two_nn
from latentscape.measure.estimate import Estimate, mean_of
from latentscape.measure.match import mmd_test, usage
from latentscape.measure.samples import frechet_estimate, kernel_distance, nearest_training
from latentscape.models.bounds import evaluating, iw_bound
from latentscape.models.objectives import pack
from latentscape.models.second_stage import STAGES, draw_codes, fit_second_stage

Numbers = dict[str, Estimate]
BATCH = 500


@dataclass(frozen=True)
class Held:
    """A part of the data as the model sees it: batches on its device."""

    batches: tuple[tuple[Tensor, dict[str, Tensor]], ...]

    @classmethod
    def of(cls, examples: Examples, part: Any, count: int, device: torch.device) -> "Held":
        """Return at most so many items of a part, evenly spread."""
        return cls(tuple(moved(examples.held(part, BATCH, count), device)))

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        return iter(self.batches)


def measure_cell(cell: Cell, instrument: Instrument, examples: Examples) -> Numbers:
    """Return every number that applies to a cell's model (times and sizes excepted)."""
    measuring = cell.measuring
    held = Held.of(examples, "test", measuring.items, instrument.device)
    numbers = usage(instrument.model, held, items=measuring.items)
    numbers |= likelihood(instrument, examples, measuring)
    numbers |= match(instrument, held) | at_mean(instrument, held)
    view = view_of(cell.source, examples, measuring.sound_seconds, measuring.quality)
    if isinstance(view, ImageView):
        numbers |= errors(instrument, held, view, measuring.items)
    else:
        assert isinstance(examples, SoundExamples)
        numbers |= sound_figures(instrument, examples, measuring) | path_figures(instrument, examples)
    return numbers | draws(instrument, examples, view, measuring)


def ceilings(cell: Cell, examples: Examples) -> Numbers:
    """Return what real held-out data reach: the validation part in the place of draws, and sounds as they come back.

    Those went through the representation and back, but through no model.
    """
    measuring = cell.measuring
    view = view_of(cell.source, examples, measuring.sound_seconds, measuring.quality)
    real, other = view.real("test", measuring.samples), view.real("valid", measuring.samples)
    count = min(len(real), len(other))
    real, other = (items[spread(len(items), count)] for items in (real, other))  # their first ones are of few labels
    numbers = compare(view, other, real, view.real("train", view.training), measuring)
    if "frechet" in numbers:
        numbers |= {f"frechet_{stage}": numbers["frechet"] for stage in STAGES}
    if isinstance(examples, SoundExamples):
        numbers |= sound_limits(examples, measuring) | path_limits(examples)
    return numbers


def likelihood(instrument: Instrument, examples: Examples, measuring: MeasuringConfig) -> Numbers:
    """Return the importance-weighted likelihood of a model that has one."""
    model, samples = instrument.model, measuring.importance_samples
    if not samples:
        return {}
    values = []
    for index, (x, context) in enumerate(Held.of(examples, "test", measuring.likelihood_items, instrument.device)):
        if index == 0 and not _has_rates(instrument, x, context):
            return {}
        values.append(-iw_bound(model, x, context, samples, seed=index))
    return {"nll_iw": mean_of(torch.cat(values), "nats")}


def _has_rates(instrument: Instrument, x: Tensor, context: dict[str, Tensor]) -> bool:
    with evaluating(instrument.model), seeded("rates"):
        layers = instrument.model.infer(x[:2], {name: value[:2] for name, value in context.items()})
    return not any(why_infinite(layer.q, layer.p) for layer in layers)


def match(instrument: Instrument, held: Held) -> Numbers:
    """Return how well codes match the prior, and the intrinsic dimensions of codes and data.

    The kernel is the multi-scale inverse multiquadratic of the WAE with the mean variance of the prior, whatever a
    model was trained with.
    """
    model = instrument.model
    codes = draw_codes(model, held)
    with evaluating(model), seeded("prior", device=instrument.device):
        prior = pack(model.generate(len(codes))).cpu()
        means = torch.cat([pack(model.encode(x, context)).cpu() for x, context in held])
    kernel = build_kernel(ImqConfig(variance=max(1e-6, float(prior.var(0).mean()))))
    numbers = mmd_test(codes, prior, kernel)
    for name, points in {"dimension_codes": means, "dimension_data": torch.cat([x for x, _ in held]).cpu()}.items():
        if len(torch.unique(points.flatten(1), dim=0)) >= LEAST:  # collapsed codes have no dimension
            numbers[name] = two_nn(points)
    return numbers


def at_mean(instrument: Instrument, held: Held) -> Numbers:
    """Return -log p(x | z) with z at the posterior mean."""
    model, values = instrument.model, []
    with evaluating(model):
        for x, context in held:
            values.append(-model.decode(model.encode(x, context), context).log_prob(x).cpu())
    return {"nll_mean": mean_of(torch.cat(values), "nats")}


def errors(instrument: Instrument, held: Held, view: ImageView, items: int) -> Numbers:
    """Return squared errors of reconstructions from the posterior mean: against x, and against the grey image."""
    made = []
    with evaluating(instrument.model):
        for x, context in held:
            made.append(point(instrument.model.decode(instrument.model.encode(x, context), context)).cpu())
    truths = {"mse": torch.cat([x for x, _ in held]).cpu()}
    if view.has_grey:
        truths["mse_grey"] = view.real("test", items)
    means = torch.cat(made)
    return {name: mean_of((means - truth).square().flatten(1).mean(1), "") for name, truth in truths.items()}


def draws(instrument: Instrument, examples: Examples, view: View, measuring: MeasuringConfig) -> Numbers:
    """Compare decoded draws of the prior, and of second stages, with as many real held-out items."""
    model = instrument.model
    real = view.real("test", measuring.samples)
    train = view.real("train", view.training)
    with evaluating(model), seeded("draws", device=instrument.device):
        z = pack(model.generate(len(real))).cpu()
    numbers = compare(view, view.make(instrument, z), real, train, measuring)
    if not measuring.second_stages or view.judge is None:
        return numbers
    codes = draw_codes(model, Held.of(examples, "train", measuring.stage_codes, instrument.device))
    truth = view.features(view.judged(real))
    for name, config in STAGES.items():
        stage = fit_second_stage(config(), codes, 0)
        made = view.make(instrument, stage.sample(len(real), 0))
        features = view.features(view.judged(made))
        numbers[f"frechet_{name}"] = frechet_estimate(features, truth, replicates=measuring.replicates)
    return numbers


def compare(view: View, items: Tensor, real: Tensor, train: Tensor, measuring: MeasuringConfig) -> Numbers:
    """Return what is measured of items beside as many real ones.

    The nearest training item is looked for in the data themselves for images, in the judge's features for sounds
    (waves that sound alike lie far apart).
    """
    if view.judge is None:
        return view.compare(items, real, None) | _ratio(items, train, real)
    judged, truth = view.judged(items), view.judged(real)
    features, true_features = view.features(judged), view.features(truth)
    numbers = view.compare(items, real, judged)
    numbers["frechet"] = frechet_estimate(features, true_features, replicates=measuring.replicates)
    numbers["kernel_distance"] = kernel_distance(features, true_features)
    if isinstance(view, ImageView):
        return numbers | _ratio(items, train, real)
    return numbers | _ratio(features, view.features(view.judged(train)), true_features)


def _ratio(items: Tensor, train: Tensor, held: Tensor) -> Numbers:
    return {"nearest_ratio": nearest_training(items, train, held)["nearest_ratio"]}
