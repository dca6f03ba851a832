r"""Restyling on the manifold: the content's path through the latent space of a model that knows the style.

Letters: c channels, n samples, z ``[m, d]`` codes of a sound's windows, T the map of optimal transport from the
Gaussian of the content's codes to that of the style's (:mod:`latentscape.edit.restyle.statistics`), R what gives each
dimension of the codes the style's own distribution, their order kept, u strength.

.. math:: z'_i = (1 - u)\, z_i + u\, R(T(z_i)), \qquad \text{sound} = \text{decode}(z'_1, z'_2, \dots)

Without R a few codes come to lie where the style has none, and a decoder of levels may shout there: a frame 60 dB over
its neighbours. Nothing is optimised. The decoder can only make what its corpus sounds like, so nothing comes out as
noise; what the model has not learnt of the content is lost before the style is met, at strength 0 already.
"""

import numpy as np
import torch
from jaxtyping import Float

from latentscape.core.errors import DataError, UsageError
from latentscape.edit.restyle.engine import Restyled, Wish, finished, style_for, usable
from latentscape.edit.restyle.statistics import gaussian_of, ranked, transport
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.labels import Labels
from latentscape.signal import audio
from latentscape.signal.representation import Quality

RIDGE = 1e-2


def restyle_codes(
    instrument: Instrument,
    content: Float[np.ndarray, "c n"],
    style: Float[np.ndarray, "d m"],
    sample_rate: int,
    wish: Wish = Wish("latent"),
    *,
    labels: Labels | None = None,
    quality: Quality = "best",
) -> Restyled:
    """Restyle a sound, channel by channel, by a model of single sounds.

    Args:
        instrument: whose model knows the style.
        content: full scale 1.
        style: its channels are averaged.
        sample_rate: Hz, of both.
        wish: of which the strength counts.
        labels: told to the model.
        quality: of the phase recovery.

    Raises:
        UsageError: the run makes images.
        DataError: a sound is silent, too short or not finite, or the style has fewer than two windows.
    """
    sound = instrument.representation
    if sound is None:
        raise UsageError(f"{instrument.name} makes images; --method latent takes a run of sound")
    if sound.channels != 1:
        raise UsageError(
            f"{instrument.name} takes {sound.channels} channels at once; --method latent takes runs of one"
        )

    for wave, what in ((content, "content"), (style, "style")):
        usable(wave, what, sample_rate)

    def codes(channel: np.ndarray) -> torch.Tensor:
        wave = audio.resample(channel[None].astype(np.float32), sample_rate, sound.sample_rate)
        return instrument.encode(torch.from_numpy(wave), labels)

    goal = codes(style_for(style, content, sample_rate).mean(0))
    if len(goal) < 2:
        raise DataError(f"the style has {len(goal)} windows of {instrument.name}, expected 2 or more")
    rows = []
    for channel in content:
        z = codes(channel)
        carried = ranked(transport(gaussian_of(z.double()), gaussian_of(goal.double()), RIDGE)(z), goal)
        features = instrument.decode(torch.lerp(z, carried, wish.strength), labels)
        samples = round(content.shape[1] * sound.sample_rate / sample_rate)
        wave = sound.synthesise(features[None], samples, quality=quality)[0].numpy()
        rows.append(fitted(audio.resample(wave, sound.sample_rate, sample_rate)[0], content.shape[1]))
    return finished(np.stack(rows).astype(np.float64), content, style, sample_rate)


def fitted(wave: Float[np.ndarray, " k"], length: int) -> Float[np.ndarray, " n"]:
    """Cut or fill up to a length: resampling there and back may be a sample off."""
    return np.pad(wave[:length], (0, max(0, length - len(wave))))
