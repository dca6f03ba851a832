"""A law of hidden values: a mixture of logistics is asked of those alone, and says the same."""

import pytest
import torch

from latentscape.dist.logistic import DiscretisedLogistics, LogisticMixture, LogisticMixtureConfig
from latentscape.dist.masked import Masked


def law(items: int = 4) -> tuple[LogisticMixture, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    likelihood = LogisticMixture(LogisticMixtureConfig(components=3), (2, 5, 6))
    raw = torch.randn(items, 3 * 3 * 60, requires_grad=True)
    return likelihood, raw, torch.randint(0, 256, (items, 2, 5, 6)) / 255


@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (60, 60, 60, 60), (7, 0, 60, 13)], ids=str)
def test_only_hidden_values_are_asked_for(hidden, monkeypatch):
    likelihood, raw, x = law()
    order = torch.rand(4, 60).argsort(1).argsort(1)
    seen = (order >= torch.tensor(hidden)[:, None]).reshape(x.shape)
    asked: list[int] = []
    whole = DiscretisedLogistics.log_prob
    monkeypatch.setattr(
        DiscretisedLogistics, "log_prob", lambda self, value: asked.append(value.numel()) or whole(self, value)
    )
    found = Masked(likelihood(raw), seen, x).log_prob(x)
    expected = likelihood(raw).parts().log_prob(x).masked_fill(seen, 0).flatten(1).sum(1)
    assert asked[0] == 4 * max(hidden)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    slopes, true = (torch.autograd.grad(one.sum(), raw)[0] for one in (found, expected))
    torch.testing.assert_close(slopes, true, atol=1e-5, rtol=1e-5)


def test_a_value_of_another_shape_is_broadcast_as_ever():
    likelihood, raw, x = law()
    seen = torch.rand(x.shape) < 0.5
    p = Masked(likelihood(raw), seen, x)
    torch.testing.assert_close(p.log_prob(x.expand(3, *x.shape))[1], p.log_prob(x), atol=1e-4, rtol=1e-5)
