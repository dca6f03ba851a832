r"""One series of all that a model of waves hears beside its past: spectra, pitch, timed words, another run's course.

Letters: n samples, H samples a step, :math:`m = \lceil n / H \rceil` steps, c channels.

==========  ==========================================================================================================
``log_mel`` levels of the representation of that name, :math:`(\text{dB} + 40) / 20`; frame i is centred on sample i H,
            half a step before the place that the network gives it: the learnt widening takes that in
``pitch``   :math:`\log_2(f_0 / 200\,\text{Hz})` (0 where unvoiced), and 1 where voiced
``timed``   one channel a label, and one that is 1 where any label holds, known or not; in gaps all are 0
``codes``   another run's latents, in deviations of its corpus from its mean code, on lines from window to window
==========  ==========================================================================================================

A part that is not known (no file of words beside a sound, say) is NaN, which a network hears as 0 throughout.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentscape.core.errors import ConfigError, DataError, LatentscapeError, UsageError
from latentscape.data.hearing import Hearing, Place
from latentscape.data.timeline import beside, codes_of, read_timeline
from latentscape.instrument.space import Space
from latentscape.models.heard import CodesConfig, TimedConfig
from latentscape.signal import audio
from latentscape.signal.mel import LogMel, LogMelConfig
from latentscape.signal.pitch import PitchConfig, contour

MIDDLE_DB, SPREAD_DB = -40.0, 20.0
"""Levels are told as (dB - MIDDLE_DB) / SPREAD_DB."""

Load = Callable[[Path, str], Space]
"""Opens a run folder on a device."""


class _Part(Protocol):
    """One of the parts of a series."""

    channels: int

    def listen(self, wave: Tensor, place: Place | None) -> Tensor:
        """Return ``[channels, m]`` of a wave ``[1, n]``."""
        ...


class MelPart:
    """Levels of mel bands.

    Attributes:
        view: the representation.
    """

    def __init__(self, config: LogMelConfig, sample_rate: int) -> None:
        self.view = LogMel(config)
        self.channels = self.view.frame_size

    def listen(self, wave: Tensor, place: Place | None) -> Tensor:
        """Return the levels."""
        return told(self.view.analyse(wave[None])[0])


def told(levels: Tensor) -> Tensor:
    """Return levels, dB, as a network hears them."""
    return (levels - MIDDLE_DB) / SPREAD_DB


class PitchPart:
    """The contour of the fundamental."""

    channels = 2

    def __init__(self, config: PitchConfig, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate

    def listen(self, wave: Tensor, place: Place | None) -> Tensor:
        """Return the contour."""
        return contour(self.config, wave, self.sample_rate)


class TimedPart:
    """Labels with times, from the file beside a sound, or from the one that :class:`Place` names."""

    def __init__(self, config: TimedConfig, sample_rate: int) -> None:
        self.config, self.sample_rate = config, sample_rate
        self.channels = len(config.values) + 1
        self._read = lru_cache(4096)(self._look)

    def _look(self, path: str) -> Any:
        file = Path(path) if Path(path).suffix in (".csv", ".TextGrid", ".textgrid") else beside(Path(path))
        return None if file is None else read_timeline(file, self.config.tier)

    def listen(self, wave: Tensor, place: Place | None) -> Tensor:
        """Return which label holds in the middle of every step; NaN where there is no file, or none that can be read.

        Training has said which can't be.
        """
        steps = -(-wave.shape[1] // self.config.hop)
        nothing = torch.full((self.channels, steps), torch.nan)
        if place is None:
            return nothing
        try:
            timeline = self._read(place.path)
        except DataError:
            return nothing
        if timeline is None:
            return nothing
        times = place.start + (np.arange(steps) + 0.5) * (self.config.hop / self.sample_rate * place.speed)
        codes = torch.from_numpy(codes_of(timeline, times, self.config.values))
        rows = torch.arange(self.channels - 1)[:, None] == codes
        return torch.cat([rows, (codes > -2)[None]]).float()


class CodesPart:
    """Another run's latents."""

    def __init__(self, config: CodesConfig, sample_rate: int, load: Load) -> None:
        try:
            self.space = load(Path(config.run), "cpu")
        except LatentscapeError as error:
            raise ConfigError(f"local: the latents that are heard are of another run: {error}") from error
        sound = self.space.representation
        if sound is None or sound.channels != 1:
            raise ConfigError(f"local: {config.run} is not of sounds of one channel, so it can't be heard")
        self.config, self.sample_rate, self.sound = config, sample_rate, sound
        self.channels = self.space.dim

    def listen(self, wave: Tensor, place: Place | None) -> Tensor:
        """Return the latents, on lines between the middles of the windows they are of."""
        own = torch.from_numpy(audio.resample(wave.numpy(), self.sample_rate, self.sound.sample_rate))
        chart, space = self.space.chart, self.space
        codes = (space.encode(own) - chart.mean) / chart.deviation.clamp_min(1e-6)
        hop = self.sound.hop / self.sound.sample_rate
        middle = (space.window.length - 1) / 2
        at = (np.arange(len(codes)) * space.step + middle) * hop
        steps = -(-wave.shape[1] // self.config.hop)
        times = (np.arange(steps) + 0.5) * (self.config.hop / self.sample_rate)
        rows = [np.interp(times, at, row) for row in codes.T.double().numpy()]
        return torch.from_numpy(np.stack(rows)).float()


PARTS: dict[type, Any] = {LogMelConfig: MelPart, PitchConfig: PitchPart, TimedConfig: TimedPart}


class Local(Hearing):
    """See the module.

    Args:
        parts: what is heard, as configured; all with the same hop.
        sample_rate: Hz, of the sounds.
        load: opens another run whose latents are heard.

    Raises:
        ConfigError: hops differ, or a part can't be made.
    """

    def __init__(self, parts: Sequence[Any], sample_rate: int, load: Load) -> None:
        hops = sorted({part.hop for part in parts})
        if len(hops) != 1:
            raise ConfigError(f"local: parts hop by {', '.join(map(str, hops))} samples, expected one hop of all")
        self.hop, self.sample_rate = hops[0], sample_rate
        make = {**PARTS, CodesConfig: partial(CodesPart, load=load)}
        self.parts: list[_Part] = [make[type(part)](part, sample_rate) for part in parts]
        self.channels = sum(part.channels for part in self.parts)

    def listen(self, wave: Float[Tensor, "1 n"], place: Place | None = None) -> Float[Tensor, "c m"]:
        """Return the series of a wave; see :class:`Hearing`."""
        return torch.cat([part.listen(wave, place) for part in self.parts])

    def timed(self, samples: int, file: Path) -> Float[Tensor, "c m"]:
        """Return the series of a file of words or labels alone; all else is not known.

        Raises:
            UsageError: no words with times are heard.
            DataError: the file can't be read.
        """
        own = [part for part in self.parts if isinstance(part, TimedPart)]
        if not own:
            raise UsageError("this run hears no words with times; leave --timeline out")
        timeline = read_timeline(file, own[0].config.tier)
        known = {label for part in own for label in part.config.values}
        if timeline and not known & {one.label for one in timeline}:
            raise UsageError(f"{file} holds no label that the run knows, such as '{timeline[0].label}'")
        silence = torch.zeros(1, samples)
        steps = -(-samples // self.hop)
        return torch.cat(
            [
                part.listen(silence, Place(str(file))) if part in own else torch.full((part.channels, steps), torch.nan)
                for part in self.parts
            ]
        )

    @property
    def mel(self) -> LogMel | None:
        """The view of a vocoder: that of a run that hears levels of mel bands, and nothing else."""
        (first, *rest) = self.parts
        return first.view if isinstance(first, MelPart) and not rest else None
