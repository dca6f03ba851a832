"""Images: the readers of their official layouts, and examples of them.

Letters: b batch, c channels, h height, w width. x is ``[b, c, h, w]`` in [0, 1].
"""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from latentscape.core.errors import DataError
from latentscape.core.random import numpy_stream, torch_stream
from latentscape.data.corpus import Column, ImageCorpus
from latentscape.data.examples import Batch, Binarise, Codes, DataConfig, Examples, rows_of, spread
from latentscape.data.labels import read_table
from latentscape.data.split import PartName, Split
from latentscape.data.warp import warp

IDX = {"train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")}
IDX["test"] = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
"""Files of MNIST and Fashion-MNIST: images and labels of each part."""
CHECKSUMS = {
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609": "mnist/train-images-idx3-ubyte.gz",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c": "mnist/train-labels-idx1-ubyte.gz",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6": "mnist/t10k-images-idx3-ubyte.gz",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6": "mnist/t10k-labels-idx1-ubyte.gz",
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84": "fashion-mnist/train-images-idx3-ubyte.gz",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845": "fashion-mnist/train-labels-idx1-ubyte.gz",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073": "fashion-mnist/t10k-images-idx3-ubyte.gz",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5": "fashion-mnist/t10k-labels-idx1-ubyte.gz",
}
"""SHA-256 of the original files."""
DRAWN = "one Bernoulli draw of grey, seed 0"
WORDS: dict[Binarise, str] = {"none": "grey", "dynamic": "dynamic binarisation", "static": DRAWN}
"""How each way to take pixels is told beside a figure; ``grey`` of three channels is ``colour``."""


def is_images(folder: Path) -> bool:
    """Return whether a folder holds images in a layout that is known here."""
    idx = any((folder / name).is_file() for names in IDX.values() for name in names)
    return idx or ((folder / "metadata.csv").is_file() and (folder / "train.zip").is_file())


def read_images(folder: Path, name: str) -> ImageCorpus:
    """Read a folder of idx files, or of zip files with a table.

    Raises:
        DataError: a file is missing, damaged, or not what its name says.
    """
    if (folder / "train.zip").is_file():
        return _read_zips(folder, name)
    images, labels, parts = [], [], []
    for part, files in IDX.items():
        images.append(_read_idx(folder / files[0], 3))
        labels.append(_read_idx(folder / files[1], 1))
        parts += [part] * len(labels[-1])
        if len(images[-1]) != len(labels[-1]):
            raise DataError(f"{name}: {files[0]} holds {len(images[-1])} images, {files[1]} {len(labels[-1])} labels")
    texts = [str(label) for label in np.concatenate(labels).tolist()]
    return image_corpus(name, np.concatenate(images)[:, None], 255, {"label": texts, "split": parts})


def _read_idx(path: Path, axes: int) -> Shaped[np.ndarray, "..."]:
    """Read an idx file: two zero bytes, 8 for unsigned bytes, the number of axes, lengths big-endian, the values."""
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    head = 4 + 4 * axes
    if data[:4] != bytes([0, 0, 8, axes]):
        raise DataError(
            f"{path} is not an idx file of unsigned bytes with {axes} axes (it begins with {data[:4].hex(' ')})"
        )
    shape = tuple(np.frombuffer(data, dtype=">u4", count=axes, offset=4).tolist())
    if len(data) - head != np.prod(shape):
        raise DataError(f"{path} is damaged: {len(data) - head} values, expected {' x '.join(map(str, shape))}")
    return np.frombuffer(data, dtype=np.uint8, offset=head).reshape(shape)


def verify_idx(folder: Path) -> list[str]:
    """Say of each idx file of a folder whether it is the original.

    Raises:
        DataError: one is not.
    """
    lines = []
    for path in (folder / name for names in IDX.values() for name in names):
        if not path.is_file():
            continue
        known = CHECKSUMS.get(hashlib.sha256(path.read_bytes()).hexdigest())
        if known is None or not known.endswith(path.name):
            raise DataError(f"{path} is not the original file: its SHA-256 is another")
        lines.append(f"{path.name}: the original ({known})")
    return lines


def _read_zips(folder: Path, name: str) -> ImageCorpus:
    """Read JPEG members of zip files; ``path`` in the table is ``file.zip:member``. The valid file is the test."""
    from PIL import Image

    table = read_table(folder / "metadata.csv")
    if not table.usable:
        raise DataError(f"{name}: {table.notes[0]}")
    images: list[np.ndarray] = []
    rows: list[dict[str, str]] = []
    lost: list[str] = []
    archives: dict[str, zipfile.ZipFile] = {}
    try:
        for path, labels in table.rows.items():
            archive, _, member = path.partition(":")
            try:
                if archive not in archives:
                    archives[archive] = zipfile.ZipFile(folder / archive)
                picture = Image.open(io.BytesIO(archives[archive].read(member))).convert("RGB")
            except (KeyError, OSError, zipfile.BadZipFile, zlib.error):
                lost.append(path)
                continue
            images.append(np.asarray(picture).transpose(2, 0, 1))
            rows.append({**labels, "split": "test" if labels.get("split") == "valid" else labels.get("split", "")})
    finally:
        for archive in archives.values():
            archive.close()
    if not images:
        raise DataError(f"{name}: none of {len(lost)} images can be read; the first, '{lost[0] if lost else ''}'")
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise DataError(f"{name}: the images have different sizes: {', '.join(map(str, sorted(sizes)))}")
    notes = [*table.notes, *([f"{len(lost)} images can't be read (first: '{lost[0]}')"] if lost else [])]
    texts = {label: [row.get(label, "") for row in rows] for label in rows[0]}
    return image_corpus(name, np.stack(images), 255, texts, tuple(notes))


def read_digits() -> ImageCorpus:
    """Return scikit-learn's digits: 1,797 images of 8 x 8, values 0 to 16."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    images = np.asarray(values).astype(np.uint8).reshape(-1, 1, 8, 8)
    return image_corpus("digits", images, 16, {"label": [str(label) for label in np.asarray(labels).tolist()]})


def image_corpus(
    name: str, images: np.ndarray, peak: int, texts: Mapping[str, Sequence[str]], notes: tuple[str, ...] = ()
) -> ImageCorpus:
    """Return the corpus of some images; arguments as in :class:`.corpus.ImageCorpus`, labels as texts."""
    columns = {label: Column.of(values) for label, values in texts.items()}
    digest = hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=16)
    for label in sorted(texts):
        digest.update("\n".join([label, *texts[label]]).encode("utf-8", "surrogateescape"))
    return ImageCorpus(name, images, peak, columns, notes, digest.hexdigest())


def draw_once(images: Shaped[np.ndarray, "b c h w"], peak: int) -> UInt8[np.ndarray, "b c h w"]:
    """Return one Bernoulli draw of every pixel with seed 0: 1 with probability value / peak."""
    stream = numpy_stream(0, "binarise")
    some = np.array_split(images, max(1, -(-len(images) // 4096)))  # by blocks: the draws are eight times as large
    return np.concatenate([stream.random(block.shape) * peak < block for block in some]).astype(np.uint8)


class ImageExamples(Examples):
    """See :class:`latentscape.data.examples.Examples`; a window is an image."""

    def __init__(
        self,
        corpus: ImageCorpus,
        split: Split,
        config: DataConfig = DataConfig(),
        *,
        seed: int,
        conditions: Sequence[str] = (),
    ) -> None:
        """Join a corpus and the way its pixels are taken; arguments as in :class:`.sounds.SoundExamples`."""
        self.corpus, self.split, self.config, self.seed = corpus, split, config, seed
        self._codes = Codes(corpus.columns, split.parts["train"], conditions)
        self.vocabulary = self._codes.vocabulary
        self.event_shape = tuple(corpus.images.shape[1:])

    def batch(self, step: int, size: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Return a training batch; see :class:`Examples`."""
        train = torch.from_numpy(self.split.parts["train"].rows)
        rows = train[self.draws(step, size, len(train), 0, 1)]
        share = rows_of(size, rank, world)
        if self.config.binarise == "dynamic":
            grey = self._varied(self._grey(rows), step)  # of all ranks, so that no image's noise depends on the rank
            x = torch.bernoulli(grey, generator=torch_stream(self.seed, "binarise", step))[share]
        elif self.config.warp is not None:
            x = self._varied(self._settled(rows), step)[share]
        else:
            x = self._settled(rows[share])
        return self.masked(x, self._codes.of(rows[share]), share, self.seed, step)

    def _varied(self, x: Tensor, step: int) -> Tensor:
        return x if self.config.warp is None else warp(self.config.warp, x, self.seed, step)

    def held(self, part: PartName, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield images in order, binarised by one draw where training binarises; see :class:`Examples`."""
        batches = ((self._settled(rows), self._codes.of(rows)) for rows in self._held(part, size, limit))
        yield from self.masked_in_order(batches, part)

    def _held(self, part: PartName, size: int, limit: int | None) -> tuple[Tensor, ...]:
        """Return the rows of the corpus that are held out, in batches."""
        rows = torch.from_numpy(self.split.parts[part].rows)
        return rows[spread(len(rows), limit)].split(size)

    def grey(self, part: PartName, size: int, limit: int | None = None) -> Iterator[Float[Tensor, "b c h w"]]:
        """Yield, in [0, 1], the grey originals of the images that :meth:`held` yields for the same arguments.

        Raises:
            DataError: the source holds bits, and what they were drawn from is not known.
        """
        if self.corpus.binary and self.corpus.grey is None:
            raise DataError(f"{self.corpus.name} ({self.corpus.binary}) has no grey originals: {self.corpus.notes[0]}")
        images, peak = (self.corpus.images, self.corpus.peak) if self.corpus.grey is None else (self.corpus.grey, 255)
        for rows in self._held(part, size, limit):
            yield torch.from_numpy(images[rows.numpy()]).float() / peak

    def describe(self) -> str:
        """Say how the pixels are taken; see :class:`Examples`."""
        word = self.corpus.binary or WORDS[self.config.binarise]
        return f"{self.corpus.name}, {'colour' if word == 'grey' and self.event_shape[0] == 3 else word}"

    def count(self, part: PartName) -> int:
        """Return how many images a part has."""
        return len(self.split.parts[part])

    def units(self) -> tuple[Tensor, Tensor]:
        """Return mean and scale of each channel over the training images."""
        rows = self.split.parts["train"].rows
        blocks = (
            self._settled(torch.from_numpy(some)).double() for some in np.array_split(rows, -(-len(rows) // 4096))
        )
        sums = [torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))]) for x in blocks]
        mean, square = torch.stack(sums).sum(0) / (len(rows) * int(np.prod(self.event_shape[1:])))
        scale = (square - mean.square()).clamp(min=0).sqrt()
        scale = torch.where(scale > 0, scale, 1.0)
        return mean.float()[:, None, None], scale.float()[:, None, None]

    def _grey(self, rows: Tensor) -> Float[Tensor, "b c h w"]:
        """Return images in [0, 1]."""
        return torch.from_numpy(self.corpus.images[rows.numpy()]).float() / self.corpus.peak

    def _settled(self, rows: Tensor) -> Float[Tensor, "b c h w"]:
        """Return images as they are in every step: grey, or binarised once with seed 0."""
        if self.config.binarise == "none":
            return self._grey(rows)
        return torch.from_numpy(self._binary[rows.numpy()]).float()

    @cached_property
    def _binary(self) -> UInt8[np.ndarray, "b c h w"]:
        """Every image, one Bernoulli draw a pixel."""
        return draw_once(self.corpus.images, self.corpus.peak)
