import pytest
import torch
from torch import nn

from latentscape.core.errors import ConfigError
from latentscape.dist.flow import Flow, FlowDistribution, FlowPriorConfig
from latentscape.dist.priors import build_prior
from latentscape.laws.conditional import check_distribution, check_storage, check_transport


def bent(dim=4, layers=4, width=8):
    """A flow far from the identity."""
    flow = Flow(dim, layers, width)
    for coupling in flow.couplings:
        nn.init.normal_(coupling.net[-1].weight, 0, 0.2)
        nn.init.normal_(coupling.net[-1].bias, 0, 0.2)
    return flow


@pytest.mark.parametrize(("dim", "layers"), [(2, 1), (3, 2), (5, 5), (40, 6)])
def test_inverse_and_change_of_variables(dim, layers):
    check_transport(bent(dim, layers).double(), 2 * torch.randn(3, dim, dtype=torch.float64))


def test_law_sees_a_wrong_determinant_and_a_wrong_inverse():
    class Forgetful(Flow):
        def forward(self, z):
            return super().forward(z)[0], z.new_zeros(len(z))

    class Askew(Flow):
        def inverse(self, e):
            return super().inverse(e) + 1e-3

    for wrong, what in ((Forgetful, "log-determinant"), (Askew, "inverse")):
        flow = wrong(3, 2, 4).double()
        flow.load_state_dict(bent(3, 2, 4).state_dict())
        with pytest.raises(AssertionError, match=what):
            check_transport(flow, torch.randn(2, 3, dtype=torch.float64))


def test_begins_near_the_identity_and_moves_every_coordinate():
    flow, z = Flow(9, 4, 16), torch.randn(50, 9)
    e, log_det = flow(z)
    assert float((e - z).abs().max().detach()) < 0.05
    assert float(log_det.abs().max().detach()) < 0.05
    for layers in (2, 3):
        moved = (bent(9, layers)(z)[0] - z).abs().amax(0)
        assert float(moved.min().detach()) > 0.05  # a coordinate that no layer moves would keep the base's law


def test_log_scales_are_bounded():
    flow = bent(4, 3)
    for coupling in flow.couplings:
        nn.init.constant_(coupling.net[-1].bias, 100.0)
    assert float(flow(torch.randn(20, 4))[1].max().detach()) <= 3 * 2 * 2.0 + 1e-4


def test_samples_agree_with_density_and_carry_gradients():
    law = FlowDistribution(bent(3, 3))
    check_distribution(law)
    draws = law.rsample((5, 2))
    assert draws.shape == (5, 2, 3)
    assert law.log_prob(draws).shape == (5, 2)
    draws.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in law.flow.parameters())


def test_temperature_scales_the_base():
    flow = bent(3)
    law = FlowDistribution(flow)
    with torch.no_grad():
        assert torch.allclose(law.sample_at(0.0, (4,)), flow.inverse(torch.zeros(4, 3)))
        noise, _ = flow(law.sample_at(0.3, (5000,)))
    assert float(noise.std()) == pytest.approx(0.3, abs=0.01)


def test_moments_are_estimated_alike_every_time():
    law = FlowDistribution(bent(3))
    with torch.no_grad():
        draws = law.sample((50_000,))
        torch.manual_seed(5)
        mean, variance = law.mean, law.variance
        assert torch.equal(law.mean, mean)
    assert torch.allclose(mean, draws.mean(0), atol=0.05 * float(draws.std()))
    assert torch.allclose(variance, draws.var(0), rtol=0.15)


def test_storage_carries_the_permutations():
    flow = bent(6, 5)
    fresh = Flow(6, 5, 8)
    for coupling in fresh.couplings:
        coupling.order.copy_(torch.arange(6))
    check_storage(flow, fresh)
    z = torch.randn(3, 6)
    assert torch.equal(flow(z)[0], fresh(z)[0])


def test_one_dimension_is_refused():
    with pytest.raises(ConfigError, match="at least 2"):
        build_prior(FlowPriorConfig(), 1)


def test_parameters_of_the_density_are_single_precision_under_autocast():
    law, z = FlowDistribution(bent(4)), torch.randn(6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert law.log_prob(z).dtype == torch.float32
