import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.tree import DecisionTreeClassifier

from latentscape.core.errors import DataError
from latentscape.measure.disentanglement import disentanglement

NAMES = ("mig", "dci_disentanglement", "dci_completeness", "dci_informativeness", "sap", "factor_vae")


def stream(seed=0):
    return np.random.default_rng(seed)


def known(n=300, m=4, seed=0):
    return stream(seed).random((n, m))


def numbers(codes, factors, **options):
    columns = factors if isinstance(factors, dict) else {f"v{k}": column for k, column in enumerate(factors.T)}
    columns = {name: list(column) for name, column in columns.items()}
    found = disentanglement(torch.from_numpy(np.asarray(codes, dtype=np.float64)), columns, **options)
    assert tuple(found) == NAMES
    assert all(number.unit == "" for number in found.values())
    return {name: number.value for name, number in found.items()}


def rotated(codes, seed=3):
    q, _ = np.linalg.qr(stream(seed).standard_normal((codes.shape[1],) * 2))
    return codes @ q


def test_aligned_codes_have_the_best_scores():
    v = known()
    found = numbers(np.c_[-3 * v[:, 2], v[:, 0] + 5, 0.1 * v[:, 3], v[:, 1]], v)
    assert found["mig"] > 0.9  # less what finite samples seem to share
    assert found["dci_disentanglement"] > 0.97
    assert found["dci_completeness"] > 0.97
    assert found["dci_informativeness"] > 0.99
    assert found["sap"] > 0.98
    assert found["factor_vae"] == 1.0


def test_a_bent_scale_costs_only_what_looks_at_lines():
    v = known()
    bent = np.exp(4 * v)
    straight, curved = numbers(v, v), numbers(bent, v)
    assert curved["mig"] == pytest.approx(straight["mig"], abs=1e-9)
    assert curved["dci_disentanglement"] > 0.95
    assert curved["sap"] < 0.9 * straight["sap"]


def test_rotated_codes_are_informative_and_entangled():
    v = known()
    aligned, turned = numbers(v, v), numbers(rotated(v), v)
    assert turned["dci_informativeness"] > 0.75
    for name in ("mig", "dci_disentanglement", "dci_completeness", "sap"):
        assert turned[name] < 0.6 * aligned[name], name
    assert turned["factor_vae"] < aligned["factor_vae"]


def test_noise_knows_nothing():
    v = known()
    found = numbers(stream(9).standard_normal((300, 5)), v)
    assert found["mig"] < 0.05
    assert found["dci_informativeness"] < 0.05
    assert found["sap"] < 0.05
    assert found["factor_vae"] < 0.5  # chance is 1/4
    assert found["dci_disentanglement"] < 0.2


def test_two_latents_of_one_factor_are_disentangled_but_not_complete():
    v = known(m=2)
    found = numbers(np.c_[v[:, 0], v[:, 0] + 1e-3 * stream(1).standard_normal(300), v[:, 1]], v)
    assert found["dci_disentanglement"] > 0.95
    # one of the two factors is served by two latents about equally, or by either
    assert found["dci_completeness"] < 0.95
    assert found["mig"] == pytest.approx(0.5, abs=0.1)
    assert found["sap"] == pytest.approx(0.5, abs=0.05)


def test_classes():
    words = stream(5).choice(["bell", "reed", "string"], 300)
    number = np.select([words == "bell", words == "reed"], [0.0, 2.0], 1.0)
    other = stream(6).random(300)
    found = numbers(np.c_[number + 0.01 * stream(7).standard_normal(300), other], {"family": list(words), "v": other})
    assert min(found.values()) > 0.75
    assert found["dci_informativeness"] > 0.99
    mixed = numbers(np.c_[stream(7).standard_normal(300), other], {"family": list(words)})
    assert mixed["sap"] < 0.1
    assert mixed["dci_informativeness"] < 0.1


@pytest.mark.parametrize("n", [256, 300])  # powers of two used to divide by zero, others by what rounding left
def test_a_number_that_is_the_same_for_most_items_still_tells_something(n):
    z = stream(n).standard_normal((n, 3))
    rare = np.zeros(n)
    rare[: n // 10] = 1 + np.abs(z[: n // 10, 1])
    z[:, 1] = rare  # this latent is the factor itself, the others know nothing of it
    for sign in (1, -1):  # most items at the low end, and at the high end
        assert numbers(z, np.c_[z[:, 0], sign * rare])["mig"] > 0.8


def test_a_latent_that_is_dead_and_a_factor_that_is_constant_change_nothing():
    v = known(m=2)
    plain = numbers(v, {"a": v[:, 0], "b": v[:, 1]})
    assert numbers(np.c_[v, np.full(300, 2.0)], {"a": v[:, 0], "c": np.ones(300), "b": v[:, 1]})["mig"] == plain["mig"]


def test_scale_and_order_do_not_matter_for_gaps():
    v = known(m=3)
    z = rotated(np.c_[v, known(m=1, seed=8)])
    first, second = numbers(z, v), numbers(7 * z[:, ::-1] - 3, v)
    for name in ("mig", "sap", "factor_vae"):
        assert first[name] == pytest.approx(second[name], abs=1e-9), name
    assert first["dci_disentanglement"] == pytest.approx(second["dci_disentanglement"], abs=0.03)


def test_a_function_of_its_seed():
    v = known(100)
    assert numbers(rotated(v), v) == numbers(rotated(v), v)


def reference(z, v, bins):
    """MIG, SAP of numbers, and FactorVAE's vote, written a second time, from the papers."""
    n, d = z.shape

    def cut(column):
        rank = column.argsort().argsort()
        return (rank * bins) // n

    gaps, leads = [], []
    for k in range(v.shape[1]):
        shared = np.sort([mutual_info_score(cut(z[:, j]), cut(v[:, k])) for j in range(d)])
        gaps.append((shared[-1] - shared[-2]) / mutual_info_score(cut(v[:, k]), cut(v[:, k])))
        fits = []
        for j in range(d):
            slope, offset = np.polyfit(z[:, j], v[:, k], 1)
            fits.append(1 - (v[:, k] - slope * z[:, j] - offset).var() / v[:, k].var())
        leads.append(np.sort(fits)[-1] - np.sort(fits)[-2])
    stream_ = stream(77)
    votes = []
    for _ in range(4000):
        k = stream_.integers(v.shape[1])
        rows = np.flatnonzero(cut(v[:, k]) == stream_.integers(bins))
        votes.append((np.argmin(z[stream_.choice(rows, 16)].var(0) / z.var(0)), k))
    votes = np.array(votes)
    tree = DecisionTreeClassifier(max_leaf_nodes=2 * d).fit(votes[:2000, :1] == np.arange(d), votes[:2000, 1])
    return np.mean(gaps), np.mean(leads), tree.score(votes[2000:, :1] == np.arange(d), votes[2000:, 1])


def test_an_independent_implementation_agrees():
    v = known(1000, 3)  # ten equally full bins of 100
    z = np.c_[v[:, 0] + 0.3 * v[:, 1], v[:, 1] + 0.1 * stream(1).random(1000), rotated(v)[:, 0], stream(2).random(1000)]
    found = numbers(z, v)
    mig, sap, vote = reference(z, v, 10)
    assert found["mig"] == pytest.approx(mig, abs=0.005)
    assert found["sap"] == pytest.approx(sap, abs=1e-9)
    assert found["factor_vae"] == pytest.approx(vote, abs=0.05)
    assert 0.05 < mig < 0.5


def test_completeness_and_disentanglement_of_known_importances(monkeypatch):
    from latentscape.measure import disentanglement as room

    importance = np.array([[0.8, 0.0], [0.2, 0.5], [0.0, 0.5]])
    calls = iter(range(2))
    monkeypatch.setattr(room, "_forest", lambda z, factor, seed: (importance[:, next(calls)], 0.7))
    found = numbers(known(m=3), known(m=2, seed=4))

    def entropy(p, base):
        return -sum(x * np.log(x) / np.log(base) for x in p if x)

    rows = [1 - entropy(row / row.sum(), 2) for row in importance]
    columns = [1 - entropy(column / column.sum(), 3) for column in importance.T]
    assert found["dci_disentanglement"] == pytest.approx(np.dot(importance.sum(1) / 2, rows))
    assert found["dci_completeness"] == pytest.approx(np.mean(columns))
    assert found["dci_informativeness"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (known(10), known(10), "at least 20 items"),
        (np.full((30, 2), np.nan), known(30), "all finite"),
        (known(30), known(29), "29 values for 30"),
        (known(30), np.full((30, 1), np.inf), "not finite"),
        (known(30), np.ones((30, 2)), "one that varies"),
        (np.ones((30, 2)), known(30), "a latent that does"),
    ],
)
def test_what_can_not_be_measured(codes, factors, message):
    with pytest.raises(DataError, match=message):
        numbers(codes, factors)
