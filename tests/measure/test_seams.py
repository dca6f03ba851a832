import math

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError
from latentscape.measure.seams import seam_course, seam_energy


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


def course(wave, joins, **options):
    return {name: number.value for name, number in seam_course(wave, 8000, joins, **options).items()}


def test_a_hole_is_a_level_and_a_jump_is_a_flux():
    noise = 0.1 * torch.randn(1, 80_000, generator=torch.Generator().manual_seed(0))
    joins = [place / 8000 for place in range(4000, 80_000, 4000)]
    calm = course(noise, joins)
    assert abs(calm["seam_level"]) < 0.3
    assert abs(calm["seam_flux"]) < 0.5
    place = torch.arange(80_000)
    near = (((place + 2000) % 4000) - 2000).abs() < 530
    hole = course(torch.where(near, 0.5 * noise, noise), joins)
    assert hole["seam_level"] == pytest.approx(-5.75, abs=0.4)
    loud = torch.where((place // 4000) % 2 == 0, noise, 0.2 * noise)
    assert course(loud, joins)["seam_flux"] > 1
    assert course(loud, [time + 0.25 for time in joins[:-1]])["seam_flux"] < 0


def test_a_level_is_that_of_the_frames_around():
    """Against numpy: the power of frames whose middle is near."""
    wave = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    window, hop = 256, 64
    hann = np.hanning(window + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(wave[0].numpy(), window)[::hop] * hann
    power = (np.abs(np.fft.rfft(frames)) ** 2).sum(1)
    middle = (np.arange(len(power)) * hop + window / 2) / 8000
    near = np.abs(middle - 0.25) <= 0.02
    expected = 10 * np.log10(power[near].mean() / power[~near].mean())
    assert course(wave, [0.25], reach=0.02)["seam_level"] == pytest.approx(expected, abs=1e-6)
    assert course(torch.zeros(1, 4000), [0.25]) == {"seam_level": 0.0, "seam_flux": 0.0}


@pytest.mark.parametrize("joins", [[], [99.0], [0.02 * step for step in range(30)]])
def test_a_course_needs_joins_and_something_beside(joins):
    with pytest.raises(DataError, match="expected joins and more beside"):
        seam_course(torch.zeros(1, 4000), 8000, joins)
