import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentscape.instrument.windows import Joiner, count_windows, cut


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 60), st.lists(st.integers(1, 7), min_size=1, max_size=20))
def test_what_was_cut_is_joined_exactly_however_it_arrives(length, step, frames, sizes):
    step = min(step, length)
    features = torch.randn(3, frames)
    filling = torch.arange(3.0)
    windows = cut(features, length, step, filling)
    assert windows.shape == (count_windows(frames, length, step), *((3,) if length == 1 else (3, length)))
    joiner, pieces, low = Joiner(length, step), [], 0
    for size in sizes * 60:
        if low < len(windows):
            pieces.append(joiner.push(windows[low : low + size]))
            low += size
    rest = joiner.flush()
    joined = torch.cat(pieces + ([] if rest is None else [rest]), 1)
    torch.testing.assert_close(joined[:, :frames], features)
    torch.testing.assert_close(joined[:, frames:], filling[:, None].expand(-1, joined.shape[1] - frames))
    assert joined.shape[1] == (len(windows) - 1) * step + length


def test_a_fade_goes_from_one_window_to_the_next():
    windows = torch.stack((torch.zeros(1, 8), torch.ones(1, 8)))
    joiner = Joiner(8, 4)
    joined = torch.cat((joiner.push(windows), joiner.flush()), 1)[0]
    place = (torch.arange(4) + 0.5) / 8
    expected = torch.sin(torch.pi * place) ** 2  # sin^2 over sin^2 + cos^2
    torch.testing.assert_close(joined, torch.cat((torch.zeros(4), expected, torch.ones(4))))
    apart = Joiner(8, 4)  # the fade reaches over from push to push
    pieces = [apart.push(windows[:1]), apart.push(windows[1:]), apart.flush()]
    torch.testing.assert_close(torch.cat(pieces, 1)[0], joined)


@pytest.mark.parametrize("kind", [torch.int64, torch.float32])
def test_one_frame_windows_are_the_frames(kind):
    features = torch.arange(12).reshape(3, 4).to(kind)
    windows = cut(features, 1, 1, features[:, 0])
    assert torch.equal(windows, features.T)
    assert torch.equal(Joiner(1, 1).push(windows), features)
