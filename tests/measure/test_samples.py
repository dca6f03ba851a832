import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import entropy
from sklearn.neighbors import NearestNeighbors

from latentscape.core.errors import DataError
from latentscape.dist.kernels import Rbf, RbfConfig
from latentscape.measure.estimate import resamples
from latentscape.measure.neighbours import nearest
from latentscape.measure.samples import (
    classifier_score,
    data_mmd,
    frechet,
    frechet_estimate,
    frechet_of_moments,
    kernel_distance,
    nearest_training,
)
from latentscape.measure.twosample import thin


def stream(seed):
    return torch.Generator().manual_seed(seed)


def features(n, f=6, seed=0, shift=0.0):
    mixing = torch.randn(f, f, generator=stream(99))
    return torch.randn(n, f, generator=stream(seed)) @ mixing + shift


def scipy_frechet(a, b):
    """The formula as it stands, with scipy's square root of a matrix."""
    a, b = a.double().numpy(), b.double().numpy()
    covariances = [np.cov(part, rowvar=False) for part in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_frechet_is_scipys(shift):
    a, b = features(300), features(300, seed=1, shift=shift) * 1.2
    assert frechet(a, b) == pytest.approx(scipy_frechet(a, b), rel=1e-9)
    assert frechet_estimate(a, b).value == frechet(a, b)


def test_frechet_of_two_normal_laws_with_one_basis():
    """Covariances that commute: the sum over axes of squared differences of means and of deviations."""
    means, deviations = torch.tensor([[0.0, 1.0, 2.0], [0.5, 1.0, 4.0]]).double(), [[1.0, 2.0, 0.0], [3.0, 0.5, 0.0]]
    turn = torch.linalg.qr(torch.randn(3, 3).double())[0]
    laws = [
        (mean, turn @ torch.diag(torch.tensor(deviation).double() ** 2) @ turn.T)
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    exact = 0.25 + 4 + 4 + 2.25
    assert frechet_of_moments(*laws) == pytest.approx(exact, rel=1e-7)


def test_frechet_is_nothing_on_identity_even_where_covariances_are_singular():
    few = features(40, f=60)
    assert frechet(few, few) == pytest.approx(0, abs=1e-6 * float(few.square().sum(1).mean()))
    twice = torch.cat([features(100), torch.zeros(100, 2)], 1)
    assert frechet(twice, twice) == pytest.approx(0, abs=1e-8)
    assert frechet(twice, twice + 1) == pytest.approx(8, rel=1e-6)


def test_frechet_demands_equal_counts():
    with pytest.raises(DataError, match="100 and 90 items, expected equal counts"):
        frechet(features(100), features(90))
    with pytest.raises(DataError, match="100 and 90 items"):
        frechet_estimate(features(100), features(90))
    with pytest.raises(DataError, match="6 and 5 values"):
        frechet(features(10), features(10, f=5))


def test_frechet_replicates_spread_as_the_distance_does():
    values = [frechet(features(200, f=3, seed=2 * i), features(200, f=3, seed=2 * i + 1, shift=0.3)) for i in range(80)]
    expected, spread = np.mean(values), np.std(values)
    covered, errors = 0, []
    for i in range(0, 80, 4):
        estimate = frechet_estimate(
            features(200, f=3, seed=2 * i), features(200, f=3, seed=2 * i + 1, shift=0.3), replicates=40, seed=i
        )
        assert np.mean(estimate.replicates) == pytest.approx(estimate.value)
        low, high = estimate.interval()
        covered += low <= expected <= high
        errors.append(estimate.error)
    assert covered >= 17  # of 20
    assert np.mean(errors) == pytest.approx(spread, rel=0.3)


def test_kernel_distance_is_a_naive_loop():
    a, b = features(13).double(), features(9, seed=1, shift=0.5).double()

    def kernel(x, y):
        return (float(x @ y) / 6 + 1) ** 3

    within = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    cross = np.mean([kernel(x, y) for x in a for y in b])
    found = kernel_distance(a, b)
    assert found.value == pytest.approx(sum(within) - 2 * cross)
    assert len(found.replicates) == 200


def test_kernel_distances_are_about_zero_for_one_law_and_not_for_two():
    a, b, other = features(400), features(400, seed=1), features(400, seed=2, shift=0.6)
    for measure in (kernel_distance, data_mmd, lambda a, b: kernel_distance(a, b, Rbf(RbfConfig(bandwidth=3.0)))):
        low, high = measure(a, b).interval()
        assert low < 0 < high
        assert measure(a, other).interval()[0] > 0


def test_data_mmd_is_that_of_flat_data_and_of_thinned_rows():
    a, b = torch.rand(50, 1, 4, 4), torch.rand(40, 1, 4, 4)
    flat = kernel_distance(a.flatten(1), b.flatten(1), Rbf(RbfConfig()))
    assert data_mmd(a, b) == flat
    assert data_mmd(a, b, limit=20) == data_mmd(thin(a.flatten(1), 20), thin(b.flatten(1), 20))


def test_classifier_score_is_scipys():
    p = torch.randn(200, 5, generator=stream(3)).mul(2).softmax(1)
    rows = p.double().numpy()
    expected = np.exp(np.mean([entropy(row, rows.mean(0)) for row in rows]))
    found = classifier_score(p)
    assert found.value == pytest.approx(expected, rel=1e-6)
    low, high = found.interval()
    assert low < expected < high
    draws = (rows[indices] for indices in resamples(200)[[7, 9]])
    first, second = (np.exp(np.mean([entropy(row, again.mean(0)) for row in again])) for again in draws)
    assert found.replicates[7] - found.replicates[9] == pytest.approx(first - second, abs=1e-5)


def test_the_interval_of_a_classifier_score_holds_the_score_of_the_law():
    """Fewer different items have a mean that is further from their law's, and so a score below it."""
    weights = torch.arange(1, 11).double() ** 0.3
    weights /= weights.sum()
    rows = 0.9 * torch.eye(10).double() + 0.01
    exact = float((torch.xlogy(rows, rows / (weights @ rows)).sum(1) @ weights).exp())
    held = 0
    for trial in range(50):
        found = classifier_score(rows[torch.multinomial(weights, 200, True, generator=stream(trial))])
        assert np.mean(found.replicates) == pytest.approx(found.value)
        held += found.interval()[0] <= exact <= found.interval()[1]
    assert held >= 38  # of replicates that are left where they fall, 11


def test_classifier_score_reaches_its_bounds():
    assert classifier_score(torch.eye(7)).value == pytest.approx(7)
    assert classifier_score(torch.full((9, 4), 0.25)).value == pytest.approx(1)
    assert classifier_score(torch.eye(7)[:1].repeat(5, 1)).value == pytest.approx(1)


@pytest.mark.parametrize("rows", [torch.full((3, 2), 0.7), torch.tensor([[1.5, -0.5], [0.5, 0.5]])])
def test_classifier_score_refuses_what_are_no_probabilities(rows):
    with pytest.raises(DataError, match="expected probabilities"):
        classifier_score(rows)


@pytest.mark.parametrize("own", [False, True])
def test_nearest_is_scikit_learns(own, monkeypatch):
    monkeypatch.setattr("latentscape.measure.neighbours._CELLS", 1000)  # many blocks
    points = torch.rand(150, 5, generator=stream(4)) + 100
    queries = points if own else torch.rand(40, 5, generator=stream(5)) + 100
    tree = NearestNeighbors(n_neighbors=2 + own, algorithm="brute").fit(points.double().numpy())
    expected = tree.kneighbors(queries.double().numpy())[0][:, own:]
    np.testing.assert_allclose(nearest(queries, points, 2, own=own), expected, rtol=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_neighbours_are_found_in_clusters_far_apart(own):
    places = torch.randn(40, 8, generator=stream(0)) * 3000
    points = (places[:, None] + torch.randn(40, 50, 8, generator=stream(1))).flatten(0, 1)
    queries = points if own else points + 0.1 * torch.randn(2000, 8, generator=stream(2))
    tree = NearestNeighbors(n_neighbors=3 + own, algorithm="kd_tree").fit(points.double().numpy())
    expected = tree.kneighbors(queries.double().numpy())[0][:, own:]
    np.testing.assert_allclose(nearest(queries, points, 3, own=own), expected, rtol=1e-6)


def test_memorised_samples_are_found_out():
    train, held, fresh = (torch.rand(n, 2, 8, generator=stream(n)) for n in (500, 60, 61))
    copies = train[:50] + 1e-6
    memorised = nearest_training(copies, train, held, unit="dB")
    assert memorised["nearest_ratio"].value < 1e-4
    assert memorised["nearest_samples"].value == pytest.approx(4e-6, rel=0.1)
    assert memorised["nearest_samples"].unit == "dB"
    novel = nearest_training(fresh, train, held)
    low, high = novel["nearest_ratio"].interval()
    assert low < 1 < high
    ratio = novel["nearest_samples"].value / novel["nearest_held"].value
    assert novel["nearest_ratio"].value == pytest.approx(ratio)


def test_a_resample_of_training_items_alone_has_no_ratio():
    train, fresh = (torch.rand(n, 4, generator=stream(n)) for n in (20, 21))
    held = torch.cat([train[:8], fresh[:2]])  # one resample in nine draws neither of the two that are unseen
    ratio = nearest_training(fresh, train, held)["nearest_ratio"]
    assert 150 < len(ratio.replicates) < 200
    assert np.isfinite(ratio.replicates).all()


def test_nearest_training_refuses():
    train = torch.rand(20, 4)
    with pytest.raises(DataError, match="all training items"):
        nearest_training(train, train, train[:3])
    with pytest.raises(DataError, match="of one shape"):
        nearest_training(torch.rand(3, 5), train, train)
    with pytest.raises(DataError, match="NaN or infinity"):
        nearest_training(train / 0, train, train)
