import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from latentscape.core.errors import ConfigError, DataError, LikelihoodError
from latentscape.dist.likelihoods import GaussianConfig
from latentscape.models.autoencoder import Autoencoder, AutoencoderConfig
from latentscape.models.bounds import iw_bound
from latentscape.models.linear import Moments, Ppca, PpcaConfig, linear_marginal
from latentscape.nets.mlp import MlpConfig


def data(n=3000, width=12, d=3):
    loadings = torch.randn(d, width) * torch.tensor([[3.0], [2.0], [1.0]])[:d]
    return torch.randn(n, d) @ loadings + 0.5 * torch.randn(n, width) + 5


def test_closed_form_is_sklearns_and_scipys():
    x = data()
    model = Ppca(PpcaConfig(latent=3), (12,)).fit([x])
    oracle = PCA(n_components=3).fit(x.double().numpy())
    unbiased = 3000 / 2999  # sklearn divides the covariance by N - 1, the maximum of the likelihood by N
    assert float((2 * model.log_noise.detach()).exp()) * unbiased == pytest.approx(oracle.noise_variance_, rel=1e-3)
    assert float(model.log_likelihood(x).detach().mean()) == pytest.approx(oracle.score(x.double().numpy()), abs=1e-4)
    w = model.loadings.detach().double().numpy()
    covariance = w @ w.T + float((2 * model.log_noise.detach()).exp()) * np.eye(12)
    expected = multivariate_normal(model.mean.detach().double().numpy(), covariance).logpdf(x[:50].double().numpy())
    assert np.allclose(model.log_likelihood(x[:50]).detach(), expected, atol=1e-4)
    assert np.allclose(linear_marginal(model).log_prob(x[:50].double()), expected, atol=1e-3)


def test_no_neighbour_is_more_likely():
    x = data(500)
    model = Ppca(PpcaConfig(latent=2), (12,)).fit([x])
    best = model.log_likelihood(x).mean()
    gradient = torch.autograd.grad(best, list(model.parameters()))
    assert max(float(g.abs().max()) for g in gradient) < 1e-3
    for parameter in model.parameters():
        with torch.no_grad():
            old = parameter.clone()
            parameter.add_(0.05 * torch.randn_like(parameter))
            assert float(model.log_likelihood(x).mean()) < float(best.detach())
            parameter.copy_(old)


def test_parts_give_the_whole():
    x = data(997)
    whole, parts = Moments(12), Moments(12)
    whole.add(x)
    for part in x.split([1, 500, 3, 493]):
        parts.add(part)
    assert parts.count == 997
    assert torch.allclose(whole.covariance, parts.covariance)
    assert torch.allclose(whole.covariance, torch.cov(x.double().T, correction=0))
    a, b = (Ppca(PpcaConfig(latent=3), (12,)).fit(batches) for batches in ([x], iter(x.split(100))))
    assert torch.allclose(a.loadings, b.loadings, atol=1e-4)


def test_posterior_is_bayes():
    """log p(x) = log p(x | z) + log p(z) - log p(z | x), for every z: so any number of samples gives the likelihood."""
    x = data(200).reshape(200, 4, 3)
    model = Ppca(PpcaConfig(latent=3), (4, 3)).fit([x])
    with torch.no_grad():
        terms = model.terms(x, samples=5, exact=False)
        exact = model.log_likelihood(x)
    assert torch.allclose(-(terms.distortion + terms.rate[0]), exact.float().expand(5, -1), atol=2e-3)
    assert torch.allclose(iw_bound(model, x, samples=7), exact, atol=2e-3)


def test_autocast_around_it_changes_nothing():
    x = data(200)
    model = Ppca(PpcaConfig(latent=3), (12,)).fit([x])
    found = []
    for on in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            found.append(model.terms(x))
    assert torch.equal(found[0].distortion, found[1].distortion)
    assert torch.equal(found[0].rate[0], found[1].rate[0])


def test_orthogonal_loadings_make_a_diagonal_posterior():
    model = Ppca(PpcaConfig(latent=3), (12,)).fit([data()])
    covariance = model.posterior(torch.zeros(1, 12)).covariance_matrix[0].detach()
    assert torch.allclose(covariance, covariance.diag().diag(), atol=1e-5)


@pytest.mark.parametrize("scale", ["scalar", "feature", "fixed", "optimal"])
def test_marginal_of_a_linear_autoencoder(scale):
    """Against the integral over z by brute force (one latent)."""
    linear = MlpConfig(widths=())
    config = AutoencoderConfig(latent=1, encoder=linear, decoder=linear, likelihood=GaussianConfig(scale=scale))
    model = Autoencoder(config, (4,), {}, (torch.randn(4), torch.rand(4) + 0.5)).eval()
    x = torch.randn(3, 4)
    z = torch.linspace(-8, 8, 4001)[:, None]
    with torch.no_grad():
        joint = model.decode((z,)).log_prob(x[:, None]) + model.prior().log_prob(z)
        expected = joint.double().logsumexp(1) + torch.tensor(16 / 4000).log()
    assert torch.allclose(linear_marginal(model).log_prob(x.double()), expected, atol=1e-3)


def test_refusals():
    with pytest.raises(LikelihoodError, match="not linear"):
        linear_marginal(Autoencoder(AutoencoderConfig(latent=2), (4,)))
    emits = AutoencoderConfig(latent=2, decoder=MlpConfig(widths=()), likelihood=GaussianConfig(scale="item"))
    with pytest.raises(LikelihoodError, match="noise depends on z"):
        linear_marginal(Autoencoder(emits, (4,)))
    with pytest.raises(ConfigError, match=r"model\.latent"):
        Ppca(PpcaConfig(latent=4), (4,))
    with pytest.raises(DataError, match="2 items"):
        Ppca(PpcaConfig(latent=2), (4,)).fit([torch.randn(2, 4), torch.randn(0, 4)])
    with pytest.raises(DataError, match="no noise is left"):
        Ppca(PpcaConfig(latent=2), (4,)).fit([torch.randn(50, 2) @ torch.randn(2, 4)])
    with pytest.raises(DataError, match="NaN"):
        Ppca(PpcaConfig(latent=2), (4,)).fit([torch.full((9, 4), torch.nan)])
