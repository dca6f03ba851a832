"""How near a re-synthesised test sound comes to the original, and how a model sounds between two of them.

The measures do not know the representation.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from latentscape.benchmark.grid import MeasuringConfig
from latentscape.data.sounds import SoundExamples
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.journeys import HEARD, HELD, journey_along, ways
from latentscape.instrument.reference import corpus_curves, heard, held_part, pairs_of, reference_of
from latentscape.instrument.survey import SECONDS, Journey, rows_of
from latentscape.measure.curves import curves_of
from latentscape.measure.estimate import Estimate, mean_of
from latentscape.measure.journey import journey_of, statistics
from latentscape.measure.measure import Measure
from latentscape.measure.reconstruction import FeatureDistance, LogSpectralDistance, SpectralConvergence
from latentscape.measure.sounds import MelDistance, MultiScaleSpectralDistance
from latentscape.signal.stft import LogStft

PAIRS = 8
"""Pairs of held-out sounds that lines lead between."""
ALONG = {
    "path_range": "range_90",
    "path_variation": "variation",
    "path_monotonicity": "monotonicity",
    "path_pitch_jumps": "pitch_jumps_rate",
    "path_distance": "distance_data",
}
"""Number of a cell -> number of a journey."""


def measures(sample_rate: int) -> Mapping[str, Measure]:
    """Return what sounds are compared by."""
    return {
        "lsd_sound": LogSpectralDistance(),
        "mss": MultiScaleSpectralDistance(),
        "mel_distance": MelDistance(sample_rate),
        "convergence": SpectralConvergence(),
    }


def sound_figures(instrument: Instrument, examples: SoundExamples, measuring: MeasuringConfig) -> dict[str, Estimate]:
    """Return the distances between test sounds and their reconstructions, every sound weighing the same.

    ``lsd_features`` is only there where features are the log-STFT itself.
    """
    numbers = _distances(examples, measuring, lambda wave: instrument.reconstruct(wave, quality=measuring.quality))
    if isinstance(examples.representation, LogStft):
        distance, found = FeatureDistance(), []
        for wave in _waves(examples, measuring):
            truth = examples.representation.analyse(wave[None])[0]
            made = instrument.decode(instrument.encode(wave))[:, : truth.shape[1]]
            found.append(distance.metric(truth, made))
        numbers["lsd_features"] = mean_of(torch.tensor(found), distance.unit)
    return numbers


def sound_limits(examples: SoundExamples, measuring: MeasuringConfig) -> dict[str, Estimate]:
    """Return the same distances for sounds that went through the representation alone: no model does better."""
    sound = examples.representation

    def there_and_back(wave: Tensor) -> Tensor:
        return sound.synthesise(sound.analyse(wave[None]), wave.shape[1], quality=measuring.quality)[0]

    numbers = _distances(examples, measuring, there_and_back)
    return numbers | ({"lsd_features": Estimate(0.0, "dB")} if isinstance(sound, LogStft) else {})


def path_figures(instrument: Instrument, examples: SoundExamples) -> dict[str, Estimate]:
    """Return what is heard along straight lines between held-out sounds; nothing where too few are held out."""
    if len(list(heard(examples, held_part(examples), 2))) < 2:
        return {}
    reference = reference_of(instrument, examples)
    lines = ways(instrument, "line", pairs_of(instrument, examples, PAIRS), reference.centre)
    found = [journey_along(instrument, line, SECONDS, reference, kind="line", between=True) for line in lines]
    return _along(found)


def path_limits(examples: SoundExamples) -> dict[str, Estimate]:
    """Return the same of real held-out sounds, in what they have."""
    rate, corpus = examples.corpus.sample_rate, statistics(corpus_curves(examples))
    found = []
    for name, wave in heard(examples, held_part(examples), HEARD):
        numbers = journey_of(curves_of(wave, rate), corpus)
        found.append(Journey(HELD, name, wave.shape[1] / rate, numbers, {}))
    return _along(found)


def _along(found: list[Journey]) -> dict[str, Estimate]:
    numbers = rows_of(found)[0].numbers if found else {}
    return {name: numbers[along] for name, along in ALONG.items() if along in numbers}


def _distances(
    examples: SoundExamples, measuring: MeasuringConfig, heard: Callable[[Tensor], Tensor]
) -> dict[str, Estimate]:
    table = measures(examples.corpus.sample_rate)
    found: dict[str, list[float]] = {name: [] for name in table}
    for wave in _waves(examples, measuring):
        again = heard(wave)
        for name, measure in table.items():
            measure.validate(wave, again)
            found[name].append(measure.metric(wave, again))
    return {name: mean_of(torch.tensor(values), table[name].unit) for name, values in found.items()}


def _waves(examples: SoundExamples, measuring: MeasuringConfig) -> list[Tensor]:
    """Return the beginnings of test clips, evenly spread over them; silent ones are left out."""
    corpus = examples.corpus
    most = round(measuring.clip_seconds * corpus.sample_rate)
    clips = examples.sounds("test", measuring.clips, measuring.clip_seconds).clips(corpus)
    waves = [torch.from_numpy(corpus.wave(clip, 0, min(clip.frames, most)).copy()) for clip in clips]
    return [wave for wave in waves if bool(wave.any())]
