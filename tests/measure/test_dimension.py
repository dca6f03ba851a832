import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from latentscape.core.errors import DataError
from latentscape.measure.dimension import two_nn


def stream(seed):
    return torch.Generator().manual_seed(seed)


def sphere(n, d):
    points = torch.randn(n, d + 1, generator=stream(d))
    return points / points.norm(dim=1, keepdim=True)


def embedded(points, width=30):
    """The same points, turned into a space of more dimensions."""
    return points @ torch.linalg.qr(torch.randn(width, points.shape[1], generator=stream(7)))[0].T + 3


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("law", ["cube", "sphere", "gaussian"])
def test_known_dimensions(law, d):
    match law:
        case "cube":
            points = torch.rand(2000, d, generator=stream(d))
        case "sphere":
            points = sphere(2000, d)
        case _:
            points = torch.randn(2000, d, generator=stream(d))
    found = two_nn(embedded(points))
    assert found.value == pytest.approx(d, rel=0.1)
    low, high = found.interval(0.99)
    assert low < d * 1.06
    assert high > d * 0.94
    assert found.error == pytest.approx(d * 0.02, rel=0.8)


def test_it_is_the_papers_recipe_with_scikit_learns_neighbours():
    points = torch.randn(300, 3, generator=stream(1))
    distance = NearestNeighbors(n_neighbors=3).fit(points.double().numpy()).kneighbors()[0]
    mu = np.sort(distance[:, 1] / distance[:, 0])
    x, y = np.log(mu)[:270], -np.log(1 - np.arange(1, 271) / 300)
    slope = np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]
    assert two_nn(points, replicates=0).value == pytest.approx(slope, rel=1e-6)


def test_duplicates_do_no_harm():
    points = torch.randn(200, 3, generator=stream(2))
    once = two_nn(points, replicates=5)
    assert two_nn(points.repeat(4, 1), replicates=5) == once
    assert len(once.replicates) == 5


def test_more_points_than_the_limit_are_drawn():
    points = torch.rand(900, 2, generator=stream(3))
    found = two_nn(points, limit=300)
    assert found == two_nn(points, limit=300)
    assert found.value != two_nn(points).value
    assert found.value == pytest.approx(2, rel=0.2)


def test_event_shapes_are_flattened():
    points = torch.randn(100, 12, generator=stream(4))
    assert two_nn(points.reshape(100, 3, 4)) == two_nn(points)


def test_refusals():
    with pytest.raises(DataError, match="19 different points of 40"):
        two_nn(torch.arange(40.0)[:, None].clamp_max(18))
    with pytest.raises(DataError, match="at one distance"):
        two_nn(torch.eye(30))
    with pytest.raises(DataError, match="NaN or infinity"):
        two_nn(torch.full((30, 2), float("nan")))
