"""What a net sees of one of many codes, before it has learnt anything."""

import pytest
import torch

from latentscape.nets.codes import code_table
from latentscape.nets.samplernn import SampleRnn, SampleRnnConfig
from latentscape.nets.wavenet import WaveNet, WaveNetConfig


def likeness(table, apart):
    return torch.cosine_similarity(table[:-1][apart:], table[:-1][: len(table) - 1 - apart]).mean()


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_codes_near_one_another_look_alike(levels):
    table = code_table(levels, 64)
    assert table.shape == (levels + 1, 64)
    assert table[:-1].square().mean() == pytest.approx(1, abs=0.25)
    if levels == 256:
        assert likeness(table, 1) > 0.95
        assert likeness(table, 1) > likeness(table, 4) > likeness(table, 40)
        assert likeness(table, 128) < 0.3
        assert torch.cosine_similarity(table[:-1], table[-1:]).abs().max() < 0.6  # nothing before is like no code


def test_nets_begin_with_such_tables():
    wave = WaveNet(WaveNetConfig(residual=32, dilations=(1, 2)), 256, 256)
    assert likeness(wave.table, 1) > 0.9
    steps = SampleRnn(SampleRnnConfig(frames=(4,), past=2, width=8, head=32), 256, 256)
    assert min(likeness(table, 1) for table in steps.tables) > 0.9
    assert not torch.equal(*steps.tables)
    assert SampleRnn(SampleRnnConfig(frames=(4,), past=0, width=8, head=32), 256, 256).tables.shape == (0, 257, 32)
