"""PixelCNN: no pixel sees itself or a later one, and one pixel's law is the same from a part of the image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from latentscape.nets.pixelcnn import PixelCnn, PixelCnnConfig

SIZE = (6, 7)


def made(heard=2, **sizes) -> PixelCnn:
    torch.manual_seed(0)
    net = PixelCnn(PixelCnnConfig(**{"channels": 6, **sizes}), 2, 3, heard)
    with torch.no_grad():
        net.head[-1].weight.mul_(10)
    return net.eval()


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([3, 5, 7]), st.sampled_from([1, 3, 5]), st.integers(0, 2), st.integers(0, 41))
def test_no_pixel_sees_itself_or_a_later_one(first, kernel, blocks, place):
    net = made(first=first, kernel=kernel, blocks=blocks)
    row, column = divmod(place, SIZE[1])
    x = torch.randn(1, 2, *SIZE, requires_grad=True)
    raw = net(x, torch.randn(1, 2, *SIZE))
    (gradient,) = torch.autograd.grad(raw[:, :, row, column].sum(), x)
    seen = gradient.abs().sum((0, 1)) > 0
    assert not bool(seen.flatten()[place:].any())
    reach = net.config.reach
    rows, columns = torch.meshgrid(*(torch.arange(size) for size in SIZE), indexing="ij")
    assert not bool(seen[(rows < row - reach) | ((columns - column).abs() > reach)].any())
    if row and blocks == 0:  # without blocks, all in the kernel is seen
        assert bool(seen[max(0, row - first // 2) : row, max(0, column - first // 2) : column + first // 2 + 1].all())


@pytest.mark.parametrize("sizes", [{}, {"first": 7, "blocks": 1}, {"first": 3, "kernel": 5, "blocks": 2}])
def test_a_pixels_law_needs_its_reach_alone(sizes):
    net = made(**sizes)
    x, heard = torch.randn(2, 2, *SIZE), torch.randn(2, 2, *SIZE)
    with torch.no_grad():
        whole = net(x, heard)
        for row in range(SIZE[0]):
            for column in range(SIZE[1]):
                later = x.clone()
                later.flatten(2)[:, :, row * SIZE[1] + column :] = 9.0
                found = net.at(later, row, column, heard)
                assert torch.allclose(found, whole[:, :, row, column], atol=1e-5), (row, column)


def test_what_is_heard_reaches_every_pixel_and_none_beside_its_reach():
    net = made()
    heard = torch.randn(1, 2, *SIZE, requires_grad=True)
    raw = net(torch.randn(1, 2, *SIZE), heard)
    (gradient,) = torch.autograd.grad(raw[0, :, 3, 3].sum(), heard)
    assert float(gradient[0, :, 3, 3].abs().sum()) > 0
    assert float(gradient[0, :, 4:].abs().sum()) == 0
    assert made(heard=0)(torch.randn(1, 2, *SIZE)).shape == (1, 3, *SIZE)


def test_sizes_that_do_not_fit_are_refused():
    for sizes in ({"first": 4}, {"kernel": 2}, {"first": 1}):
        with pytest.raises(ValidationError, match="odd kernels"):
            PixelCnnConfig(**sizes)
