import warnings

import pytest
import torch
from scipy.stats import ks_2samp
from sklearn.mixture import GaussianMixture

from latentscape.core.config import Record
from latentscape.core.errors import DataError, StorageError
from latentscape.core.storage import save_tensors
from latentscape.models.second_stage import FlowStageConfig, MixtureStageConfig, SecondStage, fit_second_stage

CONFIGS: dict[str, Record] = {
    "mixture": MixtureStageConfig(components=4),
    "flow": FlowStageConfig(steps=600, layers=4, width=32, batch_size=128),
}


def codes(n, seed=0):
    """A bent, shifted, stretched law: a banana beside a blob, far from any normal."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(n, 3, generator=generator)
    bent = torch.stack([u[:, 0], u[:, 1] * 0.3 + u[:, 0] ** 2, u[:, 2]], 1)
    blob = torch.tensor([4.0, -2.0, 1.0]) + 0.3 * u
    which = torch.rand(n, 1, generator=generator) < 0.3
    return torch.where(which, blob, bent) * torch.tensor([1.0, 20.0, 0.05]) + torch.tensor([5.0, -100.0, 0.0])


def normal_log_density(z, train):
    law = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    return law.log_prob(z)


@pytest.fixture(scope="module", params=CONFIGS)
def stage(request):
    torch.set_num_threads(1)
    return fit_second_stage(CONFIGS[request.param], codes(4000), seed=3)


def test_held_codes_are_likelier_than_under_one_normal(stage):
    held = codes(1000, 1)
    assert float(stage.log_prob(held).mean()) > float(normal_log_density(held, codes(4000)).mean()) + 0.7


def test_samples_have_the_law_of_the_codes(stage):
    draws, held = stage.sample(1000, 0), codes(1000, 1)
    along = torch.tensor([[1.0, 0, 0], [0, 0.05, 0], [0, 0, 20.0], [1.0, 0.05, 20.0]]).T
    allowed = {"mixture": 0.08, "flow": 0.15}[stage.config.kind]  # one normal: 0.17; the flow has been trained briefly
    for one, other in zip((draws @ along).T, (held @ along).T, strict=True):
        assert ks_2samp(one.numpy(), other.numpy()).statistic < allowed


def test_density_integrates_to_one_over_its_draws(stage):
    """E over a wider normal of p / normal is 1; in the units of the codes."""
    train = codes(4000)
    wide = torch.distributions.MultivariateNormal(train.mean(0), 3 * train.T.cov())
    z = wide.sample((40_000,))
    with torch.no_grad():
        weight = (stage.log_prob(z) - wide.log_prob(z)).double().exp()
    assert float(weight.mean()) == pytest.approx(1.0, abs=5 * float(weight.std()) / 200)


def test_a_function_of_the_seed_that_leaves_the_world_alone(stage):
    state = torch.get_rng_state()
    small = stage.config.model_copy(update={"steps": 40}) if stage.config.kind == "flow" else stage.config
    one, again, other = (fit_second_stage(small, codes(300), seed) for seed in (1, 1, 2))
    assert torch.equal(one.sample(5, 7), again.sample(5, 7))
    assert not torch.equal(one.sample(5, 7), one.sample(5, 8))
    if stage.config.kind == "flow":
        assert not torch.equal(one.sample(5, 7), other.sample(5, 7))
    assert torch.equal(torch.get_rng_state(), state)


def test_kept_to_the_bit(stage, tmp_path):
    path = tmp_path / "stage.safetensors"
    stage.save(path)
    loaded = SecondStage.load(path)
    assert loaded.config == stage.config
    assert torch.equal(loaded.sample(9, 1), stage.sample(9, 1))
    assert torch.equal(loaded.log_prob(codes(9)), stage.log_prob(codes(9)))


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "stage.safetensors"
    for facts in (
        {},
        {"config": "{", "dim": "3"},
        {"config": '{"kind": "tree"}', "dim": "3"},
        {"config": '{"kind": "flow"}', "dim": "1"},
    ):
        save_tensors(path, {"mean": torch.zeros(3)}, facts)
        with pytest.raises(StorageError, match="describes no second stage"):
            SecondStage.load(path)
    save_tensors(path, {"mean": torch.zeros(3)}, {"config": '{"kind": "mixture"}', "dim": "3"})
    with pytest.raises(StorageError, match="is missing"):
        SecondStage.load(path)


def test_mixture_equals_scikit_learns():
    train = codes(1000)
    stage = fit_second_stage(CONFIGS["mixture"], train, 0)
    u = ((train - train.mean(0)) / train.std(0)).double().numpy()
    oracle = GaussianMixture(4, reg_covar=0.0)
    oracle.weights_, oracle.means_ = stage.log_weights.exp().double().numpy(), stage.means.double().numpy()
    covariances = (stage.roots @ stage.roots.mT).double()
    oracle.precisions_cholesky_ = torch.linalg.cholesky(covariances.inverse()).numpy()
    expected = torch.from_numpy(oracle.score_samples(u)) - train.double().std(0).log().sum()
    assert torch.allclose(stage.log_prob(train).double(), expected, atol=1e-2)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_coordinate_without_variance_stays_where_it_is(name):
    train = codes(200)
    train[:, 1] = 3.0
    config = CONFIGS[name] if name == "mixture" else FlowStageConfig(steps=30, width=8)
    stage = fit_second_stage(config, train, 0)
    assert torch.allclose(stage.sample(50, 0)[:, 1], torch.tensor(3.0), atol=1e-3)
    assert stage.log_prob(train).isfinite().all()


def test_a_flow_stops_when_held_codes_no_longer_gain(monkeypatch):
    taken = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, *a, **k: (taken.append(1), step(self, *a, **k))[1])
    train = torch.randn(40, 8)  # so few that a flow soon knows them by heart
    fit_second_stage(FlowStageConfig(steps=900, layers=4, width=64, patience=2), train, 0)
    assert len(taken) < 600


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(DataError, match="got 19 codes"):
        fit_second_stage(MixtureStageConfig(), torch.randn(19, 3))
    with pytest.raises(DataError, match="NaN or infinite"):
        fit_second_stage(MixtureStageConfig(), torch.full((30, 3), torch.nan))
    with pytest.raises(DataError, match="50 components got 30"):
        fit_second_stage(MixtureStageConfig(components=50), torch.randn(30, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_second_stage(MixtureStageConfig(iterations=1), codes(200))
