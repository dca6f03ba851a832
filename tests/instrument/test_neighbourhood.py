import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness

from latentscape.core.errors import StorageError
from latentscape.instrument.map import LatentMap, latent_map
from latentscape.instrument.neighbourhood import NEAREST, Neighbourhood, map_quality, neighbourhood, shepard


def clustered(n=160, seed=0):
    """Codes in twelve clusters of 8 dimensions: more than a plane can keep apart."""
    stream = np.random.default_rng(seed)
    centres = 4 * stream.standard_normal((12, 8))
    return torch.from_numpy(centres[np.arange(n) % 12] + stream.standard_normal((n, 8))).float()


@pytest.fixture(scope="module")
def found():
    codes = clustered()
    return neighbourhood(codes, latent_map(codes).project(codes))


def test_dots_are_exact_both_ways(found):
    torch.testing.assert_close(found.lift(found.places), found.codes, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.place(found.codes), found.places, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_close_spots_have_close_codes(seed):
    stream = torch.Generator().manual_seed(seed)
    places, codes = torch.randn(60, 2, generator=stream), torch.randn(60, 4, generator=stream)
    dots = Neighbourhood(codes, places)
    a, b = torch.randn(2, 2, generator=stream, dtype=torch.float64)
    way = torch.lerp(a, b, torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None])
    coarse, fine = (dots.lift(one).diff(dim=0).norm(dim=1).max() for one in (way[::8], way))
    # a jump would stay as it is however finely it is sampled
    assert fine < 0.4 * coarse + 1e-9
    lifted = dots.lift(way)
    assert (lifted <= codes.double().max(0).values + 1e-9).all()
    assert (lifted >= codes.double().min(0).values - 1e-9).all()


def test_the_weights_are_franke_and_littles(found):
    spot = torch.tensor([[0.21, -0.37]])
    distance = (found.places.double() - spot.double()).norm(dim=1)
    order = distance.argsort()
    edge = distance[order[NEAREST]]
    near = order[:NEAREST]
    weight = ((edge - distance[near]) / (edge * distance[near])) ** 2
    expected = (weight[:, None] * found.codes[near].double()).sum(0) / weight.sum()
    torch.testing.assert_close(found.lift(spot)[0].double(), expected, rtol=1e-5, atol=1e-5)


def test_few_dots_are_all_taken():
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    dots = Neighbourhood(torch.eye(3), places)
    torch.testing.assert_close(dots.lift(places), torch.eye(3))
    middle = dots.lift(torch.tensor([[0.5, 0.5]]))[0]
    d = torch.tensor([0.5, 0.5, 0.5]) ** 0.5
    torch.testing.assert_close(middle, (1 / d**2) / (1 / d**2).sum())
    assert torch.isfinite(dots.lift(torch.tensor([[1e6, -1e6]]))).all()


def test_dots_on_one_spot_share_it():
    places = torch.zeros(40, 2)
    codes = torch.arange(40.0)[:, None]
    lifted = Neighbourhood(codes, places).lift(torch.zeros(1, 2))
    assert torch.isfinite(lifted).all()
    pair = Neighbourhood(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(pair.lift(torch.zeros(1, 2)), torch.tensor([[1.0]]))


def test_neighbours_are_kept_better_than_by_the_principal_plane(found):
    flat = latent_map(found.codes).project(found.codes)
    quality = map_quality(found, flat)
    assert quality["trustworthiness"] > 0.99 > quality["trustworthiness_principal"] + 0.02
    assert quality["trustworthiness"] == pytest.approx(
        trustworthiness(found.codes.numpy(), found.places.numpy(), n_neighbors=12), abs=1e-6
    )
    assert quality["lift_error"] < 0.5 * quality["lift_error_principal"]
    assert quality["place_error"] < 0.1
    one = torch.arange(len(found.codes)) != 7
    held = shepard(found.places[7:8], found.places[one], found.codes[one])
    torch.testing.assert_close(shepard(found.places, found.places, found.codes, own=True)[7:8], held)


def test_the_layout_is_centred_scaled_turned_and_repeats(found):
    assert found.places.mean(0).abs().max() < 1e-5
    assert float(found.places.square().sum(1).mean()) == pytest.approx(1, abs=1e-4)
    flat = latent_map(found.codes).project(found.codes)
    # turned as the principal plane: no rotation brings the two closer
    product = (found.places.T @ flat).double()
    singular = torch.linalg.svdvals(product).sum()
    assert float(product.trace()) == pytest.approx(float(singular), rel=1e-3)
    again = neighbourhood(found.codes, flat)
    assert torch.equal(again.places, found.places)


def test_many_dots_are_placed_among_those_laid_out(monkeypatch):
    monkeypatch.setattr("latentscape.instrument.neighbourhood.MOST_DOTS", 60)
    codes = clustered(90)
    many = neighbourhood(codes, latent_map(codes).project(codes))
    assert many.places.shape == (90, 2)
    assert torch.equal(many.codes, codes)
    assert torch.isfinite(many.places).all()


@pytest.mark.parametrize(
    "codes", [torch.zeros(3, 4), torch.randn(30, 1), torch.zeros(30, 4)], ids=["few", "line", "one"]
)
def test_what_needs_no_such_map(codes):
    assert neighbourhood(codes, latent_map(codes).project(codes)) is None


def kept(found):
    from dataclasses import replace

    chart = latent_map(found.codes, names=[f"{k}" for k in range(len(found.codes))])
    pitch = tuple(float("nan") if k % 3 else 60.0 + k for k in range(len(found.codes)))
    return replace(chart, neighbours=found, test=(False, True) * (len(found.codes) // 2), descriptors={"pitch": pitch})


def test_saved_and_loaded(found, tmp_path):
    chart = kept(found)
    chart.save(tmp_path)
    again = LatentMap.load(tmp_path)
    assert torch.equal(again.neighbours.places, found.places)
    assert torch.equal(again.neighbours.codes, chart.clips)
    assert again.test == chart.test
    np.testing.assert_array_equal(again.descriptors["pitch"], chart.descriptors["pitch"])
    spots = torch.randn(5, 2)
    assert torch.equal(again.spot(spots), chart.spot(spots))
    assert torch.equal(again.place(found.codes[:4]), chart.places[:4])
    assert json.loads((tmp_path / "map.json").read_text())["format"] == 1


def test_a_map_from_before_has_the_principal_plane(found, tmp_path):
    latent_map(found.codes).save(tmp_path)
    about = json.loads((tmp_path / "map.json").read_text())
    (tmp_path / "map.json").write_text(json.dumps({key: about[key] for key in ("format", "names", "labels")}))
    chart = LatentMap.load(tmp_path)
    assert chart.neighbours is None
    assert chart.descriptors == {}
    assert chart.test == ()
    torch.testing.assert_close(chart.places, chart.project(chart.clips))
    spots = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(chart.place(chart.spot(spots)), spots)
    line = latent_map(torch.randn(9, 1))
    assert line.places.shape == (9, 2)
    assert line.spot(line.places).shape == (9, 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda about, tensors: about.update(test=[True]), "lists 1 clips"),
        (lambda about, tensors: about.update(descriptors={"pitch": [1.0]}), "lists 1 clips"),
        (lambda about, tensors: tensors.update(places=torch.zeros(3, 2)), "3, 2] places"),
    ],
)
def test_what_is_wrong_with_a_stored_map_is_said(found, tmp_path, damage, message):
    from latentscape.core.storage import load_tensors, save_json, save_tensors

    kept(found).save(tmp_path)
    about, tensors = json.loads((tmp_path / "map.json").read_text()), load_tensors(tmp_path / "map.safetensors")
    damage(about, tensors)
    save_json(tmp_path / "map.json", about)
    save_tensors(tmp_path / "map.safetensors", tensors)
    with pytest.raises(StorageError, match=message):
        LatentMap.load(tmp_path)
