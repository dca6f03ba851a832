import gzip
import json

import numpy as np
import pytest
import torch

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream
from latentscape.data.examine import examine
from latentscape.data.examples import DataConfig
from latentscape.data.images import IDX, ImageExamples
from latentscape.data.sources import data_root, open_source, verify
from latentscape.data.split import split_corpus
from latentscape.data.static import AMAT, read_amat
from latentscape.laws.split import check_split

COUNTS = {"train": 50, "valid": 10, "test": 10}


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def grey_images():
    """Grey images whose borders are black and whose middle pixel is white, so that bits can be told from others."""
    images = numpy_stream("grey").integers(1, 255, (70, 28, 28))
    images[:, :4], images[:, 14, 14] = 0, 255
    images[np.arange(70), 10, np.arange(70) % 28] = 255
    images[np.arange(70), 11, np.arange(70) % 28] = 0
    return images


@pytest.fixture
def mnist():
    """Write a small tree of MNIST's layout: 60 images to learn from and 10 to test."""
    root = data_root() / "mnist"
    root.mkdir(parents=True)
    labels = np.arange(70) % 10
    for part, rows in (("train", slice(60)), ("test", slice(60, None))):
        (root / IDX[part][0]).write_bytes(idx(grey_images()[rows]))
        (root / IDX[part][1]).write_bytes(idx(labels[rows]))
    return root


def bits():
    return (numpy_stream("bits").random((70, 28, 28)) * 255 < grey_images()).astype(np.uint8)


def write_amat(folder, images, line_end=" \n"):
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for part, name in AMAT.items():
        rows = images[start : start + COUNTS[part]].reshape(COUNTS[part], -1)
        start += COUNTS[part]
        (folder / name).write_bytes("".join(" ".join(map(str, row)) + line_end for row in rows).encode())


def test_without_the_files_it_is_one_draw_of_grey(mnist):
    corpus = open_source("mnist-static")
    assert corpus.images.shape == (70, 1, 28, 28)
    assert corpus.images.dtype == np.uint8
    assert set(np.unique(corpus.images)) == {0, 1}
    grey = grey_images()[:, None]
    likely = np.where(corpus.images == 1, grey > 0, grey < 255)
    assert likely.all()
    # a Bernoulli draw and no threshold: pixels of 100 to 155 are 1 as often as they are bright
    middle = (grey > 100) & (grey < 156)
    assert corpus.images[middle].mean() == pytest.approx(grey[middle].mean() / 255, abs=0.02)
    below = (grey > 100) & (grey < 127)
    assert 0.4 < corpus.images[below].mean() < 0.5
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert {name: part.rows.tolist() for name, part in split.parts.items()} == {
        "train": list(range(50)),
        "valid": list(range(50, 60)),
        "test": list(range(60, 70)),
    }
    assert [corpus.columns["label"].text(row) for row in (0, 51, 69)] == ["0", "1", "9"]
    assert corpus.digest == open_source("mnist-static").digest != open_source("mnist").digest
    assert "which bits: one Bernoulli draw of grey, seed 0" in "\n".join(examine("mnist-static").lines())
    with ImageExamples(open_source("mnist"), split, DataConfig(binarise="static"), seed=5) as same:
        x = torch.cat([x for x, _ in same.held("test", 4)])
        np.testing.assert_array_equal(x.numpy(), corpus.images[60:])  # the draw that `binarise: static` makes


@pytest.mark.parametrize("folder", ["mnist-static", "mnist"])
@pytest.mark.parametrize("line_end", [" \n", "\n", "\r\n"])
def test_larochelles_files_come_first_in_their_order(mnist, folder, line_end):
    write_amat(data_root() / folder, bits(), line_end)
    corpus = open_source("mnist-static")
    np.testing.assert_array_equal(corpus.images[:, 0], bits())
    split = split_corpus(corpus)
    assert split.parts["valid"].rows.tolist() == list(range(50, 60))
    assert split.parts["test"].rows.tolist() == list(range(60, 70))
    assert [corpus.columns["label"].text(row) for row in (0, 51, 69)] == ["0", "1", "9"]
    assert corpus.notes[0].startswith("which bits: Larochelle's files")
    assert any("Larochelle's files" in line for line in examine("mnist-static").lines())
    assert any(
        "Larochelle's files" in note for note in json.loads(json.dumps(examine("mnist-static").to_json()))["notes"]
    )
    with ImageExamples(corpus, split, seed=0, conditions=("label",)) as made:
        x, _ = made.batch(0, 20)
        assert set(x.unique().tolist()) == {0, 1}
        grey = torch.cat(list(made.grey("test", 3)))
        np.testing.assert_allclose(grey[:, 0].numpy(), grey_images()[60:] / 255, rtol=1e-6)
        assert made.describe() == "mnist-static, Larochelle's files"


def test_labels_and_grey_are_taken_only_where_they_fit(mnist):
    write_amat(data_root() / "mnist-static", bits()[::-1])
    corpus = open_source("mnist-static")
    assert set(corpus.columns) == {"split"}
    assert "are not those of the files" in corpus.notes[1]
    with ImageExamples(corpus, split_corpus(corpus), seed=0) as made:
        with pytest.raises(DataError, match="has no grey originals: which bits: Larochelle's files"):
            next(made.grey("test", 3))
    for path in mnist.iterdir():
        path.unlink()
    corpus = open_source("mnist-static")
    assert set(corpus.columns) == {"split"}
    assert "MNIST's idx files are not here" in corpus.notes[1]


def test_faults_of_the_files_are_one_line_each(mnist):
    folder = data_root() / "mnist-static"
    folder.mkdir()
    assert open_source("mnist-static").binary.startswith("one Bernoulli draw")
    write_amat(folder, bits())
    path = folder / AMAT["valid"]
    lines = path.read_bytes().splitlines(keepends=True)
    for change, reason in (
        (lambda line: line.replace(b"1", b"2", 1), "line 4 is not 784 values 0 or 1"),
        (lambda line: line.replace(b"1 ", b"1.0 ", 1), "line 4 is not 784 values 0 or 1"),
        (lambda line: line[2:], r"line 4 is not 784 values 0 or 1 separated by spaces \(783 of them\)"),
        (lambda line: line.replace(b" ", b"", 1), "line 4 is not 784 values"),
        (lambda line: b"\n", r"\(0 of them\)"),
    ):
        path.write_bytes(b"".join([*lines[:3], change(lines[3]), *lines[4:]]))
        with pytest.raises(DataError, match=reason):
            open_source("mnist-static")
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        open_source("mnist-static")
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=f"but {AMAT['valid']} is missing"):
        open_source("mnist-static")
    with pytest.raises(DataError, match="can't be read"):
        read_amat(path)
    for name in AMAT.values():
        if (folder / name).is_file():
            (folder / name).unlink()
    for path in mnist.iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"hold neither binarized_mnist_train.amat nor MNIST's idx files"):
        open_source("mnist-static")


def test_verify_says_which_bits(mnist, monkeypatch):
    monkeypatch.setattr("latentscape.data.sources.verify_idx", lambda folder: [])
    assert verify("mnist-static")[2:] == ["70 images", *open_source("mnist-static").notes]


def test_every_figure_can_name_its_data(mnist):
    corpus = open_source("mnist")
    said = {}
    for binarise in ("none", "dynamic", "static"):
        with ImageExamples(corpus, split_corpus(corpus), DataConfig(binarise=binarise), seed=0) as made:
            said[binarise] = made.describe()
            held = torch.cat([x for x, _ in made.held("test", 4, 7)])
            grey = torch.cat(list(made.grey("test", 4, 7)))
            assert grey.shape == held.shape
            if binarise == "none":
                assert torch.equal(grey, held)
            else:
                assert bool((held[grey == 0] == 0).all())
                assert bool((held[grey == 1] == 1).all())
                assert not torch.equal(grey, held)
    assert said == {
        "none": "mnist, grey",
        "dynamic": "mnist, dynamic binarisation",
        "static": "mnist, one Bernoulli draw of grey, seed 0",
    }
    static = open_source("mnist-static")
    with ImageExamples(static, split_corpus(static), DataConfig(binarise="dynamic"), seed=0) as made:
        assert made.describe() == "mnist-static, one Bernoulli draw of grey, seed 0"
        np.testing.assert_array_equal(next(made.held("test", 10))[0].numpy(), static.images[60:])
