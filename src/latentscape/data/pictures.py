"""A folder of pictures: PNG, JPEG and their like, of one size or brought to one, in folders that say what they are.

The first level of folders is a part where all of them are named as parts (``train``, ``val``, ``test``, with a year or
not), as in the crops of MSCOCO photographs that the course IFT6266 (Université de Montréal) filled in:
``train2014/*.jpg`` and ``val2014/*.jpg``, 64 x 64. Where there is no third part, what is called validation is the test,
and training gives a tenth of itself away for validation. Otherwise the first level is the label ``folder``.

Copies are left out: one in training would make the test a memory test.
"""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentscape.core.errors import DataError
from latentscape.data.corpus import ImageCorpus
from latentscape.data.images import image_corpus
from latentscape.data.text import folders_under
from latentscape.signal.audio import SUFFIXES as SOUND

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""What is taken for a picture."""
_PART = re.compile(r"(train|val|test)(?:ing|id|idation)?[ _-]?\d*", re.IGNORECASE)


def list_pictures(root: Path) -> list[str]:
    """Return the pictures under a folder, relative to it, in order; none where there is a sound, which goes first.

    Raises:
        DataError: a folder can't be read.
    """
    found: list[str] = []
    try:
        for base, shown in folders_under(root):
            suffixes = {Path(file).suffix.lower() for file in shown}
            if suffixes & set(SOUND):
                return []
            found += [(base / file).as_posix() for file in shown if Path(file).suffix.lower() in SUFFIXES]
    except OSError as error:
        raise DataError(f"{error.filename or root} can't be read: {error.strerror or error}") from error
    return sorted(found)


def read_pictures(root: Path, files: list[str], name: str, size: int | None = None) -> ImageCorpus:
    """Read pictures as a corpus, ``[b, c, h, w]``: grey (c = 1) where all of them are, else red, green and blue.

    Args:
        root: the folder.
        files: relative to it; see :func:`list_pictures`.
        name: of the source.
        size: pixels; the middle square of every picture is brought to it. ``None``: all have one size as they are.

    Raises:
        DataError: none can be read, or their sizes differ.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    pictures: list[np.ndarray] = []
    kept: list[str] = []
    lost: list[str] = []
    seen: set[bytes] = set()
    copies: list[str] = []
    for file in files:
        try:
            with Image.open(root / file) as picture:
                picture = _in_eight_bits(ImageOps.exif_transpose(picture))  # upright, as it is shown
        except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError, Image.DecompressionBombError):
            lost.append(file)
            continue
        if size is not None and picture.size != (size, size):
            side = min(picture.size)
            left, top = ((length - side) // 2 for length in picture.size)
            middle = picture.crop((left, top, left + side, top + side))
            picture = middle.resize((size, size), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture)
        digest = hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode(), digest_size=16).digest()
        if digest in seen:
            copies.append(file)
            continue
        seen.add(digest)
        pictures.append(pixels)
        kept.append(file)
    if not pictures:
        raise DataError(f"{name}: none of {len(lost)} pictures can be read; the first, '{lost[0]}'")
    sizes = sorted({pixels.shape[:2] for pixels in pictures})
    if len(sizes) > 1:
        few = ", ".join(f"{w} x {h}" for h, w in sizes[:3])
        raise DataError(
            f"{name}: {len(sizes)} sizes of pictures ({few}), expected one; give source.size, such as source.size=64"
        )
    channels = 3 if any(pixels.ndim == 3 for pixels in pictures) else 1
    images = np.empty((len(pictures), channels, *sizes[0]), np.uint8)
    for row, pixels in enumerate(pictures):
        images[row] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    notes = [f"{len(lost)} pictures can't be read (first: '{lost[0]}')"] if lost else []
    notes += [f"{len(copies)} pictures are copies of others and left out (first: '{copies[0]}')"] if copies else []
    return image_corpus(name, images, 255, _labels(kept), tuple(notes))


def _in_eight_bits(picture: "Image.Image") -> "Image.Image":
    """Return a picture as grey or as red, green and blue, from 0 to 255, on white where it is transparent.

    Raises:
        ValueError: its values have no known range.
    """
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits, which PIL would clip at 255
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("values of 32 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("values of any range")
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode == "P":  # a palette of greys is grey
        colours = np.asarray(picture.convert("RGB"))
        grey = bool((colours == colours[..., :1]).all())
    return picture.convert("L" if grey else "RGB")


def _labels(files: list[str]) -> dict[str, list[str]]:
    """Return what the first level of folders says of every file."""
    folders = [file.partition("/")[0] if "/" in file else "" for file in files]
    if len(set(folders)) < 2:
        return {}
    parts = [_PART.fullmatch(folder) for folder in folders]
    if not all(parts):
        return {"folder": folders}
    names = [part.group(1).lower() for part in parts if part is not None]
    words = {"train": "train", "val": "valid" if "test" in names else "test", "test": "test"}
    return {"split": [words[one] for one in names]}
