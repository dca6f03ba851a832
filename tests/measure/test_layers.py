"""What layers do: known rates, a deaf output, and gaps that sum to the gap of the bound."""

import pytest
import torch

from latentscape.core.errors import DataError
from latentscape.measure.latent import examine
from latentscape.measure.layers import diagnose, look
from latentscape.models.hierarchy import Hierarchy, HierarchyConfig
from latentscape.nets.levels import DenseLevelsConfig


def made(recognition="ladder"):
    config = HierarchyConfig(latents=(3, 2), levels=DenseLevelsConfig(widths=(6, 8)), recognition=recognition)
    return Hierarchy(config, (5,)).eval()


def batches(shift=0.0):
    torch.manual_seed(3)
    return [(torch.randn(40, 5) + shift, {}), (torch.randn(24, 5) + shift, {})]


@pytest.mark.parametrize("recognition", ["ladder", "chained"])
def test_rates_are_those_of_the_whole(recognition):
    model = made(recognition)
    seen, whole = look(model, batches()), examine(model, batches())
    if recognition == "ladder":  # of a chain, rates below the top are samples, and these are others
        assert sum(seen.rate) == pytest.approx(whole.rate, rel=0.05)
    assert seen.distortion == pytest.approx(whole.distortion, rel=0.05)
    assert seen.latents == (3, 2)
    assert all(0 <= active <= latents for active, latents in zip(seen.active, seen.latents, strict=True))


def test_a_layer_that_nobody_hears_changes_nothing():
    model = made()
    with torch.no_grad():
        model.stages[1].absorb.weight.zero_()
    top, bottom = look(model, batches()).change
    assert bottom == pytest.approx(0, abs=1e-6)
    assert top > 0.01


def test_change_is_in_deviations_of_the_data():
    model = made()
    with torch.no_grad():  # the output is 3 z_2 in one value of five, and z_2 is N(0, 1)
        for parameter in (
            *model.stages[1].parameters(),
            *model.write.parameters(),
            *model.stages[0].blocks.parameters(),
        ):
            parameter.zero_()
    x = 10 * torch.randn(500, 5)
    assert look(model, [(x, {})]).change == pytest.approx((0, 0), abs=1e-6)

    class Plain(Hierarchy):
        def decode(self, z, context={}):
            return self.likelihood(torch.cat([30 * z[1][:, :1], torch.zeros(len(z[0]), 4)], 1))

    plain = Plain(model.config, (5,)).eval()
    plain.load_state_dict(model.state_dict())
    top, bottom = look(plain, [(x, {})]).change
    assert top == pytest.approx(0, abs=1e-6)
    # E (30 z' - 30 mean)^2 = 900 (1 + 0), over five values of variance 100
    assert bottom == pytest.approx((900 / 5 / 100) ** 0.5, rel=0.1)


def test_gaps_are_the_gap_of_the_bound():
    model = made()
    numbers = diagnose(model, batches(), batches(2.0))
    seen, unseen = look(model, batches()), look(model, batches(2.0))
    whole = (unseen.distortion + sum(unseen.rate)) - (seen.distortion + sum(seen.rate))
    assert numbers["gap_distortion"] + numbers["gap_1"] + numbers["gap_2"] == pytest.approx(whole, rel=1e-6)
    assert numbers["gap_distortion"] > 1
    assert numbers["train_rate_2"] == seen.rate[1]
    assert numbers["change_1"] == unseen.change[0]
    with pytest.raises(DataError, match="no batches"):
        look(model, [])
