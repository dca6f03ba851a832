import math

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError
from latentscape.measure.seams import seam_energy


def tone(n=8000, jump=0.0):
    phase = torch.arange(n) * 0.05 + jump * (torch.arange(n) // 400)
    return torch.sin(phase)[None]


def test_no_seam_in_a_tone_and_a_clear_one_where_the_phase_jumps():
    assert abs(seam_energy(tone(), 400).value) < 1
    assert seam_energy(tone(jump=1.0), 400).value > 20
    assert abs(seam_energy(tone(jump=1.0), 400, first=600).value) < 40
    assert seam_energy(tone(jump=1.0), 400, first=200).value < 0


def test_it_is_the_ratio_written_out():
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 100)))
    energy = np.diff(wave.numpy(), 2, axis=1) ** 2  # value i stands for sample i + 1
    near = [j for j in range(1, 99) if any(-1 <= j - k < 1 for k in range(10, 120, 10))]
    rest = [j for j in range(1, 99) if j not in near]
    expected = 10 * math.log10(energy[:, np.array(near) - 1].mean() / energy[:, np.array(rest) - 1].mean())
    assert seam_energy(wave, 10, reach=1).value == pytest.approx(expected, rel=1e-9)


def test_edges():
    assert seam_energy(torch.zeros(1, 100), 10).value == 0
    steps = (torch.arange(100) // 10).float()[None]
    assert seam_energy(steps, 10).value == 200
    for every in (1, 500):
        with pytest.raises(DataError, match="expected joins"):
            seam_energy(torch.zeros(1, 100), every)
