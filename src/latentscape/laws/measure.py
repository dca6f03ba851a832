"""The laws of a measure: ideal on identity, further from it the further the estimate is off, clear refusals."""

import torch

from latentscape.core.errors import DataError
from latentscape.measure.measure import Measure, Number


def check_measure(measure: Measure) -> None:
    """Hold a measure to its laws, on noise of two channels and 4,000 samples.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    stream = torch.Generator().manual_seed(0)
    reference = torch.randn(2, 4000, generator=stream)
    noise = torch.randn(2, 4000, generator=stream)
    kept = reference.clone()
    results = measure.evaluate(reference, reference)
    assert list(results) == [measure.name], f"{measure.name} named its number {list(results)}"
    assert results[measure.name] == Number(measure.ideal, measure.unit), f"identity gives {results[measure.name]}"
    values = [measure.evaluate(reference, reference + step * noise)[measure.name].value for step in (0.01, 0.1, 1.0)]
    distances = [abs(value - measure.ideal) for value in values]
    assert 0 < distances[0] < distances[1] < distances[2], f"{measure.name} does not grow with the error: {values}"
    assert torch.equal(reference, kept), f"{measure.name} changed its input"
    for estimate in (reference[:1], torch.zeros(2, 0), reference.index_fill(1, torch.tensor([5]), float("nan"))):
        _must_refuse(measure, reference, estimate)
        _must_refuse(measure, estimate, reference)
    _must_refuse(measure, torch.zeros(2, 0), torch.zeros(2, 0))


def _must_refuse(measure: Measure, reference: torch.Tensor, estimate: torch.Tensor) -> None:
    try:
        measure.evaluate(reference, estimate)
    except DataError:
        return
    shapes = f"{list(reference.shape)} and {list(estimate.shape)}"
    raise AssertionError(f"{measure.name} took arguments that can't be compared, {shapes}")
