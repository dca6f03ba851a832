"""`sines`: the toy check. Twelve equal-tempered pitches from 220 Hz, random phase and amplitude.

x(t) = a sin(2 pi f_k t + phase), f_k = 220 * 2^(k/12) Hz, k = 0 .. 11, a in [0.1, 0.9], 2 s at 16 kHz. Everything that
varies is three numbers, so a model with room for them has no excuse.
"""

from collections.abc import Iterator

import numpy as np

from latentscape.core.random import numpy_stream
from latentscape.data.tones import Note

SAMPLE_RATE = 16_000
"""Hz."""
SECONDS = 2
"""Length of each sound."""
PITCHES = 12


def sines(seed: int = 0, count: int = 1200) -> Iterator[Note]:
    """Yield ``count`` sines, the pitches in turn; the labels are ``midi`` (57 is 220 Hz), ``amplitude``, ``phase``.

    A sine depends on its own number and the seed alone, so a larger count begins with the smaller one.
    """
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    for number in range(count):
        stream = numpy_stream(seed, "sines", number)
        amplitude, phase = stream.uniform(0.1, 0.9), stream.uniform(0, 2 * np.pi)
        step = number % PITCHES
        wave = amplitude * np.sin(2 * np.pi * 220 * 2 ** (step / 12) * t + phase)
        labels: dict[str, str | float] = {"midi": 57.0 + step, "amplitude": amplitude, "phase": phase}
        yield Note(f"sine-{number:05d}", wave.astype(np.float32)[None], SAMPLE_RATE, labels)
