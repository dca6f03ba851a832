import torch

from latentscape.core.limits import held_below


def test_values_are_held_below_a_bound_with_a_slope_everywhere():
    values = torch.tensor([-50.0, 0.0, 1.9, 2.0, 2.5, 9.0], requires_grad=True)
    held = held_below(values, 2.0)
    torch.testing.assert_close(held[:4], values[:4])
    torch.testing.assert_close(held[4:], 3 - torch.exp(2 - values[4:]))
    (slope,) = torch.autograd.grad(held.sum(), values)
    assert torch.equal(slope[:3], torch.ones(3))
    assert (slope > 0).all()
    assert held_below(torch.tensor([1e30]), 2.0).item() == 3.0
