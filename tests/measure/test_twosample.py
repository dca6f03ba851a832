from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics.pairwise import polynomial_kernel

from latentscape.core.errors import DataError
from latentscape.dist.kernels import Imq, ImqConfig, Rbf, RbfConfig, mmd2, squared_distances
from latentscape.measure.estimate import counts
from latentscape.measure.match import mmd_test
from latentscape.measure.twosample import (
    mmd2_estimate,
    mmd2_permuted,
    mmd2_weighted,
    moments,
    polynomial_gram,
    radial_gram,
    thin,
)

RBF, IMQ = Rbf(RbfConfig(bandwidth=1.5)), Imq(ImqConfig())
MEDIAN = Rbf(RbfConfig())


def naive(gram, n, first, second):
    """The statistic of drawn indices, pair by pair; a point is never paired with its own copy."""

    def within(index):
        terms = [gram[i, j] for i in index for j in index if i != j]
        return sum(terms) / len(terms)

    cross = np.mean([[gram[i, n + j] for j in second] for i in first])
    return within(first) + within([n + j for j in second]) - 2 * cross


@pytest.mark.parametrize("kernel", [RBF, IMQ, MEDIAN])
def test_grams_and_the_statistic_are_those_of_the_kernels(kernel):
    a, b = torch.randn(70, 3).double(), torch.randn(50, 3).double() + 0.3
    pooled = torch.cat([a, b])
    gram = radial_gram(pooled, kernel)
    torch.testing.assert_close(gram, kernel(squared_distances(pooled), 3))
    assert mmd2_estimate(gram, 70, replicates=0).value == pytest.approx(float(mmd2(a, b, kernel)), abs=1e-12)


def test_the_polynomial_gram_is_scikit_learns():
    x = torch.randn(9, 4).double()
    expected = polynomial_kernel(x, degree=3, gamma=0.25, coef0=1)
    np.testing.assert_allclose(polynomial_gram(x), expected, rtol=1e-12)


def test_replicates_are_the_statistic_of_drawn_points():
    gram = radial_gram(torch.randn(11, 2).double(), RBF)
    first, second = [0, 0, 3, 5, 1, 1], [4, 2, 2, 0, 3]
    w, v = (torch.from_numpy(np.bincount(index, minlength=size)).double() for index, size in ((first, 6), (second, 5)))
    found = mmd2_weighted(gram, torch.stack([w, torch.ones(6)]), torch.stack([v, torch.ones(5)]))
    assert found[0] == pytest.approx(naive(gram.numpy(), 6, first, second))
    assert found[1] == pytest.approx(naive(gram.numpy(), 6, range(6), range(5)))


def test_permutations_are_the_statistic_of_dealt_points():
    gram = radial_gram(torch.randn(9, 2).double(), IMQ)
    found = mmd2_permuted(gram, 4, 300)
    dealt = set()
    for hand in combinations(range(9), 4):
        order = [*hand, *(i for i in range(9) if i not in hand)]
        dealt.add(round(naive(gram[order][:, order].numpy(), 4, range(4), range(5)), 10))
    assert {round(float(value), 10) for value in found} <= dealt
    assert len({round(float(value), 10) for value in found}) > 60  # of 126 hands
    assert torch.equal(found, mmd2_permuted(gram, 4, 300))
    assert not torch.equal(found, mmd2_permuted(gram, 4, 300, seed=1))


def test_p_values_are_uniform_where_both_laws_agree():
    stream = torch.Generator().manual_seed(5)
    found = []
    for repeat in range(120):
        z, y = torch.randn(2, 60, 4, generator=stream)
        found.append(mmd_test(z, y, IMQ, nulls=99, replicates=0, seed=repeat)["mmd_p"].value)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    assert min(found) >= 0.01


def test_another_law_is_found_out():
    z, y = torch.randn(300, 4) * 1.3, torch.randn(300, 4)
    found = mmd_test(z, y, IMQ)
    assert set(found) == {"mmd", "mmd_null", "mmd_p"}
    assert found["mmd_p"].value == pytest.approx(1 / 201)
    low, _ = found["mmd"].interval()
    assert low > 0
    assert found["mmd"].value > found["mmd_null"].value > 0
    assert mmd_test(z, y, IMQ) == found


def test_a_constant_code_has_a_p_value():
    found = mmd_test(torch.zeros(40, 2), torch.zeros(40, 2), RBF)
    assert found["mmd"].value == 0
    assert found["mmd_p"].value == 1


def test_the_statistic_is_unbiased_and_its_bootstrap_centred():
    """Two normal laws d apart, RBF of width s: MMD^2 = 2 (s^2 / (s^2 + 2))^(f / 2) (1 - exp(-d^2 / (2 s^2 + 4)))."""
    stream, shift, width = torch.Generator().manual_seed(6), 0.5, 1.5
    exact = 2 * (width**2 / (width**2 + 2)) * (1 - np.exp(-(shift**2) / (2 * width**2 + 4)))
    values, covered = [], 0
    for repeat in range(150):
        a, b = torch.randn(2, 80, 2, generator=stream).double()
        a[:, 0] += shift
        estimate = mmd2_estimate(radial_gram(torch.cat([a, b]), RBF), 80, replicates=100, seed=repeat)
        values.append(estimate.value)
        low, high = estimate.interval(0.9)
        covered += low <= exact <= high
        assert np.mean(estimate.replicates) == pytest.approx(estimate.value, abs=4 * estimate.error / 10)
    assert np.mean(values) == pytest.approx(exact, abs=3 * np.std(values) / 150**0.5)
    assert min(values) < 0
    assert covered / 150 > 0.84


def test_replicates_of_few_points_are_those_that_have_pairs():
    """Of three points one resample in nine is a single point again and again, which has no pair to compare."""
    estimate = mmd2_estimate(radial_gram(torch.randn(7, 2).double(), RBF), 3, replicates=200)
    assert 150 < len(estimate.replicates) < 200
    assert np.isfinite(estimate.replicates).all()
    assert np.isfinite(estimate.interval()).all()


def test_moments_are_numpys():
    rows, weights = torch.randn(40, 3).double(), counts(40, 1)[0]
    for weight in (None, weights):
        mean, covariance = moments(rows, weight)
        repeats = None if weight is None else weight.numpy().astype(int)
        np.testing.assert_allclose(mean, np.average(rows, axis=0, weights=repeats))
        np.testing.assert_allclose(covariance, np.cov(rows.T, fweights=repeats))


def test_thin_takes_evenly_spaced_rows():
    rows = torch.arange(10.0)[:, None]
    assert thin(rows, 10) is rows
    assert thin(rows, 4)[:, 0].tolist() == [0, 2, 5, 7]
    z, y = torch.randn(30, 2), torch.randn(50, 2)
    assert mmd_test(z, y, RBF, limit=20)["mmd"] == mmd_test(thin(z, 20), thin(y, 20), RBF)["mmd"]


def test_refusals():
    good = torch.randn(5, 2)
    with pytest.raises(DataError, match=r"\[1, 2\], expected at least 2 rows"):
        mmd_test(good[:1], good, RBF)
    with pytest.raises(DataError, match="2 and 3 values"):
        mmd_test(good, torch.randn(5, 3), RBF)
    with pytest.raises(DataError, match="NaN or infinity"):
        mmd_test(good, good / 0 * 0, RBF)
