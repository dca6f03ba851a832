import pytest
import torch
from surfaces import half_plane, members, mlp, sphere

from latentscape.core.errors import UsageError
from latentscape.geometry.manifold import PullBack, Riemannian, solve
from latentscape.geometry.tridiagonal import Factored
from latentscape.geometry.uncertainty import ensemble, uncertain
from latentscape.laws.manifold import check_manifold


@pytest.mark.parametrize("name", members())
def test_laws(name):
    manifold, points = members()[name]
    check_manifold(manifold, points)


def test_laws_with_uncertainty():
    codes = torch.randn(60, 3, dtype=torch.float64)
    check_manifold(PullBack(uncertain(mlp(3).double(), codes), 3), codes[:5] + 0.1)
    check_manifold(PullBack(ensemble([mlp(3).double(), sphere]), 3), codes[:5])


def test_metric_of_the_sphere():
    z = torch.tensor([[0.3, 0.5], [2.0, 1.5]], dtype=torch.float64)
    expected = torch.diag_embed(torch.stack((z[:, 1].sin() ** 2, torch.ones(2, dtype=torch.float64)), 1))
    torch.testing.assert_close(PullBack(sphere, 2).metric(z), expected)


def test_christoffel_symbols_of_the_half_plane():
    z = torch.tensor([[0.7, 2.0]], dtype=torch.float64)
    x, y = torch.eye(2, dtype=torch.float64)[:, None]
    manifold = Riemannian(half_plane, 2)
    for v, w, expected in ((x, x, [0.0, 0.5]), (x, y, [-0.5, 0.0]), (y, y, [0.0, -0.5])):
        torch.testing.assert_close(manifold.connection(z, v, w), torch.tensor([expected], dtype=torch.float64))


def test_matrix_between_jacobians_is_near_the_full_one():
    manifold = PullBack(mlp(4).double(), 4)
    a, b = torch.randn(2, 3, 1, 4, dtype=torch.float64)
    curve = torch.lerp(a, b, torch.linspace(0, 1, 17, dtype=torch.float64)[None, :, None])
    full = manifold.matrix(curve)
    for near, exact in zip(manifold.matrix(curve, 2), full, strict=True):
        assert near.shape == exact.shape
        assert float((near - exact).norm() / exact.norm()) < 0.02
    # a linear embedding has one Jacobian, wherever it is taken
    flat = PullBack(torch.nn.Linear(4, 9).double(), 4)
    for near, exact in zip(flat.matrix(curve, 8), flat.matrix(curve), strict=True):
        torch.testing.assert_close(near, exact)
    # and the general matrix, from the steps alone, is that of the embedding
    for general, special in zip(super(PullBack, manifold).matrix(curve), full, strict=True):
        torch.testing.assert_close(general, special)


def test_pieces_do_not_show(monkeypatch):
    manifold = PullBack(mlp(4).double(), 4)
    curve = torch.randn(5, 9, 4, dtype=torch.float64)
    whole = *manifold.matrix(curve), manifold.metric(curve.flatten(0, 1))
    monkeypatch.setattr("latentscape.geometry.manifold._VALUES", {"cpu": 1})
    monkeypatch.setattr("latentscape.geometry.manifold._FEWEST", 10)
    for one, other in zip(whole, (*manifold.matrix(curve), manifold.metric(curve.flatten(0, 1))), strict=True):
        torch.testing.assert_close(one, other)


def test_outside_the_domain_is_nan():
    manifold = Riemannian(half_plane, 2)
    assert manifold.step(torch.tensor([[0.0, -1.0]]), torch.tensor([[0.0, -2.0]])).isnan().all()
    indefinite = Riemannian(lambda z: -torch.eye(2).expand(len(z), 2, 2), 2)
    assert indefinite.step(torch.zeros(1, 2), torch.ones(1, 2)).isnan().all()


def test_solve_is_held_up_where_there_is_no_extent():
    metric = torch.diag(torch.tensor([2.0, 0.0]))[None]
    solved = solve(metric, torch.tensor([[2.0, 0.0]]))
    torch.testing.assert_close(solved, torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 1), (7, 4)])
def test_tridiagonal_systems(n, d):
    roots = torch.randn(3, n * d, n * d, dtype=torch.float64)
    full = roots @ roots.mT + torch.eye(n * d, dtype=torch.float64)
    blocks = full.unflatten(1, (n, d)).unflatten(3, (n, d)).movedim(3, 2)
    apart = (torch.arange(n)[:, None] - torch.arange(n)).abs()[None, :, :, None, None]
    blocks = torch.where(apart <= 1, blocks, 0) + torch.where(apart == 0, 40.0, 0) * torch.eye(d, dtype=torch.float64)
    right = torch.randn(3, n, d, dtype=torch.float64)
    diagonal = torch.stack([blocks[:, i, i] for i in range(n)], 1)
    above = torch.stack([blocks[:, i, i + 1] for i in range(n - 1)], 1) if n > 1 else diagonal[:, :0]
    expected = torch.linalg.solve(blocks.movedim(3, 2).flatten(3).flatten(1, 2), right.flatten(1)[..., None])
    torch.testing.assert_close(Factored(diagonal, above).solve(right).flatten(1), expected[..., 0])


def test_a_system_that_is_not_positive_definite_is_nan():
    diagonal = torch.stack((torch.eye(2), torch.zeros(2, 2)))[:, None]
    solved = Factored(diagonal, diagonal[:, :0]).solve(torch.ones(2, 1, 2))
    assert torch.equal(solved[0], torch.ones(1, 2))
    assert solved[1].isnan().all()


def test_uncertainty_rises_away_from_the_codes():
    codes = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) * 0.3
    net = mlp(2)
    spread = net(codes).var(0, correction=0).mean().sqrt()
    coordinate = uncertain(net, codes)(torch.cat((codes, torch.full((1, 2), 50.0))))[:, -1] / 80**0.5
    torch.testing.assert_close(coordinate[-1], spread, rtol=1e-3, atol=0)
    near = float(coordinate[:-1].median() / spread)
    assert 0.08 < near < 0.12
    z = torch.stack((torch.linspace(0.5, 2, 20), torch.zeros(20)), 1)
    rising = uncertain(net, codes, near=0.5, far=3.0, centres=1)(z)[:, -1].diff()
    assert (rising > 0).all()
    torch.testing.assert_close(uncertain(net, codes)(z)[:, :-1], net(z))


def test_repeated_codes_have_a_deviation():
    """Forty codes, two of them different: a centre on each would leave the radial functions no width."""
    codes = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(20, 1)
    near, far = uncertain(lambda z: z, codes)(torch.tensor([[0.0, 0.0], [9.0, 9.0]]))[:, -1]
    assert 0 < near < far / 5


def test_an_ensemble_has_the_mean_metric():
    nets = [mlp(3).double(), torch.nn.Linear(3, 5).double()]
    z = torch.randn(4, 3, dtype=torch.float64)
    mean = sum(PullBack(net, 3).metric(z) for net in nets) / 2
    torch.testing.assert_close(PullBack(ensemble(nets), 3).metric(z), mean)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: uncertain(sphere, torch.zeros(1, 2)), "got 1 codes"),
        (lambda: uncertain(sphere, torch.zeros(5, 2)), "0 < near < far"),
        (lambda: uncertain(sphere, torch.randn(5, 2), near=2.0, far=1.0), "near 2 and far 1"),
        (lambda: ensemble([]), "no member"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()
