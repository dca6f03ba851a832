"""Pictures of what units of a net hear: a sound's spectrogram, and over it where each is excited."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from latentscape.report.pictures import WIDTH
from latentscape.report.spectrum import FLOOR, spectrogram
from latentscape.report.style import LIGHT, SPECTRUM, Theme, png, styled


def layer_picture(
    wave: Float[np.ndarray, "c n"],
    masks: Mapping[str, Float[np.ndarray, "_ _"]],
    sample_rate: int,
    *,
    theme: Theme = LIGHT,
) -> bytes:
    """Draw a sound's spectrogram, and below it the mask of every unit.

    Args:
        wave: full scale is 1.
        masks: title -> 0 to 1, rows from 0 Hz to half the sample rate, columns over the sound.
        sample_rate: Hz.
        theme: paper and ink.
    """
    levels = spectrogram(wave, sample_rate, 480)
    extent = (0.0, wave.shape[1] / sample_rate, 0.0, sample_rate / 2000)
    with styled(theme):
        figure = Figure(figsize=(WIDTH, 1.5 * (1 + len(masks))), layout="constrained")
        panels = figure.subplots(1 + len(masks), 1, sharex=True, squeeze=False)[:, 0]
        options = {"origin": "lower", "aspect": "auto", "extent": extent, "interpolation": "antialiased"}
        top = float(levels.max())
        panels[0].imshow(levels, cmap=SPECTRUM, vmin=max(FLOOR, top - 80), vmax=max(top, FLOOR + 1), **options)
        panels[0].set_title("the sound")
        for axes, (title, mask) in zip(panels[1:], masks.items(), strict=True):
            axes.imshow(mask, cmap=SPECTRUM, vmin=0, vmax=1, **options)
            axes.set_title(title)
        for axes in panels:
            axes.set_ylabel("kHz")
        panels[-1].set_xlabel("time (s)")
        return png(figure)
