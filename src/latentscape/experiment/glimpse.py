"""What TensorBoard is shown of a model that is still learning: a held-out item and what is left of it."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch

from latentscape.data.examples import Examples
from latentscape.data.sounds import SoundExamples
from latentscape.instrument.instrument import Instrument
from latentscape.models.model import LatentModel
from latentscape.train.loop import Moment

EVERY = 5
"""Validations from one glimpse to the next: a sound and its picture take as long as many steps."""
SECONDS = 2.0
IMAGES = 12


def glimpses(examples: Examples) -> Callable[[Moment], None]:
    """Return a call-back that adds a reconstruction, as sound and as picture, to the board (if there is one)."""
    calls = 0

    def show(moment: Moment) -> None:
        nonlocal calls
        calls += 1
        if moment.board is None or calls % EVERY or not isinstance(moment.model, LatentModel):
            return
        if moment.model.sequential:  # a draw takes longer than many steps
            return
        if isinstance(examples, SoundExamples):
            image = _sound(moment, examples)
        else:
            x = next(iter(examples.held("valid", IMAGES, IMAGES)))[0]
            from latentscape.report import pictures  # and with it matplotlib, as below

            instrument = Instrument(moment.model)
            pair = torch.stack([x, instrument.decode(instrument.encode(x)).cpu()])
            image = pictures.image_grid((pair[:, :, 0] if pair.shape[2] == 1 else pair).numpy())
        moment.board.add_image("reconstruction", _pixels(image), moment.step, dataformats="HWC")

    return show


def _sound(moment: Moment, examples: SoundExamples) -> bytes:
    from latentscape.report import pictures

    assert isinstance(moment.model, LatentModel)
    corpus = examples.corpus
    clip = next(iter(examples.split.clips(corpus, "valid")))
    frames = min(clip.frames, round(SECONDS * corpus.sample_rate))
    wave = torch.from_numpy(corpus.wave(clip, 0, frames).copy())
    instrument = Instrument(moment.model, examples.representation, examples.window, examples.vocabulary)
    again = instrument.reconstruct(wave, quality="fast")
    moment.board.add_audio("reconstruction", again.mean(0, keepdim=True), moment.step, corpus.sample_rate)
    both = {"original": wave.numpy(), "reconstruction": again.numpy()}
    return pictures.waveform_and_spectrogram(both, corpus.sample_rate)


def _pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))
