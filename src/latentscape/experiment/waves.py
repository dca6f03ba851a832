"""The figures of a run of an autoregressive model."""

from latentscape.data.examples import Examples
from latentscape.data.split import PartName
from latentscape.instrument.waves import Waves
from latentscape.measure.measure import Number
from latentscape.measure.waves import unigram, wave_likelihood
from latentscape.models.autoregressive import PRESENT

BATCH = 16
WINDOWS = 400


def measure_waves(waves: Waves, examples: Examples, part: PartName, train: Examples) -> dict[str, Number]:
    """Return the likelihood of a part's windows, of at most 400 spread over it, beside that of single samples."""
    held = (
        (x.to(waves.device), {name: value.to(waves.device) for name, value in context.items()})
        for x, context in examples.held(part, BATCH, WINDOWS)
    )
    numbers = wave_likelihood(waves.model, held)
    conditional = waves.model.conditional
    levels = conditional.net.levels
    if levels:
        codes = (
            (conditional.read(x)[:, 0][context[PRESENT] > 0] for x, context in source.held(name, BATCH, WINDOWS))
            for source, name in ((train, "train"), (examples, part))
        )
        numbers |= unigram(*codes, levels)  # type: ignore[misc]
    return numbers
