import pytest
import torch
from surfaces import (
    ball,
    ball_distance,
    ball_points,
    half_plane,
    half_plane_distance,
    half_plane_points,
    mlp,
    sphere,
    sphere_distance,
    sphere_points,
)

from latentscape.core.errors import UsageError
from latentscape.geometry.geodesic import geodesics, measure, refine, straight
from latentscape.geometry.manifold import Manifold, PullBack, Riemannian
from latentscape.geometry.neighbours import Neighbours
from latentscape.geometry.uncertainty import uncertain
from latentscape.laws.manifold import check_geodesics

CLOSED = {
    "sphere": (PullBack(sphere, 2), sphere_points, sphere_distance),
    "half plane": (Riemannian(half_plane, 2), half_plane_points, half_plane_distance),
    "ball": (Riemannian(ball, 5), lambda n, seed=0: ball_points(n, 5, seed), ball_distance),
}


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_distances_in_closed_form(name, precision):
    manifold, points, distance = CLOSED[name]
    a, b = points(10, 3), points(10, 40)
    found = geodesics(manifold, a.to(precision), b.to(precision))
    assert found.converged.all()
    torch.testing.assert_close(found.length.double(), distance(a, b), rtol=1e-3, atol=0)
    torch.testing.assert_close(found.energy.double().sqrt(), distance(a, b), rtol=1e-3, atol=0)


def test_the_way_on_the_sphere_is_the_great_circle():
    a, b = sphere_points(6, 1), sphere_points(6, 2)
    found = geodesics(PullBack(sphere, 2), a, b, tolerance=1e-9)
    places = sphere(found.points.flatten(0, 1)).unflatten(0, (6, -1))
    normal = torch.linalg.cross(sphere(a), sphere(b))[:, None]
    assert float((places * normal).sum(2).abs().max()) < 1e-3
    speed = found.points.new_tensor(0) + (places[:, 1:] - places[:, :-1]).norm(dim=2)
    assert float((speed.std(1) / speed.mean(1)).max()) < 1e-3


def test_the_way_in_the_half_plane_is_a_circle_about_the_axis():
    a, b = half_plane_points(6, 1), half_plane_points(6, 2)
    found = geodesics(Riemannian(half_plane, 2), a, b, segments=64, tolerance=1e-9)
    centre = ((b.square().sum(1) - a.square().sum(1)) / (2 * (b - a)[:, 0]))[:, None]
    x, y = found.points.unbind(2)
    radius = ((x - centre).square() + y.square()).sqrt()
    assert float((radius / radius[:, :1] - 1).abs().max()) < 3e-3


@pytest.mark.parametrize("name", CLOSED)
def test_laws(name):
    manifold, points, _ = CLOSED[name]
    a, b = points(5, 11), points(5, 12)
    check_geodesics(manifold, a, b, geodesics(manifold, a, b))


@pytest.mark.parametrize("segments", [1, 2, 3, 7, 8, 12, 31, 32, 50])
def test_any_number_of_segments_in_any_width(segments):
    for d in (1, 5):
        manifold = PullBack(mlp(d), d)
        a, b = torch.randn(2, 3, d)
        found = geodesics(manifold, a, b, segments=segments)
        assert found.points.shape == (3, segments + 1, d)
        check_geodesics(manifold, a, b, found)
        assert found.rounds <= 8


def test_least_energy_against_plain_descent():
    """A thousand steps of L-BFGS on the same points, in float64, find nothing that is 0.1 % better."""
    net = mlp(6).double()
    manifold = PullBack(net, 6)
    a, b = 2 * torch.randn(2, 4, 6, dtype=torch.float64)
    found = geodesics(manifold, a, b, segments=16, tolerance=1e-6)
    inner = found.points[:, 1:-1].clone().requires_grad_()

    def energy():
        return manifold.chords(torch.cat((a[:, None], inner, b[:, None]), 1)).square().sum() * 16

    optimiser = torch.optim.LBFGS([inner], max_iter=300, line_search_fn="strong_wolfe", tolerance_change=0)

    def closure():
        optimiser.zero_grad()
        loss = energy()
        loss.backward()
        return loss

    optimiser.step(closure)
    best = float(energy().detach())
    assert float(found.energy.sum()) <= best * 1.001
    assert float(found.energy.sum()) < 0.98 * float(found.energy_line.sum())


def test_float32_is_as_good_as_float64():
    net = mlp(8, 128, 200)
    a, b = torch.randn(2, 6, 8)
    single = geodesics(PullBack(net, 8), a, b)
    double = geodesics(PullBack(net.double(), 8), a.double(), b.double())
    assert single.converged.all()
    torch.testing.assert_close(single.energy.double(), double.energy, rtol=2e-3, atol=0)


def test_each_pair_is_solved_as_if_alone():
    manifold = PullBack(mlp(4).double(), 4)
    a, b = torch.randn(2, 5, 4, dtype=torch.float64)
    together = geodesics(manifold, a, b)
    for i in range(5):
        alone = geodesics(manifold, a[i : i + 1], b[i : i + 1])
        torch.testing.assert_close(alone.points[0], together.points[i], atol=1e-9, rtol=1e-9)


def test_flat_space_is_left_straight():
    flat = PullBack(torch.nn.Linear(3, 8), 3)
    a, b = torch.randn(2, 4, 3)
    found = geodesics(flat, a, b)
    torch.testing.assert_close(found.points, straight(a, b, 32), atol=1e-5, rtol=0)
    assert found.converged.all()
    assert (found.length <= found.length_line).all()
    assert (found.energy <= found.energy_line).all()


def test_nowhere_to_go():
    a = torch.randn(3, 4)
    found = geodesics(PullBack(mlp(4), 4), a, a)
    assert found.converged.all()
    assert torch.equal(found.points, a[:, None].expand(3, 33, 4))
    assert torch.equal(found.length, torch.zeros(3))


def test_nothing_is_mutated_and_nothing_tracked():
    net, codes = mlp(4).requires_grad_(), torch.randn(20, 4)
    a, b = torch.randn(2, 2, 4)
    kept = a.clone(), b.clone(), codes.clone()
    found = geodesics(PullBack(net, 4), a, b, graph=Neighbours(PullBack(net, 4), codes))
    for now, before in zip((a, b, codes), kept, strict=True):
        assert torch.equal(now, before)
    assert not found.points.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


def test_where_no_step_helps_the_start_is_kept():
    class Rugged(Manifold):
        dim = 2

        def step(self, a, b):
            return torch.where((a[:, 1:] == 0) & (b[:, 1:] == 0), b - a, torch.nan * b)

        def metric(self, z):
            return torch.eye(2).expand(len(z), 2, 2)

        def connection(self, z, v, w):
            return torch.zeros_like(z)

    a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    found = geodesics(Rugged(), a, b, segments=8)
    assert torch.equal(found.points, straight(a, b, 8))
    assert torch.equal(found.length, torch.ones(1))


def ring(n, seed=0):
    """Codes on three quarters of a ring, and a flat decoder that is unsure away from them."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.rand(n, generator=generator) * 1.5 * torch.pi
    codes = 2 * torch.stack((angle.cos(), angle.sin()), 1) + 0.05 * torch.randn(n, 2, generator=generator)
    return codes, PullBack(uncertain(lambda z: z, codes, near=0.05, far=5.0, kappa=1.0), 2)


def test_the_graph_keeps_curves_on_the_data():
    codes, manifold = ring(300)
    a, b = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, -2.0], [-2.0, 0.0]])
    graph = Neighbours(manifold, codes)
    found = geodesics(manifold, a, b, graph=graph)
    check_geodesics(manifold, a, b, found)
    assert found.began == ("graph", "graph")
    assert float(found.points.norm(dim=2).min()) > 1.7
    assert float(straight(a, b, 32).norm(dim=2).min()) < 0.1
    assert (found.energy < 0.8 * geodesics(manifold, a, b).energy)[0]


def test_ways_over_the_graph():
    codes, manifold = ring(300)
    graph = Neighbours(manifold, codes, count=6)
    a, b = codes[:4], codes[4:8]
    ways = graph.ways(a, b, 20)
    assert torch.equal(ways[:, 0], a)
    assert torch.equal(ways[:, -1], b)
    apart = torch.cdist(ways.flatten(0, 1), codes).min(1).values
    assert float(apart.max()) < 0.15
    steps = manifold.chords(ways).norm(dim=2)
    assert float((steps.std(1) / steps.mean(1)).max()) < 0.3
    # none is shorter than a limit of nothing
    limited = graph.ways(a, b, 20, torch.zeros(4))
    assert (
        float(
            torch.linalg.vecdot(limited - a[:, None], (b - a).flip(1)[:, None] * torch.tensor([1.0, -1.0])).abs().max()
        )
        < 1e-4
    )


def test_the_graph_takes_the_shortest_way():
    """In flat space, through codes on a fine lattice, it is hardly longer than the line."""
    x = torch.linspace(-2, 2, 21)
    codes = torch.cartesian_prod(x, x)
    flat = PullBack(torch.nn.Identity(), 2)
    a, b = torch.tensor([[-1.9, -1.0]]), torch.tensor([[1.9, 1.5]])
    _, length = measure(flat, Neighbours(flat, codes, count=8).ways(a, b, 40))
    assert 1.0 <= float(length / (b - a).norm()) < 1.1


def test_apart_islands_are_joined_by_the_line():
    codes = torch.cat((torch.randn(20, 2) * 0.1, torch.randn(20, 2) * 0.1 + 50))
    flat = PullBack(torch.nn.Identity(), 2)
    a, b = codes[:1], codes[-1:]
    torch.testing.assert_close(Neighbours(flat, codes, count=3).ways(a, b, 10), straight(a, b, 10))


def test_refined_curves_keep_their_points():
    points = torch.randn(2, 9, 3)
    fine = refine(points, 32)
    torch.testing.assert_close(fine[:, ::4], points)
    t = torch.linspace(0, 1, 33)[None, :, None]
    cubic = t**3 - 2 * t**2 + 3
    torch.testing.assert_close(refine(cubic[:, ::4], 32), cubic)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: geodesics(m, torch.zeros(3), torch.zeros(3)), r"\[p, 2\]"),
        (lambda m: geodesics(m, torch.zeros(1, 3), torch.zeros(1, 3)), r"\[1, 3\]"),
        (lambda m: geodesics(m, torch.zeros(1, 2), torch.zeros(2, 2)), r"\[2, 2\]"),
        (lambda m: geodesics(m, torch.zeros(1, 2), torch.zeros(1, 2), segments=0), "0 segments"),
        (lambda m: Neighbours(m, torch.zeros(1, 2)), r"codes \[1, 2\]"),
        (lambda m: Neighbours(m, torch.zeros(5, 3)), r"codes \[5, 3\]"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises((UsageError, TypeError)) as error:
        make(PullBack(sphere, 2))
    if isinstance(error.value, UsageError):
        error.match(words)
