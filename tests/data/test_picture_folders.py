"""Folders of pictures: their parts, labels, sizes and faults."""

import numpy as np
import pytest
from PIL import Image

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream
from latentscape.data.corpus import SourceOptions
from latentscape.data.sources import data_root, open_source
from latentscape.data.split import split_corpus
from latentscape.laws.split import check_split


def pixels(key, size=(8, 8), colours=3):
    shape = (size[1], size[0], colours) if colours > 1 else (size[1], size[0])
    return numpy_stream("pictures", str(key)).integers(0, 256, shape).astype(np.uint8)


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.mark.parametrize("mode", ["I;16", "LA", "P", "1", "RGBA", "CMYK"])
def test_every_kind_of_pixel_is_read_as_it_looks(tmp_path, mode):
    """16 bits are scaled, not clipped; a palette of greys is grey; what is transparent is white."""
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
    flat = Image.fromarray(ramp)
    expected = ramp.copy()
    if mode == "I;16":
        picture = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "1":
        picture = Image.fromarray(ramp > 127)
        expected = np.where(ramp > 127, 255, 0)
    elif mode == "P":
        picture = flat.quantize(64)
        expected = np.asarray(picture.convert("L"))
    elif mode == "CMYK":
        picture = Image.merge("RGB", [flat] * 3).convert("CMYK")
    else:
        picture = flat.convert(mode)
        alpha = np.full((8, 8), 255, np.uint8)
        alpha[0, :4] = 0
        picture.putalpha(Image.fromarray(alpha))
        expected[0, :4] = 255
    picture.save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    assert list(tmp_path.iterdir())
    images = open_source(str(tmp_path)).images
    assert images.shape == (1, 3 if mode in ("RGBA", "CMYK") else 1, 8, 8)
    np.testing.assert_array_equal(images[0, 0], expected)
    np.testing.assert_array_equal(images[0, -1], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_upright_however_the_camera_was_held(tmp_path, orientation):
    """Row 0 of the pixels is (EXIF 2.3, tag 0x0112) the top, top, bottom, bottom, left, right, right or left side."""
    upright = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)
    turned = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T}
    turned |= {6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turned[orientation])).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(open_source(str(tmp_path)).images[0, 0], upright)


def test_values_of_no_known_range_are_left_out(tmp_path):
    Image.fromarray(np.full((8, 8), 1e5, np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match="none of 2 pictures can be read"):
        open_source(str(tmp_path))


def test_the_course_layout_has_its_own_parts():
    """MSCOCO's crops: val2014 is the test; some are grey, which become three equal colours."""
    root = data_root() / "inpainting"
    for part, count in (("train2014", 30), ("val2014", 4)):
        for number in range(count):
            grey = part == "val2014" and number == 3
            write(root / part / f"COCO_{part}_{number:03d}.png", pixels((part, number), colours=1 if grey else 3))
    (root / "dict_key_imgID_value_caps_train_and_valid.pkl").write_bytes(b"never read")
    corpus = open_source("coco-inpainting")
    assert corpus.images.shape == (34, 3, 8, 8)
    np.testing.assert_array_equal(corpus.images[31], pixels(("val2014", 1)).transpose(2, 0, 1))
    np.testing.assert_array_equal(corpus.images[33], np.stack([pixels(("val2014", 3), colours=1)] * 3))
    split = split_corpus(corpus)
    check_split(split, corpus)
    assert split.parts["test"].rows.tolist() == [30, 31, 32, 33]
    assert len(split.parts["train"]) + len(split.parts["valid"]) == 30 > len(split.parts["train"])


def test_a_folder_of_photographs_is_cut_to_one_size(tmp_path):
    root = tmp_path / "photos"
    tall = np.zeros((20, 10), np.uint8)
    tall[5:15] = 200
    write(root / "cats" / "a.png", tall)  # its middle square is all bright
    write(root / "dogs" / "b.jpg", pixels("b", (9, 7), 1))
    write(root / ".hidden" / "c.png", tall)
    with pytest.raises(DataError, match=r"2 sizes of pictures \(9 x 7, 10 x 20\), expected one; give source.size"):
        open_source(str(root))
    corpus = open_source(str(root), SourceOptions(size=6))
    assert corpus.images.shape == (2, 1, 6, 6)
    assert (corpus.images[0] == 200).all()
    assert [corpus.columns["folder"].text(row) for row in (0, 1)] == ["cats", "dogs"]


def test_three_parts_are_taken_as_they_are_called(tmp_path):
    for part in ("training", "validation", "test-1"):
        write(tmp_path / part / "a.png", pixels(part))
    corpus = open_source(str(tmp_path))
    texts = [corpus.columns["split"].text(row) for row in range(3)]
    assert sorted(zip(texts, corpus.images[:, 0, 0, 0].tolist(), strict=True)) == sorted(
        (word, int(pixels(part)[0, 0, 0]))
        for part, word in (("training", "train"), ("validation", "valid"), ("test-1", "test"))
    )


def test_what_is_no_picture_or_a_copy_is_named(tmp_path):
    write(tmp_path / "a.png", pixels("a"))
    write(tmp_path / "b.png", pixels("a"))
    (tmp_path / "c.jpg").write_bytes(b"not a picture")
    corpus = open_source(str(tmp_path))
    assert len(corpus.images) == 1
    assert corpus.notes == (
        "1 pictures can't be read (first: 'c.jpg')",
        "1 pictures are copies of others and left out (first: 'b.png')",
    )
    for name in ("a.png", "b.png"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"none of 1 pictures can be read; the first, 'c.jpg'"):
        open_source(str(tmp_path))


def test_where_there_is_sound_pictures_are_passed_over(tmp_path):
    write(tmp_path / "cover.png", pixels("a"))
    (tmp_path / "song.wav").write_bytes(b"no sound either")
    with pytest.raises(DataError, match=r"song.wav"):
        open_source(str(tmp_path))
