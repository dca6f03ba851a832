"""MNIST as fixed bits: the three files that the literature's figures are of, or one draw of the grey images.

Salakhutdinov and Murray (2008) binarised MNIST once, by a Bernoulli draw a pixel; H. Larochelle distributes that draw
as ``binarized_mnist_{train,valid,test}.amat``: 50,000, 10,000 and 10,000 lines of 784 values, 0 or 1. Where they lie
under the data root they are used. Else a draw of the same law is made with seed 0 from the grey images: figures of it
compare with each other and not, to the last tenth of a nat, with the literature. Neither is a threshold.

The files hold no labels. Those of MNIST are taken where its images lie there too and agree in their order: every 1
stands where grey is above 0, every 0 where it is below 255.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from latentscape.core.errors import DataError
from latentscape.data.corpus import ImageCorpus
from latentscape.data.images import DRAWN, draw_once, image_corpus, is_images, read_images

NAME = "mnist-static"
AMAT = {part: f"binarized_mnist_{part}.amat" for part in ("train", "valid", "test")}
SIDE = 28
VALID = 6
"""One of so many training images, the last ones, validates where the draw is ours (10,000 of 60,000)."""


def read_static(folders: Iterable[Path]) -> ImageCorpus:
    """Read the fixed bits from the first folder that has the files, else draw them from the grey images of one.

    Raises:
        DataError: neither is there, a part is missing, or a file is damaged.
    """
    there = [folder for folder in folders if folder.is_dir()]
    grey = next((read_images(folder, NAME) for folder in there if is_images(folder)), None)
    for folder in there:
        found = [name for name in AMAT.values() if (folder / name).is_file()]
        if len(found) == len(AMAT):
            return _larochelle(folder, grey)
        if found:
            lost = next(name for name in AMAT.values() if name not in found)
            raise DataError(f"{NAME}: {folder} holds {found[0]}, but {lost} is missing")
    if grey is None:
        raise DataError(f"{NAME}: {', '.join(map(str, there))} hold neither {AMAT['train']} nor MNIST's idx files")
    return _drawn(grey)


def _larochelle(folder: Path, grey: ImageCorpus | None) -> ImageCorpus:
    blocks = {part: read_amat(folder / name) for part, name in AMAT.items()}
    images = np.concatenate(list(blocks.values()))[:, None]
    texts = {"split": [part for part, block in blocks.items() for _ in range(len(block))]}
    notes = [f"which bits: Larochelle's files ({folder}), the ones of the literature"]
    agrees = grey is not None and _could_be(images, grey.images)
    if grey is None:
        notes.append("no labels and no grey images: the files have none, and MNIST's idx files are not here")
    elif not agrees:
        notes.append("no labels and no grey images: MNIST's images here are not those of the files, in their order")
    else:
        texts["label"] = _labels(grey)
    corpus = image_corpus(NAME, images, 1, texts, tuple(notes))
    return replace(corpus, binary="Larochelle's files", grey=grey.images if grey is not None and agrees else None)


def _drawn(grey: ImageCorpus) -> ImageCorpus:
    parts = [grey.columns["split"].text(row) or "" for row in range(len(grey.images))]
    train = parts.count("train")  # the training images come first
    first = train - train // VALID
    parts[first:train] = ["valid"] * (train - first)
    note = f"which bits: {DRAWN}, since {AMAT['train']} is not here; the literature's are another draw of the same law"
    bits = draw_once(grey.images, grey.peak)
    corpus = image_corpus(NAME, bits, 1, {"label": _labels(grey), "split": parts}, (note,))
    return replace(corpus, binary=DRAWN, grey=grey.images)


def _labels(grey: ImageCorpus) -> list[str]:
    return [grey.columns["label"].text(row) or "" for row in range(len(grey.images))]


def _could_be(bits: np.ndarray, grey: np.ndarray) -> bool:
    """Whether bits can have been drawn from grey images, in this order."""
    return bits.shape == grey.shape and bool((np.where(bits == 1, grey > 0, grey < 255)).all())


def read_amat(path: Path) -> UInt8[np.ndarray, "b h w"]:
    """Read images of 28 x 28 bits, a line of 784 values each, 0 or 1, separated by spaces.

    Raises:
        DataError: the file can't be read, or a line is something else.
    """
    rows: list[np.ndarray] = []
    line = 0
    try:
        with open(path, "rb") as file:
            while lines := file.readlines(1 << 24):  # by blocks: the text is twice as large as the images
                text = np.frombuffer(b"".join(lines).rstrip() + b"\n", dtype=np.uint8)
                digit = (text == ord("0")) | (text == ord("1"))
                odd = ~(digit | np.isin(text, list(b" \t\r\n"))) | (digit & np.append(False, digit[:-1]))
                ends = np.flatnonzero(text == ord("\n"))
                counts = np.diff(np.cumsum(digit)[ends], prepend=0)
                wrong = np.unique([*np.searchsorted(ends, np.flatnonzero(odd)), *np.flatnonzero(counts != SIDE**2)])
                if len(wrong):
                    bad = int(wrong[0])
                    raise DataError(
                        f"{path} is damaged: line {line + bad + 1} is not {SIDE**2} values 0 or 1 "
                        f"separated by spaces ({counts[bad]} of them)"
                    )
                line += len(ends)
                rows.append((text[digit] - ord("0")).reshape(-1, SIDE, SIDE))
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    if not rows:
        raise DataError(f"{path} is empty")
    return np.concatenate(rows)
