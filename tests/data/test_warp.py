"""Pictures varied in training: by how much, which, and that held-out ones are not."""

import numpy as np
import pytest
import torch

from latentscape.data.corpus import ImageCorpus
from latentscape.data.examples import DataConfig
from latentscape.data.images import ImageExamples
from latentscape.data.split import split_corpus
from latentscape.data.warp import WarpConfig, warp


def test_a_warp_is_what_it_says():
    """Against the mathematics, on a picture that is not square whose values are its places."""
    down, across = torch.meshgrid(torch.arange(9.0), torch.arange(15.0), indexing="ij")
    x = (torch.stack([across, down])[None] / 100 + 0.1).expand(40, 2, 9, 15)
    assert torch.allclose(warp(WarpConfig(), x, 0), x, atol=1e-6)
    config = WarpConfig(turn=10, shear=0.1, stretch=0.1, shift=1)
    made = (warp(config, x, 0)[:, :, 3:6, 6:9] - 0.1) * 100 - torch.tensor([7.0, 4.0])[:, None, None]
    place = torch.stack([across, down])[:, 3:6, 6:9] - torch.tensor([7.0, 4.0])[:, None, None]
    ones = torch.ones(9)
    for row in made.flatten(2):  # affine in place, and the matrix is a turn, a shear and two stretches
        fit = torch.linalg.lstsq(torch.stack([*place.flatten(1), ones], 1), row.T).solution.T
        assert torch.allclose(fit @ torch.stack([*place.flatten(1), ones]), row, atol=1e-3)
        q, r = torch.linalg.qr(fit[:, :2])
        q, r = q * r.diagonal().sign(), r * r.diagonal().sign()[:, None]
        assert float(torch.atan2(q[1, 0], q[0, 0]).rad2deg().abs()) <= 10.01
        assert bool((r.diagonal().log().abs() <= 0.1001).all())
        assert float((r[0, 1] / r[1, 1]).abs()) <= 0.1001
        assert bool((fit[:, 2].abs() <= 1.001).all())
    assert float(made.std(0).min()) > 0.2
    assert torch.equal(warp(config, x, 0), warp(config, x, 0))
    assert not torch.equal(warp(config, x, 1), warp(config, x, 0))


def test_bits_stay_bits_and_a_share_stays_as_it_is():
    x = (torch.rand(200, 1, 8, 8) > 0.5).float()
    made = warp(WarpConfig(turn=20, shift=3, share=0.5), x, 3)
    assert set(made.unique().tolist()) == {0.0, 1.0}
    assert 60 < int((made == x).flatten(1).all(1).sum()) < 140


@pytest.mark.parametrize("binarise", ["none", "dynamic", "static"])
def test_training_is_varied_and_held_out_pictures_are_not(binarise):
    values = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6)).astype(np.uint8)
    corpus = ImageCorpus("noise", values, 255, {}, (), "0")
    made, plain = (
        ImageExamples(corpus, split_corpus(corpus), DataConfig(binarise=binarise, warp=one), seed=0)
        for one in (WarpConfig(shift=2), None)
    )
    x = made.batch(5, 8)[0]
    assert not torch.equal(x, plain.batch(5, 8)[0])
    parts = [made.batch(5, 8, rank=rank, world=2)[0] for rank in range(2)]
    assert torch.equal(torch.cat(parts), x)
    assert (set(x.unique().tolist()) == {0.0, 1.0}) == (binarise != "none")
    for a, b in zip(made.held("valid", 4), plain.held("valid", 4), strict=True):
        assert torch.equal(a[0], b[0])
