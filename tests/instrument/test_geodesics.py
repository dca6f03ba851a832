import json

import pytest
import torch
from identity_model import Identity
from torch.distributions import Independent, Normal

from latentscape.core.errors import UsageError
from latentscape.geometry.geodesic import measure
from latentscape.geometry.manifold import PullBack
from latentscape.geometry.paths import path_from_json
from latentscape.instrument.geodesics import embedding_of, geodesic, geodesics
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import latent_map
from latentscape.laws.manifold import check_geodesics
from latentscape.laws.path import check_path


class Curved(Identity):
    """Features that are bent functions of the latents."""

    def decode(self, z, context={}):
        flat = z[0].flatten(1)
        x = torch.cat((flat.sin(), (flat * flat.flip(1)).tanh(), 0.3 * flat), 1)[:, : self.event_shape[0]]
        return Independent(Normal(3 * x + self.bias(context), 1.0), 1)


@pytest.fixture
def here():
    codes = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    model = Curved((12,))
    model.latent_shapes = ((4,),)
    return Instrument(model, chart=latent_map(codes))


def test_distance_is_in_deviations_of_a_feature(here):
    places = embedding_of(here)(here.chart.clips)
    assert places.shape == (60, 12)
    assert float(places.var(0, correction=0).sum()) == pytest.approx(1, rel=1e-5)
    z = torch.zeros(2, 4, requires_grad=True)
    embedding_of(here)(z).sum().backward()
    assert z.grad is not None


def test_a_flat_decoder_has_straight_geodesics():
    flat = Instrument(Identity((5,)), chart=latent_map(torch.randn(50, 5)))
    a, b = flat.chart.clips[:2]
    path = geodesic(flat, a, b)
    t = torch.linspace(0, 1, 9)
    torch.testing.assert_close(path.evaluate(t), torch.lerp(a, b, t[:, None]), atol=1e-4, rtol=0)


def test_the_path_is_plain_and_steady_in_its_space(here):
    a, b = here.chart.clips[:2]
    path = geodesic(here, a, b)
    check_path(path, start=a, end=b)
    assert path_from_json(json.loads(json.dumps(path.to_json()))) == path
    places = embedding_of(here)(path.evaluate(torch.linspace(0, 1, 65)))
    speed = places.diff(dim=0).norm(dim=1)
    assert float(speed.std() / speed.mean()) < 0.02
    manifold = PullBack(embedding_of(here), 4)
    line = measure(manifold, torch.lerp(a, b, torch.linspace(0, 1, 65)[:, None])[None])[1]
    assert float(speed.sum()) < float(line)


def test_many_at_once_are_those_one_by_one(here):
    a, b = here.chart.clips[:6].chunk(2)
    found = geodesics(here, a, b)
    check_geodesics(PullBack(embedding_of(here), 4), a, b, found)
    path = geodesic(here, a[1], b[1])
    middle = found.points[1, 16]
    assert float((path.evaluate(torch.linspace(0, 1, 2001)) - middle).norm(dim=1).min()) < 0.01 * float((a - b).norm())


def test_uncertain_ways_begin_over_the_graph_and_obey_the_laws(here):
    a, b = here.chart.clips[:6].chunk(2)
    sure, unsure = geodesics(here, a, b), geodesics(here, a, b, uncertain=True)
    assert (unsure.energy > sure.energy).all(), "deviation is one coordinate more"
    assert (unsure.energy <= unsure.energy_line).all()
    check_path(geodesic(here, a[0], b[0], uncertain=True), start=a[0], end=b[0])


def test_nowhere_to_go(here):
    a = here.chart.clips[0]
    path = geodesic(here, a, a)
    assert torch.equal(path.start, path.end)


@pytest.mark.parametrize("space", ["feature", "descriptors"])
def test_spaces_that_are_not_there_are_refused(here, space):
    with pytest.raises(UsageError):
        geodesic(here, *here.chart.clips[:2], space=space)


def test_points_of_another_width_are_refused(here):
    with pytest.raises(UsageError, match=r"\[p, 4\]"):
        geodesic(here, torch.zeros(3), torch.zeros(3))
