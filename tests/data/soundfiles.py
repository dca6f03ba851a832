from pathlib import Path

import numpy as np
import soundfile

from latentscape.core.random import numpy_stream

RATE = 8000


def noise(*keys: int | str, seconds: float = 0.25, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Return reproducible noise [c, n]."""
    return numpy_stream("noise", *keys).uniform(-0.5, 0.5, (channels, round(seconds * rate))).astype(np.float32)


def put(path: Path, wave: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    """Write a wave without the library's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.T, rate, subtype=subtype)
    return path
