import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from latentscape.core.errors import DataError, StorageError
from latentscape.core.storage import load_object, load_tensors, save_json, save_tensors
from latentscape.instrument.map import LatentMap, latent_map


@pytest.fixture
def codes():
    stream = torch.Generator().manual_seed(4)
    return torch.randn(500, 5, generator=stream) @ torch.randn(5, 5, generator=stream) + torch.arange(5.0)


def test_the_axes_are_scikit_learns(codes):
    chart = latent_map(codes)
    pca = PCA(5).fit(codes.double().numpy())
    signs = np.sign((chart.axes.double().numpy() * pca.components_).sum(1))
    np.testing.assert_allclose(chart.axes.numpy(), signs[:, None] * pca.components_, atol=1e-5)
    np.testing.assert_allclose(chart.spread.numpy(), np.sqrt(pca.explained_variance_ * 499 / 500), rtol=1e-5)
    np.testing.assert_allclose(chart.project(codes).numpy(), (signs * pca.transform(codes.numpy()))[:, :2], atol=1e-4)
    torch.testing.assert_close(chart.deviation, codes.std(0, correction=0))
    torch.testing.assert_close(chart.low, torch.quantile(codes, 0.01, 0))
    torch.testing.assert_close(chart.high, torch.quantile(codes, 0.99, 0))
    assert (chart.axes.gather(1, chart.axes.abs().argmax(1, keepdim=True)) > 0).all()


def test_lift_undoes_project(codes):
    chart = latent_map(codes)
    y = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    torch.testing.assert_close(chart.project(chart.lift(y)), y)
    torch.testing.assert_close(chart.lift(chart.project(codes, 5)), codes)


def test_clips_are_means_of_their_codes(codes):
    clip = torch.arange(500) % 3
    chart = latent_map(codes, {"family": ["a", "b", "a"]}, clip=clip, names=["x", "y", "z"])
    torch.testing.assert_close(chart.clips, torch.stack([codes[clip == i].mean(0) for i in range(3)]))


def test_saved_and_loaded(codes, tmp_path):
    chart = latent_map(codes[:6], {"family": list("abcabc")}, names=[f"{i}.wav" for i in range(6)])
    chart.save(tmp_path)
    again = LatentMap.load(tmp_path)
    assert again.names == chart.names
    assert again.labels == chart.labels == {"family": tuple("abcabc")}
    for name in ("mean", "axes", "clips", "low", "high", "spread", "deviation"):
        assert torch.equal(getattr(again, name), getattr(chart, name))


def about(**changes):
    def damage(run):
        path = run / "map.json"
        save_json(path, load_object(path) | changes)

    return damage


def tensor(name, value):
    def damage(run):
        path = run / "map.safetensors"
        save_tensors(path, load_tensors(path) | {name: value})

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "map.json").unlink(), "map.json is missing"),
        (lambda run: (run / "map.json").write_text("[]"), "expected an object, got list"),
        (lambda run: (run / "map.json").write_text("{}"), "format None"),
        (lambda run: (run / "map.json").write_text('{"format": 2}'), "format 2, expected 1"),
        (lambda run: (run / "map.json").write_text('{"format": 1, "names": ["a"]}'), "lists 1 clips"),
        (lambda run: (run / "map.safetensors").write_bytes(b"nonsense"), "damaged"),
        (lambda run: (run / "map.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}"), "'mean' is missing"),
        (lambda run: (run / "map.json").write_text('{"format": ' + "1" * 900 + "}"), "format 1{40}, expected 1"),
        (about(names=5), "names: got 5, expected a valid tuple"),
        (about(labels=["a"]), "labels: got .'a'., expected a valid dictionary"),
        (about(labels={"family": 3}), "labels.family: got 3, expected a valid tuple"),
        (about(labels={"family": [1.5] * 6}), "labels.family.0: got 1.5, expected a valid string"),
        (about(descriptors={"pitch": ["high"] * 6}), "descriptors.pitch.0: got 'high', expected a valid number"),
        (about(descriptors={"pitch": [10**400] * 6}), "descriptors.pitch.0: got 1000*..., expected a"),
        (tensor("deviation", torch.ones(4)), r"'deviation' is \[4\], expected \[d\]"),
        (tensor("spread", torch.ones(())), r"'spread' is \[\], expected \[k\]"),
        (tensor("mean", torch.full((5,), torch.nan)), "'mean' holds something else than finite real numbers"),
        (tensor("clips", torch.ones(6, 5, dtype=torch.int64)), "'clips' holds something else"),
    ],
)
def test_what_is_wrong_with_a_stored_map_is_said(codes, tmp_path, damage, message):
    latent_map(codes[:6]).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(StorageError, match=message):
        LatentMap.load(tmp_path)


def test_codes_that_make_no_map():
    with pytest.raises(DataError, match="0 codes"):
        latent_map(torch.zeros(0, 3))
    with pytest.raises(DataError, match="finite"):
        latent_map(torch.full((3, 3), float("nan")))
    with pytest.raises(DataError, match="2 values of 'family'"):
        latent_map(torch.zeros(3, 3), {"family": ["a", "b"]})
