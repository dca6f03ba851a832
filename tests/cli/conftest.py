"""A folder of sounds and a finished run, for every verb."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from typed import RATE, TINY, shell


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder of short notes in sub-folders, one of them with a difficult name, and two files that are no sound."""
    root = tmp_path_factory.mktemp("sounds") / "my 'sounds' 🎺"
    t = np.arange(RATE // 2) / RATE
    for family, power in (("dull", 3), ("bright", 1)):
        (root / family).mkdir(parents=True)
        for number in range(6):
            f = 220 * 2 ** (number / 12)
            wave = sum(np.sin(2 * np.pi * k * f * t) / k**power for k in range(1, 6)) * 0.2 * np.exp(-3 * t)
            soundfile.write(root / family / f"{number:02d}.wav", wave, RATE)
    (root / "readme.txt").write_text("no sound")
    (root / "empty.wav").touch()
    return root


@pytest.fixture(scope="session")
def run(folder, drawn, tmp_path_factory) -> Path:
    """A finished tiny run, made by the shell."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    with drawn():
        assert shell("train", folder, "--recipe", "frames", "--run", path, *TINY) == 0
    return path
