import gzip
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream
from latentscape.data.corpus import ImageCorpus
from latentscape.data.examine import examine
from latentscape.data.examples import DataConfig
from latentscape.data.images import CHECKSUMS, IDX, ImageExamples
from latentscape.data.sources import data_root, open_source, verify
from latentscape.data.split import split_corpus
from latentscape.laws.split import check_split


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes())


@pytest.fixture
def mnist():
    """Write a small tree of MNIST's layout."""
    root = data_root() / "mnist"
    root.mkdir(parents=True)
    for part, (images, labels) in IDX.items():
        stream = numpy_stream("images", part)
        count = 50 if part == "train" else 10
        (root / images).write_bytes(idx(stream.integers(0, 256, (count, 6, 5))))
        (root / labels).write_bytes(idx(np.arange(count) % 10))
    return root


def examples(corpus, binarise="none", **options):
    return ImageExamples(corpus, split_corpus(corpus), DataConfig(binarise=binarise), seed=0, **options)


def test_idx_files(mnist):
    corpus = open_source("mnist")
    assert corpus.images.shape == (60, 1, 6, 5)
    expected = numpy_stream("images", "test").integers(0, 256, (10, 6, 5))
    np.testing.assert_array_equal(corpus.images[50:, 0], expected)
    assert [corpus.columns["label"].text(row) for row in (0, 13, 59)] == ["0", "3", "9"]
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert {name: len(part) for name, part in split.parts.items()} == {"train": 45, "valid": 5, "test": 10}
    assert split.parts["test"].rows.min() == 50
    assert open_source(str(mnist)).digest == corpus.digest
    assert examine("mnist").lines()[0] == "mnist: 60 images, 1 x 6 x 5"


def test_damaged_idx_files_are_one_line_each(mnist):
    images, labels = (mnist / name for name in IDX["test"])
    whole = images.read_bytes()
    for content, reason in (
        (whole[: len(whole) // 2], "is damaged"),
        (b"not gzip", "is damaged"),
        (gzip.compress(b"\0\0\x0d\x03" + bytes(100)), "is not an idx file of unsigned bytes with 3 axes"),
        (gzip.compress(gzip.decompress(whole)[:-1]), "299 values, expected 10 x 6 x 5"),
        (idx(np.zeros((9, 6, 5))), "holds 9 images, t10k-labels-idx1-ubyte.gz 10 labels"),
    ):
        images.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            open_source("mnist")
    images.unlink()
    with pytest.raises(DataError, match="is missing"):
        open_source("mnist")
    assert labels.exists()


def test_checksums_tell_the_originals(mnist, monkeypatch):
    with pytest.raises(DataError, match="is not the original file"):
        verify("mnist")
    import hashlib

    for names in IDX.values():
        for name in names:
            monkeypatch.setitem(CHECKSUMS, hashlib.sha256((mnist / name).read_bytes()).hexdigest(), f"mnist/{name}")
    assert sum("the original" in line for line in verify("mnist")) == 4


def test_the_real_mnist_is_the_original(real_data, monkeypatch):
    monkeypatch.setenv("LATENTSCAPE_DATA", str(real_data))
    from latentscape.data.images import verify_idx

    assert len(verify_idx(real_data / "mnist")) == len(verify_idx(real_data / "fashion-mnist")) == 4


@pytest.fixture
def images64():
    root = data_root() / "images64"
    root.mkdir(parents=True)
    rows = ["path,label,split"]
    for part, count in (("train", 40), ("valid", 6)):
        with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
            for number in range(count):
                data = io.BytesIO()
                Image.fromarray(numpy_stream(part, number).integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(
                    data, "png"
                )
                archive.writestr(f"{number}.JPEG", data.getvalue())
                rows.append(f'{part}.zip:{number}.JPEG,"fish, gold",{part}')
    (root / "metadata.csv").write_text("\n".join(rows))
    return root


def test_images_in_zips_the_valid_file_is_the_test(images64):
    corpus = open_source("images64")
    assert corpus.images.shape == (46, 3, 8, 8)
    expected = numpy_stream("valid", 2).integers(0, 256, (8, 8, 3)).transpose(2, 0, 1)
    np.testing.assert_array_equal(corpus.images[42], expected)
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert split.parts["test"].rows.tolist() == list(range(40, 46))
    assert len(split.parts["valid"]) == 4
    assert tuple(corpus.columns["label"].values) == ("fish, gold",)


def test_faults_of_zips(images64):
    table = (images64 / "metadata.csv").read_text()
    (images64 / "metadata.csv").write_text(table + "\ntrain.zip:lost.JPEG,x,train\nlost.zip:0.JPEG,x,train\n")
    assert open_source("images64").notes == ("2 images can't be read (first: 'train.zip:lost.JPEG')",)
    with zipfile.ZipFile(images64 / "train.zip", "a") as archive:
        data = io.BytesIO()
        Image.new("RGB", (4, 8)).save(data, "png")
        archive.writestr("odd.JPEG", data.getvalue())
    (images64 / "metadata.csv").write_text(table + "\ntrain.zip:odd.JPEG,x,train\n")
    with pytest.raises(DataError, match="different sizes"):
        open_source("images64")
    (images64 / "metadata.csv").write_text("path\nlost.zip:0.JPEG\n")
    with pytest.raises(DataError, match="none of 1 images"):
        open_source("images64")
    (images64 / "metadata.csv").write_text("file\n")
    with pytest.raises(DataError, match="no column 'path'"):
        open_source("images64")


def test_digits_come_with_scikit_learn():
    corpus = open_source("digits")
    assert corpus.images.shape == (1797, 1, 8, 8)
    with examples(corpus) as made:
        x, _ = made.batch(0, 64)
        assert (float(x.min()), float(x.max())) == (0, 1)
        assert made.event_shape == (1, 8, 8)
    assert verify("digits")[1:] == ["built in", "1797 images"]


@pytest.mark.parametrize("binarise", ["none", "dynamic", "static"])
def test_batches_are_pure_and_shared_by_ranks(mnist, binarise):
    with examples(open_source("mnist"), binarise, conditions=("label",)) as made:
        x, labels = made.batch(3, 12)
        again, _ = made.batch(3, 12)
        assert torch.equal(x, again)
        parts = [made.batch(3, 12, rank=rank, world=2) for rank in range(2)]
        assert torch.equal(torch.cat([part[0] for part in parts]), x)
        assert torch.equal(torch.cat([part[1]["label"] for part in parts]), labels["label"])
        assert not torch.equal(made.batch(4, 12)[0], x)
        values = set(x.unique().tolist())
        assert (values == {0.0, 1.0}) == (binarise != "none")


def test_dynamic_draws_differ_and_static_ones_do_not(mnist):
    corpus = open_source("mnist")
    means = {}
    for binarise in ("dynamic", "static"):
        with examples(corpus, binarise) as made:
            rows = made.split.parts["train"].rows
            count, total, total_grey = 400, 0.0, 0.0
            seen = {}
            for step in range(count):
                drawn = torch.from_numpy(rows)[made.draws(step, 8, len(rows), 0, 1)]
                x, _ = made.batch(step, 8)
                for row, image in zip(drawn.tolist(), x, strict=True):
                    seen.setdefault(row, set()).add(image.numpy().tobytes())
                total, total_grey = total + float(x.mean()), total_grey + float(made._grey(drawn).mean())
            means[binarise] = total / total_grey
            assert (max(map(len, seen.values())) == 1) == (binarise == "static")
    assert means["dynamic"] == pytest.approx(1, abs=0.01)
    assert means["static"] == pytest.approx(1, abs=0.05)


def test_every_step_draws_noise_of_its_own():
    """All images are the same grey, so only the noise can differ."""
    grey = ImageCorpus("grey", np.full((20, 1, 4, 4), 128, np.uint8), 255, {}, (), "0")
    with examples(grey, "dynamic") as made:
        assert not torch.equal(made.batch(0, 4)[0], made.batch(1, 4)[0])


def test_held_images_come_in_order(mnist):
    corpus = open_source("mnist")
    with examples(corpus) as made:
        x = torch.cat([x for x, _ in made.held("test", 3)])
        np.testing.assert_allclose(x.numpy(), corpus.images[50:] / 255, rtol=1e-6)
        assert made.count("test") == 10
        assert [len(x) for x, _ in made.held("test", 3, 5)] == [3, 2]
    with examples(corpus, "dynamic") as dynamic, examples(corpus, "static") as static:
        for (x, _), (y, _) in zip(dynamic.held("test", 4), static.held("test", 4), strict=True):
            assert torch.equal(x, y)


def test_units_of_images(mnist):
    corpus = open_source("mnist")
    with examples(corpus) as made:
        mean, scale = made.units()
        x = torch.cat([x for x, _ in made.held("train", 100)]).double()
        assert mean.shape == scale.shape == (1, 1, 1)
        assert float(mean) == pytest.approx(float(x.mean()), abs=1e-6)
        assert float(scale) == pytest.approx(float(x.std(unbiased=False)), abs=1e-6)


def test_pictures_are_described():
    colour = ImageCorpus("holiday", np.zeros((20, 3, 4, 4), np.uint8), 255, {}, (), "0")
    for corpus, said in ((colour, "holiday, colour"), (open_source("digits"), "digits, grey")):
        with examples(corpus) as made:
            assert made.describe() == said
