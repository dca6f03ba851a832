"""The figures of a run of an autoregressive model."""

import math
from collections.abc import Iterator

from latentscape.data.examples import Batch, Examples
from latentscape.data.split import PartName
from latentscape.instrument.waves import Waves
from latentscape.measure.measure import Number
from latentscape.measure.waves import by_recording, unigram, wave_costs, wave_likelihood
from latentscape.models.autoregressive import PRESENT

BATCH = 16
SAMPLES = 1 << 22
"""Of a part that are measured, at most, spread over it: two minutes at 32 kHz. Models with windows of any length are so
asked for about the same ones."""


def measure_waves(waves: Waves, examples: Examples, part: PartName, train: Examples) -> dict[str, Number]:
    """Return the likelihood of a part's windows, of at most so many samples, beside that of single samples."""
    numbers = wave_likelihood(waves.model, _held(waves, examples, part))
    conditional = waves.model.conditional
    levels = conditional.net.levels
    if levels:
        codes = (
            (conditional.read(x)[:, 0][context[PRESENT] > 0] for x, context in _windows(source, name))
            for source, name in ((train, "train"), (examples, part))
        )
        numbers |= unigram(*codes, levels)  # type: ignore[misc]
    return numbers


def costs_of_recordings(waves: Waves, examples: Examples, part: PartName) -> dict[int, tuple[float, float]]:
    """Return, of every recording of a part, what it costs in nats and how many of its samples were asked for."""
    return by_recording(*wave_costs(waves.model, _held(waves, examples, part)))


def _windows(examples: Examples, part: PartName) -> Iterator[Batch]:
    return examples.held(part, BATCH, max(1, SAMPLES // math.prod(examples.event_shape)))


def _held(waves: Waves, examples: Examples, part: PartName) -> Iterator[Batch]:
    for x, context in _windows(examples, part):
        yield x.to(waves.device), {name: value.to(waves.device) for name, value in context.items()}
