"""A spectral run that speaks with another's voice: its spectra, as mel bands, are heard by a vocoder run.

Letters: b sounds, f features a frame, t frames, n samples.

Everything that makes sound asks its representation for it, so that a representation whose sound a vocoder makes lets
every verb speak so. Where features are levels of the vocoder's own bands they are told as they are; other levels of a
transform with the same window and hop are brought to them through the power of its bins.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from latentscape.core.errors import UsageError
from latentscape.instrument.hearing import told
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.waves import Waves
from latentscape.nets.wavenet_sampler import Manner
from latentscape.signal.mel import LogMel
from latentscape.signal.representation import LiveSynthesiser, Quality, Representation, fit_length
from latentscape.signal.stft import Magnitudes


class Vocoded(Representation):
    """Another's features, and the sound that a vocoder makes of them.

    Args:
        own: levels in dB, of one channel.
        vocoder: a run that hears levels of mel bands, and nothing else.
        manner: of drawing.
        seed: of the draws.

    Raises:
        UsageError: the vocoder hears something else, or other frames; one line says what to do.
    """

    round_trip = -15.0
    drops_phase = True

    def __init__(self, own: Representation, vocoder: Waves, manner: Manner = Manner(), seed: int = 0) -> None:
        self.own, self.vocoder, self.manner, self.seed = own, vocoder, manner, seed
        self.sample_rate, self.channels, self.frame_size, self.hop = (
            own.sample_rate,
            own.channels,
            own.frame_size,
            own.hop,
        )
        name = vocoder.name or "the vocoder"
        view = None if vocoder.hearing is None else vocoder.hearing.mel
        if view is None:
            raise UsageError(f"{name} hears no mel bands alone; `latentscape train SOURCE --recipe vocoder` makes one")
        if not isinstance(own, Magnitudes) or own.channels != 1:
            raise UsageError(
                f"a vocoder speaks for log_stft and log_mel of one channel, not for {type(own).__name__} of "
                f"{own.channels}; leave --vocoder out"
            )
        has, needs = ((one.sample_rate, one.grid.window, one.hop) for one in (view, own))
        if has != needs:
            (rate, window, hop), (own_rate, own_window, own_hop) = has, needs
            raise UsageError(
                f"{name} hears {rate} Hz, window {window}, hop {hop}, and the run makes {own_rate} Hz, window "
                f"{own_window}, hop {own_hop}; train a vocoder with --rate {own_rate} "
                f"--set 'local=[{{kind: log_mel, window: {own_window}, hop: {own_hop}, bands: 80}}]'"
            )
        self.view: LogMel = view
        self._same = isinstance(own, LogMel) and torch.equal(own.centres, view.centres)

    @property
    def floor(self) -> float | None:
        """The least feature, dB."""
        return self.own.floor

    def frames(self, n: int) -> int:
        """Return the frames of the features."""
        return self.own.frames(n)

    def analyse(self, wave: Float[Tensor, "b c n"]) -> Num[Tensor, "b f t"]:
        """Return the features."""
        return self.own.analyse(wave)

    def spectrum(self, features: Num[Tensor, "b f t"]) -> tuple[Float[Tensor, "b k u"], Float[Tensor, " k"]] | None:
        """Return the spectrum of the features."""
        return self.own.spectrum(features)

    def live(self) -> LiveSynthesiser | None:
        """Return nothing: a vocoder hears the frame that follows, and makes whole sounds."""
        return

    def levels(self, features: Num[Tensor, "b f t"]) -> Float[Tensor, "b m t"]:
        """Return the levels of the vocoder's bands, dB."""
        if self._same:
            return features.clamp_min(self.view.floor_db)
        assert isinstance(self.own, Magnitudes)
        power = self.own.magnitude(features).square()
        levels = 10 * (power @ self.view.filters(power).T).clamp_min(10 ** (self.view.floor_db / 10)).log10()
        return levels.transpose(1, 2)

    def synthesise(
        self, features: Num[Tensor, "b f t"], length: int | None = None, *, quality: Quality = "best"
    ) -> Float[Tensor, "b c n"]:
        """Return what the vocoder makes of the features; ``quality``, of the phase recovery, means nothing to it."""
        self.own.check_features(features)
        n = features.shape[2] * self.hop if length is None else min(length, features.shape[2] * self.hop)
        heard = [told(levels) for levels in self.levels(features)]
        options: dict[str, Any] = {"seed": self.seed, "manner": self.manner, "threads": torch.get_num_threads()}
        made = torch.stack(self.vocoder.voiced(heard, [n] * len(heard), **options))
        return fit_length(made, length)


def vocoded(instrument: Instrument, vocoder: Waves, manner: Manner = Manner(), seed: int = 0) -> Instrument:
    """Return an instrument whose sound is made by a vocoder.

    Raises:
        UsageError: they don't fit each other.
    """
    assert instrument.representation is not None
    other = copy.copy(instrument)
    other.representation = Vocoded(instrument.representation, vocoder, manner, seed)
    return other
