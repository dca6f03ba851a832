"""Masks: what each kind hides, and that a mask is a function of its keys and its row."""

import pytest
import torch

from latentscape.core.config import parse
from latentscape.core.errors import ConfigError
from latentscape.data.examples import DataConfig
from latentscape.data.images import ImageExamples
from latentscape.data.masks import (
    AllMaskConfig,
    BoxMaskConfig,
    CentreMaskConfig,
    GapMaskConfig,
    QuadrantsMaskConfig,
    draw_masks,
)
from latentscape.data.sources import open_source
from latentscape.data.split import split_corpus


def masks(config, shape, rows=200, *keys):
    return draw_masks([config], shape, slice(0, rows), 0, *keys)


def test_quadrants_are_those_of_the_example():
    lower_left = torch.zeros(8, 6, dtype=torch.bool)
    lower_left[4:, :3] = True
    left = torch.zeros(8, 6, dtype=torch.bool)
    left[:, :3] = True
    rest = torch.ones(8, 6, dtype=torch.bool)
    rest[:4, 3:] = False
    for seen, expected in ((1, lower_left), (2, left), (3, rest)):
        found = masks(QuadrantsMaskConfig(seen=(seen,)), (3, 8, 6), 5)
        assert found.shape == (5, 3, 8, 6)
        assert torch.equal(found, expected.expand(5, 3, 8, 6))
    shares = masks(QuadrantsMaskConfig(), (8, 8)).float().mean((1, 2))
    assert shares.unique().tolist() == [0.25, 0.5, 0.75]
    turned = masks(QuadrantsMaskConfig(seen=(1,), turned=True), (2, 2)).flatten(1).float()
    assert turned.sum(1).eq(1).all()
    assert turned.mean(0).gt(0.15).all()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_a_small_centre_hides_something(share):
    assert (~masks(CentreMaskConfig(share=share), (1, 8, 8), 3)).flatten(1).sum(1).tolist() == [1, 1, 1]


def test_centre_box_gap_and_all():
    centre = masks(CentreMaskConfig(), (1, 8, 8), 3)
    assert not centre[:, :, 2:6, 2:6].any()
    assert centre.sum().item() == 3 * (64 - 16)
    boxes = ~masks(BoxMaskConfig(least=0.2, most=0.5), (10, 20), 400)
    high, wide = boxes.any(2).sum(1), boxes.any(1).sum(1)
    assert torch.equal(boxes.sum((1, 2)), high * wide)  # a box, not two
    assert (int(high.min()), int(high.max()), int(wide.min()), int(wide.max())) == (2, 5, 4, 10)
    assert boxes.float().mean(0).gt(0).all()  # it comes everywhere, to the edges too
    gaps = ~masks(GapMaskConfig(least=0.25, most=0.5), (5, 16), 400)
    assert torch.equal(gaps.any(1), gaps.all(1))
    lengths = gaps[:, 0].sum(1)
    assert (int(lengths.min()), int(lengths.max())) == (4, 8)
    assert gaps[:, 0].float().mean(0).gt(0).all()
    assert not masks(AllMaskConfig(), (5, 16)).any()
    assert masks(GapMaskConfig(), (12,)).shape == (200, 12)


def test_kinds_are_mixed_evenly():
    mixed = draw_masks([AllMaskConfig(), CentreMaskConfig()], (4, 4), slice(0, 2000), 0)
    assert 0.45 < mixed.any((1, 2)).float().mean() < 0.55


def test_a_mask_is_that_of_its_row_and_keys():
    config = BoxMaskConfig()
    whole = draw_masks([config], (8, 8), slice(0, 9000), 1, "train")
    piece = draw_masks([config], (8, 8), slice(4000, 4200), 1, "train")
    assert torch.equal(piece, whole[4000:4200])
    assert not torch.equal(whole[:4096], draw_masks([config], (8, 8), slice(0, 4096), 2, "train"))
    assert not torch.equal(whole[:4096], whole[4096:8192])


def examples(mask, seed=0):
    corpus = open_source("digits")
    return ImageExamples(corpus, split_corpus(corpus, seed=0), DataConfig(mask=mask), seed=seed)


def test_batches_and_held_out_parts_carry_masks():
    made = examples((BoxMaskConfig(), AllMaskConfig()))
    x, context = made.batch(3, 32)
    assert set(context) == {"mask", "known"}
    assert torch.equal(context["known"], x * context["mask"])
    again = [made.batch(3, 32, rank=rank, world=2)[1]["mask"] for rank in range(2)]
    assert torch.equal(torch.cat(again), context["mask"])
    assert not torch.equal(made.batch(4, 32)[1]["mask"], context["mask"])
    sizes = [torch.cat([told["mask"] for _, told in examples((BoxMaskConfig(),), seed).held("valid", size)])
             for seed, size in ((0, 7), (1, 64))]  # fmt: skip
    assert torch.equal(*sizes)
    assert examples(()).batch(0, 4)[1] == {}


def test_a_span_is_ordered():
    with pytest.raises(ConfigError, match="not above most"):
        parse(DataConfig, {"mask": [{"kind": "gap", "least": 0.8, "most": 0.2}]})
